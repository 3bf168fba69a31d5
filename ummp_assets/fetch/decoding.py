"""Content codings of HTTP (gzip, deflate, br, zstd), undone piece by piece under a cap on their expansion.

Done here and not by libcurl, whose wheels have no zstd: a broken transfer can then be resumed in the middle of a coded
body, since the range counts coded bytes and the decoder is still alive.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import brotli
import zstandard

__all__ = ["ACCEPT_ENCODING", "CodingError", "Decoder", "DecompressionBomb", "make_decoder"]

ACCEPT_ENCODING = "gzip, deflate, br, zstd"

# Below this size no expansion is suspicious: a short text of one repeated letter is no attack.
_HARMLESS_BYTES = 1_048_576
_OUTPUT_PIECE_BYTES = 65_536
_INPUT_PIECE_BYTES = 8_192
# As many as libcurl and urllib3 undo.
_MAX_CODINGS = 5
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
    """Undoes the content codings of a body.

    Parameters
    ----------
    inflaters:
        What undoes each coding, the one that was applied last first.
    emit:
        Takes the decoded pieces, none larger than some 10 MB.
    max_ratio:
        Decoded over coded bytes; beyond it `feed` raises `DecompressionBomb` once the output is not small any more.
    """

    def __init__(self, inflaters: Sequence[_Inflater], emit: Callable[[bytes], None], max_ratio: float) -> None:
        self._inflaters, self._max_ratio = inflaters, max_ratio
        self._coded_bytes = 0
        for inflater in reversed(inflaters):
            emit = partial(inflater.feed, emit=self._counted(emit))
        self._feed = emit

    def feed(self, data: bytes) -> None:
        """Decode a piece; raises `CodingError` and `DecompressionBomb`, and what `emit` raises."""
        self._coded_bytes += len(data)
        try:
            self._feed(data)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise CodingError(str(error)) from error

    def finish(self) -> None:
        """Say that the body has ended; raises `CodingError` when a coding has not."""
        if not all(inflater.complete for inflater in self._inflaters):
            raise CodingError("the coded stream has no end")

    def _counted(self, emit: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Return `emit` under the cap, which holds for what each coding expands to."""
        decoded_bytes = 0

        def pass_on(data: bytes) -> None:
            nonlocal decoded_bytes
            decoded_bytes += len(data)
            if decoded_bytes > _HARMLESS_BYTES and decoded_bytes > self._max_ratio * self._coded_bytes:
                raise DecompressionBomb
            emit(data)

        return pass_on


def make_decoder(coding: str, emit: Callable[[bytes], None], max_ratio: float) -> Decoder | None:
    """Return a decoder for a `Content-Encoding` header (RFC 9110, 8.4), None for identity.

    Raises `CodingError` for codings that are unknown, and for more of them than any server has a use for.
    """
    names = [name for item in coding.split(",") if (name := item.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    if len(names) > _MAX_CODINGS or not _INFLATERS.keys() >= set(names):
        raise CodingError(f"content coding {coding!r} is unknown")
    return Decoder([_INFLATERS[name]() for name in reversed(names)], emit, max_ratio)


class _Members:
    """A stream of one member or frame after another; what follows the last one is left out, as browsers do.

    Parameters
    ----------
    open_member:
        Makes what inflates one member.
    inflate:
        Inflates a piece and returns what of it stands behind the end of the member.
    beginning:
        How a member begins, in so many first bytes; None when there is only one.
    """

    def __init__(
        self,
        open_member: Callable[[], Any],
        inflate: Callable[[Any, bytes, Callable[[bytes], None]], bytes],
        beginning: tuple[re.Pattern[bytes], int] | None = None,
    ) -> None:
        self._open_member, self._inflate, self._beginning = open_member, inflate, beginning
        self._member = open_member()
        self._waiting = b""
        self._over = False

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        # In small pieces, since the rest of a piece is copied at the end of each member.
        for start in range(0, len(data), _INPUT_PIECE_BYTES):
            self._feed_piece(self._waiting + data[start : start + _INPUT_PIECE_BYTES], emit)

    def _feed_piece(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        self._waiting = b""
        while data and not self._over:
            if self._member.eof and not self._begin_next(data):
                return
            data = self._inflate(self._member, data, emit)

    def _begin_next(self, data: bytes) -> bool:
        if self._beginning is None:
            self._over = True
        elif len(data) < self._beginning[1]:
            self._waiting = data
        elif not self._beginning[0].match(data):
            self._over = True
        else:
            self._member = self._open_member()
            return True
        return False

    @property
    def complete(self) -> bool:
        return bool(self._member.eof)


def _inflate_zlib(member: Any, data: bytes, emit: Callable[[bytes], None]) -> bytes:
    while True:
        piece = member.decompress(data, _OUTPUT_PIECE_BYTES)
        if piece:
            emit(piece)
        data = member.unconsumed_tail
        if member.eof or (not data and len(piece) < _OUTPUT_PIECE_BYTES):
            return bytes(member.unused_data)


def _inflate_zstd(member: Any, data: bytes, emit: Callable[[bytes], None]) -> bytes:
    for end in range(_ZSTD_INPUT_PIECE_BYTES, len(data) + _ZSTD_INPUT_PIECE_BYTES, _ZSTD_INPUT_PIECE_BYTES):
        piece = member.decompress(data[end - _ZSTD_INPUT_PIECE_BYTES : end])
        if piece:
            emit(piece)
        if member.eof:
            return bytes(member.unused_data) + data[end:]
    return b""


def _gzip() -> _Members:
    """RFC 1952, 2.2."""
    return _Members(lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), _inflate_zlib, (re.compile(b"\x1f\x8b"), 2))


def _zstd() -> _Members:
    """RFC 8878, 3.1: frames, and such that are to be skipped."""
    return _Members(
        lambda: zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj(),
        _inflate_zstd,
        (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), 4),
    )


class _Deflate:
    """`deflate` is zlib's format by RFC 9110, and the raw one by the habit of some servers."""

    def __init__(self) -> None:
        self._members: _Members | None = None

    def feed(self, data: bytes, emit: Callable[[bytes], None]) -> None:
        if self._members is None:
            window_bits = zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
            self._members = _Members(lambda: zlib.decompressobj(window_bits), _inflate_zlib)
        self._members.feed(data, emit)

    @property
    def complete(self) -> bool:
        return self._members is not None and self._members.complete


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


_INFLATERS: dict[str, Callable[[], _Inflater]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _zstd,
}
