"""Limits hold before anything is decoded, and large JPEGs are decoded no larger than they are needed."""

import io

import cv2
import numpy as np
from PIL import Image

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.image_geometry import fit_square
from ummp_assets.reasons import Reason
from ummp_assets.settings import ImageSettings
from ummp_assets_tests.clean.pictures import decoded, encoded, refused
from ummp_assets_tests.clean.samples import photograph


def test_limits_hold_before_anything_is_decoded() -> None:
    rules = ImageSettings(side_pixels=64, max_pixels=10_000, min_side_pixels=20, max_aspect_ratio=3)
    # Only headers: whoever decoded them would find them truncated.
    for size, reason, measured in (
        ((200, 100), Reason.TOO_MANY_PIXELS, 20_000),
        ((19, 20), Reason.IMAGE_TOO_SMALL, 19),
        ((20, 61), Reason.IMAGE_TOO_ELONGATED, 3.05),
    ):
        refusal = refused(encoded(Image.new("RGB", size), "PNG")[:60], rules)
        assert (refusal.reason, refusal.measured) == (reason, measured)
        assert str(size[0]) in refusal.detail
    assert isinstance(decode_image(encoded(Image.new("RGB", (60, 20)), "PNG"), rules), DecodedImage)


def test_a_jpeg_of_a_thousand_scans_is_not_decoded() -> None:
    data = encoded(Image.new("RGB", (100, 100)), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    bomb = data[:start] + data[start:-2] * 1_700 + data[-2:]
    refusal = refused(bomb, ImageSettings(max_pixels=1_000_000))
    assert refusal.reason is Reason.TOO_MANY_SCANS
    assert refusal.measured is not None
    assert refusal.measured > 1_000_000


def test_large_jpegs_are_decoded_small_and_report_their_full_size() -> None:
    picture = Image.open(io.BytesIO(photograph("retina.jpg"))).convert("RGB").resize((1_600, 1_200))
    data = encoded(picture, "JPEG", quality=90)
    image = decode_image(data, ImageSettings(side_pixels=128))
    assert isinstance(image, DecodedImage)
    assert (image.width, image.height) == (1_600, 1_200)
    assert image.pixels.shape == (300, 400, 3)
    expected = np.asarray(picture.reduce(4)).astype(int)
    assert np.abs(image.pixels.astype(int) - expected).mean() < 3


def test_simple_chroma_is_only_for_jpegs_that_are_shrunk_and_hardly_seen_then() -> None:
    coffee = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB")
    data = encoded(coffee, "JPEG", quality=85, subsampling="4:2:0")
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    shrunk, kept = (decoded(data, ImageSettings(side_pixels=side)) for side in (256, 400))
    np.testing.assert_array_equal(kept, full)
    assert (shrunk != full).any()
    first, second = (fit_square(np.asarray(pixels, np.uint8), 256, "crop", 0) for pixels in (shrunk, full))
    assert cv2.PSNR(first, second) > 45
