"""Garbage goes, what is named or young stays; damage is found by name and mended from a replica."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.garbage import collect_garbage
from ummp_assets.datasets.replication import replicate
from ummp_assets.datasets.scrubbing import scrub
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_version
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import put_batch, texts
from ummp_assets_tests.datasets.conftest import Committer
from ummp_assets_tests.datasets.test_takedown import NOW, SECRET, commit_all, files_with, put_takedowns

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


def test_young_files_are_never_collected(store: ObjectStore, commit_samples: Committer) -> None:
    commit_samples(texts("birds", 5))
    path = "stages/downloads/ummp.requests.normal~00000009/samples-0000-new.parquet"
    store.write(path, b"of a run that has yet to put its manifest")
    assert collect_garbage(store, datetime.now(UTC)) == []
    target = Path(store.uri(path))
    os.utime(target, (target.stat().st_atime, target.stat().st_mtime - 90_000))
    assert collect_garbage(store, datetime.now(UTC)) == [path]


def test_scrub_names_damage_and_mends_it_from_the_replica(
    store: ObjectStore, commit_samples: Committer, tmp_path: Path
) -> None:
    version = commit_samples(texts("birds", 40))
    replica = LocalStore(tmp_path / "replica")
    assert replicate(store, replica)
    assert replicate(store, replica) == []
    assert _files(replica) == _files(store)
    assert scrub(store, replica) == []
    before = _files(store)
    missing, damaged = sorted(shard.path for shard in version.shards)[:2]
    store.delete(missing)
    store.write(damaged, before[damaged][:-1] + b"?")
    assert [(item.path, item.problem, item.repaired) for item in scrub(store)] == [
        (missing, "missing", False),
        (damaged, "its sha256 differs", False),
    ]
    assert [item.repaired for item in scrub(store, replica)] == [True, True]
    assert _files(store) == before


def test_a_damaged_or_lost_manifest_is_named_and_restored(
    store: ObjectStore, commit_samples: Committer, tmp_path: Path
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
    assert [(item.path, item.repaired) for item in scrub(store)] == [(stage, False)]
    assert [(item.path, item.repaired) for item in scrub(store, replica)] == [(version.path, True), (stage, True)]
    assert _files(store) == before
    assert scrub(store, replica) == []


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
        assert scrub(store) == []
        replicate(store, replica)
    committer.join()
    assert read_version(store, "birds").rows == 24
    replicate(store, replica)
    assert scrub(replica) == []
    assert read_version(replica, "birds") == read_version(store, "birds")


def test_a_damaged_replica_repairs_nothing(store: ObjectStore, commit_samples: Committer, tmp_path: Path) -> None:
    version = commit_samples(texts("birds", 5))
    replica = LocalStore(tmp_path / "replica")
    replicate(store, replica)
    path = version.shards[0].path
    for place in (store, replica):
        place.write(path, b"damaged")
    assert [item.repaired for item in scrub(store, replica)] == [False]


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


def test_replicate_follows_new_versions(store: ObjectStore, commit_samples: Committer, tmp_path: Path) -> None:
    replica = LocalStore(tmp_path / "replica")
    commit_samples(texts("birds", 5))
    replicate(store, replica)
    version = commit_samples(texts("birds", 5, 5))
    copied = replicate(store, replica)
    assert version.path in copied
    assert copied.index(version.path) > max(copied.index(path) for path in version.added_shards)
    assert read_version(replica, "birds") == version
