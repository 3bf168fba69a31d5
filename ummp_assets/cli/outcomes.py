"""What became of the messages of request batches, read from the manifests that their stages committed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ummp_assets.messages.intake import UNREADABLE
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch
from ummp_assets.reasons import Outcome
from ummp_assets.records import Modality
from ummp_assets.storage.abandoned import STAGE as ABANDONMENT
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, find_manifest

__all__ = ["STAGES", "BatchOutcomes", "ModalityOutcomes", "latest_batches", "read_outcomes", "sum_outcomes"]

STAGES = ("requests", "downloads", *CLEAN_STAGES.values(), "training_shards", "dataset_commits")
"""The stages of a request batch whose manifests tell what became of its messages; the last one ends its way."""


@dataclass
class ModalityOutcomes:
    """Samples of one modality by outcome; `byte_count` is of their raw bytes."""

    stored: int = 0
    duplicate: int = 0
    filtered: int = 0
    dead: int = 0
    byte_count: int = 0

    @property
    def messages(self) -> int:
        return self.stored + self.duplicate + self.filtered + self.dead


@dataclass(frozen=True)
class BatchOutcomes:
    """How far a batch came and what became of its messages so far.

    Parameters
    ----------
    stages_done:
        The stages that have committed it, in their order.
    messages:
        Messages in its range, without the gaps that Kafka leaves there.
    reasons:
        Samples that are not stored, by reason code.
    """

    key: str
    stages_done: tuple[str, ...]
    messages: int
    unreadable: int = 0
    expired: int = 0
    modalities: dict[str, ModalityOutcomes] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    abandoned: bool = False

    @property
    def committed(self) -> bool:
        """Whether the batch went the whole way."""
        return STAGES[-1] in self.stages_done


def latest_batches(store: ObjectStore, topic: str, limit: int) -> Iterator[Batch]:
    """Yield the newest batches of a topic in the offset log, the newest first."""
    log = OffsetLog(store)
    last = log.last(topic)
    if last is not None:
        yield last
        for number in range(last.number - 1, max(0, last.number - limit), -1):
            yield log.get(f"{topic}~{number:08d}")


def read_outcomes(store: ObjectStore, batch: Batch) -> BatchOutcomes:
    """Return what became of a batch's messages, as far as its stages have committed."""
    manifests = {manifest.stage: manifest for manifest in _manifests(store, batch.key)}
    if "requests" not in manifests:
        return BatchOutcomes(batch.key, (), batch.messages, abandoned=ABANDONMENT in manifests)
    intake = manifests["requests"].numbers
    modalities = {modality.value: ModalityOutcomes() for modality in Modality}
    reasons: Counter[str] = Counter()
    for manifest in manifests.values():
        for entry in manifest.outcomes:
            reasons[entry.reason] += entry.count
            if entry.modality != UNREADABLE:
                counts = modalities.setdefault(entry.modality, ModalityOutcomes())
                setattr(counts, entry.outcome, getattr(counts, entry.outcome) + entry.count)
    for modality, stage in CLEAN_STAGES.items():
        if stage in manifests:
            modalities[modality.value].byte_count = int(manifests[stage].numbers["bytes_in"])
        if "training_shards" in manifests:
            modalities[modality.value].stored = int(manifests["training_shards"].numbers[f"{modality}_rows"])
    return BatchOutcomes(
        key=batch.key,
        stages_done=tuple(stage for stage in STAGES if stage in manifests),
        messages=int(intake["messages"] - intake["gaps"]),
        unreadable=int(intake["unreadable"]),
        expired=int(intake["expired"]),
        modalities=modalities,
        reasons=reasons,
        abandoned=ABANDONMENT in manifests,
    )


def sum_outcomes(batches: Iterable[BatchOutcomes]) -> dict[str, ModalityOutcomes]:
    """Return the outcomes of all batches by modality."""
    total: dict[str, ModalityOutcomes] = {}
    for batch in batches:
        for modality, counts in batch.modalities.items():
            into = total.setdefault(modality, ModalityOutcomes())
            for outcome in Outcome:
                setattr(into, outcome, getattr(into, outcome) + getattr(counts, outcome))
            into.byte_count += counts.byte_count
    return total


def _manifests(store: ObjectStore, key: str) -> Iterator[Manifest]:
    for stage in (*STAGES, ABANDONMENT):
        manifest = find_manifest(store, stage, key)
        if manifest is not None:
            yield manifest
