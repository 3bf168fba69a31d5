"""Ctrl-C between two items of a stream, never in the middle of one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

__all__ = ["InterruptibleStream", "interruptible"]

_T = TypeVar("_T")


class InterruptibleStream(Generic[_T]):
    """An iterator that ends early when SIGINT comes.

    What is done with the last item is completed, so that whoever counts the items counts right. A second SIGINT raises
    `KeyboardInterrupt` wherever it finds the program.
    """

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._waiting = False
        self.interrupted = False

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        try:
            self._waiting = True
            if self.interrupted:
                raise StopIteration
            return next(self._items)
        except KeyboardInterrupt:
            raise StopIteration from None
        finally:
            self._waiting = False

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGINT: wake a read that waits, let everything else finish."""
        again, self.interrupted = self.interrupted, True
        if again or self._waiting:
            raise KeyboardInterrupt


@contextmanager
def interruptible(items: Iterator[_T]) -> Iterator[InterruptibleStream[_T]]:
    """Yield the items as a stream that SIGINT ends while the `with` block lasts."""
    stream = InterruptibleStream(items)
    before = signal.signal(signal.SIGINT, stream.interrupt)
    try:
        yield stream
    finally:
        signal.signal(signal.SIGINT, before)
