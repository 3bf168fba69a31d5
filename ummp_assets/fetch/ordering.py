"""Puts results back into the order of their requests, within a bound of memory.

Results arrive in any order, rows must leave in the order of the batch, so that the layout of the files does not depend
on which server was fast. While one slow object is waited for, the contents behind it move to scratch files as soon as
they take more than `max_held_bytes`.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.fetched import Fetched, FetchRequest, Result
from ummp_assets.fetch.spilling import SpillFile, Stretch

__all__ = ["InOrder"]

_FILE_BYTES = 64 * 2**20
# Contents move out in lots: a system call for each of them, in the thread of the transfers, took a tenth of its time.
_LOT_BYTES = 2 * 2**20
_MAX_WAITING_LOTS = 2


class InOrder:
    """Takes results in any order, gives them back by position, without gaps, from 0; use as a context manager.

    Parameters
    ----------
    scratch:
        Folder for contents that have to wait outside memory.
    max_held_bytes:
        Memory for contents that wait.
    """

    def __init__(self, scratch: Path, max_held_bytes: int) -> None:
        self._spiller, self._max_held_bytes = _Spiller(scratch), max_held_bytes
        # With each the memory that its content takes, 0 where it moves out.
        self._held: dict[int, tuple[FetchRequest, Result, int]] = {}
        self._held_bytes = 0
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._spiller.close()

    def put(self, request: FetchRequest, result: Result) -> None:
        """Take a result; raises `OSError` when earlier ones had to wait in a scratch file that cannot be written."""
        size = 0
        if isinstance(result, Fetched) and (size := result.body.held_bytes):
            if request.position != self._next and self._held_bytes + size > self._max_held_bytes:
                self._spiller.put(request.position, result.body)
                size = 0
            self._held_bytes += size
        self._held[request.position] = (request, result, size)

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
            request, result, size = entry
            if not size:
                self._spiller.leave(self._next)
            self._next += 1
            taken_bytes += size
            taken.append((request, result))
        self._held_bytes -= taken_bytes
        return taken


class _Spiller:
    """Takes contents out of memory in a thread of its own, into files of some 64 MB; each goes with the last content in
    it.

    That thread holds the interpreter twice a lot. Hashing them on the way would spare the thread of the rows that work
    at a time when it has less to do, but held up the transfers so often that they took a quarter longer.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="downloads-spill")
        self._file: SpillFile | None = None
        self._lot: list[int] = []
        self._lot_bytes = 0
        self._waiting: deque[tuple[list[int], Future[list[Stretch]]]] = deque()
        self._in_memory: dict[int, Body] = {}

    def put(self, position: int, body: Body) -> None:
        """Take a content; raises `OSError` when an earlier one cannot be written."""
        self._in_memory[position] = body
        self._lot.append(position)
        self._lot_bytes += body.byte_count
        if self._lot_bytes >= _LOT_BYTES:
            self._send_lot()
        while self._waiting and (len(self._waiting) > _MAX_WAITING_LOTS or self._waiting[0][1].done()):
            self._settle(*self._waiting.popleft())

    def leave(self, position: int) -> None:
        """Let a content be as it is from now on: somebody else reads it."""
        self._in_memory.pop(position, None)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _send_lot(self) -> None:
        positions = [position for position in self._lot if position in self._in_memory]
        contents = [self._in_memory[position].pieces or () for position in positions]
        self._waiting.append((positions, self._thread.submit(self._write, contents)))
        self._lot, self._lot_bytes = [], 0

    def _settle(self, positions: Sequence[int], written: Future[list[Stretch]]) -> None:
        for position, stretch in zip(positions, written.result(), strict=True):
            body = self._in_memory.pop(position, None)
            if body is not None:
                body.stretch, body.pieces = stretch, None

    def _write(self, contents: Sequence[Sequence[bytes]]) -> list[Stretch]:
        if self._file is None or self._file.byte_count >= _FILE_BYTES:
            self._file = SpillFile(self._scratch)
        return self._file.append(contents)
