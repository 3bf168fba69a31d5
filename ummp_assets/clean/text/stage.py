"""The stage `clean_text`: raw documents of one batch to clean, distinct ones."""

from functools import partial

import pyarrow as pa

from ummp_assets.clean.runner import CleanedChunk, CleanStage, run_clean_stage
from ummp_assets.clean.text.document import CleanDocument, Verdict, clean_document
from ummp_assets.reasons import Reason
from ummp_assets.records import TEXT_SCHEMA, Modality, Rejection
from ummp_assets.settings import Settings, TextSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes
from ummp_assets.storage.stages import Manifest

__all__ = ["CODE_VERSION", "STAGE", "clean_text"]

STAGE = "clean_text"
CODE_VERSION = "1"
RULES = {"decode": "1", "main_text": "1", "normalise": "1", "language": "1"}

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
        if raw["byte_count"] > settings.max_bytes:
            detail = f"{raw['byte_count']} bytes are more than {settings.max_bytes}"
            outcome: CleanDocument | Verdict = Verdict(Reason.TEXT_TOO_LARGE, detail, raw["byte_count"])
        else:
            outcome = clean_document(raw_bytes(store, raw), raw["media_type"], settings)
        identity = {name: raw[name] for name in ("sample_id", "dataset", "uri")}
        if isinstance(outcome, Verdict):
            rejections.append(
                Rejection(
                    **identity,
                    modality=Modality.TEXT.value,
                    reason=outcome.reason,
                    detail=outcome.detail,
                    measured=outcome.measured,
                )
            )
            continue
        rows.append(
            identity
            | {name: raw[name] for name in ("sha256", "label", "attributes")}
            | {
                "content_sha256": outcome.content_sha256,
                "text": outcome.text,
                "language": outcome.language,
                "language_score": outcome.language_score,
                "encoding": outcome.encoding,
                "characters": len(outcome.text),
            }
        )
    return CleanedChunk(pa.RecordBatch.from_pylist(rows, schema=TEXT_SCHEMA), rejections)
