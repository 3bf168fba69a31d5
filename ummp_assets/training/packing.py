"""Arrays as bytes, and bytes as messages: how a model's parameters travel.

Arrays are serialised as safetensors (https://huggingface.co/docs/safetensors), which unlike pickle runs no code, then
compressed by the codec that the header names. A message is its header as one line of JSON, a line feed, and the piece
of bytes. The checksum, `sha256:` and hex, is of the safetensors bytes: all messages of one publication share it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.codec import Undecodable, decode
from ummp_assets.messages.schemas import ParametersHeader
from ummp_assets.reasons import Reason

__all__ = ["Arrays", "checksum", "join_message", "pack", "split", "split_message", "unpack"]

Arrays = dict[str, npt.NDArray[Any]]

_MAX_HEADER_BYTES = 65_536
# Random float32 weights, 100 MB: level 1 leaves 92.4 % at 690 MB/s, level 3 leaves 92.5 % at 220 MB/s.
_ZSTD_LEVEL = 1


def pack(arrays: Mapping[str, npt.ArrayLike], codec: str) -> tuple[bytes, str]:
    """Return the compressed bytes of named arrays, and their checksum.

    Parameters
    ----------
    arrays:
        Arrays of any shape; numbers of safetensors' types.
    codec:
        `zstd` or `none`.

    Raises
    ------
    InvalidInput
        There is no array, or one has a type that safetensors does not know.
    """
    if not arrays:
        raise InvalidInput("there are no arrays to publish")
    # In rows and dense: safetensors takes the memory as it lies, and would save a transposed array wrongly.
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        data = save(dense)
    except (SafetensorError, TypeError) as error:
        raise InvalidInput(f"the arrays cannot be serialised as safetensors: {error}") from error
    packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data) if codec == "zstd" else data
    return packed, checksum(data)


def unpack(packed: bytes, codec: str, expected_checksum: str, max_bytes: int) -> Arrays:
    """Return the arrays in compressed bytes; they are read-only.

    Raises
    ------
    Undecodable
        The codec is unknown, the bytes are damaged or have another checksum, or unpack to more than `max_bytes`.
    """
    data = _decompress(packed, codec, max_bytes)
    if checksum(data) != expected_checksum:
        raise _corrupt(f"the checksum is {checksum(data)} instead of {expected_checksum}")
    try:
        return load(data)
    except KeyError as error:
        raise _corrupt(f"NumPy has no arrays of type {error}") from None
    except (SafetensorError, ValueError) as error:
        raise _corrupt(f"no safetensors: {error}") from None


def checksum(data: bytes) -> str:
    """Return the checksum of serialised arrays as headers name it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def split(packed: bytes, header: Mapping[str, Any], chunk_bytes: int) -> Iterator[bytes]:
    """Yield the messages of one publication, in order.

    Parameters
    ----------
    header:
        Fields of `ParametersHeader` except `chunk` and `chunks`.

    Raises
    ------
    InvalidInput
        A field is missing or impossible.
    """
    chunks = max(1, -(-len(packed) // chunk_bytes))
    for chunk in range(chunks):
        piece = packed[chunk * chunk_bytes : (chunk + 1) * chunk_bytes]
        try:
            fields = ParametersHeader.model_validate({**header, "chunk": chunk, "chunks": chunks})
        except ValueError as error:
            raise InvalidInput(f"these parameters cannot be published: {error}") from None
        yield join_message(fields, piece)


def join_message(header: ParametersHeader, piece: bytes) -> bytes:
    """Return the value of one message."""
    line = header.model_dump_json(by_alias=True, exclude_none=True).encode()
    if len(line) > _MAX_HEADER_BYTES:
        raise InvalidInput(f"the header of the parameters has {len(line):,} bytes, at most {_MAX_HEADER_BYTES:,} fit")
    return line + b"\n" + piece


def split_message(value: bytes | None) -> tuple[ParametersHeader, bytes]:
    """Return header and bytes of one message; raises `Undecodable`."""
    if value is None:
        raise Undecodable(Reason.NULL_VALUE, "the message has no value")
    end = value.find(b"\n", 0, _MAX_HEADER_BYTES + 1)
    if end < 0:
        raise Undecodable(Reason.NOT_JSON, f"no line of JSON within {_MAX_HEADER_BYTES:,} bytes")
    header = decode(ParametersHeader, value[:end], _MAX_HEADER_BYTES)
    if header.chunk >= header.chunks:
        raise Undecodable(Reason.INVALID_FIELD, f"chunk {header.chunk} of {header.chunks}, counted from 0")
    return header, value[end + 1 :]


def _decompress(packed: bytes, codec: str, max_bytes: int) -> bytes:
    if codec == "none":
        unpacked_bytes = len(packed)
    elif codec == "zstd":
        try:
            unpacked_bytes = zstandard.get_frame_parameters(packed).content_size
        except zstandard.ZstdError as error:
            raise _corrupt(f"no zstd: {error}") from None
    else:
        raise _corrupt(f"the codec {codec!r} is unknown")
    # A frame that does not state its size has the greatest number there.
    if unpacked_bytes > max_bytes:
        raise _corrupt(
            f"they state {unpacked_bytes:,} bytes, the limit (training.max_parameters_bytes) is {max_bytes:,}"
        )
    if codec == "none":
        return packed
    try:
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise _corrupt(f"no zstd: {error}") from None


def _corrupt(detail: str) -> Undecodable:
    return Undecodable(Reason.CORRUPT_PARAMETERS, detail)
