"""Kafka's wire format: request headers, and messages by the classes inside kafka-python.

`kafka.protocol` is no public interface of kafka-python: `pyproject.toml` pins its version range, and the test
`test_wire_classes_are_where_the_broker_expects_them` names what moved. Its decoders trust what they read, so that
the shapes that would keep them busy are refused before: 256 KiB of 0xff took 3 s, being read as one number of 224 KiB,
and 50 MB of empty topics 39 s and 1.3 GB.

Source: Kafka protocol guide (https://kafka.apache.org/protocol).
"""

import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["MalformedRequest", "RequestHeader", "decode_request", "encode_response", "read_request_header"]

_HEADER = struct.Struct(">hhih")  # api key, version, correlation id, length of the client id
_LENGTH = struct.Struct(">i")
_PRODUCE_KEY = 0
_MAX_PRODUCE_PARTITIONS = 20_000
_ENDLESS_NUMBER = re.compile(rb"[\x80-\xff]{16384}")  # no text or binary field of an honest request is like that

Fields = Mapping[str, Any]


class MalformedRequest(Exception):
    """The bytes are no request; the connection cannot go on."""


class RequestHeader(NamedTuple):
    """What stands before every request; the body starts at `size`, before the tags of flexible versions."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    size: int


def read_request_header(frame: bytes) -> RequestHeader:
    """Read a request's header up to the client id; raises `MalformedRequest`."""
    try:
        api_key, version, correlation_id, length = _HEADER.unpack_from(frame)
        end = _HEADER.size + max(length, 0)
        if end > len(frame):
            raise MalformedRequest("the client id ends beyond the request")
        client_id = frame[_HEADER.size : end].decode()
    except (struct.error, UnicodeDecodeError) as cause:
        raise MalformedRequest(f"no request header: {cause}") from cause
    return RequestHeader(api_key, version, correlation_id, client_id, end)


def decode_request(request_class: Any, header: RequestHeader, frame: bytes) -> Any:
    """Decode a request's body with one of kafka-python's classes; raises `MalformedRequest`."""
    body = memoryview(frame)[header.size :]
    try:
        if header.api_key == _PRODUCE_KEY:
            _check_produce(body)
        elif request_class.flexible_version_q(header.version):
            _check_numbers(body)
            body = body[_size_of_tags(body) :]
        return request_class.decode(body, version=header.version)
    except Exception as cause:  # whatever decoding garbage raises
        raise MalformedRequest(f"{request_class.__name__} version {header.version}: {cause!r}") from cause


def _check_produce(body: memoryview) -> None:
    """Walk over the fields of a Produce request up to version 8; raises where lengths or counts cannot be right."""
    position = _skip_text(body, 0, may_be_null=True) + 6  # transactional id, acks, time-out
    (topics,) = _LENGTH.unpack_from(body, position)
    position += _LENGTH.size
    seen = 0
    for _ in range(topics):
        position = _skip_text(body, position, may_be_null=False)
        (partitions,) = _LENGTH.unpack_from(body, position)
        position += _LENGTH.size
        seen += 1 + max(0, partitions)
        if seen > _MAX_PRODUCE_PARTITIONS:
            raise MalformedRequest(f"more than {_MAX_PRODUCE_PARTITIONS} topic-partitions in one request")
        for _ in range(partitions):
            (length,) = _LENGTH.unpack_from(body, position + 4)
            position += 4 + _LENGTH.size + max(0, length)
    if position > len(body):
        raise MalformedRequest("the records end beyond the request")


def _check_numbers(body: memoryview) -> None:
    if _ENDLESS_NUMBER.search(body):
        raise MalformedRequest("a number without end")


def _skip_text(body: memoryview, position: int, *, may_be_null: bool) -> int:
    (length,) = struct.unpack_from(">h", body, position)
    if length < 0 and not may_be_null:
        raise MalformedRequest("a topic without a name")
    return position + 2 + max(0, int(length))


def _size_of_tags(body: memoryview) -> int:
    """Bytes of the header's tagged fields, which no request of today uses."""
    count, position = _read_varint(body, 0)
    for _ in range(count):
        _, position = _read_varint(body, position)
        size, position = _read_varint(body, position)
        position += size
    return position


def _read_varint(body: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise MalformedRequest("a variable-length number has more than five bytes")


def encode_response(response_class: Any, version: int, correlation_id: int, fields: Fields) -> bytes:
    """A framed response: `fields` by the schema's names in snake case, lists of mappings for arrays of structures."""
    response = _container(response_class, fields)
    response.API_VERSION = version
    response.with_header(correlation_id=correlation_id)
    encoded: bytes = response.encode(header=True, framed=True)
    return encoded


def _container(container_class: Any, fields: Fields) -> Any:
    schema = container_class._struct.fields
    values = {}
    for name, value in fields.items():
        field = schema[name]
        if value is not None and field.is_struct_array():
            value = [_container(field.data_class, item) for item in value]
        values[name] = value
    return container_class(**values)
