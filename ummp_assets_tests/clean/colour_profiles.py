"""ICC profiles that lcms does not make, built by hand."""

import struct

from PIL import ImageCms

__all__ = ["cyan_only_profile", "linear_grey_profile", "srgb_profile", "swapped_profile"]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """An RGB profile whose red is blue and whose blue is red: lcms's sRGB under another name, two primaries swapped."""
    profile = srgb_profile()
    swap = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
    tags = struct.unpack(">I", profile[128:132])[0]
    table = b"".join(
        swap.get(entry[:4], entry[:4]) + entry[4:]
        for entry in (profile[132 + 12 * number : 144 + 12 * number] for number in range(tags))
    )
    renamed = profile[:132] + table + profile[132 + 12 * tags :]
    return renamed.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


def linear_grey_profile() -> bytes:
    """A profile of grey that grows with the light (ICC.1:2010, section 8.5)."""
    return _profile(b"GRAYXYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0)}, b"mntr")


def cyan_only_profile() -> bytes:
    """A profile of CMYK for a printer whose cyan is black, and whose other inks are invisible (`lut8Type`, 10.11)."""
    ramp = bytes(range(256))
    # Two grid points an ink, cyan changing slowest: L*a*b* of white without it, of black with it.
    colours = bytes([255, 128, 128]) * 8 + bytes([0, 128, 128]) * 8
    matrix = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + colours + ramp * 3
    return _profile(b"CMYKLab ", {b"A2B0": table}, b"prtr")


def _profile(spaces: bytes, parts: dict[bytes, bytes], device: bytes) -> bytes:
    white = struct.pack(">3i", 63_190, 65_536, 54_061)
    name = b"desc\0\0\0\0\0\0\0\5mine\0".ljust(112, b"\0")
    tags = {b"desc": name, b"wtpt": b"XYZ \0\0\0\0" + white} | parts
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    header = struct.pack(">I4xI12s12x4s", start + len(body), 0x0240_0000, device + spaces, b"acsp").ljust(68, b"\0")
    return (header + white).ljust(128, b"\0") + table + body
