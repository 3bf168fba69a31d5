"""Small pictures of what a partition holds, for people: PNG files for a Markdown data URI."""

import io
from collections.abc import Iterable
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["contact_sheet", "spectrogram_picture"]

Pixels = npt.NDArray[np.uint8]

_MAX_ROWS = 4
_GAP_PIXELS = 2
_SHEET_BACKGROUND = 255
_SHEET_MAX_BYTES = 95_000
_SHEET_MIN_SIDE_PIXELS = 16
_PNG_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 9)

_SPECTROGRAM_MAX_WIDTH, _SPECTROGRAM_HEIGHT = 600, 160


def contact_sheet(images: Iterable[npt.NDArray[np.uint8]], columns: int = 8, side_pixels: int = 96) -> bytes:
    """Return a PNG of the first four rows of images, below 100 kB: colours are reduced, then the side, until it is.

    Parameters
    ----------
    images:
        Squares, RGB. [shape=(side, side, 3)] each; further ones are not read.
    side_pixels:
        Side of each image in the sheet, unless that takes too many bytes.

    Raises
    ------
    ValueError
        There is no image.
    """
    chosen = list(islice(images, _MAX_ROWS * columns))
    if not chosen:
        raise ValueError("a contact sheet needs at least one image")
    while True:
        sheet = _sheet(chosen, min(columns, len(chosen)), side_pixels)
        # Without the two lowest bits, which nobody sees at this size, a photograph takes half the bytes.
        for mask in (0xFF, 0xFC, 0xF0):
            png = _png(sheet & np.uint8(mask) | np.uint8(0xFF ^ mask))
            if len(png) <= _SHEET_MAX_BYTES or side_pixels <= _SHEET_MIN_SIDE_PIXELS:
                return png
        side_pixels = side_pixels * 3 // 4


def spectrogram_picture(log_mel: npt.NDArray[np.float32]) -> bytes:
    """Return a PNG of a log-mel spectrogram, below 100 kB: time to the right, low tones at the bottom, loud is bright.

    The colour map is viridis, whose steps look equally large and which prints well in grey.

    Parameters
    ----------
    log_mel:
        [shape=(bins, frames)]; long recordings are averaged to 600 pixels.
    """
    low, high = float(log_mel.min()), float(log_mel.max())
    scaled = (log_mel - low) * (255 / (high - low) if high > low else 0.0)
    width = min(_SPECTROGRAM_MAX_WIDTH, max(scaled.shape[1], _SPECTROGRAM_HEIGHT))
    kernel = cv2.INTER_AREA if width < scaled.shape[1] else cv2.INTER_NEAREST
    upright = np.ascontiguousarray(scaled[::-1])
    narrowed = cv2.resize(upright, (width, upright.shape[0]), interpolation=kernel)
    grey = cv2.resize(narrowed, (width, _SPECTROGRAM_HEIGHT), interpolation=cv2.INTER_NEAREST).round().astype(np.uint8)
    # One byte a pixel and a palette: even noise stays below 100 kB.
    picture = Image.fromarray(np.asarray(grey, np.uint8)).convert("P")
    steps = np.arange(256, dtype=np.uint8)[None]
    picture.putpalette(cv2.applyColorMap(steps, cv2.COLORMAP_VIRIDIS)[0, :, ::-1].tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _sheet(images: list[Pixels], columns: int, side_pixels: int) -> Pixels:
    rows = -(-len(images) // columns)
    pitch = side_pixels + _GAP_PIXELS
    sheet = np.full((rows * pitch - _GAP_PIXELS, columns * pitch - _GAP_PIXELS, 3), _SHEET_BACKGROUND, np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * pitch, (number % columns) * pitch
        kernel = cv2.INTER_AREA if image.shape[0] > side_pixels else cv2.INTER_LINEAR
        small = cv2.resize(image, (side_pixels, side_pixels), interpolation=kernel)
        sheet[top : top + side_pixels, left : left + side_pixels] = small
    return sheet


def _png(pixels: Pixels) -> bytes:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _PNG_COMPRESSION)
    assert done  # noqa: S101 - OpenCV encodes any 8-bit picture
    return encoded.tobytes()
