"""Keys of 64 bits that lead to texts: by a band of their signature, by their sample id, by their owner."""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["BANDS", "BAND_VALUES", "Keys", "SortedKeys", "band_keys", "heir_keys", "id_keys"]

BANDS, BAND_VALUES = 14, 8

Keys = npt.NDArray[np.int64]


class SortedKeys:
    """Keys of many texts, nearly all of which occur once.

    Parameters
    ----------
    keys:
        Shape (n,), n at least 1.
    """

    def __init__(self, keys: Keys) -> None:
        self._order = np.argsort(keys)
        self._ascending = keys[self._order]
        self._repeats = self._ascending[1:] == self._ascending[:-1]

    @property
    def distinct(self) -> Keys:
        """Each key once, ascending."""
        return np.append(self._ascending[:-1][~self._repeats], self._ascending[-1])

    def shared(self, found: Collection[int]) -> npt.NDArray[np.bool_]:
        """Return for each key whether it occurs more than once, or is among those found elsewhere; shape (n,)."""
        shared = np.zeros(len(self._order), bool)
        shared[self._order[1:][self._repeats]] = shared[self._order[:-1][self._repeats]] = True
        places = np.searchsorted(self._ascending, np.fromiter(found, np.int64, len(found)))
        shared[self._order[places]] = True
        return shared


def band_keys(signatures: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """Return a 64-bit key for each band; shape (texts, 14)."""
    words = np.ascontiguousarray(signatures).view(np.uint64).reshape(len(signatures), BANDS, BAND_VALUES // 4)
    keys = np.arange(BANDS, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for place in range(words.shape[2]):
        keys = _mix(keys ^ words[:, :, place])
    return keys.view(np.int64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread bits: SplitMix64's finaliser (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def id_keys(sample_ids: Sequence[str]) -> Keys:
    digests = [hashlib.blake2b(sample_id.encode(), digest_size=8).digest() for sample_id in sample_ids]
    return np.frombuffer(b"".join(digests), np.int64)


def heir_keys(owners: Keys) -> Keys:
    # Far from the band keys, which mix small numbers first.
    return _mix(owners.view(np.uint64) + np.uint64(0x6A09E667F3BCC908)).view(np.int64)
