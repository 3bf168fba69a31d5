"""The bytes of one object while they arrive: hashed, counted against a cap, in memory while small, else in a file.

Memory stays bounded whatever the size: at most `inline_bytes` of an object are held, the rest goes to a scratch file
that `ObjectStore.upload` can move without copying.
"""

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Body", "BodyTooLarge", "BodyWriter"]


class BodyTooLarge(Exception):
    """More bytes came than the cap allows."""


@dataclass(frozen=True, slots=True)
class Body:
    """A whole object: its `content`, or the scratch `file` that holds it, or the path of the store's `blob` where it
    stands since an earlier fetch."""

    sha256: str
    byte_count: int
    content: bytes | None
    file: Path | None = None
    blob: str | None = None
    open_blob: Callable[[], BinaryIO] | None = None

    def open(self) -> BinaryIO:
        """Return a seekable reader of the whole object."""
        if self.file is not None:
            return self.file.open("rb")
        if self.open_blob is not None:
            return self.open_blob()
        return io.BytesIO(self.content or b"")

    def head(self, byte_count: int) -> bytes:
        """Return the first bytes."""
        if self.content is not None:
            return self.content[:byte_count]
        with self.open() as file:
            return file.read(byte_count)

    def read(self) -> bytes:
        """Return all bytes; meant for objects that are known to be small."""
        if self.content is not None:
            return self.content
        with self.open() as file:
            return file.read()

    @property
    def held_bytes(self) -> int:
        """Memory that the object takes."""
        return len(self.content) if self.content is not None else 0

    def spill(self, scratch: Path) -> "Body":
        """Return the same object with its bytes in a scratch file instead of memory; raises `OSError`."""
        if self.content is None:
            return self
        descriptor, name = tempfile.mkstemp(dir=scratch)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.content)
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

    __slots__ = ("_chunks", "_file", "_hash", "_inline_bytes", "_max_bytes", "_path", "_scratch", "byte_count")

    def __init__(self, scratch: Path, inline_bytes: int, max_bytes: int) -> None:
        self._scratch, self._inline_bytes, self._max_bytes = scratch, inline_bytes, max_bytes
        self._chunks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.byte_count = 0

    def write(self, data: bytes) -> None:
        """Append bytes; raises `BodyTooLarge`, and `OSError` when the scratch folder cannot take them."""
        self.byte_count += len(data)
        if self.byte_count > self._max_bytes:
            raise BodyTooLarge
        self._hash.update(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._chunks.append(data)
        if self.byte_count > self._inline_bytes:
            self._spill()

    def finish(self) -> Body:
        """Return the whole object; the writer must not be used afterwards."""
        digest = self._hash.hexdigest()
        if self._file is None:
            content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            return Body(digest, self.byte_count, content)
        self._file.close()
        return Body(digest, self.byte_count, None, self._path)

    def reset(self) -> None:
        """Forget everything: the object starts again."""
        self.discard()
        self._chunks = []
        self._hash = hashlib.sha256()
        self.byte_count = 0

    def discard(self) -> None:
        """Close and remove the scratch file, if there is one."""
        if self._file is not None:
            # A full disk makes closing fail as well: what was buffered cannot be written.
            with contextlib.suppress(OSError):
                self._file.close()
            self._path.unlink(missing_ok=True)
            self._file = None

    def _spill(self) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._scratch)
        self._file, self._path = os.fdopen(descriptor, "wb"), Path(name)
        for chunk in self._chunks:
            self._file.write(chunk)
        self._chunks = []
