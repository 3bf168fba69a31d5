"""Small pictures, and what becomes of them: shared by the tests of decoding."""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.refusals import Refusal
from ummp_assets.settings import ImageSettings

__all__ = ["BLUE", "GREEN", "RED", "RULES", "WHITE", "corners", "decoded", "encoded", "png", "png_chunk", "refused"]

Pixels = npt.NDArray[np.uint8]

RULES = ImageSettings(side_pixels=64, min_side_pixels=1, background=100)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners() -> Image.Image:
    """Four flat quarters, of which no turn or mirroring gives the same: red, green, blue, white."""
    picture = Image.new("RGB", (32, 16), WHITE)
    picture.paste(RED, (0, 0, 16, 8))
    picture.paste(GREEN, (16, 0, 32, 8))
    picture.paste(BLUE, (0, 8, 16, 16))
    return picture


def encoded(picture: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, image_format, **options)
    return file.getvalue()


def decoded(data: bytes, rules: ImageSettings = RULES) -> Pixels:
    image = decode_image(data, rules)
    assert isinstance(image, DecodedImage), image
    assert image.pixels.dtype == np.uint8
    return image.pixels


def refused(data: bytes, rules: ImageSettings = RULES) -> Refusal:
    refusal = decode_image(data, rules)
    assert isinstance(refusal, Refusal)
    return refusal


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes, interlace: int = 0) -> bytes:
    """Return a PNG of these rows, filters included, with other chunks in front of them."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    pixels = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + pixels
