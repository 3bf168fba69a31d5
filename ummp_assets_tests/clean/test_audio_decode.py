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
import soxr

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


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_channels_are_averaged_over_all_blocks(channels: int, subtype: str) -> None:
    # More than one block, and no whole number of the mixer's rows.
    noise = np.random.default_rng(channels).uniform(-0.5, 0.5, (300_001, channels)).astype(np.float32)
    audio = decoded(written(noise, subtype=subtype))
    assert audio.source_channels == channels
    np.testing.assert_allclose(audio.waveform, noise.mean(axis=1), atol=7e-5)


@pytest.mark.parametrize("name", ["house_lo.wav", "house_lo.ogg", "house_lo.mp3"])
def test_a_view_of_other_bytes_is_read_like_bytes(name: str) -> None:
    data = sound(name)
    view = decode_audio(memoryview(b"-" + data + b"-")[1:-1], RULES)
    assert isinstance(view, DecodedAudio)
    np.testing.assert_array_equal(view.waveform, decoded(data).waveform)


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


# 0, SoX's number, arecord's, FFmpeg's, and the largest less a header.
@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FF00, 0xFFFF_FFFF, 0xFFFF_FFFF - 36])
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


def rf64(samples: bytes) -> bytes:
    """Return a WAV of 16 bits and 16 kHz with its sizes in 64 bits (EBU Tech 3306)."""
    sizes = b"ds64" + struct.pack("<IQQQI", 28, len(samples) + 72, len(samples), len(samples) // 2, 0)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff" + samples


def test_a_wav_with_sizes_of_64_bits_is_read_and_its_truncation_found() -> None:
    samples = (tone(1.0) * 32_767).astype("<i2").tobytes()
    assert np.abs(decoded(rf64(samples)).waveform - tone(1.0)).max() < 1e-3
    refusal = refused(rf64(samples)[:-10_000])
    assert refusal.reason is Reason.CORRUPT_AUDIO
    assert "22,000 of 32,000 bytes" in refusal.detail


def test_a_flac_of_open_length_is_read_to_its_end() -> None:
    # What `flac` and FFmpeg write into a pipe.
    data = bytearray(written(tone(40.0), file_format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    np.testing.assert_allclose(decoded(bytes(data)).waveform, tone(40.0), atol=1e-4)
    assert refused(bytes(data[: len(data) // 2])).reason is Reason.CORRUPT_AUDIO


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


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


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


def test_more_channels_than_eight_are_averaged() -> None:
    # PyAV's planes of such frames end nowhere; before, this read memory that was not the frame's, and crashed.
    loudness = np.arange(1, 17, dtype=np.float32) / 16
    samples = tone(1.0)[:, None] * loudness
    file = io.BytesIO()
    with av.open(file, mode="w", format="mov") as container:
        stream = container.add_stream("pcm_f32le", rate=16_000, layout="hexadecagonal")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="hexadecagonal")
        frame.rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    audio = decoded(file.getvalue())
    assert audio.source_channels == 16
    np.testing.assert_allclose(audio.waveform, tone(1.0) * loudness.mean(), atol=1e-4)


def test_an_m4a_ends_where_it_says() -> None:
    # The last packet is filled up with 924 more.
    assert len(decoded(m4a(tone(1.0, 44_100), 44_100), AudioSettings(sample_rate_hz=44_100)).waveform) == 44_100


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAV", "ALAW"), ("FLAC", "PCM_S8"), ("WAV", "FLOAT")],
)
def test_a_flat_wave_is_clipped_whatever_its_codes(file_format: str, subtype: str) -> None:
    flat = np.clip(tone(1.0, level=1.5), -1, 1)
    refusal = refused(written(flat, file_format=file_format, subtype=subtype))
    assert refusal.reason is Reason.AUDIO_CLIPPED
    # Half of the wave is flat; the first sample of each of the 880 runs has no clipped one before it.
    assert refusal.measured == pytest.approx(np.arccos(1 / 1.5) / (np.pi / 2) - 880 / 16_000, abs=0.03)


def test_an_offset_is_no_sound() -> None:
    nothing = refused(written(np.full(16_000, 0.5, np.float32), subtype="FLOAT"))
    assert (nothing.reason, nothing.measured) == (Reason.AUDIO_TOO_QUIET, -200.0)
    shifted, plain = (decoded(written(tone(1.0, level=0.25) + offset, subtype="FLOAT")) for offset in (0.5, 0))
    assert shifted.measurements["level_dbfs"] == pytest.approx(plain.measurements["level_dbfs"], abs=0.01)
    pauses = np.concatenate([tone(0.5), np.zeros(19 * 16_000, np.float32)]) + np.float32(0.01)
    assert refused(written(pauses, subtype="FLOAT")).reason is Reason.AUDIO_SILENT


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


def test_the_level_is_that_of_what_is_stored() -> None:
    # Above half the stored rate there is nothing left of it.
    refusal = refused(written(tone(1.0, 48_000, 12_000.0), 48_000, subtype="FLOAT"))
    assert refusal.reason is Reason.AUDIO_TOO_QUIET
    assert refusal.measured is not None
    assert refusal.measured < -60


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
