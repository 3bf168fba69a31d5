"""Content codings of HTTP (gzip, deflate, br, zstd), undone piece by piece under a cap on their expansion.

Done here and not by libcurl, whose wheels have no zstd: a broken transfer can then be resumed in the middle of a coded
body, since the range counts coded bytes and the decoder is still alive.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

__all__ = ["ACCEPT_ENCODING", "CodingError", "Decoder", "DecompressionBomb", "make_decoder"]

ACCEPT_ENCODING = "gzip, deflate, br, zstd"

# Below this size no expansion is suspicious: a short text of one repeated letter is no attack.
_HARMLESS_BYTES = 1_048_576
_OUTPUT_PIECE_BYTES = 65_536
# A zstd block of 128 kB can stand in 4 bytes, and the binding has no limit on what one call returns.
_ZSTD_INPUT_PIECE_BYTES = 64


class CodingError(Exception):
    """The body is not what its Content-Encoding says."""


class DecompressionBomb(Exception):
    """The body expands beyond the ratio that is allowed."""


class _Inflater(Protocol):
    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None: ...

    @property
    def complete(self) -> bool: ...


class Decoder:
    """Undoes one content coding.

    Parameters
    ----------
    emit:
        Takes the decoded pieces, none larger than some 10 MB.
    max_ratio:
        Decoded over coded bytes; beyond it `feed` raises `DecompressionBomb` once the output is not small any more.
    """

    def __init__(self, inflater: _Inflater, emit: Callable[[bytes], None], max_ratio: float) -> None:
        self._inflater, self._emit, self._max_ratio = inflater, emit, max_ratio
        self._coded_bytes = self._decoded_bytes = 0

    def feed(self, data: bytes) -> None:
        """Decode a piece; raises `CodingError` and `DecompressionBomb`, and what `emit` raises."""
        self._coded_bytes += len(data)
        try:
            self._inflater.feed(data, self._pass_on)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise CodingError(str(error)) from error

    def finish(self) -> None:
        """Say that the body has ended; raises `CodingError` when the coding has not."""
        if not self._inflater.complete:
            raise CodingError("the coded stream has no end")

    def _pass_on(self, data: bytes) -> None:
        self._decoded_bytes += len(data)
        if self._decoded_bytes > _HARMLESS_BYTES and self._decoded_bytes > self._max_ratio * self._coded_bytes:
            raise DecompressionBomb
        self._emit(data)


def make_decoder(coding: str, emit: Callable[[bytes], None], max_ratio: float) -> Decoder | None:
    """Return a decoder for a `Content-Encoding` header, None for identity.

    Raises `CodingError` for codings that are unknown, and for several at once, which no server sends in good faith.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _INFLATERS:
        raise CodingError(f"unknown content coding {coding!r}")
    return Decoder(_INFLATERS[name](), emit, max_ratio)


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inflate = zlib.decompressobj(window_bits)

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        while True:
            if self._inflate.eof and data:
                # A gzip body may consist of several members (RFC 1952, 2.2).
                self._inflate = zlib.decompressobj(self._window_bits)
            piece = self._inflate.decompress(data, _OUTPUT_PIECE_BYTES)
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                emit(piece)
            if not data and len(piece) < _OUTPUT_PIECE_BYTES:
                return

    @property
    def complete(self) -> bool:
        return self._inflate.eof


class _Deflate(_Zlib):
    """`deflate` is zlib's format by RFC 9110, and the raw one by the habit of some servers."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._begun = False

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        if not self._begun and data and data[0] & 0x0F != 8:
            super().__init__(-zlib.MAX_WBITS)
        self._begun = True
        super().feed(data, emit)


class _Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        piece = self._inflate.process(data, output_buffer_limit=_OUTPUT_PIECE_BYTES)
        while piece:
            emit(piece)
            if self._inflate.can_accept_more_data():
                return
            piece = self._inflate.process(b"", output_buffer_limit=_OUTPUT_PIECE_BYTES)

    @property
    def complete(self) -> bool:
        return bool(self._inflate.is_finished())


class _Zstd:
    def __init__(self) -> None:
        self._inflate = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        for start in range(0, len(data), _ZSTD_INPUT_PIECE_BYTES):
            piece = self._inflate.decompress(data[start : start + _ZSTD_INPUT_PIECE_BYTES])
            if piece:
                emit(piece)

    @property
    def complete(self) -> bool:
        return self._inflate.eof


_INFLATERS: dict[str, Callable[[], _Inflater]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
