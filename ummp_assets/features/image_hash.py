"""A 64-bit perceptual hash: near for images that look alike."""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["perceptual_hash"]

_GREY_SIDE = 32
_COEFFICIENTS = 8


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the hash of an image by the signs of its lowest frequencies.

    Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1: the 8 x 8 lowest
    coefficients of the discrete cosine transform of the 32 x 32 grey image, without the constant row and column, each
    against their median. Images that differ in size, compression or slightly in colour get hashes a few bits apart;
    unrelated ones differ in 32 bits on average.

    Parameters
    ----------
    pixels:
        RGB. [shape=(height, width, 3)]

    Returns
    -------
    An unsigned 64-bit integer, the lowest frequency in the highest bit.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GREY_SIDE, _GREY_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[1 : _COEFFICIENTS + 1, 1 : _COEFFICIENTS + 1]
    bits = np.packbits(lowest > np.median(lowest))
    return int.from_bytes(bits.tobytes(), "big")
