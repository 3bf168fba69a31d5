"""Samples of 16 bits are rounded to 8, compared by value."""

import struct

import cv2
import numpy as np
import pytest

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets_tests.clean.pictures import RULES, decoded


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded_to_eight(extension: str, channels: int) -> None:
    values = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    samples = values if channels == 1 else np.dstack([values] * channels)
    if channels == 4:
        samples[..., 3] = 65_535
    pixels = decoded(cv2.imencode(extension, samples)[1].tobytes())
    expected = np.round(values / 257)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], expected)


def test_the_high_bytes_of_the_largest_sixteen_bit_pictures_do() -> None:
    # 4,100 x 4,100: OpenCV would hold it twice beside the rest.
    samples = np.zeros((4_100, 4_100, 3), np.uint16)
    samples[:] = (257 * 200, 257 * 10 + 200, 0)
    pixels = decoded(cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    assert (pixels == (0, 10, 200)).all()


def test_sixteen_bit_channels_keep_their_order() -> None:
    samples = np.zeros((16, 16, 3), np.uint16)
    samples[:] = (0, 257 * 10, 257 * 200)
    for extension in (".png", ".tiff"):
        pixels = decoded(cv2.imencode(extension, samples)[1].tobytes())
        assert (pixels == (200, 10, 0)).all()


def test_a_sixteen_bit_tiff_is_turned() -> None:
    samples = np.zeros((8, 32, 3), np.uint16)
    samples[:, :16] = 65_535
    data = cv2.imencode(".tiff", samples)[1].tobytes()
    # OpenCV writes no orientation: it takes the place of the planar configuration, which is the default one.
    planar, turned = struct.pack("<HHIHH", 284, 3, 1, 1, 0), struct.pack("<HHIHH", 274, 3, 1, 6, 0)
    assert planar in data
    image = decode_image(data.replace(planar, turned), RULES)
    assert isinstance(image, DecodedImage)
    assert (image.width, image.height) == (8, 32)
    assert (image.pixels[:16] == 255).all()
    assert (image.pixels[16:] == 0).all()
