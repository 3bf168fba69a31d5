"""Pictures that look alike are found among all earlier ones; pictures that don't are kept."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from ummp_assets.clean.image_geometry import fit_square
from ummp_assets.clean.image_hash import grey_thumbnail, have_look, perceptual_hashes
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.settings import CleanSettings, ImageSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import photograph

NAMES = ["rocket.jpg", "coffee.png", "chelsea.png", "astronaut.png", "retina.jpg", "motorcycle_left.png", "ihc.png"]
LATER = BATCH.replace("00000001", "00000002")

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "a little larger": lambda picture: picture.resize((picture.width * 6 // 5, picture.height * 6 // 5)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.15),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}


def opened(name: str) -> Image.Image:
    return Image.open(io.BytesIO(photograph(name))).convert("RGB")


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def hash_of(picture: Image.Image) -> int:
    thumbnail = grey_thumbnail(fit_square(np.asarray(picture), 256, "crop", 0))
    return int(perceptual_hashes(thumbnail[np.newaxis])[0])


def outcomes_of(store: ObjectStore, manifest: Manifest) -> list[tuple[str, str, float, str]]:
    return [
        (row["sample_id"].rsplit("~", 1)[1], row["reason"], row["measured"], row["twin"].rsplit("~", 1)[1])
        for rows in read_table(store, manifest, "outcomes")
        for row in rows.to_pylist()
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_keep_their_hash_within_four_bits(change: str) -> None:
    near = [(hash_of(opened(name)) ^ hash_of(CHANGES[change](opened(name)))).bit_count() <= 4 for name in NAMES]
    assert sum(near) >= len(NAMES) - 1


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_recompressed_pictures_keep_their_hash_within_four_bits(quality: int) -> None:
    for name in NAMES:
        again = Image.open(io.BytesIO(jpeg(opened(name), quality))).convert("RGB")
        assert (hash_of(opened(name)) ^ hash_of(again)).bit_count() <= 4


def test_different_pictures_differ_in_many_bits() -> None:
    hashes = [hash_of(opened(name)) for name in NAMES]
    distances = [(first ^ second).bit_count() for number, first in enumerate(hashes) for second in hashes[:number]]
    assert min(distances) >= 14


def test_flat_pictures_have_no_look() -> None:
    noise = np.random.default_rng(1).integers(126, 130, (256, 256, 3), dtype=np.uint8)
    flat = np.full((256, 256, 3), 200, np.uint8)
    coffee = fit_square(np.asarray(opened("coffee.png")), 256, "crop", 0)
    thumbnails = np.stack([grey_thumbnail(pixels) for pixels in (flat, noise, coffee)])
    assert have_look(thumbnails).tolist() == [False, False, True]


def test_hashes_are_the_signs_of_opencvs_cosine_transform_against_its_median() -> None:
    thumbnails = np.stack([grey_thumbnail(np.asarray(opened(name))) for name in NAMES])
    for found, thumbnail in zip(perceptual_hashes(thumbnails).tolist(), thumbnails, strict=True):
        lowest = cv2.dct(thumbnail.astype(np.float32))[1:9, 1:9]
        signs = (lowest > np.median(lowest)).reshape(-1)
        assert f"{found:064b}" == "".join(str(int(sign)) for sign in signs)


def test_the_first_of_a_look_stays_over_all_batches(store: ObjectStore, index: Index, settings: Settings) -> None:
    coffee, cat = opened("coffee.png"), opened("chelsea.png")
    put_downloads(store, [raw_row(0, jpeg(coffee), modality="image"), raw_row(1, jpeg(coffee, 40), modality="image")])
    first = clean_images(store, index, settings, BATCH)
    (twin,) = outcomes_of(store, first)
    assert (twin[0], twin[1], twin[3]) == ("1", "near_duplicate", "0")
    assert 0 <= twin[2] <= 4

    later = [raw_row(10, jpeg(cat), modality="image"), raw_row(11, jpeg(coffee.resize((450, 300))), modality="image")]
    put_downloads(store, later, LATER)
    second = clean_images(store, index, settings, LATER)
    assert [(outcome[0], outcome[3]) for outcome in outcomes_of(store, second)] == [("11", "0")]
    assert clean_images(store, index, settings, BATCH).to_json() == first.to_json()
    assert clean_images(store, index, settings, LATER).to_json() == second.to_json()


def test_looks_of_other_datasets_do_not_count(store: ObjectStore, index: Index, settings: Settings) -> None:
    coffee = opened("coffee.png")
    rows = [
        raw_row(number, jpeg(coffee, 90 - number), modality="image", dataset=f"set-{number % 2}") for number in range(4)
    ]
    put_downloads(store, rows)
    twins = outcomes_of(store, clean_images(store, index, settings, BATCH))
    assert [(twin[0], twin[3]) for twin in twins] == [("2", "0"), ("3", "1")]


def test_flat_pictures_are_no_twins(store: ObjectStore, index: Index, settings: Settings) -> None:
    rows = [raw_row(grey, jpeg(Image.new("L", (64, 64), grey)), modality="image") for grey in (10, 90, 200)]
    put_downloads(store, rows)
    assert clean_images(store, index, settings, BATCH).rows("samples") == 3


def test_the_rule_can_be_switched_off(store: ObjectStore, index: Index, settings: Settings) -> None:
    off = settings.model_copy(update={"clean": CleanSettings(image=ImageSettings(near_duplicate_bits=None))})
    coffee = opened("coffee.png")
    put_downloads(store, [raw_row(number, jpeg(coffee, 90 - number), modality="image") for number in range(3)])
    manifest = clean_images(store, index, off, BATCH)
    assert manifest.rows("samples") == 3
    assert isinstance(next(iter(read_table(store, manifest, "samples"))), pa.RecordBatch)
