"""FLAC of 16 bits is decoded to libsndfile's numbers, and everything else is left to it."""

import io
import struct
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ummp_assets.clean.audio_flac import open_plain_flac
from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.recordings import decoded, refused, written

pytest.importorskip("miniaudio", reason="there is no dr_flac on this machine")

SAMPLES = np.random.default_rng(1).integers(-9_000, 9_000, (20_000, 8), np.int16)
SAMPLES[5_000:10_000] = 1_000
SAMPLES[10_000:] = (np.sin(np.arange(10_000) / 9) * 8_000).astype(np.int16)[:, None]
# Of STREAMINFO: 20 bits of rate, 3 of channels, 5 of sample size, and 36 of the number of samples.
NUMBERS_AT = 18


def flac(samples: npt.NDArray[np.int16], subtype: str = "PCM_16") -> bytes:
    return written(samples, 16_000, "FLAC", subtype=subtype)


def announcing(data: bytes, frames: int) -> bytes:
    (numbers,) = struct.unpack_from(">Q", data, NUMBERS_AT)
    return data[:NUMBERS_AT] + struct.pack(">Q", numbers >> 36 << 36 | frames) + data[NUMBERS_AT + 8 :]


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("block_frames", [4_095, 1 << 15])
def test_samples_are_those_that_libsndfile_reads(channels: int, block_frames: int) -> None:
    data = flac(SAMPLES[:, :channels])
    with open_plain_flac(memoryview(b"-" + data)[1:]) as plain:
        assert plain is not None
        assert (plain.sample_rate_hz, plain.channels, plain.frames) == (16_000, channels, 20_000)
        buffer = np.empty((block_frames, channels), np.int16)
        samples = np.concatenate([block.copy() for block in plain.blocks(buffer)])
    expected, _ = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(samples, expected)


def test_other_sizes_of_samples_and_open_lengths_are_left_to_libsndfile() -> None:
    for data in (flac(SAMPLES[:, :2], "PCM_24"), flac(SAMPLES[:, :2], "PCM_S8"), announcing(flac(SAMPLES), 0), b"fLaC"):
        with open_plain_flac(data) as plain:
            assert plain is None


@pytest.mark.parametrize("frames", [19_999, 20_001])
def test_another_number_of_frames_than_announced_is_corrupt(frames: int) -> None:
    assert refused(announcing(flac(SAMPLES[:, :2]), frames)).reason is Reason.CORRUPT_AUDIO


@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_damaged_frame_is_corrupt(share: float) -> None:
    data = bytearray(flac(SAMPLES[:, :2]))
    data[int(len(data) * share)] ^= 1
    assert refused(bytes(data)).reason is Reason.CORRUPT_AUDIO


def test_without_miniaudio_the_waveform_is_the_same() -> None:
    # Another process, for this one has imported it.
    program = """
import sys
sys.modules["miniaudio"] = None
from ummp_assets.clean.audio_decode import decode_audio
from ummp_assets.settings import AudioSettings
sys.stdout.buffer.write(decode_audio(sys.stdin.buffer.read(), AudioSettings()).waveform.tobytes())
"""
    data = flac(SAMPLES[:, :2])
    answer = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True).stdout
    assert answer == decoded(data).waveform.tobytes()
