"""The broker on the network: connections, frames, and one request after the other on each.

As with Kafka, a connection's next request is read when the last one is answered, and bytes that are no request end
that connection without a word, and no other.
"""

import asyncio
import logging
import struct
from inspect import isawaitable

from ummp_assets.messages.embedded.apis import API_VERSIONS_KEY, APIS, Api, unsupported_api_versions
from ummp_assets.messages.embedded.broker import Broker
from ummp_assets.messages.embedded.handlers.call import Call
from ummp_assets.messages.embedded.wire import (
    MalformedRequest,
    RequestHeader,
    decode_request,
    encode_response,
    read_request_header,
)

__all__ = ["Server"]

_LOGGER = logging.getLogger(__name__)
_PRODUCE_KEY = 0
_MIN_FRAME_BYTES = 8  # api key, version, correlation id
_MAX_PRODUCE_BYTES = 100 * 1024 * 1024  # Kafka's socket.request.max.bytes
_MAX_OTHER_BYTES = 256 * 1024  # no honest request of another kind comes near this on one machine
_LENGTH = struct.Struct(">i")
_KEY = struct.Struct(">h")
_READ_AHEAD_BYTES = 1024 * 1024


class Server:
    """Serves one broker on one address."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> int:
        """Begin to accept connections; the port, which the system chose if it was given as 0.

        Raises
        ------
        OSError
            The port is in use, or the host is none of this machine's.
        """
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ_AHEAD_BYTES)
        bound_port: int = self._server.sockets[0].getsockname()[1]
        return bound_port

    async def close(self) -> None:
        """Accept no more connections and end those that there are."""
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while True:
                frame = await _read_frame(reader)
                response = await self._answer(frame, writer)
                if response is not None:
                    writer.write(response)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or is told something by losing the connection, or the broker stops
        except MalformedRequest as refusal:
            _LOGGER.warning("closed the connection from %s: %s", writer.get_extra_info("peername"), refusal)
        except Exception:
            _LOGGER.exception("closed the connection from %s", writer.get_extra_info("peername"))
        finally:
            writer.close()

    async def _answer(self, frame: bytes, writer: asyncio.StreamWriter) -> bytes | None:
        header = read_request_header(frame)
        api = APIS.get(header.api_key)
        if api is None:
            raise MalformedRequest(f"api key {header.api_key} is not supported")
        if not api.min_version <= header.version <= api.max_version:
            if header.api_key != API_VERSIONS_KEY:
                raise MalformedRequest(f"version {header.version} of api key {header.api_key} is not supported")
            return encode_response(api.response_class, 0, header.correlation_id, unsupported_api_versions())
        fields = api.handle(self._call(api, header, frame, writer))
        if isawaitable(fields):
            fields = await fields
        if fields is None:
            return None
        return encode_response(api.response_class, header.version, header.correlation_id, fields)

    def _call(self, api: Api, header: RequestHeader, frame: bytes, writer: asyncio.StreamWriter) -> Call:
        request = decode_request(api.request_class, header, frame)
        address = writer.get_extra_info("sockname")[:2]
        client_host = writer.get_extra_info("peername")[0]
        return Call(self._broker, request, header.version, header.client_id, client_host, address)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if not _MIN_FRAME_BYTES <= length <= _MAX_PRODUCE_BYTES:
        raise MalformedRequest(f"a request of {length} bytes")
    start = await reader.readexactly(_KEY.size)
    if length > _MAX_OTHER_BYTES and _KEY.unpack(start)[0] != _PRODUCE_KEY:
        raise MalformedRequest(f"a request of {length} bytes that is no Produce")
    return start + await reader.readexactly(length - len(start))
