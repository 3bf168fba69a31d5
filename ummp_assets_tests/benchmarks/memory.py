"""Peak memory of stages over one large batch; the bound is 1 GB for a batch of any size.

    python -m ummp_assets_tests.benchmarks.memory [--quick] [--json]

Each stage runs in a process of its own. What is counted is that process and its children together, ten times a second:
where more is resident than before, their proportional set size, which divides what several of them share.
A ratio is the largest peak of a modality's stages over 1 GB: lower is better, below 1 is within the bound.
"""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pyarrow as pa

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.text import clean_text
from ummp_assets.features.audio_stage import audio_features
from ummp_assets.features.image_stage import image_features
from ummp_assets.features.text import text_features
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.settings import Settings, TextSettings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets.storage.stages import Manifest, StageWriter
from ummp_assets_tests.benchmarks.english import english_documents
from ummp_assets_tests.benchmarks.harness import Report, main, notice
from ummp_assets_tests.benchmarks.media_contents import photographs, recordings
from ummp_assets_tests.clean.downloads import BATCH, raw_row

_LIMIT_BYTES = 10**9
_SAMPLE_SECONDS = 0.1
_ROWS_PER_WRITE = 512

RunStage = Callable[[ObjectStore, Index, Settings], Manifest]
"""Runs one stage over `BATCH`; a function of a module, for another process imports it."""


@dataclass(frozen=True)
class LargeBatch:
    """A batch of one modality and the stages that take it, in order.

    Parameters
    ----------
    contents:
        Given whether few are enough, yields the raw bytes of each sample.
    settings:
        Fields of `load_settings` that differ from the defaults.
    """

    modality: str
    media_type: str
    contents: Callable[[bool], Iterator[bytes]]
    stages: Mapping[str, RunStage]
    settings: Mapping[str, Any]


_LARGEST_TEXT_BYTES = TextSettings().max_bytes
_LARGEST_EVERY = 2_500


def texts(quick: bool) -> Iterator[bytes]:
    """Yield texts of about 250 bytes, unlike each other: lines of real documents in random order. Among them stand
    pages, texts of few words and of many, each as large as the settings allow."""
    drawn = random.Random(5)
    lines = [line for document in english_documents(1_000) for line in document.splitlines() if len(line) > 20]
    largest = _largest_texts(lines)
    for number in range(20_000 if quick else 200_000):
        if number % _LARGEST_EVERY == _LARGEST_EVERY // 2 and (text := next(largest, None)):
            yield text
        yield "\n".join([f"Document {number}.", *drawn.choices(lines, k=4)]).encode()


def _largest_texts(lines: list[str]) -> Iterator[bytes]:
    """Yield a page with a character outside the basic plane, words that are all different, and pictographs."""
    drawn = random.Random(6)
    page = "<html><body>\N{GRINNING FACE}" + "".join(f"<p>{line}</p>" for line in drawn.choices(lines, k=200_000))
    yield page.encode()[:_LARGEST_TEXT_BYTES]
    yield b"".join(b"%x " % drawn.getrandbits(32) for _ in range(_LARGEST_TEXT_BYTES // 10))
    faces = [chr(code) for code in range(0x1F600, 0x1F640)]
    yield "".join(drawn.choices(faces, k=_LARGEST_TEXT_BYTES // 4)).encode()


def run_clean_text(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return clean_text(store, index, settings, BATCH)


def run_text_features(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return text_features(store, settings, BATCH)


def run_clean_images(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return clean_images(store, index, settings, BATCH)


def run_image_features(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return image_features(store, settings, BATCH)


def run_clean_audio(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return clean_audio(store, index, settings, BATCH)


def run_audio_features(store: ObjectStore, index: Index, settings: Settings) -> Manifest:
    return audio_features(store, settings, BATCH)


BATCHES = (
    LargeBatch(
        "text",
        "text/plain",
        texts,
        {"clean_text": run_clean_text, "text_features": run_text_features},
        {"clean": {"text": {"sequence_tokens": 2_048}}},
    ),
    LargeBatch(
        "image",
        "image/jpeg",
        photographs,
        {"clean_images": run_clean_images, "image_features": run_image_features},
        # Floats of four times the size of the pixels: the most that the features are asked for.
        {"clean": {"image": {"store_normalised": True, "near_duplicate_bits": 0}}},
    ),
    LargeBatch(
        "audio",
        "audio/flac",
        recordings,
        {"clean_audio": run_clean_audio, "audio_features": run_audio_features},
        {},
    ),
)


def measure(quick: bool) -> Report:
    report = Report()
    for batch in BATCHES:
        with TemporaryDirectory() as folder:
            documents, byte_count = _put(Path(folder), batch, quick)
            peaks = []
            for stage, run in batch.stages.items():
                began = time.perf_counter()
                peak, rows = _peak_of(Path(folder), batch, run)
                peaks.append(peak)
                seconds = time.perf_counter() - began
                notice(f"{stage}: {peak / 1e6:,.0f} MB at most ({seconds:.0f} s)")
                figures = {"samples_in": documents, "samples_out": rows, "batch_mb": byte_count / 1e6}
                report.rows.append({"stage": stage, "peak_mb": peak / 1e6, **figures, "seconds": seconds})
        report.ratios[batch.modality] = round(max(peaks) / _LIMIT_BYTES, 3)
    return report


def _put(folder: Path, batch: LargeBatch, quick: bool) -> tuple[int, int]:
    """Commit the batch as stage `downloads`; return its samples and bytes."""
    store = open_store(load_settings(home=folder))
    samples = byte_count = 0
    with StageWriter(store, "downloads", BATCH, {"samples": RAW_SCHEMA}) as writer:
        contents = batch.contents(quick)
        fields = {"modality": batch.modality, "media_type": batch.media_type}
        while part := list(islice(contents, _ROWS_PER_WRITE)):
            rows = [raw_row(samples + place, content, **fields) for place, content in enumerate(part)]
            writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA))
            samples += len(part)
            byte_count += sum(map(len, part))
        writer.commit(code_version="1")
    return samples, byte_count


def _peak_of(folder: Path, batch: LargeBatch, run: RunStage) -> tuple[int, int]:
    """Return the most bytes that the stage held in all of its processes, and the rows that it wrote."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=_serve, args=(folder, batch.settings, run, far))
    process.start()
    far.close()
    stage = psutil.Process(process.pid)
    peak = most_resident = 0
    while not near.poll(_SAMPLE_SECONDS):
        # The kernel walks all pages for a proportional size: taken at every sample it doubled the stage's time.
        if (resident := _held_bytes(stage, "rss")) > 1.005 * most_resident:
            most_resident, peak = resident, max(peak, _held_bytes(stage, "pss"))
    rows: int = near.recv()
    process.join()
    return peak, rows


def _serve(folder: Path, fields: Mapping[str, Any], run: RunStage, answer: Any) -> None:
    settings = load_settings(home=folder, **fields)
    manifest = run(open_store(settings), open_index(settings), settings)
    answer.send(manifest.rows("samples"))


def _held_bytes(stage: psutil.Process, kind: str) -> int:
    held = 0
    with suppress(psutil.Error):  # One ended meanwhile: the next sample is 100 ms away.
        for process in [stage, *stage.children(recursive=True)]:
            memory = process.memory_info() if kind == "rss" else process.memory_full_info()
            held += getattr(memory, kind, memory.rss)
    return held


if __name__ == "__main__":
    main(__name__, measure, __doc__)
