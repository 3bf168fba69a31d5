"""A sensor's tick without Dagster: what it plans, what it costs, and what becomes of it when it is cut short."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka.protocol.consumer import ListOffsetsRequest

from ummp_assets.errors import BrokerUnavailable, StoreUnavailable, TopicReplaced
from ummp_assets.messages.clients import make_admin
from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.planning import Tick, plan_tick
from ummp_assets.messages.topics import Role, ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.messages.counting_store import CountingStore
from ummp_assets_tests.messages.deployments import NOW, make_settings, nobody_listens, request, send
from ummp_assets_tests.messages.relay import FETCH, Relay


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    settings = make_settings(
        tmp_path,
        bootstrap_servers,
        intake={"max_batch_messages": 10, "max_batch_wait_seconds": 5, "max_queued_batches": 3},
    )
    ensure_topics(settings)
    return settings


@pytest.fixture
def topic(settings: Settings) -> str:
    return topic_names(settings).requests_normal


def _tick(
    store: ObjectStore,
    settings: Settings,
    cursor: str | None = None,
    *,
    now: datetime = NOW,
    queued: Mapping[str, int] | None = None,
) -> Tick:
    return plan_tick(store, settings, Role.REQUESTS, cursor=cursor, now=now, queued=queued or {})


def _send(settings: Settings, topic: str, count: int, partition: int = 0) -> None:
    send(settings, topic, [request(number) for number in range(count)], partition=partition)


def _numbers(tick: Tick) -> list[int]:
    return [batch.number for batch in tick.batches]


def _logged(store: ObjectStore, topic: str) -> list[dict[str, Any]]:
    return [json.loads(store.read(item.path)) for item in store.list(f"batches/{topic}")]


def test_messages_wait_until_they_are_enough_or_have_waited_long_enough(
    settings: Settings, store: ObjectStore, topic: str
) -> None:
    _send(settings, topic, 4)

    first = _tick(store, settings)
    assert (first.batches, first.waiting[topic]) == ((), 4)
    second = _tick(store, settings, first.cursor, now=NOW + timedelta(seconds=4.9))
    assert second.batches == ()
    third = _tick(store, settings, second.cursor, now=NOW + timedelta(seconds=5))

    [batch] = third.batches
    assert (batch.key, batch.messages) == (f"{topic}~00000001", 4)
    assert third.waiting == dict.fromkeys(topic_names(settings).of_role(Role.REQUESTS), 0)
    assert _tick(store, settings, third.cursor, now=NOW + timedelta(days=1)).batches == ()


def test_later_messages_wait_their_own_time(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 1)
    waiting = _tick(store, settings)
    cut = _tick(store, settings, waiting.cursor, now=NOW + timedelta(seconds=5))
    _send(settings, topic, 1)

    seen = _tick(store, settings, cut.cursor, now=NOW + timedelta(seconds=60))
    assert seen.batches == ()
    later = _tick(store, settings, seen.cursor, now=NOW + timedelta(seconds=65))

    assert _numbers(later) == [2]


def test_one_batch_spans_all_partitions_of_its_topic(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 6, partition=0)
    _send(settings, topic, 4, partition=1)

    [batch] = _tick(store, settings).batches

    assert [(item.partition, item.start, item.end) for item in batch.ranges] == [(0, 0, 6), (1, 0, 4)]


def test_topics_of_a_role_are_planned_apart_the_most_urgent_first(settings: Settings, store: ObjectStore) -> None:
    names = topic_names(settings)
    for name in (names.requests_low, names.requests_high, names.labels):
        _send(settings, name, 10)

    tick = _tick(store, settings)

    assert [batch.key for batch in tick.batches] == [
        f"{names.requests_high}~00000001",
        f"{names.requests_low}~00000001",
    ]
    assert list(store.list(f"batches/{names.labels}")) == []


def test_no_more_batches_are_cut_than_may_be_queued(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 100)

    full = _tick(store, settings, queued={topic: 3})
    assert (full.batches, full.waiting[topic]) == ((), 100)
    room_for_two = _tick(store, settings, full.cursor, queued={topic: 1})

    assert _numbers(room_for_two) == [1, 2]
    assert room_for_two.waiting[topic] == 80
    assert _numbers(_tick(store, settings, room_for_two.cursor)) == [3, 4, 5]


def test_missing_topics_are_created(tmp_path: Path, bootstrap_servers: str, store: ObjectStore) -> None:
    fresh = make_settings(tmp_path, bootstrap_servers)

    tick = _tick(store, fresh)

    assert (tick.batches, set(tick.waiting.values())) == ((), {0})
    with make_admin(fresh) as admin:
        assert set(topic_names(fresh).all()) <= set(admin.list_topics())


def test_batch_is_in_the_log_before_the_tick_returns(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 10)
    tick = _tick(store, settings)

    [entry] = _logged(store, topic)
    assert (entry["number"], entry["ranges"], entry["planned_at"]) == (
        1,
        [[0, 0, 10], [1, 0, 0]],
        NOW.isoformat("T", "milliseconds"),
    )
    assert OffsetLog(store).get(tick.batches[0].key) == tick.batches[0]


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(None, id="lost"),
        pytest.param("", id="empty"),
        pytest.param("no json", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param("3", id="a number"),
        pytest.param('{"TOPIC": 3}', id="no fields"),
        pytest.param('{"TOPIC": {}}', id="empty fields"),
        pytest.param('{"TOPIC": {"number": "x", "waiting_since": null}}', id="number is text"),
        pytest.param('{"TOPIC": {"number": 1e999, "waiting_since": null}}', id="infinite number"),
        pytest.param('{"TOPIC": {"number": 0, "waiting_since": "soon"}}', id="no time"),
        pytest.param('{"TOPIC": {"number": 0, "waiting_since": "2025-12-31T00:00:00"}}', id="time without a zone"),
        pytest.param('{"TOPIC": {"number": -7, "waiting_since": null}}', id="negative number"),
    ],
)
def test_lost_or_damaged_cursor_asks_for_the_same_batches_and_plans_on(
    settings: Settings, store: ObjectStore, topic: str, cursor: str | None
) -> None:
    _send(settings, topic, 20)
    first = _tick(store, settings)
    assert _numbers(first) == [1, 2]

    again = _tick(store, settings, cursor.replace("TOPIC", topic) if cursor else cursor)

    assert again.batches == first.batches
    _send(settings, topic, 10)
    assert _numbers(_tick(store, settings, again.cursor)) == [3]


def test_tick_killed_between_log_and_cursor_is_made_good_by_the_next(
    settings: Settings, store: ObjectStore, topic: str
) -> None:
    _send(settings, topic, 10)
    kept = _tick(store, settings).cursor
    _send(settings, topic, 20)
    killed = _tick(store, settings, kept)
    assert _numbers(killed) == [2, 3]

    _send(settings, topic, 10)
    following = _tick(store, settings, kept)

    assert _numbers(following) == [2, 3, 4]
    assert following.batches[:2] == killed.batches
    assert _tick(store, settings, following.cursor).batches == ()


def test_cursor_ahead_of_the_log_does_not_skip_a_batch(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 10)
    ahead = json.dumps({topic: {"number": 50, "waiting_since": None}})

    tick = _tick(store, settings, ahead)

    assert _numbers(tick) == [1]
    assert json.loads(tick.cursor)[topic]["number"] == 1


def test_two_sensors_racing_plan_no_offset_twice(settings: Settings, store: ObjectStore, topic: str) -> None:
    """The other one, with other limits, plans its first batch between our look at the log and our write."""
    _send(settings, topic, 35)
    other = settings.model_copy(update={"intake": settings.intake.model_copy(update={"max_batch_messages": 7})})
    theirs: list[Tick] = []
    racing = CountingStore(store)
    racing.before_create = lambda: theirs.append(_tick(store, other, queued={topic: 2}))

    ours = _tick(racing, settings)

    assert theirs[0].batches == ours.batches, "both ask for the batch that the log holds"
    after = _tick(store, settings, ours.cursor, now=NOW)
    ranges = [entry["ranges"][0] for entry in _logged(store, topic)]
    assert ranges == [[0, 0, 7], [0, 7, 17], [0, 17, 27]]
    assert _numbers(after) == [2, 3]


def _requests_of_a_tick(settings: Settings, store: ObjectStore) -> tuple[dict[int, int], int]:
    with Relay(settings.bootstrap_servers) as relay:
        _tick(store, settings.model_copy(update={"kafka_bootstrap_servers": relay.address}), queued={})
    return dict(relay.requests), relay.answered_bytes


def test_tick_costs_the_same_whatever_waits_and_fetches_no_message(
    tmp_path: Path, settings: Settings, topic: str
) -> None:
    empty_requests, empty_bytes = _requests_of_a_tick(settings, LocalStore(tmp_path / "empty"))
    send(settings, topic, [b"x" * 500] * 20_000)

    full_requests, full_bytes = _requests_of_a_tick(settings, LocalStore(tmp_path / "full"))

    assert full_requests == empty_requests
    assert full_requests[ListOffsetsRequest.API_KEY] > 0
    assert FETCH not in full_requests
    assert full_bytes == empty_bytes


def test_tick_looks_into_the_log_a_fixed_number_of_times(settings: Settings, store: ObjectStore, topic: str) -> None:
    _send(settings, topic, 30)
    cursor = _tick(store, settings).cursor
    counting = CountingStore(store)

    _tick(counting, settings, cursor)

    # For each topic the hint and the number after it, and the first replay; the one with batches reads its last entry.
    assert counting.calls["exists"] <= 9
    assert counting.calls["read"] == 1
    assert set(counting.calls) == {"exists", "read"}


def test_broker_that_is_down_fails_the_tick_and_the_next_goes_on(tmp_path: Path, store: ObjectStore) -> None:
    with start_broker(tmp_path / "data") as broker:
        settings = make_settings(tmp_path, broker.bootstrap_servers, kafka_timeout_seconds=1.0)
        ensure_topics(settings)
        topic = topic_names(settings).requests_normal
        _send(settings, topic, 3)
        cursor = _tick(store, settings).cursor
        _send(settings, topic, 2)

    with nobody_listens():
        said = rf"^no Kafka broker answered at {settings.bootstrap_servers} .*UMMP_KAFKA_BOOTSTRAP_SERVERS.*`ummp up`"
        with pytest.raises(BrokerUnavailable, match=said):
            _tick(store, settings, cursor)
    assert [entry["number"] for entry in _logged(store, topic)] == [1]

    with start_broker(tmp_path / "data", port=int(settings.bootstrap_servers.rpartition(":")[2])):
        [batch] = _tick(store, settings, cursor).batches
    assert (batch.number, batch.messages) == (2, 2)


def test_store_that_cannot_be_written_fails_the_tick_and_the_next_plans_the_same(
    tmp_path: Path, settings: Settings, topic: str
) -> None:
    _send(settings, topic, 10)
    (tmp_path / "file").write_bytes(b"")
    broken = LocalStore(tmp_path / "file" / "store")

    with pytest.raises(StoreUnavailable, match=str(tmp_path / "file")):
        _tick(broken, settings)

    (tmp_path / "file").unlink()
    assert _numbers(_tick(broken, settings)) == [1]


def test_topic_that_was_made_anew_is_reported_while_the_others_go_on(
    settings: Settings, store: ObjectStore, topic: str
) -> None:
    _send(settings, topic, 10)
    cursor = _tick(store, settings).cursor
    with make_admin(settings) as admin:
        admin.delete_topics([topic])
    high = topic_names(settings).requests_high
    _send(settings, high, 10)

    tick = _tick(store, settings, cursor)

    [problem] = tick.problems
    assert re.search(f"topic {topic} is not the one that its batches were planned from .*UMMP_TOPIC_PREFIX", problem)
    assert [batch.topic for batch in tick.batches] == [high]


def test_role_whose_only_topic_was_made_anew_fails_the_tick(settings: Settings, store: ObjectStore) -> None:
    ensure_topics(settings)
    labels = topic_names(settings).labels
    _send(settings, labels, 10)
    cursor = plan_tick(store, settings, Role.LABELS, cursor=None, now=NOW, queued={}).cursor
    with make_admin(settings) as admin:
        admin.delete_topics([labels])

    with pytest.raises(TopicReplaced, match=f"topic {labels} is not the one"):
        plan_tick(store, settings, Role.LABELS, cursor=cursor, now=NOW, queued={})
