"""The stage `clean_text`: raw documents of one batch to clean, distinct ones."""

from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.runner import CleanedChunk, CleanStage, run_clean_stage
from ummp_assets.clean.text.document import clean_document
from ummp_assets.reasons import Reason
from ummp_assets.records import TEXT_SCHEMA, Modality
from ummp_assets.settings import Settings, TextSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes
from ummp_assets.storage.stages import Manifest

__all__ = ["CODE_VERSION", "STAGE", "clean_text"]

STAGE = "clean_text"
CODE_VERSION = "1"
RULES = {
    "decode": "1",
    "main_text": "1",
    "normalise": "1",
    "language": "1",
    "gopher_repetition": "1",
    "gopher_quality": "1",
    "c4": "1",
    "fineweb": "1",
}
_CARRIED_COLUMNS = ("sample_id", "dataset", "uri", "sha256", "label", "attributes")

_STAGE = CleanStage(STAGE, Modality.TEXT, TEXT_SCHEMA, CODE_VERSION, RULES, max_chunk_bytes=8 * 2**20)


def clean_text(store: ObjectStore, index: Index, settings: Settings, batch: str) -> Manifest:
    """Clean the text samples of one batch and commit them.

    Raises
    ------
    ManifestMissing
        The stage `downloads` has not committed the batch.
    """
    return run_clean_stage(store, index, batch, _STAGE, partial(_clean_chunk, store, settings.clean.text))


def _clean_chunk(store: ObjectStore, settings: TextSettings, chunk: pa.RecordBatch) -> CleanedChunk:
    rows, rejections = [], []
    for raw in chunk.to_pylist():
        outcome = _clean_row(store, settings, raw)
        if isinstance(outcome, Refusal):
            rejections.append(outcome.of(raw))
        else:
            rows.append({name: raw[name] for name in _CARRIED_COLUMNS} | outcome)
    return CleanedChunk(pa.RecordBatch.from_pylist(rows, schema=TEXT_SCHEMA), rejections)


def _clean_row(store: ObjectStore, settings: TextSettings, raw: dict[str, Any]) -> dict[str, Any] | Refusal:
    if raw["byte_count"] > settings.max_bytes:
        detail = f"{raw['byte_count']} bytes are more than {settings.max_bytes}"
        return Refusal(Reason.TEXT_TOO_LARGE, detail, raw["byte_count"])
    document = clean_document(raw_bytes(store, raw), raw["media_type"], settings)
    if isinstance(document, Refusal):
        return document
    return asdict(document) | {"characters": len(document.text)}
