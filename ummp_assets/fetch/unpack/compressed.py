"""gzip and zstd streams, counted as they are undone."""

import gzip
import io
import zlib
from contextlib import ExitStack
from typing import BinaryIO, cast

import zstandard

from ummp_assets.fetch.unpack.members import Limits, UnpackStopped
from ummp_assets.reasons import Reason

__all__ = ["CountedStream", "open_compressed"]

# How Python's `gzip` says that what follows is no member.
_NO_MEMBER = "Not a gzipped file"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class CountedStream:
    """A decompressed stream that counts against the limits and says what broke in our own words."""

    def __init__(self, stream: io.BufferedIOBase, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._head = b""
        self._begun = False

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; raises `UnpackStopped` at a limit or where the stream is broken."""
        if self._head:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return data
        try:
            # Of `read` nothing would come of what stands before the place where the stream is broken.
            data = self._stream.read1(size)
        except gzip.BadGzipFile as error:
            if not (self._begun and str(error).startswith(_NO_MEMBER)):
                raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"The compressed stream is broken: {error}") from error
            # As gzip itself does, what follows the last member is left out.
            data = b""
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"The compressed stream is broken: {error}") from error
        self._begun = True
        self._limits.count_bytes(len(data))
        return data

    def peek(self, size: int) -> bytes:
        """Return the first bytes without taking them."""
        while len(self._head) < size:
            head, self._head = self._head, b""
            piece = self.read(size - len(head))
            self._head = head + piece
            if not piece:
                break
        return self._head


def open_compressed(file: BinaryIO, head: bytes, limits: Limits, stack: ExitStack) -> CountedStream | None:
    """Return what a gzip or zstd file unpacks to, None when it is neither."""
    if head.startswith(GZIP):
        return CountedStream(stack.enter_context(gzip.GzipFile(fileobj=file)), limits)
    if head.startswith(ZSTD):
        reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True)
        return CountedStream(stack.enter_context(io.BufferedReader(cast(io.RawIOBase, reader))), limits)
    return None
