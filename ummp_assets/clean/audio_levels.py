"""How loud, how silent and how clipped a recording is.

Full scale is that of a square wave, 3 dB above that of AES17-2015, a sine's; -60 dB is what FFmpeg's `silencedetect`
takes for silence. That two samples make a clip, and how many a recording may have, is our own rule.
"""

import math

import numpy as np
import numpy.typing as npt

__all__ = ["ClipCounter", "measure_levels"]

Samples = npt.NDArray[np.float32]

_FULL_SCALE = 0.999
_INT16_FULL_SCALE = 32_768
_IMPLAUSIBLE = 2.0**32
_FRAME_SECONDS = 0.02
_LOWEST_DBFS = -200.0


class ClipCounter:
    """Counts clipped samples block by block, before channels are averaged and the rate is changed.

    Clipped are samples at full scale (0.999 and more of `largest_sample`) of which the one before is as well: a single
    one is a peak, two are a wave cut flat.
    """

    def __init__(self, largest_sample: float = 1.0) -> None:
        self._full_scale = _FULL_SCALE * largest_sample
        self._clipped = self._samples = 0
        self.is_plausible = True
        """Whether all samples were finite numbers, and none beyond what a scale of integers explains."""

    def add(self, block: Samples | npt.NDArray[np.int16]) -> None:
        """Count in a block as decoded. [shape=(n, channels)]"""
        self._samples += block.size
        full_scale = self._full_scale * (_INT16_FULL_SCALE if block.dtype == np.int16 else 1)
        highest, lowest = block.max(), block.min()
        self.is_plausible &= bool(highest < _IMPLAUSIBLE and lowest > -_IMPLAUSIBLE)
        if highest >= full_scale or lowest <= -full_scale:
            full = (block >= full_scale) | (block <= -full_scale)
            self._clipped += int(np.count_nonzero(full[1:] & full[:-1]))

    @property
    def clipped_fraction(self) -> float:
        return self._clipped / max(1, self._samples)


def measure_levels(waveform: Samples, sample_rate_hz: int, silence_dbfs: float) -> dict[str, float]:
    """Return what the rules on levels judge, by name, of a waveform as it is stored.

    `level_dbfs` is the root mean square about the mean, in decibels of full scale: an offset, as cheap converters add
    it, is no sound. `silent_fraction` is the share of frames of 20 ms below `silence_dbfs`.
    """
    frame_samples = max(1, round(_FRAME_SECONDS * sample_rate_hz))
    samples = max(1, len(waveform))
    whole = samples // frame_samples * frame_samples
    frames, rest = waveform[:whole].reshape(-1, frame_samples), waveform[whole:]
    energies, means = np.vecdot(frames, frames), frames.mean(axis=1)
    silent = np.count_nonzero(energies / frame_samples - means * means < 10 ** (silence_dbfs / 10))
    energy = float(energies.sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
    mean = (float(means.sum(dtype=np.float64)) * frame_samples + float(rest.sum(dtype=np.float64))) / samples
    power = energy / samples - mean * mean
    return {
        "level_dbfs": 10 * math.log10(power) if power > 10 ** (_LOWEST_DBFS / 10) else _LOWEST_DBFS,
        "silent_fraction": int(silent) / max(1, len(frames)),
    }
