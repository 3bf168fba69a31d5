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

# Of this thread, so that other programs on the machine do not count.
LIMIT_SECONDS = 1.0

# Pillow warns of broken metadata; the stage ignores it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


# Made when they are wanted: each process that only collects the tests would spend seconds on them.
@pytest.fixture(scope="module")
def images() -> list[BrokenFile]:
    return list(broken_images())


@pytest.fixture(scope="module")
def sounds() -> list[BrokenFile]:
    return list(broken_sounds())


def fault(file: BrokenFile, decode: Callable[[bytes], object]) -> str | None:
    """Return what is wrong with the decoder's answer."""
    began = time.thread_time()
    answer = decode(file.data)
    taken_seconds = time.thread_time() - began
    if taken_seconds >= LIMIT_SECONDS:
        return f"{file.name} took {taken_seconds:.1f} s"
    if not isinstance(answer, Refusal):
        return None if file.may_pass else f"{file.name} passed"
    # The sentence is for a person: no names of our own classes.
    known = answer.reason in file.reasons and answer.detail and "ummp_assets" not in answer.detail
    return None if known else f"{file.name} was refused for {answer.reason}: {answer.detail!r}"


def test_the_corpus_is_large(images: list[BrokenFile], sounds: list[BrokenFile]) -> None:
    names = [file.name for file in images + sounds]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


def test_every_broken_image_is_refused_in_time(images: list[BrokenFile]) -> None:
    faults = [fault(file, lambda data: decode_image(data, ImageSettings())) for file in images]
    assert [found for found in faults if found] == []


def test_every_broken_recording_is_refused_in_time(sounds: list[BrokenFile]) -> None:
    faults = [fault(file, lambda data: decode_audio(data, AudioSettings())) for file in sounds]
    assert [found for found in faults if found] == []


def test_broken_images_do_not_harm_the_good_ones_of_their_batch(
    store: ObjectStore, index: Index, settings: Settings, images: list[BrokenFile]
) -> None:
    rows = [raw_row(number, file.data, modality="image") for number, file in enumerate(images)]
    rows.insert(50, raw_row(10_000, whole_images()["jpeg"], modality="image"))
    put_downloads(store, rows)
    manifest = clean_images(store, index, settings, BATCH)
    assert manifest.numbers["samples_in"] == len(rows)
    assert manifest.rows("samples") + manifest.rejected == len(rows)
    certain = sum(not file.may_pass for file in images)
    assert manifest.rejected >= certain
    assert clean_images(store, index, settings, BATCH).to_json() == manifest.to_json()


def test_broken_recordings_do_not_harm_the_good_ones_of_their_batch(
    store: ObjectStore, index: Index, settings: Settings, sounds: list[BrokenFile]
) -> None:
    rows = [raw_row(number, file.data, modality="audio") for number, file in enumerate(sounds)]
    rows.insert(50, raw_row(10_000, whole_sounds()["flac"], modality="audio"))
    put_downloads(store, rows)
    manifest = clean_audio(store, index, settings, BATCH)
    assert manifest.numbers["samples_in"] == len(rows)
    assert manifest.rows("samples") + manifest.rejected == len(rows)
    assert manifest.rejected >= sum(not file.may_pass for file in sounds)
    assert clean_audio(store, index, settings, BATCH).to_json() == manifest.to_json()
