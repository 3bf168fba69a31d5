"""A reader that follows gives each sample once, from whatever version it came, and wakes up at ready events."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest

from ummp_assets.datasets.arrivals import watch_arrivals
from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import FAN_IN, compact_dataset
from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.following import FollowStream
from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.datasets.reading_order import Part
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.withdrawals import purge_withdrawn
from ummp_assets.errors import InvalidInput
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.modality_stages import modality_stages
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import put_downloads, raw_row
from ummp_assets_tests.datasets.batches import TOPIC, texts
from ummp_assets_tests.datasets.conftest import Committer
from ummp_assets_tests.datasets.test_promotion import commit_rows, document, take_down
from ummp_assets_tests.datasets.test_takedown import NOW, SECRET, commit_all, put_takedowns
from ummp_assets_tests.messages.deployments import nobody_listens


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """All samples in the split `train`."""
    datasets = DatasetSettings(test_fraction=0, validation_fraction=0)
    return settings.model_copy(update={"datasets": datasets})


class _Counting(LocalStore):
    """The same store, which counts how often a path is read."""

    def __init__(self, store: ObjectStore, counted: str) -> None:
        super().__init__(Path(store.uri()))
        self._counted, self.reads = counted, 0

    def read(self, path: str) -> bytes:
        self.reads += path == self._counted
        return super().read(path)


def follow(settings: Settings, dataset: str = "docs") -> FollowStream:
    return open_dataset(dataset, settings=settings).iter_batches(follow=True, idle_seconds=0.1)


def ids(batches: Iterable[pa.RecordBatch]) -> list[str]:
    return [name for rows in batches for name in rows.column("sample_id").to_pylist()]


def offsets(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return sorted(int(name.rsplit("~", 1)[1]) for name in ids(batches))


def replay(store: ObjectStore, index: Index, settings: Settings, seeds: dict[int, int]) -> None:
    """Commit a replay of the first messages of the topic, which gives a document of its own at each of the offsets."""
    ranges = (OffsetRange(0, 0, max(seeds) + 1),)
    batch = OffsetLog(store).put(Batch(f"{TOPIC}.replay", 1, ranges), datetime(2026, 1, 1, tzinfo=UTC))
    put_downloads(store, [raw_row(offset, document(seed)) for offset, seed in seeds.items()], batch.key)
    modality_stages(settings)(store, index, batch.key)
    write_shards(store, settings, batch.key)
    commit_batch(store, index, settings, batch.key)


def test_a_promoted_twin_is_given_once(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    stream = follow(settings)
    commit_rows(store, index, settings, 2, [raw_row(10, document(1, 5)), raw_row(11, document(3))], 10)
    take_down(store, index, settings, 1, 0)
    # What the first version gave is not taken back.
    assert offsets(stream) == [0, 1, 10, 11]


def test_a_promoted_twin_that_was_taken_down_is_not_given_and_its_neighbour_is(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    commit_rows(store, index, settings, 2, [raw_row(offset, document(offset % 10, 5)) for offset in (11, 12, 13)], 10)
    stream = follow(settings)
    take_down(store, index, settings, 1, 0)
    take_down(store, index, settings, 2, 1)
    # Withdrawn and compacted: what the promotions added stands beside rows of the same batch that are old.
    take_down(store, index, settings, 3, 11)
    compact_dataset(store, index, settings, "docs")
    purge_withdrawn(store, NOW + timedelta(days=30))
    assert offsets(open_dataset("docs", settings=settings).iter_batches()) == [12, 13]
    stream.load_state_dict({**stream.state_dict(), "first": None, "version": 3})
    assert offsets(stream) == [12]


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_replay_gives_only_samples_that_the_dataset_did_not_have(
    store: ObjectStore, index: Index, settings: Settings, is_compacted: bool
) -> None:
    commit_rows(store, index, settings, 1, [raw_row(0, document(1)), raw_row(1, document(2))], 0)
    commit_rows(store, index, settings, 2, [raw_row(3, document(3))], 3)
    stream = follow(settings)
    replay(store, index, settings, {0: 11, 2: 12, 3: 13})
    if is_compacted:
        compact_dataset(store, index, settings, "docs")
    assert offsets(open_dataset("docs", settings=settings).iter_batches()) == [0, 1, 2, 3]
    assert offsets(stream) == [0, 1, 2, 3]


def test_an_event_wakes_a_reader_of_its_dataset_only(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    with watch_arrivals(kafka_settings, "birds") as birds, watch_arrivals(kafka_settings, "fish") as fish:
        publish_ready_event(kafka_settings, store, commit_samples(texts("birds", 3)))
        assert birds.wait(30)
        assert not birds.wait(0.2)
        assert not fish.wait(0.2)


def test_a_reader_with_a_broker_asks_the_store_only_at_events(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    first = commit_samples(texts("birds", 3))
    asked = _Counting(store, "datasets/birds/latest")
    dataset = Dataset(asked, first, split="train", settings=kafka_settings)
    batches = iter(dataset.iter_batches(follow=True, idle_seconds=2))
    assert offsets([next(batches)]) == [0, 1, 2]

    def commit_later() -> None:
        publish_ready_event(kafka_settings, store, commit_samples(texts("birds", 2, 10)))

    later = threading.Timer(0.5, commit_later)
    later.start()
    assert offsets(batches) == [3, 4]
    later.join()
    # At the start, at the event, after the version, and once more at the end: not twice a second.
    assert asked.reads <= 4


def test_a_reader_asks_the_store_when_no_broker_answers(settings: Settings, commit_samples: Committer) -> None:
    commit_samples(texts("birds", 3))
    with nobody_listens() as address:
        alone = settings.model_copy(update={"kafka_bootstrap_servers": address, "kafka_timeout_seconds": 0.2})
        stream = open_dataset("birds", settings=alone).iter_batches(follow=True, idle_seconds=0.2)
        commit_samples(texts("birds", 2, 10))
        assert offsets(stream) == [0, 1, 2, 3, 4]


def test_follow_gives_every_sample_once_as_versions_come(
    store: ObjectStore, index: Index, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 10))
    opened = open_dataset("birds", settings=settings, columns=["text"])
    follower = iter(opened.iter_batches(4, follow=True, idle_seconds=5))
    seen = [text for _ in range(3) for text in next(follower).column("text").to_pylist()]

    def commit_more() -> None:
        for number in range(1, FAN_IN + 2):
            commit_samples(texts("birds", 3, 10 * number))

    later = threading.Thread(target=commit_more)
    later.start()
    while later.is_alive() or len(seen) < len(open_dataset("birds", settings=settings)):
        rows = next(follower, None)
        if rows is None:
            # Everything was given while the other thread was still ending.
            break
        assert rows.schema.names == ["text"]
        seen += rows.column("text").to_pylist()
    later.join()
    whole = open_dataset("birds", settings=settings)
    assert any(shard.level == 1 for shard in whole.shards)
    assert sorted(seen) == sorted(whole.to_arrow().column("text").to_pylist())


def test_followers_share_what_comes_and_resume_where_they_stopped(
    settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 10))
    first = open_dataset("birds", settings=settings)
    for number in range(1, FAN_IN + 2):
        commit_samples(texts("birds", 3, 10 * number))
    whole = sorted(open_dataset("birds", settings=settings).to_arrow().column("sample_id").to_pylist())
    for done in (0, 2, 9):
        seen: list[str] = []
        for rank in range(2):
            part = Part(rank, 2)
            stream = first.iter_batches(2, part=part, follow=True, idle_seconds=0.1)
            batches = iter(stream)
            seen += [name for _ in range(done) for name in next(batches).column("sample_id").to_pylist()]
            resumed = first.iter_batches(2, part=part, follow=True, idle_seconds=0.1)
            resumed.load_state_dict(stream.state_dict())
            seen += [name for rows in resumed for name in rows.column("sample_id").to_pylist()]
        assert sorted(seen) == whole


def test_a_follower_is_resumed_though_the_version_that_it_began_with_was_withdrawn(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    follower = follow(settings, "birds")
    given = ids([next(iter(follower))])
    commit_all(store, index, settings, 2, texts("birds", 5, 10), 10)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    compact_dataset(store, index, settings, "birds")
    commit_all(store, index, settings, 3, texts("birds", 5, 20), 20)

    resumed = follow(settings, "birds")
    resumed.load_state_dict(follower.state_dict())

    newest = ids(open_dataset("birds", settings=settings).iter_batches())
    assert sorted([*given, *ids(resumed)]) == sorted([*newest, f"{TOPIC}~0~0"])
    other = open_dataset("birds", settings=settings).iter_batches(part=Part(1, 2), follow=True)
    with pytest.raises(InvalidInput, match=r"this state is of birds train .* rank 0/1 .* rank 1/2"):
        other.load_state_dict(follower.state_dict())


def test_followers_resumed_in_a_version_that_was_withdrawn_meanwhile_miss_nothing(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """What the takedown took away no longer stands before the rows that are left to be given."""
    commit_all(store, index, settings, 1, texts("birds", 3), 0)
    first = open_dataset("birds", settings=settings)
    commit_all(store, index, settings, 2, [SECRET, *texts("birds", 20, 10)], 10)
    streams = [first.iter_batches(3, part=Part(rank, 2), follow=True, idle_seconds=0.1) for rank in range(2)]
    seen = [name for stream, done in zip(streams, (2, 3), strict=True) for name in ids(islice(stream, done))]
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    for rank, stream in enumerate(streams):
        resumed = first.iter_batches(3, part=Part(rank, 2), follow=True, idle_seconds=0.1)
        resumed.load_state_dict(stream.state_dict())
        seen += ids(resumed)
    assert sorted({*seen} - {f"{TOPIC}~0~10"}) == sorted(ids(open_dataset("birds", settings=settings).iter_batches()))
    assert len(seen) == len(set(seen))


def test_a_follower_never_gives_what_was_taken_down(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, texts("birds", 2), 0)
    follower = open_dataset("birds", settings=settings).iter_batches(follow=True, idle_seconds=0.1)
    commit_all(store, index, settings, 2, [*texts("birds", 5, 2), SECRET], 2)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SECRET.uri))]), now=NOW)
    purge_withdrawn(store, NOW + timedelta(days=30))
    seen = [name for rows in follower for name in rows.column("sample_id").to_pylist()]
    assert sorted(seen) == sorted(open_dataset("birds", settings=settings).to_arrow().column("sample_id").to_pylist())
    assert len(seen) > 3
