"""A bridge from a stream that has only `read` to what the standard library's readers need."""

import io
from typing import Any

from ummp_assets.fetch.unpack.members import Readable

__all__ = ["buffered"]

_BUFFER_BYTES = 1 << 20


def buffered(stream: Readable) -> io.BufferedReader:
    """Return a buffered reader over a stream."""
    return io.BufferedReader(_Raw(stream), _BUFFER_BYTES)


class _Raw(io.RawIOBase):
    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
