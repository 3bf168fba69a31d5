"""Contents that were taken down and come back, under whatever address."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from ummp_assets.clean.measurements import measured_rows
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.storage.index import Index
from ummp_assets.storage.takedown_index import taken_down

__all__ = ["ForbiddenRows", "drop_taken_down"]

_NAMED_BY = ("uri", "sha256", "content_sha256", "sample_id")


def drop_taken_down(rows: pa.RecordBatch, index: Index, kind: str) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Split rows into those that may be stored and rejections of those that were taken down.

    Parameters
    ----------
    rows:
        Raw or clean rows with the columns `sample_id`, `dataset`, `uri`, `sha256` and, once it is known,
        `content_sha256`.
    kind:
        Modality of the rows.

    Raises
    ------
    IndexUnavailable
        The index did not answer.
    """
    named_by = [name for name in _NAMED_BY if name in rows.schema.names]
    values = {name: rows.column(name).to_pylist() for name in (*named_by, "dataset")}
    orders = taken_down(
        index,
        uris=values["uri"],
        sha256s=[*values["sha256"], *values.get("content_sha256", ())],
        sample_ids=values["sample_id"],
    )
    if not orders:
        return rows, []
    kept: list[int] = []
    rejections: list[Rejection] = []
    for position in range(rows.num_rows):
        named = (orders.get(values[name][position]) for name in named_by)
        order = next((found for found in named if found is not None), None)
        if order is None:
            kept.append(position)
            continue
        sample_id, dataset, uri = (values[name][position] for name in ("sample_id", "dataset", "uri"))
        detail = f"{order.kind} {order.target} was taken down: {order.reason}"
        rejections.append(Rejection(sample_id, dataset, kind, uri, Reason.TAKEDOWN, detail))
    return rows.take(pa.array(kept, pa.int64())), rejections


class ForbiddenRows:
    """Raw rows that were taken down before they were cleaned, left out of the chunks that pass through `drop`.

    Parameters
    ----------
    kind:
        Modality of the rows.
    measurements:
        Names of what the modality's rules measure; nothing is measured of these rows.
    """

    def __init__(self, index: Index, kind: str, measurements: Sequence[str]) -> None:
        self._index, self._kind, self._measurements = index, kind, measurements
        self.rejections: list[Rejection] = []
        self.measured: list[pa.RecordBatch] = []

    def drop(self, chunks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the chunks without the rows that were taken down, and not those of which nothing is left."""
        for chunk in chunks:
            allowed, rejections = drop_taken_down(chunk, self._index, self._kind)
            if rejections:
                gone = {item.sample_id for item in rejections}
                rows = chunk.filter(pa.array([name in gone for name in chunk.column("sample_id").to_pylist()]))
                self.rejections += rejections
                self.measured.append(measured_rows(rows, [{}] * rows.num_rows, self._measurements))
            if allowed.num_rows:
                yield allowed
