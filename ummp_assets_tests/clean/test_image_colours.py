"""Colours are moved to sRGB from whatever an image says that they are in, compared by value."""

import io

import numpy as np
import pytest
from PIL import Image

from ummp_assets_tests.clean.colour_profiles import (
    cyan_only_profile,
    linear_grey_profile,
    srgb_profile,
    swapped_profile,
)
from ummp_assets_tests.clean.pictures import RED, corners, decoded, encoded
from ummp_assets_tests.clean.samples import photograph


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(image_format: str) -> None:
    options = {"quality": 100, "subsampling": 0} if image_format == "JPEG" else {}
    picture = Image.new("CMYK", (32, 16), (0, 255, 255, 0))
    picture.paste((255, 0, 0, 128), (16, 0, 32, 16))
    pixels = decoded(encoded(picture, image_format, **options)).astype(int)
    assert np.abs(pixels[8, 4] - RED).max() <= 3
    assert np.abs(pixels[8, 27] - (0, 127, 127)).max() <= 3


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_colours_move_from_the_profile_to_srgb(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 95}
    data = encoded(Image.new("RGB", (16, 16), (220, 60, 20)), image_format, icc_profile=swapped_profile(), **options)
    assert np.abs(decoded(data)[8, 8].astype(int) - (20, 60, 220)).max() <= 6


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_moves_from_its_profile_to_srgb(image_format: str) -> None:
    picture = Image.new("CMYK", (32, 16), (0, 255, 255, 255))
    picture.paste((128, 0, 0, 0), (16, 0, 32, 16))
    options = {"quality": 100, "subsampling": 0} if image_format == "JPEG" else {"compression": "tiff_lzw"}
    pixels = decoded(encoded(picture, image_format, icc_profile=cyan_only_profile(), **options)).astype(int)
    assert np.abs(pixels[8, 4] - 255).max() <= 3
    # A lightness of 49.8.
    assert np.abs(pixels[8, 27] - 118).max() <= 3


def test_a_gif_moves_from_its_profile_to_srgb() -> None:
    gif = encoded(corners().quantize(4), "GIF", comment="first")
    place, profile = gif.index(b"\x21\xfe"), swapped_profile()
    pieces = [profile[start : start + 255] for start in range(0, len(profile), 255)]
    blocks = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    for before, behind in ((b"", b""), (b"\x21\xfe\1a\0", b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0")):
        extension = before + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0" + behind
        pixels = decoded(gif[:place] + extension + gif[place:])
        np.testing.assert_allclose(pixels, np.asarray(corners())[..., ::-1], atol=1)
    # The name alone is no profile.
    assert (decoded(gif[:-1] + b"\x0bICCRGBG1012;") == np.asarray(corners())).all()


def test_srgb_and_broken_profiles_change_nothing() -> None:
    picture = corners()
    srgb = srgb_profile()
    for profile in (srgb, b"no profile at all", swapped_profile()[:100]):
        np.testing.assert_array_equal(decoded(encoded(picture, "PNG", icc_profile=profile)), np.asarray(picture))


def test_a_profile_of_another_colour_space_is_ignored() -> None:
    grey = Image.new("L", (16, 16), 77)
    assert (decoded(encoded(grey, "PNG", icc_profile=swapped_profile())) == 77).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_the_same_with_and_without_metadata(mode: str) -> None:
    # The one's header is read by libjpeg-turbo, the other's by Pillow.
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert(mode)
    srgb = srgb_profile()
    plain, described = encoded(picture, "JPEG"), encoded(picture, "JPEG", icc_profile=srgb, exif=Image.Exif())
    assert len(described) > len(plain)
    np.testing.assert_array_equal(decoded(plain), decoded(described))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_grey_moves_from_its_profile_to_srgb(image_format: str) -> None:
    # Photoshop writes a profile of grey into grey JPEGs.
    options: dict[str, object] = {"quality": 100} if image_format == "JPEG" else {}
    data = encoded(Image.new("L", (16, 16), 60), image_format, icc_profile=linear_grey_profile(), **options)
    linear = 1.055 * (60 / 255) ** (1 / 2.4) - 0.055
    assert np.abs(decoded(data).astype(int) - round(255 * linear)).max() <= 1


def test_grey_with_alpha_moves_from_its_profile_to_srgb() -> None:
    samples = np.full((16, 16, 2), 255, np.uint8)
    samples[..., 0] = 60
    linear = 1.055 * (60 / 255) ** (1 / 2.4) - 0.055
    data = encoded(Image.fromarray(samples), "PNG", icc_profile=linear_grey_profile())
    assert np.abs(decoded(data).astype(int) - round(255 * linear)).max() <= 1
