"""Places in the order of their hashes: what is equal stands together."""

import numpy as np
import numpy.typing as npt

__all__ = ["sort_places"]


def sort_places(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the order that brings equal hashes together, earlier places first, and which repeat the one before.

    Shapes (..., n) and (..., n - 1).
    """
    # Numbers that end in their place sort in a third of argsort's time. 47 bits and more of the hash are left, up to
    # Gopher's 100,000 words.
    count = hashes.shape[-1]
    mask = np.uint64((1 << count.bit_length()) - 1)
    keys = hashes & ~mask
    keys |= np.arange(count, dtype=np.uint64)
    keys.sort(axis=-1)
    repeats = (keys[..., 1:] ^ keys[..., :-1]) <= mask
    keys &= mask
    return keys.view(np.int64), repeats
