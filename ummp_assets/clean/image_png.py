"""What is particular about PNGs: chunks with checksums, and rows that Pillow does not miss."""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from isal import isal_zlib
from PIL.ImageFile import ImageFile

__all__ = ["complete_header", "find_png_damage", "missing_row_bytes", "needed_chunks"]

_SIGNATURE_BYTES, _HEADER_BYTES = 8, 13
_BIT_DEPTH_OFFSET, _COLOUR_TYPE_OFFSET, _METHODS_OFFSET, _INTERLACE_OFFSET = 24, 25, 26, 28
_END = b"\0\0\0\0IEND\xaeB`\x82"
_GREY, _RGB, _PALETTE = 0, 2, 3
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, 4: 2, 6: 4}
# Bytes of a transparent colour, by colour type (PNG, third edition, section 11.3.1.1).
_TRANSPARENCY_BYTES = {_GREY: 2, _RGB: 6}
# A PNG of 32 MB in the usual pieces of 8 kB has 4,000.
_MAX_CHUNKS = 100_000
# Adam7 (section 8.1): first column and row of each pass, and the steps between its pixels and rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATED_BYTES = 2**20


def complete_header(picture: ImageFile, data: bytes) -> None:
    """Put among a PNG's facts what Pillow leaves out: `cicp` (section 11.3.2.6) and EXIF behind the pixels; and scale a
    transparent grey of 2 or 4 bits as Pillow scales the pixels that it is looked for in.

    Raises
    ------
    ValueError
        The header is not the first chunk, and the only one of its name; or there are more chunks than anyone writes.
    """
    for name, start, end in _chunks(data):
        if (name == b"IHDR" and end - start == _HEADER_BYTES) != (start == _SIGNATURE_BYTES + 8):
            raise ValueError(f"a chunk {name!r} of {end - start:,} bytes stands where it may not")
        if name == b"cICP":
            picture.info["cicp"] = data[start:end]
        if name == b"eXIf":
            picture.info["exif"] = b"Exif\0\0" + data[start:end]
    bits, transparent = data[_BIT_DEPTH_OFFSET], picture.info.get("transparency")
    if data[_COLOUR_TYPE_OFFSET] == _GREY and bits in (2, 4) and isinstance(transparent, int):
        picture.info["transparency"] = transparent * 255 // (2**bits - 1)


def find_png_damage(data: bytes) -> str | None:
    """Return in words what a PNG's chunks lack of a whole file (PNG, third edition, sections 5.3 to 5.6), or None.

    Pillow compares no checksum of pixels, and takes what it has when the file ends early.
    """
    if data[_METHODS_OFFSET:_INTERLACE_OFFSET] != b"\0\0" or data[_INTERLACE_OFFSET] > 1:
        return "its pixels are compressed, filtered or interlaced by a method that there is not"
    names = set()
    for name, start, end in _chunks(data):
        if end + 4 > len(data):
            return f"it ends within a chunk {name!r}"
        # The first letter of what a picture cannot be read without is a capital.
        if name[:1].isupper() and zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4]):
            return f"the checksum of a chunk {name!r} is another one"
        names.add(name)
    needed = [b"IDAT", b"IEND"] + [b"PLTE"] * (data[_COLOUR_TYPE_OFFSET] == _PALETTE)
    return next((f"it has no chunk {name!r}" for name in needed if name not in names), None)


def missing_row_bytes(picture: ImageFile, data: bytes, *, is_wide: bool) -> int:
    """Return how many bytes a loaded PNG lacks of its rows, or -1 where it has more than them.

    Of a stream that ends early Pillow leaves the other rows empty. So the rows are inflated once more, which takes 1.7
    ms where decoding takes 5.9, only if one of the last two is: of interlaced pictures, too, these come last. OpenCV,
    which decodes the wide ones, would write about either to standard error.
    """
    width, height = picture.size
    if not is_wide and height > 1:
        last_rows = np.asarray(picture.crop((0, height - 2, width, height))).reshape(2, -1)
        if last_rows.any(axis=1).all():
            return 0
    needed, inflated, inflater = _row_bytes(width, height, data), 0, isal_zlib.decompressobj()
    for name, start, end in _chunks(data):
        piece, is_full = data[start:end] if name == b"IDAT" else b"", False
        # With all of its input taken, the inflater may still have rows to give.
        while (piece or is_full) and inflated <= needed:
            count = len(inflater.decompress(piece, _INFLATED_BYTES))
            inflated, is_full, piece = inflated + count, count == _INFLATED_BYTES, inflater.unconsumed_tail
    return max(needed - inflated, -1)


def needed_chunks(data: bytes) -> bytes:
    """Return a PNG without palette and without what only describes it: OpenCV would write about unusual descriptions to
    standard error, and make room for what a damaged one claims to hold."""
    transparency_bytes = _TRANSPARENCY_BYTES.get(data[_COLOUR_TYPE_OFFSET])
    kept = [data[:_SIGNATURE_BYTES]]
    for name, start, end in _chunks(data):
        if name in (b"IHDR", b"IDAT") or (name == b"tRNS" and end - start == transparency_bytes):
            kept.append(data[start - 8 : end + 4])
    return b"".join([*kept, _END])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the contents of each chunk up to the last, which may lie beyond the file's end.

    Raises
    ------
    ValueError
        There are more than anyone writes.
    """
    position = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        start, position = position + 8, position + 12 + length
        yield name, start, start + length
        if name == b"IEND":
            return
    raise ValueError(f"it has more than {_MAX_CHUNKS:,} chunks")


def _row_bytes(width: int, height: int, data: bytes) -> int:
    """Return how many bytes the rows take, each behind one that names its filter (section 7.2)."""
    bits = data[_BIT_DEPTH_OFFSET] * _SAMPLES[data[_COLOUR_TYPE_OFFSET]]
    total = 0
    for left, top, column_step, row_step in _PASSES if data[_INTERLACE_OFFSET] else ((0, 0, 1, 1),):
        columns, rows = max(0, -(-(width - left) // column_step)), max(0, -(-(height - top) // row_step))
        total += rows * (1 + math.ceil(columns * bits / 8)) if columns else 0
    return total
