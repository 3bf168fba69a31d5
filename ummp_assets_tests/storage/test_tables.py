"""Tables as Parquet files: what is compressed, and the hashes that are computed while they are written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ummp_assets.errors import StoreUnavailable
from ummp_assets.records import REQUEST_SCHEMA
from ummp_assets.storage.stages import hash_file
from ummp_assets.storage.tables import TableFile, TableLimits, TableWriter, hash_footer

SCHEMA = pa.schema([pa.field("content", pa.large_binary())])
NOISE = [np.random.default_rng(number).bytes(20_000) for number in range(10)]
PAGES = [f"<p>paragraph {number} of a page</p>".encode() * 600 for number in range(10)]


def _write(folder: Path, *groups: list[bytes]) -> list[TableFile]:
    writer = TableWriter(folder, "samples", SCHEMA, TableLimits(row_group_rows=10))
    for group in groups:
        writer.write(pa.RecordBatch.from_arrays([pa.array(group, pa.large_binary())], schema=SCHEMA))
    return writer.finish()


def _codecs(file: TableFile) -> list[str]:
    metadata = pq.read_metadata(file.path)
    return [metadata.row_group(group).column(0).compression for group in range(metadata.num_row_groups)]


@pytest.mark.parametrize(
    ("groups", "codecs"),
    [
        ([NOISE, NOISE], [["UNCOMPRESSED", "UNCOMPRESSED"]]),
        ([PAGES, NOISE], [["ZSTD", "ZSTD"]]),
        ([NOISE, PAGES, PAGES], [["UNCOMPRESSED"], ["ZSTD", "ZSTD"]]),
    ],
)
def test_contents_that_shrink_are_compressed(
    groups: list[list[bytes]], codecs: list[list[str]], tmp_path: Path
) -> None:
    files = _write(tmp_path, *groups)
    assert [_codecs(file) for file in files] == codecs
    read = [value for file in files for value in pq.read_table(file.path).column("content").to_pylist()]
    assert read == [content for group in groups for content in group]


def test_file_knows_its_rows_size_and_hashes_after_several_row_groups(tmp_path: Path) -> None:
    [file] = _write(tmp_path, NOISE, NOISE, NOISE[:3])
    with file.path.open("rb") as opened:
        footer = hash_footer(opened)
    assert (file.rows, file.byte_count) == (23, file.path.stat().st_size)
    assert (file.sha256, file.footer_sha256) == (hash_file(file.path), footer)


def test_lists_of_structs_are_compressed(tmp_path: Path) -> None:
    row = {"headers": [{"name": "traceparent", "value": b"00-" * 500}], "value": b"{}", "topic": "t", "partition": 0}
    row |= {"sample_id": "t~0~0", "dataset": "d", "offset": 0, "timestamp_ms": 0, "uri": "http://x", "modality": "auto"}
    writer = TableWriter(tmp_path, "samples", REQUEST_SCHEMA, TableLimits())
    writer.write(pa.RecordBatch.from_pylist([row], schema=REQUEST_SCHEMA))
    [file] = writer.finish()
    group = pq.read_metadata(file.path).row_group(0)
    codecs = {group.column(place).path_in_schema: group.column(place).compression for place in range(group.num_columns)}
    assert set(codecs.values()) == {"ZSTD"}
    assert "headers.list.element.value" in codecs


def test_a_disk_that_refuses_a_group_written_beside_is_told_of_before_the_files_are_used(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "missing", "samples", SCHEMA, TableLimits(row_group_rows=10))
    group = pa.RecordBatch.from_arrays([pa.array(NOISE, pa.large_binary())], schema=SCHEMA)
    writer.write(group)
    with pytest.raises(StoreUnavailable, match="missing"):
        writer.finish()
    writer.abandon()
