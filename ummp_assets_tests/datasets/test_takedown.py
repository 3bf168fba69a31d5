"""After a takedown no file of the store holds the bytes, readers get a version without them, and they stay out."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.receipts import check_receipt, load_receipt, publish_receipt, read_receipt
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.splits import SPLITS, split_of
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_version
from ummp_assets.datasets.withdrawals import is_withdrawn, purge_withdrawn
from ummp_assets.errors import DatasetNotFound, ManifestCorrupt, StoreUnavailable
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.replays import replay_topic
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import RAW_SCHEMA, TAKEDOWN_SCHEMA, Rejection
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount, StageWriter, read_manifest, read_table
from ummp_assets.storage.takedown_index import domains_of, taken_down
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, pixels, put_batch, texts
from ummp_assets_tests.datasets.searching import files_with_bytes
from ummp_assets_tests.datasets.test_events import _events

TAKEDOWNS = "ummp.takedowns"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECRET = Sample("birds", "text", "the secret sentence that must go", uri="https://cdn.secret.example/a.txt")


def put_takedowns(store: ObjectStore, number: int, orders: Sequence[tuple[str, str]]) -> str:
    """Commit the stage `takedowns` with orders of a kind and a target; return the batch's key."""
    batch = Batch(TAKEDOWNS, number, (OffsetRange(0, 10 * number, 10 * number + len(orders)),))
    OffsetLog(store).put(batch, NOW)
    rows = [
        {
            "topic": TAKEDOWNS,
            "partition": 0,
            "offset": 10 * number + offset,
            "timestamp_ms": offset,
            "kind": kind,
            "target": target,
            "reason": "asked by the author",
            "requested_by": "author@example.org",
        }
        for offset, (kind, target) in enumerate(orders)
    ]
    with StageWriter(store, "takedowns", batch.key, {"takedowns": TAKEDOWN_SCHEMA}) as writer:
        writer.write("takedowns", pa.RecordBatch.from_pylist(rows, schema=TAKEDOWN_SCHEMA))
        writer.commit(code_version="1")
    return batch.key


def put_downloads(store: ObjectStore, batch: str, samples: Sequence[Sample], start: int) -> None:
    """Commit the stage `downloads` of a batch, each second sample as a blob."""
    rows: list[dict[str, Any]] = []
    for offset, sample in enumerate(samples):
        # As `put_batch` has it.
        raw = f"raw {sample.content}".encode()
        blob = f"blobs/{hashlib.sha256(raw).hexdigest()}" if offset % 2 else None
        if blob:
            store.write(blob, raw)
        rows.append(
            {
                "sample_id": f"{TOPIC}~0~{start + offset}",
                "dataset": sample.dataset,
                "uri": sample.uri or f"http://example.org/{digest(sample.content)[:8]}",
                "modality": sample.modality,
                "sha256": digest("raw " + sample.content),
                "byte_count": len(raw),
                "content": None if blob else raw,
                "blob": blob,
                "fetched_at": NOW.isoformat(),
                "final_uri": "",
                "attempts": "[]",
            }
        )
    with StageWriter(store, "downloads", batch, {"samples": RAW_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA))
        writer.commit(code_version="1", numbers={"samples": len(rows)})


def commit_all(
    store: ObjectStore, index: Index, settings: Settings, number: int, samples: Sequence[Sample], start: int
) -> None:
    """Run a batch of samples through all stages into its datasets."""
    batch = put_batch(store, number, samples, start=start)
    put_downloads(store, batch, samples, start)
    write_shards(store, settings, batch)
    commit_batch(store, index, settings, batch)


def files_with(store: ObjectStore, content: str) -> list[str]:
    """Return the store's files that hold a text: in their bytes or, for Parquet, in a decoded value."""
    return files_with_bytes(store, content.encode())


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("uri", SECRET.uri),
        ("sha256", digest("raw " + SECRET.content)),
        ("sha256", digest(SECRET.content)),
        ("domain", "secret.example"),
        ("sample_id", f"{TOPIC}~0~5"),
    ],
)
def test_takedown_leaves_no_file_with_the_bytes(
    kind: str, target: str, store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    index.claim("birds", "text", [(digest(SECRET.content), f"{TOPIC}~0~5")])
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET, *texts("birds", 20, 5)], 0)
    commit_all(store, index, settings, 2, texts("birds", 10, 100), 40)
    assert len(files_with(store, SECRET.content)) == 3
    manifest = apply_takedowns(store, index, settings, put_takedowns(store, 1, [(kind, target)]), now=NOW)
    assert files_with(store, SECRET.content) == []
    assert manifest.numbers == {"takedowns": 1, "samples": 1, "versions": 1}
    version = read_version(store, "birds")
    assert (version.version, version.cause, version.rows) == (3, "takedown", 35)
    assert len(version.removed_shards) == 1
    assert OutcomeCount("birds", "text", "filtered", "takedown", 1) in version.outcomes
    assert OutcomeCount("birds", "text", "stored", "", 35) in version.outcomes


SECRET_BYTES = np.frombuffer(SECRET.content.encode(), np.uint8)


@pytest.mark.parametrize(
    ("modality", "values"),
    [
        ("text", SECRET_BYTES.astype(np.int32).tobytes()),
        ("image", pixels(SECRET.content).tobytes()),
        ("audio", (SECRET_BYTES / 256).astype(np.float32).tobytes()),
    ],
)
def test_takedown_leaves_no_token_no_pixel_and_no_sound(
    modality: str, values: bytes, store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    secret = Sample("birds", modality, SECRET.content, uri=SECRET.uri)
    others = [Sample("birds", modality, f"another one, number {number}") for number in range(5)]
    commit_all(store, index, settings, 1, [*others, secret], 0)
    assert files_with_bytes(store, values)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    assert files_with_bytes(store, values) == []
    assert files_with(store, SECRET.content) == []
    assert read_version(store, "birds").rows == 5


def test_old_versions_are_withdrawn_at_once_and_purged_after_the_delay(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    running = open_dataset("birds", 1, read_split(settings), settings=settings)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    with pytest.raises(DatasetNotFound, match=r"version 1 of birds was withdrawn .*open version 2"):
        open_dataset("birds", 1, settings=settings)
    assert running.to_arrow().num_rows == len(running)
    assert purge_withdrawn(store, NOW + timedelta(hours=23)) == []
    assert len(purge_withdrawn(store, NOW + timedelta(hours=25))) == 1
    assert purge_withdrawn(store, NOW + timedelta(hours=26)) == []
    assert files_with(store, SECRET.content) == []
    assert sum(len(open_dataset("birds", split=split, settings=settings)) for split in SPLITS) == 5


def read_split(settings: Settings) -> str:
    return split_of(digest(SECRET.content), settings.datasets)


def test_twins_with_the_same_content_fall_too_and_others_stay(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    batch = put_batch_with_twin(store, settings)
    commit_batch(store, index, settings, batch)
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    manifest = apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    assert manifest.numbers["samples"] == 2
    assert files_with(store, SECRET.content) == []
    downloads = read_manifest(store, "downloads", batch)
    assert downloads.rows("samples") == 3
    assert [(item.reason, item.count) for item in downloads.outcomes] == [("takedown", 1)]
    assert read_manifest(store, "clean_text", batch).outcomes == ()


def test_later_requests_are_refused_by_uri_domain_and_content(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, [SECRET], 0)
    assert taken_down(index, uris=["https://a.example/"]) == {}
    orders = [("uri", str(SECRET.uri)), ("domain", "bad.example")]
    apply_takedowns(store, index, settings, put_takedowns(store, 1, orders), now=NOW)
    raw = digest("raw " + SECRET.content)
    found = taken_down(
        index,
        uris=[str(SECRET.uri), "https://x.bad.example:8443/y", "https://notbad.example/"],
        sha256s=[raw, "0" * 64],
    )
    assert sorted(found) == sorted([str(SECRET.uri), "https://x.bad.example:8443/y", raw])
    assert found[raw].reason == "asked by the author"


def test_a_batch_on_its_way_loses_what_was_taken_down_meanwhile(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    samples = [*texts("birds", 3), SECRET]
    batch = put_batch(store, 1, samples)
    put_downloads(store, batch, samples, 0)
    write_shards(store, settings, batch)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    (version,) = commit_batch(store, index, settings, batch)
    assert (version.version, version.rows) == (1, 3)
    assert files_with(store, SECRET.content) == []


@pytest.mark.parametrize("reason", [Reason.TAKEDOWN, Reason.EXACT_DUPLICATE])
def test_a_batch_on_its_way_loses_raw_bytes_of_what_cleaning_rejected(
    reason: Reason, store: ObjectStore, index: Index, settings: Settings
) -> None:
    """Such a sample is in no shard, so the shards do not tell that it was taken down."""
    samples = texts("birds", 3)
    twin = f"{TOPIC}~0~0" if reason == Reason.EXACT_DUPLICATE else None
    refused = Rejection(f"{TOPIC}~0~3", "birds", "text", str(SECRET.uri), reason, "", twin=twin)
    batch = put_batch(store, 1, samples, rejections=[refused])
    put_downloads(store, batch, [*samples, SECRET], 0)
    write_shards(store, settings, batch)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    commit_batch(store, index, settings, batch)
    assert files_with(store, SECRET.content) == []
    assert read_version(store, "birds").rows == (2 if twin else 3)


TWIN = Sample("birds", "text", SECRET.content + "\r\n", uri="https://twin.example/b.txt")


def put_batch_with_twin(store: ObjectStore, settings: Settings, start: int = 10) -> str:
    """Bring batch 2 up to its commit: three texts, and a copy of sample 0 that differs in its raw bytes."""
    twin = Rejection(
        f"{TOPIC}~0~{start + 3}", "birds", "text", str(TWIN.uri), Reason.EXACT_DUPLICATE, "", twin=f"{TOPIC}~0~0"
    )
    samples = texts("birds", 3, 3)
    batch = put_batch(store, 2, samples, start=start, rejections=[twin])
    put_downloads(store, batch, [*samples, TWIN], start)
    write_shards(store, settings, batch)
    return batch


def test_an_owner_falls_when_its_copy_on_the_way_was_taken_down(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """The order finds no sample: that the two have one content shows when the copy's batch is committed."""
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    batch = put_batch_with_twin(store, settings)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(TWIN.uri))]), now=NOW)
    assert files_with(store, SECRET.content)

    added, without = commit_batch(store, index, settings, batch)

    assert files_with(store, SECRET.content) == []
    assert (added.rows, without.rows, without.cause) == (7, 6, "takedown")
    assert is_withdrawn(store, "birds", 1)
    assert not is_withdrawn(store, "birds", without.version)
    receipt = read_receipt(store, batch)
    assert receipt is not None
    assert [item["sample_id"] for item in receipt["samples"]] == [f"{TOPIC}~0~0", f"{TOPIC}~0~13"]
    assert receipt["versions_without"] == {"birds": 3}
    assert {item["batch"] for item in receipt["erased"]} == {f"{TOPIC}~00000001", batch}
    assert {order["topic"] for order in receipt["orders"]} == {TAKEDOWNS}
    assert commit_batch(store, index, settings, batch) == [added]
    assert read_receipt(store, batch) == receipt


@pytest.mark.parametrize("failing_change", range(1, 23, 2))
def test_a_commit_that_died_while_it_erased_goes_on(
    failing_change: int, store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    batch = put_batch_with_twin(store, settings)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(TWIN.uri))]), now=NOW)
    failing = _Failing(Path(store.uri()))
    failing.changes_left = failing_change
    with pytest.raises(StoreUnavailable):
        commit_batch(failing, index, settings, batch)

    commit_batch(failing, index, settings, batch)

    assert files_with(store, SECRET.content) == []
    assert is_withdrawn(store, "birds", 1)
    receipt = read_receipt(store, batch)
    assert receipt is not None
    assert [item["sample_id"] for item in receipt["samples"]] == [f"{TOPIC}~0~0", f"{TOPIC}~0~13"]


@pytest.mark.parametrize("kind", ["uri", "sha256"])
def test_raw_bytes_of_a_replay_fall_though_the_index_names_the_batch_before(
    kind: str, store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    before = [Sample("birds", "text", "what the page said before", uri=SECRET.uri), *texts("birds", 3)]
    commit_all(store, index, settings, 1, before, 0)
    refused = Rejection(f"{TOPIC}~0~0", "birds", "text", str(SECRET.uri), Reason.CORRUPT_TEXT, "no text")
    replay = put_batch(store, 1, [], rejections=[refused], topic=replay_topic(TOPIC))
    put_downloads(store, replay, [SECRET], 0)
    write_shards(store, settings, replay)
    target = {"uri": str(SECRET.uri), "sha256": digest("raw " + SECRET.content)}[kind]
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [(kind, target)]), now=NOW)

    commit_batch(store, index, settings, replay)

    assert files_with(store, SECRET.content) == []
    # An order for the bytes says nothing of those that the same address gave before.
    assert bool(files_with(store, before[0].content)) == (kind == "sha256")
    assert read_version(store, "birds").rows == (4 if kind == "sha256" else 3)


def test_a_version_that_a_commit_put_before_it_saw_the_order_is_withdrawn(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    samples = [*texts("birds", 3), SECRET]
    batch = put_batch(store, 1, samples)
    put_downloads(store, batch, samples, 0)
    write_shards(store, settings, batch)
    order = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    racing = _RacingStore(Path(store.uri()))
    racing.before_version = lambda: apply_takedowns(store, index, settings, order, now=NOW)

    versions = commit_batch(racing, index, settings, batch)

    assert [version.rows for version in versions] == [4, 3]
    assert files_with(store, SECRET.content) == []
    assert is_withdrawn(store, "birds", 1)


class _RacingStore(LocalStore):
    """Calls a function once, right before the first version or the manifest of a stage is put."""

    before_version: Callable[[], object] | None = None
    before_manifest: Callable[[], object] | None = None

    def write(self, path: str, data: bytes) -> None:
        if self.before_manifest and path.startswith("stages/clean_text/"):
            call, self.before_manifest = self.before_manifest, None
            call()
        super().write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        if self.before_version and path.startswith("datasets/"):
            call, self.before_version = self.before_version, None
            call()
        return super().create(path, data)


def test_two_takedowns_that_erase_from_one_batch_at_a_time_bring_nothing_back(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """The first puts manifests that it made before the second erased: they hold what the second took out."""
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    samples = [*texts("birds", 4), TWIN, Sample("birds", "text", "another one that must go", uri="http://b.example/")]
    commit_all(store, index, settings, 1, samples, 0)
    first, second = (put_takedowns(store, number, [("uri", str(samples[-number].uri))]) for number in (1, 2))
    racing = _RacingStore(Path(store.uri()))
    other = threading.Thread(target=apply_takedowns, args=(store, index, settings, second))

    def race() -> None:
        other.start()
        # Without a lock it is done by then.
        other.join(0.5)

    racing.before_manifest = race
    apply_takedowns(racing, index, settings, first, now=NOW)
    other.join()

    assert files_with(store, TWIN.content) == []
    assert files_with(store, samples[-1].content) == []
    assert read_manifest(store, "downloads", f"{TOPIC}~00000001").count(Outcome.FILTERED) == 2
    assert read_version(store, "birds").rows == 4


class _Failing(LocalStore):
    """Fails once, at the change with this number."""

    changes_left = 1

    def write(self, path: str, data: bytes) -> None:
        self._change(path)
        super().write(path, data)

    def delete(self, path: str) -> None:
        self._change(path)
        super().delete(path)

    def _change(self, path: str) -> None:
        self.changes_left -= 1
        if self.changes_left == 0:
            raise StoreUnavailable(path, OSError("down"))


@pytest.mark.parametrize("failing_change", range(1, 15))
def test_a_takedown_that_died_while_it_erased_goes_on(
    failing_change: int, store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    failing = _Failing(Path(store.uri()))
    failing.changes_left = failing_change
    batch = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    with pytest.raises(StoreUnavailable):
        apply_takedowns(failing, index, settings, batch, now=NOW)
    assert read_receipt(store, batch) is None
    apply_takedowns(failing, index, settings, batch, now=NOW)
    assert files_with(store, SECRET.content) == []
    assert read_manifest(store, "downloads", f"{TOPIC}~00000001").numbers == {"samples": 6, "taken_down": 1}


def test_what_killed_attempts_left_of_a_sample_falls_at_once(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    (entry,) = read_manifest(store, "clean_text", f"{TOPIC}~00000001").tables["samples"]
    store.write(entry.path.replace("samples-", "killed-"), store.read(entry.path))
    other = entry.path.replace("samples-", "other-")
    store.write(other, b"of another attempt, and no table at all")
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    assert store.exists(other)
    store.delete(other)
    assert files_with(store, SECRET.content) == []


def test_receipt_says_what_where_and_when_and_is_sent_once(
    store: ObjectStore, index: Index, kafka_settings: Settings
) -> None:
    ensure_topics(kafka_settings)
    commit_all(store, index, kafka_settings, 1, [*texts("birds", 5), SECRET], 0)
    batch = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    for _ in range(2):
        apply_takedowns(store, index, kafka_settings, batch, now=NOW)
        publish_receipt(kafka_settings, store, batch)
    receipt = json.loads(store.read(f"takedowns/{batch}.json"))
    sealed = receipt.pop("sha256")
    assert hashlib.sha256(json.dumps(receipt, sort_keys=True).encode()).hexdigest() == sealed
    assert receipt["completed_at"] == NOW.isoformat()
    assert receipt["orders"][0]["requested_by"] == "author@example.org"
    assert [sample["sample_id"] for sample in receipt["samples"]] == [f"{TOPIC}~0~5"]
    assert receipt["versions_without"] == {"birds": 2}
    assert {item["stage"] for item in receipt["erased"]} == {
        "downloads",
        "clean_text",
        "text_features",
        "training_shards",
    }
    assert list(receipt["withdrawn"][0]["shards"].values()) == [[1, 2]]
    sent = [event for event in _events(kafka_settings) if event["schema"] == "ummp.takedown-receipt/1"]
    assert [item["sha256"] for item in sent] == [sealed]


def test_a_receipt_that_was_changed_or_signed_by_others_is_told_from_a_true_one(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    keys = [DatasetSettings(receipt_key=SecretStr(letter * 32)) for letter in "ab"]
    ours, others = (settings.model_copy(update={"datasets": key}) for key in keys)
    commit_all(store, index, ours, 1, [*texts("birds", 5), SECRET], 0)
    batch = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    apply_takedowns(store, index, ours, batch, now=NOW)
    receipt = load_receipt(store, batch)
    assert check_receipt(ours, receipt)
    assert not check_receipt(settings, receipt)
    with pytest.raises(ManifestCorrupt, match="signed with another key"):
        check_receipt(others, receipt)
    for change, complaint in (({"samples": []}, "its sha256 differs"), ({"sha256": "0"}, "its sha256 differs")):
        with pytest.raises(ManifestCorrupt, match=complaint):
            check_receipt(ours, {**receipt, **change})
    del receipt["hmac_sha256"]
    assert not check_receipt(settings, receipt)
    with pytest.raises(ManifestCorrupt, match="whole but not signed"):
        check_receipt(ours, receipt)


def test_accounting_of_the_stages_still_adds_up(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    batch = f"{TOPIC}~00000001"
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    downloads = read_manifest(store, "downloads", batch)
    clean = read_manifest(store, "clean_text", batch)
    assert downloads.rows("samples") + downloads.rejected == 6
    assert clean.rows("samples") + clean.rejected == downloads.rows("samples") == 5
    assert clean.inputs.get("downloads", downloads.sha256) == downloads.sha256
    rows = [row for part in read_table(store, downloads, "outcomes") for row in part.to_pylist()]
    assert [(row["sample_id"], row["outcome"], row["reason"]) for row in rows] == [
        (f"{TOPIC}~0~5", "filtered", "takedown")
    ]


def test_domains_of_names_the_host_and_every_domain_above() -> None:
    assert domains_of("https://u:p@CDN.Example.org:8443/a?b=secret.example") == [
        "cdn.example.org",
        "example.org",
        "org",
    ]
    assert domains_of("file:/srv/data") == []
    assert domains_of("http://[broken") == []
