"""JPEGs whose writers were careless are read as every viewer shows them, and damage in their like is still refused."""

import io

import numpy as np
import pytest
from PIL import Image

from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.pictures import decoded, encoded, refused
from ummp_assets_tests.clean.samples import photograph

_END = b"\xff\xd9"


def _photograph(**options: object) -> bytes:
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB").resize((300, 200))
    return encoded(picture, "JPEG", quality=85, **options)


def _without_coefficients(jpeg: bytes) -> bytes:
    """Return a JPEG whose scan claims, as on telephones of Samsung, to end with coefficient 0 instead of 63."""
    scan = jpeg.rindex(b"\xff\xda")
    last = scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4]) - 2
    assert jpeg[last] == 63
    return jpeg[:last] + b"\0" + jpeg[last + 1 :]


def _padded(jpeg: bytes, count: int) -> bytes:
    assert jpeg.endswith(_END)
    return jpeg[:-2] + bytes(count) + _END


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("count", [1, 7, 8, 300, 5_000])
def test_zeros_before_the_end_are_no_damage(count: int, progressive: bool) -> None:
    whole = _photograph(progressive=progressive)
    np.testing.assert_array_equal(decoded(_padded(whole, count)), decoded(whole))


def test_scan_parameters_of_a_sequential_jpeg_are_no_damage() -> None:
    whole = _photograph()
    np.testing.assert_array_equal(decoded(_without_coefficients(whole)), decoded(whole))


def test_both_faults_at_once_and_a_thumbnail_and_more_behind_the_end_are_no_damage() -> None:
    thumbnail = encoded(Image.new("RGB", (32, 32), "red"), "JPEG")
    whole = _photograph(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail)
    careless = _padded(_without_coefficients(whole), 64) + thumbnail
    np.testing.assert_array_equal(decoded(careless), decoded(whole))


def test_other_bytes_than_zeros_before_the_end_are_damage() -> None:
    whole = _photograph()
    assert refused(whole[:-2] + b"\x5a\xa5" * 8 + _END).reason is Reason.CORRUPT_IMAGE


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_hole_of_zeros_is_damage(share: float) -> None:
    whole = _photograph()
    start = int(len(whole) * share)
    assert refused(whole[:start] + bytes(2 * len(whole)) + _END).reason is Reason.CORRUPT_IMAGE


def test_a_careless_jpeg_that_was_cut_is_damaged() -> None:
    cut = _without_coefficients(_photograph())[:-3_000]
    assert refused(cut + _END).reason is Reason.CORRUPT_IMAGE
    assert refused(cut).reason is Reason.CORRUPT_IMAGE
