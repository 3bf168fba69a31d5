"""A dataset in PyTorch, TensorFlow and Hugging Face `datasets`, each imported only when it is asked for."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ummp_assets.datasets.model_inputs import InputOptions, InputStream
from ummp_assets.datasets.reading_order import Part
from ummp_assets.errors import InvalidInput

if TYPE_CHECKING:
    from ummp_assets.datasets.reader import Dataset

__all__ = ["to_hf", "to_tf", "to_torch"]


def to_torch(
    dataset: "Dataset", batch_rows: int, shuffle_seed: int | None, part: Part, options: InputOptions | None
) -> Any:
    """Return a `torch.utils.data.IterableDataset` of model inputs; see `Dataset.to_torch`."""
    torch = _import("torch", "ummp-assets[torch]")
    loading = _import("torch.utils.data", "ummp-assets[torch]")

    class TorchDataset(loading.IterableDataset):  # type: ignore[misc, name-defined]
        """Batches of tensors; each loader worker reads its own share."""

        def __init__(self) -> None:
            super().__init__()
            self._stream: InputStream | None = None
            self._epoch = 0

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for item in self._opened():
                yield {
                    name: torch.from_numpy(value) if hasattr(value, "dtype") else value for name, value in item.items()
                }

        def set_epoch(self, epoch: int) -> None:
            """Start an epoch from its beginning; call it before each epoch, so that all workers know."""
            self._epoch = epoch
            if self._stream is not None:
                self._stream.set_epoch(epoch)

        def state_dict(self) -> dict[str, Any]:
            return self._opened().state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self._opened().load_state_dict(state)

        def _opened(self) -> InputStream:
            if self._stream is None:
                worker = loading.get_worker_info()
                share = part if worker is None else replace(part, worker=worker.id, workers=worker.num_workers)
                batches = dataset.iter_batches(batch_rows, shuffle_seed=shuffle_seed, part=share)
                self._stream = InputStream(batches, options)
                self._stream.set_epoch(self._epoch)
            return self._stream

    return TorchDataset()


def to_tf(
    dataset: "Dataset", batch_rows: int, shuffle_seed: int | None, part: Part, options: InputOptions | None
) -> Any:
    """Return a `tf.data.Dataset` of model inputs; see `Dataset.to_tf`."""
    tf = _import("tensorflow", "tensorflow")
    first = next(iter(InputStream(dataset.iter_batches(min(batch_rows, 2)), options)))
    names = [name for name, value in first.items() if hasattr(value, "dtype")]
    signature = {name: tf.TensorSpec((None, *[None] * (first[name].ndim - 1)), first[name].dtype) for name in names}
    stream = InputStream(dataset.iter_batches(batch_rows, shuffle_seed=shuffle_seed, part=part), options)

    def items() -> Iterator[dict[str, Any]]:
        for item in stream:
            yield {name: item[name] for name in names}

    return tf.data.Dataset.from_generator(items, output_signature=signature)


def to_hf(dataset: "Dataset") -> Any:
    """Return a `datasets.IterableDataset` of samples; see `Dataset.to_hf`."""
    datasets = _import("datasets", "datasets")
    from ummp_assets.datasets.exports.samples import iter_samples

    return datasets.IterableDataset.from_generator(iter_samples, gen_kwargs={"dataset": dataset})


def _import(module: str, requirement: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(f"{module} is not installed: pip install '{requirement}'") from error
