"""Survives decoders that kill or hang their process: the batch that died is decoded in child processes.

Normally chunks are decoded by threads, which costs nothing. A small object in the store, `unfinished`, stands beside
the stage's manifest-to-be meanwhile; an error removes it, and only a process that died without a word leaves it behind.
The retry finds it and sends each chunk to a child process. A child that dies or does not answer is replaced, its chunk
halved until the one row is found that does it; that row is rejected, all others are kept.
"""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.runner import CleanedChunk
from ummp_assets.parallel.child_process import ChildFamily, ChildProcess
from ummp_assets.parallel.memory_gate import MemoryGate
from ummp_assets.reasons import Reason
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path

__all__ = ["child_processes", "crash_guard"]

CleanChunk = Callable[[pa.RecordBatch], CleanedChunk]

_TIMEOUT_SECONDS = 120.0

# Cleaning a text of 8 MB takes up to 180 MB beside what a process holds: one such and small ones at once. Of what it
# took the process gives little back, so that it ends after a large text, which takes longer than a new one to start.
_BYTES_AT_ONCE, _LARGE_BYTES = 9 * 2**20, 2**20


@contextmanager
def crash_guard(
    store: ObjectStore, stage: str, batch: str, clean: CleanChunk, timeout_seconds: float = _TIMEOUT_SECONDS
) -> Iterator[CleanChunk]:
    """Give a way to clean chunks of a batch: `clean` itself, or in child processes if the last attempt died.

    Parameters
    ----------
    clean:
        Picklable.
    timeout_seconds:
        How long a child may take for a chunk.
    """
    marker = stage_path(stage, batch, "unfinished")
    has_died = store.exists(marker)
    if not has_died:
        store.write(marker, b"")
    try:
        if has_died:
            with child_processes(clean, timeout_seconds) as isolated:
                yield isolated
        else:
            yield clean
    finally:
        store.delete(marker)


@contextmanager
def child_processes(
    clean: CleanChunk, timeout_seconds: float = _TIMEOUT_SECONDS, prepare: Callable[[], object] | None = None
) -> Iterator[CleanChunk]:
    """Give a way to clean chunks in child processes, one for each thread that calls it at the same time.

    `clean` must be picklable, and so must `prepare`, which loads what all children share. A row that kills its process
    or takes longer than the time-out is rejected.
    """
    cleaner = _IsolatedCleaner(clean, timeout_seconds, prepare)
    try:
        yield cleaner
    finally:
        cleaner.close()


class _IsolatedCleaner:
    """Cleans chunks in child processes, one for each thread that calls it at the same time."""

    def __init__(self, clean: CleanChunk, timeout_seconds: float, prepare: Callable[[], object] | None) -> None:
        self._clean, self._timeout_seconds = clean, timeout_seconds
        self._family = ChildFamily(clean, prepare)
        self._memory = MemoryGate(_BYTES_AT_ONCE)
        self._idle: queue.SimpleQueue[ChildProcess] = queue.SimpleQueue()

    def __call__(self, chunk: pa.RecordBatch) -> CleanedChunk:
        cleaned = self._attempt(chunk)
        if cleaned is not None:
            return cleaned
        if chunk.num_rows == 1:
            refusal = Refusal(Reason.DECODER_CRASHED, "decoding it alone killed the process or took too long")
            # Of no rows at all, for the columns that the stage's tables have.
            nothing = self._clean(chunk.slice(0, 0))
            names = [name for name in nothing.measured.schema.names if name not in chunk.schema.names]
            return CleanedChunk(nothing.rows, [refusal.of(chunk.to_pylist()[0])], measured_rows(chunk, [{}], names))
        half = chunk.num_rows // 2
        return _join(self(chunk.slice(0, half)), self(chunk.slice(half)))

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get().end()
        self._family.close()

    def _attempt(self, chunk: pa.RecordBatch) -> CleanedChunk | None:
        largest_bytes: int = pc.max(chunk.column("byte_count")).as_py()
        with self._memory.room(largest_bytes):
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                child = self._family.child()
            answer = cast(CleanedChunk | Exception | None, child.ask(chunk, self._timeout_seconds))
            if answer is None or largest_bytes > _LARGE_BYTES:
                child.end()
            else:
                self._idle.put(child)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _join(first: CleanedChunk, second: CleanedChunk) -> CleanedChunk:
    numbers = dict(first.numbers)
    for name, number in second.numbers.items():
        numbers[name] = numbers.get(name, 0) + number
    rows = pa.concat_batches([first.rows, second.rows])
    measured = pa.concat_batches([first.measured, second.measured])
    return CleanedChunk(rows, [*first.rejections, *second.rejections], measured, numbers)
