"""From any kind of pixels to RGB, 8 bits, sRGB, opaque."""

import io
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason

__all__ = ["convert_picture", "convert_rgb", "convert_samples", "eight_bits", "srgb_transform"]

Pixels = npt.NDArray[np.uint8]

_PROFILE_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
_SIXTEEN_BIT_GREY = frozenset({"I;16", "I;16L", "I;16B"})
_CONVERTIBLE = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr", "LAB", *_SIXTEEN_BIT_GREY}
)
# A strip is converted at a time: three whole copies of a large image would take more memory than the image.
_STRIP_PIXELS = 1_000_000
# Those of printers have up to some megabytes, all others some kilobytes.
_SMALL_PROFILE_BYTES = 2**18


def convert_picture(picture: Image.Image, icc_profile: bytes | None, background: int) -> Pixels | Refusal:
    """Return a decoded Pillow image as RGB.

    Palettes and CMYK are expanded, 16-bit grey is rounded to 8 bits, colours are moved from the embedded profile to
    sRGB (ICC.1, perceptual intent; images without a profile are sRGB already) or from CIE L*a*b* of D50 (TIFF 6.0,
    section 23), transparent pixels are blended with the background.

    Parameters
    ----------
    background:
        Grey value, 0 to 255.

    Returns
    -------
    Pixels of shape (height, width, 3), or `unsupported_image`.
    """
    if picture.mode not in _CONVERTIBLE:
        return Refusal(Reason.UNSUPPORTED_IMAGE, f"pixels of the mode {picture.mode} are of no kind that is read")
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = _convert_strip(strip, icc_profile, background)
    return pixels


def convert_samples(samples: npt.NDArray[Any], icc_profile: bytes | None, background: int) -> Pixels:
    """Return what OpenCV decodes (grey, BGR or BGRA, 8 or 16 bits) as RGB, as `convert_picture` does."""
    height, width = samples.shape[:2]
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = samples[top : top + rows]
        narrow = eight_bits(strip) if strip.dtype == np.uint16 else strip
        if narrow.ndim == 3:
            narrow = cv2.cvtColor(narrow, cv2.COLOR_BGRA2RGBA if narrow.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        pixels[top : top + rows] = _convert_strip(Image.fromarray(narrow), icc_profile, background)
    return pixels


def convert_rgb(pixels: Pixels, icc_profile: bytes | None, background: int) -> Pixels:
    """Return RGB pixels in sRGB; the same array if they are."""
    if icc_profile is None or srgb_transform(icc_profile, "RGB") is None:
        return pixels
    converted = convert_picture(Image.fromarray(pixels), icc_profile, background)
    assert isinstance(converted, np.ndarray)  # noqa: S101 - RGB is convertible
    return converted


def eight_bits(samples: npt.NDArray[np.uint16]) -> Pixels:
    """Return 16-bit samples rounded to 8 bits: 0 stays 0 and 65,535 becomes 255."""
    return np.asarray(cv2.convertScaleAbs(samples, alpha=1 / 257), np.uint8)


def srgb_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, or None where there is nothing to do.

    That is the case for profiles that say they are sRGB, for broken ones (browsers ignore them as well), and for those
    of another colour space than the pixels.
    """
    # Sixty-four profiles as large as a file may be would take 2 GB.
    build = _remembered_transform if len(icc_profile) <= _SMALL_PROFILE_BYTES else _large_transform
    return build(icc_profile, mode)


def _build_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        description = ImageCms.getProfileDescription(profile)
        if description.startswith("sRGB") or profile.profile.xcolor_space != _PROFILE_SPACES.get(mode):
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


_remembered_transform = lru_cache(maxsize=64)(_build_transform)
_large_transform = lru_cache(maxsize=4)(_build_transform)


def _convert_strip(strip: Image.Image, icc_profile: bytes | None, background: int) -> Pixels:
    if strip.mode in _SIXTEEN_BIT_GREY:
        strip = _eight_bit_grey(strip)
    if strip.mode == "La":
        strip = strip.convert("LA")
    if not strip.has_transparency_data:
        return np.asarray(_to_srgb(_without_palette(strip), icc_profile))
    if strip.mode in ("P", "PA"):
        strip = strip.convert("RGBA")
    alpha = strip.convert("RGBA").getchannel("A")
    # Grey stays grey until then: its profile is one of grey.
    colours = _to_srgb(strip.convert("L" if strip.mode in ("L", "LA") else "RGB"), icc_profile)
    canvas = Image.new("RGB", strip.size, (background, background, background))
    canvas.paste(colours, mask=alpha)
    return np.asarray(canvas)


def _eight_bit_grey(strip: Image.Image) -> Image.Image:
    samples = np.asarray(strip, np.uint16)
    grey = Image.fromarray(eight_bits(samples))
    transparent = strip.info.get("transparency")
    if transparent is not None:
        # Pillow would look for it among the rounded samples.
        grey.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    return grey


def _without_palette(strip: Image.Image) -> Image.Image:
    if strip.mode == "1":
        return strip.convert("L")
    return strip if strip.mode in (*_PROFILE_SPACES, "LAB") else strip.convert("RGB")


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _to_srgb(strip: Image.Image, icc_profile: bytes | None) -> Image.Image:
    transform = srgb_transform(icc_profile, strip.mode) if icc_profile else None
    if strip.mode == "LAB":
        transform = _lab_transform()
    if transform is not None:
        converted = ImageCms.applyTransform(strip, transform)
        assert converted is not None  # noqa: S101 - None only when converting in place
        return converted
    return strip.convert("RGB")
