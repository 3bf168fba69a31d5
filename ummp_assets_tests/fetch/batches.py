"""Committed `requests` stages to fetch from, and the rows that came of them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ummp_assets.records import REQUEST_SCHEMA
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_table

__all__ = ["BATCH", "commit_requests", "outcomes_of", "request_row", "samples_of", "table_of"]

TOPIC = "ummp.requests.normal"
BATCH = f"{TOPIC}~00000001"


def request_row(offset: int, uri: str, modality: str = "auto", **fields: Any) -> dict[str, Any]:
    """Return one row of the stage `requests`."""
    row = {
        "sample_id": f"{TOPIC}~0~{offset}",
        "dataset": "pages",
        "topic": TOPIC,
        "partition": 0,
        "offset": offset,
        "timestamp_ms": 1_700_000_000_000,
        "uri": uri,
        "modality": modality,
        "value": b"{}",
    }
    return {**dict.fromkeys(REQUEST_SCHEMA.names), **row, **fields}


def commit_requests(store: ObjectStore, rows: Sequence[str | dict[str, Any]], batch: str = BATCH) -> Manifest:
    """Commit a batch of requests, given as rows or just as URIs."""
    full = [request_row(offset, row) if isinstance(row, str) else row for offset, row in enumerate(rows)]
    with StageWriter(store, "requests", batch, {"samples": REQUEST_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(full, schema=REQUEST_SCHEMA))
        return writer.commit(code_version="1")


def table_of(store: ObjectStore, manifest: Manifest, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table, in order."""
    return [row for rows in read_table(store, manifest, table) for row in rows.to_pylist()]


def samples_of(store: ObjectStore, manifest: Manifest) -> list[dict[str, Any]]:
    return table_of(store, manifest, "samples")


def outcomes_of(store: ObjectStore, manifest: Manifest) -> list[tuple[str, str]]:
    """Return offset and reason code of each rejection, in order."""
    return [(row["sample_id"].split("~", 2)[2], row["reason"]) for row in table_of(store, manifest, "outcomes")]
