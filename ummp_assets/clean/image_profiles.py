"""Which colours an image's numbers mean: the embedded profile, or one made of what stands in its place."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, PngImagePlugin
from PIL.ImageFile import ImageFile

from ummp_assets.clean.image_icc import (
    SRGB_CHROMATICITIES,
    SRGB_CURVE,
    Chromaticities,
    Curve,
    grey_profile,
    rgb_profile,
)

__all__ = ["ColourCode", "find_profile", "read_colour_code"]

_GREY_MODES = frozenset({"1", "L", "LA", "I;16"})

_D65 = (0.3127, 0.329)
# ITU-T H.273, table 2.
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_CHROMATICITIES,
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
# Table 3. All others are shown by sRGB's curve, those of cameras (1, 6, 14 and 15) as well: so do browsers.
_CURVES: dict[int, Curve] = {4: (0, (2.2,)), 5: (0, (2.8,)), 8: (0, (1.0,))}
_PQ, _HLG = 16, 18

_SAME_CHROMATICITY, _SAME_GAMMA = 0.002, 0.01

_BMP_HEADER_OFFSET, _BMP_V5_BYTES, _BMP_EMBEDDED = 14, 124, b"DEBM"
_GIF_HEADER_BYTES, _GIF_EXTENSION, _GIF_PROFILE = 13, 0x21, b"\x0bICCRGBG1012"


@dataclass(frozen=True, slots=True)
class ColourCode:
    """Code points for the colours of a picture (ITU-T H.273), in a PNG's chunk cICP or an AVIF's box nclx."""

    primaries: int
    transfer: int

    @property
    def has_high_dynamic_range(self) -> bool:
        """Whether white lies within the range, and what is brighter is shown in ways that no standard fixes."""
        return self.transfer in (_PQ, _HLG)


def read_colour_code(picture: ImageFile, data: bytes) -> ColourCode | None:
    """Return the code points of an image's colours, if it has any that go before a profile or stand in its place."""
    # The other two bytes: RGB in its full range. Nothing else is defined for PNG.
    cicp = picture.info.get("cicp", b"")
    if len(cicp) == 4 and cicp[2:] == b"\0\1":
        return ColourCode(cicp[0], cicp[1])
    if isinstance(picture, AvifImagePlugin.AvifImageFile) and not picture.info.get("icc_profile"):
        start = data.find(b"colrnclx") + len(b"colrnclx")
        if start >= len(b"colrnclx") and start + 4 <= len(data):
            return ColourCode(*struct.unpack_from(">HH", data, start))
    return None


def find_profile(picture: ImageFile, data: bytes, code: ColourCode | None) -> bytes | None:
    """Return the ICC profile of an image's colours, or None where they are sRGB or nothing is said of them.

    Of a PNG, cICP goes before iCCP, iCCP before sRGB, and sRGB before gAMA and cHRM (PNG, third edition, section
    4.3).
    """
    if code is not None and code.primaries in _PRIMARIES:
        return _made_profile(picture.mode, _PRIMARIES[code.primaries], _CURVES.get(code.transfer, SRGB_CURVE))
    embedded = picture.info.get("icc_profile")
    # A damaged TIFF may have a number there.
    if embedded and isinstance(embedded, bytes):
        return embedded
    if isinstance(picture, PngImagePlugin.PngImageFile):
        return _png_profile(picture)
    if isinstance(picture, BmpImagePlugin.BmpImageFile):
        return _bmp_profile(data)
    return _gif_profile(data) if isinstance(picture, GifImagePlugin.GifImageFile) else None


def _made_profile(mode: str, chromaticities: Chromaticities, curve: Curve) -> bytes | None:
    if curve == SRGB_CURVE and _has_srgb_primaries(mode, chromaticities):
        return None
    return grey_profile(curve) if mode in _GREY_MODES else rgb_profile(chromaticities, curve)


def _has_srgb_primaries(mode: str, chromaticities: Chromaticities) -> bool:
    distance = np.abs(np.subtract(chromaticities, SRGB_CHROMATICITIES)).max()
    return mode in _GREY_MODES or bool(distance < _SAME_CHROMATICITY)


def _png_profile(picture: ImageFile) -> bytes | None:
    info: Mapping[Any, Any] = picture.info
    if "srgb" in info:
        return None
    chromaticities, gamma = info.get("chromaticity", SRGB_CHROMATICITIES), info.get("gamma")
    # 0 says nothing (section 11.3.2.2), and 1/2.2 with the primaries of sRGB, or none, is sRGB: so the standard has
    # writers describe it to old readers (section 11.3.2.5), and many write no more than that.
    if not gamma or (abs(2.2 * gamma - 1) < _SAME_GAMMA and _has_srgb_primaries(picture.mode, chromaticities)):
        return _made_profile(picture.mode, chromaticities, SRGB_CURVE)
    return _made_profile(picture.mode, chromaticities, (0, (1 / gamma,)))


def _bmp_profile(bmp: bytes) -> bytes | None:
    """Return the profile behind the fifth version of the header (BITMAPV5HEADER), or None."""
    header = bmp[_BMP_HEADER_OFFSET : _BMP_HEADER_OFFSET + _BMP_V5_BYTES]
    if len(header) < _BMP_V5_BYTES or header[:4] != struct.pack("<I", _BMP_V5_BYTES) or header[56:60] != _BMP_EMBEDDED:
        return None
    offset, length = struct.unpack_from("<II", header, 112)
    start = _BMP_HEADER_OFFSET + offset
    return bmp[start : start + length] or None


def _gif_profile(gif: bytes) -> bytes | None:
    """Return the profile in the application extension of the ICC (ICC.1:2022, annex B.6), or None."""
    if _GIF_PROFILE not in gif:
        return None
    position = _GIF_HEADER_BYTES + (3 << (gif[10] & 7) + 1 if gif[10] & 0x80 else 0)
    while gif[position] == _GIF_EXTENSION:
        start, position, blocks = position + 2, position + 2, []
        while length := gif[position]:
            blocks.append(gif[position + 1 : position + 1 + length])
            position += 1 + length
        position += 1
        if gif.startswith(_GIF_PROFILE, start):
            return b"".join(blocks[1:])
    return None
