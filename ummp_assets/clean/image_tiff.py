"""What is particular about TIFFs: tiles, planes, and kinds of samples that no other format has."""

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin
from PIL.ImageFile import ImageFile

__all__ = ["find_missing_pieces", "find_unread_kind", "is_read_whole_by_opencv", "normal_grey", "tile_pixels"]

# TIFF 6.0, sections 8, 15 and 18 to 20.
_WIDTH, _LENGTH, _STRIP_OFFSETS, _ROWS_PER_STRIP, _TILE_OFFSETS = 256, 257, 273, 278, 324
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 262, 284, 338, 339
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_WHITE_IS_ZERO, _RGB = 0, 2
_SIGNED = 2
_OF_ITS_OWN = 2
_UNASSOCIATED_ALPHA = 2


def tile_pixels(picture: ImageFile) -> int:
    """Return the pixels of one tile, 0 without tiles: a decoder makes room for a whole one."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 0
    return int(picture.tag_v2.get(_TILE_WIDTH, 0)) * int(picture.tag_v2.get(_TILE_LENGTH, 0))


def find_unread_kind(picture: ImageFile) -> str | None:
    """Return in words which kind of samples keeps an image from being read right, or None."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    tags = picture.tag_v2
    if _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        # Pillow gives 8 signed bits out as if they were not, OpenCV 16.
        return "signed samples have no defined range"
    if tags.get(_PLANES) == _OF_ITS_OWN and len(_bits(picture)) > 1 and max(_bits(picture)) > 8:
        # Pillow and OpenCV both take the planes for neighbouring samples.
        return "colours of more than 8 bits in planes of their own are not read"
    return None


def find_missing_pieces(picture: ImageFile) -> str | None:
    """Return in words how many of an image's strips or tiles are named if that is too few, or None.

    Pillow leaves black what no strip holds, and OpenCV guesses where it might stand.
    """
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    tags = picture.tag_v2
    width, length = tags[_WIDTH], tags[_LENGTH]
    if _TILE_OFFSETS in tags:
        named, name = len(tags[_TILE_OFFSETS]), "tiles"
        needed = -(-width // tags[_TILE_WIDTH]) * -(-length // tags[_TILE_LENGTH])
    else:
        named, name = len(tags.get(_STRIP_OFFSETS, ())), "strips"
        needed = -(-length // min(length, tags.get(_ROWS_PER_STRIP, length)))
    if tags.get(_PLANES) == _OF_ITS_OWN:
        needed *= len(_bits(picture))
    return f"{named:,} of {needed:,} {name} are there" if 0 < named < needed else None


def is_read_whole_by_opencv(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether OpenCV reads all 16 bits of the colours; what else there is, Pillow reads by their high bytes."""
    tags = picture.tag_v2
    # OpenCV takes any fourth sample for alpha that the colours were not multiplied with.
    extra = tuple(tags.get(_EXTRA_SAMPLES, ()))
    return set(_bits(picture)) == {16} and tags.get(_PHOTOMETRIC) == _RGB and extra in ((), (_UNASSOCIATED_ALPHA,))


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
