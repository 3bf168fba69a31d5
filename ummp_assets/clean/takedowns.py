"""Contents that were taken down and come back, under whatever address."""

import pyarrow as pa

from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.storage.index import Index
from ummp_assets.storage.takedown_index import taken_down

__all__ = ["drop_taken_down"]

_NAMED_BY = ("uri", "sha256", "content_sha256", "sample_id")


def drop_taken_down(rows: pa.RecordBatch, index: Index, kind: str) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Split clean rows into those that may be stored and rejections of those that were taken down.

    Parameters
    ----------
    rows:
        Clean rows with the columns `sample_id`, `dataset`, `uri`, `sha256` and `content_sha256`.
    kind:
        Modality of the rows.

    Raises
    ------
    IndexUnavailable
        The index did not answer.
    """
    values = {name: rows.column(name).to_pylist() for name in (*_NAMED_BY, "dataset")}
    orders = taken_down(
        index,
        uris=values["uri"],
        sha256s=[*values["sha256"], *values["content_sha256"]],
        sample_ids=values["sample_id"],
    )
    if not orders:
        return rows, []
    kept: list[int] = []
    rejections: list[Rejection] = []
    for position in range(rows.num_rows):
        named = (orders.get(values[name][position]) for name in _NAMED_BY)
        order = next((found for found in named if found is not None), None)
        if order is None:
            kept.append(position)
            continue
        sample_id, dataset, uri = (values[name][position] for name in ("sample_id", "dataset", "uri"))
        detail = f"{order.kind} {order.target} was taken down: {order.reason}"
        rejections.append(Rejection(sample_id, dataset, kind, uri, Reason.TAKEDOWN, detail))
    return rows.take(pa.array(kept, pa.int64())), rejections
