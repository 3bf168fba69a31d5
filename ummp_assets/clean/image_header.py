"""What an image's header says, read before anything is decoded."""

import io
import logging
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import simplejpeg
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from ummp_assets.clean.image_png import complete_header
from ummp_assets.clean.image_profiles import find_profile, read_colour_code
from ummp_assets.clean.image_tiff import describe_samples, find_unread_kind, is_read_whole_by_opencv, tile_pixels
from ummp_assets.clean.refusals import Refusal, describe_error
from ummp_assets.reasons import Reason

__all__ = [
    "ImageFormat",
    "ImageHeader",
    "is_of_unread_kind",
    "is_sampled_as_usual",
    "read_image_header",
    "sniff_image_format",
]

_EXIF_ORIENTATION = 0x0112
_PNG_BIT_DEPTH_OFFSET = 24
_EXIF_MARK, _PROFILE_MARK = b"Exif\0\0", b"ICC_PROFILE\0"
_SCAN_MARKER = b"\xda"
_USUAL_SEGMENTS = 200
# A PNG of 32 MB in the usual pieces of 8 kB takes 12,000.
_MAX_READS = 100_000
_PLAIN_COLOURS = ("YCbCr", "Gray", "RGB")
_MAX_BRANDS_END = 256
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# What Pillow, libjpeg and libavif say of a file that is whole but of a kind that they do not read; how large Pillow
# calls one.
_UNREAD_KIND = re.compile(
    "unknown pixel mode|unsupported (bmp|jpeg|depth|color)|cannot handle|not implemented", re.IGNORECASE
)
_PIXELS = re.compile(r"\((\d+) pixels\)")
# What the hungriest ways hold, measured: AVIF takes 11 bytes a pixel, 16-bit RGBA 20, twice of which is OpenCV's.
_BYTES_PER_PIXEL, _BYTES_PER_WIDE_PIXEL = 12, 20
# With more, a stage could not stay below 1 GB; of larger pictures, which are shrunk most, the high bytes do.
_MAX_WIDE_PIXELS = 2**24

# Pillow warns of odd metadata and logs damage as errors; where nobody asked for either, Python would print it.
logging.getLogger("PIL").addHandler(logging.NullHandler())
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)


class ImageFormat(StrEnum):
    """The image formats that UMMP reads."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    TIFF = "tiff"
    BMP = "bmp"
    AVIF = "avif"


# The plugin classes themselves: `Image.open` would try every format that Pillow knows, PostScript included, and hold
# the process-wide MAX_IMAGE_PIXELS against the image instead of our setting.
_PLUGINS: dict[ImageFormat, type[ImageFile]] = {
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.AVIF: AvifImagePlugin.AvifImageFile,
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The facts of a header.

    Parameters
    ----------
    width, height:
        In pixels, of the upright image.
    allocated_pixels:
        Pixels that decoding makes room for: more than width x height where a TIFF's tiles are larger than it.
    bits:
        Of one sample, 8 or 16; 16 only where a decoder shall keep them.
    orientation:
        EXIF orientation that is still to be applied, 1 to 8; 1 is upright.
    icc_profile:
        The embedded colour profile.
    picture:
        Pillow's image, not decoded yet; None for a JPEG that has no need of Pillow.
    measurements:
        What the rules on size judge, by name, once it was measured.
    """

    format: ImageFormat
    width: int
    height: int
    allocated_pixels: int
    bits: int
    orientation: int
    icc_profile: bytes | None
    picture: ImageFile | None
    measurements: Mapping[str, float] = field(default_factory=dict)

    @property
    def decoding_bytes(self) -> int:
        """Memory that decoding and resizing may take at once, at most."""
        return self.allocated_pixels * (_BYTES_PER_WIDE_PIXEL if self.bits == 16 else _BYTES_PER_PIXEL)


def sniff_image_format(data: bytes) -> ImageFormat | None:
    """Return the format that the first bytes announce; names and media types are never believed."""
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    # Xcode writes PNGs that only Apple's own readers read, and marks them by a first chunk CgBI.
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] != b"CgBI":
        return ImageFormat.PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return ImageFormat.GIF
    # Not b"MM\0+": neither decoder reads BigTIFFs whose high bytes come first.
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        return ImageFormat.TIFF
    if data[4:8] == b"ftyp" and _AVIF_BRANDS & _brands(data):
        return ImageFormat.AVIF
    if data[:2] == b"BM":
        return ImageFormat.BMP
    return None


def _brands(data: bytes) -> set[bytes]:
    """Return all that a file of boxes says it is (ISO/IEC 14496-12, 4.3): HEIC and AVIF may both come as `mif1`."""
    end = min(int.from_bytes(data[:4]), len(data), _MAX_BRANDS_END)
    return {data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))}


def read_image_header(data: bytes) -> ImageHeader | Refusal:
    """Return what the header says, or why there is none: `unsupported_image` or `corrupt_image`."""
    image_format = sniff_image_format(data)
    if image_format is None:
        return Refusal(Reason.UNSUPPORTED_IMAGE, f"the first bytes, {data[:12]!r}, are of no image format that is read")
    try:
        if image_format is ImageFormat.JPEG and (header := _plain_jpeg_header(data)):
            return header
        picture = _PLUGINS[image_format](_BoundedReads(data))
        if unread := find_unread_kind(picture):
            return Refusal(Reason.UNSUPPORTED_IMAGE, unread)
        if image_format is ImageFormat.PNG:
            complete_header(picture, data)
        code = read_colour_code(picture, data)
        if code is not None and code.has_high_dynamic_range:
            return Refusal(Reason.UNSUPPORTED_IMAGE, f"colours of a high dynamic range (transfer {code.transfer})")
        # TIFFs are turned by the decoders themselves, Pillow's as well as OpenCV's.
        orientation = 1 if image_format is ImageFormat.TIFF else _orientation(picture)
        width, height = reversed(picture.size) if orientation >= 5 else picture.size
        is_wide = width * height <= _MAX_WIDE_PIXELS and _has_wide_samples(image_format, data, picture)
        return ImageHeader(
            format=image_format,
            width=width,
            height=height,
            allocated_pixels=max(width * height, tile_pixels(picture)),
            bits=16 if is_wide else 8,
            orientation=orientation,
            icc_profile=find_profile(picture, data, code),
            picture=picture,
        )
    except Image.DecompressionBombError as error:
        # Some plugins hold Pillow's own limit of 179 megapixels against the header.
        found = _PIXELS.search(str(error))
        measured = {"pixels": float(found[1])} if found else {}
        detail = f"the {image_format} image is too large: {error}"
        return Refusal(Reason.TOO_MANY_PIXELS, detail, measured.get("pixels"), measured)
    except Exception as error:  # noqa: BLE001 - over damaged headers Pillow raises whatever its parsers meet
        detail = f"the {image_format} header cannot be read: {describe_error(error)}"
        if not is_of_unread_kind(error):
            return Refusal(Reason.CORRUPT_IMAGE, detail)
        if image_format is ImageFormat.TIFF:
            with suppress(Exception):
                detail = f"{describe_samples(data)} are not read"
        return Refusal(Reason.UNSUPPORTED_IMAGE, detail)


def is_of_unread_kind(error: Exception) -> bool:
    """Return whether a decoder did not raise over damage, but over a kind of image that it does not read."""
    # A compression that Pillow's table of them lacks.
    return isinstance(error.__cause__, KeyError) or _UNREAD_KIND.search(str(error)) is not None


def _plain_jpeg_header(data: bytes) -> ImageHeader | None:
    """Return the header of a JPEG in grey or RGB that has neither EXIF nor a colour profile, in 5 instead of 90
    microseconds, or None: then Pillow looks, and says what is wrong with it."""
    if _has_metadata(data):
        return None
    header = _turbo_header(data)
    if header is None or header[2] not in _PLAIN_COLOURS:
        return None
    height, width = header[:2]
    return ImageHeader(ImageFormat.JPEG, width, height, width * height, 8, 1, None, None)


def is_sampled_as_usual(jpeg: bytes) -> bool:
    """Return whether a JPEG's chroma is sampled in a way that TurboJPEG has a name for; 3 x 1, 1 x 4 and 2 x 4 are
    none, and only libjpeg itself decodes them."""
    return _turbo_header(jpeg) is not None


def _turbo_header(jpeg: bytes) -> tuple[int, int, str, str] | None:
    """Return height, width, colours and sampling; None where TurboJPEG knows one of them not."""
    try:
        return cast(tuple[int, int, str, str], simplejpeg.decode_jpeg_header(jpeg))
    except (ValueError, KeyError):
        # KeyError: newer ones have a name for 1 x 4, which simplejpeg's table lacks.
        return None


def _has_metadata(jpeg: bytes) -> bool:
    """Whether EXIF or a colour profile stands before a JPEG's first scan, or anything unusual."""
    # A walk over the dozen of segments: to search all bytes for the names takes eight times as long.
    position = 2
    for _ in range(_USUAL_SEGMENTS):
        start = position + 4
        if jpeg[position : position + 1] != b"\xff" or jpeg.startswith((_EXIF_MARK, _PROFILE_MARK), start):
            return True
        if jpeg[position + 1 : position + 2] == _SCAN_MARKER:
            return False
        position += 2 + int.from_bytes(jpeg[position + 2 : start])
    return True


class _BoundedReads(io.BytesIO):
    """Bytes that are given out in so many pieces and no more: a PNG of a million empty chunks, or a JPEG behind 5 MB of
    fill bytes, keeps Pillow busy for seconds."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MAX_READS

    def read(self, size: int | None = -1) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ValueError(f"it is cut into more than {_MAX_READS:,} pieces")
        return super().read(size)


def _has_wide_samples(image_format: ImageFormat, data: bytes, picture: ImageFile) -> bool:
    if image_format is ImageFormat.PNG:
        return data[_PNG_BIT_DEPTH_OFFSET] == 16
    return isinstance(picture, TiffImagePlugin.TiffImageFile) and is_read_whole_by_opencv(picture)


def _orientation(picture: ImageFile) -> int:
    # Parsing EXIF costs more than the rest of the header; most images have none.
    if "exif" not in picture.info:
        return 1
    try:
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - an image with broken metadata is still an image
        return 1
    return orientation if orientation in range(1, 9) else 1
