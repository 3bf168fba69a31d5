"""The bytes of one object while they arrive: hashed, counted against a cap, in memory while small, else in a file.

Memory stays bounded whatever the size: at most `inline_bytes` of an object are held, the rest goes to a scratch file
that `ObjectStore.upload` can move without copying.
"""

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ummp_assets.fetch.spilling import Stretch

__all__ = ["Body", "BodyTooLarge", "BodyWriter"]


_SMALL_PIECE_BYTES = 1_024


class BodyTooLarge(Exception):
    """More bytes came than the cap allows."""


@dataclass(slots=True, eq=False)
class Body:
    """A whole object: the `pieces` of its content in memory, or the scratch `file` that holds it, or its `stretch` of a
    common one, or the path of the store's `blob` where it stands since an earlier fetch.

    Joining and hashing the pieces of a small object is left to whoever asks first. For most that is the thread that
    writes the rows, not the one that looks after the transfers and could take a third fewer of them meanwhile.
    """

    digest: str | None
    byte_count: int
    pieces: Sequence[bytes] | None
    file: Path | None = None
    blob: str | None = None
    open_blob: Callable[[], BinaryIO] | None = None
    stretch: Stretch | None = None

    @property
    def sha256(self) -> str:
        """Hex sha256 of the bytes."""
        if self.digest is None:
            self.digest = hashlib.sha256(self.content or b"").hexdigest()
        return self.digest

    @property
    def content(self) -> bytes | None:
        """The bytes of an object in memory or in a stretch of a scratch file, None for another one."""
        if self.pieces is None:
            return self.stretch.read(self.byte_count) if self.stretch is not None else None
        if len(self.pieces) != 1:
            self.pieces = (b"".join(self.pieces),)
        return self.pieces[0]

    def open(self) -> BinaryIO:
        """Return a seekable reader of the whole object."""
        if self.file is not None:
            return self.file.open("rb")
        if self.open_blob is not None:
            return self.open_blob()
        return io.BytesIO(self.content or b"")

    def head(self, byte_count: int) -> bytes:
        """Return the first bytes."""
        if self.pieces and len(self.pieces[0]) >= byte_count:
            return self.pieces[0][:byte_count]
        if self.pieces is not None:
            return (self.content or b"")[:byte_count]
        if self.stretch is not None:
            return self.stretch.read(min(byte_count, self.byte_count))
        with self.open() as file:
            return file.read(byte_count)

    def read(self) -> bytes:
        """Return all bytes; meant for objects that are known to be small."""
        content = self.content
        if content is not None:
            return content
        with self.open() as file:
            return file.read()

    @property
    def held_bytes(self) -> int:
        """Memory that the object takes."""
        return self.byte_count if self.pieces is not None else 0

    def spill(self, scratch: Path) -> "Body":
        """Return the same object in a scratch file of its own instead of memory or a common one; raises `OSError`."""
        content = self.content
        if content is None:
            return self
        descriptor, name = tempfile.mkstemp(dir=scratch)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return Body(self.sha256, self.byte_count, None, Path(name))

    def discard(self) -> None:
        """Remove the scratch file, if there is one."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


class BodyWriter:
    """Takes an object's bytes as they come.

    Parameters
    ----------
    scratch:
        Folder for the file of a large object.
    inline_bytes:
        Up to this size the object stays in memory.
    max_bytes:
        Above this size `write` raises `BodyTooLarge`.
    """

    __slots__ = ("_file", "_hash", "_max_bytes", "_max_held_bytes", "_path", "_pieces", "_scratch", "byte_count")

    def __init__(self, scratch: Path, inline_bytes: int, max_bytes: int) -> None:
        self._scratch, self._max_bytes = scratch, max_bytes
        self._max_held_bytes = min(inline_bytes, max_bytes)
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None
        self.byte_count = 0

    def write(self, data: bytes) -> None:
        """Append bytes; raises `BodyTooLarge`, and `OSError` when the scratch folder cannot take them."""
        self.byte_count += len(data)
        if self._file is None and self.byte_count <= self._max_held_bytes:
            self._hold(data)
            return
        if self.byte_count > self._max_bytes:
            if self._file is None:
                # The beginning of what is too large may be wanted, as that of a robots.txt.
                self._hold(data[: len(data) - self.byte_count + self._max_bytes])
            raise BodyTooLarge
        self._put(self._file or self._spill(), data)

    def finish(self) -> Body:
        """Return the whole object; the writer must not be used afterwards."""
        if self._file is None:
            return Body(None, self.byte_count, self._pieces)
        self._file.close()
        return Body(self._hash.hexdigest(), self.byte_count, None, self._path)

    def reset(self) -> None:
        """Forget everything: the object starts again."""
        self.discard()
        self._pieces = []
        self.byte_count = 0

    def discard(self) -> None:
        """Close and remove the scratch file, if there is one."""
        if self._file is not None:
            # A full disk makes closing fail as well: what was buffered cannot be written.
            with contextlib.suppress(OSError):
                self._file.close()
            self._path.unlink(missing_ok=True)
            self._file = None

    def _hold(self, data: bytes) -> None:
        # A body that comes two bytes at a time would take twenty times its size.
        if len(data) < _SMALL_PIECE_BYTES and self._pieces and len(self._pieces[-1]) < _SMALL_PIECE_BYTES:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)

    def _spill(self) -> BinaryIO:
        descriptor, name = tempfile.mkstemp(dir=self._scratch)
        self._file, self._path = os.fdopen(descriptor, "wb"), Path(name)
        self._hash = hashlib.sha256()
        for piece in self._pieces:
            self._put(self._file, piece)
        self._pieces = []
        return self._file

    def _put(self, file: BinaryIO, data: bytes) -> None:
        self._hash.update(data)
        file.write(data)
