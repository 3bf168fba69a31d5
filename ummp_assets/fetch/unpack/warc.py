"""Records of a web archive (WARC 1.1, ISO 28500:2017): the pages in it, with where and when they were met."""

import http.client
import io
import json
from collections.abc import Iterator
from typing import Any, cast

from ummp_assets.fetch.decoding import CodingError, DecompressionBomb, make_decoder
from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Member, Readable, UnpackStopped
from ummp_assets.fetch.unpack.streams import buffered
from ummp_assets.reasons import Reason

__all__ = ["warc_members"]

_MAX_HEADER_BYTES = 65_536
_HTTP_RECORDS = ("response",)
_PLAIN_RECORDS = ("resource", "conversion")


def warc_members(stream: Readable, limits: Limits, *, max_ratio: float) -> Iterator[Member | BrokenMember]:
    """Yield the payload of each response, resource and conversion record, named by the record's number from 0."""
    reader = buffered(stream)
    number = 0
    while (headers := _read_headers(reader)) is not None:
        length = int(headers["content-length"])
        kind = headers.get("warc-type", "")
        block = _Block(reader, length)
        if kind in _HTTP_RECORDS + _PLAIN_RECORDS:
            limits.count_member()
            if length > limits.max_member_bytes:
                detail = f"The record has {length} bytes"
                yield BrokenMember(str(number), Reason.OBJECT_TOO_LARGE, detail)
            else:
                yield _member(str(number), headers, block.read(), kind in _HTTP_RECORDS, limits, max_ratio)
            number += 1
        block.skip()


def _read_headers(reader: io.BufferedReader) -> dict[str, str] | None:
    """Return the headers of the next record, None at the end."""
    line = reader.readline(_MAX_HEADER_BYTES)
    while line in (b"\r\n", b"\n"):
        line = reader.readline(_MAX_HEADER_BYTES)
    if not line:
        return None
    if not line.startswith(b"WARC/"):
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"A record begins with {line[:20]!r} instead of WARC/")
    headers: dict[str, str] = {}
    while (line := reader.readline(_MAX_HEADER_BYTES)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    if not headers.get("content-length", "").isdecimal():
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, "A record has no Content-Length")
    return headers


def _member(
    name: str, headers: dict[str, str], block: bytes, is_http: bool, limits: Limits, max_ratio: float
) -> Member | BrokenMember:
    media_type = headers.get("content-type")
    if is_http:
        try:
            status, media_type, block = _read_response(block, max_ratio, limits.max_member_bytes)
        except (http.client.HTTPException, CodingError, ValueError) as error:
            return BrokenMember(name, Reason.CORRUPT_MEMBER, f"The archived response is broken: {error!r}")
        except DecompressionBomb:
            return BrokenMember(name, Reason.DECOMPRESSION_BOMB, "The archived response is a bomb")
        if status != 200:
            return BrokenMember(name, Reason.HTTP_CLIENT_ERROR, f"The archived response has status {status}")
    if not block:
        return BrokenMember(name, Reason.EMPTY_BODY, "The record's payload is empty")
    body = limits.make_body(block, counted=True)
    if body is None:
        return BrokenMember(name, Reason.OBJECT_TOO_LARGE, f"The record's payload has {len(block)} bytes")
    known = {key: headers[key] for key in ("warc-date", "warc-record-id", "warc-ip-address") if key in headers}
    uri = headers.get("warc-target-uri", "").strip("<>") or None
    return Member(name, body, media_type, uri=uri, attributes=json.dumps(known) if known else None)


def _read_response(block: bytes, max_ratio: float, max_bytes: int) -> tuple[int, str | None, bytes]:
    response = http.client.HTTPResponse(cast(Any, _Socket(block)))
    response.begin()
    pieces: list[bytes] = []
    size = 0

    def emit(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if size > max_bytes:
            raise DecompressionBomb
        pieces.append(piece)

    decoder = make_decoder(response.headers.get("Content-Encoding", ""), emit, max_ratio)
    payload = response.read()
    if decoder is None:
        return response.status, response.headers.get("Content-Type"), payload
    decoder.feed(payload)
    decoder.finish()
    return response.status, response.headers.get("Content-Type"), b"".join(pieces)


class _Socket:
    """As much of a socket as `http.client` needs to read a response."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


class _Block:
    """The bytes of one record."""

    def __init__(self, reader: io.BufferedReader, length: int) -> None:
        self._reader, self._left = reader, length

    def read(self) -> bytes:
        data = self._reader.read(self._left)
        if len(data) < self._left:
            raise UnpackStopped(Reason.CORRUPT_ARCHIVE, "The last record is cut off")
        self._left = 0
        return data

    def skip(self) -> None:
        while self._left:
            data = self._reader.read(min(self._left, 1 << 20))
            if not data:
                raise UnpackStopped(Reason.CORRUPT_ARCHIVE, "The last record is cut off")
            self._left -= len(data)
