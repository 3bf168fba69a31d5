"""A diff of two versions says what was added, removed and relabelled, and by which batch."""

from datetime import timedelta

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.compare import diff_versions
from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.receipts import read_receipt
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import latest_version
from ummp_assets.datasets.withdrawals import purge_withdrawn
from ummp_assets.errors import DatasetNotFound, InvalidInput
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import raw_row
from ummp_assets_tests.datasets.batches import TOPIC, texts
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_promotion import commit_rows, document
from ummp_assets_tests.datasets.test_takedown import (
    NOW,
    SECRET,
    TWIN,
    commit_all,
    put_batch_with_twin,
    put_takedowns,
)


def test_diff_names_each_change_with_its_cause(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, texts("birds", 6), 0)
    commit_all(store, index, settings, 2, texts("birds", 2, 6), 6)
    labels = put_labels(store, 1, [label("birds", "sample_id", f"{TOPIC}~0~{number}", '"owl"') for number in (1, 7)])
    apply_labels(store, index, settings, labels)
    takedown = put_takedowns(store, 1, [("sample_id", f"{TOPIC}~0~2")])
    apply_takedowns(store, index, settings, takedown, now=NOW)
    compact_dataset(store, index, settings, "birds")
    diff = diff_versions(store, "birds", 1, 5)
    assert [
        (item.sample_id, item.kind, item.version, item.cause, item.batches, item.after) for item in diff.differences
    ] == [
        (f"{TOPIC}~0~1", "relabelled", 3, "labels", (labels,), '"owl"'),
        (f"{TOPIC}~0~2", "removed", 4, "takedown", (takedown,), None),
        (f"{TOPIC}~0~6", "added", 2, "batch", (f"{TOPIC}~00000002",), None),
        (f"{TOPIC}~0~7", "added", 2, "batch", (f"{TOPIC}~00000002",), '"owl"'),
    ]
    assert (diff.count("added"), diff.count("removed"), diff.count("relabelled")) == (2, 1, 1)
    assert diff_versions(store, "birds", 4, 5).differences == ()


def test_diff_refuses_versions_in_the_wrong_order_or_unknown(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, texts("birds", 2), 0)
    with pytest.raises(InvalidInput, match="name the older one first"):
        diff_versions(store, "birds", 1, 1)
    with pytest.raises(DatasetNotFound, match="birds has no version 3"):
        diff_versions(store, "birds", 1, 3)


def test_diff_after_a_purge_names_what_was_stored_and_nothing_else(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    rows = [raw_row(0, document(1)), raw_row(1, document(2)), raw_row(2, document(1)), raw_row(3, b"")]
    commit_rows(store, index, settings, 1, rows, 0)
    takedown = put_takedowns(store, 1, [("domain", "127.0.0.1")])
    apply_takedowns(store, index, settings, takedown, now=NOW)
    expected = [(f"{TOPIC}~0~{number}", "removed") for number in (0, 1)]
    before = diff_versions(store, "docs", 1, 2)
    assert [(item.sample_id, item.kind) for item in before.differences] == expected

    purge_withdrawn(store, NOW + timedelta(days=30))
    # Carried out once more, as after a crash.
    apply_takedowns(store, index, settings, takedown, now=NOW)

    after = diff_versions(store, "docs", 1, 2)
    assert [(item.sample_id, item.kind) for item in after.differences] == expected
    receipt = read_receipt(store, takedown)
    assert receipt is not None
    assert [sample["outcome"] for sample in receipt["samples"]] == ["stored", "stored", "duplicate", "filtered"]


def test_diff_after_a_purge_names_what_a_commit_took_away_that_came_upon_an_order(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """That version adds no batch of takedowns: the withdrawal of its shards leads to the receipt."""
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    batch = put_batch_with_twin(store, settings)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(TWIN.uri))]), now=NOW)
    commit_batch(store, index, settings, batch)
    before = diff_versions(store, "birds", 1, 3)
    purge_withdrawn(store, NOW + timedelta(days=3650))
    assert diff_versions(store, "birds", 1, 3) == before
    (removed,) = (item for item in before.differences if item.kind == "removed")
    assert (removed.sample_id, removed.version, removed.reason) == (f"{TOPIC}~0~0", 3, "asked by the author")


@pytest.mark.parametrize("is_compacted", [False, True])
def test_diff_over_versions_whose_shards_were_purged(
    is_compacted: bool, store: ObjectStore, index: Index, settings: Settings
) -> None:
    """One of the samples that fall stood in the version before, the other came and went in between."""
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    commit_all(store, index, settings, 2, [*texts("birds", 3, 3), TWIN], 10)
    if is_compacted:
        compact_dataset(store, index, settings, "birds")
    orders = put_takedowns(store, 1, [("uri", str(SECRET.uri)), ("uri", str(TWIN.uri))])
    apply_takedowns(store, index, settings, orders, now=NOW)
    commit_all(store, index, settings, 3, texts("birds", 1, 6), 20)
    newest = latest_version(store, "birds")
    before = diff_versions(store, "birds", 1, newest)
    expected = [(0, "removed", "takedown"), *((offset, "added", "batch") for offset in (10, 11, 12, 20))]
    assert [(int(item.sample_id.rpartition("~")[2]), item.kind, item.cause) for item in before.differences] == expected

    assert purge_withdrawn(store, NOW + timedelta(days=30))

    assert diff_versions(store, "birds", 1, newest) == before
