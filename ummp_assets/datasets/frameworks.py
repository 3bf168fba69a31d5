"""A dataset in PyTorch, TensorFlow and Hugging Face `datasets`, each imported only when it is asked for."""

import importlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ummp_assets.datasets.model_inputs import InputOptions, InputStream
from ummp_assets.datasets.reading_order import Part
from ummp_assets.errors import InvalidInput

if TYPE_CHECKING:
    from ummp_assets.datasets.reader import Dataset

__all__ = ["to_hf", "to_tf", "to_torch"]

_MAX_HF_SHARDS = 64


def to_torch(
    dataset: "Dataset", batch_rows: int, shuffle_seed: int | None, part: Part, options: InputOptions | None
) -> Any:
    """Return a `torch.utils.data.IterableDataset` of model inputs; see `Dataset.to_torch`."""
    _import("torch", "ummp-assets[torch]")
    from ummp_assets.datasets.torch_dataset import TorchDataset

    return TorchDataset(dataset, batch_rows, shuffle_seed, part, options)


def to_tf(
    dataset: "Dataset", batch_rows: int, shuffle_seed: int | None, part: Part, options: InputOptions | None
) -> Any:
    """Return a `tf.data.Dataset` of model inputs; see `Dataset.to_tf`."""
    if not len(dataset):
        raise InvalidInput(f"the split {dataset.split} of {dataset.version.dataset} has no row to take the shapes from")
    # Raises for several modalities: a `tf.data.Dataset` has one signature.
    _ = dataset.schema
    tf = _import("tensorflow", "tensorflow")
    example = next(iter(InputStream(dataset.iter_batches(min(batch_rows, 2)), options)))
    kinds = {name: value.dtype if hasattr(value, "dtype") else tf.string for name, value in example.items()}
    signature = {
        name: tf.TensorSpec((None, *[None] * (np.ndim(value) - 1)), kinds[name]) for name, value in example.items()
    }
    epochs = itertools.count()

    def items() -> Iterator[dict[str, Any]]:
        # A stream of its own for each iteration: TensorFlow may leave one before its end, and read ahead in the next.
        stream = InputStream(dataset.iter_batches(batch_rows, shuffle_seed=shuffle_seed, part=part), options)
        stream.set_epoch(next(epochs))
        for item in stream:
            yield {name: value if hasattr(value, "dtype") else _json(value) for name, value in item.items()}

    return tf.data.Dataset.from_generator(items, output_signature=signature)


def to_hf(dataset: "Dataset") -> Any:
    """Return a `datasets.IterableDataset` of samples; see `Dataset.to_hf`."""
    datasets = _import("datasets", "datasets")
    count = max(1, min(len(dataset.shards), _MAX_HF_SHARDS))
    parts = [Part(rank, count) for rank in range(count)]
    # A list among the arguments is what `datasets` divides among its workers and ranks.
    return datasets.IterableDataset.from_generator(_samples, gen_kwargs={"dataset": dataset, "parts": parts})


def _samples(dataset: "Dataset", parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    from ummp_assets.datasets.exports.samples import iter_samples

    for part in parts:
        yield from iter_samples(dataset, part)


def _json(values: Sequence[str | None]) -> list[str]:
    # TensorFlow has no missing strings; labels are JSON.
    return ["null" if value is None else value for value in values]


def _import(module: str, requirement: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(f"{module} is not installed: pip install '{requirement}'") from error
