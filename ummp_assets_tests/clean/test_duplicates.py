"""Exact duplicates: who owns a content, within a chunk, over batches and on a repeated run."""

import pyarrow as pa

from ummp_assets.clean.duplicates import drop_duplicates
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.storage.index import Index


def rows(*samples: tuple[str, str, str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {"sample_id": sample_id, "dataset": dataset, "uri": f"http://x/{sample_id}", "content_sha256": digest}
            for sample_id, dataset, digest in samples
        ]
    )


def ids(kept: pa.RecordBatch) -> list[str]:
    return [str(value) for value in kept.column("sample_id").to_pylist()]


def test_first_sample_owns_content_and_later_one_names_it(index: Index) -> None:
    kept, rejections = drop_duplicates(
        rows(("t~0~1", "d", "aa"), ("t~0~2", "d", "bb"), ("t~0~3", "d", "aa")), index, "text"
    )

    assert ids(kept) == ["t~0~1", "t~0~2"]
    (rejection,) = rejections
    assert (rejection.sample_id, rejection.twin) == ("t~0~3", "t~0~1")
    assert rejection.reason is Reason.EXACT_DUPLICATE
    assert rejection.outcome is Outcome.DUPLICATE
    assert (rejection.dataset, rejection.modality, rejection.uri) == ("d", "text", "http://x/t~0~3")


def test_owner_of_an_earlier_batch_is_named(index: Index) -> None:
    drop_duplicates(rows(("t~0~1", "d", "aa")), index, "text")

    kept, rejections = drop_duplicates(rows(("t~0~9", "d", "aa")), index, "text")

    assert ids(kept) == []
    assert [item.twin for item in rejections] == ["t~0~1"]


def test_repeated_batch_gives_the_same_answer(index: Index) -> None:
    batch = rows(("t~0~1", "d", "aa"), ("t~0~2", "d", "aa"))
    first_kept, first_rejections = drop_duplicates(batch, index, "text")

    kept, rejections = drop_duplicates(batch, index, "text")

    assert kept == first_kept
    assert rejections == first_rejections


def test_contents_of_other_datasets_and_kinds_are_not_compared(index: Index) -> None:
    kept, rejections = drop_duplicates(rows(("t~0~1", "d", "aa"), ("t~0~2", "e", "aa")), index, "text")
    others, other_rejections = drop_duplicates(rows(("t~0~3", "d", "aa")), index, "image")

    assert ids(kept) == ["t~0~1", "t~0~2"]
    assert ids(others) == ["t~0~3"]
    assert rejections == other_rejections == []


def test_empty_chunk_gives_no_rows(index: Index) -> None:
    kept, rejections = drop_duplicates(rows(("t~0~1", "d", "aa")).slice(0, 0), index, "text")

    assert kept.num_rows == 0
    assert rejections == []
