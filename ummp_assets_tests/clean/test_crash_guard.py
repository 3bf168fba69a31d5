"""A decoder that kills or hangs its process costs one sample, not the batch."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from ummp_assets.clean.crash_guard import crash_guard
from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.runner import CleanedChunk
from ummp_assets.errors import StoreUnavailable
from ummp_assets.reasons import Reason
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.stages import stage_path
from ummp_assets_tests.clean.downloads import BATCH, raw_row

STAGE = "clean_images"
MARKER = stage_path(STAGE, BATCH, "unfinished")


def decode(process_ids: Path, chunk: pa.RecordBatch) -> CleanedChunk:
    """A stage's chunk function whose decoder has faults that no Python code can catch."""
    (process_ids / str(os.getpid())).touch()
    kept, rejections = [], []
    for row in chunk.to_pylist():
        match row["content"]:
            case b"kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case b"hang":
                time.sleep(3_600)
            case b"bad":
                rejections.append(Refusal(Reason.CORRUPT_IMAGE, "it is bad", 1.0).of(row))
            case b"store":
                raise StoreUnavailable("blobs/x", "disk on fire")
            case _:
                kept.append(row["sample_id"])
    rows = pa.RecordBatch.from_arrays([pa.array(kept, pa.string())], names=["sample_id"])
    return CleanedChunk(rows, rejections, measured_rows(chunk, [{}] * chunk.num_rows, []), {"decoded": len(kept)})


def chunk_of(*contents: bytes) -> pa.RecordBatch:
    rows = [raw_row(number, content, modality="image") for number, content in enumerate(contents)]
    return pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)


def attempt(folder: Path, *contents: bytes) -> None:
    with crash_guard(LocalStore(folder), STAGE, BATCH, partial(decode, folder)) as clean:
        clean(chunk_of(*contents))


def offsets(cleaned: CleanedChunk) -> list[str]:
    return [sample_id.rsplit("~", 1)[1] for sample_id in cleaned.rows.column("sample_id").to_pylist()]


def test_chunks_are_cleaned_in_this_process_when_nothing_died(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with crash_guard(store, STAGE, BATCH, partial(decode, tmp_path)) as clean:
        assert store.exists(MARKER)
        assert offsets(clean(chunk_of(b"a", b"bad", b"c"))) == ["0", "2"]
    assert not store.exists(MARKER)
    assert (tmp_path / str(os.getpid())).exists()


def test_an_error_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        attempt(tmp_path, b"store")
    assert not LocalStore(tmp_path).exists(MARKER)


def test_the_retry_of_a_killed_process_rejects_only_the_sample_that_kills(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=attempt, args=(tmp_path, b"a", b"kill"))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    store = LocalStore(tmp_path)
    assert store.exists(MARKER)
    with crash_guard(store, STAGE, BATCH, partial(decode, tmp_path)) as clean:
        cleaned = clean(chunk_of(b"a", b"b", b"kill", b"bad", b"e"))
    assert offsets(cleaned) == ["0", "1", "4"]
    reasons = [(rejection.sample_id[-1], rejection.reason) for rejection in cleaned.rejections]
    assert reasons == [("2", Reason.DECODER_CRASHED), ("3", Reason.CORRUPT_IMAGE)]
    assert cleaned.numbers == {"decoded": 3}
    assert not store.exists(MARKER)


def test_a_decoder_that_hangs_is_killed_and_its_sample_rejected(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(MARKER, b"")
    with crash_guard(store, STAGE, BATCH, partial(decode, tmp_path), timeout_seconds=6.0) as clean:
        cleaned = clean(chunk_of(b"a", b"hang"))
    assert offsets(cleaned) == ["0"]
    assert [rejection.reason for rejection in cleaned.rejections] == [Reason.DECODER_CRASHED]


def test_an_error_in_a_child_is_raised_as_what_it_is(tmp_path: Path) -> None:
    LocalStore(tmp_path).write(MARKER, b"")
    with pytest.raises(StoreUnavailable, match="disk on fire"):
        attempt(tmp_path, b"store")
    assert not (tmp_path / str(os.getpid())).exists()


def test_children_are_used_again_and_end_with_the_block(tmp_path: Path) -> None:
    LocalStore(tmp_path).write(MARKER, b"")
    with (
        crash_guard(LocalStore(tmp_path), STAGE, BATCH, partial(decode, tmp_path)) as clean,
        ThreadPoolExecutor(2) as threads,
    ):
        cleaned = list(threads.map(clean, [chunk_of(b"a", b"b")] * 6))
    assert [offsets(chunk) for chunk in cleaned] == [["0", "1"]] * 6
    process_ids = [int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal()]
    assert 1 <= len(process_ids) <= 2
    for process_id in process_ids:
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)


def test_a_child_ends_after_a_large_sample_to_give_back_its_memory(tmp_path: Path) -> None:
    LocalStore(tmp_path).write(MARKER, b"")
    with crash_guard(LocalStore(tmp_path), STAGE, BATCH, partial(decode, tmp_path)) as clean:
        for contents in ([b"a"], [b"b", b"c" * (2**20 + 1)], [b"d"]):
            assert len(offsets(clean(chunk_of(*contents)))) == len(contents)
    assert sum(path.name.isdecimal() for path in tmp_path.iterdir()) == 2
