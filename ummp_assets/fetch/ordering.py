"""Puts results back into the order of their requests, within a bound of memory.

Results arrive in any order, rows must leave in the order of the batch, so that the layout of the files does not depend
on which server was fast. While one slow object is waited for, the contents behind it move to scratch files as soon as
they take more than `max_held_bytes`.
"""

from pathlib import Path

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.fetched import Fetched, FetchRequest, Result
from ummp_assets.fetch.spilling import SpillFile

__all__ = ["InOrder"]

_FILE_BYTES = 64 * 2**20


class InOrder:
    """Takes results in any order, gives them back by position, without gaps, from 0.

    Parameters
    ----------
    scratch:
        Folder for contents that have to wait outside memory.
    max_held_bytes:
        Memory for contents that wait.
    """

    def __init__(self, scratch: Path, max_held_bytes: int) -> None:
        self._spilled, self._max_held_bytes = _SpillFiles(scratch), max_held_bytes
        self._held: dict[int, tuple[FetchRequest, Result]] = {}
        self._held_bytes = 0
        self._next = 0

    def put(self, request: FetchRequest, result: Result) -> None:
        """Take a result; raises `OSError` when it has to wait in a scratch file that cannot be written."""
        if isinstance(result, Fetched):
            size = result.body.held_bytes
            if request.position != self._next and self._held_bytes + size > self._max_held_bytes:
                result = result._replace(body=self._spilled.put(result.body))
            else:
                self._held_bytes += size
        self._held[request.position] = (request, result)

    def take(self, max_rows: int, max_bytes: int) -> list[tuple[FetchRequest, Result]]:
        """Return what is complete up to the first gap: so many at most, and until their contents in memory exceed a
        size."""
        taken: list[tuple[FetchRequest, Result]] = []
        taken_bytes = 0
        while (
            len(taken) < max_rows
            and taken_bytes < max_bytes
            and (entry := self._held.pop(self._next, None)) is not None
        ):
            self._next += 1
            if isinstance(entry[1], Fetched):
                taken_bytes += entry[1].body.held_bytes
            taken.append(entry)
        self._held_bytes -= taken_bytes
        return taken


class _SpillFiles:
    """Takes contents out of memory into files of some 64 MB, each of which goes with the last content in it.

    A file for each object took a quarter of the main thread's time in a batch of which one host in a hundred is dead.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._file: SpillFile | None = None

    def put(self, body: Body) -> Body:
        """Return the object with its bytes here instead of in memory; raises `OSError`."""
        if body.pieces is None:
            return body
        if self._file is None or self._file.byte_count >= _FILE_BYTES:
            self._file = SpillFile(self._scratch)
        return Body(body.digest, body.byte_count, None, stretch=self._file.append(body.pieces))
