"""From bytes to mono samples at one rate, within limits, a block at a time."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ummp_assets.clean.refusals import Refusal, describe_error
from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings

__all__ = ["AudioFormat", "DecodedAudio", "decode_audio", "sniff_audio_format"]

Samples = npt.NDArray[np.float32]

_BLOCK_SAMPLES = 1 << 20
_MIN_SOURCE_RATE_HZ, _MAX_SOURCE_RATE_HZ = 1_000, 768_000


class AudioFormat(StrEnum):
    """The audio formats that UMMP reads."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    AIFF = "aiff"


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """A recording as it is stored.

    Parameters
    ----------
    waveform:
        Mono, -1 to 1, at the settings' `sample_rate_hz`. [shape=(n,)]
    """

    waveform: Samples
    source_sample_rate_hz: int
    source_channels: int
    format: AudioFormat


def sniff_audio_format(data: bytes) -> AudioFormat | None:
    """Return the format that the first bytes announce; names and media types are never believed."""
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE":
        return AudioFormat.WAV
    if data[:4] == b"fLaC":
        return AudioFormat.FLAC
    if data[:4] == b"OggS":
        return AudioFormat.OGG
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return AudioFormat.AIFF
    # MPEG audio: a tag, or a frame's eleven sync bits with a layer that exists.
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06):
        return AudioFormat.MP3
    return None


def decode_audio(data: bytes, settings: AudioSettings) -> DecodedAudio | Refusal:
    """Decode a sound file to mono at `sample_rate_hz`.

    Channels are averaged; the rate is changed by soxr in its high quality (20 bits).

    Returns
    -------
    The recording, or one of `corrupt_audio`, `audio_too_short`, `audio_too_long`.
    """
    audio_format = sniff_audio_format(data)
    if audio_format is None:
        return Refusal(Reason.CORRUPT_AUDIO, f"the first bytes, {data[:12]!r}, are of no audio format that is read")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _read(file, audio_format, settings)
    except Exception as error:  # noqa: BLE001 - over damaged files decoders raise whatever they meet
        return Refusal(Reason.CORRUPT_AUDIO, f"the {audio_format} data cannot be decoded: {describe_error(error)}")


def _read(file: soundfile.SoundFile, audio_format: AudioFormat, settings: AudioSettings) -> DecodedAudio | Refusal:
    source_rate_hz, channels = int(file.samplerate), int(file.channels)
    if not _MIN_SOURCE_RATE_HZ <= source_rate_hz <= _MAX_SOURCE_RATE_HZ:
        return Refusal(Reason.CORRUPT_AUDIO, f"a sample rate of {source_rate_hz} Hz")
    max_frames = int(settings.max_seconds * source_rate_hz)
    resampler = soxr.ResampleStream(source_rate_hz, settings.sample_rate_hz, 1, dtype="float32", quality="HQ")
    parts: list[Samples] = []
    frames = 0
    for block in _mono_blocks(file, channels):
        frames += len(block)
        if frames > max_frames:
            seconds = max(frames, file.frames) / source_rate_hz
            detail = f"at least {seconds:.1f} s, more than {settings.max_seconds:g} s"
            return Refusal(Reason.AUDIO_TOO_LONG, detail, seconds)
        if not np.isfinite(np.dot(block, block)):
            return Refusal(Reason.CORRUPT_AUDIO, "some samples are not finite numbers")
        parts.append(resampler.resample_chunk(block))
    seconds = frames / source_rate_hz
    if seconds < settings.min_seconds:
        return Refusal(Reason.AUDIO_TOO_SHORT, f"{seconds:.3f} s, less than {settings.min_seconds:g} s", seconds)
    parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    waveform = np.concatenate(parts)
    np.clip(waveform, -1.0, 1.0, out=waveform)
    return DecodedAudio(waveform, source_rate_hz, channels, audio_format)


def _mono_blocks(file: soundfile.SoundFile, channels: int) -> Iterator[Samples]:
    weights = np.full(channels, 1 / channels, np.float32)
    frames = max(1, _BLOCK_SAMPLES // channels)
    while True:
        block = file.read(frames, dtype="float32", always_2d=True)
        if len(block):
            # A product with weights takes a third of the time of a mean over the short axis.
            yield block[:, 0] if channels == 1 else block @ weights
        if len(block) < frames:
            return
