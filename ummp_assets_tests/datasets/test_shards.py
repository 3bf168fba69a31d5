"""Clean rows and features become shards: joined, split by content, the same bytes each time."""

import json

import pytest

from ummp_assets.datasets.shard_files import read_shard
from ummp_assets.datasets.shards import shard_key, write_shards
from ummp_assets.datasets.splits import split_of
from ummp_assets.errors import AccountingMismatch, ManifestCorrupt, ManifestMissing
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import Sample, digest, put_batch, texts


def test_write_shards_joins_features_and_keeps_every_row(store: ObjectStore, settings: Settings) -> None:
    samples = [*texts("birds", 60), Sample("birds", "image", "picture", '"owl"'), Sample("seas", "audio", "sound")]
    manifest = write_shards(store, settings, put_batch(store, 1, samples))
    assert {name: manifest.rows(name) for name in manifest.tables} == {
        "birds~image": 1,
        "birds~text": 60,
        "seas~audio": 1,
    }
    assert manifest.numbers["rows"] == 62
    ids = []
    for entry in manifest.tables["birds~text"]:
        split = shard_key("birds~text", entry).split
        for rows in read_shard(store, entry.path, entry.footer_sha256):
            assert set(rows.column("split").to_pylist()) == {split}
            assert set(rows.column("modality").to_pylist()) == {"text"}
            assert rows.column("tokens").to_pylist() == [len(text) for text in rows.column("text").to_pylist()]
            ids += rows.column("sample_id").to_pylist()
    assert sorted(ids) == sorted(f"ummp.requests.normal~0~{offset}" for offset in range(60))


def test_write_shards_gives_the_same_manifest_again(store: ObjectStore, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 30))
    assert write_shards(store, settings, batch).to_json() == write_shards(store, settings, batch).to_json()


def test_write_shards_cuts_files_at_the_target_size(store: ObjectStore, settings: Settings) -> None:
    small = settings.model_copy(update={"datasets": DatasetSettings(target_shard_bytes=40_000, test_fraction=0)})
    many = [Sample("birds", "text", f"{number} " + digest(str(number)) * 100) for number in range(200)]
    manifest = write_shards(store, small, put_batch(store, 1, many))
    trains = [entry for entry in manifest.tables["birds~text"] if shard_key("birds~text", entry).split == "train"]
    assert len(trains) > 5
    assert all(40_000 <= entry.byte_count < 100_000 for entry in trains[:-1])


def test_write_shards_of_an_empty_batch_writes_no_table(store: ObjectStore, settings: Settings) -> None:
    assert write_shards(store, settings, put_batch(store, 1, [])).tables == {}


def test_write_shards_refuses_features_of_other_samples(store: ObjectStore, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    put_batch(store, 2, texts("birds", 3), start=50)
    other = store.read("stages/text_features/ummp.requests.normal~00000002/manifest.json")
    store.write(f"stages/text_features/{batch}/manifest.json", other)
    with pytest.raises(AccountingMismatch, match="another run of clean_text: materialize text_features again"):
        write_shards(store, settings, batch)


def test_write_shards_refuses_features_of_an_earlier_run_of_the_same_samples(
    store: ObjectStore, settings: Settings
) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    features = store.read(f"stages/text_features/{batch}/manifest.json")
    put_batch(store, 1, texts("birds", 3, words=4))
    store.write(f"stages/text_features/{batch}/manifest.json", features)
    with pytest.raises(AccountingMismatch, match="another run of clean_text"):
        write_shards(store, settings, batch)


def test_write_shards_refuses_features_in_another_order(store: ObjectStore, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    path = f"stages/text_features/{batch}/manifest.json"
    right = json.loads(store.read(path))
    put_batch(store, 2, texts("birds", 3), start=50)
    other = json.loads(store.read("stages/text_features/ummp.requests.normal~00000002/manifest.json"))
    store.write(path, json.dumps({**other, "inputs": right["inputs"]}).encode())
    with pytest.raises(AccountingMismatch, match="different samples"):
        write_shards(store, settings, batch)


def test_write_shards_names_the_stage_that_is_missing(store: ObjectStore, settings: Settings) -> None:
    with pytest.raises(ManifestMissing, match="clean_text has not committed"):
        write_shards(store, settings, "ummp.requests.normal~00000009")


def test_read_shard_names_the_damaged_shard_and_the_repair(store: ObjectStore, settings: Settings) -> None:
    manifest = write_shards(store, settings, put_batch(store, 1, texts("birds", 5)))
    entry = manifest.tables["birds~text"][0]
    store.write(entry.path, store.read(entry.path)[:-40] + b"x" * 40)
    with pytest.raises(ManifestCorrupt, match=rf"{entry.path}.*ummp datasets scrub --repair"):
        list(read_shard(store, entry.path, entry.footer_sha256))


def test_split_of_keeps_its_shares_and_never_moves_a_content() -> None:
    settings = DatasetSettings(validation_fraction=0.1, test_fraction=0.2)
    contents = [digest(str(number)) for number in range(4_000)]
    splits = [split_of(content, settings) for content in contents]
    assert abs(splits.count("test") / 4_000 - 0.2) < 0.03
    assert abs(splits.count("validation") / 4_000 - 0.1) < 0.03
    larger = DatasetSettings(validation_fraction=0.1, test_fraction=0.4)
    moved = [(before, split_of(content, larger)) for content, before in zip(contents, splits, strict=True)]
    assert {change for change in moved if change[0] != change[1]} == {("train", "test")}
