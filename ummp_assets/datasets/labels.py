"""Stage `label_updates`: labels that were read change the rows of their datasets, wherever those stand."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ummp_assets.datasets.adjust import adjust_dataset
from ummp_assets.datasets.batch_content import batch_watermark
from ummp_assets.messages.replays import BatchFinder
from ummp_assets.reasons import Outcome
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.label_index import LabelEntry, LabelIndex
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "STAGE", "UPDATE_SCHEMA", "apply_labels", "record_labels"]

STAGE = "label_updates"
CODE_VERSION = "1"

UPDATE_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("version", pa.int32()),
        pa.field("labels", pa.int64(), nullable=False),
        pa.field("matched", pa.int64(), nullable=False),
    ]
)
"""Table `samples` of the stage `label_updates`: one row a dataset that the labels name, with the version that took
them in (none where no row changed) and how many of them name a sample that is known; the others wait for theirs."""


def apply_labels(store: ObjectStore, index: Index, settings: Settings, batch: str) -> Manifest:
    """Take in the labels of a batch: keep all, and make a new version of each dataset of which they change a row.

    Labels that name no known sample are kept and hold as soon as one comes.

    Parameters
    ----------
    batch:
        Key of a batch whose stage `labels` is committed.

    Raises
    ------
    ManifestMissing
        The stage `labels` has not committed the batch.
    CommitConflict
        Other committers of a dataset were always first.
    """
    stage = read_manifest(store, "labels", batch)
    rows = [row for part in read_table(store, stage, "labels") for row in part.to_pylist()]
    by_dataset: dict[str, list[LabelEntry]] = defaultdict(list)
    for label in record_labels(index, rows):
        by_dataset[label.dataset].append(label)
    updates = [_update(store, index, settings, batch, name, by_dataset[name]) for name in sorted(by_dataset)]
    with StageWriter(store, STAGE, batch, {"samples": UPDATE_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(updates, schema=UPDATE_SCHEMA))
        return writer.commit(
            code_version=CODE_VERSION,
            inputs=[stage],
            numbers={
                "labels": len(rows),
                "matched": sum(update["matched"] for update in updates),
                "versions": sum(update["version"] is not None for update in updates),
            },
        )


def record_labels(index: Index, rows: Iterable[Mapping[str, Any]]) -> list[LabelEntry]:
    """Keep label messages in the history and return them; those that are kept already change nothing.

    Parameters
    ----------
    rows:
        Rows of `LABEL_SCHEMA`.
    """
    labels = [LabelEntry(**row) for row in rows]
    LabelIndex(index).record(labels)
    return labels


def _update(
    store: ObjectStore, index: Index, settings: Settings, batch: str, dataset: str, labels: Sequence[LabelEntry]
) -> dict[str, Any]:
    samples = list(_named_samples(index, dataset, labels))
    stored = [sample for sample in samples if sample.outcome == Outcome.STORED]
    finder = BatchFinder(store)
    version = DatasetIndex(index).version_of(dataset, batch)
    if version is None:
        made = adjust_dataset(
            store,
            index,
            settings,
            dataset,
            touched={batch for sample in stored for batch in finder.of(sample.sample_id, sample.batch)},
            batches=(batch,),
            watermark=batch_watermark(store, batch),
        )
        version = made.version if made else None
    known = {value for sample in samples for value in (sample.sample_id, sample.uri, sample.sha256)}
    matched = sum(label.target in known for label in labels)
    return {"dataset": dataset, "version": version, "labels": len(labels), "matched": matched}


def _named_samples(index: Index, dataset: str, labels: Sequence[LabelEntry]) -> Iterator[SampleEntry]:
    targets: dict[str, list[str]] = {"sample_id": [], "uri": [], "sha256": []}
    for label in labels:
        targets[label.target_kind].append(label.target)
    found = index.find_samples(sample_ids=targets["sample_id"], uris=targets["uri"], sha256s=targets["sha256"])
    return (sample for sample in found if sample.dataset == dataset)
