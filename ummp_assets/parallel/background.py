"""Calls in a thread of their own, beside what goes on meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec

__all__ = ["Background"]

_Parameters = ParamSpec("_Parameters")


class Background:
    """Makes calls one after the other in one thread, which the first call starts; at most one is under way.

    Parameters
    ----------
    name:
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[object] | None = None

    def start(
        self, function: Callable[_Parameters, object], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> None:
        """Wait for the call before, raise what it raised, and start this one."""
        self.wait()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._under_way = self._thread.submit(function, *args, **kwargs)

    def wait(self) -> None:
        """Wait for the call that is under way, and raise what it raised."""
        call, self._under_way = self._under_way, None
        if call is not None:
            call.result()

    def end(self) -> None:
        """End the thread after its last call, whose error is nobody's any more."""
        with suppress(Exception):
            self.wait()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
