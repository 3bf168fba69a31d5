"""The rule that cuts batches: a table of named cases, and properties that hold for every history of a topic."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ummp_assets.errors import InvalidInput, OffsetsWentBack
from ummp_assets.messages.ranges import Batch, OffsetRange, Watermarks, parse_key, plan_batches
from ummp_assets.settings import IntakeSettings

TOPIC = "ummp.requests.normal"
INTAKE = IntakeSettings(max_batch_messages=100, max_batch_wait_seconds=10)


def _last(number: int, **ends: int) -> Batch:
    """A batch that ended at these offsets; partitions as p0, p1, ..."""
    return Batch(TOPIC, number, tuple(OffsetRange(int(name[1:]), 0, end) for name, end in ends.items()))


def _marks(*highs: int, lows: Mapping[int, int] | None = None) -> dict[int, Watermarks]:
    return {partition: Watermarks((lows or {}).get(partition, 0), high) for partition, high in enumerate(highs)}


@dataclass(frozen=True)
class Case:
    """What a tick sees, and the ranges (partition, start, end) of each batch that it cuts."""

    name: str
    marks: dict[int, Watermarks]
    expected: list[list[tuple[int, int, int]]]
    waiting: int = 0
    last: Batch | None = None
    waited_seconds: float = 0
    room: int = 20


CASES = [
    Case("an empty topic gives nothing", _marks(0, 0), [], waited_seconds=99),
    Case("few messages wait for more", _marks(3, 4), [], waiting=7, waited_seconds=9.9),
    Case("few messages that waited long enough are cut", _marks(3, 4), [[(0, 0, 3), (1, 0, 4)]], waited_seconds=10),
    Case("a full batch is cut at once", _marks(60, 40), [[(0, 0, 60), (1, 0, 40)]]),
    Case("one message less than a full batch waits", _marks(60, 39), [], waiting=99),
    Case("what is left of full batches waits", _marks(250), [[(0, 0, 100)], [(0, 100, 200)]], waiting=50),
    Case(
        "what is left is cut as well when it waited",
        _marks(250),
        [[(0, 0, 100)], [(0, 100, 200)], [(0, 200, 250)]],
        waited_seconds=10,
    ),
    Case(
        "no more batches than there is room for", _marks(1_000), [[(0, 0, 100)], [(0, 100, 200)]], waiting=800, room=2
    ),
    Case("no room gives nothing", _marks(1_000), [], waiting=1_000, waited_seconds=99, room=0),
    Case("room below zero gives nothing", _marks(1_000), [], waiting=1_000, waited_seconds=99, room=-3),
    Case(
        "the next batch starts where the last one ended",
        _marks(60, 90),
        [[(0, 50, 60), (1, 40, 90)]],
        last=_last(7, p0=50, p1=40),
        waited_seconds=10,
    ),
    Case(
        "nothing new after the last batch gives nothing",
        _marks(50, 40),
        [],
        last=_last(7, p0=50, p1=40),
        waited_seconds=99,
    ),
    Case(
        "a new partition starts at its first offset",
        _marks(50, 40, 5, lows={2: 2}),
        [[(0, 50, 50), (1, 40, 40), (2, 2, 5)]],
        last=_last(1, p0=50, p1=40),
        waited_seconds=10,
    ),
    Case(
        "the first batch starts at what the broker still has",
        _marks(30, lows={0: 10}),
        [[(0, 10, 30)]],
        waited_seconds=10,
    ),
    Case(
        "expired messages stay in the range and are counted when it is read",
        _marks(60, lows={0: 30}),
        [[(0, 20, 60)]],
        last=_last(1, p0=20),
        waited_seconds=10,
    ),
    Case(
        "a long partition leaves room for all of a short one",
        _marks(1_000, 10),
        [[(0, 0, 90), (1, 0, 10)]],
        waiting=910,
        room=1,
    ),
    Case(
        "long partitions get equal parts",
        _marks(1_000, 1_000, 4),
        [[(0, 0, 48), (1, 0, 48), (2, 0, 4)]],
        waiting=1_904,
        room=1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batches_are_cut(case: Case) -> None:
    plan = plan_batches(TOPIC, case.last, case.marks, waited_seconds=case.waited_seconds, room=case.room, intake=INTAKE)

    cut = [[(item.partition, item.start, item.end) for item in batch.ranges] for batch in plan.batches]
    assert cut == case.expected
    assert plan.waiting == case.waiting
    first = (case.last.number if case.last else 0) + 1
    assert [batch.number for batch in plan.batches] == list(range(first, first + len(cut)))


@pytest.mark.parametrize(
    ("last", "marks"),
    [
        pytest.param(_last(1, p0=50), _marks(49), id="it ends earlier"),
        pytest.param(_last(1, p0=50, p1=3), _marks(50), id="a partition is gone"),
        pytest.param(_last(1, p0=50), {}, id="all partitions are gone"),
    ],
)
def test_topic_made_anew_is_refused_with_what_to_do(last: Batch, marks: dict[int, Watermarks]) -> None:
    with pytest.raises(OffsetsWentBack, match=r"ummp.requests.normal ends before.*UMMP_TOPIC_PREFIX"):
        plan_batches(TOPIC, last, marks, waited_seconds=0, room=1, intake=INTAKE)


def test_no_partition_starves_when_a_batch_holds_fewer_messages_than_there_are_partitions() -> None:
    intake = IntakeSettings(max_batch_messages=3, max_batch_wait_seconds=0)
    highs = [100] * 7
    last = Batch(TOPIC, 0, ())
    for _ in range(3):
        [last] = plan_batches(TOPIC, last, _marks(*highs), waited_seconds=0, room=1, intake=intake).batches
        # The partitions that were read are filled again, so that they stay the shortest.
        highs = [high + len(item) for high, item in zip(highs, last.ranges, strict=True)]

    assert all(item.end > 0 for item in last.ranges)


@settings(derandomize=True, database=None, max_examples=200, deadline=None)
@given(data=st.data())
def test_batches_of_any_history_hold_every_offset_once(data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, 50), "limit")
    intake = IntakeSettings(max_batch_messages=limit, max_batch_wait_seconds=10)
    lows = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=5), "low watermarks")
    highs = list(lows)
    batches: list[Batch] = []
    for _ in range(data.draw(st.integers(1, 6), "ticks")):
        highs = [high + data.draw(st.integers(0, 60), "new messages") for high in highs]
        if data.draw(st.booleans(), "new partition"):
            lows, highs = [*lows, 0], [*highs, data.draw(st.integers(0, 30))]
        room = data.draw(st.integers(0, 4), "room")
        waited_seconds = data.draw(st.sampled_from([0, 10]), "waited")
        marks = {number: Watermarks(low, high) for number, (low, high) in enumerate(zip(lows, highs, strict=True))}
        last = batches[-1] if batches else None
        plan = plan_batches(TOPIC, last, marks, waited_seconds=waited_seconds, room=room, intake=intake)
        assert len(plan.batches) <= room
        batches += plan.batches
        held = sum(batch.messages for batch in batches)
        assert held + plan.waiting == sum(highs) - sum(lows)

    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    assert all(0 < batch.messages <= limit for batch in batches)
    reached = dict(enumerate(lows))
    for batch in batches:
        for item in batch.ranges:
            assert item.start == reached[item.partition]
            assert item.end >= item.start
            reached[item.partition] = item.end


def test_key_is_parsed_back() -> None:
    batch = Batch(TOPIC, 42, (OffsetRange(0, 1, 4), OffsetRange(3, 5, 5)))

    assert batch.key == "ummp.requests.normal~00000042"
    assert parse_key(batch.key) == (TOPIC, 42)
    assert (batch.messages, batch.ends) == (3, {0: 4, 3: 5})


@pytest.mark.parametrize(
    "key", ["", "topic", "topic~1", "topic~000000001", "to/pic~00000001", "~00000001", "t~0000000x"]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="is no batch key"):
        parse_key(key)
