"""`image_features` describes each clean image, in order."""

import numpy as np
import pyarrow as pa

from ummp_assets.clean.image_hash import perceptual_hash
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.features.image_stage import RULES, image_features
from ummp_assets.records import IMAGE_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import photograph

NAMES = ["rocket.jpg", "coffee.png", "chelsea.png", "astronaut.png"]


def test_statistics_and_hash_describe_the_stored_image(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(number, photograph(name), modality="image") for number, name in enumerate(NAMES)])
    clean = clean_images(store, index, settings, BATCH)
    manifest = image_features(store, settings, BATCH)
    images = pa.Table.from_batches(read_table(store, clean, "samples")).combine_chunks()
    features = pa.Table.from_batches(read_table(store, manifest, "samples")).combine_chunks()
    assert features.schema == IMAGE_FEATURE_SCHEMA
    assert features["sample_id"].to_pylist() == images["sample_id"].to_pylist()
    pixels = images["image"].chunk(0).to_numpy_ndarray()
    np.testing.assert_allclose(features["channel_mean"].to_pylist(), pixels.mean((1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(features["channel_std"].to_pylist(), pixels.std((1, 2)) / 255, atol=1e-6)
    assert features["perceptual_hash"].to_pylist() == [perceptual_hash(image) for image in pixels]
    assert manifest.inputs == {"clean_images": clean.sha256}
    assert manifest.rules == RULES
    assert manifest.rejected == 0


def test_a_repeated_batch_gives_the_same_manifest(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(number, photograph(name), modality="image") for number, name in enumerate(NAMES)])
    clean_images(store, index, settings, BATCH)
    first = image_features(store, settings, BATCH)
    assert image_features(store, settings, BATCH).to_json() == first.to_json()


def test_a_batch_without_images_has_no_features(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(0, b"words")])
    clean_images(store, index, settings, BATCH)
    assert image_features(store, settings, BATCH).rows("samples") == 0
