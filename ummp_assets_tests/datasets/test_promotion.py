"""A near duplicate enters its dataset when its owner is taken down: cleaned from its stored bytes, and once."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ummp_assets.clean.text import clean_text
from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compare import diff_versions
from ummp_assets.datasets.promote import promote_twins
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.trace import find_lineage, sample_ids_of
from ummp_assets.datasets.versions import DatasetVersion, latest_version, read_version
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.modality_stages import modality_stages
from ummp_assets.settings import CleanSettings, DatasetSettings, Settings, TextSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.promotions import PromotionIndex
from ummp_assets.storage.stages import MEASUREMENTS, OutcomeCount, read_manifest, read_table
from ummp_assets_tests.clean.downloads import put_downloads, raw_row
from ummp_assets_tests.clean.test_image_near_duplicates import jpeg, opened
from ummp_assets_tests.clean.test_text_near_duplicates import prose
from ummp_assets_tests.datasets.searching import files_with_bytes
from ummp_assets_tests.datasets.test_takedown import NOW, put_takedowns

TOPIC = "ummp.requests.normal"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})


def document(seed: int, variant: int = 0) -> bytes:
    """Return 600 words; a variant differs in three of them, and so in a fortieth of its sequences."""
    words = prose(seed)
    if variant:
        words[50 * variant % 600 :: 200] = [f"new{variant}"] * len(words[50 * variant % 600 :: 200])
    return " ".join(words).encode()


def prepare(
    store: ObjectStore, index: Index, settings: Settings, number: int, rows: Sequence[Mapping[str, Any]], start: int
) -> str:
    """Run a batch of raw rows through all stages but the commit; return its key."""
    batch = Batch(TOPIC, number, (OffsetRange(0, start, start + len(rows)),))
    OffsetLog(store).put(batch, datetime(2026, 1, 1, tzinfo=UTC))
    put_downloads(store, rows, batch.key)
    modality_stages(settings)(store, index, batch.key)
    write_shards(store, settings, batch.key)
    return batch.key


def commit_rows(
    store: ObjectStore, index: Index, settings: Settings, number: int, rows: Sequence[Mapping[str, Any]], start: int
) -> None:
    commit_batch(store, index, settings, prepare(store, index, settings, number, rows, start))


def take_down(store: ObjectStore, index: Index, settings: Settings, number: int, offset: int) -> list[DatasetVersion]:
    order = put_takedowns(store, number, [("sample_id", f"{TOPIC}~0~{offset}")])
    apply_takedowns(store, index, settings, order, now=NOW)
    return promote_twins(store, index, settings, modality_stages(settings))


def stored(store: ObjectStore, index: Index) -> list[str]:
    """Return the offsets of all rows of the newest version, in order."""
    return sorted(name.rsplit("~", 1)[1] for name in sample_ids_of(store, index, "docs@latest"))


def test_the_first_near_duplicate_takes_the_place_of_its_owner(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    twins = [raw_row(offset, document(1, offset)) for offset in (10, 11)]
    commit_rows(store, index, settings, 2, [*twins, raw_row(12, document(3))], 10)
    assert stored(store, index) == ["0", "1", "12"]

    (version,) = take_down(store, index, settings, 1, 0)

    assert (version.cause, version.rows) == ("promotion", 3)
    assert stored(store, index) == ["1", "10", "12"]
    assert OutcomeCount("docs", "text", "stored", "", 3) in version.outcomes
    assert OutcomeCount("docs", "text", "duplicate", "near_duplicate", 1) in version.outcomes
    assert files_with_bytes(store, document(1)) == []
    (found,) = find_lineage(store, index, f"{TOPIC}~0~10")
    assert (found["outcome"], found["reason"]) == ("stored", None)
    assert [shard["first_version"] for shard in found["shards"]] == [version.version]
    assert [
        (item.sample_id[-2:], item.kind, item.cause) for item in diff_versions(store, "docs", 3, 4).differences
    ] == [("10", "added", "promotion")]
    assert promote_twins(store, index, settings, modality_stages(settings)) == []
    # The other twin is a near duplicate of the new owner, and follows it.
    take_down(store, index, settings, 2, 10)
    assert stored(store, index) == ["1", "11", "12"]
    assert files_with_bytes(store, document(1, 10)) == []


def test_a_picture_is_promoted_too_and_keeps_its_pixels(store: ObjectStore, index: Index, settings: Settings) -> None:
    picture = opened("rocket.jpg")
    rows = [
        raw_row(offset, data, modality="image", media_type="image/jpeg")
        for offset, data in enumerate([jpeg(picture), jpeg(picture, 70)])
    ]
    commit_rows(store, index, settings, 1, rows, 0)
    assert stored(store, index) == ["0"]
    take_down(store, index, settings, 1, 0)
    assert stored(store, index) == ["1"]
    assert files_with_bytes(store, rows[0]["content"]) == []


def test_a_twin_on_its_way_is_promoted_once_its_batch_is_committed(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1))], 0)
    later = prepare(store, index, settings, 2, [raw_row(10, document(1, 5))], 10)
    assert take_down(store, index, settings, 1, 0) == []
    assert [item.sample_id for item in PromotionIndex(index).waiting()] == [f"{TOPIC}~0~10"]
    assert commit_batch(store, index, settings, later) == []
    (version,) = promote_twins(store, index, settings, modality_stages(settings))
    assert version.added_batches == (later,)
    assert all(item.count > 0 for item in version.outcomes), version.outcomes
    assert "clean_text" in version.code_versions
    assert stored(store, index) == ["10"]
    assert PromotionIndex(index).waiting() == []


def test_an_owner_that_was_on_its_way_releases_its_twin(store: ObjectStore, index: Index, settings: Settings) -> None:
    first = prepare(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    commit_rows(store, index, settings, 2, [raw_row(10, document(1, 5))], 10)
    assert take_down(store, index, settings, 1, 0) == []
    commit_batch(store, index, settings, first)
    promote_twins(store, index, settings, modality_stages(settings))
    assert stored(store, index) == ["1", "10"]


def test_a_promotion_that_was_killed_before_it_was_struck_out_adds_nothing_twice(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    rows = [raw_row(0, document(1)), raw_row(1, document(1, 5)), raw_row(2, document(2))]
    commit_rows(store, index, settings, 1, rows, 0)
    order = put_takedowns(store, 1, [("sample_id", f"{TOPIC}~0~0")])
    apply_takedowns(store, index, settings, order, now=NOW)
    waiting = PromotionIndex(index).waiting()
    twin = index.find_samples(sample_ids=[f"{TOPIC}~0~1"])
    promote_twins(store, index, settings, modality_stages(settings))
    newest = latest_version(store, "docs")
    PromotionIndex(index).add(waiting)
    index.record_samples(twin)
    assert promote_twins(store, index, settings, modality_stages(settings)) == []
    assert latest_version(store, "docs") == newest
    assert stored(store, index) == ["1", "2"]


def test_a_twin_that_becomes_due_after_a_killed_promotion_is_added_beside_what_stands(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    owners = [raw_row(0, document(1)), raw_row(2, document(2))]
    commit_rows(store, index, settings, 1, [owners[0], raw_row(1, document(1, 5)), owners[1]], 0)
    commit_rows(store, index, settings, 2, [raw_row(10, document(1, 3)), raw_row(11, document(2, 5))], 10)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("sample_id", f"{TOPIC}~0~1")]), now=NOW)
    twin = index.find_samples(sample_ids=[f"{TOPIC}~0~10"])
    apply_takedowns(store, index, settings, put_takedowns(store, 2, [("sample_id", f"{TOPIC}~0~0")]), now=NOW)
    waiting = PromotionIndex(index).waiting()
    promote_twins(store, index, settings, modality_stages(settings))
    assert stored(store, index) == ["10", "2"]
    PromotionIndex(index).add(waiting)
    index.record_samples(twin)

    (version,) = take_down(store, index, settings, 3, 2)

    assert (version.cause, version.rows) == ("promotion", 2)
    assert stored(store, index) == ["10", "11"]
    assert OutcomeCount("docs", "text", "stored", "", 2) in version.outcomes
    assert {item.outcome for item in index.find_samples(sample_ids=[f"{TOPIC}~0~10", f"{TOPIC}~0~11"])} == {"stored"}


def test_a_twin_that_falls_with_its_owner_stays_out(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(1, 5))], 0)
    order = put_takedowns(store, 1, [("domain", "127.0.0.1")])
    apply_takedowns(store, index, settings, order, now=NOW)
    assert promote_twins(store, index, settings, modality_stages(settings)) == []
    assert stored(store, index) == []


def test_a_repeated_batch_gives_the_answer_that_the_promotion_made(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1))], 0)
    commit_rows(store, index, settings, 2, [raw_row(10, document(1, 5)), raw_row(11, document(2))], 10)
    take_down(store, index, settings, 1, 0)
    assert clean_text(store, index, settings, f"{TOPIC}~00000002").rows("samples") == 2


def test_the_same_content_falls_in_other_datasets_though_its_bytes_differ(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    rows = [raw_row(10, document(1) + b"\r\n", dataset="pages"), raw_row(11, document(2, 1), dataset="pages")]
    commit_rows(store, index, settings, 2, rows, 10)

    take_down(store, index, settings, 1, 0)

    assert files_with_bytes(store, document(1)) == []
    assert [read_version(store, name).rows for name in ("docs", "pages")] == [1, 1]


def with_blob(store: ObjectStore, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a raw row whose bytes stand in the store as a large object."""
    blob = f"blobs/{row['sha256']}"
    store.write(blob, row["content"])
    return {**row, "content": None, "blob": blob}


def test_a_batch_on_its_way_that_shares_a_blob_with_what_was_taken_down_gets_through(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [with_blob(store, raw_row(0, document(1)))], 0)
    rows = [with_blob(store, raw_row(10, document(1))), raw_row(11, document(2))]
    put_downloads(store, rows, f"{TOPIC}~00000002")
    order = put_takedowns(store, 1, [("sample_id", f"{TOPIC}~0~0")])
    apply_takedowns(store, index, settings, order, now=NOW)
    assert not store.exists(str(rows[0]["blob"]))

    commit_rows(store, index, settings, 2, rows, 10)

    assert stored(store, index) == ["11"]
    # The first one, and the one that shared its blob.
    assert OutcomeCount("docs", "text", "filtered", "takedown", 2) in read_version(store, "docs").outcomes
    assert read_manifest(store, "clean_text", f"{TOPIC}~00000002").rows(MEASUREMENTS) == 1
    assert files_with_bytes(store, document(1)) == []


def test_a_lost_blob_without_an_order_names_the_command_that_restores_it(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    row = with_blob(store, raw_row(0, document(1)))
    store.delete(str(row["blob"]))
    with pytest.raises(
        ManifestCorrupt, match=rf"{row['blob']}: it held .* {TOPIC}~0~0\. `ummp datasets scrub --repair`"
    ):
        prepare(store, index, settings, 1, [row], 0)


def test_packed_sequences_that_hold_a_piece_of_a_sample_fall(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    clean = CleanSettings(text=TextSettings(sequence_tokens=64))
    settings = settings.model_copy(update={"clean": clean})
    rows = [raw_row(offset, b"A page about herons number %d." % offset) for offset in range(30)]
    commit_rows(store, index, settings, 1, rows, 0)
    names = sequences_by_sample(store)
    assert len(names) == 30

    take_down(store, index, settings, 1, 3)

    left = sequences_by_sample(store)
    assert f"{TOPIC}~0~3" not in left
    assert len(left) > 20
    assert stored(store, index) == sorted(str(offset) for offset in range(30) if offset != 3)


def sequences_by_sample(store: ObjectStore) -> set[str]:
    manifest = read_manifest(store, "text_features", f"{TOPIC}~00000001")
    parts = read_table(store, manifest, "sequences")
    return {name for rows in parts for ids in rows.column("sample_ids").to_pylist() for name in ids}
