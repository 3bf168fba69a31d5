"""The proof that nothing was lost: the outcomes of a batch add up to the messages of its range."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.errors import AccountingMismatch
from ummp_assets.reasons import Outcome
from ummp_assets.records import Modality
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_manifest, read_table

__all__ = ["CLEAN_STAGES", "FEATURE_STAGES", "Accounting", "account", "require_accounted"]

CLEAN_STAGES = {Modality.TEXT: "clean_text", Modality.IMAGE: "clean_images", Modality.AUDIO: "clean_audio"}
FEATURE_STAGES = {Modality.TEXT: "text_features", Modality.IMAGE: "image_features", Modality.AUDIO: "audio_features"}


@dataclass(frozen=True)
class Accounting:
    """The sums of one batch.

    Parameters
    ----------
    messages:
        Offsets in the batch's range; each is a request, an unreadable message, a gap or expired.
    samples:
        Requests, with members of archives in place of the archive.
    outcomes:
        Samples and unreadable messages by outcome.
    problems:
        A sentence for each sum that does not hold; empty when all do.
    """

    messages: int
    samples: int
    outcomes: dict[Outcome, int]
    problems: tuple[str, ...]


def account(store: ObjectStore, batch: str) -> Accounting:
    """Add up a batch from `requests` to `training_shards`; raises `ManifestMissing` when one of the stages is."""
    requests = read_manifest(store, "requests", batch)
    downloads = read_manifest(store, "downloads", batch)
    clean = {modality: read_manifest(store, stage, batch) for modality, stage in CLEAN_STAGES.items()}
    features = {modality: read_manifest(store, stage, batch) for modality, stage in FEATURE_STAGES.items()}
    shards = read_manifest(store, "training_shards", batch)
    stored = sum(entry.rows for table, files in shards.tables.items() if table != "outcomes" for entry in files)
    outcomes = Counter({Outcome.STORED: stored})
    for manifest in (requests, downloads, *clean.values(), shards):
        for entry in manifest.outcomes:
            outcomes[Outcome(entry.outcome)] += entry.count
    samples = downloads.rows("samples") + downloads.rejected
    intake = requests.numbers
    checks = [
        ("messages of the range", intake["messages"], "read, unreadable, gaps and expired", _read(requests)),
        ("samples and unreadable messages", samples + intake["unreadable"], "all outcomes", outcomes.total()),
        ("downloaded samples", downloads.rows("samples"), "samples that cleaning saw", _seen(clean)),
        ("clean samples", _kept(clean), "samples with features", _kept(features)),
        ("samples with features", _kept(features), "stored and rejected by shards", stored + shards.rejected),
        (
            "requests",
            requests.rows("samples"),
            "requests that became a sample or a dead letter",
            _answered(store, downloads),
        ),
    ]
    problems = tuple(
        f"{left:,} {left_name}, but {right:,} {right_name}"
        for left_name, left, right_name, right in checks
        if left != right
    )
    return Accounting(int(intake["messages"]), samples, {outcome: outcomes[outcome] for outcome in Outcome}, problems)


def require_accounted(store: ObjectStore, batch: str) -> None:
    """Raise `AccountingMismatch` unless the batch adds up: a commit on its own must not pass the check by."""
    problems = account(store, batch).problems
    if problems:
        raise AccountingMismatch(f"batch {batch} does not add up: {'; '.join(problems)}")


def _read(requests: Manifest) -> int | float:
    numbers = requests.numbers
    return numbers["readable"] + numbers["unreadable"] + numbers["gaps"] + numbers["expired"]


def _kept(manifests: dict[Modality, Manifest]) -> int:
    return sum(manifest.rows("samples") for manifest in manifests.values())


def _seen(manifests: dict[Modality, Manifest]) -> int:
    return _kept(manifests) + sum(manifest.rejected for manifest in manifests.values())


def _answered(store: ObjectStore, downloads: Manifest) -> int:
    """Count the messages that have a sample: an archive's members share their message's coordinates."""
    messages = list(_message_ids(store, downloads))
    return len(pc.unique(pa.chunked_array(messages))) if messages else 0


def _message_ids(store: ObjectStore, downloads: Manifest) -> Iterator[pa.Array]:
    for table in ("samples", "outcomes"):
        for rows in read_table(store, downloads, table, columns=["sample_id"], batch_rows=65_536):
            yield pc.replace_substring_regex(rows.column("sample_id"), r"^([^~]*~[^~]*~[^~]*)~.*$", r"\1")
