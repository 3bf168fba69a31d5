"""Puts results back into the order of their requests, within a bound of memory.

Results arrive in any order, rows must leave in the order of the batch, so that the layout of the files does not depend
on which server was fast. While one slow object is waited for, the contents behind it move to scratch files as soon as
they take more than `max_held_bytes`.
"""

from pathlib import Path

from ummp_assets.fetch.fetched import Fetched, FetchRequest, Result

__all__ = ["InOrder"]


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
        self._scratch, self._max_held_bytes = scratch, max_held_bytes
        self._held: dict[int, tuple[FetchRequest, Result]] = {}
        self._held_bytes = 0
        self._next = 0

    def put(self, request: FetchRequest, result: Result) -> None:
        """Take a result; raises `OSError` when it has to wait in a scratch file that cannot be written."""
        if isinstance(result, Fetched):
            size = result.body.held_bytes
            if request.position != self._next and self._held_bytes + size > self._max_held_bytes:
                result = result._replace(body=result.body.spill(self._scratch))
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
