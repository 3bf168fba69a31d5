"""Arrays as bytes and messages."""

import json

import numpy as np
import pytest
import zstandard
from safetensors.numpy import save

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.codec import Undecodable
from ummp_assets.reasons import Reason
from ummp_assets.training.packing import checksum, pack, split, split_message, unpack

LIMIT = 10_000_000
MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)
HEADER = {
    "model": "m",
    "round": 1,
    "worker": "w",
    "role": "local",
    "samples": 5,
    "codec": "none",
    "checksum": "sha256:00",
}


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize(
    "array",
    [
        MATRIX,
        MATRIX.T,
        MATRIX[:, ::2],
        MATRIX[::-1],
        np.asfortranarray(MATRIX),
        MATRIX.astype(">f8"),
        MATRIX.astype(np.float16),
        np.array(3.5),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.array([-1, 2**62]),
        np.array([1 + 2j], dtype=np.complex64),
    ],
    ids=[
        "rows",
        "turned",
        "strided",
        "reversed",
        "columns",
        "big-endian",
        "half",
        "scalar",
        "none",
        "bool",
        "int",
        "complex",
    ],
)
def test_array_of_any_layout_comes_back_as_it_was(array: np.ndarray, codec: str) -> None:
    packed, digest = pack({"layer/weights": array, "other": MATRIX}, codec)

    arrays = unpack(packed, codec, digest, LIMIT)

    assert sorted(arrays) == ["layer/weights", "other"]
    np.testing.assert_array_equal(arrays["layer/weights"], array)
    assert arrays["layer/weights"].shape == array.shape
    assert arrays["layer/weights"].dtype == array.dtype.newbyteorder("=")


def test_same_arrays_give_the_same_bytes_in_any_order() -> None:
    assert pack({"a": MATRIX, "b": MATRIX.T}, "zstd") == pack({"b": MATRIX.T.copy(), "a": MATRIX}, "zstd")


def test_bytes_are_plain_safetensors_that_others_read() -> None:
    packed, digest = pack({"a": MATRIX}, "zstd")

    plain = zstandard.ZstdDecompressor().decompress(packed)
    assert plain == save({"a": MATRIX})
    assert digest == checksum(plain)


@pytest.mark.parametrize("arrays", [{}, {"a": np.array(["text"])}, {"a": np.array([None])}, {"a": np.array([1j])}])
def test_arrays_that_cannot_be_published_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidInput, match="arrays"):
        pack(arrays, "zstd")


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_damaged_bytes_are_corrupt(codec: str) -> None:
    packed, digest = pack({"a": MATRIX}, codec)

    for damaged in (b"", packed[:-1], packed + b"x", packed[:20] + bytes([packed[20] ^ 1]) + packed[21:], b"\xff" * 99):
        with pytest.raises(Undecodable) as caught:
            unpack(damaged, codec, digest, LIMIT)
        assert caught.value.reason is Reason.CORRUPT_PARAMETERS


def test_bytes_of_another_kind_are_corrupt_though_their_checksum_is_right() -> None:
    line = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    bfloat16 = len(line).to_bytes(8, "little") + line + bytes(4)
    for data, cause in ((b"pickle", "safetensors"), (bfloat16, "BF16")):
        with pytest.raises(Undecodable, match=cause):
            unpack(data, "none", checksum(data), LIMIT)


def test_bytes_that_would_unpack_to_too_much_are_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(LIMIT + 1))
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(LIMIT + 1))

    for packed in (bomb, endless):
        assert len(packed) < 1_000
        with pytest.raises(Undecodable, match="max_parameters_bytes"):
            unpack(packed, "zstd", "sha256:00", LIMIT)
    # A frame that states 15 GiB (RFC 8878, section 3.1.1.1) and holds nothing.
    liar = bytes.fromhex("28b52ffde0") + (15 * 2**30).to_bytes(8, "little")
    with pytest.raises(Undecodable, match="no zstd"):
        unpack(liar, "zstd", "sha256:00", 2**34)
    with pytest.raises(Undecodable, match="codec 'pickle' is unknown"):
        unpack(b"", "pickle", "sha256:00", LIMIT)


@pytest.mark.parametrize(("byte_count", "chunks"), [(0, 1), (1, 1), (10, 1), (11, 2), (30, 3)])
def test_messages_hold_header_and_pieces_in_order(byte_count: int, chunks: int) -> None:
    packed = bytes(range(byte_count)).replace(b"\x05", b"\n")

    messages = [split_message(value) for value in split(packed, HEADER, 10)]

    assert b"".join(piece for _, piece in messages) == packed
    assert [(header.chunk, header.chunks) for header, _ in messages] == [(n, chunks) for n in range(chunks)]
    assert all(header.worker == "w" and header.samples == 5 for header, _ in messages)


def test_header_is_one_line_of_json_with_its_schema() -> None:
    (value,) = split(b"\x00\n\xff", {**HEADER, "worker": "line\nfeed", "workers": 3}, 100)

    line, piece = value.split(b"\n", 1)
    assert json.loads(line) == {
        **HEADER, "worker": "line\nfeed", "schema": "ummp.parameters/1", "chunk": 0, "chunks": 1, "workers": 3,
    }  # fmt: skip
    assert piece == b"\x00\n\xff"


@pytest.mark.parametrize("change", [{"round": -1}, {"round": 2**60}, {"model": ""}, {"role": "all"}, {"worker": None}])
def test_header_that_is_impossible_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="cannot be published"):
        list(split(b"x", {**HEADER, **change}, 10))


def test_header_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput, match="65,536 fit"):
        list(split(b"x", {**HEADER, "model": "m" * 40_000, "worker": "w" * 40_000}, 10))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NULL_VALUE),
        (b"", Reason.NOT_JSON),
        (b"no line feed", Reason.NOT_JSON),
        (b"x" * 70_000 + b"\n", Reason.NOT_JSON),
        (b"{}\npiece", Reason.UNKNOWN_SCHEMA),
        (b'{"schema": "ummp.parameters/2"}\n', Reason.UNKNOWN_SCHEMA),
        (b'{"schema": "ummp.parameters/1"}\n', Reason.INVALID_FIELD),
        (
            json.dumps({**HEADER, "schema": "ummp.parameters/1", "chunk": 2, "chunks": 2}).encode() + b"\n",
            Reason.INVALID_FIELD,
        ),
    ],
)
def test_message_that_is_none_has_its_reason(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(Undecodable) as caught:
        split_message(value)
    assert caught.value.reason is reason
