"""A real HTTP server on loopback whose answers are written by the test, down to the last byte and to bad manners."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Received", "Server", "answer", "serving"]


@dataclass(frozen=True)
class Received:
    """A request as it came in; header names are lower case."""

    path: str
    headers: dict[str, str]
    time: float


Handler = Callable[[Received, socket.socket], None]
"""Writes an answer to the connection; raising `OSError` or closing it is the handler's right."""


@dataclass
class Server:
    """Where the server listens and what it was asked."""

    port: int
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    robots_asked: int = 0
    active: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[Received]:
        return [item for item in self.received if item.path == path]


@dataclass(frozen=True)
class _Robots:
    body: bytes
    status: int
    headers: dict[str, str]


def answer(
    connection: socket.socket, body: bytes = b"", *, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    """Send a whole, honest answer."""
    lines = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.sendall(f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body)


@contextmanager
def serving(
    handler: Handler,
    *,
    robots: str = "",
    robots_status: int | None = None,
    robots_headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Serve on a free port of loopback; `/robots.txt` is answered here, with 404 unless a text is given."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        status = robots_status or (200 if robots else 404)
        server = Server(listener.getsockname()[1])
        listener.settimeout(0.02)
        stop = threading.Event()
        acceptor = threading.Thread(
            target=_accept,
            args=(listener, handler, _Robots(robots.encode(), status, robots_headers or {}), server, stop, tls),
        )
        acceptor.start()
        try:
            yield server
        finally:
            stop.set()
            acceptor.join()


def _accept(
    listener: socket.socket,
    handler: Handler,
    robots: "_Robots",
    server: Server,
    stop: threading.Event,
    tls: ssl.SSLContext | None,
) -> None:
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []
    while not stop.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            connection.settimeout(20)
            if tls is not None:
                try:
                    connection = tls.wrap_socket(connection, server_side=True)
                except OSError:
                    connection.close()
                    continue
            opened.append(connection)
            server.connections += 1
            threads.append(threading.Thread(target=_converse, args=(connection, handler, robots, server)))
            threads[-1].start()
    for connection in opened:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def _converse(connection: socket.socket, handler: Handler, robots: "_Robots", server: Server) -> None:
    waiting = b""
    with connection, suppress(OSError, ValueError):
        while True:
            while b"\r\n\r\n" not in waiting:
                data = connection.recv(65_536)
                if not data:
                    return
                waiting += data
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            request = _parse(head)
            if request.path == "/robots.txt":
                server.robots_asked += 1
                answer(connection, robots.body, status=robots.status, headers=robots.headers)
                continue
            server.received.append(request)
            with _counted(server):
                handler(request, connection)


@contextmanager
def _counted(server: Server) -> Iterator[None]:
    with server.lock:
        server.active += 1
        server.most_at_once = max(server.most_at_once, server.active)
    try:
        yield
    finally:
        with server.lock:
            server.active -= 1


def _parse(head: bytes) -> Received:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Received(first.split(" ")[1], headers, time.monotonic())
