"""PNGs are whole or refused, and their colours are those that their chunks name, compared by value."""

import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.colour_profiles import swapped_profile
from ummp_assets_tests.clean.pictures import BLUE, GREEN, RED, RULES, decoded, encoded, png, png_chunk, refused

GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6
SIDE = 32
# Adam7 (PNG, third edition, section 8.1): column, row, and the steps from one to the next.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]

Samples = npt.NDArray[np.generic]


def rows_of(samples: Samples) -> bytes:
    """Rows that no filter has changed."""
    return b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)


def passes_of(samples: Samples, count: int = 7) -> bytes:
    return b"".join(
        rows_of(samples[top::rows, left::columns])
        for left, top, columns, rows in PASSES[:count]
        if samples[top::rows, left::columns].size
    )


def packed(rows: list[list[int]], bits: int) -> bytes:
    """Rows of less than eight bits a sample, the first of them in the high bits."""
    row_bytes = -(-len(rows[0]) * bits // 8)
    numbers = ["".join(f"{sample:0{bits}b}" for sample in row).ljust(8 * row_bytes, "0") for row in rows]
    return b"".join(b"\0" + int(number, 2).to_bytes(row_bytes) for number in numbers)


def ramp(channels: int, dtype: type = np.uint8) -> Samples:
    """Without a sample of 0."""
    numbers = 1 + np.arange(SIDE * SIDE * channels) % 250
    return np.squeeze((numbers * (257 if dtype is np.uint16 else 1)).astype(dtype).reshape(SIDE, SIDE, channels))


@pytest.mark.parametrize(("bits", "colour_type"), [(8, GREY), (8, RGB), (8, RGBA), (16, GREY), (16, RGB)])
def test_rows_that_are_missing_are_missed(bits: int, colour_type: int) -> None:
    samples = ramp({GREY: 1, RGB: 3, RGBA: 4}[colour_type], np.uint8 if bits == 8 else np.uint16)
    decoded(png(SIDE, SIDE, bits, colour_type, rows_of(samples)))
    for height in (0, 1, SIDE // 2, SIDE - 1):
        refusal = refused(png(SIDE, SIDE, bits, colour_type, rows_of(samples[:height])))
        assert refusal.reason is Reason.CORRUPT_IMAGE, height


@pytest.mark.parametrize(("width", "height"), [(SIDE, SIDE), (5, 3), (4, 1), (1, 4), (1, 1)])
def test_passes_that_are_missing_are_missed(width: int, height: int) -> None:
    samples = ramp(3)[:height, :width]
    np.testing.assert_array_equal(decoded(png(width, height, 8, RGB, passes_of(samples), interlace=1)), samples)
    whole = passes_of(samples)
    for count in range(7):
        if (part := passes_of(samples, count)) != whole:
            assert refused(png(width, height, 8, RGB, part, interlace=1)).reason is Reason.CORRUPT_IMAGE
    one_row_less = whole[: -1 - 3 * len(range(PASSES[6][0], width))]
    if height > 1:
        assert refused(png(width, height, 8, RGB, one_row_less, interlace=1)).reason is Reason.CORRUPT_IMAGE


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("bits", "colour_type"), [(1, GREY), (2, GREY), (4, PALETTE), (8, RGBA), (16, RGB)])
def test_black_rows_are_no_missing_ones(bits: int, colour_type: int, interlace: int) -> None:
    row_bits = bits * {GREY: 1, PALETTE: 1, RGB: 3, RGBA: 4}[colour_type]
    widths = [SIDE] * SIDE
    if interlace:
        widths = [
            len(range(left, SIDE, columns)) for left, top, columns, rows in PASSES for _ in range(top, SIDE, rows)
        ]
    rows = b"".join(bytes(1 + -(-width * row_bits // 8)) for width in widths)
    palette = png_chunk(b"PLTE", bytes(48))
    pixels = decoded(png(SIDE, SIDE, bits, colour_type, rows, palette, interlace=interlace))
    assert (pixels == (100 if colour_type == RGBA else 0)).all()
    assert refused(png(SIDE, SIDE, bits, colour_type, rows[:-1], palette, interlace=interlace))


@pytest.mark.parametrize("bits", [8, 16])
def test_files_that_end_early_are_refused_wherever_they_end(bits: int) -> None:
    whole = png(SIDE, SIDE, bits, RGB, rows_of(ramp(3, np.uint8 if bits == 8 else np.uint16)))
    decoded(whole)
    for length in range(len(whole) - 30, len(whole)):
        assert refused(whole[:length]).reason is Reason.CORRUPT_IMAGE, length
    end = png_chunk(b"IEND", b"")
    assert "IEND" in refused(whole.removesuffix(end)).detail
    pixels = whole.index(b"IDAT") - 4
    assert refused(whole[:pixels] + end).reason is Reason.CORRUPT_IMAGE
    assert "checksum" in refused(whole[: -len(end) - 1] + b"\xab" + end).detail


def test_headers_that_no_standard_has_are_refused() -> None:
    whole = png(SIDE, SIDE, 16, RGB, rows_of(ramp(3, np.uint16)))
    header, rest = whole[8:33], whole[33:]
    for methods in (b"\1\0\0", b"\0\1\0", b"\0\0\2"):
        changed = png_chunk(b"IHDR", header[8:18] + methods)
        assert refused(whole[:8] + changed + rest).reason is Reason.CORRUPT_IMAGE
    for chunks in (png_chunk(b"tEXt", b"a\0b") + header, header * 2, png_chunk(b"IHDR", header[8:21] + b"\0")):
        assert refused(whole[:8] + chunks + rest).reason is Reason.CORRUPT_IMAGE


def test_pngs_of_apple_only_are_unsupported() -> None:
    whole = png(SIDE, SIDE, 8, RGB, rows_of(ramp(3)))
    own = whole[:8] + png_chunk(b"CgBI", b"P\0\x20\6") + whole[8:]
    assert refused(own).reason is Reason.UNSUPPORTED_IMAGE


def test_a_palette_that_is_missing_is_missed() -> None:
    assert "PLTE" in refused(png(SIDE, SIDE, 8, PALETTE, rows_of(ramp(1)))).detail


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_grey_reach_white_and_one_of_them_may_be_transparent(bits: int) -> None:
    top = 2**bits - 1
    greys = [0, top // 3, 2 * (top // 3), top]
    rows = packed([greys] * 4, bits)
    assert decoded(png(4, 4, bits, GREY, rows))[0, :, 0].tolist() == [grey * 255 // top for grey in greys]
    for transparent in greys:
        pixels = decoded(png(4, 4, bits, GREY, rows, png_chunk(b"tRNS", struct.pack(">H", transparent))))
        expected = [100 if grey == transparent else grey * 255 // top for grey in greys]
        assert pixels[0, :, 1].tolist() == expected


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_bits_have_opaque_and_other_entries(bits: int) -> None:
    rows = packed([[0, 1, 0, 1]] * 4, bits)
    palette = png_chunk(b"PLTE", bytes([*RED, *GREEN]))
    assert decoded(png(4, 4, bits, PALETTE, rows, palette))[0, :2].tolist() == [[*RED], [*GREEN]]
    shown = decoded(png(4, 4, bits, PALETTE, rows, palette, png_chunk(b"tRNS", bytes([0, 51]))))
    assert shown[0, :2].tolist() == [[100, 100, 100], [80, 131, 80]]
    first = decoded(png(4, 4, bits, PALETTE, rows, palette, png_chunk(b"tRNS", b"\0")))
    assert first[0, :2].tolist() == [[100, 100, 100], [*GREEN]]


@pytest.mark.parametrize("is_behind", [False, True])
def test_the_orientation_is_found_before_and_behind_the_pixels(is_behind: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    whole = png(SIDE, 8, 8, GREY, rows_of(ramp(1)[:8]))
    place = -12 if is_behind else 33
    image = decode_image(whole[:place] + chunk + whole[place:], RULES)
    assert isinstance(image, DecodedImage)
    assert (image.width, image.height) == (8, SIDE)
    np.testing.assert_array_equal(image.pixels[..., 0], np.rot90(ramp(1)[:8], -1))


GAMMA_OF_LIGHT, GAMMA_OF_SRGB = struct.pack(">I", 100_000), struct.pack(">I", 45_455)
SRGB_POINTS = struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
ADOBE_POINTS = struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)
# From light in one to light in sRGB, both with D65 as white: as published by Bruce Lindbloom, and by the CSS Color
# Module Level 4 (section 18).
ADOBE_TO_SRGB = np.array([[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]])
P3_TO_SRGB = np.array([[1.2249, -0.2249, 0], [-0.0421, 1.0421, 0], [-0.0196, -0.0786, 1.0983]])
COLOUR = np.array([150, 120, 100])


def encoded_light(light: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1."""
    numbers = np.asarray(light, np.float64)
    return 255 * np.where(numbers <= 0.0031308, 12.92 * numbers, 1.055 * numbers ** (1 / 2.4) - 0.055)


def light_of(samples: npt.ArrayLike) -> npt.NDArray[np.float64]:
    numbers = np.asarray(samples, np.float64) / 255
    return np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)


def shown(*chunks: bytes, bits: int = 8) -> npt.NDArray[np.uint8]:
    samples = np.broadcast_to(COLOUR, (8, 8, 3))
    wide = (samples * 257).astype(np.uint16) if bits == 16 else samples.astype(np.uint8)
    pixel: npt.NDArray[np.uint8] = decoded(png(8, 8, bits, RGB, rows_of(wide), *chunks))[0, 0]
    return pixel


def profile_chunk() -> bytes:
    return png_chunk(b"iCCP", b"BGRs\0\0" + zlib.compress(swapped_profile()))


@pytest.mark.parametrize("bits", [8, 16])
def test_samples_that_grow_with_the_light_are_moved_to_srgb(bits: int) -> None:
    pixels = shown(png_chunk(b"gAMA", GAMMA_OF_LIGHT), bits=bits)
    np.testing.assert_allclose(pixels, encoded_light(COLOUR / 255), atol=1)


def test_grey_is_moved_by_its_gamma() -> None:
    pixels = decoded(png(SIDE, SIDE, 8, GREY, rows_of(ramp(1)), png_chunk(b"gAMA", struct.pack(">I", 55_556))))
    np.testing.assert_allclose(pixels[..., 2], encoded_light((ramp(1).astype(float) / 255) ** 1.8), atol=2)


@pytest.mark.parametrize("bits", [8, 16])
def test_primaries_and_gamma_are_moved_to_srgb(bits: int) -> None:
    pixels = shown(png_chunk(b"gAMA", GAMMA_OF_SRGB), png_chunk(b"cHRM", ADOBE_POINTS), bits=bits)
    np.testing.assert_allclose(pixels, encoded_light(ADOBE_TO_SRGB @ (COLOUR / 255) ** 2.2), atol=1)


def test_primaries_alone_go_with_the_curve_of_srgb() -> None:
    pixels = shown(png_chunk(b"cHRM", ADOBE_POINTS))
    np.testing.assert_allclose(pixels, encoded_light(ADOBE_TO_SRGB @ light_of(COLOUR)), atol=1)


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": GAMMA_OF_SRGB},
        {"gAMA": GAMMA_OF_SRGB, "cHRM": SRGB_POINTS},
        {"cHRM": SRGB_POINTS},
        {"sRGB": b"\0", "gAMA": GAMMA_OF_LIGHT, "cHRM": ADOBE_POINTS},
        {"gAMA": bytes(4)},
        {"cHRM": bytes(32)},
        {"cHRM": SRGB_POINTS[:16] * 2, "gAMA": b"\0\0\0\1"},
        {"cICP": b"\1\x0d\0\1", "gAMA": GAMMA_OF_LIGHT},
        # A matrix and a narrow range are no PNG's.
        {"cICP": b"\x0c\x0d\1\0"},
        {"cICP": b"\x0c\x0d"},
    ],
)
def test_what_is_srgb_or_impossible_changes_nothing(chunks: dict[str, bytes]) -> None:
    assert shown(*(png_chunk(name.encode(), data) for name, data in chunks.items())).tolist() == COLOUR.tolist()


def test_a_profile_goes_before_gamma_and_primaries() -> None:
    pixels = shown(profile_chunk(), png_chunk(b"gAMA", GAMMA_OF_LIGHT), png_chunk(b"cHRM", ADOBE_POINTS))
    np.testing.assert_allclose(pixels, COLOUR[::-1], atol=1)


def test_code_points_go_before_a_profile() -> None:
    # Display P3.
    pixels = shown(png_chunk(b"cICP", b"\x0c\x0d\0\1"), profile_chunk())
    np.testing.assert_allclose(pixels, encoded_light(P3_TO_SRGB @ light_of(COLOUR)), atol=1)


@pytest.mark.parametrize("transfer", [16, 18])
def test_a_high_dynamic_range_is_unsupported(transfer: int) -> None:
    code = png_chunk(b"cICP", bytes([9, transfer, 0, 1]))
    assert refused(png(SIDE, SIDE, 16, RGB, rows_of(ramp(3, np.uint16)), code)).reason is Reason.UNSUPPORTED_IMAGE


def test_palettes_are_moved_but_not_what_shows_through() -> None:
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, *BLUE]))
    chunks = [png_chunk(b"gAMA", GAMMA_OF_LIGHT), palette, png_chunk(b"tRNS", b"\xff\0")]
    pixels = decoded(png(4, 4, 8, PALETTE, packed([[0, 1, 0, 1]] * 4, 8), *chunks))
    np.testing.assert_allclose(pixels[0, 0], encoded_light(np.array([10, 20, 30]) / 255), atol=1)
    assert (pixels[0, 1] == 100).all()


@pytest.mark.parametrize(("primaries", "matrix"), [(1, np.eye(3)), (12, P3_TO_SRGB)])
def test_avifs_have_code_points_too(primaries: int, matrix: npt.NDArray[np.float64]) -> None:
    data = encoded(Image.new("RGB", (32, 32), tuple(COLOUR.tolist())), "AVIF", quality=100, subsampling="4:4:4")
    place = data.index(b"colrnclx") + 8
    coded = data[:place] + struct.pack(">HH", primaries, 13) + data[place + 4 :]
    np.testing.assert_allclose(decoded(coded)[8, 8], encoded_light(matrix @ light_of(COLOUR)), atol=2)
    bright = data[:place] + struct.pack(">HH", 9, 16) + data[place + 4 :]
    assert refused(bright).reason is Reason.UNSUPPORTED_IMAGE


@pytest.mark.parametrize("side", [512, 1_024])
def test_rows_that_the_inflater_gives_after_all_of_its_input_are_there(side: int) -> None:
    # 512 rows of 2,049 bytes are 512 more than a MiB; the last ones are empty, so that all are counted.
    picture = Image.new("RGBA", (side, side))
    picture.paste((200, 10, 90, 255), (side // 4, side // 4, side // 2, side // 2))
    pixels = decoded(encoded(picture, "PNG"))
    assert (pixels[side // 3, side // 3] == (200, 10, 90)).all()
