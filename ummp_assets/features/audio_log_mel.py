"""The log-mel spectrogram that Whisper is trained on."""

import math
import threading
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
# Few calls on much: between two calls a thread needs the interpreter lock, and two threads that take 256 frames at once
# wait for each other so often that they take as long as one.
_FRAMES_AT_ONCE = 2_048
# A filter is zero but at a few frequencies: 16 neighbours at a time over what they cover are a quarter of the product.
_FILTERS_AT_ONCE = 16
# OpenBLAS gives larger products to threads of its own, which wait for one another in busy loops while every core has a
# recording of its own already: 63 instead of 18 ms of CPU for 30 s in stereo on two busy cores. So one call multiplies
# a stack of small matrices.
_MULTIPLICATIONS_AT_ONCE = 1 << 18

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
    hann, bank = _hann(window_samples), _filter_bank(sample_rate_hz, window_samples, mel_bins)
    mel = np.empty((-(-frames // bank.frames_at_once) * bank.frames_at_once, mel_bins), np.float32)
    spectra = _memory.spectra(min(len(mel), _FRAMES_AT_ONCE), window_samples)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        count = min(_FRAMES_AT_ONCE, frames - start)
        first = start * hop_samples - window_samples // 2
        samples = _mirrored(waveform, first, first + (count - 1) * hop_samples + window_samples)
        windows = np.lib.stride_tricks.sliding_window_view(samples, window_samples)[::hop_samples]
        np.multiply(windows, hann, out=spectra[:count])
        # OpenCV takes half of numpy's time.
        cv2.dft(spectra[:count], spectra[:count], flags=cv2.DFT_ROWS)
        np.square(spectra[:count], out=spectra[:count])
        part = mel[start : start + _FRAMES_AT_ONCE]
        spectra[count : len(part)] = 0
        bank.apply(spectra[: len(part)], part)
    mel = mel[:frames]
    # The range is cut before the logarithm is taken, which comes to the same.
    np.maximum(mel, max(_FLOOR, mel.max() * 10**-_RANGE_DECADES), out=mel)
    logarithm = np.log10(mel, out=mel)
    logarithm += 4.0
    logarithm /= 4.0
    # A fifth of numpy's time.
    return np.asarray(cv2.transpose(logarithm), np.float32)


class _Memory(threading.local):
    """The spectra that each thread works on, kept from recording to recording: fresh memory has to be cleared first."""

    def __init__(self) -> None:
        self._floats: Floats = np.empty(0, np.float32)

    def spectra(self, frames: int, window_samples: int) -> Floats:
        size = frames * window_samples
        if size > len(self._floats):
            self._floats = np.empty(size, np.float32)
        return self._floats[:size].reshape(frames, window_samples)


_memory = _Memory()


def _mirrored(waveform: Floats, start: int, end: int) -> Floats:
    """Return samples `start` to `end` of a waveform that goes on beyond its ends as in a mirror; shape (end - start,).

    So only the first and last windows are copied to be padded, and not the waveform.
    """
    before, behind = max(0, -start), max(0, end - len(waveform))
    if not before and not behind:
        return waveform[start:end]
    # A first window alone is as long as its mirror image, which needs one sample more.
    padded = np.pad(waveform[max(0, start) : end + before], (before, behind), mode="reflect")
    return padded[: end - start]


@dataclass(frozen=True, slots=True, eq=False)
class _FilterBank:
    """The filters as products of squares that OpenCV's packed spectrum has.

    It packs the spectrum of n samples into n numbers: Re 0, Re 1, Im 1, Re 2, Im 2, ..., and Re n/2 of even n. Each
    filter's weights stand twice, so that one product adds the squares to powers and the powers to bins.

    Parameters
    ----------
    frames_at_once:
        A power of two that divides `_FRAMES_AT_ONCE`.
    groups:
        Neighbouring filters, the part of a spectrum that they cover, and their weights. [shape=(covered, filters)]
    """

    frames_at_once: int
    groups: tuple[tuple[slice, slice, Floats], ...]

    def apply(self, squares: Floats, mel: Floats) -> None:
        """Write `mel`; shapes (frames, n) and (frames, filters), of a multiple of `frames_at_once`."""
        squares = squares.reshape(-1, self.frames_at_once, squares.shape[1])
        mel = mel.reshape(-1, self.frames_at_once, mel.shape[1])
        for filters, covered, weights in self.groups:
            np.matmul(squares[:, :, covered], weights, out=mel[:, :, filters])


@lru_cache(maxsize=8)
def _filter_bank(sample_rate_hz: int, window_samples: int, mel_bins: int) -> _FilterBank:
    filters = mel_filters(sample_rate_hz, window_samples, mel_bins)
    packed = np.repeat(filters, 2, axis=1)[:, 1 : window_samples + 1]
    groups = []
    for first in range(0, mel_bins, _FILTERS_AT_ONCE):
        some = packed[first : first + _FILTERS_AT_ONCE]
        covered = np.flatnonzero(some.any(axis=0))
        # Filters narrower than the distance of two frequencies cover none.
        low, high = (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, 1)
        groups.append((slice(first, first + len(some)), slice(low, high), np.ascontiguousarray(some[:, low:high].T)))
    frames = _MULTIPLICATIONS_AT_ONCE // max(weights.size for _, _, weights in groups)
    return _FilterBank(1 << min(frames, _FRAMES_AT_ONCE).bit_length() - 1, tuple(groups))


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
