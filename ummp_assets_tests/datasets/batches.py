"""Batches as the stages before `training_shards` leave them, small and written directly."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.reasons import Reason
from ummp_assets.records import (
    AUDIO_FEATURE_SCHEMA,
    AUDIO_SCHEMA,
    IMAGE_FEATURE_SCHEMA,
    TEXT_FEATURE_SCHEMA,
    TEXT_SCHEMA,
    Rejection,
    image_schema,
)
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter, read_manifest

TOPIC = "ummp.requests.normal"
SIDE = 8
_UPSTREAM = {"text_features": "clean_text", "image_features": "clean_images", "audio_features": "clean_audio"}


@dataclass(frozen=True)
class Sample:
    """A sample by its content; everything else derives from it."""

    dataset: str
    modality: str
    content: str
    label: str | None = None
    uri: str | None = None


def put_batch(
    store: ObjectStore,
    number: int,
    samples: Sequence[Sample],
    *,
    start: int = 0,
    rejections: Sequence[Rejection] = (),
    extra_text_column: pa.Field | None = None,
    side: int = SIDE,
    topic: str = TOPIC,
) -> str:
    """Commit all clean and feature stages for samples at the offsets from `start` on; return the batch's key.

    `topic` is the name in the offset log, another one for a replay.
    """
    batch = Batch(topic, number, (OffsetRange(0, start, start + len(samples) + len(rejections)),))
    OffsetLog(store).put(batch, datetime(2026, 1, 1, tzinfo=UTC))
    numbered = [(f"{TOPIC}~0~{start + offset}", sample) for offset, sample in enumerate(samples)]
    text_schema = TEXT_SCHEMA if extra_text_column is None else TEXT_SCHEMA.append(extra_text_column)
    _put(store, "clean_text", batch.key, text_schema, numbered, "text", _text, rejections)
    _put(store, "text_features", batch.key, TEXT_FEATURE_SCHEMA, numbered, "text", _text_features)
    _put_images(store, batch.key, numbered, side)
    _put(store, "image_features", batch.key, IMAGE_FEATURE_SCHEMA, numbered, "image", _image_features)
    _put(store, "clean_audio", batch.key, AUDIO_SCHEMA, numbered, "audio", _audio)
    _put(store, "audio_features", batch.key, AUDIO_FEATURE_SCHEMA, numbered, "audio", _audio_features)
    return batch.key


def texts(dataset: str, count: int, start: int = 0, words: int = 3) -> list[Sample]:
    """Return texts that differ from one another by their number."""
    return [Sample(dataset, "text", f"text {number} " + "word " * words) for number in range(start, start + count)]


def filtered(dataset: str, offset: int) -> Rejection:
    """Return a rejection of the clean stage."""
    return Rejection(f"{TOPIC}~0~{offset}", dataset, "text", "http://x/", Reason.CORRUPT_TEXT, "no text", 1.0)


def pixels(content: str, side: int = SIDE) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Return the image that stands for a content."""
    seed = int(digest(content)[:8], 16)
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _put(
    store: ObjectStore,
    stage: str,
    batch: str,
    schema: pa.Schema,
    numbered: Sequence[tuple[str, Sample]],
    modality: str,
    row: Any,
    rejections: Sequence[Rejection] = (),
) -> None:
    rows = [
        {"sample_id": sample_id, "dataset": sample.dataset, **row(sample)}
        for sample_id, sample in numbered
        if sample.modality == modality
    ]
    with StageWriter(store, stage, batch, {"samples": schema}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=schema))
        writer.reject(rejections)
        inputs = [read_manifest(store, _UPSTREAM[stage], batch)] if stage in _UPSTREAM else []
        writer.commit(code_version="1", rules={"rule": "1"}, inputs=inputs)


def _put_images(store: ObjectStore, batch: str, numbered: Sequence[tuple[str, Sample]], side: int) -> None:
    schema = image_schema(side)
    chosen = [(sample_id, sample) for sample_id, sample in numbered if sample.modality == "image"]
    with StageWriter(store, "clean_images", batch, {"samples": schema}) as writer:
        if chosen:
            image = pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([pixels(s.content, side) for _, s in chosen]))
            plain = pa.schema([field for field in schema if field.name != "image"])
            rows = [
                {"sample_id": sample_id, "dataset": s.dataset, **_clean(s), "width": 9, "height": 9, "format": "png"}
                for sample_id, s in chosen
            ]
            columns = dict(zip(plain.names, pa.RecordBatch.from_pylist(rows, schema=plain).columns, strict=True))
            columns["image"] = image
            writer.write("samples", pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema))
        writer.commit(code_version="1")


def _clean(sample: Sample) -> Mapping[str, Any]:
    uri = sample.uri or f"http://example.org/{digest(sample.content)[:8]}"
    return {
        "uri": uri,
        "sha256": digest("raw " + sample.content),
        "content_sha256": digest(sample.content),
        "label": sample.label,
        "attributes": None,
    }


def _text(sample: Sample) -> Mapping[str, Any]:
    return {
        **_clean(sample),
        "text": sample.content,
        "language": "en",
        "language_score": 0.5,
        "encoding": "utf-8",
        "characters": len(sample.content),
    }


def _text_features(sample: Sample) -> Mapping[str, Any]:
    ids = [int(byte) for byte in sample.content.encode()]
    return {"token_ids": ids, "tokens": len(ids)}


def _image_features(sample: Sample) -> Mapping[str, Any]:
    return {"channel_mean": [0.5] * 3, "channel_std": [0.25] * 3, "perceptual_hash": len(sample.content)}


def _waveform(sample: Sample) -> list[float]:
    return [byte / 256 for byte in sample.content.encode()]


def _audio(sample: Sample) -> Mapping[str, Any]:
    wave = _waveform(sample)
    return {
        **_clean(sample),
        "waveform": wave,
        "sample_rate_hz": 16_000,
        "seconds": len(wave) / 16_000,
        "source_sample_rate_hz": 44_100,
        "source_channels": 2,
        "format": "wav",
    }


def _audio_features(sample: Sample) -> Mapping[str, Any]:
    return {"log_mel": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "frames": 3, "mel_bins": 2}
