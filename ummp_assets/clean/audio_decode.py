"""From bytes to mono samples at one rate, within limits, a block at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ummp_assets.clean.audio_format import AudioFormat, find_foreign_codec, find_truncation, sniff_audio_format
from ummp_assets.clean.audio_levels import LevelMeter
from ummp_assets.clean.audio_source import AudioSource, open_source
from ummp_assets.clean.refusals import Refusal, describe_error
from ummp_assets.clean.rules.audio import LIMITS, MAX_SECONDS
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings

__all__ = ["DecodedAudio", "decode_audio"]

Samples = npt.NDArray[np.float32]

_INT16_FULL_SCALE = 32_768
_MIN_SOURCE_RATE_HZ, _MAX_SOURCE_RATE_HZ = 1_000, 768_000


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """A recording as it is stored.

    Parameters
    ----------
    waveform:
        Mono, -1 to 1, at the settings' `sample_rate_hz`. [shape=(n,)]
    measurements:
        What the rules judged, by name.
    """

    waveform: Samples
    source_sample_rate_hz: int
    source_channels: int
    format: AudioFormat
    measurements: Mapping[str, float]


def decode_audio(data: bytes, settings: AudioSettings) -> DecodedAudio | Refusal:
    """Decode a sound file to mono at `sample_rate_hz`.

    Channels are averaged; the rate is changed by soxr in its high quality (20 bits). At most `max_seconds` are decoded.

    Returns
    -------
    The recording, or one of `unsupported_audio`, `corrupt_audio`, `audio_too_short`, `audio_too_long`,
    `audio_too_quiet`, `audio_silent`, `audio_clipped`.
    """
    audio_format = sniff_audio_format(data)
    if audio_format is None:
        return Refusal(Reason.UNSUPPORTED_AUDIO, f"the first bytes, {data[:12]!r}, are of no audio format that is read")
    missing = find_truncation(data, audio_format)
    if missing is not None:
        return Refusal(Reason.CORRUPT_AUDIO, f"the {audio_format} file is truncated: {missing}")
    try:
        with open_source(data, audio_format) as source:
            return _read(source, audio_format, settings)
    except ImportError:
        return Refusal(Reason.UNSUPPORTED_AUDIO, f"this {audio_format} file needs FFmpeg: install ummp-assets[av]")
    except Exception as error:  # noqa: BLE001 - over damaged files decoders raise whatever they meet
        if codec := find_foreign_codec(data, audio_format):
            return Refusal(Reason.UNSUPPORTED_AUDIO, f"the {audio_format} file holds a codec that is not read: {codec}")
        # libsndfile's own words: soundfile's begin with the name of an object of ours.
        said = error.error_string if isinstance(error, soundfile.LibsndfileError) else describe_error(error)
        return Refusal(Reason.CORRUPT_AUDIO, f"the {audio_format} data cannot be decoded: {said}")


def _read(source: AudioSource, audio_format: AudioFormat, settings: AudioSettings) -> DecodedAudio | Refusal:
    rate_hz, announced = source.sample_rate_hz, source.announced_frames
    if not _MIN_SOURCE_RATE_HZ <= rate_hz <= _MAX_SOURCE_RATE_HZ:
        return Refusal(Reason.CORRUPT_AUDIO, f"a sample rate of {rate_hz} Hz")
    if announced is not None and (refusal := _too_long(announced / rate_hz, settings)):
        return refusal
    meter = LevelMeter(rate_hz, settings.silence_dbfs, source.largest_sample)
    resampler = soxr.ResampleStream(rate_hz, settings.sample_rate_hz, 1, dtype="float32", quality="HQ")
    parts: list[Samples] = []
    frames = 0
    for block in source.blocks:
        frames += len(block)
        if refusal := _too_long(frames / rate_hz, settings):
            return refusal
        mono = _mix(block)
        meter.add(block, mono)
        if not meter.is_finite:
            return Refusal(Reason.CORRUPT_AUDIO, "some samples are not finite numbers")
        parts.append(resampler.resample_chunk(mono))
    if announced is not None and frames < announced - source.slack_frames:
        detail = f"the {audio_format} file is truncated: {frames:,} of {announced:,} frames are there"
        return Refusal(Reason.CORRUPT_AUDIO, detail)
    measured = {"seconds": frames / rate_hz, **meter.measurements}
    if refusal := first_broken(measured, LIMITS, settings):
        return replace(refusal, measurements=measured)
    parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    waveform = np.concatenate(parts)
    np.clip(waveform, -1.0, 1.0, out=waveform)
    return DecodedAudio(waveform, rate_hz, source.channels, audio_format, measured)


def _mix(block: npt.NDArray[np.float32] | npt.NDArray[np.int16]) -> Samples:
    """Return the average of the channels, -1 to 1. [shape=(frames,)]"""
    # Channel by channel: a mean over the short axis takes three times as long.
    mono = block[:, 0].astype(np.float32)
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    full_scale = _INT16_FULL_SCALE if block.dtype == np.int16 else 1
    if full_scale * block.shape[1] != 1:
        mono *= np.float32(1 / (full_scale * block.shape[1]))
    return mono


def _too_long(seconds: float, settings: AudioSettings) -> Refusal | None:
    measured = {"seconds": seconds}
    refusal = first_broken(measured, [MAX_SECONDS], settings)
    return replace(refusal, measurements=measured) if refusal else None
