"""From bytes to upright RGB pixels, within limits that hold before anything is decoded."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ummp_assets.clean.image_colour import convert_picture, convert_rgb, convert_samples
from ummp_assets.clean.image_header import (
    ImageFormat,
    ImageHeader,
    is_of_unread_kind,
    is_sampled_as_usual,
    read_image_header,
)
from ummp_assets.clean.image_jpeg import without_harmless_fault
from ummp_assets.clean.image_png import find_png_damage, missing_row_bytes, needed_chunks
from ummp_assets.clean.image_tiff import decode_wide_planes, find_missing_pieces, has_wide_planes, normal_grey
from ummp_assets.clean.image_tiff_errors import tiff_errors
from ummp_assets.clean.refusals import Refusal, describe_error
from ummp_assets.clean.rules.image import LIMITS
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.reasons import Reason
from ummp_assets.settings import ImageSettings

__all__ = ["DecodedImage", "decode_image", "decode_pixels", "inspect_image"]

Pixels = npt.NDArray[np.uint8]

# A progressive JPEG has about ten scans, each of which visits every pixel; a thousand of them decode for minutes.
_USUAL_SCANS = 16
_MARKER, _START_OF_SCAN = 0xFF, 0xDA
_WELL_SHRUNK = 1.25
# One of each kind: the decoder stops at the first.
_HARMLESS_FAULTS = 2
# OpenCV's LOG_LEVEL_SILENT.
_SILENT = 0

# Pillow's modes of JPEGs, as simplejpeg calls them.
_TURBO_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}

# EXIF 2.32, tag 274: how the stored rows and columns are turned and mirrored, as (transpose, flip rows, flip columns).
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as a person sees it.

    Parameters
    ----------
    pixels:
        RGB, sRGB, upright. [shape=(rows, columns, 3)] of full size, or smaller by a power of two where more would
        not be used.
    width, height:
        Of the upright image at full size, in pixels.
    """

    pixels: Pixels
    width: int
    height: int
    format: ImageFormat


def decode_image(data: bytes, settings: ImageSettings) -> DecodedImage | Refusal:
    """Decode an image file, checking its header against the limits first.

    Returns
    -------
    The image, or one of `unsupported_image`, `corrupt_image`, `too_many_pixels`, `too_many_scans`, `image_too_small`,
    `image_too_elongated`.
    """
    header = inspect_image(data, settings)
    if isinstance(header, Refusal):
        return header
    pixels = decode_pixels(header, data, settings)
    if isinstance(pixels, Refusal):
        return pixels
    return DecodedImage(pixels, header.width, header.height, header.format)


def inspect_image(data: bytes, settings: ImageSettings) -> ImageHeader | Refusal:
    """Return an image's header, or why it is not worth decoding.

    Small and elongated images are dropped as in DataComp (Gadre et al. 2023, section 3.3, basic filtering), which uses
    200 pixels and a ratio of 3; the defaults here are wider.
    """
    header = read_image_header(data)
    if isinstance(header, Refusal):
        return header
    if min(header.width, header.height) < 1:
        return Refusal(Reason.CORRUPT_IMAGE, f"the image has {header.width} x {header.height} pixels")
    measured = _measure(header, data)
    refusal = first_broken(measured, LIMITS, settings)
    if refusal is None:
        return replace(header, measurements=measured)
    detail = f"{header.width} x {header.height} pixels: {refusal.detail}"
    return replace(refusal, detail=detail, measurements=measured)


def _measure(header: ImageHeader, data: bytes) -> dict[str, float]:
    short, long = sorted((header.width, header.height))
    scans = _count_scans(data) if header.format is ImageFormat.JPEG else 0
    return {
        "pixels": header.allocated_pixels,
        "short_side_pixels": short,
        "aspect_ratio": long / short,
        "scanned_pixels": scans * short * long / _USUAL_SCANS,
    }


def _count_scans(jpeg: bytes) -> int:
    # `bytes.count` stops at each of the many 0xFF: 25 us for 30 kB instead of 8.
    values = np.frombuffer(jpeg, np.uint8)
    return int(np.count_nonzero((values[:-1] == _MARKER) & (values[1:] == _START_OF_SCAN)))


def decode_pixels(header: ImageHeader, data: bytes, settings: ImageSettings) -> Pixels | Refusal:
    """Decode the image whose header was read.

    JPEGs at least four times as large as `side_pixels` are decoded at 1/2 to 1/8 of their size, by the inverse
    transform itself, leaving at least two pixels for one that is stored: 4,000 x 3,000 pixels in a quarter of the time.

    Returns
    -------
    Pixels as in `DecodedImage`, or `unsupported_image` or `corrupt_image`.
    """
    pixels: Pixels | Refusal
    with tiff_errors() as errors:
        try:
            pixels = _decode(header, data, settings)
        except Exception as error:  # noqa: BLE001 - over damaged files decoders raise whatever they meet
            reason = Reason.UNSUPPORTED_IMAGE if is_of_unread_kind(error) else Reason.CORRUPT_IMAGE
            pixels = Refusal(reason, f"the {header.format} data cannot be decoded: {describe_error(error)}")
    return errors.refusal or pixels


def _decode(header: ImageHeader, data: bytes, settings: ImageSettings) -> Pixels | Refusal:
    is_jpeg = header.format is ImageFormat.JPEG
    if header.picture is None or (is_jpeg and header.picture.mode in _TURBO_SPACES and is_sampled_as_usual(data)):
        return _decode_jpeg(header, data, settings)
    if header.format is ImageFormat.WEBP:
        # Pillow's reader of animations holds the canvas three times.
        return _decode_by_opencv(header, data, settings)
    is_png = header.format is ImageFormat.PNG
    if damage := find_png_damage(data) if is_png else find_missing_pieces(header.picture):
        return Refusal(Reason.CORRUPT_IMAGE, f"the {header.format} file is not whole: {damage}")
    if has_wide_planes(header.picture):
        samples = decode_wide_planes(header.picture, data)
        return convert_samples(samples, header.icc_profile, settings.background)
    header.picture.load()
    # Pillow keeps the high byte of 16-bit colours; OpenCV keeps both, and they are rounded.
    is_for_opencv = header.bits == 16 and header.picture.mode not in ("I;16", "I;16B", "I;16L")
    missing_bytes = missing_row_bytes(header.picture, data, is_wide=is_for_opencv) if is_png else 0
    if missing_bytes > 0:
        return Refusal(Reason.CORRUPT_IMAGE, f"the png file is not whole: its rows lack {missing_bytes:,} bytes")
    if is_for_opencv and missing_bytes == 0:
        return _decode_by_opencv(header, needed_chunks(data) if is_png else data, settings)
    pixels = convert_picture(normal_grey(header.picture), header.icc_profile, settings.background)
    return pixels if isinstance(pixels, Refusal) else _upright(pixels, header.orientation)


def _decode_jpeg(header: ImageHeader, data: bytes, settings: ImageSettings) -> Pixels | Refusal:
    # simplejpeg against OpenCV, 500 x 400: 0.52 and 0.62 ms; and it raises where libjpeg only warns of damage.
    needed = 2 * settings.side_pixels
    # Each chroma sample for its four pixels, not blended with its neighbours: 0.47 instead of 0.52 ms. Once shrunk, 200
    # photographs differ by 50 to 56 dB of PSNR on average and 43 at least; at full size edges of colours would show.
    is_shrunk = min(header.width, header.height) >= _WELL_SHRUNK * settings.side_pixels
    mode = "RGB" if header.picture is None else header.picture.mode
    if mode == "L" and header.icc_profile is None:
        mode = "RGB"
    space = _TURBO_SPACES[mode]
    decode = partial(
        simplejpeg.decode_jpeg,
        colorspace=space,
        fastupsample=is_shrunk,
        min_height=needed,
        min_width=needed,
        min_factor=2,
    )
    pixels = _decode_despite_harmless_faults(decode, data)
    if mode == "RGB":
        return _upright(convert_rgb(pixels, header.icc_profile, settings.background), header.orientation)
    # Of CMYK, files hold how much light is left: every reader follows Photoshop in this.
    picture = Image.fromarray(pixels[..., 0]) if mode == "L" else Image.fromarray(255 - pixels, "CMYK")
    converted = convert_picture(picture, header.icc_profile, settings.background)
    return converted if isinstance(converted, Refusal) else _upright(converted, header.orientation)


def _decode_despite_harmless_faults(decode: Callable[[bytes], Pixels], data: bytes) -> Pixels:
    for _ in range(_HARMLESS_FAULTS):
        try:
            return decode(data)
        except ValueError as error:
            mended = without_harmless_fault(data, str(error))
            if mended is None:
                raise
            data = mended
    return decode(data)


def _decode_by_opencv(header: ImageHeader, data: bytes, settings: ImageSettings) -> Pixels | Refusal:
    if header.picture is not None:
        # Pillow's own copy of the pixels is not needed any more.
        header.picture.close()
    _silence_opencv()
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None:
        return Refusal(Reason.CORRUPT_IMAGE, f"the {header.format} data cannot be decoded")
    if samples.dtype not in (np.uint8, np.uint16):
        return Refusal(Reason.UNSUPPORTED_IMAGE, f"samples that are decoded as {samples.dtype} are not read")
    return _upright(convert_samples(samples, header.icc_profile, settings.background), header.orientation)


def _silence_opencv() -> None:
    """Keep OpenCV from writing hundreds of lines about one damaged TIFF: from now on and in the whole process, since
    others may be decoding at any time."""
    # The name of OpenCV 4, or that of 5.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_log_level(_SILENT)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    transpose, flip_rows, flip_columns = _ORIENTATIONS[orientation]
    if transpose:
        pixels = pixels.transpose(1, 0, 2)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
