"""Makes ICC profiles of what stands in their place: primaries and a curve. ICC.1:2022, sections 7, 8 and 10."""

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["SRGB_CHROMATICITIES", "SRGB_CURVE", "Chromaticities", "Curve", "grey_profile", "rgb_profile"]

# x and y of white, red, green and blue (CIE 1931).
Chromaticities = tuple[float, ...]
# Number and parameters of a function from samples to light, of the type `para` (section 10.18).
Curve = tuple[int, tuple[float, ...]]

# IEC 61966-2-1.
SRGB_CHROMATICITIES: Chromaticities = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
SRGB_CURVE: Curve = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))

_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_D50 = np.array([0.9642, 1.0, 0.8249])
# Responses of the eye's cones to XYZ, by Bradford (annex E).
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@lru_cache(maxsize=64)
def rgb_profile(chromaticities: Chromaticities, curve: Curve) -> bytes | None:
    """Return a profile of RGB with three primaries and one curve; None for primaries that span no colours."""
    try:
        with np.errstate(all="raise"):
            matrix = _primaries_at_d50(np.array(chromaticities).reshape(4, 2))
        columns = [struct.pack(">4s4x3i", b"XYZ ", *_fixed(matrix[:, channel])) for channel in range(3)]
        parts = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True))
        return _profile(b"RGB ", parts | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)))
    except (np.linalg.LinAlgError, ValueError, ArithmeticError, struct.error):
        return None


@lru_cache(maxsize=64)
def grey_profile(curve: Curve) -> bytes | None:
    """Return a profile of grey with a curve; None for one that no profile can hold."""
    try:
        return _profile(b"GRAY", {b"kTRC": _curve(curve)})
    except struct.error:
        return None


def _primaries_at_d50(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the XYZ of red, green and blue in columns, as they look where white is D50.

    Parameters
    ----------
    points:
        x and y of white, red, green and blue. [shape=(4, 2)]
    """
    if (points[:, 1] <= 0).any():
        raise ValueError("a colour without light")
    xyz = np.column_stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1:]
    white, primaries = xyz[0], xyz[1:].T
    scaled = primaries * np.linalg.solve(primaries, white)
    adapt = np.linalg.solve(_CONES, np.diag(_CONES @ _D50 / (_CONES @ white)) @ _CONES)
    return np.asarray(adapt @ scaled, np.float64)


def _curve(curve: Curve) -> bytes:
    function, parameters = curve
    return struct.pack(f">4s4xH2x{len(parameters)}i", b"para", function, *_fixed(parameters))


def _fixed(numbers: npt.ArrayLike) -> list[int]:
    """Return numbers as 65,536ths (section 4.6, s15Fixed16Number)."""
    return [int(number) for number in np.rint(np.asarray(numbers, np.float64) * 65_536)]


def _profile(space: bytes, parts: dict[bytes, bytes]) -> bytes:
    white = struct.pack(">3i", *_fixed(_D50))
    name = struct.pack(">4s4xI", b"desc", 5) + b"UMMP\0".ljust(83, b"\0")
    tags = {b"desc": name, b"wtpt": b"XYZ \0\0\0\0" + white} | parts
    table, body = struct.pack(">I", len(tags)), b""
    start = _HEADER_BYTES + len(table) + _ENTRY_BYTES * len(tags)
    for tag, data in tags.items():
        padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += padded
    header = struct.pack(">I4xI12s12x4s", start + len(body), 0x0240_0000, b"mntr" + space + b"XYZ ", b"acsp")
    return (header.ljust(68, b"\0") + white).ljust(_HEADER_BYTES, b"\0") + table + body
