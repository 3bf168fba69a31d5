"""Commits a stage `downloads` for tests of the clean stages, as fetching would have left it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from ummp_assets.records import RAW_SCHEMA
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter

BATCH = "ummp.requests.normal~00000001"


def raw_row(offset: int, content: bytes, /, **fields: Any) -> dict[str, Any]:
    """Return a row of `RAW_SCHEMA` for a text sample with these bytes; `fields` replace columns."""
    row = {
        "sample_id": f"ummp.requests.normal~0~{offset}",
        "dataset": "docs",
        "uri": f"http://127.0.0.1/{offset}.txt",
        "modality": "text",
        "media_type": "text/plain",
        "sha256": hashlib.sha256(content).hexdigest(),
        "byte_count": len(content),
        "content": content,
        "fetched_at": "2026-01-01T00:00:00Z",
        "final_uri": f"http://127.0.0.1/{offset}.txt",
        "attempts": "[]",
    }
    return dict.fromkeys(RAW_SCHEMA.names) | row | fields


def put_downloads(store: ObjectStore, rows: Iterable[Mapping[str, Any]], batch: str = BATCH) -> Manifest:
    """Commit the rows as the stage `downloads` of a batch."""
    with StageWriter(store, "downloads", batch, {"samples": RAW_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(list(rows), schema=RAW_SCHEMA))
        return writer.commit(code_version="1")
