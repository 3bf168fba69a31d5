"""Many transfers at once in one thread: libcurl's multi interface driven by its socket actions.

`socket_action` with epoll costs the same per event whatever the number of open connections; `perform` with `select`
visits every transfer each time and cannot see descriptors above 1,023.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import pycurl

__all__ = ["TransferLoop"]

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class TransferLoop:
    """Runs curl handles until they end.

    Parameters
    ----------
    max_cached_connections:
        Idle connections kept for reuse.
    """

    def __init__(self, max_cached_connections: int) -> None:
        self._poller: Any
        if hasattr(select, "epoll"):
            self._poller, self._units_per_second = select.epoll(), 1.0
        else:
            self._poller, self._units_per_second = select.poll(), 1_000.0
        self._watched: set[int] = set()
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._poller.register(self._woken.fileno(), select.POLLIN)
        self._deadline: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_cached_connections)

    def start(self, handle: Any) -> None:
        """Begin a transfer; `run` hands the handle back when it has ended."""
        self._multi.add_handle(handle)

    def cancel(self, handle: Any) -> None:
        """Break a transfer off; `run` will not hand it back."""
        self._multi.remove_handle(handle)

    def run(self, timeout_seconds: float, ended: Callable[[Any, int, str], None]) -> None:
        """Wait until something happens or the time is over, then call `ended(handle, curl code, message)` for each
        transfer that has ended; code 0 is success."""
        if self._deadline is not None:
            timeout_seconds = min(timeout_seconds, max(0.0, self._deadline - time.monotonic()))
        for descriptor, events in self._poller.poll(timeout_seconds * self._units_per_second):
            if descriptor == self._woken.fileno():
                self._woken.recv(4_096)
                continue
            actions = (pycurl.CSELECT_IN if events & _READABLE else 0) | (
                pycurl.CSELECT_OUT if events & select.POLLOUT else 0
            )
            self._multi.socket_action(descriptor, actions)
        if self._deadline is not None and self._deadline <= time.monotonic():
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect(ended)

    def wake(self) -> None:
        """Let `run` return at once; may be called from any thread."""
        # A full pipe is as good as one more byte in it.
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"w", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close all connections; transfers still running are dropped."""
        self._multi.close()
        self._waker.close()
        self._woken.close()
        if hasattr(self._poller, "close"):
            self._poller.close()

    def _collect(self, ended: Callable[[Any, int, str], None]) -> None:
        queued = 1
        while queued:
            queued, done, failed = self._multi.info_read()
            for handle in done:
                self._multi.remove_handle(handle)
                ended(handle, 0, "")
            for handle, code, message in failed:
                self._multi.remove_handle(handle)
                ended(handle, code, message)

    def _watch(self, wanted: int, descriptor: int, _multi: Any, _data: Any) -> None:
        if wanted == pycurl.POLL_REMOVE:
            if descriptor in self._watched:
                self._watched.discard(descriptor)
                self._poller.unregister(descriptor)
            return
        events = (select.POLLIN if wanted & pycurl.POLL_IN else 0) | (select.POLLOUT if wanted & pycurl.POLL_OUT else 0)
        if descriptor in self._watched:
            self._poller.modify(descriptor, events)
        else:
            self._watched.add(descriptor)
            self._poller.register(descriptor, events)

    def _set_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1_000
