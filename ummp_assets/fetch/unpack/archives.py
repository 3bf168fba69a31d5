"""Members of zip and tar archives, read in place: nothing is ever extracted under a name that an archive gives."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Self, cast

from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Member, Readable, UnpackStopped
from ummp_assets.fetch.unpack.names import check_name
from ummp_assets.reasons import Reason

__all__ = ["tar_members", "zip_members"]

_ENCRYPTED = 0x1
_ENTRY = b"PK\x01\x02"
_DIRECTORY_SIZE, _END_LOCATION = 5, 9
_ZIP64_END_BYTES = 76
_SCAN_BYTES = 1 << 20
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
    struct.error,
    MemoryError,
)
_BROKEN_TAR = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError)
# Headers that extend the next one, whose whole content tarfile holds in memory; real ones name a path.
_EXTENDING_TYPES = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)
_MAX_EXTENDING_BYTES = 1 << 20


def zip_members(file: BinaryIO, limits: Limits) -> Iterator[Member | BrokenMember]:
    """Yield the members of a zip archive (APPNOTE 6.3), in the order of its directory."""
    try:
        # Python reads the whole directory into memory, 20 million entries of 100 bytes as well.
        is_too_long = _directory_entries(file, limits.max_members) > limits.max_members
        archive = None if is_too_long else zipfile.ZipFile(file)
    except _BROKEN_ZIP as error:
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"It is no zip archive that can be read: {error}") from error
    if archive is None:
        raise UnpackStopped(Reason.ARCHIVE_TOO_LARGE, f"It has more than {limits.max_members} members")
    with archive:
        for entry in archive.infolist():
            if entry.filename.endswith("/"):
                continue
            limits.count_member()
            yield _zip_member(archive, entry, limits)


def tar_members(stream: Readable, limits: Limits, *, counted: bool) -> Iterator[Member | BrokenMember]:
    """Yield the members of a tar archive (POSIX.1-2001 pax, GNU), in one pass."""
    try:
        with tarfile.open(fileobj=cast(Any, stream), mode="r|", tarinfo=_TarEntry) as archive:
            for entry in archive:
                if entry.isdir():
                    continue
                limits.count_member()
                yield _tar_member(archive, entry, limits, counted)
                # Otherwise every entry stays in memory for a look-up by name that never comes.
                archive.members = []  # type: ignore[attr-defined]
    except _BROKEN_TAR as error:
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"It is no tar archive that can be read: {error}") from error


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> Member | BrokenMember:
    name = entry.filename
    if problem := check_name(name):
        return BrokenMember(name, Reason.UNSAFE_MEMBER, problem)
    if entry.flag_bits & _ENCRYPTED:
        return BrokenMember(name, Reason.CORRUPT_MEMBER, f"{name!r} is encrypted")
    try:
        with archive.open(entry) as stream:
            body = limits.read(cast(Readable, stream), counted=False)
    except _BROKEN_ZIP as error:
        return BrokenMember(name, Reason.CORRUPT_MEMBER, f"{name!r} cannot be unpacked: {error}")
    return _member(name, body, limits)


def _tar_member(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, limits: Limits, counted: bool
) -> Member | BrokenMember:
    name = entry.name
    if problem := check_name(name):
        return BrokenMember(name, Reason.UNSAFE_MEMBER, problem)
    stream = archive.extractfile(entry) if entry.isreg() else None
    if stream is None:
        return BrokenMember(name, Reason.UNSAFE_MEMBER, f"{name!r} is a link or a device")
    # The holes of a sparse file take no bytes of the stream.
    counted = counted and not entry.issparse()
    return _member(name, limits.read(cast(Readable, stream), counted=counted), limits)


def _member(name: str, body: Any, limits: Limits) -> Member | BrokenMember:
    if body is None:
        return BrokenMember(name, Reason.OBJECT_TOO_LARGE, f"{name!r} has more than {limits.max_member_bytes} bytes")
    if body.byte_count == 0:
        return BrokenMember(name, Reason.EMPTY_BODY, f"{name!r} is empty")
    return Member(name, body)


class _TarEntry(tarfile.TarInfo):
    """A header of a tar archive, refused where reading on would take memory or time without bound."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block of 512 bytes; raises `tarfile.ReadError`."""
        try:
            entry = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            # Behind the first member tarfile would take them for the end, and the rest would be missing unnoticed.
            raise tarfile.ReadError(str(error)) from error
        if entry.size < 0 or (entry.type in _EXTENDING_TYPES and entry.size > _MAX_EXTENDING_BYTES):
            raise tarfile.ReadError(f"a header of {entry.size} bytes")
        return entry


def _directory_entries(file: BinaryIO, enough: int) -> int:
    """Return how many entries the directory of a zip file has, at most; more than `enough` are not counted.

    They are counted where they stand, for nobody checks the number that the file gives; where that is says the function
    by which `zipfile` itself finds out. 0 when there is no directory.
    """
    found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    entries = 0
    if found:
        directory_bytes, end = found[_DIRECTORY_SIZE], found[_END_LOCATION]
        file.seek(max(0, end - directory_bytes - _ZIP64_END_BYTES))
        rest = b""
        while entries <= enough and (piece := file.read(_SCAN_BYTES)):
            piece = rest + piece
            entries += piece.count(_ENTRY)
            rest = piece[1 - len(_ENTRY) :]
    file.seek(0)
    return entries
