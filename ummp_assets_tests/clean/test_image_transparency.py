"""What shows through is the background, compared by value."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from ummp_assets_tests.clean.pictures import BLUE, RED, decoded, encoded, png, png_chunk


def test_transparency_is_blended_with_the_background() -> None:
    samples = np.zeros((16, 16, 4), np.uint8)
    samples[:] = (200, 0, 50, 255)
    samples[4:8, :, 3] = 0
    samples[8:12, :, 3] = 128
    for data in (
        encoded(Image.fromarray(samples), "PNG"),
        encoded(Image.fromarray(samples), "WEBP", lossless=True, exact=True),
        encoded(Image.fromarray(samples), "TIFF"),
    ):
        pixels = decoded(data)
        assert (pixels[0, 0] == (200, 0, 50)).all()
        assert (pixels[5, 5] == (100, 100, 100)).all()
        assert np.abs(pixels[9, 9].astype(int) - (150, 50, 75)).max() <= 1
    lossy = decoded(encoded(Image.fromarray(samples), "AVIF", quality=100, subsampling="4:4:4"))
    assert np.abs(lossy.astype(int) - pixels).max() <= 2


def test_grey_with_alpha_is_blended() -> None:
    samples = np.zeros((16, 16, 2), np.uint8)
    samples[..., 0] = 200
    samples[8:, :, 1] = 255
    pixels = decoded(encoded(Image.fromarray(samples), "PNG"))
    assert (pixels[:8] == 100).all()
    assert (pixels[8:] == 200).all()


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_background(image_format: str) -> None:
    picture = Image.new("P", (16, 16), 0)
    picture.putpalette([*RED, *BLUE])
    picture.paste(1, (8, 0, 16, 16))
    pixels = decoded(encoded(picture, image_format, transparency=0))
    assert (pixels[:, :8] == 100).all()
    assert (pixels[:, 8:] == BLUE).all()


def test_a_transparent_colour_without_palette_is_background() -> None:
    picture = Image.new("RGB", (16, 16), RED)
    picture.paste(BLUE, (8, 0, 16, 16))
    pixels = decoded(encoded(picture, "PNG", transparency=RED))
    assert (pixels[:, :8] == 100).all()
    assert (pixels[:, 8:] == BLUE).all()


def test_sixteen_bit_transparency_is_blended() -> None:
    samples = np.full((16, 16, 4), 65_535, np.uint16)
    samples[8:, :, 3] = 0
    pixels = decoded(cv2.imencode(".png", samples)[1].tobytes())
    assert (pixels[:8] == 255).all()
    assert (pixels[8:] == 100).all()


def test_sixteen_bit_grey_with_alpha_is_blended() -> None:
    rows = (b"\0" + struct.pack(">4H", 257 * 200, 65_535, 257 * 200, 257 * 51)) * 4
    pixels = decoded(png(2, 4, 16, 4, rows))
    assert (pixels[:, 0] == 200).all()
    assert (pixels[:, 1] == 120).all()


def test_a_transparent_colour_of_sixteen_bits_is_told_from_its_neighbours() -> None:
    rows = (b"\0" + struct.pack(">6H", 5_000, 6_000, 7_000, 5_000, 6_000, 7_001)) * 4
    pixels = decoded(png(2, 4, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">3H", 5_000, 6_000, 7_000))))
    assert (pixels[:, 0] == 100).all()
    assert (pixels[:, 1] == (19, 23, 27)).all()


def test_a_transparent_grey_of_sixteen_bits_is_background() -> None:
    samples = np.full((16, 16), 1_000, np.uint16)
    # These differ by less than eight bits tell apart.
    samples[8:] = 1_001
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    pixels = decoded(png(16, 16, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", 1_000))))
    assert (pixels[:8] == 100).all()
    assert (pixels[8:] == 4).all()
