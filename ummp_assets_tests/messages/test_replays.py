"""Replays read what was stored, and from Kafka what was not."""

from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.planning import plan_tick
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.replays import BatchFinder, ReplayReader, plan_replay
from ummp_assets.messages.topics import Role, ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_table
from ummp_assets_tests.messages.deployments import NOW, make_settings, request, send


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    settings = make_settings(tmp_path, bootstrap_servers)
    ensure_topics(settings)
    return settings


@pytest.fixture
def topic(store: ObjectStore, settings: Settings) -> str:
    """A topic of eight messages in two batches, of which only the first was read."""
    name = topic_names(settings).requests_normal
    values = [request(number) for number in range(8)]
    values[2] = b"no json"
    send(settings, name, values, key=b"k", headers=[("a", b"1"), ("a", b"2")])
    for number, start in ((1, 0), (2, 4)):
        OffsetLog(store).put(Batch(name, number, (OffsetRange(0, start, start + 4), OffsetRange(1, 0, 0))), NOW)
    read_requests(store, settings, f"{name}~00000001")
    return name


def test_a_replay_stores_the_same_messages_under_its_own_key(
    store: ObjectStore, settings: Settings, topic: str
) -> None:
    (batch,) = plan_replay(store, settings, topic, [OffsetRange(0, 1, 6)], NOW)
    manifest = read_requests(store, settings, batch.key)
    rows = [row for part in read_table(store, manifest, "samples") for row in part.to_pylist()]
    assert [row["sample_id"] for row in rows] == [f"{topic}~0~{offset}" for offset in (1, 3, 4, 5)]
    assert [row["value"] for row in rows] == [request(offset) for offset in (1, 3, 4, 5)]
    assert all(row["timestamp_ms"] > 0 and row["key"] == b"k" for row in rows)
    assert rows[0]["headers"] == [{"name": "a", "value": b"1"}, {"name": "a", "value": b"2"}]
    letters = [row for part in read_table(store, manifest, "dead_letters") for row in part.to_pylist()]
    assert [(row["sample_id"], row["value"]) for row in letters] == [(f"{topic}~0~2", b"no json")]
    assert (manifest.numbers["readable"], manifest.numbers["unreadable"], manifest.numbers["gaps"]) == (4, 1, 0)


def test_a_replay_of_a_replay_and_a_larger_limit_read_what_was_unreadable(
    store: ObjectStore, settings: Settings, topic: str
) -> None:
    small = settings.model_copy(update={"intake": settings.intake.model_copy(update={"max_message_bytes": 10})})
    (first,) = plan_replay(store, settings, topic, [OffsetRange(0, 0, 4)], NOW)
    assert read_requests(store, small, first.key).numbers["unreadable"] == 4
    (second,) = plan_replay(store, settings, topic, [OffsetRange(0, 0, 4)], NOW)
    assert read_requests(store, settings, second.key).numbers["readable"] == 3


def test_a_range_before_the_first_batch_is_refused_and_not_planned(store: ObjectStore, settings: Settings) -> None:
    topic = topic_names(settings).requests_normal
    OffsetLog(store).put(Batch(topic, 1, (OffsetRange(0, 100, 200),)), NOW)
    for start, end in ((0, 50), (50, 150)):
        with pytest.raises(InvalidInput, match=f"offset {start} of partition 0 cannot be replayed"):
            plan_replay(store, settings, topic, [OffsetRange(0, start, end)], NOW)
    assert [batch.number for batch in plan_replay(store, settings, topic, [OffsetRange(0, 100, 150)], NOW)] == [1]


def test_the_sensor_asks_for_each_replay_once(store: ObjectStore, settings: Settings, topic: str) -> None:
    (first,) = plan_replay(store, settings, topic, [OffsetRange(0, 0, 4)], NOW)
    tick = plan_tick(store, settings, Role.REQUESTS, cursor=None, now=NOW, queued={})
    assert first in tick.batches
    assert tick.newest[first.topic] == 1
    later = plan_tick(store, settings, Role.REQUESTS, cursor=tick.cursor, now=NOW, queued={})
    assert later.batches == ()
    (second,) = plan_replay(store, settings, topic, [OffsetRange(0, 4, 6)], NOW)
    assert plan_tick(store, settings, Role.REQUESTS, cursor=later.cursor, now=NOW, queued={}).batches == (second,)


def test_finder_names_every_batch_that_went_over_a_sample(store: ObjectStore, settings: Settings, topic: str) -> None:
    plan_replay(store, settings, topic, [OffsetRange(0, 1, 6)], NOW)
    plan_replay(store, settings, topic, [OffsetRange(0, 5, 6)], NOW)
    finder = BatchFinder(store)
    assert finder.of(f"{topic}~0~5~page.txt", f"{topic}.replay~00000002") == [
        f"{topic}.replay~00000001",
        f"{topic}.replay~00000002",
        f"{topic}~00000002",
    ]
    assert finder.of(f"{topic}~0~0", f"{topic}~00000001") == [f"{topic}~00000001"]


def test_a_replay_is_cut_to_batches_of_the_largest_size(store: ObjectStore, settings: Settings) -> None:
    topic = topic_names(settings).requests_normal
    OffsetLog(store).put(Batch(topic, 1, (OffsetRange(0, 0, 9), OffsetRange(1, 0, 9))), NOW)
    small = settings.model_copy(update={"intake": settings.intake.model_copy(update={"max_batch_messages": 4})})
    batches = plan_replay(store, small, topic, [OffsetRange(1, 2, 9), OffsetRange(0, 6, 9)], NOW)
    assert [(batch.number, batch.ranges) for batch in batches] == [
        (1, (OffsetRange(0, 6, 9), OffsetRange(1, 2, 3))),
        (2, (OffsetRange(1, 3, 7),)),
        (3, (OffsetRange(1, 7, 9),)),
    ]


class _Counting(LocalStore):
    """The same store, which counts how often each path is opened."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(Path(store.uri()))
        self.opened: Counter[str] = Counter()

    def open(self, path: str) -> BinaryIO:
        self.opened[path] += path.endswith(".parquet")
        return super().open(path)


def test_a_stored_batch_is_read_once_and_in_chunks(store: ObjectStore, settings: Settings) -> None:
    topic = topic_names(settings).requests_normal
    for partition in range(2):
        values = [request(number, attributes={"text": "x" * 900_000}) for number in range(8)]
        send(settings, topic, values, partition=partition)
    whole = (OffsetRange(0, 0, 8), OffsetRange(1, 0, 8))
    OffsetLog(store).put(Batch(topic, 1, whole), NOW)
    read_requests(store, settings, f"{topic}~00000001")
    (again,) = plan_replay(store, settings, topic, whole, NOW)
    counting = _Counting(store)
    chunks = list(ReplayReader(counting, settings, again))
    places = [(message.partition, message.offset) for chunk in chunks for message in chunk]
    assert places == [(partition, offset) for partition in range(2) for offset in range(8)]
    assert max(map(len, chunks)) <= 10
    assert set(counting.opened.values()) - {0} == {1}
