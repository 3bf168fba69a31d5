"""The log-mel spectrogram that Whisper is trained on."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["log_mel_spectrogram", "mel_filters"]

Floats = npt.NDArray[np.float32]

_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.010
_FLOOR = 1e-10
_RANGE_DECADES = 8.0
# 256 frames of 400 samples stay in the second-level cache from the window to the filters.
_FRAMES_AT_ONCE = 256
# A filter is zero but at a few frequencies: 16 neighbours at a time over what they cover are a quarter of the product.
_FILTERS_AT_ONCE = 16
# OpenBLAS gives larger products to threads of its own, which wait for one another in busy loops while every core has a
# recording of its own already: 63 instead of 18 ms of CPU for 30 s in stereo on two busy cores.
_MULTIPLICATIONS_AT_ONCE = 200_000

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
    hann, filters = _hann(window_samples), _filter_groups(sample_rate_hz, window_samples, mel_bins)
    mel = np.empty((frames, mel_bins), np.float32)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        power = _power_spectrum(windows[start : start + _FRAMES_AT_ONCE] * hann)
        for group in filters:
            group.apply(power, mel[start : start + _FRAMES_AT_ONCE])
    logarithm = np.log10(np.maximum(mel, _FLOOR, out=mel), out=mel)
    np.maximum(logarithm, logarithm.max() - _RANGE_DECADES, out=logarithm)
    logarithm += 4.0
    logarithm /= 4.0
    return np.ascontiguousarray(logarithm.T)


def _power_spectrum(windowed: Floats) -> Floats:
    """Return the power at each frequency; shapes (frames, n) and (frames, n // 2 + 1)."""
    # OpenCV takes two thirds of numpy's time. It packs a spectrum as Re 0, Re 1, Im 1, Re 2, Im 2, ..., and Re n/2 of
    # even n.
    squares = np.asarray(cv2.dft(windowed, flags=cv2.DFT_ROWS), np.float32)
    squares *= squares
    samples = windowed.shape[1]
    power = np.empty((len(windowed), samples // 2 + 1), np.float32)
    power[:, 0] = squares[:, 0]
    power[:, -1] = squares[:, -1]
    pairs = (samples - 1) // 2
    np.add(squares[:, 1 : 2 * pairs : 2], squares[:, 2 : 2 * pairs + 1 : 2], out=power[:, 1 : pairs + 1])
    return power


@dataclass(frozen=True, slots=True, eq=False)
class _FilterGroup:
    """Neighbouring filters and the frequencies that they cover; `weights` has shape (frequencies, filters)."""

    filters: slice
    frequencies: slice
    weights: Floats

    def apply(self, power: Floats, mel: Floats) -> None:
        """Write the group's part of `mel`; shapes (frames, all frequencies) and (frames, all filters)."""
        frames = max(1, _MULTIPLICATIONS_AT_ONCE // self.weights.size)
        for first in range(0, len(power), frames):
            rows = slice(first, first + frames)
            np.matmul(power[rows, self.frequencies], self.weights, out=mel[rows, self.filters])


@lru_cache(maxsize=8)
def _filter_groups(sample_rate_hz: int, window_samples: int, mel_bins: int) -> tuple[_FilterGroup, ...]:
    filters = mel_filters(sample_rate_hz, window_samples, mel_bins)
    groups = []
    for first in range(0, mel_bins, _FILTERS_AT_ONCE):
        some = filters[first : first + _FILTERS_AT_ONCE]
        covered = np.flatnonzero(some.any(axis=0))
        # Filters narrower than the distance of two frequencies cover none.
        low, high = (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, 1)
        weights = np.ascontiguousarray(some[:, low:high].T)
        groups.append(_FilterGroup(slice(first, first + len(some)), slice(low, high), weights))
    return tuple(groups)


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
