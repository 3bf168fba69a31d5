"""Readers give rows as they were stored, and a training process loads neither Dagster nor pandas."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.waiting import wait_for_dataset
from ummp_assets.errors import InvalidInput, WaitTimeout
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import Sample, pixels, put_batch, texts

SPLITS = ("train", "validation", "test")


@pytest.fixture
def mixed(store: ObjectStore, index: Index, settings: Settings) -> Settings:
    """Settings of a store with one dataset of three modalities."""
    images = [Sample("mixed", "image", f"picture {number}", f'"{number}"') for number in range(12)]
    batch = put_batch(store, 1, [*texts("mixed", 50), *images, Sample("mixed", "audio", "sound")])
    write_shards(store, settings, batch)
    commit_batch(store, index, settings, batch)
    return settings


def test_splits_together_hold_every_sample_once(mixed: Settings) -> None:
    ids = []
    for split in SPLITS:
        dataset = open_dataset("mixed", split=split, settings=mixed)
        rows = [sample for batch in dataset.iter_batches(7) for sample in batch.column("sample_id").to_pylist()]
        assert len(rows) == len(dataset)
        ids += rows
    assert sorted(ids) == sorted(f"ummp.requests.normal~0~{offset}" for offset in range(63))


def test_images_come_back_as_the_tensors_that_were_stored(mixed: Settings) -> None:
    found = 0
    for split in SPLITS:
        for batch in open_dataset("mixed", split=split, modality="image", settings=mixed).iter_batches():
            images = batch.column("image").to_numpy_ndarray()
            for image, label in zip(images, batch.column("label").to_pylist(), strict=True):
                assert np.array_equal(image, pixels(f"picture {label.strip(chr(34))}"))
                found += 1
    assert found == 12


def test_to_arrow_and_to_pandas_hold_the_chosen_columns(mixed: Settings) -> None:
    dataset = open_dataset("mixed", modality="text", columns=["text", "tokens"], settings=mixed)
    table = dataset.to_arrow()
    assert table.column_names == ["text", "tokens"]
    assert table.num_rows == len(dataset) > 30
    frame = dataset.to_pandas()
    assert list(frame.columns) == ["text", "tokens"]
    assert (frame["tokens"] == frame["text"].str.len()).all()


def test_to_arrow_of_mixed_modalities_says_to_choose_one(mixed: Settings) -> None:
    with pytest.raises(InvalidInput, match="audio, image, text samples, whose columns differ: choose one"):
        open_dataset("mixed", settings=mixed).to_arrow()
    with pytest.raises(InvalidInput, match="choose one"):
        open_dataset("mixed", settings=mixed).to_tf()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "no split 'dev'"),
        ({"modality": "video"}, "no video samples, only audio, image, text"),
        ({"columns": ["colour"]}, "no column colour: it has"),
        ({"columns": "text"}, "columns='text': name each column once, in a list, or leave columns out for all"),
        ({"columns": []}, "name each column once"),
        ({"columns": ["text", "text"]}, "name each column once"),
    ],
)
def test_open_dataset_refuses_what_is_not_there(mixed: Settings, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_dataset("mixed", settings=mixed, **options)  # type: ignore[arg-type]


def test_columns_that_a_modality_has_none_of_are_refused(mixed: Settings) -> None:
    """Its rows would come without any column, and so not at all."""
    dataset = open_dataset("mixed", columns=["text"], settings=mixed)
    with pytest.raises(InvalidInput, match=r"samples, too, which have none of the columns text: choose a modality"):
        dataset.iter_batches()


def test_a_state_of_another_modality_is_refused(mixed: Settings) -> None:
    texts_read, images_read = (
        open_dataset("mixed", modality=name, settings=mixed).iter_batches() for name in ("text", "image")
    )
    with pytest.raises(InvalidInput, match=r"this state is of .* train text .* train image"):
        images_read.load_state_dict(texts_read.state_dict())


def test_reading_imports_neither_dagster_nor_pandas(mixed: Settings) -> None:
    code = (
        "import sys\n"
        "from ummp_assets.datasets.reader import open_dataset\n"
        "from ummp_assets.datasets.waiting import wait_for_dataset\n"
        "from ummp_assets.settings import load_settings\n"
        f"settings = load_settings(home={str(mixed.home)!r})\n"
        "wait_for_dataset('mixed', settings=settings, timeout_seconds=1)\n"
        "rows = sum(batch.num_rows for batch in open_dataset('mixed', settings=settings).iter_batches())\n"
        "print(rows > 30, [name for name in ('dagster', 'pandas', 'kafka', 'sqlalchemy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_wait_for_dataset_returns_when_the_version_comes(store: ObjectStore, index: Index, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    write_shards(store, settings, batch)
    later = threading.Timer(0.5, commit_batch, (store, index, settings, batch))
    later.start()
    version = wait_for_dataset("birds", timeout_seconds=20, settings=settings)
    later.join()
    assert (version.version, version.rows) == (1, 3)


def test_wait_for_dataset_says_what_the_newest_version_is(mixed: Settings) -> None:
    with pytest.raises(WaitTimeout, match=r"mixed had no version 2 after 0.1 s \(newest: 1"):
        wait_for_dataset("mixed", min_version=2, timeout_seconds=0.1, settings=mixed)
