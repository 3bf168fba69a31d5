"""Reading from S3: the same rows in the same order as from a folder, resumed, divided and followed."""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.datasets.reading_order import Part
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.settings import DatasetSettings, Settings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.datasets.batches import Sample, pixels, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit

_SMALL = DatasetSettings(target_shard_bytes=200_000, test_fraction=0, validation_fraction=0)
_IMAGES = [Sample("mixed", "image", f"picture {number}", f'"picture {number}"') for number in range(40)]


def _fill(settings: Settings) -> Settings:
    """Commit two batches of 70 texts and 40 pictures in several shards."""
    store, index = open_store(settings), open_index(settings)
    commit(store, index, settings, put_batch(store, 1, [*texts("mixed", 40, words=30), *_IMAGES[:25]], side=64))
    rest = [*texts("mixed", 30, 40, words=30), *_IMAGES[25:]]
    commit(store, index, settings, put_batch(store, 2, rest, start=65, side=64))
    index.close()
    return settings


@pytest.fixture(scope="module")
def on_s3(s3_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return _fill(load_settings(home=tmp_path_factory.mktemp("home"), store=s3_url, datasets=_SMALL))


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return _fill(load_settings(home=tmp_path_factory.mktemp("home"), store_fsync=False, datasets=_SMALL))


@pytest.fixture(params=["image", "text"])
def both(request: pytest.FixtureRequest, on_s3: Settings, in_folder: Settings) -> list[Dataset]:
    """One modality of the dataset on S3, and in a folder."""
    return [open_dataset("mixed", modality=request.param, settings=settings) for settings in (on_s3, in_folder)]


def ids(batches: Iterable[pa.RecordBatch]) -> list[str]:
    return list(chain.from_iterable(rows.column("sample_id").to_pylist() for rows in batches))


@pytest.mark.parametrize("seed", [None, 3])
def test_rows_come_as_from_a_folder_in_each_epoch(both: list[Dataset], seed: int | None) -> None:
    on_s3, in_folder = (dataset.iter_batches(7, shuffle_seed=seed) for dataset in both)
    assert len(both[0].shards) >= 2
    for _epoch in range(2):
        for ours, theirs in zip(on_s3, in_folder, strict=True):
            assert ours.equals(theirs)


@pytest.mark.parametrize("seed", [None, 3])
def test_pictures_are_those_that_were_stored(on_s3: Settings, seed: int | None) -> None:
    seen = []
    dataset = open_dataset("mixed", modality="image", columns=["label", "image"], settings=on_s3)
    for rows in dataset.iter_batches(16, shuffle_seed=seed):
        labels = [label.strip('"') for label in rows.column("label").to_pylist()]
        for label, image in zip(labels, rows.column("image").to_numpy_ndarray(), strict=True):
            assert np.array_equal(image, pixels(label, 64))
        seen += labels
    assert sorted(seen) == sorted(image.content for image in _IMAGES)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_resumed_part_gives_exactly_the_rest(on_s3: Settings, seed: int | None) -> None:
    dataset = open_dataset("mixed", settings=on_s3)
    whole: list[str] = []
    for rank in range(2):
        stream = dataset.iter_batches(5, shuffle_seed=seed, part=Part(rank, 2))
        batches = iter(stream)
        seen = ids(next(batches) for _ in range(4))
        resumed = dataset.iter_batches(5, shuffle_seed=seed, part=Part(rank, 2))
        resumed.load_state_dict(stream.state_dict())
        batches.close()  # type: ignore[attr-defined]
        whole += seen + ids(resumed)
    assert sorted(whole) == sorted(ids(dataset.iter_batches()))
    assert len(whole) == 110


def test_a_reader_follows_a_dataset_on_s3(on_s3: Settings) -> None:
    first = open_dataset("mixed", 1, modality="text", columns=["sample_id"], settings=on_s3)
    newest = open_dataset("mixed", modality="text", settings=on_s3)
    assert ids(first.iter_batches(9, follow=True, idle_seconds=0.1)) == ids(newest.iter_batches())


def test_what_is_missing_or_damaged_on_s3_is_named(s3_url: str, tmp_path: Path) -> None:
    settings = _fill(load_settings(home=tmp_path, store=f"{s3_url}-damaged", datasets=_SMALL))
    store = open_store(settings)
    dataset = open_dataset("mixed", modality="image", settings=settings)
    path = dataset.shards[1].path
    data = store.read(path)
    store.write(path, data[:1_000] + bytes(1_000) + data[2_000:])
    with pytest.raises(ManifestCorrupt, match=rf"{path} is missing or damaged.*scrub --repair"):
        ids(dataset.iter_batches())
    store.delete(path)
    with pytest.raises(ManifestCorrupt, match=rf"{path} is missing or damaged.*scrub --repair"):
        ids(dataset.iter_batches())


def _read_in_child(dataset: Dataset, part: Part) -> list[str]:
    return ids(dataset.iter_batches(9, part=part))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_loader_processes_read_what_their_parent_opened(on_s3: Settings, method: str) -> None:
    dataset = open_dataset("mixed", modality="text", settings=on_s3)
    # The parent has read, so that its connections and threads exist.
    whole = ids(dataset.iter_batches())
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        parts = list(pool.map(_read_in_child, [dataset] * 2, [Part(worker=number, workers=2) for number in (0, 1)]))
    assert parts[0] + parts[1] == whole
