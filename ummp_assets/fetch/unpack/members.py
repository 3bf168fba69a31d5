"""What comes out of an archive or table, and the limits it comes out under."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ummp_assets.fetch.body import Body, BodyTooLarge, BodyWriter
from ummp_assets.fetch.collecting import ScratchFull
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["BrokenMember", "Limits", "Member", "Readable", "UnpackStopped"]

_PIECE_BYTES = 65_536
# Below this size no expansion is suspicious.
_HARMLESS_BYTES = 1_048_576


class Readable(Protocol):
    """The part of a binary stream that unpacking needs."""

    def read(self, size: int = -1, /) -> bytes: ...


class UnpackStopped(Exception):
    """The archive cannot be unpacked any further; what came before is good."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Member:
    """One sample of an archive or table.

    Parameters
    ----------
    name:
        Path inside the archive, or number of the row, unique in it.
    uri:
        Where the archive says that the content came from.
    label, attributes:
        JSON.
    """

    name: str
    body: Body
    media_type: str | None = None
    uri: str | None = None
    label: str | None = None
    attributes: str | None = None


@dataclass(frozen=True, slots=True)
class BrokenMember:
    """A member that cannot be used; the others can."""

    name: str
    reason: Reason
    detail: str


class Limits:
    """Counts what comes out of one archive, all that is nested in it included.

    Parameters
    ----------
    packed_bytes:
        Size of the outermost archive, which the ratio is taken to.
    """

    def __init__(self, settings: FetchSettings, scratch: Path, packed_bytes: int) -> None:
        self._settings, self._scratch, self._packed_bytes = settings, scratch, packed_bytes
        self._members = self._unpacked_bytes = 0

    @property
    def max_members(self) -> int:
        return self._settings.unpack.max_members

    @property
    def max_depth(self) -> int:
        return self._settings.unpack.max_depth

    @property
    def max_member_bytes(self) -> int:
        return self._settings.max_object_bytes

    def count_member(self) -> None:
        """Count a member; raises `UnpackStopped` when it is one too many."""
        self._members += 1
        if self._members > self.max_members:
            raise UnpackStopped(Reason.ARCHIVE_TOO_LARGE, f"It has more than {self.max_members} members")

    def count_bytes(self, byte_count: int) -> None:
        """Count unpacked bytes; raises `UnpackStopped` when they are too many."""
        self._unpacked_bytes += byte_count
        rules = self._settings.unpack
        if self._unpacked_bytes > rules.max_total_bytes:
            raise UnpackStopped(Reason.ARCHIVE_TOO_LARGE, f"It unpacks to more than {rules.max_total_bytes} bytes")
        if self._unpacked_bytes > max(_HARMLESS_BYTES, rules.max_ratio * self._packed_bytes):
            detail = f"{self._packed_bytes} bytes unpack to more than {rules.max_ratio:g} times as many"
            raise UnpackStopped(Reason.DECOMPRESSION_BOMB, detail)

    def read(self, stream: Readable, *, counted: bool) -> Body | None:
        """Return the rest of a stream as an object, None when it is larger than an object may be.

        `counted` says that the bytes have been counted already, where they were decompressed. Raises `ScratchFull`.
        """
        writer = BodyWriter(self._scratch, self._settings.inline_bytes, self.max_member_bytes)
        try:
            while piece := stream.read(_PIECE_BYTES):
                if not counted:
                    self.count_bytes(len(piece))
                _write(writer, piece)
        except BodyTooLarge:
            writer.discard()
            return None
        except BaseException:
            writer.discard()
            raise
        return writer.finish()

    def check_declared(self, byte_count: int) -> None:
        """Look at a size that the archive declares, before memory is spent on it; raises `UnpackStopped`."""
        known = self._unpacked_bytes
        self.count_bytes(byte_count)
        self._unpacked_bytes = known

    def make_body(self, content: bytes, *, counted: bool) -> Body | None:
        """Return bytes as an object, None when they are too many; `counted` and errors as for `read`."""
        if not counted:
            self.count_bytes(len(content))
        if len(content) > self.max_member_bytes:
            return None
        writer = BodyWriter(self._scratch, self._settings.inline_bytes, self.max_member_bytes)
        _write(writer, content)
        return writer.finish()


def _write(writer: BodyWriter, data: bytes) -> None:
    """Append bytes; a full disk is told apart from the errors of what reads the archive, whose fault it is not."""
    try:
        writer.write(data)
    except OSError as error:
        writer.discard()
        raise ScratchFull from error
