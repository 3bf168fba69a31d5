"""Plain WAV is read as libsndfile reads it, and everything else is left to it."""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ummp_assets.clean.audio_riff import read_plain_wav

NOISE = np.random.default_rng(1).integers(-32_768, 32_767, (1_001, 8), np.int16)


def written(samples: npt.NDArray[np.int16], **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 22_050, format="WAV", **({"subtype": "PCM_16"} | options))
    return file.getvalue()


def with_chunk(data: bytes, content: bytes) -> bytes:
    """Put a chunk before the samples, padded to an even size as RIFF wants it."""
    position = data.index(b"data")
    chunk = b"LIST" + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return data[:position] + chunk + data[position:]


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("content", [b"", b"odd"])
def test_samples_are_those_that_libsndfile_reads(channels: int, shift: int, content: bytes) -> None:
    data = with_chunk(written(NOISE[:, :channels]), content)
    # At an odd address, as in an Arrow column behind other contents.
    plain = read_plain_wav(memoryview(b"\0" * shift + data)[shift:])
    assert plain is not None
    expected, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(plain.samples, expected)
    assert plain.sample_rate_hz == rate_hz == 22_050


def test_a_frame_that_is_cut_off_is_left_out() -> None:
    data = bytearray(written(NOISE[:, :2]) + b"\0")
    position = data.index(b"data") + 4
    struct.pack_into("<I", data, position, 1_001 * 4 - 1)
    plain = read_plain_wav(bytes(data))
    assert plain is not None
    np.testing.assert_array_equal(plain.samples, NOISE[:1_000, :2])


@pytest.mark.parametrize(
    "options", [{"subtype": "PCM_24"}, {"subtype": "FLOAT"}, {"subtype": "ULAW"}, {"endian": "BIG"}]
)
def test_other_encodings_are_left_to_libsndfile(options: dict[str, str]) -> None:
    assert read_plain_wav(written(NOISE[:, :2], **options)) is None


@pytest.mark.parametrize(
    ("offset", "value"),
    [(22, 0), (22, 3), (32, 2), (34, 8), (40, 0), (40, 0xFFFF_FFFF)],
    ids=["no_channels", "other_channels", "other_frame", "other_bits", "no_samples", "open_length"],
)
def test_headers_that_contradict_themselves_are_left_to_libsndfile(offset: int, value: int) -> None:
    data = bytearray(written(NOISE[:, :2]))
    struct.pack_into("<I" if offset == 40 else "<H", data, offset, value)
    assert read_plain_wav(bytes(data)) is None


def test_any_beginning_of_a_file_is_survived() -> None:
    data = with_chunk(written(NOISE[:50, :2]), b"odd")
    assert all(read_plain_wav(data[:size]) is None for size in range(len(data)))
