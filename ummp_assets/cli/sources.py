"""Where `ummp submit` takes its requests from: arguments, text, CSV or Parquet, as streams."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ummp_assets.errors import InvalidInput

__all__ = ["FORMATS", "RequestSource", "open_source", "parse_json_or_text"]

FORMATS = ("text", "csv", "parquet")

_FIELDS = {"uri", "dataset", "modality", "id", "sha256", "label", "attributes", "deadline"}
_PARQUET_ROWS = 10_000


@dataclass(frozen=True)
class RequestSource:
    """Requests to be read once.

    Parameters
    ----------
    total:
        How many there are, where that is known beforehand.
    has_dataset:
        Whether the requests can name their dataset themselves.
    """

    requests: Iterator[Mapping[str, Any]]
    total: int | None
    has_dataset: bool


def open_source(uris: tuple[str, ...], path: str | None, format_name: str | None) -> RequestSource:
    """Return the requests of the arguments, or of a file; `-` is standard input.

    The format is that of the option, else that of the file's ending, else text: a URI a line, where empty lines and
    lines that begin with # are skipped.

    Raises
    ------
    InvalidInput
        The file cannot be read, or has no column `uri`.
    """
    if path is None:
        return RequestSource(({"uri": uri} for uri in uris), len(uris), has_dataset=False)
    chosen = format_name or Path(path).suffix.lower().removeprefix(".")
    try:
        if chosen == "parquet":
            return _open_parquet(path)
        file = sys.stdin if path == "-" else Path(path).open(encoding="utf-8-sig", newline="")  # noqa: SIM115
        return _open_csv(file, path) if chosen == "csv" else _open_text(file, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error


def parse_json_or_text(value: str) -> Any:
    """Return the JSON value that a text is, or the text itself."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _open_text(file: IO[str], path: str) -> RequestSource:
    lines = (line.strip() for line in _decoded(file, path))
    return RequestSource(
        ({"uri": line} for line in lines if line and not line.startswith("#")), _count_lines(path), has_dataset=False
    )


def _open_csv(file: IO[str], path: str) -> RequestSource:
    reader = csv.DictReader(_decoded(file, path))
    columns = reader.fieldnames or []
    _require_uri(columns, path)
    total = _count_lines(path)
    return RequestSource(map(_request, reader), total and total - 1, "dataset" in columns)


def _open_parquet(path: str) -> RequestSource:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(sys.stdin.buffer.read()) if path == "-" else path
        parquet = pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path} is no Parquet file: {error}") from error
    columns = parquet.schema_arrow.names
    _require_uri(columns, path)
    rows = (row for rows in parquet.iter_batches(_PARQUET_ROWS) for row in rows.to_pylist())
    return RequestSource(map(_request, rows), parquet.metadata.num_rows, "dataset" in columns)


def _request(row: Mapping[str | Any, Any]) -> dict[str, Any]:
    """Return a row's fields; columns that no request has become attributes, so that nothing is lost."""
    given = {name: value for name, value in row.items() if isinstance(name, str) and value not in (None, "")}
    fields = {name: value for name, value in given.items() if name in _FIELDS}
    for name in ("label", "attributes"):
        if isinstance(fields.get(name), str):
            fields[name] = parse_json_or_text(fields[name])
    others = {name: value for name, value in given.items() if name not in _FIELDS}
    given_attributes = fields.get("attributes") or {}
    # What is no mapping is left as it is: the request is then refused with its place and the reason.
    if others and isinstance(given_attributes, Mapping):
        fields["attributes"] = {**others, **given_attributes}
    return fields


def _decoded(file: IO[str], path: str) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no text in UTF-8: {error}") from error
    finally:
        if path != "-":
            file.close()


def _count_lines(path: str) -> int | None:
    if path == "-":
        return None
    with Path(path).open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _require_uri(columns: list[str] | Any, path: str) -> None:
    if "uri" not in columns:
        raise InvalidInput(f"{path} has no column `uri`; its columns are: {', '.join(columns) or 'none'}")
