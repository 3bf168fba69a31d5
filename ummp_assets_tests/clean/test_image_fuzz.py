"""Whatever is changed in a picture, it is decoded or refused for a reason, in less than a second and silently.

`UMMP_TEST_FUZZ_EXAMPLES=200000` goes on for some minutes instead of a second, with other changes at each run.
"""

import io
import os
import struct
import time
from functools import lru_cache

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ummp_assets.clean.image_decode import DecodedImage, decode_image
from ummp_assets.clean.image_warnings import quiet_image_decoders
from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.colour_profiles import swapped_profile
from ummp_assets_tests.clean.pictures import RULES, encoded, png_chunk
from ummp_assets_tests.clean.samples import photograph

EXAMPLES = int(os.environ.get("UMMP_TEST_FUZZ_EXAMPLES", "300"))
LIMIT_SECONDS = 1.0
REASONS = {
    Reason.CORRUPT_IMAGE,
    Reason.UNSUPPORTED_IMAGE,
    Reason.TOO_MANY_PIXELS,
    Reason.TOO_MANY_SCANS,
    Reason.IMAGE_TOO_ELONGATED,
}
# Numbers at the edges of what fields hold.
EDGES = [bytes(1), b"\xff", bytes(2), b"\xff\xff", bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]


@lru_cache(maxsize=1)
def whole_files() -> list[bytes]:
    """Small pictures of every format, and of those kinds that have code of their own."""
    coffee = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB").resize((60, 40))
    profile = swapped_profile()
    files = [encoded(coffee, name, icc_profile=profile) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]
    files += [encoded(coffee, name) for name in ("GIF", "BMP")]
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "zstd"):
        files.append(encoded(coffee.convert("YCbCr"), "TIFF", compression=compression))
    for mode in ("1", "L", "P", "LA", "RGBA"):
        files += [encoded(coffee.convert(mode), name) for name in ("PNG", "TIFF")]
    files += [encoded(coffee.convert("1"), "TIFF", compression=fax) for fax in ("group3", "group4")]
    files += [encoded(coffee.convert("CMYK"), name) for name in ("JPEG", "TIFF")]
    wide = np.asarray(coffee, np.uint16) * 257
    return files + [cv2.imencode(name, wide)[1].tobytes() for name in (".png", ".tiff")]


@st.composite
def changed_files(draw: st.DrawFn) -> bytes:
    """A whole file with some bytes changed, added, repeated or lost, of a PNG with checksums that fit again."""
    data = bytearray(draw(st.sampled_from(whole_files())))
    for _ in range(draw(st.integers(1, 6))):
        # Half of the changes go to the header, where they do most.
        place = draw(st.integers(0, max(0, min(len(data), 300 if draw(st.booleans()) else len(data)) - 1)))
        match draw(st.sampled_from(["change", "edge", "lose", "cut", "repeat", "add"])):
            case "change":
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "edge":
                edge = draw(st.sampled_from(EDGES))
                data[place : place + len(edge)] = edge
            case "lose":
                del data[place : place + draw(st.integers(1, 30))]
            case "cut":
                del data[place:]
            case "repeat":
                data[place:place] = data[place : place + 100] * draw(st.integers(1, 20))
            case "add":
                data[place:place] = draw(st.binary(min_size=1, max_size=20))
    return with_checksums(bytes(data)) if draw(st.booleans()) else bytes(data)


def with_checksums(data: bytes) -> bytes:
    """Return a PNG with the checksums that its chunks should have, and all else as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    position, mended = 8, data[:8]
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if length > len(data):
            break
        mended += png_chunk(name, data[position + 8 : position + 8 + length])
        position += 12 + length
    return mended + data[position:]


def test_changed_pictures_are_decoded_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize="UMMP_TEST_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changed_files())
    def decode(data: bytes) -> None:
        begin = time.thread_time()
        verdict = decode_image(data, RULES)
        assert time.thread_time() - begin < LIMIT_SECONDS
        assert isinstance(verdict, DecodedImage) or verdict.reason in REASONS

    with quiet_image_decoders():
        decode()
    assert capfd.readouterr() == ("", "")
