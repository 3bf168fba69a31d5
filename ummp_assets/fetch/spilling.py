"""Contents that wait outside memory, one behind the other in scratch files without a name."""

import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SpillFile", "Stretch"]


class SpillFile:
    """A file that nobody else sees; the kernel removes it once neither it nor a stretch of it is held."""

    def __init__(self, folder: Path) -> None:
        self.descriptor, name = tempfile.mkstemp(dir=folder)
        weakref.finalize(self, os.close, self.descriptor)
        Path(name).unlink()
        self.byte_count = 0

    def append(self, pieces: Sequence[bytes]) -> "Stretch":
        """Write the pieces of one content behind the others; raises `OSError`."""
        stretch = Stretch(self, self.byte_count)
        left = memoryview(b"".join(pieces))
        while left:
            # A full disk takes a part first, and refuses the rest.
            written = os.write(self.descriptor, left)
            self.byte_count += written
            left = left[written:]
        return stretch


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a content begins in a spill file."""

    file: SpillFile
    offset: int

    def read(self, byte_count: int) -> bytes:
        """Return so many bytes from its beginning on; may be called from any thread."""
        return os.pread(self.file.descriptor, byte_count, self.offset)
