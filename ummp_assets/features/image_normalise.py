"""From stored pixels to the numbers that networks are fed with."""

import numpy as np
import numpy.typing as npt

__all__ = ["normalise"]

# A flat channel has no deviation; its pixels, which all equal the mean, become zero.
_SMALLEST_STD = 1 / 255


def normalise(
    images: npt.NDArray[np.uint8], channel_mean: npt.ArrayLike, channel_std: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """Return images as floats with the mean taken off and divided by the standard deviation, channel by channel.

    Parameters
    ----------
    images:
        RGB. [shape=(n, height, width, 3)]
    channel_mean, channel_std:
        Of the values scaled to 0-1: of each image, as `image_features` records them, or of a whole dataset.
        [shape=(n, 3) or (3,)]

    Returns
    -------
    [shape=(n, height, width, 3)]

    >>> normalise(np.full((1, 1, 1, 3), 255, np.uint8), [0.5, 0.5, 0.5], [0.25, 0.5, 1.0]).tolist()
    [[[[2.0, 1.0, 0.5]]]]
    """
    mean = np.asarray(channel_mean, np.float32).reshape(-1, 1, 1, 3)
    std = np.maximum(np.asarray(channel_std, np.float32), _SMALLEST_STD).reshape(-1, 1, 1, 3)
    # (x / 255 - mean) / std, in place.
    scaled = images.astype(np.float32)
    scaled *= np.float32(1 / 255) / std
    scaled -= mean / std
    return scaled
