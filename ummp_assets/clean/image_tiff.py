"""What is particular about TIFFs: tiles, planes, and kinds of samples that no other format has."""

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, TiffTags
from PIL.ImageFile import ImageFile

from ummp_assets.clean.image_colour import eight_bits

__all__ = [
    "decode_wide_planes",
    "describe_samples",
    "find_missing_pieces",
    "find_unread_kind",
    "has_wide_planes",
    "is_read_whole_by_opencv",
    "normal_grey",
    "tile_pixels",
]

# TIFF 6.0, sections 8, 15 and 18 to 20.
_SUBFILE_TYPE, _IS_REDUCED = 254, 1
_WIDTH, _LENGTH, _STRIP_OFFSETS, _STRIP_BYTES, _ROWS_PER_STRIP = 256, 257, 273, 279, 278
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION = 258, 259, 262, 266, 274
_SAMPLES, _PLANES, _PREDICTOR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 277, 284, 317, 338, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_RANGELESS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_OF_ITS_OWN = 2
# BigTIFF's version, in the low byte.
_BIG = 43
_UNASSOCIATED_ALPHA = 2
# LZMA and Zstandard, which Pillow's libtiff knows: GDAL and tifffile write them.
_UNKNOWN_TO_OPENCV = (34_925, 50_000)


def tile_pixels(picture: ImageFile) -> int:
    """Return the pixels of one tile, 0 without tiles: a decoder makes room for a whole one."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 0
    return int(picture.tag_v2.get(_TILE_WIDTH, 0)) * int(picture.tag_v2.get(_TILE_LENGTH, 0))


def describe_samples(data: bytes) -> str:
    """Return in words of what kind the samples are of a TIFF that Pillow does not open.

    Raises
    ------
    Exception
        Pillow cannot read the directory either.
    """
    header = data[: 16 if data[2] == _BIG else 8]
    tags, file = TiffImagePlugin.ImageFileDirectory_v2(header), io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    kinds = sorted({_RANGELESS.get(kind, "unsigned") for kind in tags.get(_SAMPLE_FORMAT, (1,))})
    bits = "+".join(str(bits) for bits in tags.get(_BITS_PER_SAMPLE, (1,)))
    return f"{' and '.join(kinds)} samples of {bits} bits with the photometric interpretation {tags.get(_PHOTOMETRIC)}"


def find_unread_kind(picture: ImageFile) -> str | None:
    """Return in words which kind of samples keeps an image from being read right, or None."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    tags = picture.tag_v2
    if tags.get(_SUBFILE_TYPE, 0) & _IS_REDUCED:
        # As in the raw photographs of cameras, which are TIFFs: the picture itself is elsewhere, and no colours yet.
        return "the first picture is a thumbnail of another one, as in raw photographs"
    kind = tags.get(_SAMPLE_FORMAT, (1,))[0]
    if kind in _RANGELESS:
        # Pillow gives 8 signed bits out as if they were not, OpenCV 16.
        return f"{_RANGELESS[kind]} samples have no defined range"
    bits = _bits(picture)
    if tags.get(_PLANES) != _OF_ITS_OWN or len(bits) == 1 or has_wide_planes(picture):
        return None
    # Pillow and OpenCV both take wide planes for neighbouring samples.
    if max(bits) > 8 or picture.mode not in ("RGB", "RGBA", "CMYK"):
        return f"planes of their own of {bits} bits that make {picture.mode} are not read"
    return None


def find_missing_pieces(picture: ImageFile) -> str | None:
    """Return in words what a TIFF's directory lacks of naming all strips or tiles, or None.

    Pillow leaves black what no strip holds, and OpenCV guesses where it might stand.
    """
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    tags = picture.tag_v2
    name = "tiles" if _TILE_OFFSETS in tags else "strips"
    try:
        width, length = tags[_WIDTH], tags[_LENGTH]
        if name == "tiles":
            named = len(tags[_TILE_OFFSETS])
            needed = -(-width // tags[_TILE_WIDTH]) * -(-length // tags[_TILE_LENGTH])
        else:
            named = len(tags.get(_STRIP_OFFSETS, ()))
            needed = -(-length // min(length, tags.get(_ROWS_PER_STRIP, length)))
    except (KeyError, ZeroDivisionError):
        return f"its directory does not say how large the {name} are"
    if tags.get(_PLANES) == _OF_ITS_OWN:
        needed *= len(_bits(picture))
    return f"{named:,} of {needed:,} {name} are there" if 0 < named < needed else None


def is_read_whole_by_opencv(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether OpenCV reads all 16 bits of the colours; what else there is, Pillow reads by their high bytes."""
    return _has_wide_colours(picture) and picture.tag_v2.get(_COMPRESSION) not in _UNKNOWN_TO_OPENCV


def _has_wide_colours(picture: TiffImagePlugin.TiffImageFile) -> bool:
    tags = picture.tag_v2
    # OpenCV takes any fourth sample for alpha that the colours were not multiplied with.
    extra = tuple(tags.get(_EXTRA_SAMPLES, ()))
    return set(_bits(picture)) == {16} and tags.get(_PHOTOMETRIC) == _RGB and extra in ((), (_UNASSOCIATED_ALPHA,))


def has_wide_planes(picture: ImageFile) -> bool:
    """Whether an image's colours of 16 bits stand in planes of their own, which neither decoder reads as they stand."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return False
    return picture.tag_v2.get(_PLANES) == _OF_ITS_OWN and _has_wide_colours(picture)


def decode_wide_planes(picture: ImageFile, data: bytes) -> npt.NDArray[np.uint8]:
    """Decode the 16-bit planes of an image one after another, each as the grey image that it is by itself.

    Returns
    -------
    Samples of shape (rows, columns, 3 or 4), rounded to 8 bits, as OpenCV orders them: blue, green, red, alpha.
    """
    assert isinstance(picture, TiffImagePlugin.TiffImageFile)  # noqa: S101 - by `has_wide_planes`
    count = len(_bits(picture))
    red = eight_bits(_decode_plane(picture, data, 0))
    samples = np.empty((*red.shape, count), np.uint8)
    samples[..., 2] = red
    for plane in range(1, count):
        samples[..., 3 if plane == 3 else 2 - plane] = eight_bits(_decode_plane(picture, data, plane))
    return samples


def _decode_plane(picture: TiffImagePlugin.TiffImageFile, data: bytes, plane: int) -> npt.NDArray[np.uint16]:
    tags, order = picture.tag_v2, "<" if data[:2] == b"II" else ">"
    kept = (_WIDTH, _LENGTH, _COMPRESSION, _FILL_ORDER, _ORIENTATION, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH)
    fields = {tag: (int(tags[tag]),) for tag in (*kept, _PREDICTOR) if tag in tags}
    fields |= {_BITS_PER_SAMPLE: (16,), _PHOTOMETRIC: (_BLACK_IS_ZERO,), _SAMPLES: (1,)}
    for tag in (_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES):
        if tag in tags:
            pieces = len(tags[tag]) // len(_bits(picture))
            fields[tag] = tags[tag][plane * pieces : (plane + 1) * pieces]
    # A directory of its own behind the file, for everything else stays where it is.
    entries, values, start = b"", b"", len(data) + 2 + 12 * len(fields) + 4
    for tag, numbers in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(order + "L", start + len(values)), values + packed
        entries += struct.pack(order + "HHL", tag, TiffTags.LONG, len(numbers)) + packed
    header = data[:2] + struct.pack(order + "HL", 42, len(data))
    directory = struct.pack(order + "H", len(fields)) + entries + bytes(4) + values
    grey = TiffImagePlugin.TiffImageFile(io.BytesIO(header + data[len(header) :] + directory))
    grey.load()
    return np.asarray(grey, np.uint16)


def normal_grey(picture: ImageFile) -> Image.Image:
    """Return a loaded image, grey of 12 or 16 bits with black as 0 and white as 65,535."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile) or picture.mode != "I;16":
        return picture
    samples: npt.NDArray[np.uint16] = np.asarray(picture, np.uint16)
    if _bits(picture) == (12,):
        samples = (samples << 4 | samples >> 8).astype(np.uint16, copy=False)
    if picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        samples = ~samples
    return Image.fromarray(samples)


def _bits(picture: TiffImagePlugin.TiffImageFile) -> tuple[int, ...]:
    return tuple(picture.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
