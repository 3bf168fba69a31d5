"""No broken file crashes, hangs or passes for a good one, alone or among others in a batch."""

import time
from collections.abc import Callable

import pytest

from ummp_assets.clean.audio_decode import decode_audio
from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_decode import decode_image
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.refusals import Refusal
from ummp_assets.settings import AudioSettings, ImageSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.broken_files import (
    BrokenFile,
    broken_images,
    broken_sounds,
    whole_images,
    whole_sounds,
)
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

IMAGES, SOUNDS = list(broken_images()), list(broken_sounds())

# Of this thread, so that other programs on the machine do not count.
LIMIT_SECONDS = 1.0

# Pillow warns of broken metadata; the stage ignores it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def judge(file: BrokenFile, decode: Callable[[bytes], object]) -> None:
    began = time.thread_time()
    answer = decode(file.data)
    assert time.thread_time() - began < LIMIT_SECONDS
    if isinstance(answer, Refusal):
        assert answer.reason in file.reasons, answer
        assert answer.detail
    else:
        assert file.may_pass


def test_the_corpus_is_large() -> None:
    names = [file.name for file in IMAGES + SOUNDS]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.name)
def test_a_broken_image_is_refused_in_time(file: BrokenFile) -> None:
    judge(file, lambda data: decode_image(data, ImageSettings()))


@pytest.mark.parametrize("file", SOUNDS, ids=lambda file: file.name)
def test_a_broken_recording_is_refused_in_time(file: BrokenFile) -> None:
    judge(file, lambda data: decode_audio(data, AudioSettings()))


def test_broken_images_do_not_harm_the_good_ones_of_their_batch(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    rows = [raw_row(number, file.data, modality="image") for number, file in enumerate(IMAGES)]
    rows.insert(50, raw_row(10_000, whole_images()["jpeg"], modality="image"))
    put_downloads(store, rows)
    manifest = clean_images(store, index, settings, BATCH)
    assert manifest.numbers["samples_in"] == len(rows)
    assert manifest.rows("samples") + manifest.rejected == len(rows)
    certain = sum(not file.may_pass for file in IMAGES)
    assert manifest.rejected >= certain
    assert clean_images(store, index, settings, BATCH).to_json() == manifest.to_json()


def test_broken_recordings_do_not_harm_the_good_ones_of_their_batch(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    rows = [raw_row(number, file.data, modality="audio") for number, file in enumerate(SOUNDS)]
    rows.insert(50, raw_row(10_000, whole_sounds()["flac"], modality="audio"))
    put_downloads(store, rows)
    manifest = clean_audio(store, index, settings, BATCH)
    assert manifest.numbers["samples_in"] == len(rows)
    assert manifest.rows("samples") + manifest.rejected == len(rows)
    assert manifest.rejected >= sum(not file.may_pass for file in SOUNDS)
    assert clean_audio(store, index, settings, BATCH).to_json() == manifest.to_json()
