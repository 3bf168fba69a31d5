"""Finds out what a container is and takes it apart, containers inside it included."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.collecting import ScratchFull
from ummp_assets.fetch.modality import ARCHIVE, AUTO, HEAD_BYTES, TABLE, resolve_modality
from ummp_assets.fetch.unpack.archives import tar_members, zip_members
from ummp_assets.fetch.unpack.compressed import CountedStream, open_compressed
from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Member, Readable, UnpackStopped
from ummp_assets.fetch.unpack.rows import members_of_rows
from ummp_assets.fetch.unpack.tables import csv_rows, json_rows, parquet_rows
from ummp_assets.fetch.unpack.warc import warc_members
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["unpack"]

_COMPRESSED_ENDING = re.compile(r"\.(gz|zst|tgz)$", re.IGNORECASE)
_CSV = ("text/csv", "text/tab-separated-values")
_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/jsonlines")


def unpack(
    body: Body, name: str, media_type: str | None, scratch: Path, settings: FetchSettings
) -> Iterator[Member | BrokenMember]:
    """Yield the samples of an archive or table.

    Parameters
    ----------
    name:
        Its path or URI path; the extensions tell JSON Lines and CSV apart.

    Raises
    ------
    UnpackStopped
        It is no container, is broken, or reaches a limit; what came before is good.
    ScratchFull
        The scratch folder cannot be read or written.
    """
    limits = Limits(settings, scratch, body.byte_count)
    found = False
    for item in _unpack(body, name, media_type, limits, settings, depth=1):
        found = True
        yield item
    if not found:
        raise UnpackStopped(Reason.EMPTY_ARCHIVE, "It holds no members")


def _unpack(
    body: Body, name: str, media_type: str | None, limits: Limits, settings: FetchSettings, depth: int
) -> Iterator[Member | BrokenMember]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(body.open())
        except OSError as error:
            raise ScratchFull from error
        for item in _members(file, name, media_type, limits, settings, stack):
            if isinstance(item, BrokenMember) or not _is_container(item):
                yield item
                continue
            try:
                if depth >= limits.max_depth:
                    detail = f"Archives stand inside archives more than {limits.max_depth} deep"
                    yield BrokenMember(item.name, Reason.ARCHIVE_TOO_DEEP, detail)
                    continue
                for inner in _unpack(item.body, item.name, item.media_type, limits, settings, depth + 1):
                    yield replace(inner, name=f"{item.name}/{inner.name}")
            finally:
                item.body.discard()


def _members(
    file: BinaryIO, name: str, media_type: str | None, limits: Limits, settings: FetchSettings, stack: ExitStack
) -> Iterator[Member | BrokenMember]:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_members(file, limits)
    if head.startswith(b"PAR1"):
        return members_of_rows(parquet_rows(file, limits), limits, counted=False)
    stream = open_compressed(file, head, limits, stack)
    # Without a compressed stream too: a server that says Content-Encoding of a .gz has had it undone already.
    plain_name = _COMPRESSED_ENDING.sub("", name)
    if stream is not None:
        return _streamed(stream, stream.peek(HEAD_BYTES), plain_name, None, limits, settings)
    return _streamed(file, head, plain_name, media_type, limits, settings)


def _streamed(
    stream: Readable, head: bytes, name: str, media_type: str | None, limits: Limits, settings: FetchSettings
) -> Iterator[Member | BrokenMember]:
    counted = isinstance(stream, CountedStream)
    plain_type = (media_type or "").partition(";")[0].strip().lower()
    ending = PurePosixPath(name).suffix.lower()
    if head[257:262] == b"ustar" or ending == ".tar":
        return tar_members(stream, limits, counted=counted)
    if head.startswith(b"WARC/"):
        return warc_members(stream, limits, max_ratio=settings.unpack.max_ratio)
    if ending in (".jsonl", ".ndjson") or plain_type in _JSON_LINES:
        return members_of_rows(json_rows(stream), limits, counted=True)
    if ending in (".csv", ".tsv") or plain_type in _CSV:
        return members_of_rows(csv_rows(stream), limits, counted=True)
    if counted:
        return _single(stream, name, limits)
    raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"It begins with {head[:8]!r}, as no archive or table does")


def _single(stream: Readable, name: str, limits: Limits) -> Iterator[Member | BrokenMember]:
    """Yield the one file in a compressed stream that is no archive."""
    own_name = PurePosixPath(name).name or "0"
    limits.count_member()
    body = limits.read(stream, counted=True)
    if body is None:
        yield BrokenMember(own_name, Reason.OBJECT_TOO_LARGE, f"It has more than {limits.max_member_bytes} bytes")
    elif body.byte_count == 0:
        yield BrokenMember(own_name, Reason.EMPTY_BODY, "It is empty")
    else:
        yield Member(own_name, body)


def _is_container(member: Member) -> bool:
    kind = resolve_modality(AUTO, member.body.head(HEAD_BYTES), member.media_type, member.name)
    return kind in (ARCHIVE, TABLE)
