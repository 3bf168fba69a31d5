"""Stage `image_features`: the colour statistics and the perceptual hash of each clean image."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.clean.image_hash import GREY_SIDE, grey_thumbnail, perceptual_hashes
from ummp_assets.features.image_normalise import normalise
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.opencv_threads import one_opencv_thread
from ummp_assets.parallel.ordered_map import map_in_order
from ummp_assets.records import IMAGE_FEATURE_SCHEMA
from ummp_assets.settings import ImageSettings, Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "RULES", "STAGE", "image_features"]

STAGE = "image_features"
CODE_VERSION = "1"
RULES = {"channel_statistics": "1", "normalised": "1", "perceptual_hash": "2"}

_NORMALISED = "normalised"
_READ_BYTES = 8 * 2**20


def image_features(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Compute the features of a batch's clean images, in their order, and commit them.

    Returns
    -------
    The manifest; its table `samples` has `IMAGE_FEATURE_SCHEMA` and, with the setting `store_normalised`, the column
    `normalised`, a tensor of float32 with the image's shape.

    Raises
    ------
    ManifestMissing
        The stage `clean_images` has not committed the batch.
    """
    clean = read_manifest(store, "clean_images", batch)
    rows = read_table(
        store,
        clean,
        "samples",
        columns=["sample_id", "dataset", "image"],
        batch_rows=max(1, min(64, _READ_BYTES // (3 * settings.clean.image.side_pixels**2))),
    )
    schema = _schema(settings.clean.image)
    workers = available_cores()
    with (
        StageWriter(store, STAGE, batch, {"samples": schema}) as writer,
        ThreadPoolExecutor(workers, thread_name_prefix=STAGE) as executor,
        one_opencv_thread(),
    ):
        for features in map_in_order(partial(_describe, schema), rows, executor, workers + 2):
            writer.write("samples", features)
        count = clean.rows("samples")
        return writer.commit(
            code_version=CODE_VERSION, rules=RULES, inputs=[clean], numbers={"samples_in": count, "samples_out": count}
        )


def _schema(rules: ImageSettings) -> pa.Schema:
    if not rules.store_normalised:
        return IMAGE_FEATURE_SCHEMA
    tensor = pa.fixed_shape_tensor(pa.float32(), (rules.side_pixels, rules.side_pixels, 3))
    return IMAGE_FEATURE_SCHEMA.append(pa.field(_NORMALISED, tensor, nullable=False))


def _describe(schema: pa.Schema, rows: pa.RecordBatch) -> pa.RecordBatch:
    images: npt.NDArray[np.uint8] = rows.column("image").to_numpy_ndarray()
    mean, std = np.empty((len(images), 3), np.float32), np.empty((len(images), 3), np.float32)
    thumbnails = np.empty((len(images), GREY_SIDE, GREY_SIDE), np.uint8)
    for number, image in enumerate(images):
        means, deviations = cv2.meanStdDev(image)
        mean[number], std[number] = means[:, 0] / 255, deviations[:, 0] / 255
        thumbnails[number] = grey_thumbnail(image)
    columns = [
        rows.column("sample_id"),
        rows.column("dataset"),
        _triples(mean, "channel_mean"),
        _triples(std, "channel_std"),
        pa.array(perceptual_hashes(thumbnails)),
    ]
    if _NORMALISED in schema.names:
        tensor = schema.field(_NORMALISED).type
        values = pa.array(normalise(images, mean, std).reshape(-1))
        storage = pa.FixedSizeListArray.from_arrays(values, type=tensor.storage_type)
        columns.append(pa.ExtensionArray.from_storage(tensor, storage))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _triples(values: npt.NDArray[np.float32], column: str) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=IMAGE_FEATURE_SCHEMA.field(column).type)
