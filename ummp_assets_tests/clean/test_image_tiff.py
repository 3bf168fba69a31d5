"""TIFFs of every kind of samples come out right by value, or are refused as a kind that is not read."""

import io
import lzma
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from PIL import Image

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.pictures import RULES, decoded, encoded, refused
from ummp_assets_tests.clean.samples import photograph

WIDTH, HEIGHT = 16, 16
BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, EXTRA, FORMAT = 258, 259, 262, 277, 284, 338, 339
ORIENTATION, ROWS_PER_STRIP, PREDICTOR, TILE_WIDTH, TILE_LENGTH = 274, 278, 317, 322, 323
SUBFILE, PROFILE = 254, 34_675
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED, YCBCR, CIELAB = 0, 1, 2, 5, 6, 8
SIGNED, FLOATING = 2, 3

RAMP = np.linspace(0, 65_535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)


def tiff(samples: bytes | list[bytes], **changes: int | tuple[int, ...]) -> bytes:
    """Return a TIFF of 16 x 16 (TIFF 6.0, section 2), tags by name above; several pieces are strips or tiles. A tag
    `HIGH_BYTES_FIRST` chooses the order."""
    order = ">" if changes.pop("HIGH_BYTES_FIRST", 0) else "<"
    tags: dict[int, tuple[int, ...]] = {256: (WIDTH,), 257: (HEIGHT,), COMPRESSION: (1,), SAMPLES: (1,)}
    for name, value in changes.items():
        tags[globals()[name]] = value if isinstance(value, tuple) else (value,)
    offsets, lengths = (273, 279) if 322 not in tags else (324, 325)
    if offsets == 273:
        tags.setdefault(ROWS_PER_STRIP, (HEIGHT,))
    pieces = [samples] if isinstance(samples, bytes) else samples
    tags[lengths] = tuple(len(piece) for piece in pieces)
    values_at, values = 8 + 2 + 12 * (len(tags) + 1) + 4, b""
    position = values_at + sum(4 * len(value) for value in [*tags.values(), tags[lengths]] if len(value) > 1)
    tags[offsets] = tuple(position + sum(tags[lengths][:number]) for number in range(len(pieces)))
    entries = b""
    for tag, value in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(value)}I", *value)
        if len(value) > 1:
            packed, values = struct.pack(order + "I", values_at + len(values)), values + packed
        entries += struct.pack(order + "HHI", tag, 4, len(value)) + packed
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return header + entries + bytes(4) + values + b"".join(pieces)


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


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_reach_black_and_white(bits: int, photometric: int) -> None:
    samples = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 2**bits
    packed = np.packbits(np.unpackbits(samples[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1), axis=1)
    pixels = decoded(tiff(packed.tobytes(), BITS=bits, PHOTOMETRIC=photometric))
    grey = samples.astype(np.int64) * 255 // (2**bits - 1)
    np.testing.assert_array_equal(pixels[..., 0], 255 - grey if photometric == WHITE_IS_ZERO else grey)


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
    data = tiff([plane.tobytes() for plane in planes], BITS=(8,) * 3, PHOTOMETRIC=RGB, SAMPLES=3, PLANES=2)
    pixels = decoded(data)
    np.testing.assert_array_equal(pixels, np.moveaxis(planes, 0, -1))


@pytest.mark.parametrize("high_bytes_first", [0, 1])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_planes_of_sixteen_bits_are_read_one_by_one(has_alpha: bool, high_bytes_first: int) -> None:
    planes = [RAMP, RAMP[::-1], RAMP // 2, np.full_like(RAMP, 13_107)][: 4 if has_alpha else 3]
    tags: dict[str, int | tuple[int, ...]] = {"BITS": (16,) * len(planes), "SAMPLES": len(planes)}
    tags |= {"PHOTOMETRIC": RGB, "PLANES": 2} | ({"EXTRA": 2} if has_alpha else {})
    # Two strips a plane.
    strips = [
        half.astype(">u2" if high_bytes_first else "<u2").tobytes()
        for plane in planes
        for half in (plane[:8], plane[8:])
    ]
    pixels = decoded(tiff(strips, HIGH_BYTES_FIRST=high_bytes_first, ROWS_PER_STRIP=8, **tags))
    expected = np.round(np.dstack(planes[:3]) / 257)
    if has_alpha:
        np.testing.assert_allclose(pixels, expected * 0.2 + 80, atol=1)
    else:
        np.testing.assert_array_equal(pixels, expected)


def test_planes_in_compressed_tiles_are_turned_as_well() -> None:
    planes = [RAMP, RAMP[::-1], RAMP // 2]
    tags: dict[str, int | tuple[int, ...]] = {"BITS": (16,) * 3, "SAMPLES": 3, "PHOTOMETRIC": RGB, "PLANES": 2}
    tags |= {"COMPRESSION": 8, "TILE_WIDTH": 16, "TILE_LENGTH": 16, "PREDICTOR": 2, "ORIENTATION": 6}
    # What is stored is the difference from the pixel before.
    tiles = [zlib.compress(np.diff(plane, axis=1, prepend=np.uint16(0)).tobytes()) for plane in planes]
    pixels = decoded(tiff(tiles, **tags))
    np.testing.assert_array_equal(pixels, np.rot90(np.round(np.dstack(planes) / 257), -1))
    assert refused(tiff([tiles[0], tiles[1], tiles[2][:50]], **tags)).reason is Reason.CORRUPT_IMAGE


@pytest.mark.parametrize(("compression", "compress"), [(34_925, lzma.compress), (50_000, zstandard.compress)])
@pytest.mark.parametrize("planes", [1, 2])
def test_sixteen_bits_are_read_in_the_compressions_that_opencv_lacks(
    compression: int, compress: Callable[[bytes], bytes], planes: int
) -> None:
    samples = np.dstack([RAMP, RAMP[::-1], RAMP // 2])
    tags: dict[str, int | tuple[int, ...]] = {"BITS": (16,) * 3, "SAMPLES": 3, "PHOTOMETRIC": RGB}
    tags |= {"PLANES": planes, "COMPRESSION": compression}
    pieces = [samples] if planes == 1 else [samples[..., plane] for plane in range(3)]
    pixels = decoded(tiff([compress(piece.tobytes()) for piece in pieces], **tags))
    # By their high bytes where the colours stand together.
    np.testing.assert_allclose(pixels, np.round(samples / 257), atol=2 - planes)


@pytest.mark.parametrize("stored", [(0, 0, 0), (255, 0, 0), (153, 20, 30), (128, -30, 15), (180, 5, -30)])
def test_lab_becomes_rgb(stored: tuple[int, int, int]) -> None:
    data = tiff(np.array(stored).astype(np.uint8).tobytes() * 256, BITS=(8,) * 3, PHOTOMETRIC=CIELAB, SAMPLES=3)
    # CIE 15:2004, section 8.2.1.1, and the matrix from XYZ of D50 to sRGB that Bruce Lindbloom publishes.
    whiteness = (stored[0] / 2.55 + 16) / 116
    roots = np.array([whiteness + stored[1] / 500, whiteness, whiteness - stored[2] / 200])
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * (0.96422, 1, 0.82521)
    light = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.229, 1.4052]]) @ xyz
    colour = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(decoded(data)[3, 3], colour, atol=2)


def test_grey_that_is_multiplied_with_its_alpha_is_blended() -> None:
    samples = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    samples[...] = (40, 51)
    pixels = decoded(tiff(samples.tobytes(), BITS=(8, 8), PHOTOMETRIC=BLACK_IS_ZERO, SAMPLES=2, EXTRA=1))
    np.testing.assert_allclose(pixels, 200 * 0.2 + 100 * 0.8, atol=1)


def with_damage(tiff: bytes) -> bytes:
    middle = len(tiff) // 2
    return tiff[:middle] + b"\xa5" * 100 + tiff[middle + 100 :]


@pytest.mark.parametrize("mode", ["YCbCr", "1"])
def test_damage_that_pillow_passes_over_is_corrupt(mode: str) -> None:
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).resize((120, 100)).convert(mode)
    whole = encoded(picture, "TIFF", compression="group4" if mode == "1" else "tiff_lzw")
    # Four at a time: what is said of one is not said of its neighbours.
    with ThreadPoolExecutor(4) as executor:
        verdicts = list(executor.map(lambda data: decode_image(data, RULES), [whole, with_damage(whole)] * 20))
    assert all(isinstance(verdict, DecodedImage) for verdict in verdicts[::2])
    assert {verdict.reason for verdict in verdicts[1::2] if isinstance(verdict, Refusal)} == {Reason.CORRUPT_IMAGE}
    assert all(isinstance(verdict, Refusal) for verdict in verdicts[1::2])


def test_a_number_in_the_place_of_a_profile_is_none() -> None:
    # As many zeros were made room for.
    data = tiff(RAMP.tobytes(), BITS=16, PHOTOMETRIC=BLACK_IS_ZERO, PROFILE=2**31)
    np.testing.assert_array_equal(decoded(data)[..., 0], np.round(RAMP / 257))


def test_large_tiffs_whose_high_bytes_come_first_are_unsupported() -> None:
    assert refused(b"MM\0+\0\x08\0\0" + bytes(100)).reason is Reason.UNSUPPORTED_IMAGE


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("grey in planes", {"BITS": (8, 8), "PHOTOMETRIC": BLACK_IS_ZERO, "SAMPLES": 2, "PLANES": 2, "EXTRA": 2}),
        ("YCbCr in planes", {"BITS": (8,) * 3, "PHOTOMETRIC": YCBCR, "SAMPLES": 3, "PLANES": 2}),
        ("planes by alpha", {"BITS": (16,) * 4, "PHOTOMETRIC": RGB, "SAMPLES": 4, "PLANES": 2, "EXTRA": 1}),
        ("a raw photograph's thumbnail", {"BITS": 8, "PHOTOMETRIC": BLACK_IS_ZERO, "SUBFILE": 1}),
        ("16-bit L*a*b*", {"BITS": (16,) * 3, "PHOTOMETRIC": CIELAB, "SAMPLES": 3}),
        ("WebP", {"BITS": (8,) * 3, "PHOTOMETRIC": RGB, "SAMPLES": 3, "COMPRESSION": 50_001}),
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


@pytest.mark.parametrize(
    ("word", "tags"),
    [
        ("floating-point", {"BITS": (32,) * 3, "PHOTOMETRIC": RGB, "SAMPLES": 3, "FORMAT": (FLOATING,) * 3}),
        ("floating-point", {"BITS": 32, "PHOTOMETRIC": BLACK_IS_ZERO, "FORMAT": FLOATING}),
        ("16+16+16 bits", {"BITS": (16,) * 3, "PHOTOMETRIC": CIELAB, "SAMPLES": 3}),
        ("photometric interpretation 5", {"BITS": (8,) * 5, "PHOTOMETRIC": SEPARATED, "SAMPLES": 5, "EXTRA": 2}),
    ],
)
def test_the_sentence_names_what_is_not_read(word: str, tags: dict[str, int]) -> None:
    assert word in refused(tiff(bytes(16 * 16 * 16), **tags)).detail


def test_signed_samples_that_only_libtiff_knows_of_are_unsupported() -> None:
    data = tiff(colours(), BITS=(16,) * 3, PHOTOMETRIC=RGB, SAMPLES=3, FORMAT=SIGNED)
    # As a number of 64 signed bits, which Pillow skips.
    entry = struct.pack("<HHII", FORMAT, 4, 1, SIGNED)
    assert entry in data
    other = data.replace(entry, struct.pack("<HHII", FORMAT, 17, 1, len(data))) + struct.pack("<q", SIGNED)
    assert refused(other).reason is Reason.UNSUPPORTED_IMAGE


@pytest.mark.parametrize("tags", [{"ROWS_PER_STRIP": 0}, {"TILE_WIDTH": 16}, {"TILE_WIDTH": 16, "TILE_LENGTH": 0}])
def test_strips_and_tiles_of_no_size_are_refused(tags: dict[str, int]) -> None:
    refusal = refused(tiff(RAMP.tobytes(), BITS=16, PHOTOMETRIC=BLACK_IS_ZERO, **tags))
    assert refusal.reason is Reason.CORRUPT_IMAGE


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
