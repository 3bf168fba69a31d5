"""TIFFs of every kind of samples come out right by value, or are refused as a kind that is not read."""

import struct

import numpy as np
import numpy.typing as npt
import pytest

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason
from ummp_assets.settings import ImageSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

RULES = ImageSettings(side_pixels=64, min_side_pixels=1, background=100)
WIDTH, HEIGHT = 16, 16
BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, EXTRA, FORMAT = 258, 259, 262, 277, 284, 338, 339
ROWS_PER_STRIP = 278
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED = 0, 1, 2, 5
SIGNED, FLOATING = 2, 3

RAMP = np.linspace(0, 65_535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)


def tiff(samples: bytes, **changes: int | tuple[int, ...]) -> bytes:
    """Return an uncompressed TIFF of 16 x 16 (TIFF 6.0, section 2), tags by name above."""
    tags: dict[int, tuple[int, ...]] = {256: (WIDTH,), 257: (HEIGHT,), COMPRESSION: (1,), SAMPLES: (1,)}
    tags[ROWS_PER_STRIP] = (HEIGHT,)
    for name, value in changes.items():
        tags[globals()[name]] = value if isinstance(value, tuple) else (value,)
    planes = tags[SAMPLES][0] if tags.get(PLANES) == (2,) else 1
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    values_at, values = start, b""
    tags[273], tags[279] = (0,) * planes, (len(samples) // planes,) * planes
    samples_at = start + sum(4 * len(value) for value in tags.values() if len(value) > 1)
    tags[273] = tuple(samples_at + plane * len(samples) // planes for plane in range(planes))
    entries = b""
    for tag, value in sorted(tags.items()):
        packed = struct.pack(f"<{len(value)}I", *value)
        if len(value) > 1:
            packed, values = struct.pack("<I", values_at + len(values)), values + packed
        entries += struct.pack("<HHI", tag, 4, len(value)) + packed
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values + samples


def decoded(data: bytes) -> npt.NDArray[np.int64]:
    image = decode_image(data, RULES)
    assert isinstance(image, DecodedImage), image
    return image.pixels.astype(np.int64)


def refused(data: bytes) -> Refusal:
    refusal = decode_image(data, RULES)
    assert isinstance(refusal, Refusal)
    return refusal


def packed_12_bits(samples: npt.NDArray[np.uint16]) -> bytes:
    pairs = samples.reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("bits", [8, 16])
def test_grey_is_right_whichever_end_is_black(bits: int, photometric: int) -> None:
    samples = (RAMP >> 8).astype(np.uint8) if bits == 8 else RAMP
    grey = np.round(samples * (255 / (2**bits - 1))).astype(np.int64)
    pixels = decoded(tiff(samples.tobytes(), BITS=bits, PHOTOMETRIC=photometric))
    np.testing.assert_array_equal(pixels[..., 1], 255 - grey if photometric == WHITE_IS_ZERO else grey)


def test_twelve_bits_are_scaled_to_the_whole_range() -> None:
    samples = (RAMP >> 4).astype(np.uint16)
    pixels = decoded(tiff(packed_12_bits(samples), BITS=12, PHOTOMETRIC=BLACK_IS_ZERO))
    np.testing.assert_array_equal(pixels[..., 0], np.round(samples * (255 / 4_095)))


def colours(*extra: npt.NDArray[np.uint16]) -> bytes:
    return np.dstack([RAMP, RAMP[::-1], RAMP // 2, *extra]).tobytes()


def test_a_fourth_sample_of_no_stated_meaning_is_no_alpha() -> None:
    pixels = decoded(tiff(colours(RAMP), BITS=(16,) * 4, PHOTOMETRIC=RGB, SAMPLES=4, EXTRA=0))
    assert np.abs(pixels - np.dstack([RAMP, RAMP[::-1], RAMP // 2]) / 257).max() <= 1


@pytest.mark.parametrize("is_multiplied", [False, True])
def test_alpha_of_sixteen_bits_is_blended(is_multiplied: bool) -> None:
    alpha = np.linspace(0, 1, WIDTH)[None, :].repeat(HEIGHT, axis=0)
    colour = np.array([60_000, 30_000, 10_000])
    stored = np.round(colour * (alpha[..., None] if is_multiplied else np.ones((HEIGHT, WIDTH, 1))))
    samples = np.dstack([stored, np.round(alpha * 65_535)]).astype(np.uint16)
    extra = 1 if is_multiplied else 2
    pixels = decoded(tiff(samples.tobytes(), BITS=(16,) * 4, PHOTOMETRIC=RGB, SAMPLES=4, EXTRA=extra))
    expected = colour / 257 * alpha[..., None] + 100 * (1 - alpha[..., None])
    assert np.abs(pixels - expected).max() <= 2.5


def test_cmyk_of_sixteen_bits_becomes_rgb() -> None:
    samples = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    samples[...] = (0, 65_535, 65_535, 0)
    pixels = decoded(tiff(samples.tobytes(), BITS=(16,) * 4, PHOTOMETRIC=SEPARATED, SAMPLES=4))
    assert (pixels == (255, 0, 0)).all()


def test_planes_of_their_own_are_read_where_they_have_eight_bits() -> None:
    planes = np.stack([RAMP >> 8, RAMP[::-1] >> 8, RAMP >> 9]).astype(np.uint8)
    pixels = decoded(tiff(planes.tobytes(), BITS=(8,) * 3, PHOTOMETRIC=RGB, SAMPLES=3, PLANES=2))
    np.testing.assert_array_equal(pixels, np.moveaxis(planes, 0, -1))


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("16-bit colours in planes", {"BITS": (16,) * 3, "PHOTOMETRIC": RGB, "SAMPLES": 3, "PLANES": 2}),
        ("8 signed bits", {"BITS": 8, "PHOTOMETRIC": BLACK_IS_ZERO, "FORMAT": SIGNED}),
        ("16 signed bits", {"BITS": 16, "PHOTOMETRIC": BLACK_IS_ZERO, "FORMAT": SIGNED}),
        ("32 bits", {"BITS": 32, "PHOTOMETRIC": BLACK_IS_ZERO}),
        ("floats", {"BITS": 32, "PHOTOMETRIC": BLACK_IS_ZERO, "FORMAT": FLOATING}),
        ("colours in floats", {"BITS": (32,) * 3, "PHOTOMETRIC": RGB, "SAMPLES": 3, "FORMAT": (FLOATING,) * 3}),
        ("24 bits", {"BITS": 24, "PHOTOMETRIC": BLACK_IS_ZERO}),
        ("16-bit grey with alpha", {"BITS": (16, 16), "PHOTOMETRIC": BLACK_IS_ZERO, "SAMPLES": 2, "EXTRA": 2}),
        ("JPEG 2000", {"BITS": 8, "PHOTOMETRIC": BLACK_IS_ZERO, "COMPRESSION": 34_712}),
    ],
)
def test_kinds_that_are_not_read_are_unsupported_and_not_corrupt(kind: str, tags: dict[str, int]) -> None:
    refusal = refused(tiff(bytes(16 * 16 * 16), **tags))
    assert refusal.reason is Reason.UNSUPPORTED_IMAGE, (kind, refusal.detail)


def test_missing_strips_are_refused() -> None:
    # Eight rows a strip, of which sixteen rows have one only.
    refusal = refused(tiff(RAMP.tobytes(), BITS=16, PHOTOMETRIC=BLACK_IS_ZERO, ROWS_PER_STRIP=8))
    assert refusal.reason is Reason.CORRUPT_IMAGE
    assert "1 of 2 strips" in refusal.detail


def test_broken_metadata_are_neither_refused_nor_written_about(
    store: ObjectStore, index: Index, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tiff(colours(), BITS=(16,) * 3, PHOTOMETRIC=RGB, SAMPLES=3)
    rows_per_strip, software_beyond_the_end = struct.pack("<HHI", 278, 4, 1), struct.pack("<HHII", 305, 2, 100, 1 << 20)
    start = data.index(rows_per_strip)
    broken = data[:start] + software_beyond_the_end + data[start + 12 :]
    put_downloads(store, [raw_row(1, broken, modality="image")])
    assert clean_images(store, index, settings, BATCH).rows("samples") == 1
    assert capfd.readouterr().err == ""
