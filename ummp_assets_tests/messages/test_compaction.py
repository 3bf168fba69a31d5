"""What compaction leaves of one topic-partition's log."""

import asyncio
import time
from pathlib import Path

import pytest

from ummp_assets.messages.embedded.compaction import compact_if_dirty
from ummp_assets.messages.embedded.partition_log import PartitionLog
from ummp_assets.messages.embedded.topic_configs import TopicConfig
from ummp_assets_tests.messages.batches import append, build_keyed_batch, iterate_batches

_SECOND = 1_000
_EAGER = {
    "cleanup.policy": "compact",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}


def _log(folder: Path, **overrides: str) -> PartitionLog:
    return PartitionLog(folder / "log", TopicConfig(_EAGER | overrides))


def _compact(log: PartitionLog) -> None:
    asyncio.run(compact_if_dirty(log))


def _start_segment(log: PartitionLog) -> int:
    """Close the active segment as a record of a later hour does; a timestamp for what follows."""
    now = int(time.time() * 1000)
    append(log, build_keyed_batch((b"later", b"%d" % log.end_offset), timestamp_ms=now))
    return now


def _records(log: PartitionLog) -> list[tuple[int, bytes, bytes | None]]:
    """Offset, key and value of all records, each batch's checksum having been checked."""
    records, offset = [], log.start_offset
    while content := log.read(offset, 1_000_000, committed=False, whole_batch=True):
        for batch in iterate_batches(content):
            assert batch.validate_crc()
            if not batch.is_control_batch:
                records += [(record.offset, record.key, record.value) for record in batch]
            offset = batch.next_offset
    return records


def _append_old(log: PartitionLog, *records: tuple[bytes, bytes | None], codec: int = 0, **producer: int) -> int:
    two_hours_ago = int(time.time() * 1000) - 7_200 * _SECOND
    return append(log, build_keyed_batch(*records, timestamp_ms=two_hours_ago, codec=codec, **producer))


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["plain", "gzip", "snappy", "lz4", "zstd"])
def test_the_latest_record_of_each_key_stays_where_it_was(tmp_path: Path, codec: int) -> None:
    log = _log(tmp_path)
    _append_old(log, *[(b"a", b"1" * 100), (b"b", b"2" * 100), (b"a", b"3" * 100)], codec=codec)
    _append_old(log, *[(b"c", b"4" * 100), (b"b", b"5" * 100), (b"d", b"6" * 100)], codec=codec)
    _start_segment(log)
    _compact(log)
    expected = [
        (2, b"a", b"3" * 100),
        (3, b"c", b"4" * 100),
        (4, b"b", b"5" * 100),
        (5, b"d", b"6" * 100),
        (6, b"later", b"6"),
    ]
    assert _records(log) == expected
    log.close()
    assert _records(_log(tmp_path)) == expected


def test_small_segments_are_merged(tmp_path: Path) -> None:
    log = _log(tmp_path)
    base = int(time.time() * 1000) - 7_200 * _SECOND
    for number in range(20):
        timestamp = base + number * 2 * _SECOND
        append(log, build_keyed_batch((b"%d" % (number % 2), b"%d" % number), timestamp_ms=timestamp))
    assert len(log.segments) == 20
    _compact(log)
    assert len(log.segments) == 2
    assert [offset for offset, _, _ in _records(log)] == [17, 18, 19]
    assert log.read(0, 1_000, committed=False, whole_batch=True), "reading in the gap goes on behind it"
    assert (log.start_offset, log.end_offset) == (0, 20)
    assert sorted(path.suffix for path in (tmp_path / "log").iterdir() if path.is_file()).count(".log") == 2


def test_a_tombstone_stays_for_one_pass_and_goes_with_the_next(tmp_path: Path) -> None:
    log = _log(tmp_path)
    _append_old(log, (b"a", b"1"))
    _append_old(log, (b"a", None))
    _start_segment(log)
    _compact(log)
    assert (1, b"a", None) in _records(log)
    time.sleep(0.002)
    log.config = TopicConfig(_EAGER | {"segment.ms": "1"})
    _start_segment(log)
    time.sleep(0.002)
    _start_segment(log)
    _compact(log)
    assert b"a" not in [key for _, key, _ in _records(log)]


def test_aborted_records_count_for_nothing(tmp_path: Path) -> None:
    log = _log(tmp_path)
    producer = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
    _append_old(log, (b"a", b"kept"))
    _append_old(log, (b"a", b"aborted"), **producer)
    log.append_marker(7, 0, commit=False)
    _start_segment(log)
    _start_segment(log)
    _compact(log)
    assert _records(log)[0] == (0, b"a", b"kept")
    assert b"aborted" not in [value for _, _, value in _records(log)]


def test_open_transactions_are_not_touched(tmp_path: Path) -> None:
    log = _log(tmp_path)
    producer = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0, "transactional": True}
    _append_old(log, (b"a", b"1"), **producer)
    _append_old(log, (b"a", b"2"))
    _start_segment(log)
    _compact(log)
    assert [offset for offset, _, _ in _records(log)] == [0, 1, 2]


def test_a_clean_log_is_left_alone(tmp_path: Path) -> None:
    log = _log(tmp_path, **{"min.cleanable.dirty.ratio": "0.9"})
    _append_old(log, (b"a", b"1"), (b"a", b"2"))
    _start_segment(log)
    _compact(log)
    assert len(_records(log)) == 2
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "log").glob("*.log"))
    _compact(log)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "log").glob("*.log")) == before


def test_more_keys_than_fit_take_several_passes(tmp_path: Path) -> None:
    log = _log(tmp_path)
    for start in [*range(0, 110_000, 10_000), 0, 100_000]:
        _append_old(log, *[(b"%d" % number, b"") for number in range(start, start + 10_000)])
    _start_segment(log)
    for _ in range(3):
        _compact(log)
    offsets = [offset for offset, _, _ in _records(log)]
    assert offsets == [*range(10_000, 100_000), *range(110_000, 130_001)]
