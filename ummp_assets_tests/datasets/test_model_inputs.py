"""Model inputs: shapes and numbers as stated, no token lost, the same after an interruption, the same in frameworks."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ummp_assets.datasets.model_inputs import InputOptions, InputStream
from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import DatasetSettings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.datasets.batches import SIDE, Sample, pixels, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def datasets(home: Path) -> dict[str, Dataset]:
    settings = load_settings(home=home, datasets=DatasetSettings(test_fraction=0, validation_fraction=0))
    store, index = open_store(settings), open_index(settings)
    images = [Sample("mixed", "image", f"picture {number}") for number in range(10)]
    sounds = [Sample("mixed", "audio", "sound" * (number + 1)) for number in range(5)]
    commit(store, index, settings, put_batch(store, 1, [*texts("mixed", 37), *images, *sounds]))
    index.close()
    return {kind: open_dataset("mixed", modality=kind, settings=settings) for kind in ("text", "image", "audio")}


def test_images_are_centred_scaled_and_channels_first(datasets: dict[str, Dataset]) -> None:
    options = InputOptions(image_mean=(0.5, 0.25, 0.0), image_std=(0.5, 0.25, 1.0))
    items = list(InputStream(datasets["image"].iter_batches(4), options))
    assert [item["image"].shape for item in items] == [(4, 3, SIDE, SIDE), (4, 3, SIDE, SIDE), (2, 3, SIDE, SIDE)]
    first = pixels("picture 0").astype(np.float64) / 255
    expected = np.stack([(first[..., 0] - 0.5) / 0.5, (first[..., 1] - 0.25) / 0.25, first[..., 2]])
    assert items[0]["image"].dtype == np.float32
    np.testing.assert_allclose(items[0]["image"][0], expected, atol=1e-5)


@pytest.mark.parametrize("batch_rows", [1, 5, 64])
def test_tokens_are_packed_without_loss_and_texts_told_apart(datasets: dict[str, Dataset], batch_rows: int) -> None:
    items = list(InputStream(datasets["text"].iter_batches(batch_rows), InputOptions(sequence_tokens=32)))
    tokens = np.concatenate([item["token_ids"] for item in items])
    documents = np.concatenate([item["document"] for item in items])
    assert tokens.shape == documents.shape
    assert tokens.shape[1] == 32
    whole = "".join(sample.content for sample in texts("mixed", 37)).encode()
    assert tokens[documents >= 0].astype(np.uint8).tobytes() == whole
    assert (documents[:, 0] == 0).all()
    # "text 0 word word word " has 22 characters: the second text begins there.
    assert documents[0].tolist() == [0] * 22 + [1] * 10


def test_spectrograms_are_padded_to_the_longest(datasets: dict[str, Dataset]) -> None:
    (item,) = InputStream(datasets["audio"].iter_batches(8))
    assert item["log_mel"].shape == (5, 2, 3)
    assert item["log_mel"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert item["frames"].tolist() == [3] * 5


@pytest.mark.parametrize("done", [0, 1, 3])
def test_packing_goes_on_exactly_after_an_interruption(datasets: dict[str, Dataset], done: int) -> None:
    options = InputOptions(sequence_tokens=50)

    def make() -> InputStream:
        return InputStream(datasets["text"].iter_batches(6, shuffle_seed=2), options)

    whole = [item["token_ids"].tolist() for item in make()]
    stream = make()
    items = iter(stream)
    seen = [next(items)["token_ids"].tolist() for _ in range(done)]
    state = json.loads(json.dumps(stream.state_dict()))
    resumed = make()
    resumed.load_state_dict(state)
    assert seen + [item["token_ids"].tolist() for item in resumed] == whole


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="sequence_tokens is 0"):
        InputOptions(sequence_tokens=0)
    with pytest.raises(InvalidInput, match="image_std"):
        InputOptions(image_std=(1, 0, 1))


@pytest.mark.parametrize(("method", "module"), [("to_torch", "torch"), ("to_tf", "tensorflow"), ("to_hf", "datasets")])
def test_a_framework_that_is_not_installed_is_named(datasets: dict[str, Dataset], method: str, module: str) -> None:
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    with pytest.raises(InvalidInput, match=f"{module} is not installed: pip install"):
        getattr(datasets["image"], method)()


def test_a_dataset_without_arrays_says_which_columns_it_has(datasets: dict[str, Dataset], home: Path) -> None:
    dataset = open_dataset("mixed", modality="text", columns=["text"], settings=load_settings(home=home))
    with pytest.raises(InvalidInput, match="none of token_ids, image and log_mel is among the columns text"):
        next(iter(InputStream(dataset.iter_batches())))
