"""The offset log: written once, found again quickly, and never believed when it is damaged."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ummp_assets.errors import InvalidInput, ManifestCorrupt, UnsupportedFormat
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.messages.counting_store import CountingStore
from ummp_assets_tests.messages.deployments import NOW

TOPIC = "ummp.requests.normal"


def _batch(number: int, start: int = 0, end: int = 10) -> Batch:
    return Batch(TOPIC, number, (OffsetRange(0, start, end), OffsetRange(1, 0, 0)))


def _fill(store: ObjectStore, count: int) -> OffsetLog:
    log = OffsetLog(store)
    for number in range(1, count + 1):
        log.put(_batch(number), NOW)
    return log


def test_entry_holds_ranges_and_time_as_documented(store: ObjectStore) -> None:
    batch = replace(_batch(3, 5, 9), topic_id="5e1f")
    OffsetLog(store).put(batch, NOW)

    assert json.loads(store.read(f"batches/{TOPIC}/00000003.json")) == {
        "format": 1,
        "topic": TOPIC,
        "number": 3,
        "topic_id": "5e1f",
        "planned_at": "2026-01-01T00:00:00.000+00:00",
        "ranges": [[0, 5, 9], [1, 0, 0]],
    }
    assert OffsetLog(store).get(f"{TOPIC}~00000003") == batch


def test_second_put_returns_the_first_and_changes_nothing(store: ObjectStore) -> None:
    log = OffsetLog(store)
    assert log.put(_batch(1, 0, 10), NOW) == _batch(1, 0, 10)
    before = store.read(f"batches/{TOPIC}/00000001.json")

    assert log.put(_batch(1, 0, 99), NOW) == _batch(1, 0, 10)

    assert store.read(f"batches/{TOPIC}/00000001.json") == before


def _put_all(root: Path, racer: int) -> list[Batch]:
    log = OffsetLog(LocalStore(root))
    return [log.put(_batch(number, racer, racer + 100), NOW) for number in range(1, 101)]


def test_racing_processes_agree_on_every_entry(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("forkserver")) as pool:
        # More racers than processes, so that some find everything written.
        answers = list(pool.map(_put_all, [tmp_path] * 8, range(8)))

    assert all(answer == answers[0] for answer in answers)
    log = OffsetLog(LocalStore(tmp_path))
    assert answers[0] == [log.get(f"{TOPIC}~{number:08d}") for number in range(1, 101)]
    assert log.last(TOPIC) == answers[0][-1]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("hint", [0, 1, 5, 100, 101, 10**9, -3])
def test_last_is_found_whatever_the_hint(store: ObjectStore, count: int, hint: int) -> None:
    last = _fill(store, count).last(TOPIC, hint)

    assert last == (_batch(count) if count else None)


@pytest.mark.parametrize(
    ("hint", "most"),
    [
        pytest.param(1_000, 2, id="right: the hint and the number after it"),
        pytest.param(990, 9, id="ten behind: logarithmic in the distance"),
        pytest.param(0, 20, id="none: logarithmic in the length"),
        pytest.param(5_000, 21, id="wrong: one more than none"),
    ],
)
def test_last_takes_few_look_ups_and_no_listing(store: ObjectStore, hint: int, most: int) -> None:
    _fill(store, 1_000)
    counting = CountingStore(store)

    assert OffsetLog(counting).last(TOPIC, hint) == _batch(1_000)

    assert counting.calls["exists"] <= most
    assert counting.calls["read"] == 1
    assert set(counting.calls) == {"exists", "read"}


def test_batch_of_an_offset_is_found_with_few_look_ups(store: ObjectStore) -> None:
    log = OffsetLog(store)
    for number in range(1, 101):
        # Partition 1 comes with the 50th batch.
        later = [OffsetRange(1, 3 * (number - 50), 3 * (number - 49))] if number >= 50 else []
        log.put(Batch(TOPIC, number, (OffsetRange(0, 10 * (number - 1), 10 * number), *later)), NOW)
    counting = CountingStore(store)

    def number_of(topic: str, partition: int, offset: int) -> int | None:
        found = OffsetLog(counting).find(topic, partition, offset)
        return found.number if found else None

    assert [number_of(TOPIC, 0, offset) for offset in (0, 9, 10, 555, 999, 1_000)] == [1, 1, 2, 56, 100, None]
    assert [number_of(TOPIC, 1, offset) for offset in (0, 2, 3, 152, 153)] == [50, 50, 51, 100, None]
    assert (number_of(TOPIC, 2, 0), number_of("other", 0, 0)) == (None, None)
    assert sum(counting.calls.values()) < 13 * 25


def test_topics_are_kept_apart(store: ObjectStore) -> None:
    log = _fill(store, 3)

    assert log.last("ummp.requests.normal.more") is None
    assert log.last("ummp.requests") is None


def test_batch_that_was_never_planned_names_the_missing_file(store: ObjectStore) -> None:
    with pytest.raises(InvalidInput, match=rf"{TOPIC}~00000007 was never planned: .*00000007.json does not exist"):
        OffsetLog(store).get(f"{TOPIC}~00000007")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"format": 1, "ranges": [[0, 1', id="cut off"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"ranges": []}', id="no format"),
        pytest.param(b'{"format": "1", "ranges": []}', id="format is no number"),
        pytest.param(b'{"format": 1}', id="no ranges"),
        pytest.param(b'{"format": 1, "ranges": [[0, 1]]}', id="range without an end"),
        pytest.param(b'{"format": 1, "ranges": [["0", "1", "2"]]}', id="offsets are text"),
        pytest.param(b'{"format": 1, "ranges": [[0, 9, 3]]}', id="range ends before it starts"),
        pytest.param(b'{"format": 1, "ranges": [[0, -1, 3]]}', id="negative offset"),
    ],
)
def test_damaged_entry_is_refused_with_its_path(store: ObjectStore, data: bytes) -> None:
    path = f"batches/{TOPIC}/00000001.json"
    store.write(path, data)

    with pytest.raises(ManifestCorrupt, match=r"00000001.json is no entry of the offset log"):
        OffsetLog(store).last(TOPIC)


def test_entry_of_a_newer_format_asks_for_an_upgrade(store: ObjectStore) -> None:
    store.write(f"batches/{TOPIC}/00000001.json", b'{"format": 2, "ranges": []}')

    with pytest.raises(UnsupportedFormat, match="upgrade UMMP"):
        OffsetLog(store).get(f"{TOPIC}~00000001")
