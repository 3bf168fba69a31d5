"""The clean stages' shared loop: order, chunks, duplicates, accounting."""

import hashlib
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from ummp_assets.clean.measurements import measured_rows
from ummp_assets.clean.runner import CleanedChunk, CleanStage, run_clean_stage
from ummp_assets.errors import AccountingMismatch, ManifestMissing
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import Modality, Rejection
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import MEASUREMENTS, read_manifest, read_table
from ummp_assets.storage.takedown_index import TakedownEntry, TakedownIndex
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

COLUMNS = ("sample_id", "dataset", "uri", "sha256", "content_sha256")
SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in COLUMNS])


def stage(**limits: Any) -> CleanStage:
    return CleanStage("clean_text", Modality.TEXT, SCHEMA, ["loudness"], "7", {"rule": "2"}, **limits)


def measured(chunk: pa.RecordBatch) -> pa.RecordBatch:
    return measured_rows(chunk, [{"loudness": row["byte_count"] / 2} for row in chunk.to_pylist()], ["loudness"])


def keep_all(chunk: pa.RecordBatch) -> CleanedChunk:
    rows = chunk.append_column(SCHEMA.field("content_sha256"), chunk.column("sha256"))
    return CleanedChunk(rows, [], measured(chunk), {"chunks": 1})


def reject_first(chunk: pa.RecordBatch) -> CleanedChunk:
    first = chunk.slice(0, 1).to_pylist()[0]
    rejection = Rejection(first["sample_id"], first["dataset"], "text", first["uri"], Reason.CORRUPT_TEXT, "bad")
    return CleanedChunk(keep_all(chunk.slice(1)).rows, [rejection], measured(chunk))


def stored_ids(store: ObjectStore) -> list[str]:
    manifest = read_manifest(store, "clean_text", BATCH)
    return [row["sample_id"] for part in read_table(store, manifest, "samples") for row in part.to_pylist()]


def test_rows_of_other_modalities_are_left_to_their_stage(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"b", modality="image"), raw_row(3, b"c")])

    manifest = run_clean_stage(store, index, BATCH, stage(), keep_all)

    assert stored_ids(store) == ["ummp.requests.normal~0~1", "ummp.requests.normal~0~3"]
    assert manifest.numbers == {"bytes_in": 2, "chunks": 1, "samples_in": 2, "samples_out": 2}
    assert (manifest.code_version, manifest.rules) == ("7", {"rule": "2"})


def test_rejections_and_duplicates_are_counted_and_kept(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"b"), raw_row(3, b"b")])

    manifest = run_clean_stage(store, index, BATCH, stage(), reject_first)

    assert stored_ids(store) == ["ummp.requests.normal~0~2"]
    assert (manifest.count(Outcome.DEAD), manifest.count(Outcome.DUPLICATE), manifest.rejected) == (1, 1, 2)
    (outcomes,) = read_table(store, manifest, "outcomes")
    assert outcomes.column("twin").to_pylist() == [None, "ummp.requests.normal~0~2"]


def test_near_duplicate_step_sees_extra_columns_that_are_not_written(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"b")])

    def drop_last(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        assert rows.column("byte_count").to_pylist() == [1, 1]
        sample_id = rows.column("sample_id")[1].as_py()
        return rows.slice(0, 1), [Rejection(sample_id, "docs", "text", "u", Reason.EXACT_DUPLICATE, "near")]

    run_clean_stage(store, index, BATCH, stage(), keep_all, near_duplicates=drop_last)

    assert stored_ids(store) == ["ummp.requests.normal~0~1"]


def test_chunks_of_which_little_is_kept_are_let_go(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(number, b"%d" % number) for number in range(4 * 256)])
    schema = SCHEMA.append(pa.field("pixels", pa.binary(8), nullable=False))
    memory: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    held: list[int] = []

    def clean(chunk: pa.RecordBatch) -> CleanedChunk:
        pixels = np.zeros(8 * chunk.num_rows, np.uint8)
        memory.append(weakref.ref(pixels))
        cleaned = keep_all(chunk)
        column = pa.Array.from_buffers(schema.field("pixels").type, chunk.num_rows, [None, pa.py_buffer(pixels)])
        return replace(cleaned, rows=cleaned.rows.append_column(schema.field("pixels"), column))

    def keep_first(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        held.append(sum(reference() is not None for reference in memory))
        others = rows.column("sample_id").to_pylist()[1:]
        return rows.slice(0, 1), [
            Rejection(name, "docs", "text", "u", Reason.NEAR_DUPLICATE, "near", 1.0, "first") for name in others
        ]

    images = replace(stage(max_chunk_rows=256), schema=schema)
    manifest = run_clean_stage(store, index, BATCH, images, clean, near_duplicates=keep_first)

    assert manifest.rows("samples") == 4
    assert held == [1, 2, 2, 2]


def test_content_that_was_taken_down_is_refused_under_another_address(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"b")])
    digest = hashlib.sha256(b"b").hexdigest()
    TakedownIndex(index).record([TakedownEntry("ummp.takedowns", 0, 3, 0, "sha256", digest, "asked by its author")])

    manifest = run_clean_stage(store, index, BATCH, stage(), keep_all)

    assert stored_ids(store) == ["ummp.requests.normal~0~1"]
    (outcomes,) = read_table(store, manifest, "outcomes")
    [refused] = outcomes.to_pylist()
    assert (refused["sample_id"], refused["reason"]) == ("ummp.requests.normal~0~2", "takedown")
    assert refused["detail"] == f"sha256 {digest} was taken down: asked by its author"


def test_every_sample_keeps_what_was_measured_and_why_it_is_not_stored(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"bb"), raw_row(3, b"bb")])

    manifest = run_clean_stage(store, index, BATCH, stage(), reject_first)

    rows = [row for part in read_table(store, manifest, MEASUREMENTS) for row in part.to_pylist()]
    assert [tuple(row.values())[1:] for row in rows] == [
        ("docs", 1, "corrupt_text", 0.5),
        ("docs", 2, None, 1.0),
        ("docs", 2, "exact_duplicate", 1.0),
    ]
    assert rows[2]["sample_id"] == "ummp.requests.normal~0~3"


def test_rows_that_were_taken_down_are_refused_before_they_are_read(store: ObjectStore, index: Index) -> None:
    row = raw_row(2, b"b")
    put_downloads(store, [raw_row(1, b"a"), row, raw_row(3, b"c")])
    TakedownIndex(index).record([TakedownEntry("ummp.takedowns", 0, 3, 0, "sha256", row["sha256"], "asked for")])
    seen: list[str] = []

    def note(chunk: pa.RecordBatch) -> CleanedChunk:
        seen.extend(chunk.column("sample_id").to_pylist())
        return keep_all(chunk)

    manifest = run_clean_stage(store, index, BATCH, stage(max_chunk_rows=1), note)

    assert stored_ids(store) == seen == ["ummp.requests.normal~0~1", "ummp.requests.normal~0~3"]
    assert (manifest.numbers["samples_in"], manifest.rejected) == (3, 1)
    (refused,) = [row for part in read_table(store, manifest, "outcomes") for row in part.to_pylist()]
    assert (refused["sample_id"], refused["reason"]) == (row["sample_id"], "takedown")
    measured_of = [row for part in read_table(store, manifest, MEASUREMENTS) for row in part.to_pylist()]
    assert [(row["sample_id"][-1], row["reason"]) for row in measured_of] == [
        ("1", None),
        ("3", None),
        ("2", "takedown"),
    ]


def test_lost_row_raises_and_commits_nothing(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a"), raw_row(2, b"b")])

    def lose_one(chunk: pa.RecordBatch) -> CleanedChunk:
        return CleanedChunk(keep_all(chunk).rows.slice(1), [], measured(chunk))

    with pytest.raises(AccountingMismatch, match="2 samples in, but 1 out and 0 rejected"):
        run_clean_stage(store, index, BATCH, stage(), lose_one)
    with pytest.raises(ManifestMissing):
        read_manifest(store, "clean_text", BATCH)


def test_batch_without_the_modality_commits_an_empty_stage(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(1, b"a", modality="audio")])

    manifest = run_clean_stage(store, index, BATCH, stage(), keep_all)

    assert manifest.tables == {}
    assert manifest.numbers == {"bytes_in": 0, "samples_in": 0, "samples_out": 0}


@pytest.mark.parametrize(("limits", "chunks"), [({"max_chunk_rows": 2}, 3), ({"max_chunk_bytes": 6}, 5), ({}, 1)])
def test_chunks_are_bounded_by_rows_and_bytes(
    store: ObjectStore, index: Index, limits: dict[str, int], chunks: int
) -> None:
    put_downloads(store, [raw_row(number, b"0123%d" % number) for number in range(5)])

    manifest = run_clean_stage(store, index, BATCH, stage(**limits), keep_all)

    assert manifest.numbers["chunks"] == chunks
    assert manifest.numbers["samples_out"] == 5


def test_parallel_chunks_give_the_same_manifest_whatever_their_timing(store: ObjectStore, index: Index) -> None:
    put_downloads(store, [raw_row(number, b"%d" % (number % 17)) for number in range(40)])
    expected = run_clean_stage(store, index, BATCH, stage(max_chunk_rows=3), keep_all)

    def keep_late(chunk: pa.RecordBatch) -> CleanedChunk:
        time.sleep(0.02 if "~0~0" in chunk.column("sample_id")[0].as_py() else 0)
        return keep_all(chunk)

    with ThreadPoolExecutor(4) as executor:
        manifest = run_clean_stage(
            store, index, BATCH, stage(max_chunk_rows=3), keep_late, executor=executor, workers=4
        )

    assert manifest == expected
    assert manifest.count(Outcome.DUPLICATE) == 23
