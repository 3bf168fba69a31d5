"""Garbage goes, what is named or young stays; damage is found by name and mended from a replica."""

import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.garbage import collect_garbage
from ummp_assets.datasets.receipts import receipt_path
from ummp_assets.datasets.replication import replicate
from ummp_assets.datasets.restoring import restore_manifest
from ummp_assets.datasets.scrubbing import DamagedFile, scrub
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_version
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectInfo, ObjectStore
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.datasets.batches import TOPIC, digest, put_batch, texts
from ummp_assets_tests.datasets.conftest import Committer
from ummp_assets_tests.datasets.test_takedown import NOW, SECRET, commit_all, files_with, put_downloads, put_takedowns

LATER = datetime.now(UTC) + timedelta(days=2)


def _files(store: ObjectStore) -> dict[str, bytes]:
    return {info.path: store.read(info.path) for info in store.list()}


def test_garbage_is_collected_and_named_files_stay(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 5))
    commit_samples(texts("birds", 5, 5))
    compact_dataset(store, index, settings, "birds")
    before = _files(store)
    garbage = [
        "stages/clean_text/ummp.requests.normal~00000001/samples-0000-dead.parquet",
        "datasets/birds/shards/x.parquet",
    ]
    for path in garbage:
        store.write(path, b"left by a killed run")
    assert sorted(collect_garbage(store, LATER)) == sorted(garbage)
    assert _files(store) == before
    assert collect_garbage(store, LATER) == []


class _CountingStore(LocalStore):
    """Notes the folders that are listed."""

    listed: tuple[str, ...] = ()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.listed += (prefix,)
        return super().list(prefix)


def test_a_folder_with_much_garbage_is_listed_once(store: ObjectStore) -> None:
    for number in range(20):
        store.write(f"datasets/birds/shards/{number}.parquet", b"left by a killed run")
    counting = _CountingStore(Path(store.uri()))
    assert len(collect_garbage(counting, LATER)) == 20
    assert counting.listed.count("datasets/birds/shards") == 1


def test_young_files_are_never_collected(store: ObjectStore, commit_samples: Committer) -> None:
    commit_samples(texts("birds", 5))
    path = "stages/downloads/ummp.requests.normal~00000009/samples-0000-new.parquet"
    store.write(path, b"of a run that has yet to put its manifest")
    assert collect_garbage(store, datetime.now(UTC)) == []
    target = Path(store.uri(path))
    os.utime(target, (target.stat().st_atime, target.stat().st_mtime - 90_000))
    assert collect_garbage(store, datetime.now(UTC)) == [path]


def test_scrub_names_damage_and_mends_it_from_the_replica(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer, tmp_path: Path
) -> None:
    version = commit_samples(texts("birds", 40))
    replica = LocalStore(tmp_path / "replica")
    assert replicate(store, replica)
    assert replicate(store, replica) == []
    assert _files(replica) == _files(store)
    assert scrub(store, index, settings, replica) == []
    before = _files(store)
    missing, damaged = sorted(shard.path for shard in version.shards)[:2]
    store.delete(missing)
    store.write(damaged, before[damaged][:-1] + b"?")
    assert [(item.path, item.problem, item.repaired) for item in scrub(store, index, settings)] == [
        (missing, "missing", False),
        (damaged, "its sha256 differs", False),
    ]
    assert [item.repaired for item in scrub(store, index, settings, replica)] == [True, True]
    assert _files(store) == before


def test_a_damaged_or_lost_manifest_is_named_and_restored(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer, tmp_path: Path
) -> None:
    version = commit_samples(texts("birds", 5))
    commit_samples(texts("birds", 5, 5))
    replica = LocalStore(tmp_path / "replica")
    replicate(store, replica)
    before = _files(store)
    stage = "stages/clean_text/ummp.requests.normal~00000001/manifest.json"
    store.write(stage, before[stage][:-9])
    store.delete(version.path)
    with pytest.raises(ManifestCorrupt, match="clean_text"):
        collect_garbage(store, LATER)
    assert replicate(store, replica) == []
    assert [(item.path, item.repaired) for item in scrub(store, index, settings)] == [(stage, False)]
    assert [(item.path, item.repaired) for item in scrub(store, index, settings, replica)] == [
        (version.path, True),
        (stage, True),
    ]
    assert _files(store) == before
    assert scrub(store, index, settings, replica) == []


def test_a_damaged_file_is_not_copied_to_the_replica(
    store: ObjectStore, commit_samples: Committer, tmp_path: Path
) -> None:
    version = commit_samples(texts("birds", 5))
    replica = LocalStore(tmp_path / "replica")
    path = version.shards[0].path
    whole = store.read(path)
    store.write(path, whole[:-1])
    assert path not in replicate(store, replica)
    assert not replica.exists(path)
    store.write(path, whole)
    assert replicate(store, replica) == [path]


def test_upkeep_goes_on_while_batches_are_committed(
    store: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    """Compaction, collection, scrub and replication in a loop beside committers: nothing is lost, nothing damaged."""
    replica = LocalStore(tmp_path / "replica")
    batches = [put_batch(store, number, texts("birds", 3, 3 * number), start=3 * number) for number in range(1, 9)]
    done = threading.Event()

    def commit() -> None:
        for batch in batches:
            write_shards(store, settings, batch)
            commit_batch(store, index, settings, batch)
        done.set()

    committer = threading.Thread(target=commit)
    committer.start()
    while not done.is_set():
        compact_dataset(store, index, settings, "birds")
        assert collect_garbage(store, datetime.now(UTC)) == []
        assert scrub(store, index, settings) == []
        replicate(store, replica)
    committer.join()
    assert read_version(store, "birds").rows == 24
    replicate(store, replica)
    assert scrub(replica, index, settings) == []
    assert read_version(replica, "birds") == read_version(store, "birds")


def test_a_damaged_replica_repairs_nothing(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer, tmp_path: Path
) -> None:
    version = commit_samples(texts("birds", 5))
    replica = LocalStore(tmp_path / "replica")
    replicate(store, replica)
    path = version.shards[0].path
    for place in (store, replica):
        place.write(path, b"damaged")
    assert [item.repaired for item in scrub(store, index, settings, replica)] == [False]


def test_a_takedown_leaves_the_replica_too(
    store: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    replica = LocalStore(tmp_path / "replica")
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    replicate(store, replica)
    assert len(files_with(replica, SECRET.content)) == 3
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    replicate(store, replica)
    assert files_with(replica, SECRET.content) == []


def put_batch_on_its_way(store: ObjectStore, settings: Settings) -> str:
    """Bring a batch up to its commit; its secret is a large object."""
    samples = [*texts("birds", 3), SECRET]
    batch = put_batch(store, 1, samples)
    put_downloads(store, batch, samples, 0)
    write_shards(store, settings, batch)
    return batch


def test_a_replica_forgets_what_a_commit_erased(
    store: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    replica = LocalStore(tmp_path / "replica")
    batch = put_batch_on_its_way(store, settings)
    replicate(store, replica)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    replicate(store, replica)
    assert files_with(replica, SECRET.content)
    commit_batch(store, index, settings, batch)
    # Killed before it could say so, the commit would leave the receipt without the blob.
    store.delete(receipt_path(batch))
    replicate(store, replica)
    assert files_with(replica, SECRET.content) == []


def test_a_lost_blob_is_named_stays_in_the_replica_and_is_restored(
    store: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    replica = LocalStore(tmp_path / "replica")
    commit_all(store, index, settings, 1, [*texts("birds", 3), SECRET], 0)
    replicate(store, replica)
    blob = f"blobs/{digest('raw ' + SECRET.content)}"
    before = store.read(blob)
    store.delete(blob)
    replicate(store, replica)
    assert scrub(store, index, settings) == [DamagedFile(blob, "missing", repaired=False)]
    assert scrub(store, index, settings, replica) == [DamagedFile(blob, "missing", repaired=True)]
    assert store.read(blob) == before


def test_a_damaged_or_lost_receipt_is_named_not_copied_and_restored(
    store: ObjectStore, index: Index, settings: Settings, taken_down: LocalStore
) -> None:
    (path,) = (info.path for info in store.list("takedowns"))
    replicate(store, taken_down)
    before = store.read(path)
    store.write(path, before.replace(b"birds", b"cages"))
    assert replicate(store, taken_down) == []
    assert scrub(store, index, settings) == [DamagedFile(path, "its sha256 differs", repaired=False)]
    assert scrub(store, index, settings, taken_down) == [DamagedFile(path, "its sha256 differs", repaired=True)]
    store.delete(path)
    assert scrub(store, index, settings, taken_down) == [DamagedFile(path, "missing", repaired=True)]
    assert store.read(path) == before


STAGES = ("downloads", "clean_text", "text_features", "training_shards")


@pytest.fixture
def taken_down(store: ObjectStore, index: Index, settings: Settings, tmp_path: Path) -> LocalStore:
    """A replica from before a takedown that has left the store."""
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    replica = LocalStore(tmp_path / "replica")
    commit_all(store, index, settings, 1, [*texts("birds", 5), SECRET], 0)
    replicate(store, replica)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    assert files_with(store, SECRET.content) == []
    return replica


@pytest.mark.parametrize("stages", [*((stage,) for stage in STAGES), STAGES], ids=lambda stages: "-".join(stages))
def test_repair_from_an_old_replica_brings_nothing_back_that_was_taken_down(
    stages: Sequence[str], store: ObjectStore, index: Index, settings: Settings, taken_down: LocalStore
) -> None:
    before = _files(store)
    for stage in stages:
        store.write(f"stages/{stage}/{TOPIC}~00000001/manifest.json", b"{")
    assert all(item.repaired for item in scrub(store, index, settings, taken_down))
    assert files_with(store, SECRET.content) == []
    assert scrub(store, index, settings) == []
    assert set(_files(store)) == set(before)
    tables = (read_manifest(store, stage, f"{TOPIC}~00000001").rows("samples") for stage in STAGES[:-1])
    assert list(tables) == [5, 5, 5]


def test_a_repair_that_died_before_it_erased_is_finished_by_the_next_one(
    store: ObjectStore, index: Index, settings: Settings, taken_down: LocalStore
) -> None:
    restore_manifest(store, taken_down, f"stages/clean_text/{TOPIC}~00000001/manifest.json")
    assert files_with(store, SECRET.content)
    scrub(store, index, settings)
    assert files_with(store, SECRET.content) == []


def test_a_manifest_is_not_restored_that_could_not_be_erased_from(
    store: ObjectStore, index: Index, settings: Settings, taken_down: LocalStore
) -> None:
    (old,) = read_manifest(taken_down, "downloads", f"{TOPIC}~00000001").tables["samples"]
    taken_down.delete(old.path)
    path = f"stages/downloads/{TOPIC}~00000001/manifest.json"
    store.write(path, b"{")
    assert [(item.path, item.repaired) for item in scrub(store, index, settings, taken_down)] == [(path, False)]
    assert files_with(store, SECRET.content) == []


def test_replicate_follows_new_versions(store: ObjectStore, commit_samples: Committer, tmp_path: Path) -> None:
    replica = LocalStore(tmp_path / "replica")
    commit_samples(texts("birds", 5))
    replicate(store, replica)
    version = commit_samples(texts("birds", 5, 5))
    copied = replicate(store, replica)
    assert version.path in copied
    assert copied.index(version.path) > max(copied.index(path) for path in version.added_shards)
    assert read_version(replica, "birds") == version
