"""Files that are not whole are corrupt, kinds that are not read unsupported, and nothing is written about either."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ummp_assets.clean.image_stage import STAGE, clean_images
from ummp_assets.reasons import Reason
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.pictures import decoded, encoded, png, png_chunk, refused
from ummp_assets_tests.clean.samples import photograph


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


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_unsupported(mode: str) -> None:
    refusal = refused(encoded(Image.new(mode, (16, 16)), "TIFF"))
    assert refusal.reason is Reason.UNSUPPORTED_IMAGE


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


def noisy_files() -> list[bytes]:
    """Damaged files, and whole ones with unusual descriptions, of which each decoder writes to standard error."""
    coffee = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB").resize((120, 100))
    files = []
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd", "jpeg"):
        data = encoded(coffee, "TIFF", compression=compression)
        files.append(data[:2_000] + bytes(200) + data[2_200:])
    wide = cv2.imencode(".tiff", np.asarray(coffee, np.uint16) * 257)[1].tobytes()
    files.append(wide[:2_000] + b"\xff" * 200 + wide[2_200:])
    # Metadata that OpenCV cannot read, of a whole picture: OpenCV writes no orientation, and the planar configuration
    # becomes a date beyond the end.
    files.append(wide.replace(struct.pack("<HHIHH", 284, 3, 1, 1, 0), struct.pack("<HHII", 306, 2, 100, 1 << 20)))
    # So many samples a pixel that Pillow logs it as an error.
    tags = encoded(coffee, "TIFF")
    many = struct.pack("<HHIHH", 277, 3, 1, 3, 0)
    assert many in tags
    files.append(tags.replace(many, struct.pack("<HHIHH", 277, 3, 1, 300, 0)))
    rows = (b"\0" + bytes(600)) * 100
    profile = png_chunk(b"iCCP", b"no profile\0\0" + zlib.compress(b"nothing"))
    files.append(png(100, 100, 16, 2, rows, profile, png_chunk(b"tRNS", b"too short")))
    # A filter that there is not, more rows than the header says, less rows.
    files += [png(100, 100, 16, 2, changed) for changed in (b"\x63" + rows[1:], rows * 2, rows[:-601])]
    # A last chunk that is not empty; another that claims more than there is, for which OpenCV makes room.
    whole = png(100, 100, 16, 2, rows)
    files.append(whole[:-12] + png_chunk(b"IEND", b"more"))
    files.append(whole[:33] + struct.pack(">I4s", 2**31 - 1, b"iCCP") + whole[33:])
    return files


@pytest.mark.parametrize("is_isolated", [False, True])
def test_nothing_is_written_to_the_terminal_about_pictures(
    store: ObjectStore, index: Index, settings: Settings, capfd: pytest.CaptureFixture[str], is_isolated: bool
) -> None:
    files = noisy_files()
    if is_isolated:
        # As after the death of a process: in child processes.
        store.write(stage_path(STAGE, BATCH, "unfinished"), b"")
    put_downloads(store, [raw_row(number, data, modality="image") for number, data in enumerate(files)])
    manifest = clean_images(store, index, settings, BATCH)
    assert manifest.numbers["samples_in"] == len(files)
    reasons = {count.reason: count.count for count in manifest.outcomes}
    assert reasons[Reason.CORRUPT_IMAGE] == 7
    assert capfd.readouterr() == ("", "")
