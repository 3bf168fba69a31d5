"""A TCP relay between Kafka clients and a broker, which counts the requests and can stop at one of them.

It reads the length, API key and correlation id that begin every frame of Kafka's protocol, and writes its own port over
the broker's in the answers, so that clients keep coming to it.
"""

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kafka.protocol.consumer import FetchRequest
from kafka.protocol.producer import ProduceRequest

__all__ = ["FETCH", "PRODUCE", "Relay"]

FETCH: int = FetchRequest.API_KEY
PRODUCE: int = ProduceRequest.API_KEY

_LENGTH = struct.Struct(">i")
_PORT = struct.Struct(">i")
_REQUEST_HEAD = struct.Struct(">hhi")
_WAIT_SECONDS = 20.0


class Relay:
    """Passes frames on in threads until its context is left.

    Attributes
    ----------
    address:
        What clients are given as bootstrap servers.
    requests:
        Requests that came, by API key.
    answered_bytes:
        Bytes of all answers that went to clients.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        host, port = bootstrap_servers.split(":")
        self._broker = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self.requests: Counter[int] = Counter()
        self.answered_bytes = 0
        self._held: tuple[int, bool] | None = None
        self._reached, self._released = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self.release()
        for thread in self._threads:
            thread.join(_WAIT_SECONDS)
        for end in [self._listener, *self._sockets]:
            end.close()

    def cut(self) -> None:
        """Break all connections, as a network does."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hold(self, api_key: int, *, answer: bool = False) -> None:
        """Keep back the next request of a kind, or with `answer` let the broker carry it out and keep back what it
        says."""
        self._reached.clear()
        self._released.clear()
        self._held = (api_key, answer)

    def wait_until_held(self) -> None:
        """Wait until something is kept back."""
        assert self._reached.wait(_WAIT_SECONDS), f"no request {self._held} came; seen: {self.requests}"

    def release(self) -> None:
        """Pass on what was kept back, and everything from now on."""
        self._held = None
        self._released.set()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                broker = socket.create_connection(self._broker)
                self._sockets.append(broker)
                kinds: dict[int, int] = {}
                self._start(self._pass_requests, client, broker, kinds)
                self._start(self._pass_answers, broker, client, kinds)

    def _pass_requests(self, client: socket.socket, broker: socket.socket, kinds: dict[int, int]) -> None:
        while frame := _read_frame(client):
            api_key, _, correlation_id = _REQUEST_HEAD.unpack_from(frame, _LENGTH.size)
            self.requests[api_key] += 1
            kinds[correlation_id] = api_key
            self._wait_while_held(api_key, answer=False)
            with contextlib.suppress(OSError):
                broker.sendall(frame)
        _close(broker)

    def _pass_answers(self, broker: socket.socket, client: socket.socket, kinds: dict[int, int]) -> None:
        own = b"127.0.0.1" + _PORT.pack(self._port)
        while frame := _read_frame(broker):
            (correlation_id,) = _PORT.unpack_from(frame, _LENGTH.size)
            self._wait_while_held(kinds.pop(correlation_id, -1), answer=True)
            self.answered_bytes += len(frame)
            with contextlib.suppress(OSError):
                client.sendall(frame.replace(b"127.0.0.1" + _PORT.pack(self._broker[1]), own))
        _close(client)

    def _wait_while_held(self, api_key: int, *, answer: bool) -> None:
        if self._held == (api_key, answer):
            self._reached.set()
            self._released.wait()


def _read_frame(source: socket.socket) -> bytes:
    """Return the next frame with its length in front, or nothing at the end."""
    with contextlib.suppress(OSError):
        head = source.recv(_LENGTH.size, socket.MSG_WAITALL)
        if len(head) == _LENGTH.size:
            body = source.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
            return head + body
    return b""


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
