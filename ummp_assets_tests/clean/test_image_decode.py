"""Every format and kind of pixels comes out as upright, opaque sRGB, compared by value."""

import base64
import io
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.image_geometry import fit_square
from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason
from ummp_assets.settings import ImageSettings
from ummp_assets_tests.clean.samples import photograph

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


def test_sixteen_bit_transparency_is_blended() -> None:
    samples = np.full((16, 16, 4), 65_535, np.uint16)
    samples[8:, :, 3] = 0
    pixels = decoded(cv2.imencode(".png", samples)[1].tobytes())
    assert (pixels[:8] == 255).all()
    assert (pixels[8:] == 100).all()


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(image_format: str) -> None:
    options = {"quality": 100, "subsampling": 0} if image_format == "JPEG" else {}
    picture = Image.new("CMYK", (32, 16), (0, 255, 255, 0))
    picture.paste((255, 0, 0, 128), (16, 0, 32, 16))
    pixels = decoded(encoded(picture, image_format, **options)).astype(int)
    assert np.abs(pixels[8, 4] - RED).max() <= 3
    assert np.abs(pixels[8, 27] - (0, 127, 127)).max() <= 3


def swapped_profile() -> bytes:
    """An RGB profile whose red is blue and whose blue is red: lcms's sRGB under another name, two primaries swapped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swap = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
    tags = struct.unpack(">I", profile[128:132])[0]
    table = b"".join(
        swap.get(entry[:4], entry[:4]) + entry[4:]
        for entry in (profile[132 + 12 * number : 144 + 12 * number] for number in range(tags))
    )
    renamed = profile[:132] + table + profile[132 + 12 * tags :]
    return renamed.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_colours_move_from_the_profile_to_srgb(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 95}
    data = encoded(Image.new("RGB", (16, 16), (220, 60, 20)), image_format, icc_profile=swapped_profile(), **options)
    assert np.abs(decoded(data)[8, 8].astype(int) - (20, 60, 220)).max() <= 6


def test_srgb_and_broken_profiles_change_nothing() -> None:
    picture = corners()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all", swapped_profile()[:100]):
        np.testing.assert_array_equal(decoded(encoded(picture, "PNG", icc_profile=profile)), np.asarray(picture))


def test_a_profile_of_another_colour_space_is_ignored() -> None:
    grey = Image.new("L", (16, 16), 77)
    assert (decoded(encoded(grey, "PNG", icc_profile=swapped_profile())) == 77).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_the_same_with_and_without_metadata(mode: str) -> None:
    # The one's header is read by libjpeg-turbo, the other's by Pillow.
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert(mode)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, described = encoded(picture, "JPEG"), encoded(picture, "JPEG", icc_profile=srgb, exif=Image.Exif())
    assert len(described) > len(plain)
    np.testing.assert_array_equal(decoded(plain), decoded(described))


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


def linear_grey_profile() -> bytes:
    """A profile of grey that grows with the light (ICC.1:2010, section 8.5): lcms makes none."""
    tags = {
        b"desc": b"desc\0\0\0\0\0\0\0\5grey\0".ljust(112, b"\0"),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63_190, 65_536, 54_061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0),
    }
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    header = struct.pack(">I4xI12s12x4s", start + len(body), 0x0240_0000, b"mntrGRAYXYZ ", b"acsp").ljust(68, b"\0")
    return (header + struct.pack(">3i", 63_190, 65_536, 54_061)).ljust(128, b"\0") + table + body


def test_a_transparent_grey_of_sixteen_bits_is_background() -> None:
    samples = np.full((16, 16), 1_000, np.uint16)
    # These differ by less than eight bits tell apart.
    samples[8:] = 1_001
    png = cv2.imencode(".png", samples)[1].tobytes()
    transparent = struct.pack(">H", 1_000)
    chunk = struct.pack(">I", 2) + b"tRNS" + transparent + struct.pack(">I", zlib.crc32(b"tRNS" + transparent))
    pixels = decoded(png[:33] + chunk + png[33:])
    assert (pixels[:8] == 100).all()
    assert (pixels[8:] == 4).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_damaged_jpeg_is_refused_whatever_its_colours(mode: str) -> None:
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert(mode)
    # With metadata, Pillow reads the header of each.
    data = encoded(picture, "JPEG", quality=90, exif=Image.Exif())
    decoded(data)
    cut = data[: len(data) // 2] + b"\xff\xd9"
    assert refused(cut).reason is Reason.CORRUPT_IMAGE


def test_kinds_of_jpegs_that_are_not_read_are_unsupported() -> None:
    data = encoded(Image.new("RGB", (64, 64)), "JPEG")
    frame = data.index(b"\xff\xc0")
    twelve_bits = data[:frame] + b"\xff\xc1" + data[frame + 2 : frame + 4] + b"\x0c" + data[frame + 5 :]
    assert refused(twelve_bits).reason is Reason.UNSUPPORTED_IMAGE


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


def test_large_jpegs_are_decoded_small_and_report_their_full_size() -> None:
    picture = Image.open(io.BytesIO(photograph("retina.jpg"))).convert("RGB").resize((1_600, 1_200))
    data = encoded(picture, "JPEG", quality=90)
    image = decode_image(data, ImageSettings(side_pixels=128))
    assert isinstance(image, DecodedImage)
    assert (image.width, image.height) == (1_600, 1_200)
    assert image.pixels.shape == (300, 400, 3)
    expected = np.asarray(picture.reduce(4)).astype(int)
    assert np.abs(image.pixels.astype(int) - expected).mean() < 3


def test_a_name_or_type_decides_nothing() -> None:
    assert refused(b"GIF87").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0").reason is Reason.UNSUPPORTED_IMAGE
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").reason is Reason.UNSUPPORTED_IMAGE


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_unsupported(mode: str) -> None:
    refusal = refused(encoded(Image.new(mode, (16, 16)), "TIFF"))
    assert refusal.reason is Reason.UNSUPPORTED_IMAGE


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


@pytest.mark.parametrize("name", ["rocket.jpg", "coffee.png"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files_are_refused(name: str, share: float) -> None:
    data = photograph(name)
    assert refused(data[: int(len(data) * share)]).reason is Reason.CORRUPT_IMAGE


@pytest.mark.parametrize("image_format", ["BMP", "GIF", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_of_other_formats_are_refused(image_format: str, share: float) -> None:
    data = encoded(Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB"), image_format)
    assert refused(data[: int(len(data) * share)]).reason is Reason.CORRUPT_IMAGE


def test_the_same_damage_gives_the_same_sentence() -> None:
    data = photograph("coffee.png")[:50_000]
    assert refused(data) == refused(bytes(bytearray(data)))
    assert "0x" not in refused(data).detail


def test_simple_chroma_is_only_for_jpegs_that_are_shrunk_and_hardly_seen_then() -> None:
    coffee = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB")
    data = encoded(coffee, "JPEG", quality=85, subsampling="4:2:0")
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    shrunk, kept = (decoded(data, ImageSettings(side_pixels=side)) for side in (256, 400))
    np.testing.assert_array_equal(kept, full)
    assert (shrunk != full).any()
    first, second = (fit_square(np.asarray(pixels, np.uint8), 256, "crop", 0) for pixels in (shrunk, full))
    assert cv2.PSNR(first, second) > 45
