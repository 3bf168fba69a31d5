"""A 64-bit perceptual hash: near for images that look alike."""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["grey_thumbnail", "has_look", "perceptual_hash"]

Pixels = npt.NDArray[np.uint8]

_GREY_SIDE = 32
_COEFFICIENTS = 8
_MIN_CONTRAST = 4.0


def grey_thumbnail(pixels: Pixels) -> Pixels:
    """Return the 32 x 32 grey image that the functions below look at.

    Parameters
    ----------
    pixels:
        RGB. [shape=(height, width, 3)]
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (_GREY_SIDE, _GREY_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def perceptual_hash(thumbnail: Pixels) -> int:
    """Return the hash of an image by the signs of its lowest frequencies.

    Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1: the 8 x 8 lowest
    coefficients of the discrete cosine transform of the 32 x 32 grey image, without the constant row and column, each
    against their median. Images that differ in size, compression or slightly in colour get hashes a few bits apart;
    unrelated ones differ in 32 bits on average.

    Parameters
    ----------
    thumbnail:
        From `grey_thumbnail`. [shape=(32, 32)]

    Returns
    -------
    An unsigned 64-bit integer, the lowest frequency in the highest bit.
    """
    lowest = cv2.dct(thumbnail.astype(np.float32))[1 : _COEFFICIENTS + 1, 1 : _COEFFICIENTS + 1]
    # NumPy's own median takes 16 microseconds more.
    ascending = np.sort(lowest, axis=None)
    median = (ascending[lowest.size // 2 - 1] + ascending[lowest.size // 2]) / np.float32(2)
    bits = np.packbits(lowest > median)
    return int.from_bytes(bits.tobytes(), "big")


def has_look(thumbnail: Pixels) -> bool:
    """Return whether an image has enough contrast for its hash to mean something.

    The signs of a blank page's frequencies are those of its noise: two scans of one would seem unrelated, and two flat
    colours alike. The 32 x 32 grey image must have a standard deviation of 4 of 255.

    Parameters
    ----------
    thumbnail:
        From `grey_thumbnail`. [shape=(32, 32)]
    """
    return float(cv2.meanStdDev(thumbnail)[1][0, 0]) >= _MIN_CONTRAST
