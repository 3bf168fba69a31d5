"""MP3s of a variable bit rate are read to their end, also those that do not say where it is."""

import io

import numpy as np
import pytest
import soundfile

from ummp_assets.clean.audio_mp3 import frame_count_header
from ummp_assets_tests.clean.recordings import decoded, tone, written

_ID3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
_SYNC_BYTES = 2


def variable(rate_hz: int, channels: int) -> bytes:
    """Return an MP3 of 10 s whose second half takes many more bits than the first."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * rate_hz).astype(np.float32)
    samples = np.concatenate([tone(5.0, rate_hz, level=0.1), noise])
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate_hz, channels, "MPEG_LAYER_III", format="MP3", compression_level=0.2, bitrate_mode="VARIABLE"
    ) as sound:
        sound.write(np.repeat(samples[:, None], channels, axis=1))
    return file.getvalue()


def without_frame_count(mp3: bytes) -> bytes:
    assert b"Xing" in mp3[:200]
    return mp3[mp3.index(mp3[:_SYNC_BYTES], _SYNC_BYTES) :]


@pytest.mark.parametrize("beginning", [b"", _ID3])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_a_variable_bit_rate_without_a_frame_count_is_read_to_its_end(
    rate_hz: int, channels: int, beginning: bytes
) -> None:
    whole = variable(rate_hz, channels)
    recording = decoded(beginning + without_frame_count(whole)).waveform
    # The encoder's delay and padding are not known any more: up to two frames.
    assert len(recording) / 16_000 == pytest.approx(10.0, abs=2 * 1_152 / rate_hz)
    level, expected = (np.sqrt(np.mean(np.square(part[-48_000:]))) for part in (recording, decoded(whole).waveform))
    assert level == pytest.approx(expected, rel=0.05)


def test_damage_in_the_middle_does_not_end_a_recording() -> None:
    data = bytearray(without_frame_count(variable(16_000, 1)))
    data[len(data) // 4 : len(data) // 4 + 100] = bytes(100)
    assert len(decoded(bytes(data)).waveform) == pytest.approx(160_000, abs=4_608)


def test_a_file_too_large_to_be_copied_is_read_to_its_end() -> None:
    whole = without_frame_count(variable(16_000, 1))
    assert len(decoded(whole + bytes(33 * 2**20)).waveform) == pytest.approx(160_000, abs=2_304)


def test_nothing_is_put_before_a_frame_count_or_a_constant_bit_rate() -> None:
    constant = written(tone(3.0), file_format="MP3")
    for data in (variable(16_000, 1), constant, b"\xff\xfb", b"ID3", b"\xff\xfb\x90\x64"):
        assert frame_count_header(data) == (b"", 0)
