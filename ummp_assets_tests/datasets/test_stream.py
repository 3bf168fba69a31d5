"""Streams: each row once an epoch whatever the parts, the same order for a seed, exact resumption in mid-epoch."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.datasets.reading_order import Part, RowGroup, deal, order_groups
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.errors import InvalidInput, ManifestCorrupt, StoreUnavailable
from ummp_assets.settings import DatasetSettings, Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.datasets.batches import Sample, pixels, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit
from ummp_assets_tests.storage.test_stages import _FailingStore, _LostFile


def _make_dataset(home: Path) -> tuple[Dataset, Settings]:
    """Return three batches of 40 to 60 rows in small shards."""
    small = DatasetSettings(target_shard_bytes=20_000, test_fraction=0, validation_fraction=0)
    settings = load_settings(home=home, datasets=small)
    store, index = open_store(settings), open_index(settings)
    for number, count in enumerate((40, 60, 53)):
        batch = put_batch(store, number + 1, texts("birds", count, 100 * number, words=30), start=100 * number)
        commit(store, index, settings, batch)
    index.close()
    return open_dataset("birds", settings=settings), settings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that tests only read."""
    return _make_dataset(tmp_path_factory.mktemp("shared"))[0]


@pytest.fixture
def own(tmp_path: Path) -> tuple[Dataset, ObjectStore]:
    """A dataset that a test may damage, and its store."""
    dataset, settings = _make_dataset(tmp_path / "own")
    return dataset, open_store(settings)


def ids(batches: BatchStream) -> list[str]:
    return list(chain.from_iterable(rows.column("sample_id").to_pylist() for rows in batches))


def test_batches_are_full_but_for_the_last(dataset: Dataset) -> None:
    assert [rows.num_rows for rows in dataset.iter_batches(50)] == [50, 50, 50, 3]
    assert [rows.num_rows for rows in dataset.iter_batches(50, drop_last=True)] == [50, 50, 50]


def test_without_a_seed_rows_come_in_order(dataset: Dataset) -> None:
    assert ids(dataset.iter_batches(7)) == dataset.to_arrow().column("sample_id").to_pylist()


def test_a_seed_fixes_the_order_and_each_epoch_has_its_own(dataset: Dataset) -> None:
    stream = dataset.iter_batches(7, shuffle_seed=3)
    first, second = ids(stream), ids(stream)
    assert sorted(first) == sorted(second) == sorted(ids(dataset.iter_batches()))
    assert first != second
    assert ids(dataset.iter_batches(20, shuffle_seed=3)) == first
    assert ids(dataset.iter_batches(7, shuffle_seed=4)) != first


@pytest.mark.parametrize(("world_size", "workers"), [(1, 1), (2, 1), (3, 2), (5, 4), (200, 1)])
@pytest.mark.parametrize("seed", [None, 9])
def test_parts_together_hold_every_row_once(dataset: Dataset, world_size: int, workers: int, seed: int | None) -> None:
    parts = [
        ids(dataset.iter_batches(10, shuffle_seed=seed, part=Part(rank, world_size, worker, workers)))
        for rank in range(world_size)
        for worker in range(workers)
    ]
    assert sorted(chain.from_iterable(parts)) == sorted(ids(dataset.iter_batches()))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("seed", [None, 9])
@pytest.mark.parametrize("done", [0, 1, 4, 7, 15])
def test_a_resumed_stream_gives_exactly_the_rest(dataset: Dataset, seed: int | None, done: int) -> None:
    part = Part(1, 2)
    whole = ids(dataset.iter_batches(5, shuffle_seed=seed, part=part))
    stream = dataset.iter_batches(5, shuffle_seed=seed, part=part)
    batches = iter(stream)
    seen = [sample for _ in range(done) for sample in next(batches).column("sample_id").to_pylist()]
    state = stream.state_dict()
    batches.close()  # type: ignore[attr-defined]
    resumed = dataset.iter_batches(5, shuffle_seed=seed, part=part)
    resumed.load_state_dict(state)
    rest = ids(resumed)
    assert seen + rest == whole
    assert ids(resumed) != rest or seed is None


def test_a_state_of_another_stream_is_refused(dataset: Dataset) -> None:
    state = dataset.iter_batches(5, shuffle_seed=1).state_dict()
    with pytest.raises(InvalidInput, match=r"seed 1 .* seed 2"):
        dataset.iter_batches(5, shuffle_seed=2).load_state_dict(state)


def test_a_damaged_page_names_the_shard_and_the_repair(own: tuple[Dataset, ObjectStore]) -> None:
    dataset, store = own
    path = dataset.shards[1].path
    data = bytearray(store.read(path))
    for position in range(200, len(data) // 2):
        data[position] ^= 0xFF
    store.write(path, bytes(data))
    with pytest.raises(ManifestCorrupt, match=rf"{path} is missing or damaged.*scrub --repair"):
        ids(dataset.iter_batches())


def test_a_missing_shard_is_named(own: tuple[Dataset, ObjectStore]) -> None:
    dataset, store = own
    store.delete(dataset.shards[2].path)
    with pytest.raises(ManifestCorrupt, match=dataset.shards[2].path):
        ids(dataset.iter_batches())


def test_mixed_modalities_come_in_batches_of_one(store: ObjectStore, index: Index, settings: Settings) -> None:
    images = [Sample("mixed", "image", f"picture {number}") for number in range(12)]
    commit(store, index, settings, put_batch(store, 1, [*texts("mixed", 20), *images]))
    stream = open_dataset("mixed", settings=settings).iter_batches(8, shuffle_seed=1)
    kinds = [set(rows.column("modality").to_pylist()) for rows in stream]
    assert {frozenset(kind) for kind in kinds} == {frozenset({"text"}), frozenset({"image"})}


@pytest.mark.parametrize(("rank", "world_size", "worker", "workers"), [(1, 1, 0, 1), (-1, 2, 0, 1), (0, 1, 3, 3)])
def test_an_impossible_part_is_refused(rank: int, world_size: int, worker: int, workers: int) -> None:
    with pytest.raises(InvalidInput, match="both count from 0"):
        Part(rank, world_size, worker, workers)


def test_deal_cuts_inside_row_groups() -> None:
    groups = [RowGroup(0, 0, 0, 5), RowGroup(0, 1, 0, 5)]
    assert deal(groups, Part(0, 4)) == [RowGroup(0, 0, 0, 2)]
    assert deal(groups, Part(2, 4)) == [RowGroup(0, 1, 0, 2)]
    assert deal(groups, Part(1, 4)) == [RowGroup(0, 0, 2, 5)]
    assert order_groups(groups, None, 3) == groups


def test_batches_of_no_rows_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InvalidInput, match="batch_rows is 0"):
        dataset.iter_batches(0)


@pytest.mark.parametrize("seed", [None, 5])
def test_large_values_come_from_any_store_as_they_were_stored(tmp_path: Path, seed: int | None) -> None:
    contents = [f"picture {number}" for number in range(50)]
    for url in (str(tmp_path / "store"), f"memory://{tmp_path.name}{seed}"):
        small = DatasetSettings(target_shard_bytes=200_000, test_fraction=0, validation_fraction=0)
        settings = load_settings(home=tmp_path / url.replace("/", "_"), store=url, store_fsync=False, datasets=small)
        store, index = open_store(settings), open_index(settings)
        images = [Sample("birds", "image", content, content) for content in contents]
        commit(store, index, settings, put_batch(store, 1, images, side=64))
        index.close()
        dataset = open_dataset("birds", settings=settings)
        assert len(dataset.shards) > 1
        seen = []
        for rows in dataset.iter_batches(7, shuffle_seed=seed):
            labels = rows.column("label").to_pylist()
            for label, image in zip(labels, rows.column("image").to_numpy_ndarray(), strict=True):
                assert np.array_equal(image, pixels(label, 64))
            seen += labels
        assert sorted(seen) == sorted(contents)
        assert (seen == contents) == (seed is None)


def test_a_failing_store_is_no_damage(own: tuple[Dataset, ObjectStore]) -> None:
    version, store = own[0].version, own[1]
    failing = _FailingStore(Path(store.uri()), [])
    dataset = Dataset(failing, version, split="train")
    stream = dataset.iter_batches(10)
    first = next(iter(stream))
    failing.failures.append(_LostFile())
    with pytest.raises(StoreUnavailable, match=dataset.shards[0].path):
        ids(stream)
    assert failing.failures == []
    # The next try goes on where the stream stood.
    assert first.column("sample_id").to_pylist() + ids(stream) == ids(own[0].iter_batches())
