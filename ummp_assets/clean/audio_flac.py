"""FLAC of 16 bits by dr_flac, which gives libsndfile's numbers in three fifths of its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PlainFlac", "open_plain_flac"]

_BITS = 16


@dataclass(frozen=True, slots=True)
class PlainFlac:
    """A FLAC that is open.

    Parameters
    ----------
    frames:
        As many as its header announces.
    """

    sample_rate_hz: int
    channels: int
    frames: int
    _decoder: Any

    def blocks(self, buffer: npt.NDArray[np.int16]) -> Iterator[npt.NDArray[np.int16]]:
        """Decode into the buffer, and yield what it holds; a frame whose checksum is wrong is left out.

        Parameters
        ----------
        buffer:
            [shape=(n, channels)]

        Raises
        ------
        ValueError
            There are more frames than the header announces: one of them is damaged.
        """
        from miniaudio import ffi, lib

        address, decoded = ffi.from_buffer("ma_dr_flac_int16[]", buffer), 0
        while count := lib.ma_dr_flac_read_pcm_frames_s16(self._decoder, len(buffer), address):
            decoded += count
            if decoded > self.frames:
                raise ValueError(f"more than the announced {self.frames:,} frames")
            yield buffer[:count]


@contextmanager
def open_plain_flac(data: bytes | memoryview) -> Iterator[PlainFlac | None]:
    """Open a FLAC, or give None for what is left to libsndfile.

    That is FLAC of other sizes of samples, of open length, damaged at its beginning, and any where there is no
    miniaudio: it has no wheels for Linux on ARM.
    """
    try:
        from miniaudio import ffi, lib
    except ImportError:
        yield None
        return
    content = ffi.from_buffer(data)
    decoder = lib.ma_dr_flac_open_memory(content, len(content), ffi.NULL)
    if not decoder:
        yield None
        return
    try:
        is_plain = decoder.bitsPerSample == _BITS and decoder.totalPCMFrameCount
        frames = decoder.totalPCMFrameCount
        yield PlainFlac(decoder.sampleRate, decoder.channels, frames, decoder) if is_plain else None
    finally:
        lib.ma_dr_flac_close(decoder)
