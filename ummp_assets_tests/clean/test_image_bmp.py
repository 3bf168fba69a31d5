"""Every kind of BMP comes out right by value, written by hand since libraries write one or two of them."""

import struct

import numpy as np
import numpy.typing as npt
import pytest

from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.colour_profiles import swapped_profile
from ummp_assets_tests.clean.pictures import BLUE, GREEN, RED, WHITE, corners, decoded, refused

# Of the header's field `compression`.
RUNS_OF_BYTES, RUNS_OF_HALF_BYTES, MASKS = 1, 2, 3
COLOURS = np.asarray(corners())
# Which quarter a pixel is in: red, green, blue, white.
QUARTERS = (np.arange(16)[:, None] // 8 * 2 + np.arange(32) // 16).astype(np.uint8)
PALETTE = b"".join(bytes([*colour[::-1], 0]) for colour in (RED, GREEN, BLUE, WHITE))


def bmp(
    pixels: bytes, bits: int, *, compression: int = 0, height: int = 16, rest: bytes = b"", size: int = 40
) -> bytes:
    """Return a BMP of 32 x 16; `rest` is what stands between the first 40 bytes of its header and the pixels."""
    start, entries = 14 + 40 + len(rest), len(PALETTE) // 4
    header = struct.pack("<IiiHHIIiiII", size, 32, height, 1, bits, compression, len(pixels), 0, 0, entries, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + rest + pixels


def with_alpha(alpha: int) -> npt.NDArray[np.uint8]:
    return np.dstack([COLOURS[..., ::-1], np.full(QUARTERS.shape, alpha, np.uint8)])


def fifth_header(alpha_mask: int = 0, space: bytes = b"BGRs", profile: tuple[int, int] = (0, 0)) -> bytes:
    """Return what BITMAPV5HEADER has behind the first 40 bytes; a profile by its place and length."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
    return masks + space + bytes(52) + struct.pack("<2I", *profile) + bytes(4)


@pytest.mark.parametrize("is_upright", [False, True])
@pytest.mark.parametrize("bits", [24, 32])
def test_rows_stand_in_either_order(bits: int, is_upright: bool) -> None:
    rows = COLOURS[..., ::-1] if bits == 24 else with_alpha(0)
    data = bmp((rows if is_upright else rows[::-1]).tobytes(), bits, height=-16 if is_upright else 16)
    np.testing.assert_array_equal(decoded(data), COLOURS)


def test_alpha_counts_where_the_header_names_it() -> None:
    pixels = with_alpha(51)[::-1].tobytes()
    named = bmp(pixels, 32, compression=MASKS, rest=fifth_header(alpha_mask=0xFF000000), size=124)
    np.testing.assert_allclose(decoded(named), COLOURS * 0.2 + 80, atol=1)
    np.testing.assert_array_equal(decoded(bmp(pixels, 32)), COLOURS)
    unnamed = bmp(pixels, 32, compression=MASKS, rest=fifth_header(), size=124)
    np.testing.assert_array_equal(decoded(unnamed), COLOURS)


@pytest.mark.parametrize("masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)])
def test_colours_of_five_and_six_bits_reach_white(masks: tuple[int, int, int]) -> None:
    words = np.array([*masks, sum(masks)], np.uint16)[QUARTERS]
    data = bmp(words[::-1].tobytes(), 16, compression=MASKS, rest=struct.pack("<3I", *masks))
    np.testing.assert_array_equal(decoded(data), COLOURS)


def test_sixteen_bits_without_masks_are_five_a_colour() -> None:
    words = np.array([0x7C00, 0x3E0, 0x1F, 0x7FFF], np.uint16)[QUARTERS]
    np.testing.assert_array_equal(decoded(bmp(words[::-1].tobytes(), 16)), COLOURS)


@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_are_expanded(bits: int) -> None:
    rows = QUARTERS[::-1]
    pixels = rows[:, ::2] << 4 | rows[:, 1::2] if bits == 4 else rows
    np.testing.assert_array_equal(decoded(bmp(pixels.tobytes(), bits, rest=PALETTE)), COLOURS)


@pytest.mark.parametrize(("bits", "compression", "factor"), [(8, RUNS_OF_BYTES, 1), (4, RUNS_OF_HALF_BYTES, 17)])
def test_runs_are_expanded_and_missed(bits: int, compression: int, factor: int) -> None:
    rows = [bytes([16, row[0] * factor, 16, row[16] * factor, 0, 0]) for row in QUARTERS[::-1]]
    runs = b"".join(rows) + b"\0\1"
    np.testing.assert_array_equal(decoded(bmp(runs, bits, compression=compression, rest=PALETTE)), COLOURS)
    cut = bmp(b"".join(rows[:7]) + b"\0\1", bits, compression=compression, rest=PALETTE)
    assert refused(cut).reason is Reason.CORRUPT_IMAGE


def test_the_embedded_profile_is_heeded() -> None:
    pixels, profile = COLOURS[::-1, :, ::-1].tobytes(), swapped_profile()
    whole, other = (
        bmp(pixels, 24, rest=fifth_header(space=space, profile=(124 + len(pixels), len(profile))), size=124)
        for space in (b"DEBM", b"BGRs")
    )
    np.testing.assert_allclose(decoded(whole + profile), COLOURS[..., ::-1], atol=1)
    # Cut off, or beside a space of its own, it is none.
    np.testing.assert_array_equal(decoded(whole), COLOURS)
    np.testing.assert_array_equal(decoded(other + profile), COLOURS)


@pytest.mark.parametrize(("bits", "compression"), [(2, 0), (0, 4), (0, 5)])
def test_kinds_that_are_not_read_are_unsupported(bits: int, compression: int) -> None:
    # Two bits are Windows CE's; a JPEG and a PNG in a BMP are for printers.
    assert refused(bmp(bytes(512), bits, compression=compression, rest=PALETTE)).reason is Reason.UNSUPPORTED_IMAGE
