"""Record batches, Kafka's unit of storage and transfer: headers, checks, control markers, records.

The broker hardly ever looks at a record: producing checks the batch's header and checksum, fetching sends the stored
bytes. Only compaction, look-up by time and the check for keys in compacted topics decode records.

Source: Kafka documentation, "Message Format", record batch with magic 2
(https://kafka.apache.org/documentation/#messageformat).
"""

import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from kafka import codec
from kafka.record.util import calc_crc32c, decode_varint, encode_varint

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError

__all__ = [
    "HEADER_BYTES",
    "BatchHeader",
    "Record",
    "control_marker",
    "is_commit_marker",
    "iterate_records",
    "now_ms",
    "read_header",
    "rebuild_batch",
    "stamp_append_time",
    "stamp_position",
    "validate_produced_batch",
    "verify_checksum",
]

_HEADER = struct.Struct(">qiibIhiqqqhii")
_POSITION = struct.Struct(">qii")
HEADER_BYTES = _HEADER.size
_LENGTH_OVERHEAD = 12  # base offset and length stand before the bytes that the length counts
_CRC_POSITION = 17
_CHECKED_FROM = 21  # the checksum covers everything from the attributes to the end
_LEADER_EPOCH = 0
_MAX_SEQUENCE = 2**31 - 1

_CODEC_BITS = 0x07
_LOG_APPEND_TIME_BIT = 0x08
_TRANSACTIONAL_BIT = 0x10
_CONTROL_BIT = 0x20


class BatchHeader(NamedTuple):
    """The 61 bytes before the records of a batch, in wire order; timestamps in milliseconds since 1970."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch, header included."""
        return self.length + _LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """The last record's sequence number; sequence numbers wrap around after 2**31 - 1."""
        return (self.base_sequence + self.last_offset_delta) & _MAX_SEQUENCE

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & _CONTROL_BIT)

    @property
    def codec(self) -> int:
        return self.attributes & _CODEC_BITS


class Record(NamedTuple):
    """One record inside a batch; `raw` is the record as stored, its length prefix included."""

    offset: int
    timestamp: int
    key: bytes | None
    is_tombstone: bool
    raw: bytes


def now_ms() -> int:
    return int(time.time() * 1000)


def read_header(buffer: bytes | memoryview, position: int = 0) -> BatchHeader:
    """Read the header that starts at `position`; raises `struct.error` where fewer than 61 bytes are left."""
    return BatchHeader._make(_HEADER.unpack_from(buffer, position))


def verify_checksum(batch: bytes | memoryview, header: BatchHeader) -> bool:
    """Whether `batch`, which holds exactly one batch, is complete, of magic 2 and unchanged since it was written."""
    return header.magic == 2 and len(batch) == header.size and _crc(batch) == header.crc


def _crc(batch: bytes | bytearray | memoryview) -> int:
    checksum: int = calc_crc32c(memoryview(batch)[_CHECKED_FROM:])
    return checksum


def validate_produced_batch(batch: memoryview, max_bytes: int) -> BatchHeader:
    """Check what a producer sent for one topic-partition, without decoding the records.

    Parameters
    ----------
    batch:
        The bytes of the request's `records` field; since Produce version 3 they must be exactly one batch of magic 2.
    max_bytes:
        The topic's `max.message.bytes`: the bound of one whole batch.

    Raises
    ------
    RequestError
        INVALID_RECORD, CORRUPT_MESSAGE or MESSAGE_TOO_LARGE.
    """
    if len(batch) < HEADER_BYTES:
        raise RequestError(ErrorCode.INVALID_RECORD, "a produce request must hold one record batch")
    header = read_header(batch)
    if header.magic != 2:
        raise RequestError(ErrorCode.INVALID_RECORD, f"record batches must have magic 2, not {header.magic}")
    if header.size != len(batch):
        raise RequestError(ErrorCode.INVALID_RECORD, "a produce request must hold exactly one record batch")
    if not verify_checksum(batch, header):
        raise RequestError(ErrorCode.CORRUPT_MESSAGE, "the batch's checksum does not match its content")
    if header.size > max_bytes:
        raise RequestError(
            ErrorCode.MESSAGE_TOO_LARGE, f"the batch has {header.size} bytes, max.message.bytes is {max_bytes}"
        )
    if header.is_control:
        raise RequestError(ErrorCode.INVALID_RECORD, "only the broker writes control batches")
    if header.record_count < 1 or header.record_count != header.last_offset_delta + 1:
        raise RequestError(ErrorCode.INVALID_RECORD, "the batch's record count and last offset disagree")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise RequestError(ErrorCode.INVALID_RECORD, "a batch with a producer id needs a sequence number")
    return header


def stamp_position(header: BatchHeader, base_offset: int) -> bytes:
    """The first 16 bytes of a batch as stored: where the log puts it. The checksum does not cover them."""
    return _POSITION.pack(base_offset, header.length, _LEADER_EPOCH)


def stamp_append_time(batch: memoryview, timestamp_ms: int) -> bytearray:
    """A copy of `batch` whose records all bear the broker's time (`message.timestamp.type=LogAppendTime`)."""
    copy = bytearray(batch)
    header = read_header(batch)
    return _write_header(copy, header, attributes=header.attributes | _LOG_APPEND_TIME_BIT, max_timestamp=timestamp_ms)


def _write_header(batch: bytearray, header: BatchHeader, **changes: int) -> bytearray:
    changed = header._replace(length=len(batch) - _LENGTH_OVERHEAD, **changes)
    _HEADER.pack_into(batch, 0, *changed)
    struct.pack_into(">I", batch, _CRC_POSITION, _crc(batch))
    return batch


def control_marker(producer_id: int, producer_epoch: int, *, commit: bool) -> bytes:
    """The control batch that ends a producer's transaction in one topic-partition."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    value = struct.pack(">hi", 0, 0)  # version, coordinator epoch
    body = bytearray(b"\0\0\0")  # attributes, timestamp delta, offset delta
    for field in (key, value):
        encode_varint(len(field), body.append)
        body += field
    body += b"\0"  # no headers
    batch = bytearray(HEADER_BYTES)
    encode_varint(len(body), batch.append)
    batch += body
    now = now_ms()
    attributes = _CONTROL_BIT | _TRANSACTIONAL_BIT
    header = BatchHeader(0, 0, _LEADER_EPOCH, 2, 0, attributes, 0, now, now, producer_id, producer_epoch, -1, 1)
    return bytes(_write_header(batch, header))


def is_commit_marker(batch: bytes | memoryview) -> bool:
    """Whether a control batch commits (or else aborts) its producer's transaction."""
    marker_type: int = struct.unpack_from(">h", batch, HEADER_BYTES + 1 + 3 + 1 + 2)[0]
    return marker_type == 1


def iterate_records(batch: bytes | memoryview) -> Iterator[Record]:
    """Decode the records of one batch.

    Raises
    ------
    RequestError
        INVALID_RECORD where the content is no records, or compressed with an unknown codec.
    """
    header = read_header(batch)
    try:
        content = _decompress(header.codec, bytes(batch[HEADER_BYTES:]))
        position = 0
        for _ in range(header.record_count):
            record, position = _read_record(content, position, header)
            yield record
    except (ValueError, IndexError) as cause:
        raise RequestError(ErrorCode.INVALID_RECORD, f"the batch's records cannot be decoded: {cause}") from cause


def _read_record(content: bytes, start: int, header: BatchHeader) -> tuple[Record, int]:
    length, body = decode_varint(content, start)
    end = body + length
    if length < 0 or end > len(content):
        raise ValueError("a record ends beyond its batch")
    timestamp_delta, position = decode_varint(content, body + 1)
    offset_delta, position = decode_varint(content, position)
    key_length, position = decode_varint(content, position)
    key = None
    if key_length >= 0:
        key = content[position : position + key_length]
        position += key_length
    value_length, _ = decode_varint(content, position)
    is_append_time = bool(header.attributes & _LOG_APPEND_TIME_BIT)
    timestamp = header.max_timestamp if is_append_time else header.base_timestamp + timestamp_delta
    record = Record(header.base_offset + offset_delta, timestamp, key, value_length < 0, content[start:end])
    return record, end


def rebuild_batch(batch: bytes | memoryview, kept: list[Record]) -> bytes:
    """The same batch with only the records `kept`: offsets, timestamps, producer and codec stay what they were."""
    header = read_header(batch)
    rebuilt = bytearray(HEADER_BYTES)
    rebuilt += _compress(header.codec, b"".join(record.raw for record in kept))
    return bytes(_write_header(rebuilt, header, record_count=len(kept)))


def _decompress(number: int, content: bytes) -> bytes:
    decode = (bytes, codec.gzip_decode, codec.snappy_decode, codec.lz4_decode, codec.zstd_decode)[number]
    try:
        decompressed: bytes = decode(content)
    except Exception as cause:  # each codec's library raises errors of its own
        raise ValueError(f"codec {number}: {cause}") from cause
    return decompressed


def _compress(number: int, content: bytes) -> bytes:
    encode = (bytes, codec.gzip_encode, codec.snappy_encode, codec.lz4_encode, codec.zstd_encode)[number]
    compressed: bytes = encode(content)
    return compressed
