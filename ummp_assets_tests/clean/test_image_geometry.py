"""Squares of one size: the right part of the image, smooth, at the right place."""

import io

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ummp_assets.clean.image_geometry import fit_square
from ummp_assets_tests.clean.samples import photograph

Pixels = npt.NDArray[np.uint8]


def coffee(width: int, height: int) -> Pixels:
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB")
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def centre(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


@pytest.mark.parametrize(
    ("width", "height"), [(70, 65), (100, 100), (127, 90), (128, 128), (150, 129), (200, 300), (500, 400), (608, 560)]
)
def test_shrinking_is_close_to_averaging_areas(width: int, height: int) -> None:
    pixels = coffee(width, height)
    square = fit_square(pixels, 64, "crop", 0)
    assert square.shape == (64, 64, 3)
    areas = cv2.resize(np.ascontiguousarray(centre(pixels)), (64, 64), interpolation=cv2.INTER_AREA)
    assert cv2.PSNR(square, areas) > 38


def test_what_does_not_halve_evenly_goes_at_both_edges_alike() -> None:
    pixels = coffee(601, 555)
    areas = cv2.resize(np.ascontiguousarray(centre(pixels)), (64, 64), interpolation=cv2.INTER_AREA)
    # Three of 555 rows are left out; without their halves at each edge the picture would be moved.
    assert cv2.PSNR(fit_square(pixels, 64, "crop", 0), areas) > 34


def test_fine_stripes_become_grey_instead_of_coarse_ones() -> None:
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    for side in (37, 64, 77, 100, 111, 121, 149):
        inner = fit_square(stripes, side, "crop", 0)[:, 2:-2].astype(int)
        assert inner.min() > 60
        assert inner.max() < 195


def test_enlarging_is_smooth() -> None:
    pixels = coffee(40, 40)
    square = fit_square(pixels, 64, "crop", 0)
    lanczos = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_LANCZOS4)
    np.testing.assert_array_equal(square, lanczos)


def test_the_same_size_is_kept_as_it_is() -> None:
    pixels = coffee(64, 64)
    np.testing.assert_array_equal(fit_square(pixels, 64, "crop", 0), pixels)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64)])
def test_the_crop_is_the_centre(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 2 - 32 : height // 2 + 32, width // 2 - 32 : width // 2 + 32] = 255
    assert (fit_square(pixels, 32, "crop", 0) == 255).all()


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (400, 800), (10, 20)])
def test_padding_keeps_the_whole_image_in_the_middle(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 200, np.uint8)
    square = fit_square(pixels, 40, "pad", 9)
    inside = square[10:30] if width > height else square[:, 10:30]
    outside = [square[:10], square[30:]] if width > height else [square[:, :10], square[:, 30:]]
    assert (inside == 200).all()
    assert all((part == 9).all() for part in outside)


def test_a_line_stays_visible_when_padded() -> None:
    square = fit_square(np.full((1, 1_000, 3), 200, np.uint8), 40, "pad", 0)
    assert square.max() == 200


def test_views_that_are_turned_or_mirrored_are_read_right() -> None:
    pixels = coffee(90, 90)
    turned = pixels.transpose(1, 0, 2)[::-1, ::-1]
    expected = fit_square(np.ascontiguousarray(turned), 64, "crop", 0)
    np.testing.assert_array_equal(fit_square(turned, 64, "crop", 0), expected)
