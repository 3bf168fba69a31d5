"""From bytes to mono samples at one rate, within limits, a block at a time."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ummp_assets.clean.audio_format import AudioFormat, find_foreign_codec, find_truncation, sniff_audio_format
from ummp_assets.clean.audio_levels import ClipCounter, measure_levels
from ummp_assets.clean.audio_mixer import Mixer
from ummp_assets.clean.audio_source import AudioSource, open_source
from ummp_assets.clean.refusals import Refusal, describe_error
from ummp_assets.clean.rules.audio import LIMITS, MAX_SECONDS
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings

__all__ = ["DecodedAudio", "decode_audio"]

Samples = npt.NDArray[np.float32]

# A header may announce what it likes.
_MAX_UNPROVEN_SAMPLES = 1 << 22
_MAX_UNUSED_SAMPLES = 1 << 14
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


def decode_audio(data: bytes | memoryview, settings: AudioSettings) -> DecodedAudio | Refusal:
    """Decode a sound file to mono at `sample_rate_hz`.

    Channels are averaged; the rate is changed by soxr in its high quality (20 bits), as librosa does it. That takes 2.9
    ms for 20 s from 44.1 to 16 kHz; the medium quality (16 bits), 2.7. At most `max_seconds` are decoded.

    Returns
    -------
    The recording, or one of `unsupported_audio`, `corrupt_audio`, `audio_too_short`, `audio_too_long`,
    `audio_too_quiet`, `audio_silent`, `audio_clipped`.
    """
    audio_format = sniff_audio_format(data)
    if audio_format is None:
        beginning = bytes(data[:12])
        return Refusal(Reason.UNSUPPORTED_AUDIO, f"the first bytes, {beginning!r}, are of no audio format that is read")
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
    clips, mixer = ClipCounter(source.largest_sample), _tools.mixer
    resampler = _tools.resampler(rate_hz, settings.sample_rate_hz)
    waveform = _Waveform(None if announced is None else math.ceil(announced * settings.sample_rate_hz / rate_hz))
    frames = 0
    for block in source.blocks:
        frames += len(block)
        if refusal := _too_long(frames / rate_hz, settings):
            return refusal
        clips.add(block)
        if not clips.is_plausible:
            return Refusal(Reason.CORRUPT_AUDIO, "some samples are not finite, or absurdly large")
        mono = mixer.mix(block)
        waveform.append(mono if resampler is None else resampler.resample_chunk(mono))
    if resampler is not None:
        waveform.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    if announced is not None and frames < announced - source.slack_frames:
        detail = f"the {audio_format} file is truncated: {frames:,} of {announced:,} frames are there"
        return Refusal(Reason.CORRUPT_AUDIO, detail)
    samples = waveform.finish()
    levels = measure_levels(samples, settings.sample_rate_hz, settings.silence_dbfs)
    measured = {"seconds": frames / rate_hz, **levels, "clipped_fraction": clips.clipped_fraction}
    if refusal := first_broken(measured, LIMITS, settings):
        return replace(refusal, measurements=measured)
    return DecodedAudio(samples, rate_hz, source.channels, audio_format, measured)


class _Tools(threading.local):
    """What each thread keeps from recording to recording, for a batch is mostly of one rate: made anew for each, this
    and what it decodes into cost an eighth of the time on two cores."""

    def __init__(self) -> None:
        self.mixer = Mixer()
        self._rates_hz = (0, 0)
        self._resampler: soxr.ResampleStream | None = None

    def resampler(self, source_rate_hz: int, rate_hz: int) -> soxr.ResampleStream | None:
        """Return None for a recording that has the rate already."""
        if source_rate_hz == rate_hz:
            return None
        if self._resampler is None or self._rates_hz != (source_rate_hz, rate_hz):
            self._resampler = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
            self._rates_hz = (source_rate_hz, rate_hz)
        self._resampler.clear()
        return self._resampler


_tools = _Tools()


class _Waveform:
    """Gathers blocks in one piece of memory, of the announced size if it is modest: the blocks and what they are joined
    to would take twice as much."""

    def __init__(self, announced_samples: int | None) -> None:
        self._announced = announced_samples
        self._memory: Samples = np.empty(min(announced_samples or 0, _MAX_UNPROVEN_SAMPLES), np.float32)
        self._count = 0

    def append(self, block: Samples) -> None:
        end = self._count + len(block)
        if end > len(self._memory):
            size = 2 * end if self._announced is None else max(end, min(2 * end, self._announced))
            larger = np.empty(size, np.float32)
            larger[: self._count] = self._memory[: self._count]
            self._memory = larger
        self._memory[self._count : end] = block
        self._count = end

    def finish(self) -> Samples:
        is_wasteful = len(self._memory) - self._count > _MAX_UNUSED_SAMPLES
        samples = self._memory[: self._count].copy() if is_wasteful else self._memory[: self._count]
        return np.clip(samples, -1.0, 1.0, out=samples)


def _too_long(seconds: float, settings: AudioSettings) -> Refusal | None:
    measured = {"seconds": seconds}
    refusal = first_broken(measured, [MAX_SECONDS], settings)
    return replace(refusal, measurements=measured) if refusal else None
