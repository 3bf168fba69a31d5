"""Keeps decoders from writing what refusals say."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from PIL import Image

__all__ = ["quiet_image_decoders"]


@contextmanager
def quiet_image_decoders() -> Iterator[None]:
    """Keep Pillow from warning of broken metadata and many pixels and from logging damage as its own errors, and OpenCV
    from writing hundreds of lines about one damaged TIFF.

    For the whole process: not from several threads at once.
    """
    pillow_log = logging.getLogger("PIL")
    log_level = pillow_log.level
    pillow_log.setLevel(logging.CRITICAL)
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        cv2.utils.logging.setLogLevel(before)
        pillow_log.setLevel(log_level)
