"""Which batch says what a dataset holds of a sample, where replays went over it again."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.records import Modality
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import MEASUREMENTS, Manifest, find_manifest, read_table

__all__ = ["cleaned_stages", "find_deciding", "rows_of_dataset"]

_READ_ROWS = 65_536


def find_deciding(store: ObjectStore, dataset: str, batches: Sequence[str], replays: Sequence[str]) -> dict[str, str]:
    """Return, by id of each sample that a replay went over, the batch that says what the dataset holds of it.

    That is the newest one that stored it, since a sample that a replay does not store keeps the row that it had; or the
    newest one, where none did.

    Parameters
    ----------
    batches:
        Keys of the other batches.
    replays:
        Keys of replays, the newest first.
    """
    stored: dict[str, str] = {}
    seen: dict[str, str] = {}
    for batch in [*replays, *(batches if replays else ())]:
        for _, manifest in cleaned_stages(store, batch):
            for rows in rows_of_dataset(store, manifest, dataset, MEASUREMENTS, ["sample_id", "reason"]):
                names, reasons = rows.column("sample_id").to_pylist(), rows.column("reason").to_pylist()
                for sample_id, reason in zip(names, reasons, strict=True):
                    if batch in replays or sample_id in seen:
                        seen.setdefault(sample_id, batch)
                        if reason is None:
                            stored.setdefault(sample_id, batch)
    return seen | stored


def cleaned_stages(store: ObjectStore, batch: str) -> list[tuple[Modality, Manifest]]:
    """Return what the clean stages committed for a batch."""
    found = ((modality, find_manifest(store, stage, batch)) for modality, stage in CLEAN_STAGES.items())
    return [(modality, manifest) for modality, manifest in found if manifest]


def rows_of_dataset(
    store: ObjectStore, manifest: Manifest, dataset: str, table: str, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset in a table of a stage, with these columns."""
    names = [*columns, *({"dataset"} - set(columns))]
    for rows in read_table(store, manifest, table, columns=names, batch_rows=_READ_ROWS):
        yield rows.filter(pc.equal(rows.column("dataset"), dataset))
