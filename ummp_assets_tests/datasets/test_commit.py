"""Commits: numbered, immutable, idempotent; columns may be added but never change their type."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import (
    Column,
    DatasetVersion,
    dataset_path,
    list_datasets,
    read_shards,
    read_version,
)
from ummp_assets.errors import BatchAbandoned, DatasetNotFound, ManifestCorrupt, SchemaConflict, UnsupportedFormat
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount, StageWriter, stage_path
from ummp_assets_tests.datasets.batches import Sample, filtered, put_batch, texts


def commit(store: ObjectStore, index: Index, settings: Settings, batch: str) -> list[DatasetVersion]:
    write_shards(store, settings, batch)
    return commit_batch(store, index, settings, batch)


def test_commit_states_counts_outcomes_rules_and_watermark(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    rejections = [filtered("birds", 12), filtered("seas", 13)]
    batch = put_batch(store, 1, [*texts("birds", 10), *texts("seas", 2, 50)], rejections=rejections)
    birds, seas = commit(store, index, settings, batch)
    assert (birds.dataset, birds.version, birds.parent, birds.rows) == ("birds", 1, None, 10)
    assert (seas.dataset, seas.version, seas.rows) == ("seas", 1, 2)
    assert birds.outcomes == (
        OutcomeCount("birds", "text", "dead", "corrupt_text", 1),
        OutcomeCount("birds", "text", "stored", "", 10),
    )
    assert birds.watermark == {"ummp.requests.normal": {"0": 14}}
    assert birds.rules["clean_text.rule"] == ("1",)
    assert birds.code_versions["training_shards"] == ("2",)
    assert birds.added_batches == (batch,)
    assert sum(count.rows for count in birds.counts) == 10
    assert read_version(store, "birds") == birds
    assert list_datasets(store) == ["birds", "seas"]


def test_commit_of_a_batch_that_is_in_gives_its_version_and_writes_nothing(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    first = put_batch(store, 1, texts("birds", 5))
    (one,) = commit(store, index, settings, first)
    (two,) = commit(store, index, settings, put_batch(store, 2, texts("birds", 5, 5), start=5))
    before = {info.path: info.byte_count for info in store.list("datasets")}
    assert commit_batch(store, index, settings, first) == [one]
    assert {info.path: info.byte_count for info in store.list("datasets")} == before
    assert (two.version, two.parent, two.parent_sha256) == (2, 1, one.sha256)


def test_commit_after_a_crash_between_manifest_and_index_gives_the_same_version(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    batch = put_batch(store, 1, texts("birds", 5))
    (one,) = commit(store, index, settings, batch)
    with index.transaction() as connection:
        for table in ("dataset_versions", "dataset_batches", "dataset_shards", "shard_batches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    store.delete("datasets/birds/latest")
    assert commit_batch(store, index, settings, batch) == [one]
    assert not store.exists("datasets/birds/v2/manifest.json")


def test_a_version_is_unharmed_by_the_next_one(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 40)))
    before = store.read("datasets/birds/v1/manifest.json")
    opened = open_dataset("birds", 1, settings=settings)
    rows = opened.to_arrow()
    commit(store, index, settings, put_batch(store, 2, texts("birds", 40, 40), start=40))
    assert store.read("datasets/birds/v1/manifest.json") == before
    assert opened.to_arrow().equals(rows)
    assert len(open_dataset("birds", settings=settings)) > len(opened)


def test_a_batch_that_stored_nothing_makes_no_version(store: ObjectStore, index: Index, settings: Settings) -> None:
    assert commit(store, index, settings, put_batch(store, 1, [], rejections=[filtered("birds", 0)])) == []
    with pytest.raises(DatasetNotFound, match="there is no dataset birds"):
        read_version(store, "birds")


class _StoreThatSeesItGivenUp(LocalStore):
    """Commits the stage `abandonment` of a batch once the commit has looked for it and gone on to the shards."""

    batch = ""

    def read(self, path: str) -> bytes:
        if path == stage_path("training_shards", self.batch):
            with StageWriter(self, "abandonment", self.batch, {}) as writer:
                writer.commit(code_version="1")
        return super().read(path)


def test_a_batch_that_is_given_up_during_its_commit_makes_no_version(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    write_shards(store, settings, batch)
    racing = _StoreThatSeesItGivenUp(Path(store.uri()))
    racing.batch = batch
    with pytest.raises(BatchAbandoned, match="was given up"):
        commit_batch(racing, index, settings, batch)
    assert list_datasets(store) == []


def test_an_added_column_is_null_in_older_rows(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 20)))
    field = pa.field("quality", pa.float32())
    commit(store, index, settings, put_batch(store, 2, texts("birds", 20, 20), start=20, extra_text_column=field))
    table = open_dataset("birds", settings=settings).to_arrow()
    assert table.schema.field("quality") == field
    assert table.column("quality").null_count == table.num_rows
    assert Column("quality", "float", nullable=True) in read_version(store, "birds").columns["text"]


def test_a_column_of_another_type_is_refused_with_both_types(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, [Sample("birds", "image", "a")]))
    batch = put_batch(store, 2, [Sample("birds", "image", "b")], start=1, side=16)
    with pytest.raises(SchemaConflict, match=r"image.*uint8\[8,8,3\].*uint8\[16,16,3\]"):
        commit(store, index, settings, batch)
    assert read_version(store, "birds").version == 1


def test_version_sha256_covers_every_field(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 5)))
    path = "datasets/birds/v1/manifest.json"
    document = json.loads(store.read(path))
    shard = document["shards"][0]
    assert hashlib.sha256(store.read(shard["path"])).hexdigest() == shard["sha256"]
    document["shards"][0]["rows"] += 1
    store.write(path, json.dumps(document).encode())
    with pytest.raises(ManifestCorrupt, match="changed after it was written"):
        read_version(store, "birds", 1)


def test_a_manifest_of_a_newer_format_says_upgrade(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 5)))
    path = "datasets/birds/v1/manifest.json"
    store.write(path, store.read(path).replace(b'"format": 1', b'"format": 99'))
    with pytest.raises(UnsupportedFormat, match="upgrade"):
        read_version(store, "birds", 1)


@pytest.mark.parametrize("path", ["v1/manifest.json", "withdrawals/ummp.takedowns~00000001.json"])
def test_a_damaged_document_is_named_with_its_repair(
    path: str, store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 3)))
    store.write(dataset_path("birds", path), b"{")
    with pytest.raises(ManifestCorrupt, match=rf"{path} .*(scrub --repair|from a replica)"):
        open_dataset("birds", settings=settings)


def test_an_unknown_version_names_those_that_exist(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 5)))
    with pytest.raises(DatasetNotFound, match=r"birds has no version 7: its versions are 1 to 1"):
        read_version(store, "birds", 7)
    with pytest.raises(DatasetNotFound, match=r"no dataset fish .* there are: birds"):
        read_version(store, "fish")


def test_read_shards_gives_every_shard_once(store: ObjectStore, index: Index, settings: Settings) -> None:
    for number in range(3):
        commit(store, index, settings, put_batch(store, number + 1, texts("birds", 9, 9 * number), start=9 * number))
    version = read_version(store, "birds")
    shards = list(read_shards(store, version))
    assert sum(shard.rows for shard in shards) == version.rows == 27
    assert len({shard.path for shard in shards}) == len(shards)
