"""Giving up a batch that will never be committed, so that what it claimed is lost to nobody.

A content belongs to the first sample that claims it, in the stage that cleans it, and later copies are rejected as its
duplicates. While the owner's batch is on its way, or fails and is asked for again, that is right. When a person gives
the batch up its claims end: the next copy owns the content, and the copies that other batches have set aside by then
are noted for `promote_twins`, which lets the first of them into its dataset from its stored raw bytes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from ummp_assets.datasets.batch_content import committed_manifests
from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.receipts import publish_receipt
from ummp_assets.datasets.removal import remove_forbidden
from ummp_assets.datasets.sample_records import record_rejected
from ummp_assets.errors import InvalidInput
from ummp_assets.messages.dead_letters import send_dead_letters
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.replays import source_topic
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.reasons import Reason
from ummp_assets.records import Coordinates, Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import STAGE, is_abandoned
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.promotions import Promotion, PromotionIndex, release_owners
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.twin_index import TwinIndex

__all__ = ["abandon_batch", "note_copies_of_abandoned"]

CODE_VERSION = "1"

_BEFORE = ("requests", "downloads", *CLEAN_STAGES.values())
_REASON = Reason.BATCH_ABANDONED


def abandon_batch(store: ObjectStore, index: Index, settings: Settings, batch: str, why: str) -> int:
    """Give up a batch of requests; a repeated call goes on where a killed one was.

    Parameters
    ----------
    why:
        A sentence for the dead letters.

    Returns
    -------
    The messages that are dead letters, those included that were before.

    Raises
    ------
    InvalidInput
        The batch was never planned, is committed, or is none of requests.
    BrokerUnavailable
        No broker answered; the batch is given up, and the next call does the rest.
    """
    topic = OffsetLog(store).get(batch).topic
    if source_topic(topic) not in topic_names(settings).of_role(Role.REQUESTS):
        raise InvalidInput(f"batch {batch} is none of requests: only these claim contents and can be given up")
    manifests = _manifests(store, batch)
    if "dataset_commits" in manifests:
        raise InvalidInput(f"batch {batch} is committed: there is nothing to give up")
    if not is_abandoned(store, batch):
        _write_stage(store, index, batch, manifests, why)
    given_up = read_manifest(store, STAGE, batch)
    messages = list(_entries(store, given_up, "outcomes"))
    lost = list(_lost_samples(store, manifests, {entry.sample_id for entry in messages}))
    record_rejected(store, index, batch, committed_manifests(store, batch), [*messages, *lost])
    _release(index, settings, lost)
    # As `commit_batch` does: an order that came before this moment left the batch alone.
    for version in remove_forbidden(store, index, settings, batch):
        publish_ready_event(settings, store, version)
    publish_receipt(settings, store, batch)
    stages = [name for name in _BEFORE if name in manifests]
    return send_dead_letters(store, settings, batch, [*stages, STAGE]).rows("samples") if stages else 0


def note_copies_of_abandoned(store: ObjectStore, index: Index, batch: str) -> None:
    """Note the promotion of what a batch set aside as copies of contents whose batch was given up meanwhile.

    To be called once the batch's samples are in the index: `abandon_batch` notes the copies that it finds there, so
    that whichever comes second sees the other. Near duplicates need no call, their verdicts are in the index at once.
    """
    copies: dict[str, tuple[str, str]] = {}
    for manifest in _manifests(store, batch).values():
        if any(item.reason == Reason.EXACT_DUPLICATE for item in manifest.outcomes):
            for rows in read_table(store, manifest, "outcomes", columns=["sample_id", "dataset", "reason", "twin"]):
                for row in rows.to_pylist():
                    if row["reason"] == Reason.EXACT_DUPLICATE:
                        copies[row["sample_id"]] = row["dataset"], row["twin"]
    owners = index.find_samples(sample_ids=sorted({owner for _, owner in copies.values()})) if copies else []
    gone = {entry.sample_id for entry in owners if entry.reason == _REASON}
    orphans = [Promotion(dataset, copy) for copy, (dataset, owner) in copies.items() if owner in gone]
    if orphans:
        PromotionIndex(index).add(orphans)


def _manifests(store: ObjectStore, batch: str) -> dict[str, Manifest]:
    return {item.stage: item for item in committed_manifests(store, batch, (*_BEFORE, "dataset_commits"))}


def _write_stage(store: ObjectStore, index: Index, batch: str, manifests: dict[str, Manifest], why: str) -> None:
    """Commit the stage `abandonment`: every message without an outcome so far is dead."""
    settled = {
        sample_id
        for manifest in manifests.values()
        for rows in read_table(store, manifest, "outcomes", columns=["sample_id"])
        for sample_id in rows.column("sample_id").to_pylist()
    }
    committed = _Committed(store, index, batch)
    with StageWriter(store, STAGE, batch, {}) as writer:
        columns = ["sample_id", "dataset", "modality", "uri"]
        for rows in read_table(store, manifests["requests"], "samples", columns=columns) if manifests else ():
            writer.reject(
                Rejection(**row, reason=_REASON, detail=why)
                for row in rows.to_pylist()
                if row["sample_id"] not in settled and not committed(row["dataset"])
            )
        writer.commit(code_version=CODE_VERSION, inputs=manifests.values())


class _Committed:
    """Whether a dataset holds the batch already: a batch may fail between two of its datasets."""

    def __init__(self, store: ObjectStore, index: Index, batch: str) -> None:
        self._store, self._known, self._batch = store, DatasetIndex(index), batch
        self._answers: dict[str, bool] = {}

    def __call__(self, dataset: str) -> bool:
        if dataset not in self._answers:
            catch_up(self._store, self._known, dataset)
            self._answers[dataset] = self._known.version_of(dataset, self._batch) is not None
        return self._answers[dataset]


def _lost_samples(store: ObjectStore, manifests: dict[str, Manifest], dead: Collection[str]) -> Iterator[SampleEntry]:
    """Yield the samples that may own a content: those of dead messages, members of archives included."""
    if "downloads" in manifests:
        for entry in _entries(store, manifests["downloads"], "samples"):
            if Coordinates.parse(entry.sample_id).sample_id in dead:
                yield entry


def _entries(store: ObjectStore, manifest: Manifest, table: str) -> Iterator[SampleEntry]:
    """Yield the samples of a table, with their hashes where it has those: by them a takedown finds the raw bytes."""
    hashes = ["sha256"] if table == "samples" else []
    for rows in read_table(store, manifest, table, columns=["sample_id", "dataset", "modality", "uri", *hashes]):
        for row in rows.to_pylist():
            yield SampleEntry(
                **{"sha256": None, **row}, batch=manifest.batch, outcome=_REASON.outcome.value, reason=_REASON.value
            )


def _release(index: Index, settings: Settings, lost: Iterable[SampleEntry]) -> None:
    """End the claims of samples, and note the promotion of their copies."""
    owned: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for entry in lost:
        owned[entry.dataset][entry.modality].add(entry.sample_id)
    for dataset, by_modality in sorted(owned.items()):
        ids = sorted(set().union(*by_modality.values()))
        # Before the claims end: a crash between the two would forget the copies.
        PromotionIndex(index).add(Promotion(dataset, copy) for copy in TwinIndex(index).duplicates_of(ids))
        for modality, samples in sorted(by_modality.items()):
            index.release(dataset, modality, samples)
        release_owners(index, settings.clean, dataset, ids)
