"""Records of a web archive (WARC 1.1, ISO 28500:2017): the pages in it, with where and when they were met."""

import http.client
import io
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.decoding import CodingError, DecompressionBomb, make_decoder
from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Member, Readable, UnpackStopped
from ummp_assets.fetch.unpack.streams import buffered
from ummp_assets.reasons import Reason

__all__ = ["warc_members"]

_MAX_HEADER_BYTES = 65_536
_MAX_HEADERS = 1_000
_PIECE_BYTES = 65_536
_PAYLOAD_RECORDS = ("response", "resource", "conversion")


def warc_members(stream: Readable, limits: Limits, *, max_ratio: float) -> Iterator[Member | BrokenMember]:
    """Yield the payload of each response, resource and conversion record, named by the record's number from 0."""
    reader = buffered(stream)
    number = 0
    while (headers := _read_headers(reader)) is not None:
        block = _Block(reader, int(headers["content-length"]))
        kind = headers.get("warc-type", "")
        if kind in _PAYLOAD_RECORDS and not headers.get("warc-target-uri", "").startswith("dns:"):
            limits.count_member()
            yield _member(str(number), headers, block, _is_http(kind, headers), limits, max_ratio)
            number += 1
        block.skip()


def _is_http(kind: str, headers: dict[str, str]) -> bool:
    return kind == "response" and headers.get("content-type", "application/http").startswith("application/http")


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
        if len(headers) > _MAX_HEADERS:
            raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"A record has more than {_MAX_HEADERS} headers")
    if not re.fullmatch("[0-9]{1,18}", headers.get("content-length", "")):
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, "A record has no Content-Length")
    return headers


def _member(
    name: str, headers: dict[str, str], block: "_Block", is_http: bool, limits: Limits, max_ratio: float
) -> Member | BrokenMember:
    media_type = headers.get("content-type")
    try:
        if is_http:
            status, media_type, body = _read_response(block, max_ratio, limits)
            if status != 200:
                return BrokenMember(name, Reason.HTTP_CLIENT_ERROR, f"The archived response has status {status}")
        else:
            body = limits.read(block, counted=True)
    except (http.client.HTTPException, CodingError, ValueError) as error:
        return BrokenMember(name, Reason.CORRUPT_MEMBER, f"The archived response is broken: {error!r}")
    except DecompressionBomb:
        return BrokenMember(name, Reason.DECOMPRESSION_BOMB, "The archived response is a bomb")
    if body is None:
        detail = f"The record's payload has more than {limits.max_member_bytes} bytes"
        return BrokenMember(name, Reason.OBJECT_TOO_LARGE, detail)
    if body.byte_count == 0:
        return BrokenMember(name, Reason.EMPTY_BODY, "The record's payload is empty")
    known = {key: headers[key] for key in ("warc-date", "warc-record-id", "warc-ip-address") if key in headers}
    uri = headers.get("warc-target-uri", "").strip("<>") or None
    return Member(name, body, media_type, uri=uri, attributes=json.dumps(known) if known else None)


def _read_response(block: "_Block", max_ratio: float, limits: Limits) -> tuple[int, str | None, Body | None]:
    """Return status, media type and payload of an archived response; no payload for another status than 200."""
    response = http.client.HTTPResponse(cast(Any, _Socket(block)))
    response.begin()
    media_type = response.headers.get("Content-Type")
    if response.status != 200:
        return response.status, media_type, None
    coding = response.headers.get("Content-Encoding", "")
    return response.status, media_type, limits.read(_Decoded(response, coding, max_ratio, limits), counted=True)


class _Decoded:
    """The payload of a response, its content coding undone and counted."""

    def __init__(self, response: http.client.HTTPResponse, coding: str, max_ratio: float, limits: Limits) -> None:
        self._response, self._limits = response, limits
        self._pieces: deque[bytes] = deque()
        self._decoder = make_decoder(coding, self._pieces.append, max_ratio)

    def read(self, size: int = -1, /) -> bytes:
        if self._decoder is None:
            return self._read_coded(size)
        while not self._pieces:
            coded = self._read_coded(size)
            if not coded:
                self._decoder.finish()
                return b""
            self._decoder.feed(coded)
        piece = self._pieces.popleft()
        self._limits.count_bytes(len(piece))
        return piece

    def _read_coded(self, size: int) -> bytes:
        data = self._response.read(size)
        if not data and self._response.length:
            raise http.client.IncompleteRead(data, self._response.length)
        return data


class _Socket:
    """As much of a socket as `http.client` needs to read a response."""

    def __init__(self, block: "_Block") -> None:
        self._block = block

    def makefile(self, _mode: str) -> io.BufferedReader:
        return buffered(self._block)


class _Block:
    """The bytes of one record."""

    def __init__(self, reader: io.BufferedReader, length: int) -> None:
        self._reader, self._left = reader, length

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; raises `UnpackStopped` where the record is cut off."""
        if not self._left:
            return b""
        data = self._reader.read(min(self._left, size if size >= 0 else _PIECE_BYTES))
        if not data:
            raise UnpackStopped(Reason.CORRUPT_ARCHIVE, "The last record is cut off")
        self._left -= len(data)
        return data

    def skip(self) -> None:
        while self.read(_PIECE_BYTES):
            pass
