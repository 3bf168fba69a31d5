"""Large values come straight from a shard's pages: the same values as Arrow's, verified, from a file or a stream."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ummp_assets.datasets.gathering import Piece, join_pieces, window_of
from ummp_assets.datasets.large_values import LARGE_BYTES, Values, find_chunks, read_values
from ummp_assets.datasets.row_groups import GroupRows
from ummp_assets.datasets.shard_files import ShardKey, ShardWriter
from ummp_assets.storage.objects import ObjectStore

_LENGTHS = (5_000, 4_096, 9_001, 0, 70_000)


def _contents(lengths: tuple[int, ...] = _LENGTHS) -> list[bytes]:
    random = np.random.default_rng(7)
    return [random.integers(0, 256, length, np.uint8).tobytes() for length in lengths]


def _put_shard(store: ObjectStore, contents: list[bytes | None], *, nullable: bool = False) -> Path:
    """Write a shard of one packed column, return its file."""
    field = pa.field("image", pa.binary(), nullable=nullable, metadata={b"ummp.numbers": b"uint8"})
    rows = pa.RecordBatch.from_arrays([pa.array(contents, pa.binary())], schema=pa.schema([field]))
    writer = ShardWriter(store, store.scratch_directory(), "shards", 2**20)
    writer.write_packed(ShardKey("birds", "image", "train"), rows)
    ((entry,),) = writer.finish().values()
    return Path(store.uri(entry.path))


def _values(values: Values) -> list[bytes]:
    return [values.data[begin:end].tobytes() for begin, end in zip(values.begin, values.end, strict=True)]


@pytest.mark.parametrize("lengths", [_LENGTHS, (LARGE_BYTES,) * 3])
def test_values_are_those_that_were_written_from_a_file_and_from_a_stream(
    store: ObjectStore, lengths: tuple[int, ...]
) -> None:
    path = _put_shard(store, list(_contents(lengths)))
    chunk = find_chunks(pq.read_metadata(path), 0, ["image"])["image"]
    with path.open("rb") as file:
        mapped = read_values(file, chunk)
    streamed = read_values(io.BytesIO(path.read_bytes()), chunk)
    assert mapped is not None
    assert streamed is not None
    assert _values(mapped) == _values(streamed) == _contents(lengths)


@pytest.mark.parametrize("in_file", [True, False])
def test_a_bit_that_flipped_is_found_by_the_checksum(store: ObjectStore, in_file: bool) -> None:
    path = _put_shard(store, list(_contents()))
    chunk = find_chunks(pq.read_metadata(path), 0, ["image"])["image"]
    data = bytearray(path.read_bytes())
    data[chunk.offset + chunk.byte_count // 2] ^= 1
    path.write_bytes(data)
    with path.open("rb") as file, pytest.raises(ValueError, match="another checksum than was written"):
        read_values(file if in_file else io.BytesIO(data), chunk)


@pytest.mark.parametrize("in_file", [True, False])
def test_a_file_that_was_cut_off_is_an_error_not_a_crash(store: ObjectStore, in_file: bool) -> None:
    path = _put_shard(store, list(_contents()))
    chunk = find_chunks(pq.read_metadata(path), 0, ["image"])["image"]
    path.write_bytes(path.read_bytes()[:10_000])
    with path.open("rb") as file, pytest.raises(ValueError, match=r"ends before|greater than file size"):
        read_values(file if in_file else io.BytesIO(path.read_bytes()), chunk)


def test_small_and_missing_values_are_left_to_arrow(store: ObjectStore) -> None:
    small = _put_shard(store, [b"x" * 100] * 10)
    assert find_chunks(pq.read_metadata(small), 0, ["image"]) == {}
    missing = _put_shard(store, [*_contents(), None], nullable=True)
    assert find_chunks(pq.read_metadata(missing), 0, ["image"]) == {}


@pytest.mark.parametrize(
    "options",
    [{"data_page_size": 20_000, "write_batch_size": 4, "write_page_checksum": True}, {"data_page_size": 2**30}],
)
def test_a_chunk_of_several_pages_or_without_checksum_is_left_to_arrow(tmp_path: Path, options: dict[str, int]) -> None:
    rows = pa.table([pa.array(_contents((5_000,) * 40))], schema=pa.schema([pa.field("image", pa.binary(), False)]))
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(rows, tmp_path / "pages", **plain, **options)
    chunk = find_chunks(pq.read_metadata(tmp_path / "pages"), 0, ["image"])["image"]
    with (tmp_path / "pages").open("rb") as file:
        assert read_values(file, chunk) is None


def test_a_column_that_only_some_row_groups_have_is_gathered_all_the_same() -> None:
    schema = pa.schema([pa.field("image", pa.binary())])
    data = np.frombuffer(b"aabbb", np.uint8)
    new = GroupRows(2, {}, {"image": Values(data, np.array([0, 2]), np.array([2, 5]))}, schema)
    old = GroupRows(1, {"image": pa.nulls(1, pa.binary())}, {}, schema)
    window = window_of([new, old], np.array([2, 1, 0]))
    assert join_pieces([Piece(window, 0, 3)]).column("image").to_pylist() == [None, b"bbb", b"aa"]
    apart = [Piece(window_of([old], None), 0, 1), Piece(window_of([new], None, skip=1), 0, 1)]
    assert join_pieces(apart).column("image").to_pylist() == [None, b"bbb"]


@pytest.mark.parametrize("byte", [0x00, 0x15, 0x80, 0xFF])
def test_a_damaged_page_header_never_gives_wrong_values(store: ObjectStore, byte: int) -> None:
    path = _put_shard(store, list(_contents()))
    chunk = find_chunks(pq.read_metadata(path), 0, ["image"])["image"]
    whole = path.read_bytes()
    for damaged in range(24):
        data = bytearray(whole)
        data[chunk.offset : chunk.offset + damaged] = bytes([byte]) * damaged
        try:
            values = read_values(io.BytesIO(data), chunk)
        except ValueError:
            continue
        assert values is None or _values(values) == _contents()
