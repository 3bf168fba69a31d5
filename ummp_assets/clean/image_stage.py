"""Stage `clean_images`: raw bytes to upright sRGB squares of one size, or rejections."""

import hashlib
import struct
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.clean.crash_guard import crash_guard
from ummp_assets.clean.image_decode import decode_pixels, inspect_image
from ummp_assets.clean.image_geometry import fit_square
from ummp_assets.clean.image_hash import GREY_SIDE, grey_thumbnail, have_look, perceptual_hashes
from ummp_assets.clean.image_header import ImageHeader
from ummp_assets.clean.image_near_duplicates import HASH_COLUMN, drop_near_duplicates
from ummp_assets.clean.image_warnings import quiet_image_decoders
from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules.image import IMAGE_MEASUREMENTS, MAX_BYTES
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.clean.runner import CleanedChunk, CleanStage, DropRows, run_clean_stage
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.memory_gate import MemoryGate
from ummp_assets.parallel.opencv_threads import one_opencv_thread
from ummp_assets.records import Modality, Rejection, image_schema
from ummp_assets.settings import ImageSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.perceptual_index import PerceptualIndex
from ummp_assets.storage.raw import raw_bytes
from ummp_assets.storage.stages import Manifest
from ummp_assets.storage.tables import TableLimits

__all__ = ["CODE_VERSION", "RULES", "STAGE", "clean_images"]

STAGE = "clean_images"
CODE_VERSION = "3"
RULES = {"decode": "4", "fit": "2", "image_bytes": "1", "image_limits": "1", "near_duplicates": "2"}

Pixels = npt.NDArray[np.uint8]

_KEPT_COLUMNS = ("sample_id", "dataset", "uri", "sha256", "label", "attributes")
_CHUNK_PIXEL_BYTES = 8 * 2**20
_CHUNK_RAW_BYTES = 16 * 2**20
# Enough to occupy the cores while rows are written: with two, 1,000 images take 1.32 instead of 1.26 s.
_CHUNKS_AHEAD = 4
# A quarter of the usual: nobody works beside the last group, and 1,000 images take 1.03 s with 8 MiB, 1.06 with 16.
_ROW_GROUP_BYTES = 8 * 2**20
# A larger picture is decoded alone: one of 49 megapixels with an alpha channel takes 400 MB.
_DECODING = MemoryGate(320 * 2**20)
# What sixty cores decode at once without asking: asking takes 10 us.
_SMALL_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _CleanImage:
    content_sha256: str
    width: int
    height: int
    format: str


def clean_images(store: ObjectStore, index: Index, settings: Settings, batch: str) -> Manifest:
    """Clean the images of a batch and commit them as stage `clean_images`.

    Images are decoded within limits, turned upright, moved to sRGB and resized to squares, on all cores: the decoders
    release the interpreter lock.

    Returns
    -------
    The manifest; its table `samples` has `image_schema(side_pixels)`.

    Raises
    ------
    ManifestMissing
        The stage `downloads` has not committed the batch.
    AccountingMismatch
        Rows in are not rows out plus rejections.
    """
    rules = settings.clean.image
    square_bytes = 3 * rules.side_pixels**2
    stage = CleanStage(
        name=STAGE,
        modality=Modality.IMAGE,
        schema=image_schema(rules.side_pixels),
        measurements=IMAGE_MEASUREMENTS,
        code_version=CODE_VERSION,
        rules=RULES,
        max_chunk_rows=max(1, min(64, _CHUNK_PIXEL_BYTES // square_bytes)),
        max_chunk_bytes=_CHUNK_RAW_BYTES,
        chunks_ahead=_CHUNKS_AHEAD,
        limits=TableLimits(row_group_bytes=_ROW_GROUP_BYTES),
    )
    workers = available_cores()
    with (
        ThreadPoolExecutor(workers, thread_name_prefix=STAGE) as executor,
        one_opencv_thread(),
        quiet_image_decoders(),
        crash_guard(store, STAGE, batch, partial(_clean_chunk, store, rules)) as clean,
    ):
        return run_clean_stage(
            store,
            index,
            batch,
            stage,
            clean,
            executor=executor,
            workers=workers,
            near_duplicates=_near_duplicates(index, rules),
        )


def _near_duplicates(index: Index, rules: ImageSettings) -> DropRows | None:
    if rules.near_duplicate_bits is None:
        return None
    return partial(drop_near_duplicates, index=PerceptualIndex(index), max_distance_bits=rules.near_duplicate_bits)


def _clean_chunk(store: ObjectStore, rules: ImageSettings, chunk: pa.RecordBatch) -> CleanedChunk:
    kept: list[int] = []
    images: list[_CleanImage] = []
    rejections: list[Rejection] = []
    # One piece of memory for all: 8 MB come in huge pages, and nothing is copied to stand side by side.
    squares = np.empty((chunk.num_rows, rules.side_pixels, rules.side_pixels, 3), np.uint8)
    thumbnails = np.empty((chunk.num_rows, GREY_SIDE, GREY_SIDE), np.uint8)
    rows = chunk.to_pylist()
    # All headers first: a decoded picture sweeps the caches, and each header after one takes 85 instead of 40 us.
    examined = deque(_examine(store, rules, row) for row in rows)
    measured = [found.measurements if isinstance(found, Refusal) else found[0].measurements for found in examined]
    for position, row in enumerate(rows):
        # Taken out, for Pillow's header holds the pixels once they are decoded.
        found = examined.popleft()
        cleaned = found if isinstance(found, Refusal) else _decode(rules, *found, squares[len(kept)])
        if isinstance(cleaned, Refusal):
            rejections.append(cleaned.of(row))
            continue
        thumbnails[len(kept)] = grey_thumbnail(squares[len(kept)])
        kept.append(position)
        images.append(cleaned)
    clean = _record_batch(chunk, kept, images, squares[: len(kept)], thumbnails[: len(kept)])
    return CleanedChunk(clean, rejections, measured_rows(chunk, measured, IMAGE_MEASUREMENTS))


def _examine(store: ObjectStore, rules: ImageSettings, row: Mapping[str, Any]) -> tuple[ImageHeader, bytes] | Refusal:
    """Return the header of one image, and its bytes."""
    if too_large := first_broken(row, [MAX_BYTES], rules):
        return too_large
    data = raw_bytes(store, row)
    header = inspect_image(data, rules)
    return header if isinstance(header, Refusal) else (header, data)


def _decode(rules: ImageSettings, header: ImageHeader, data: bytes, square: Pixels) -> _CleanImage | Refusal:
    """Decode one image, whose pixels are written to `square`."""
    with nullcontext() if header.decoding_bytes <= _SMALL_BYTES else _DECODING.room(header.decoding_bytes):
        pixels = decode_pixels(header, data, rules)
        if isinstance(pixels, Refusal):
            return pixels
        fit_square(pixels, rules.side_pixels, rules.fit, rules.background, out=square)
        del pixels
    digest = hashlib.sha256(struct.pack("<II", header.width, header.height))
    digest.update(square.data)
    return _CleanImage(digest.hexdigest(), header.width, header.height, header.format.value)


def _record_batch(
    chunk: pa.RecordBatch, kept: list[int], images: list[_CleanImage], squares: Pixels, thumbnails: Pixels
) -> pa.RecordBatch:
    rows = chunk.select(_KEPT_COLUMNS).take(pa.array(kept, pa.int64()))
    schema = image_schema(squares.shape[1])
    tensor = schema.field("image").type
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(squares.reshape(-1)), type=tensor.storage_type)
    arrays = [
        pa.ExtensionArray.from_storage(tensor, pixels)
        if field.name == "image"
        else rows.column(field.name)
        if field.name in _KEPT_COLUMNS
        else pa.array([getattr(image, field.name) for image in images], field.type)
        for field in schema
    ]
    arrays.append(pa.array(perceptual_hashes(thumbnails), pa.uint64(), mask=~have_look(thumbnails)))
    return pa.RecordBatch.from_arrays(arrays, schema=schema.append(pa.field(HASH_COLUMN, pa.uint64())))
