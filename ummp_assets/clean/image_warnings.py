"""Keeps Pillow from warning of what refusals say."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

__all__ = ["quiet_image_decoders"]


@contextmanager
def quiet_image_decoders() -> Iterator[None]:
    """Keep Pillow from warning of broken metadata and many pixels, even where warnings are errors.

    For the whole process: not from several threads at once.
    """
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield
