"""The samples of the benchmark `reading`: one dataset of three modalities, and its exports for the peers."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.exports.mds import export_mds
from ummp_assets.datasets.exports.webdataset import export_webdataset
from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.records import (
    AUDIO_FEATURE_SCHEMA,
    AUDIO_SCHEMA,
    IMAGE_FEATURE_SCHEMA,
    TEXT_FEATURE_SCHEMA,
    TEXT_SCHEMA,
    image_schema,
)
from ummp_assets.settings import Settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets.storage.stages import StageWriter, read_manifest
from ummp_assets_tests.datasets.batches import put_batch

__all__ = ["NAME", "PARTS", "Sizes", "export_for", "fill", "open_part"]

NAME = "bench"
PARTS = {"image": "image", "text": "token_ids", "audio": "log_mel"}
"""By modality, the array that is read besides sample id and label."""

_SIDE = 256
_MEL_BINS = 80
_TAR_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many samples of each modality."""

    image: int
    text: int
    audio: int


def fill(settings: Settings, sizes: Sizes, batches: int = 6) -> None:
    """Commit images of 256 x 256, texts of 100 to 1,100 tokens and sounds of 1 to 9 seconds, in several batches.

    Values are noise, which makes no difference: neither side compresses images or spectrograms, nor peers anything.
    """
    store, index = open_store(settings), open_index(settings)
    for number in range(batches):
        start = number * 1_000_000
        key = put_batch(store, number + 1, [], start=start)
        random = np.random.default_rng(number)
        rows = _images(random, start, sizes.image // batches)
        _replace(store, key, "clean_images", "image_features", (image_schema(_SIDE), IMAGE_FEATURE_SCHEMA), rows)
        rows = _texts(random, start + 300_000, sizes.text // batches)
        _replace(store, key, "clean_text", "text_features", (TEXT_SCHEMA, TEXT_FEATURE_SCHEMA), rows)
        rows = _sounds(random, start + 600_000, sizes.audio // batches)
        _replace(store, key, "clean_audio", "audio_features", (AUDIO_SCHEMA, AUDIO_FEATURE_SCHEMA), rows)
        write_shards(store, settings, key)
        commit_batch(store, index, settings, key)
    index.close()


def open_part(settings: Settings, modality: str) -> Dataset:
    """Open one modality with the columns that are read."""
    # The exports give spectrograms their two dimensions.
    columns = ["sample_id", "label", PARTS[modality], *["frames"] * (modality == "audio")]
    return open_dataset(NAME, modality=modality, columns=columns, settings=settings)


def export_for(peer: str, dataset: Dataset, folder: Path) -> None:
    """Write a peer's files, twice under two names: MDS takes a folder for one order only."""
    files = (
        export_webdataset(dataset, folder / "shuffled", lossless_images="npy", tar_bytes=_TAR_BYTES)
        if peer == "webdataset"
        else export_mds(dataset, folder / "shuffled")
    )
    (folder / "in order").mkdir()
    for file in files:
        os.link(file, folder / "in order" / file.name)


_Rows = Iterator[tuple[dict[str, Any], dict[str, Any]]]
"""Clean row and feature row of each sample; an `image` is an array."""


def _replace(
    store: ObjectStore, batch: str, clean: str, features: str, schemas: tuple[pa.Schema, pa.Schema], rows: _Rows
) -> None:
    """Commit two stages of a batch, in place of the empty ones that stand there."""
    with (
        StageWriter(store, clean, batch, {"samples": schemas[0]}) as left,
        StageWriter(store, features, batch, {"samples": schemas[1]}) as right,
    ):
        for pair in rows:
            left.write("samples", _record_batch(pair[0], schemas[0]))
            right.write("samples", _record_batch(pair[1], schemas[1]))
        left.commit(code_version="1")
        right.commit(code_version="1", inputs=[read_manifest(store, clean, batch)])


def _record_batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    count = len(columns["sample_id"])
    arrays = []
    for field in schema:
        value = columns.get(field.name)
        if isinstance(value, pa.Array):
            arrays.append(value)
        else:
            arrays.append(pa.array(value if isinstance(value, list) else [value] * count, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _identity(numbers: range) -> dict[str, Any]:
    digests = [f"{number:064x}" for number in numbers]
    return {
        "sample_id": [f"ummp.requests.normal~0~{number}" for number in numbers],
        "dataset": NAME,
        "uri": [f"http://x/{number}" for number in numbers],
        "sha256": digests,
        "content_sha256": digests,
        "label": "1",
        "format": "x",
    }


def _lots(start: int, count: int, size: int) -> Iterator[range]:
    return (range(first, min(first + size, start + count)) for first in range(start, start + count, size))


def _images(random: np.random.Generator, start: int, count: int) -> _Rows:
    for numbers in _lots(start, count, 64):
        same = _identity(numbers)
        pixels = random.integers(0, 256, (len(numbers), _SIDE, _SIDE, 3), np.uint8)
        images = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
        statistics = {"channel_mean": [[0.5] * 3] * len(numbers), "channel_std": [[0.2] * 3] * len(numbers)}
        yield (
            {**same, "image": images, "width": _SIDE, "height": _SIDE},
            {**same, **statistics, "perceptual_hash": 1},
        )


def _texts(random: np.random.Generator, start: int, count: int) -> _Rows:
    for numbers in _lots(start, count, 1_000):
        same = _identity(numbers)
        ids = [random.integers(0, 50_000, length, np.int32) for length in random.integers(100, 1_100, len(numbers))]
        text = {"text": ["word " * len(item) for item in ids], "language": "en", "language_score": 0.5}
        yield (
            {**same, **text, "encoding": "utf-8", "characters": [5 * len(item) for item in ids]},
            {**same, "token_ids": ids, "tokens": [len(item) for item in ids]},
        )


def _sounds(random: np.random.Generator, start: int, count: int) -> _Rows:
    for numbers in _lots(start, count, 32):
        same = _identity(numbers)
        frames = [int(value) for value in random.integers(100, 900, len(numbers))]
        flat = [random.standard_normal(_MEL_BINS * value, np.float32) for value in frames]
        kind = {"sample_rate_hz": 16_000, "source_sample_rate_hz": 16_000, "source_channels": 1}
        # Nobody reads the waveforms here.
        yield (
            {**same, **kind, "waveform": [[0.0]] * len(numbers), "seconds": [value / 100 for value in frames]},
            {**same, "log_mel": flat, "frames": frames, "mel_bins": _MEL_BINS},
        )
