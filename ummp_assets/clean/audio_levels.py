"""How loud, how silent and how clipped a recording is, measured while it is decoded."""

import math

import numpy as np
import numpy.typing as npt

__all__ = ["LevelMeter"]

Samples = npt.NDArray[np.float32]

_FULL_SCALE = 0.999
_INT16_FULL_SCALE = 32_768
_FRAME_SECONDS = 0.02
_LOWEST_DBFS = -200.0


class LevelMeter:
    """Adds up a recording's levels block by block.

    The level is the root mean square of the mono sum about its mean, in decibels of full scale: an offset, as cheap
    converters add it, is no sound. Silent are frames of 20 ms below `silence_dbfs`; clipped are samples at full scale
    (0.999 and more of `largest_sample`) of which the one before is as well: a single one is a peak, two are a wave cut
    flat.

    Full scale is that of a square wave, 3 dB above that of AES17-2015, a sine's; -60 dB is what FFmpeg's
    `silencedetect` takes for silence. That two samples make a clip, and how many a recording may have, is our own rule.
    """

    def __init__(self, sample_rate_hz: int, silence_dbfs: float, largest_sample: float = 1.0) -> None:
        self._frame_samples = max(1, round(_FRAME_SECONDS * sample_rate_hz))
        self._silent_power = 10 ** (silence_dbfs / 10)
        self._rest: Samples = np.empty(0, np.float32)
        self._full_scale = _FULL_SCALE * largest_sample
        self._energy = self._sum = 0.0
        self._samples = self._frames = self._silent_frames = 0
        self._clipped = self._channel_samples = 0

    def add(self, block: Samples | npt.NDArray[np.int16], mono: Samples) -> None:
        """Measure a block.

        Parameters
        ----------
        block:
            As decoded. [shape=(n, channels)]
        mono:
            Their average. [shape=(n,)]
        """
        self._samples += len(mono)
        self._channel_samples += block.size
        full_scale = self._full_scale * (_INT16_FULL_SCALE if block.dtype == np.int16 else 1)
        if block.max() >= full_scale or block.min() <= -full_scale:
            full = (block >= full_scale) | (block <= -full_scale)
            self._clipped += int(np.count_nonzero(full[1:] & full[:-1]))
        pending = np.concatenate([self._rest, mono])
        whole = len(pending) // self._frame_samples * self._frame_samples
        frames, self._rest = pending[:whole].reshape(-1, self._frame_samples), pending[whole:]
        powers = np.einsum("ij,ij->i", frames, frames) / self._frame_samples
        means = frames.mean(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            # Of samples that are no numbers or too large ones, the energy tells.
            deviations = powers - means * means
        self._energy += float(powers.sum(dtype=np.float64)) * self._frame_samples
        self._sum += float(means.sum(dtype=np.float64)) * self._frame_samples
        self._frames += len(frames)
        self._silent_frames += int(np.count_nonzero(deviations < self._silent_power))

    @property
    def _total_energy(self) -> float:
        return self._energy + float(np.dot(self._rest, self._rest))

    @property
    def is_finite(self) -> bool:
        """Whether no sample was a NaN or infinite."""
        return math.isfinite(self._total_energy)

    @property
    def level_dbfs(self) -> float:
        samples = max(1, self._samples)
        mean = (self._sum + float(self._rest.sum(dtype=np.float64))) / samples
        power = self._total_energy / samples - mean * mean
        return 10 * math.log10(power) if power > 10 ** (_LOWEST_DBFS / 10) else _LOWEST_DBFS

    @property
    def silent_fraction(self) -> float:
        return self._silent_frames / max(1, self._frames)

    @property
    def clipped_fraction(self) -> float:
        return self._clipped / max(1, self._channel_samples)

    @property
    def measurements(self) -> dict[str, float]:
        """What the rules on levels judge, by name."""
        return {
            "level_dbfs": self.level_dbfs,
            "silent_fraction": self.silent_fraction,
            "clipped_fraction": self.clipped_fraction,
        }
