"""The log-mel spectrogram that Whisper is trained on."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["log_mel_spectrogram", "mel_filters"]

Floats = npt.NDArray[np.float32]

_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.010
_FLOOR = 1e-10
_RANGE_DECADES = 8.0
# 256 frames of 400 samples stay in the second-level cache from the window to the filters. These are multiplied 16
# frames at a time: OpenBLAS gives larger products to threads of its own, which wait for one another in busy loops while
# every core has a recording of its own already: 63 instead of 18 ms of CPU for 30 s in stereo on two busy cores.
_FRAMES_AT_ONCE = 256
_FRAMES_PER_PRODUCT = 16

# Slaney's mel scale: linear up to 1,000 Hz, logarithmic above.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1_000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def log_mel_spectrogram(waveform: Floats, sample_rate_hz: int, mel_bins: int = 80) -> Floats:
    """Return the log-mel spectrogram of a recording.

    Radford et al. 2022, "Robust speech recognition via large-scale weak supervision", section 2.2, in the definition of
    the published code: Hann window of 25 ms every 10 ms, the ends mirrored, power spectrum, mel filters (Slaney 1998,
    unit area), base-10 logarithm not below 1e-10, nothing more than 8 decades below the maximum, then (x + 4) / 4.

    Parameters
    ----------
    waveform:
        Mono, -1 to 1. [shape=(n,)]
    sample_rate_hz:
        16,000 for Whisper's 400 samples a window and 160 a hop.
    mel_bins:
        80 for Whisper up to large-v2, 128 for large-v3.

    Returns
    -------
    [shape=(mel_bins, n // hop)], without unit.

    Raises
    ------
    ValueError
        The recording is shorter than one hop.
    """
    window_samples, hop_samples = round(_WINDOW_SECONDS * sample_rate_hz), round(_HOP_SECONDS * sample_rate_hz)
    frames = len(waveform) // hop_samples
    if frames == 0:
        raise ValueError(f"{len(waveform)} samples are shorter than one hop of {hop_samples}")
    padded = np.pad(waveform, window_samples // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop_samples][:frames]
    hann = _hann(window_samples)
    filters = mel_filters(sample_rate_hz, window_samples, mel_bins).T
    mel = np.empty((frames, mel_bins), np.float32)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(windows[start : start + _FRAMES_AT_ONCE] * hann, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        for first in range(0, len(power), _FRAMES_PER_PRODUCT):
            rows = slice(start + first, start + first + _FRAMES_PER_PRODUCT)
            np.matmul(power[first : first + _FRAMES_PER_PRODUCT], filters, out=mel[rows])
    logarithm = np.log10(np.maximum(mel, _FLOOR, out=mel), out=mel)
    np.maximum(logarithm, logarithm.max() - _RANGE_DECADES, out=logarithm)
    logarithm += 4.0
    logarithm /= 4.0
    return np.ascontiguousarray(logarithm.T)


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, window_samples: int, mel_bins: int) -> Floats:
    """Return triangular filters, evenly spaced on Slaney's mel scale from 0 Hz to half the rate, of unit area.

    Slaney 1998, "Auditory toolbox", technical report 1998-010.

    Returns
    -------
    [shape=(mel_bins, window_samples // 2 + 1)]; read-only.
    """
    top_mel = _hz_to_mel(sample_rate_hz / 2)
    corners_hz = _mel_to_hz(np.linspace(0.0, top_mel, mel_bins + 2))
    frequencies_hz = np.fft.rfftfreq(window_samples, 1 / sample_rate_hz)
    widths = np.diff(corners_hz)
    distances = corners_hz[:, None] - frequencies_hz[None, :]
    rising = -distances[:-2] / widths[:-1, None]
    falling = distances[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters = (triangles * (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, None]).astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=8)
def _hann(window_samples: int) -> Floats:
    """Return the periodic Hann window."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / window_samples)).astype(np.float32)
    window.flags.writeable = False
    return window


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mel * _LINEAR_HZ_PER_MEL
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
