"""Sound of every format comes out right, what is damaged, silent or clipped is refused with its measure."""

import io
import struct
import subprocess
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings
from ummp_assets_tests.clean.samples import sound

Samples = npt.NDArray[np.float32]

RULES = AudioSettings()


def tone(seconds: float, rate_hz: int = 16_000, frequency_hz: float = 440.0, level: float = 0.5) -> Samples:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def written(samples: Samples, rate_hz: int = 16_000, file_format: str = "WAV", **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=file_format, **options)
    return file.getvalue()


def m4a(samples: Samples, rate_hz: int, layout: str = "mono") -> bytes:
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout=layout, bit_rate=192_000)
        planes = samples[None, :] if samples.ndim == 1 else np.ascontiguousarray(samples.T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def decoded(data: bytes, rules: AudioSettings = RULES) -> DecodedAudio:
    audio = decode_audio(data, rules)
    assert isinstance(audio, DecodedAudio), audio
    assert audio.waveform.dtype == np.float32
    return audio


def refused(data: bytes, rules: AudioSettings = RULES) -> Refusal:
    refusal = decode_audio(data, rules)
    assert isinstance(refusal, Refusal), refusal
    return refusal


@pytest.mark.parametrize(
    ("file_format", "options", "name", "tolerance"),
    [
        ("WAV", {"subtype": "PCM_U8"}, "wav", 1e-2),
        ("WAV", {"subtype": "PCM_16"}, "wav", 1e-4),
        ("WAV", {"subtype": "PCM_24"}, "wav", 1e-5),
        ("WAV", {"subtype": "DOUBLE"}, "wav", 1e-5),
        ("WAV", {"subtype": "PCM_16", "endian": "BIG"}, "wav", 1e-4),
        ("AIFF", {"subtype": "PCM_16"}, "aiff", 1e-4),
        ("FLAC", {"subtype": "PCM_16"}, "flac", 1e-4),
        ("OGG", {"subtype": "VORBIS"}, "ogg", 3e-2),
        ("OGG", {"subtype": "OPUS"}, "ogg", 3e-2),
        ("MP3", {}, "mp3", 3e-2),
    ],
)
def test_every_format_gives_the_tone_that_was_written(
    file_format: str, options: dict[str, Any], name: str, tolerance: float
) -> None:
    audio = decoded(written(tone(1.0), file_format=file_format, **options))
    assert (audio.format, audio.source_sample_rate_hz, audio.source_channels) == (name, 16_000, 1)
    inner = slice(2_000, 14_000)
    assert np.abs(best_aligned(audio.waveform)[inner] - tone(1.0)[inner]).max() < tolerance


def best_aligned(waveform: Samples) -> Samples:
    """Shift a waveform by its codec's delay, a few thousand samples at most."""
    reference = tone(1.0)[4_000:5_000]
    products = np.correlate(waveform[2_000:8_000], reference, "valid")
    period = np.argmax(products)
    shift = int(period) + 2_000 - 4_000
    return np.concatenate(
        [np.zeros(max(0, -shift), np.float32), waveform[max(0, shift) :], np.zeros(8_000, np.float32)]
    )


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2)])
def test_m4a_is_read(layout: str, channels: int) -> None:
    samples = tone(1.0, 44_100) if channels == 1 else np.stack([tone(1.0, 44_100)] * 2, axis=1)
    audio = decoded(m4a(samples, 44_100, layout))
    assert (audio.format, audio.source_sample_rate_hz, audio.source_channels) == ("m4a", 44_100, channels)
    assert abs(len(audio.waveform) - 16_000) < 1_200
    assert np.sqrt(np.mean(audio.waveform[2_000:14_000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.01)
    spectrum = np.abs(np.fft.rfft(audio.waveform[2_000:10_000]))
    assert np.argmax(spectrum) * 16_000 / 8_000 == pytest.approx(440, abs=2)


def test_m4a_without_ffmpeg_names_the_extra_that_is_missing() -> None:
    # Another process, for this one has imported it.
    program = """
import sys
sys.modules["av"] = None
from ummp_assets.clean.audio_decode import decode_audio
from ummp_assets.settings import AudioSettings
refusal = decode_audio(sys.stdin.buffer.read(), AudioSettings())
print(refusal.reason.value, refusal.detail)
"""
    data = m4a(tone(1.0, 44_100), 44_100)
    answer = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, check=True
    ).stdout.decode()
    assert answer.startswith("unsupported_audio ")
    assert "ummp-assets[av]" in answer


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_the_stored_one(rate_hz: int) -> None:
    audio = decoded(written(tone(1.0, rate_hz), rate_hz, subtype="FLOAT"))
    assert len(audio.waveform) == 16_000
    assert np.abs(audio.waveform[500:-500] - tone(1.0)[500:-500]).max() < 1e-3


def test_frequencies_above_half_the_rate_do_not_fold_back() -> None:
    high = tone(1.0, 48_000, 12_000.0) + tone(1.0, 48_000, 440.0)
    audio = decoded(written(high * np.float32(0.5), 48_000, subtype="FLOAT"))
    assert np.abs(audio.waveform[500:-500] - tone(1.0, level=0.25)[500:-500]).max() < 1e-3


def test_samples_beyond_full_scale_are_limited() -> None:
    audio = decoded(written(tone(1.0, level=1.5), subtype="FLOAT"), AudioSettings(max_clipped_fraction=1))
    assert audio.waveform.max() == 1.0
    assert audio.waveform.min() == -1.0


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "FLAC", "OGG", "MP3", "M4A"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(file_format: str, share: float) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(sound("house_lo.wav")), dtype="float32")
    data = m4a(samples, rate_hz) if file_format == "M4A" else written(samples, rate_hz, file_format)
    decoded(data)
    assert refused(data[: int(len(data) * share)]).reason is Reason.CORRUPT_AUDIO


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_a_stream_of_open_length_is_no_truncated_file(size: int) -> None:
    data = bytearray(written(tone(1.0), subtype="PCM_16"))
    position = data.index(b"data")
    struct.pack_into("<I", data, position + 4, size)
    struct.pack_into("<I", data, 4, size)
    result = decode_audio(bytes(data), RULES)
    if size:
        assert isinstance(result, DecodedAudio)
    else:
        # libsndfile takes a size of zero at its word.
        assert isinstance(result, Refusal)
        assert result.reason is Reason.AUDIO_TOO_SHORT


def test_levels_are_measured_and_kept() -> None:
    quiet = refused(written(tone(1.0, level=0.0005), subtype="FLOAT"))
    assert quiet.reason is Reason.AUDIO_TOO_QUIET
    assert quiet.measured == pytest.approx(20 * np.log10(0.0005 / np.sqrt(2)), abs=0.01)
    nothing = refused(written(np.zeros(16_000, np.float32)))
    assert (nothing.reason, nothing.measured) == (Reason.AUDIO_TOO_QUIET, -200.0)

    mostly_silent = np.concatenate([tone(0.5), np.zeros(16_000 * 19 + 8_000, np.float32)])
    silent = refused(written(mostly_silent, subtype="FLOAT"))
    assert silent.reason is Reason.AUDIO_SILENT
    assert silent.measured == pytest.approx(0.975)
    decoded(written(mostly_silent, subtype="FLOAT"), AudioSettings(max_silent_fraction=0.98))

    flat = np.clip(tone(1.0, level=1.1), -1, 1)
    clipped = refused(written(flat, subtype="FLOAT"))
    assert clipped.reason is Reason.AUDIO_CLIPPED
    # The first sample of each of the 880 flat runs has no clipped one before it.
    assert clipped.measured == pytest.approx(np.arccos(1 / 1.1) / (np.pi / 2) - 880 / 16_000, abs=0.01)
    decoded(written(flat, subtype="FLOAT"), AudioSettings(max_clipped_fraction=0.5))


def test_a_single_peak_is_not_clipped() -> None:
    samples = tone(1.0)
    samples[::10] = 1.0
    decoded(written(samples, subtype="FLOAT"), AudioSettings(max_clipped_fraction=0))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_corrupt(poison: float) -> None:
    samples = tone(1.0)
    samples[5_000] = poison
    assert refused(written(samples, subtype="FLOAT")).reason is Reason.CORRUPT_AUDIO


def test_one_sample_is_too_short() -> None:
    refusal = refused(written(np.array([0.5], np.float32)))
    assert (refusal.reason, refusal.measured) == (Reason.AUDIO_TOO_SHORT, 1 / 16_000)


def test_a_long_recording_is_refused_by_its_header() -> None:
    data = written(np.zeros(16_000 * 60, np.float32), subtype="PCM_16")
    refusal = refused(data, AudioSettings(max_seconds=59))
    assert (refusal.reason, refusal.measured) == (Reason.AUDIO_TOO_LONG, 60.0)


@pytest.mark.parametrize("rate_hz", [1, 999, 2_000_000])
def test_impossible_rates_are_corrupt(rate_hz: int) -> None:
    data = bytearray(written(tone(1.0), subtype="PCM_16"))
    struct.pack_into("<I", data, 24, rate_hz)
    assert refused(bytes(data)).reason is Reason.CORRUPT_AUDIO


def test_other_bytes_are_unsupported() -> None:
    for data in (b"", b"MThd\x00\x00\x00\x06", b"\x00\x00\x00\x1cftypavif", b"#!AMR\n"):
        assert refused(data).reason is Reason.UNSUPPORTED_AUDIO


def test_a_film_without_sound_is_corrupt() -> None:
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    refusal = refused(file.getvalue())
    assert refusal.reason is Reason.CORRUPT_AUDIO
    assert "no sound track" in refusal.detail
