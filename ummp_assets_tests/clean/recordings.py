"""Recordings as tests make them, and what decoding must give."""

import io
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
import soundfile

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.refusals import Refusal
from ummp_assets.settings import AudioSettings

__all__ = ["RULES", "Samples", "decoded", "m4a", "refused", "replaced", "tone", "written", "written_by_ffmpeg"]

Samples = npt.NDArray[np.float32]

RULES = AudioSettings()


def tone(seconds: float, rate_hz: int = 16_000, frequency_hz: float = 440.0, level: float = 0.5) -> Samples:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def written(samples: npt.NDArray[Any], rate_hz: int = 16_000, file_format: str = "WAV", **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=file_format, **options)
    return file.getvalue()


def m4a(samples: Samples, rate_hz: int, layout: str = "mono") -> bytes:
    return written_by_ffmpeg(samples, rate_hz, layout, "mp4", "aac")


def written_by_ffmpeg(
    samples: Samples, rate_hz: int, layout: str, file_format: str, codec: Literal["aac", "mp3"]
) -> bytes:
    """Write a file with a codec that takes floating-point planes."""
    file = io.BytesIO()
    with av.open(file, mode="w", format=file_format) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout, bit_rate=192_000)
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


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)
