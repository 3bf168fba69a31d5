"""A file of fixed-width rows of numbers, sorted by its first column and searched where it lies.

Indexes stay on disk so that the broker's memory does not grow with its log: one look-up reads about as many rows as
the file's row count has bits.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path

__all__ = ["Row", "SortedRows"]

Row = tuple[int, ...]


class SortedRows:
    """Rows of `columns` signed 64-bit numbers, appended in order.

    Parameters
    ----------
    path:
        The file; it comes into being with the first row.
    columns:
        Numbers in a row.
    """

    def __init__(self, path: Path, columns: int) -> None:
        self.path = path
        self._columns = columns
        self._row = struct.Struct(f">{columns}q")
        self._descriptor: int | None = None
        try:
            self.count = path.stat().st_size // self._row.size
        except FileNotFoundError:
            self.count = 0

    def append(self, *row: int) -> None:
        os.pwrite(self._open(), self._row.pack(*row), self.count * self._row.size)
        self.count += 1

    def get(self, number: int) -> Row:
        return self._row.unpack(os.pread(self._open(), self._row.size, number * self._row.size))

    def count_where(self, condition: Callable[[Row], bool]) -> int:
        """How many rows fulfil `condition`, which holds for some first rows and for none after them."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if condition(self.get(middle)):
                low = middle + 1
            else:
                high = middle
        return low

    def truncate(self, count: int) -> None:
        """Keep only the first `count` rows, and no half row after them."""
        if self.count or self.path.exists():
            os.ftruncate(self._open(), count * self._row.size)
        self.count = count

    def close(self) -> None:
        """Give the file descriptor back; the next use opens the file again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def moved_to(self, folder: Path) -> "SortedRows":
        """The same rows after their file, which must be closed, was moved into `folder`."""
        return SortedRows(self.path.replace(folder / self.path.name), self._columns)

    def delete(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self.count = 0

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        return self._descriptor
