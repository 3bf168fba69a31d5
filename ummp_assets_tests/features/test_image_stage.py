"""`image_features` describes each clean image, in order."""

import numpy as np
import pyarrow as pa

from ummp_assets.clean.image_hash import grey_thumbnail, perceptual_hashes
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.features.image_normalise import normalise
from ummp_assets.features.image_stage import RULES, image_features
from ummp_assets.records import IMAGE_FEATURE_SCHEMA
from ummp_assets.settings import CleanSettings, ImageSettings, Settings
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
    thumbnails = np.stack([grey_thumbnail(image) for image in pixels])
    assert features["perceptual_hash"].to_pylist() == perceptual_hashes(thumbnails).tolist()
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


def test_normalised_images_are_stored_if_set_so(store: ObjectStore, index: Index, settings: Settings) -> None:
    rules = ImageSettings(side_pixels=32, store_normalised=True)
    normalising = settings.model_copy(update={"clean": CleanSettings(image=rules)})
    put_downloads(store, [raw_row(number, photograph(name), modality="image") for number, name in enumerate(NAMES)])
    clean_images(store, index, normalising, BATCH)
    manifest = image_features(store, normalising, BATCH)
    normalised = pa.Table.from_batches(read_table(store, manifest, "samples")).combine_chunks()["normalised"].chunk(0)
    assert normalised.type == pa.fixed_shape_tensor(pa.float32(), (32, 32, 3))
    values = normalised.to_numpy_ndarray()
    np.testing.assert_allclose(values.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(values.std((1, 2)), 1, atol=1e-4)


def test_a_flat_image_is_normalised_to_zeros() -> None:
    flat = np.full((2, 4, 4, 3), 51, np.uint8)
    values = normalise(flat, [[0.2, 0.2, 0.2]] * 2, [[0, 0, 0]] * 2)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, 0, atol=1e-4)


def test_a_dataset_s_own_mean_and_deviation_can_be_used() -> None:
    images = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(normalise(images, mean, std), (images / 255 - mean) / std, atol=1e-5)
