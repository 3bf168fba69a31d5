"""Stage `clean_audio`: raw bytes to mono waveforms of one rate, or rejections."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.crash_guard import crash_guard
from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules.audio import AUDIO_MEASUREMENTS, MAX_BYTES
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.clean.runner import CleanedChunk, CleanStage, run_clean_stage
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.memory_gate import MemoryGate
from ummp_assets.records import AUDIO_SCHEMA, Modality, Rejection
from ummp_assets.settings import AudioSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes
from ummp_assets.storage.stages import Manifest

__all__ = ["CODE_VERSION", "RULES", "STAGE", "clean_audio"]

STAGE = "clean_audio"
CODE_VERSION = "3"
RULES = {"audio_bytes": "1", "decode": "4", "duration": "1", "levels": "3", "resample": "1", "truncation": "3"}

# How long a recording is, is not known before it is decoded: chunks are small, several minutes are one of their own.
_CHUNK_ROWS = 4
_CHUNK_RAW_BYTES = 256 * 2**10
_MEMORY_BYTES = 440 * 2**20
_CHUNKS_BESIDE_WORKERS = 2
# What a thread keeps: a block as decoded, as floats and as their mean, and the resampler's.
_WORKER_BYTES = 16 * 2**20
# Of files that are read whole and decoded: two of 230 MB at once take a stage to 1,030 MB, and 16 cores would to 4 GB.
_READING = MemoryGate(256 * 2**20)


def clean_audio(store: ObjectStore, index: Index, settings: Settings, batch: str) -> Manifest:
    """Clean the recordings of a batch and commit them as stage `clean_audio`.

    Returns
    -------
    The manifest; its table `samples` has `AUDIO_SCHEMA`.

    Raises
    ------
    ManifestMissing
        The stage `downloads` has not committed the batch.
    AccountingMismatch
        Rows in are not rows out plus rejections.
    """
    rules = settings.clean.audio
    stage = CleanStage(
        name=STAGE,
        modality=Modality.AUDIO,
        schema=AUDIO_SCHEMA,
        measurements=AUDIO_MEASUREMENTS,
        code_version=CODE_VERSION,
        rules=RULES,
        max_chunk_rows=_CHUNK_ROWS,
        max_chunk_bytes=_CHUNK_RAW_BYTES,
        chunks_ahead=_CHUNKS_BESIDE_WORKERS,
    )
    # With the default of ten minutes, six cores are used.
    longest_bytes = int(4 * rules.max_seconds * rules.sample_rate_hz)
    memory_bytes = _MEMORY_BYTES - _CHUNKS_BESIDE_WORKERS * longest_bytes
    workers = max(1, min(available_cores(), memory_bytes // (longest_bytes + _WORKER_BYTES)))
    with (
        ThreadPoolExecutor(workers, thread_name_prefix=STAGE) as executor,
        crash_guard(store, STAGE, batch, partial(_clean_chunk, store, rules)) as clean,
    ):
        return run_clean_stage(store, index, batch, stage, clean, executor=executor, workers=workers)


def _clean_chunk(store: ObjectStore, rules: AudioSettings, chunk: pa.RecordBatch) -> CleanedChunk:
    kept: list[Mapping[str, Any]] = []
    recordings: list[DecodedAudio] = []
    rejections: list[Rejection] = []
    measured: list[Mapping[str, float]] = []
    for number, row in enumerate(chunk.drop_columns(["content"]).to_pylist()):
        cleaned = _clean_recording(store, rules, row, chunk.column("content")[number])
        measured.append(cleaned.measurements)
        if isinstance(cleaned, Refusal):
            rejections.append(cleaned.of(row))
        else:
            kept.append(row)
            recordings.append(cleaned)
    clean = _record_batch(kept, recordings, rules.sample_rate_hz)
    return CleanedChunk(clean, rejections, measured_rows(chunk, measured, AUDIO_MEASUREMENTS))


def _clean_recording(
    store: ObjectStore, rules: AudioSettings, row: Mapping[str, Any], content: pa.LargeBinaryScalar
) -> DecodedAudio | Refusal:
    if too_large := first_broken(row, [MAX_BYTES], rules):
        return too_large
    with _READING.room(row["byte_count"]):
        if not content.is_valid:
            return decode_audio(raw_bytes(store, {**row, "content": None}), rules)
        # A view, of unsigned bytes: to copy contents into Python objects holds the lock that all cores' threads need.
        return decode_audio(memoryview(content.as_buffer()).cast("B"), rules)


def _record_batch(rows: list[Mapping[str, Any]], recordings: list[DecodedAudio], sample_rate_hz: int) -> pa.RecordBatch:
    offsets = np.cumsum([0, *(len(recording.waveform) for recording in recordings)], dtype=np.int32)
    waveforms = [recording.waveform for recording in recordings]
    samples = waveforms[0] if len(waveforms) == 1 else np.concatenate([np.empty(0, np.float32), *waveforms])
    columns: dict[str, Any] = {
        name: [row[name] for row in rows] for name in ("sample_id", "dataset", "uri", "sha256", "label", "attributes")
    }
    columns |= {
        "content_sha256": [hashlib.sha256(waveform.data).hexdigest() for waveform in waveforms],
        "sample_rate_hz": [sample_rate_hz] * len(rows),
        "seconds": [len(waveform) / sample_rate_hz for waveform in waveforms],
        "source_sample_rate_hz": [recording.source_sample_rate_hz for recording in recordings],
        "source_channels": [recording.source_channels for recording in recordings],
        "format": [recording.format.value for recording in recordings],
    }
    arrays = [
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(samples))
        if field.name == "waveform"
        else pa.array(columns[field.name], field.type)
        for field in AUDIO_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=AUDIO_SCHEMA)
