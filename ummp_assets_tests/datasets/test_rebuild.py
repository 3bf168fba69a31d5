"""A version is rebuilt to the byte from what is stored, and a change of code or of raw bytes is found by sample."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import FAN_IN, compact_dataset
from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.promote import RunStages
from ummp_assets.datasets.rebuild import rebuild_version
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_shards, read_version
from ummp_assets.errors import InvalidInput
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.modality_stages import modality_stages
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import put_downloads, raw_row
from ummp_assets_tests.datasets.batches import TOPIC, Sample, put_batch, texts
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_promotion import document, prepare
from ummp_assets_tests.datasets.test_takedown import SECRET, commit_all, put_takedowns


def _stages_of(batches: dict[str, tuple[int, Sequence[Sample], int]]) -> RunStages:
    """Return a run of the clean and feature stages that gives these samples for each batch."""

    def run(store: ObjectStore, _index: Index, batch: str) -> None:
        number, samples, start = batches[batch]
        put_batch(store, number, samples, start=start)

    return run


@pytest.fixture
def history(store: ObjectStore, index: Index, settings: Settings) -> dict[str, tuple[int, Sequence[Sample], int]]:
    """A dataset of many batches, merged on the way, then labelled and compacted; the samples by batch."""
    batches: dict[str, tuple[int, Sequence[Sample], int]] = {}
    for number in range(1, FAN_IN + 1):
        samples, start = texts("birds", 3, 3 * number), 3 * number
        commit_all(store, index, settings, number, samples, start)
        batches[f"{TOPIC}~{number:08d}"] = (number, samples, start)
    labels = put_labels(store, 1, [label("birds", "sample_id", f"{TOPIC}~0~7", '"owl"')])
    apply_labels(store, index, settings, labels)
    compact_dataset(store, index, settings, "birds")
    return batches


def test_every_kind_of_version_is_rebuilt_to_the_byte(
    history: dict[str, tuple[int, Sequence[Sample], int]], store: ObjectStore, settings: Settings
) -> None:
    before = {info.path: store.read(info.path) for info in store.list()}
    for number in (1, FAN_IN, FAN_IN + 1, FAN_IN + 2):
        rebuilt = rebuild_version(store, settings, "birds", number, _stages_of(history))
        assert rebuilt.is_identical
        assert rebuilt.has_same_rows
        assert rebuilt.rebuilt_sha256 == read_version(store, "birds", number).sha256
    assert {info.path: store.read(info.path) for info in store.list()} == before


@pytest.mark.parametrize("policy", ["latest", "majority"])
def test_labels_that_changed_nothing_when_they_came_hold_in_a_rebuild(
    policy: str, store: ObjectStore, index: Index, settings: Settings
) -> None:
    """A label before its sample, and one that another annotator's tells the majority later."""
    settings = settings.model_copy(update={"datasets": DatasetSettings(label_policy=policy)})
    names = [f"{TOPIC}~0~{offset}" for offset in (1, 11)]
    given = [
        [label("birds", "sample_id", names[0], '"owl"', "ann"), label("birds", "sample_id", names[0], '"owl"', "bob")],
        [label("birds", "sample_id", names[1], '"hen"', "ann")],
        [label("birds", "sample_id", names[0], '"owl"', "cy")],
        [label("birds", "sample_id", names[0], '"jay"', other) for other in ("dot", "eve", "fay")],
    ]
    orders = [put_labels(store, number, rows, 10 * number) for number, rows in enumerate(given, 1)]
    commit_all(store, index, settings, 1, texts("birds", 3), 0)
    for batch in orders[:3]:
        apply_labels(store, index, settings, batch)
    commit_all(store, index, settings, 2, texts("birds", 3, 3), 10)
    apply_labels(store, index, settings, orders[3])
    stages = _stages_of(
        {f"{TOPIC}~00000001": (1, texts("birds", 3), 0), f"{TOPIC}~00000002": (2, texts("birds", 3, 3), 10)}
    )
    for number in range(1, read_version(store, "birds").version + 1):
        assert rebuild_version(store, settings, "birds", number, stages).is_identical, number


def test_repair_brings_back_what_only_earlier_versions_hold(
    history: dict[str, tuple[int, Sequence[Sample], int]], store: ObjectStore, settings: Settings
) -> None:
    """A reader of any version is told to rebuild the dataset, and that is its newest version."""
    lost = next(read_shards(store, read_version(store, "birds", 1))).path
    whole = store.read(lost)
    store.delete(lost)
    assert rebuild_version(store, settings, "birds", FAN_IN + 2, _stages_of(history)).damaged == ()
    rebuilt = rebuild_version(store, settings, "birds", FAN_IN + 2, _stages_of(history), repair=True)
    assert rebuilt.damaged == rebuilt.repaired == (lost,)
    assert store.read(lost) == whole


def test_rebuild_names_the_samples_that_other_code_changes(
    history: dict[str, tuple[int, Sequence[Sample], int]], store: ObjectStore, settings: Settings
) -> None:
    key = f"{TOPIC}~00000002"
    number, samples, start = history[key]
    changed = {**history, key: (number, [samples[0], Sample("birds", "text", "cleaned otherwise")], start)}
    rebuilt = rebuild_version(store, settings, "birds", 3, _stages_of(changed))
    assert not rebuilt.is_identical
    assert (rebuilt.added, rebuilt.removed, rebuilt.changed) == ((), (f"{TOPIC}~0~8",), (f"{TOPIC}~0~7",))


def test_a_version_after_a_takedown_has_the_same_rows_and_one_before_is_refused(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 4), SECRET], 0)
    takedown = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    apply_takedowns(store, index, settings, takedown, now=datetime(2026, 6, 1, tzinfo=UTC))
    stages = _stages_of({f"{TOPIC}~00000001": (1, texts("birds", 4), 0)})
    rebuilt = rebuild_version(store, settings, "birds", 2, stages)
    assert rebuilt.has_same_rows
    with pytest.raises(InvalidInput, match="version 1 of birds was withdrawn"):
        rebuild_version(store, settings, "birds", 1, stages)


def test_a_version_is_rebuilt_whichever_batch_was_cleaned_first(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """The batch that is committed second was cleaned first, and owns a content and a look-alike of the other's."""
    second = prepare(store, index, settings, 2, [raw_row(10, document(1, 5)), raw_row(11, document(2))], 10)
    rows = [raw_row(0, document(1)), raw_row(1, document(2)), raw_row(2, document(3))]
    first = prepare(store, index, settings, 1, rows, 0)
    for batch in (first, second):
        commit_batch(store, index, settings, batch)
    rebuilt = rebuild_version(store, settings, "docs", 2, modality_stages(settings))
    assert rebuilt.is_identical
    assert (rebuilt.added, rebuilt.removed, rebuilt.changed) == ((), (), ())


def test_a_version_with_a_replay_is_rebuilt(store: ObjectStore, index: Index, settings: Settings) -> None:
    prepared = prepare(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    commit_batch(store, index, settings, prepared)
    replay = OffsetLog(store).put(
        Batch(f"{TOPIC}.replay", 1, (OffsetRange(0, 0, 2),)), datetime(2026, 1, 1, tzinfo=UTC)
    )
    put_downloads(store, [raw_row(0, document(4)), raw_row(1, document(2))], replay.key)
    modality_stages(settings)(store, index, replay.key)
    write_shards(store, settings, replay.key)
    (version,) = commit_batch(store, index, settings, replay.key)
    assert (version.version, version.rows) == (2, 2)
    assert rebuild_version(store, settings, "docs", 2, modality_stages(settings)).is_identical
