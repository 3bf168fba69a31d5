"""Sound of every format comes out right; what is of no format that is read is said to be unsupported."""

import io
import struct
import subprocess
import sys
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings
from ummp_assets_tests.clean.recordings import RULES, Samples, decoded, m4a, refused, replaced, tone, written
from ummp_assets_tests.clean.samples import sound


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


@pytest.mark.parametrize(
    ("file_format", "subtype", "rate_hz"),
    [
        ("MP3", "MPEG_LAYER_III", 8_000),
        ("MP3", "MPEG_LAYER_III", 44_100),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("FLAC", "PCM_24", 96_000),
        ("WAV", "ALAW", 8_000),
        ("WAV", "IMA_ADPCM", 22_050),
    ],
)
def test_samples_are_those_that_ffmpeg_decodes(file_format: str, subtype: str, rate_hz: int) -> None:
    samples, recorded_hz = soundfile.read(io.BytesIO(sound("house_lo.wav")), dtype="float32")
    data = written(
        soxr.resample(samples, recorded_hz, rate_hz)[: 2 * rate_hz] * 0.7, rate_hz, file_format, subtype=subtype
    )
    with av.open(io.BytesIO(data), mode="r") as container:
        mono = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        frames = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in mono.resample(frame)]
    audio = decoded(data, AudioSettings(sample_rate_hz=rate_hz))
    np.testing.assert_allclose(audio.waveform, np.clip(np.concatenate(frames), -1, 1), atol=1e-5)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2)])
def test_m4a_is_read(layout: str, channels: int) -> None:
    samples = tone(1.0, 44_100) if channels == 1 else np.stack([tone(1.0, 44_100)] * 2, axis=1)
    audio = decoded(m4a(samples, 44_100, layout))
    assert (audio.format, audio.source_sample_rate_hz, audio.source_channels) == ("m4a", 44_100, channels)
    assert abs(len(audio.waveform) - 16_000) < 1_200
    assert np.sqrt(np.mean(audio.waveform[2_000:14_000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.01)
    spectrum = np.abs(np.fft.rfft(audio.waveform[2_000:10_000]))
    assert np.argmax(spectrum) * 16_000 / 8_000 == pytest.approx(440, abs=2)


def test_a_title_that_is_no_utf8_is_no_damage() -> None:
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        container.metadata["title"] = "Canzone"
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0)[None], format="fltp", layout="mono")
        frame.rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    decoded(replaced(file.getvalue(), b"Canzone", "Canción".encode("latin-1")))


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


def test_an_m4a_ends_where_it_says() -> None:
    # The last packet is filled up with 924 more.
    assert len(decoded(m4a(tone(1.0, 44_100), 44_100), AudioSettings(sample_rate_hz=44_100)).waveform) == 44_100


def test_flac_in_an_ogg_is_read() -> None:
    file = io.BytesIO()
    with av.open(file, mode="w", format="ogg") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(1.0)[None] * 32_767).astype(np.int16), format="s16", layout="mono")
        frame.rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    audio = decoded(file.getvalue())
    assert audio.format == "ogg"
    np.testing.assert_allclose(audio.waveform, tone(1.0), atol=1e-4)


@pytest.mark.parametrize("name", ["house_lo.wav", "house_lo.ogg", "house_lo.mp3"])
def test_a_view_of_other_bytes_is_read_like_bytes(name: str) -> None:
    data = sound(name)
    view = decode_audio(memoryview(b"-" + data + b"-")[1:-1], RULES)
    assert isinstance(view, DecodedAudio)
    np.testing.assert_array_equal(view.waveform, decoded(data).waveform)


def test_codecs_that_are_not_read_are_unsupported_and_not_corrupt() -> None:
    wav = written(tone(1.0), subtype="PCM_16")
    aiff = written(tone(1.0), file_format="AIFF", subtype="ULAW")
    for data, name in (
        (wav[:20] + b"\x61\x01" + wav[22:], "0x0161"),
        (replaced(aiff, b"ulaw", b"QDM2"), "QDM2"),
        (replaced(written(tone(1.0), file_format="OGG"), b"\x01vorbis\0\0", b"\x80theora\0\0"), "theora"),
    ):
        refusal = refused(data)
        assert refusal.reason is Reason.UNSUPPORTED_AUDIO
        assert name in refusal.detail


def test_pcm_of_64_bits_is_unsupported_and_not_corrupt() -> None:
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 8_036, b"WAVE", b"fmt ", 16, 1, 1, 8_000, 64_000, 8, 64, b"data", 8_000
    )
    refusal = refused(header + bytes(8_000))
    assert refusal.reason is Reason.UNSUPPORTED_AUDIO
    assert "PCM of 64 bits" in refusal.detail


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


@pytest.mark.parametrize("rate_hz", [1, 999, 2_000_000])
def test_impossible_rates_are_corrupt(rate_hz: int) -> None:
    data = bytearray(written(tone(1.0), subtype="PCM_16"))
    struct.pack_into("<I", data, 24, rate_hz)
    assert refused(bytes(data)).reason is Reason.CORRUPT_AUDIO


def test_a_file_too_large_to_be_copied_is_read_all_the_same() -> None:
    data = written(np.tile(tone(1.0), 265), subtype="DOUBLE")
    assert len(data) > 32 * 2**20
    np.testing.assert_allclose(decoded(data).waveform[-16_000:], tone(1.0), atol=1e-5)
