"""The federated average of workers' parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ummp_assets.errors import InvalidInput
from ummp_assets.training.packing import Arrays

__all__ = ["FederatedAverage", "signature"]

Signature = tuple[tuple[str, str, tuple[int, ...]], ...]


def signature(arrays: Mapping[str, npt.NDArray[Any]]) -> Signature:
    """Return names, types and shapes: what parameters must share to be averaged."""
    return tuple((name, arrays[name].dtype.str, arrays[name].shape) for name in sorted(arrays))


class FederatedAverage:
    """Averages parameters weighted by samples: w <- sum over k of n_k / n * w_k.

    H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017),
    algorithm 1. Sums are kept in float64, one model at a time: whatever the number of workers, memory is that of three
    models. The same additions in the same order give the same bits.
    """

    def __init__(self) -> None:
        self._signature: Signature | None = None
        self._sums: Arrays = {}
        self.samples = 0

    def add(self, arrays: Mapping[str, npt.NDArray[Any]], samples: int) -> None:
        """Add one worker's parameters.

        Parameters
        ----------
        samples:
            How many samples they were trained on, at least 1.

        Raises
        ------
        InvalidInput
            Names, types or shapes differ from the first worker's, or there are no samples.
        """
        if samples < 1:
            raise InvalidInput(f"{samples} samples have no weight in an average")
        if self._signature is None:
            self._signature = signature(arrays)
            self._sums = {name: np.zeros(array.shape, _wide(array.dtype)) for name, array in arrays.items()}
        elif signature(arrays) != self._signature:
            raise InvalidInput("the arrays have other names, types or shapes than the first worker's")
        for name, array in arrays.items():
            self._sums[name] += array.astype(self._sums[name].dtype) * samples
        self.samples += samples

    def result(self) -> Arrays:
        """Return the average in the workers' types, whole numbers rounded; raises `InvalidInput` when nothing was
        added."""
        if self._signature is None:
            raise InvalidInput("there is nothing to average")
        return {name: _narrow(self._sums[name] / self.samples, np.dtype(dtype)) for name, dtype, _ in self._signature}


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def _narrow(mean: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.asarray(mean if dtype.kind in "fc" else np.rint(mean)).astype(dtype)
