"""Contents that wait outside memory, one behind the other in scratch files without a name."""

import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

__all__ = ["SpillFile", "Stretch"]


class SpillFile:
    """A file that nobody else sees; the kernel removes it once neither it nor a stretch of it is held."""

    def __init__(self, folder: Path) -> None:
        self.descriptor, name = tempfile.mkstemp(dir=folder)
        weakref.finalize(self, os.close, self.descriptor)
        Path(name).unlink()
        self.byte_count = 0

    def append(self, contents: Sequence[Sequence[bytes]]) -> list["Stretch"]:
        """Write contents, each in its pieces, one behind the other; raises `OSError`."""
        sizes = [sum(map(len, pieces)) for pieces in contents]
        begins = accumulate(sizes[:-1], initial=self.byte_count)
        stretches = [Stretch(self, begin) for begin in begins]
        left = memoryview(b"".join(piece for pieces in contents for piece in pieces))
        while left:
            # A full disk takes a part first, and refuses the rest.
            written = os.write(self.descriptor, left)
            self.byte_count += written
            left = left[written:]
        return stretches


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a content begins in a spill file."""

    file: SpillFile
    offset: int

    def read(self, byte_count: int) -> bytes:
        """Return so many bytes from its beginning on; may be called from any thread."""
        return os.pread(self.file.descriptor, byte_count, self.offset)
