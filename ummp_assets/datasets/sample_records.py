"""What the index learns of a batch's samples: where each came from and what became of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from ummp_assets.datasets.batch_content import batch_manifests
from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.replays import is_replay
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets.storage.twin_index import TwinIndex

__all__ = ["record_batch_samples", "record_rejected", "record_taken_down"]

_ENTRIES_AT_ONCE = 2_000
_STORED_COLUMNS = ("sample_id", "dataset", "modality", "uri", "sha256")
_REJECTED_COLUMNS = ("sample_id", "dataset", "modality", "uri", "outcome", "reason")


def record_batch_samples(store: ObjectStore, index: Index, batch: str) -> None:
    """Put every sample of a batch into the index, stored or rejected; a repeated call changes nothing."""
    manifests = batch_manifests(store, batch)
    index.record_samples(_stored(store, batch, manifests[-1]))
    record_rejected(store, index, batch, manifests)


def record_rejected(
    store: ObjectStore, index: Index, batch: str, manifests: Sequence[Manifest], others: Iterable[SampleEntry] = ()
) -> None:
    """Put what the stages of a batch rejected into the index, and whose copies they were.

    Parameters
    ----------
    others:
        Samples of the batch that are not stored either, whatever no stage says of them.
    """
    rejected = chain(_rejected(store, batch, manifests), others)
    index.record_samples(_not_stored(index, rejected) if is_replay(parse_key(batch)[0]) else rejected)
    TwinIndex(index).record(_twins(store, manifests))


def record_taken_down(index: Index, samples: Iterable[SampleEntry]) -> None:
    """Let the index say what became of samples; those that had no bytes keep their reason, as they do in the stages."""
    index.record_samples(
        replace(sample, outcome=Outcome.FILTERED.value, reason=Reason.TAKEDOWN.value)
        for sample in samples
        if sample.sha256 is not None
    )


def _stored(store: ObjectStore, batch: str, shards: Manifest) -> Iterator[SampleEntry]:
    for entries in shards.tables.values():
        for entry in entries:
            for rows in read_shard(store, entry.path, entry.footer_sha256, columns=_STORED_COLUMNS):
                for row in rows.to_pylist():
                    yield SampleEntry(**row, batch=batch, outcome=Outcome.STORED.value, reason=None)


def _rejected(store: ObjectStore, batch: str, manifests: Sequence[Manifest]) -> Iterator[SampleEntry]:
    hashes: dict[str, str] = {}
    for manifest in manifests:
        if manifest.stage == "downloads":
            for rows in read_table(store, manifest, "samples", columns=["sample_id", "sha256"]):
                hashes.update(zip(*(rows.column(name).to_pylist() for name in ("sample_id", "sha256")), strict=True))
        for rows in read_table(store, manifest, "outcomes", columns=_REJECTED_COLUMNS):
            for row in rows.to_pylist():
                yield SampleEntry(**row, batch=batch, sha256=hashes.get(row["sample_id"]))


def _not_stored(index: Index, rejected: Iterator[SampleEntry]) -> Iterator[SampleEntry]:
    """Leave out what an earlier batch stored: its row stays, though a replay could not make it again."""
    while chunk := list(islice(rejected, _ENTRIES_AT_ONCE)):
        known = index.find_samples(sample_ids=[entry.sample_id for entry in chunk])
        stored = {entry.sample_id for entry in known if entry.outcome == Outcome.STORED}
        yield from (entry for entry in chunk if entry.sample_id not in stored)


def _twins(store: ObjectStore, manifests: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    for manifest in manifests:
        for rows in read_table(store, manifest, "outcomes", columns=["sample_id", "reason", "twin"]):
            for row in rows.to_pylist():
                if row["reason"] == Reason.EXACT_DUPLICATE:
                    yield row["sample_id"], row["twin"]
