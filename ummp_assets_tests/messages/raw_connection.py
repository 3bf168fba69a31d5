"""A connection that sends exactly the bytes that a test wants sent."""

import socket
import struct
from types import TracebackType
from typing import Any, Self

__all__ = ["RawConnection", "frame"]

_TIMEOUT_SECONDS = 5.0


def frame(api_key: int, version: int, body: bytes = b"", *, flexible: bool = False, correlation_id: int = 7) -> bytes:
    """A request with a header of any api key and version, its length in front."""
    header = struct.pack(">hhih", api_key, version, correlation_id, 4) + b"test" + (b"\0" if flexible else b"")
    return struct.pack(">i", len(header) + len(body)) + header + body


class RawConnection:
    """A TCP connection to `host:port`."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def receive(self) -> bytes | None:
        """The next response without its length; None where the broker closed the connection instead."""
        length = self._receive_exactly(4)
        return None if length is None else self._receive_exactly(struct.unpack(">i", length)[0])

    def _receive_exactly(self, count: int) -> bytes | None:
        content = b""
        while len(content) < count:
            try:
                piece = self._socket.recv(count - len(content))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            content += piece
        return content

    def ask(self, request: Any, response_class: Any, version: int) -> Any:
        """Send a request built with kafka-python's classes; its decoded response."""
        request.API_VERSION = version
        request.with_header(correlation_id=7, client_id="test")
        self.send(request.encode(header=True, framed=True))
        content = self.receive()
        assert content is not None, f"the connection was closed instead of answering {request}"
        return response_class.decode(content, version=version, header=True)
