"""What is particular about JPEGs: faults of their writers that libjpeg warns of although no pixel is damaged."""

import re

__all__ = ["without_harmless_fault"]

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_BAD_SCAN_PARAMETERS = "Invalid SOS parameters for sequential"
_END = b"\xff\xd9"
_SCAN_HEADER = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\x01-\x04]")
# Start and end of the coefficients, and bits left out: all of them (ITU-T T.81, table B.3).
_SEQUENTIAL = b"\0\x3f\0"
# What libjpeg reads ahead of the bits that it decodes. Were more zeros decoded, they might be a hole in the file.
_READ_AHEAD_BYTES = 8
# A profile of the largest size takes 255.
_MAX_SEGMENTS = 1_000


def without_harmless_fault(jpeg: bytes, warning: str) -> bytes | None:
    """Return a JPEG without the fault that libjpeg warns of, or None where that may be damage.

    Zeros before the end, as some writers fill blocks, and scan headers that speak of no coefficients in a sequential
    JPEG, as telephones of Samsung write them: every viewer shows these pictures, and nothing of them is missing.
    """
    if _BAD_SCAN_PARAMETERS in warning:
        return _with_scan_parameters(jpeg)
    if said := _EXTRANEOUS.search(warning):
        return _without_padding(jpeg, int(said[1]))
    return None


def _with_scan_parameters(jpeg: bytes) -> bytes:
    mended, position = bytearray(jpeg), _first_scan(jpeg)
    while header := _SCAN_HEADER.search(jpeg, position):
        position = header.start() + 2 + int.from_bytes(jpeg[header.start() + 2 : header.start() + 4])
        mended[position - len(_SEQUENTIAL) : position] = _SEQUENTIAL
    return bytes(mended)


def _without_padding(jpeg: bytes, count: int) -> bytes | None:
    end = jpeg.find(_END, _first_scan(jpeg))
    zeros = end - len(jpeg[:end].rstrip(b"\0"))
    return jpeg[: end - count] + jpeg[end:] if count <= zeros <= count + _READ_AHEAD_BYTES else None


def _first_scan(jpeg: bytes) -> int:
    """Return where the first scan begins: the thumbnails in the segments before it have scans and ends of their own."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        if jpeg[position + 1 : position + 2] == b"\xda":
            break
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4])
    return position
