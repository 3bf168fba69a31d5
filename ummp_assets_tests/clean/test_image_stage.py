"""`clean_images` turns a batch's raw images into squares, and every other one into a rejection."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from ummp_assets.clean.image_stage import RULES, STAGE, clean_images
from ummp_assets.records import Modality, image_schema
from ummp_assets.settings import CleanSettings, ImageSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table, stage_path
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import photograph


def image_row(offset: int, content: bytes, **fields: object) -> dict[str, object]:
    return raw_row(offset, content, modality="image", **fields)


def encoded(pixels: np.ndarray, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()


def rows_of(store: ObjectStore, manifest: Manifest, table: str) -> pa.Table:
    batches = list(read_table(store, manifest, table))
    return pa.Table.from_batches(batches).combine_chunks()


def test_each_image_becomes_a_square_or_a_rejection(store: ObjectStore, index: Index, settings: Settings) -> None:
    rocket = photograph("rocket.jpg")
    put_downloads(
        store,
        [
            image_row(0, rocket, label='"rocket"', attributes='{"by": "NASA"}'),
            raw_row(1, b"words"),
            image_row(2, photograph("coffee.png")),
            image_row(3, b"no image at all"),
            image_row(4, rocket[:20_000]),
            image_row(5, rocket),
            image_row(6, encoded(np.zeros((10, 40, 3), np.uint8), "PNG")),
            image_row(7, encoded(np.zeros((20, 100, 3), np.uint8), "PNG")),
        ],
    )
    manifest = clean_images(store, index, settings, BATCH)
    clean = rows_of(store, manifest, "samples")
    assert clean.schema == image_schema(256)
    assert [sample.split("~")[2] for sample in clean["sample_id"].to_pylist()] == ["0", "2"]
    assert clean["label"].to_pylist() == ['"rocket"', None]
    assert clean["attributes"].to_pylist() == ['{"by": "NASA"}', None]
    assert clean["width"].to_pylist() == [640, 600]
    assert clean["height"].to_pylist() == [427, 400]
    assert clean["format"].to_pylist() == ["jpeg", "png"]
    outcomes = {row["sample_id"].split("~")[2]: row for row in rows_of(store, manifest, "outcomes").to_pylist()}
    assert {sample: (row["outcome"], row["reason"], row["measured"]) for sample, row in outcomes.items()} == {
        "3": ("dead", "unsupported_image", None),
        "4": ("dead", "corrupt_image", None),
        "5": ("duplicate", "exact_duplicate", None),
        "6": ("filtered", "image_too_small", 10.0),
        "7": ("filtered", "image_too_elongated", 5.0),
    }
    assert outcomes["5"]["twin"] == "ummp.requests.normal~0~0"
    assert {row["modality"] for row in outcomes.values()} == {Modality.IMAGE}
    assert manifest.numbers["samples_in"] == 7
    assert manifest.numbers["samples_out"] == 2
    assert manifest.rules == RULES


def test_the_square_shows_the_centre_of_the_photograph(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [image_row(0, photograph("coffee.png"))])
    square = rows_of(store, clean_images(store, index, settings, BATCH), "samples")["image"].chunk(0)
    whole = np.asarray(Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB"))
    centre = Image.fromarray(whole[:, 100:500]).resize((256, 256), Image.Resampling.BOX)
    difference = np.abs(square.to_numpy_ndarray()[0].astype(int) - np.asarray(centre).astype(int))
    assert difference.mean() < 3


def test_a_repeated_batch_gives_the_same_manifest(store: ObjectStore, index: Index, settings: Settings) -> None:
    names = ["rocket.jpg", "coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg"]
    put_downloads(store, [image_row(number, photograph(name)) for number, name in enumerate(names)])
    first = clean_images(store, index, settings, BATCH)
    assert first.numbers["samples_out"] == 4
    assert clean_images(store, index, settings, BATCH).to_json() == first.to_json()


def test_duplicates_of_other_chunks_are_left_out_in_place(store: ObjectStore, index: Index, settings: Settings) -> None:
    # Nine rows of 3 MB each: five chunks, which the index is asked about at once.
    rules = ImageSettings(side_pixels=1_024, min_side_pixels=1, near_duplicate_bits=None)
    large = settings.model_copy(update={"clean": CleanSettings(image=rules)})
    greys = [10, 20, 10, 30, 20, 40, 50, 50, 60]
    put_downloads(
        store,
        [image_row(number, encoded(np.full((2, 3, 3), grey, np.uint8), "PNG")) for number, grey in enumerate(greys)],
    )
    manifest = clean_images(store, index, large, BATCH)
    clean = rows_of(store, manifest, "samples")
    assert [sample.split("~")[2] for sample in clean["sample_id"].to_pylist()] == ["0", "1", "3", "5", "6", "8"]
    pixels = clean["image"].chunk(0).to_numpy_ndarray()
    assert [image.min() for image in pixels] == [image.max() for image in pixels] == [10, 20, 30, 40, 50, 60]
    outcomes = rows_of(store, manifest, "outcomes").to_pylist()
    assert [(row["sample_id"][-1], row["twin"][-1]) for row in outcomes] == [("2", "0"), ("4", "1"), ("7", "6")]


def test_a_batch_whose_process_died_is_cleaned_in_child_processes(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    contents = [photograph("rocket.jpg"), b"no image at all", photograph("coffee.png")]
    put_downloads(store, [image_row(number, content) for number, content in enumerate(contents)])
    store.write(stage_path(STAGE, BATCH, "unfinished"), b"")
    isolated = clean_images(store, index, settings, BATCH)
    assert not store.exists(stage_path(STAGE, BATCH, "unfinished"))
    assert (isolated.rows("samples"), isolated.rejected) == (2, 1)
    assert clean_images(store, index, settings, BATCH).to_json() == isolated.to_json()


def test_large_files_are_filtered_before_they_are_read(store: ObjectStore, index: Index, settings: Settings) -> None:
    small = settings.model_copy(update={"clean": CleanSettings(image=ImageSettings(max_bytes=1_000))})
    row = image_row(0, b"", blob="blobs/never-written", byte_count=1_001)
    put_downloads(store, [row | {"content": None}])
    outcome = rows_of(store, clean_images(store, index, small, BATCH), "outcomes").to_pylist()[0]
    assert (outcome["reason"], outcome["measured"]) == ("image_bytes_over_limit", 1_001.0)


def test_images_in_blobs_are_read_from_the_store(store: ObjectStore, index: Index, settings: Settings) -> None:
    rocket = photograph("rocket.jpg")
    store.write("blobs/rocket", rocket)
    put_downloads(store, [image_row(0, rocket, blob="blobs/rocket") | {"content": None}])
    assert clean_images(store, index, settings, BATCH).rows("samples") == 1


def test_a_batch_without_images_commits_no_rows(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(0, b"words")])
    manifest = clean_images(store, index, settings, BATCH)
    assert (manifest.rows("samples"), manifest.rejected, manifest.numbers["samples_in"]) == (0, 0, 0)


def test_the_side_and_the_background_follow_the_settings(store: ObjectStore, index: Index, settings: Settings) -> None:
    rules = ImageSettings(side_pixels=32, fit="pad", background=7)
    padded = settings.model_copy(update={"clean": CleanSettings(image=rules)})
    put_downloads(store, [image_row(0, encoded(np.full((64, 128, 3), 200, np.uint8), "PNG"))])
    square = rows_of(store, clean_images(store, index, padded, BATCH), "samples")["image"].chunk(0)
    pixels = square.to_numpy_ndarray()[0]
    assert pixels.shape == (32, 32, 3)
    assert (pixels[8:24] == 200).all()
    assert (pixels[:8] == 7).all()
    assert (pixels[24:] == 7).all()
