"""Keeps what decoders hold at once within a budget, however many cores there are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MemoryGate"]


class MemoryGate:
    """Lets in as much as the budget has room for; what is larger than the whole budget goes in alone."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._used_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def room(self, byte_count: int) -> Iterator[None]:
        """Wait for room, and hold it while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._used_bytes == 0 or self._used_bytes + byte_count <= self._budget_bytes)
            self._used_bytes += byte_count
        try:
            yield
        finally:
            with self._changed:
                self._used_bytes -= byte_count
                self._changed.notify_all()
