"""Tables row by row: JSON Lines, CSV and Parquet."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Readable, UnpackStopped
from ummp_assets.fetch.unpack.streams import buffered
from ummp_assets.reasons import Reason

__all__ = ["csv_rows", "json_rows", "parquet_rows"]

Row = Mapping[str, Any] | BrokenMember

_DELIMITERS = ",;\t|"

_MAX_LINE_BYTES = 64 * 2**20
# A line of 60 MB that holds empty objects only took 1.6 GB of memory.
_MAX_CONTAINERS = 1_000_000
_PARQUET_ROWS = 256
_PARQUET_BATCH_BYTES = 256 * 2**20
# Dates beyond the year 9999, text that is no UTF-8, time zones that nobody knows.
_NO_PYTHON_VALUE = (ValueError, OverflowError, KeyError)


def json_rows(stream: Readable) -> Iterator[Row]:
    """Yield the objects of JSON Lines; a line that is none is a broken row, an empty line nothing."""
    reader = buffered(stream)
    number = 0
    while line := reader.readline(_MAX_LINE_BYTES):
        if not line.endswith(b"\n") and len(line) == _MAX_LINE_BYTES:
            raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"Row {number} is longer than {_MAX_LINE_BYTES} bytes")
        if not line.strip():
            continue
        try:
            row = _parse_line(line)
        except (ValueError, RecursionError) as error:
            yield BrokenMember(str(number), Reason.CORRUPT_MEMBER, f"The line cannot be read as JSON: {error}")
        else:
            if isinstance(row, dict):
                yield row
            else:
                yield BrokenMember(str(number), Reason.CORRUPT_MEMBER, "The line is no JSON object")
        number += 1


def _parse_line(line: bytes) -> Any:
    if line.count(b"{") + line.count(b"[") > _MAX_CONTAINERS:
        raise ValueError(f"it may hold more than {_MAX_CONTAINERS} objects and arrays")
    return json.loads(line)


def csv_rows(stream: Readable) -> Iterator[Row]:
    """Yield the rows of CSV in UTF-8 by the names in its first line (RFC 4180).

    Where the first line has no comma, the most frequent of semicolon, tab and bar in it separates the fields.
    """
    text = io.TextIOWrapper(buffered(stream), "utf-8-sig", newline="")
    # The module's own limit of 131,072 characters for a field is shorter than many a document.
    csv.field_size_limit(_MAX_LINE_BYTES)
    try:
        lines = _lines(text)
        first = next(lines, "")
        delimiter = max(_DELIMITERS, key=lambda mark: (mark == "," and mark in first, first.count(mark)))
        for row in csv.DictReader(chain([first], lines), restkey="", strict=True, delimiter=delimiter):
            row.pop("", None)
            yield {name: value for name, value in row.items() if value is not None}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"It is no CSV in UTF-8: {error}") from error


def parquet_rows(file: BinaryIO, limits: Limits) -> Iterator[Row]:
    """Yield the rows of a Parquet file; what its columns unpack to is checked before they are read."""
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                declared = parquet.metadata.row_group(group).total_byte_size
                limits.check_declared(declared)
                # One entry of a dictionary may be every row of the batch.
                batch_rows = max(1, min(_PARQUET_ROWS, _PARQUET_BATCH_BYTES // max(1, declared)))
                for rows in parquet.iter_batches(batch_size=batch_rows, row_groups=[group]):
                    yield from _rows_of(rows, number)
                    number += rows.num_rows
    except (pa.ArrowException, OSError, *_NO_PYTHON_VALUE) as error:
        raise UnpackStopped(Reason.CORRUPT_ARCHIVE, f"It is no Parquet file that can be read: {error}") from error


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_MAX_LINE_BYTES):
        if len(line) == _MAX_LINE_BYTES:
            raise csv.Error(f"a line is longer than {_MAX_LINE_BYTES} characters")
        yield line


def _rows_of(rows: pa.RecordBatch, first: int) -> Sequence[Row]:
    try:
        return cast(Sequence[Row], rows.to_pylist())
    except _NO_PYTHON_VALUE:
        return [_row_of(rows.slice(place, 1), first + place) for place in range(rows.num_rows)]


def _row_of(row: pa.RecordBatch, number: int) -> Row:
    try:
        [values] = row.to_pylist()
    except _NO_PYTHON_VALUE as error:
        return BrokenMember(str(number), Reason.CORRUPT_MEMBER, f"A value of the row cannot be read: {error}")
    return cast(Row, values)
