"""The stage `clean_text`: raw documents of one batch to clean, distinct ones."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.clean.crash_guard import child_processes, crash_guard
from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.clean.rules.text import MAX_BYTES, TEXT_MEASUREMENTS
from ummp_assets.clean.runner import CleanedChunk, CleanStage, DropRows, run_clean_stage
from ummp_assets.clean.text.document import CleanDocument, clean_document
from ummp_assets.clean.text.language import load_language_model
from ummp_assets.clean.text.near_duplicates import SIGNATURE_FIELD, drop_near_duplicates
from ummp_assets.clean.text.signatures import sign_texts
from ummp_assets.parallel.child_process import MAX_CHILDREN
from ummp_assets.parallel.cores import available_cores
from ummp_assets.records import TEXT_SCHEMA, Modality
from ummp_assets.settings import Settings, TextSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.near_duplicates import SIGNATURE_VERSION, SignatureIndex
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes
from ummp_assets.storage.stages import Manifest, read_manifest, read_table

__all__ = ["CODE_VERSION", "STAGE", "clean_text"]

STAGE = "clean_text"
CODE_VERSION = "2"
RULES = {
    "decode": "2",
    "main_text": "3",
    "normalise": "3",
    "language": "1",
    "gopher_repetition": "4",
    "gopher_quality": "3",
    "c4": "1",
    "fineweb": "3",
    "near_duplicates": str(SIGNATURE_VERSION),
    "personal_data": "3",
}
_CARRIED_COLUMNS = ("sample_id", "dataset", "uri", "sha256", "label", "attributes")

# The first process takes about a second to start and load its models, as long as cleaning 5 MB on one core.
_MIN_BYTES_FOR_PROCESSES = 32 * 2**20


def clean_text(store: ObjectStore, index: Index, settings: Settings, batch: str) -> Manifest:
    """Clean the text samples of one batch and commit them as stage `clean_text`.

    Large batches are cleaned in a process for each core, up to eight, for most of the work holds the interpreter lock.

    Returns
    -------
    The manifest; its table `samples` has `TEXT_SCHEMA`.

    Raises
    ------
    ManifestMissing
        The stage `downloads` has not committed the batch.
    AccountingMismatch
        Rows in are not rows out plus rejections.
    """
    rules = settings.clean.text
    clean = partial(_clean_chunk, store, rules)
    run = partial(run_clean_stage, store, index, batch, _stage(rules), near_duplicates=_near_duplicates(index, rules))
    workers = min(available_cores(), MAX_CHILDREN)
    if workers == 1 or _text_bytes(store, batch, rules.max_bytes) < _MIN_BYTES_FOR_PROCESSES:
        with crash_guard(store, STAGE, batch, clean) as guarded:
            return run(guarded)
    with (
        ThreadPoolExecutor(workers, thread_name_prefix=STAGE) as threads,
        child_processes(clean, prepare=load_language_model) as isolated,
    ):
        return run(isolated, executor=threads, workers=workers)


def _stage(rules: TextSettings) -> CleanStage:
    return CleanStage(
        name=STAGE,
        modality=Modality.TEXT,
        schema=TEXT_SCHEMA,
        measurements=TEXT_MEASUREMENTS,
        code_version=CODE_VERSION,
        # Not a version, but what the measurements are of: rules after `c4` saw what it kept.
        rules={**RULES, "quality_rules": " ".join(rules.quality_rules)},
        max_chunk_bytes=8 * 2**20,
    )


def _text_bytes(store: ObjectStore, batch: str, max_bytes: int) -> int:
    """Return the bytes of the texts that will be read."""
    downloads = read_manifest(store, "downloads", batch)
    total = 0
    for rows in read_table(store, downloads, "samples", columns=["modality", "byte_count"], batch_rows=65_536):
        sizes = rows.column("byte_count").filter(pc.equal(rows.column("modality"), Modality.TEXT.value))
        total += pc.sum(sizes.filter(pc.less_equal(sizes, max_bytes))).as_py() or 0
    return total


def _near_duplicates(index: Index, rules: TextSettings) -> DropRows | None:
    if rules.near_duplicate_similarity is None:
        return None
    return partial(drop_near_duplicates, index=SignatureIndex(index), min_similarity=rules.near_duplicate_similarity)


def _clean_chunk(store: ObjectStore, settings: TextSettings, chunk: pa.RecordBatch) -> CleanedChunk:
    rows, rejections, measured = [], [], []
    replaced: Counter[str] = Counter()
    for raw in chunk.to_pylist():
        document = _clean_document(store, settings, raw)
        measured.append(document.measurements)
        if isinstance(document, Refusal):
            rejections.append(document.of(raw))
            continue
        replaced.update(document.replaced)
        carried = {name: raw[name] for name in _CARRIED_COLUMNS}
        rows.append(carried | asdict(replace(document, measurements={})) | {"characters": len(document.text)})
    for row, signature in zip(rows, sign_texts([row["text"] for row in rows]), strict=True):
        row[SIGNATURE_FIELD.name] = signature.tobytes() if signature.any() else None
    clean = pa.RecordBatch.from_pylist(rows, schema=TEXT_SCHEMA.append(SIGNATURE_FIELD))
    numbers = {f"replaced_{kind}": count for kind, count in replaced.items()}
    return CleanedChunk(clean, rejections, measured_rows(chunk, measured, TEXT_MEASUREMENTS), numbers)


def _clean_document(store: ObjectStore, settings: TextSettings, raw: dict[str, Any]) -> CleanDocument | Refusal:
    too_large = first_broken(raw, [MAX_BYTES], settings)
    return too_large or clean_document(raw_bytes(store, raw), raw["media_type"], settings)
