"""Many small batches stay few shards and small manifests, and no row is lost or doubled on the way."""

import pyarrow as pa
import pytest

from ummp_assets.datasets.changes import Change, make_version
from ummp_assets.datasets.compaction import FAN_IN, compact_dataset
from ummp_assets.datasets.versions import DatasetVersion, Shard, read_shards, read_version
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import TOPIC, put_batch, texts
from ummp_assets_tests.datasets.conftest import Committer
from ummp_assets_tests.datasets.test_commit import commit
from ummp_assets_tests.datasets.test_labels import labels_of


def test_small_batches_are_merged_and_every_row_stays(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    batches = 2 * FAN_IN
    for number in range(batches):
        version = commit_samples(texts("birds", 4, 4 * number))
    shards = list(read_shards(store, version))
    assert len(shards) < 2 * FAN_IN
    assert {shard.level for shard in shards if shard.split == "train"} == {1}
    assert sum(shard.rows for shard in shards) == version.rows == 4 * batches
    assert sorted(labels_of(settings, "birds")) == sorted(f"{TOPIC}~0~{offset}" for offset in range(4 * batches))
    # A merged shard still says which batches are in it.
    merged = next(shard for shard in shards if shard.level == 1 and shard.split == "train")
    assert len(DatasetIndex(index).batches_of(merged.path)) == FAN_IN
    current = DatasetIndex(index).shards_of("birds", [f"{TOPIC}~00000001"])
    assert all(shard.removed is None for shard in current)
    assert {shard.path for shard in current} <= {shard.path for shard in shards}


def test_merging_rows_of_two_schemas_fills_the_older_with_null(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    quality = pa.field("quality", pa.float32())
    for number in range(FAN_IN):
        extra = quality if number == 3 else None
        batch = put_batch(store, number + 1, texts("birds", 2, 2 * number), start=2 * number, extra_text_column=extra)
        (version,) = commit(store, index, settings, batch)
    assert any(shard.level == 1 for shard in version.shards)
    assert len(labels_of(settings, "birds")) == version.rows == 2 * FAN_IN


def test_compact_dataset_leaves_one_shard_of_a_split_and_nothing_to_do(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    for number in range(5):
        before = commit_samples(texts("birds", 20, 20 * number))
    version = compact_dataset(store, index, settings, "birds")
    assert version is not None
    assert (version.version, version.cause, version.rows) == (6, "compaction", 100)
    assert len(version.shards) == len({shard.split for shard in version.shards}) == 3
    assert version.outcomes == before.outcomes
    assert len(labels_of(settings, "birds")) == 100
    assert compact_dataset(store, index, settings, "birds") is None


def test_large_shards_are_cut_at_the_target(store: ObjectStore, index: Index, settings: Settings) -> None:
    small = settings.model_copy(update={"datasets": DatasetSettings(target_shard_bytes=60_000, test_fraction=0)})
    for number in range(FAN_IN):
        batch = put_batch(store, number + 1, texts("birds", 8, 8 * number, words=400), start=8 * number)
        (version,) = commit(store, index, small, batch)
    merged = [shard for shard in version.shards if shard.level == 1 and shard.split == "train"]
    assert all(shard.byte_count < 120_000 for shard in merged)
    assert sum(shard.rows for shard in read_shards(store, version)) == 8 * FAN_IN


@pytest.mark.parametrize("removed", [0, 5, 199])
def test_manifests_stay_small_and_full_shards_move_to_shared_lists(removed: int, store: ObjectStore) -> None:
    version: DatasetVersion | None = None
    sizes = []
    for number in range(200):
        shard = Shard(f"datasets/birds/shards/{number:04d}.parquet", "text", "train", 10, 5_000, "0" * 64, "0" * 64)
        change = Change("batch", batches=(f"{TOPIC}~{number:08d}",), added=[(shard, (f"{TOPIC}~{number:08d}",))])
        version = make_version(store, "birds", version, change, full_bytes=1_000)
        sizes.append(len(version.to_json()))
    assert version is not None
    assert max(sizes[100:]) < 1.1 * max(sizes[:100]) < 30_000
    assert len(version.shard_lists) == 3
    assert [shard.path for shard in read_shards(store, version)] == [
        f"datasets/birds/shards/{number:04d}.parquet" for number in range(200)
    ]
    gone = f"datasets/birds/shards/{removed:04d}.parquet"
    after = make_version(store, "birds", version, Change("takedown", removed=frozenset([gone])), full_bytes=1_000)
    assert after.rows == version.rows - 10 == 1_990
    assert gone not in [shard.path for shard in read_shards(store, after)]
    assert gone in [shard.path for shard in read_shards(store, version)]


def test_a_version_read_back_gives_the_same_bytes(store: ObjectStore, commit_samples: Committer) -> None:
    version = commit_samples(texts("birds", 5))
    assert read_version(store, "birds").to_json() == version.to_json() == store.read(version.path)
