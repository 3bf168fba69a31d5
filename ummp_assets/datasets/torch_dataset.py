"""A dataset as a `torch.utils.data.IterableDataset`; importing this module imports PyTorch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ummp_assets.datasets.model_inputs import InputOptions, InputStream
from ummp_assets.datasets.reading_order import Part

if TYPE_CHECKING:
    from ummp_assets.datasets.reader import Dataset

__all__ = ["TorchDataset"]

_UNSET = -1


class TorchDataset(IterableDataset):  # type: ignore[misc]
    """Batches of tensors; each loader worker reads its own share. See `Dataset.to_torch`."""

    def __init__(
        self, dataset: "Dataset", batch_rows: int, shuffle_seed: int | None, part: Part, options: InputOptions | None
    ) -> None:
        super().__init__()
        self._dataset, self._batch_rows, self._seed = dataset, batch_rows, shuffle_seed
        self._part, self._options = part, options
        self._stream: InputStream | None = None
        # In shared memory, so that loader workers which live on from epoch to epoch see it.
        self._epoch = torch.full((), _UNSET, dtype=torch.int64).share_memory_()
        self._begun = _UNSET

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for item in self._opened():
            yield {name: torch.from_numpy(value) if hasattr(value, "dtype") else value for name, value in item.items()}

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its beginning at the next iteration, in all loader workers."""
        self._epoch.fill_(epoch)
        self._begun = _UNSET

    def state_dict(self) -> dict[str, Any]:
        """Return where this process's stream stands: plain values, to be kept in a checkpoint."""
        return self._opened().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last item that was given; raises `InvalidInput` for a state of another stream."""
        self._opened().load_state_dict(state)

    def _opened(self) -> InputStream:
        if self._stream is None:
            worker = get_worker_info()
            part = replace(self._part, worker=worker.id, workers=worker.num_workers) if worker else self._part
            batches = self._dataset.iter_batches(self._batch_rows, shuffle_seed=self._seed, part=part)
            self._stream = InputStream(batches, self._options)
        if self._begun != int(self._epoch):
            self._begun = int(self._epoch)
            self._stream.set_epoch(self._begun)
        return self._stream
