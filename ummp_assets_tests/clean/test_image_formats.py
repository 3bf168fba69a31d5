"""Every format comes out as upright RGB with its colours in their places, whatever its first bytes do not say."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.pictures import BLUE, GREEN, RED, RULES, WHITE, corners, decoded, encoded, refused


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("PNG", {"interlace": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 4),
        ("WEBP", {"quality": 95}, 40),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 6),
    ],
)
def test_colours_and_places_are_kept(image_format: str, options: dict[str, object], tolerance: int) -> None:
    image = decode_image(encoded(corners(), image_format, **options), RULES)
    assert isinstance(image, DecodedImage)
    assert (image.width, image.height, image.format) == (32, 16, image_format.lower())
    for (row, column), colour in {(3, 4): RED, (3, 27): GREEN, (12, 4): BLUE, (12, 27): WHITE}.items():
        assert np.abs(image.pixels[row, column].astype(int) - colour).max() <= tolerance


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {}
    # AVIF keeps the orientation in boxes of its own, which Pillow writes and reads as EXIF.
    data = encoded(corners(), image_format, exif=exif, **options)
    image = decode_image(data, RULES)
    assert isinstance(image, DecodedImage)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert (image.height, image.width) == expected.shape[:2]
    assert image.width == (16 if orientation >= 5 else 32)
    np.testing.assert_allclose(image.pixels.astype(int), expected.astype(int), atol=3)


def test_grey_becomes_three_equal_channels() -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    for image_format in ("PNG", "BMP", "TIFF", "JPEG"):
        pixels = decoded(encoded(grey, image_format))
        assert (pixels[..., 0] == pixels[..., 1]).all()
        assert (pixels[..., 0] == pixels[..., 2]).all()
        np.testing.assert_allclose(pixels[..., 0].astype(int), np.asarray(grey).astype(int), atol=3)


def test_one_bit_becomes_black_and_white() -> None:
    picture = Image.new("1", (16, 16), 1)
    picture.paste(0, (0, 0, 8, 16))
    pixels = decoded(encoded(picture, "PNG"))
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_expanded(image_format: str) -> None:
    picture = corners().quantize(4)
    np.testing.assert_array_equal(decoded(encoded(picture, image_format)), np.asarray(corners()))


# Red grows to the right by 5 a pixel, green downwards, blue is 90; 48 x 48 pixels, base 85, written by libjpeg-turbo's
# `cjpeg -quality 75 -optimize -sample`, since no Python package writes such files.
_UNUSUAL_SAMPLINGS = {
    "3x1": (
        "|JeWF01!$>Nk#wx0RR9200961|JwjV00;&K2L=TQ2L}fU2?z=d6b%du3k(?&6Au&}8Xq1V8XO!TBrYc)A}k{u94I#_EHE)NG&CP4"
        "IXyTsJT5adGXL8ELjeg12@DGi7!3^=G9erxGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBW?b"
        "01*fPFaR(E0Wkmq5di}c0sq7R761VO0RR910000000000000CA2mizX7Z3mg0RR910000000000000031Y!Tg02l!P0|5a500000"
        "00000000031qKHM|HJ?o5dZ=M000000000000000000951Tp{G01N{G00I#M5dc2`##J^9RM;_7VCl0vXfp;XY#6DqVy3}sW?Il@"
        "6H1!~Dr^|3urp?7bQyycHVjnQF;if*vn^;d3AIgw6*df1*d4Pox(vaJn+7Uu7`d=o*_N~!gwm$Likk*1Yz*0%-3DOAO@kFS3{==H"
        "Y|B~<!fjJv#Z7}1HU@0W?t?I5rooGw1+Huswq>mbVK%9-Vy3~0n*%mxcR`pjQ((nSgB3OlTQb&zF#p*"
    ),
    "1x4": (
        "|JeWF01!$>Nk#wx0RR9200961|JwjV00;&K2L=TQ2L}fU2?z=d6b%du3k(?&6Au&}8Xq1V8XO!TBrYc)A}k{u94I#_EHE)NG&CP4"
        "IXyTsJT5adGXL8ELjeg12@DGi7!3^=G9erxGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBW?b"
        "01*fPFaR(E0TciN5di}c0sq7R7ytnQ0RaI30000000000000F51_THH!~ho%00RL400000000000000000RVJ|HJ?n0RaI40RR91"
        "000000000000jdC2>-+Y8W8{k00RL40000000000000020|W(OQUBTi3<CiG0ucid06zfnl}&=`n+6p&3#x24wr@b?vFU|W*e<EC"
        "VN+nbrot_o(J5?tVO2H@s%#ik*e<ECi)QpnTOOEIO@iv11{F37s%#?Jy%LtkrWI3Qx~9Q}O@iv12)1uTrLpOSRM;-5uwipxx~9S{"
        "o6#9;dS=x&3#x1)GPPLeNnQOp6*dd1Y$77nVJThxITbbws%#=6)nO@J{W%pj3#x1)BGq9TUHv&1HVdk3A|lmcDP8?I*ES3)Y$77n"
        "VJThxKmXY"
    ),
}


@pytest.mark.parametrize("sampling", sorted(_UNUSUAL_SAMPLINGS))
def test_chroma_is_sampled_however_it_was(sampling: str) -> None:
    pixels = decoded(base64.b85decode(_UNUSUAL_SAMPLINGS[sampling]))
    rows, columns = np.mgrid[0:48, 0:48]
    expected = np.stack([5 * columns, 5 * rows, np.full_like(rows, 90)], axis=-1)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 6


def test_heic_is_told_from_avif_by_all_its_brands() -> None:
    avif = encoded(corners(), "AVIF", quality=95)
    # Both may come under the brand that they have in common.
    general = avif[:8] + b"mif1" + avif[12:]
    assert isinstance(decode_image(general, RULES), DecodedImage)
    heic = struct.pack(">I", 24) + b"ftypmif1\0\0\0\0mif1heic" + general[32:]
    assert refused(heic).reason is Reason.UNSUPPORTED_IMAGE


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_stands_for_an_animation(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    later = [Image.new("RGB", (32, 16), GREEN)]
    data = encoded(Image.new("RGB", (32, 16), RED), image_format, save_all=True, append_images=later, **options)
    assert (decoded(data) == RED).all()


def test_a_name_or_type_decides_nothing() -> None:
    assert refused(b"GIF87").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").reason is Reason.UNSUPPORTED_IMAGE
