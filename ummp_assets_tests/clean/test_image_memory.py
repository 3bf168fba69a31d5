"""A stage stays below 1 GB, however large and many the pictures and recordings of a batch are."""

import io
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import soundfile
from PIL import Image

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.features.audio_stage import audio_features
from ummp_assets.settings import load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

LIMIT_BYTES = 2**30


def largest_images() -> list[bytes]:
    """Pictures just below max_pixels, of the kinds that take the most memory."""
    files = []
    for mode, image_format in (("RGBA", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("RGB", "JPEG")):
        file = io.BytesIO()
        options = {"compress_level": 1} if image_format == "PNG" else {"quality": 50}
        Image.new(mode, (7_000, 7_000)).save(file, image_format, **options)
        files.append(file.getvalue())
    wide = np.zeros((7_000, 7_000, 4), np.uint16)
    files.append(cv2.imencode(".png", wide, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    return files


def longest_recordings() -> list[bytes]:
    """Ten minutes each, in a few kilobytes."""
    second = np.arange(16_000) / 16_000
    files = []
    for number in range(4):
        file = io.BytesIO()
        tone = (8_000 * np.sin(2 * np.pi * (100 + number) * second)).astype(np.int16)
        # A second at a time: given minutes at once, libsndfile's Vorbis encoder overflows the stack.
        with soundfile.SoundFile(file, "w", 16_000, 1, "VORBIS", format="OGG") as recording:
            for _ in range(590):
                recording.write(tone)
        files.append(file.getvalue())
    return files


def peak_resident_bytes() -> int:
    """Return the most memory that this program held. `ru_maxrss` would begin with what its parent held at the fork."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1_024


def run_images(folder: Path, answer: Connection) -> None:
    settings = load_settings(home=folder)
    store, index = open_store(settings), open_index(settings)
    rows = clean_images(store, index, settings, BATCH).numbers["samples_in"]
    answer.send((rows, peak_resident_bytes()))


def run_audio(folder: Path, answer: Connection) -> None:
    settings = load_settings(home=folder)
    store, index = open_store(settings), open_index(settings)
    clean_audio(store, index, settings, BATCH)
    rows = audio_features(store, settings, BATCH).rows("samples")
    answer.send((rows, peak_resident_bytes()))


def peak_of(
    run: Callable[[Path, Connection], None], folder: Path, contents: list[bytes], modality: str
) -> tuple[int, int]:
    """Return the rows and the most memory that a process of its own held, in bytes."""
    rows = [raw_row(number, content, modality=modality) for number, content in enumerate(contents)]
    put_downloads(open_store(load_settings(home=folder)), rows)
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=run, args=(folder, far))
    process.start()
    far.close()
    answer: tuple[int, int] = near.recv()
    process.join()
    return answer


def test_pictures_at_the_limit_stay_below_one_gigabyte(tmp_path: Path) -> None:
    rows, peak_bytes = peak_of(run_images, tmp_path, largest_images() * 2, "image")
    assert rows == 10
    assert peak_bytes < LIMIT_BYTES


def test_recordings_at_the_limit_stay_below_one_gigabyte(tmp_path: Path) -> None:
    rows, peak_bytes = peak_of(run_audio, tmp_path, longest_recordings(), "audio")
    assert rows == 4
    assert peak_bytes < LIMIT_BYTES
