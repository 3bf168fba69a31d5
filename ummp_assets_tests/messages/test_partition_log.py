"""One topic-partition's log on disk: look-ups over many segments, and what a crash can leave behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.partition_log import PartitionLog
from ummp_assets.messages.embedded.topic_configs import TopicConfig
from ummp_assets_tests.messages.batches import append, build_batch, offsets_of

_SMALL = TopicConfig({"segment.bytes": "1048576"})
_BASE_MS = 1_700_000_000_000
_EVERYTHING = list(range(300))


def _fill(folder: Path) -> PartitionLog:
    """A log of three segments: 100 batches of three records and 30 kB, a second apart."""
    log = PartitionLog(folder, _SMALL)
    for number in range(100):
        append(log, build_batch(b"x" * 10_000, b"y" * 10_000, b"z" * 10_000, timestamp_ms=_BASE_MS + number * 1_000))
    assert len(log.segments) == 3
    return log


def test_reading_starts_at_any_offset_of_any_segment(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    for start in (0, 1, 2, 3, 100, 149, 298, 299):
        assert offsets_of(log, start) == _EVERYTHING[start:]
    assert log.read(300, 1_000, committed=False, whole_batch=True) == b""


@pytest.mark.parametrize("offset", [-1, 301])
def test_reading_outside_of_the_log_is_out_of_range(tmp_path: Path, offset: int) -> None:
    log = _fill(tmp_path / "log")
    with pytest.raises(RequestError) as refusal:
        log.read(offset, 1_000, committed=False, whole_batch=True)
    assert refusal.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_times_are_found_in_any_segment(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    for number in range(0, 100, 7):
        found = log.offset_of_time(_BASE_MS + number * 1_000 - 500)
        assert found is not None
        assert (found.offset, found.timestamp) == (number * 3, _BASE_MS + number * 1_000)
    assert log.offset_of_time(_BASE_MS + 100_000) is None
    latest = log.offset_of_latest_time()
    assert latest is not None
    assert latest.offset == 297


def test_deleting_records_drops_whole_segments_and_hides_the_rest(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.delete_before(250)
    assert log.start_offset == 250
    assert len(log.segments) == 1
    assert offsets_of(log, 250) == _EVERYTHING[250:]


def test_everything_expired_leaves_an_empty_log_that_counts_on(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.delete_expired()
    assert (log.start_offset, log.end_offset) == (300, 300)
    log.close()
    log = PartitionLog(tmp_path / "log", _SMALL)
    assert (log.start_offset, log.end_offset) == (300, 300)
    assert append(log, build_batch(b"new")) == 300


def _remove_checkpoint(folder: Path) -> None:
    (folder / "checkpoint.json").unlink()


def _garble_checkpoint(folder: Path) -> None:
    (folder / "checkpoint.json").write_text('{"boot": "x", "segm')


def _remove_indexes(folder: Path) -> None:
    for index in folder.glob("*.index"):
        index.unlink()


def _cut_indexes(folder: Path) -> None:
    for index in folder.glob("*.index"):
        index.write_bytes(index.read_bytes()[:-7])


def _tear_tail(folder: Path) -> None:
    with max(folder.glob("*.log")).open("ab") as segment:
        segment.write(build_batch(b"torn")[:40])


def _pad_with_zeros(folder: Path) -> None:
    with max(folder.glob("*.log")).open("ab") as segment:
        segment.write(bytes(4096))


@pytest.mark.parametrize(
    "damage",
    [_remove_checkpoint, _garble_checkpoint, _remove_indexes, _cut_indexes, _tear_tail, _pad_with_zeros],
)
@pytest.mark.parametrize("is_closed", [True, False], ids=["after stop", "after crash"])
def test_every_sound_record_is_there_after_damage(
    tmp_path: Path, damage: Callable[[Path], None], is_closed: bool
) -> None:
    log = _fill(tmp_path / "log")
    log.checkpoint_if_changed()
    if is_closed:
        log.close()
    damage(tmp_path / "log")
    log = PartitionLog(tmp_path / "log", _SMALL)
    assert offsets_of(log, 0) == _EVERYTHING
    assert sum(path.stat().st_size for path in (tmp_path / "log").glob("*.log")) == log.segments.size
    assert append(log, build_batch(b"new")) == 300
    assert offsets_of(log, 290) == [*range(290, 301)]
    found = log.offset_of_time(_BASE_MS + 50_000)
    assert found is not None
    assert found.offset == 150


def test_what_came_after_the_checkpoint_is_read_again(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.checkpoint_if_changed()
    for sequence in range(3):
        append(log, build_batch(b"x", producer_id=1, producer_epoch=0, base_sequence=sequence))
    recovered = PartitionLog(tmp_path / "log", _SMALL)
    assert offsets_of(recovered, 295) == list(range(295, 303))
    retry = build_batch(b"x", producer_id=1, producer_epoch=0, base_sequence=1)
    assert append(recovered, retry) == 301, "the retry is recognised over the restart"
    assert recovered.end_offset == 303


def test_an_unflushed_checkpoint_is_not_believed_after_a_reboot(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.checkpoint_if_changed()
    active = max((tmp_path / "log").glob("*.log"))
    size = active.stat().st_size
    with active.open("r+b") as segment:  # the last blocks never reached the disk
        segment.seek(size - 30_000)
        segment.write(bytes(30_000))
    checkpoint = tmp_path / "log" / "checkpoint.json"
    checkpoint.write_text(json.dumps(json.loads(checkpoint.read_text()) | {"boot": "another"}))
    recovered = PartitionLog(tmp_path / "log", _SMALL)
    assert offsets_of(recovered, 0) == _EVERYTHING[:297]
    assert recovered.end_offset == 297


def test_a_hole_in_an_older_segment_ends_the_log_there(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.close()
    _remove_checkpoint(tmp_path / "log")
    second = sorted((tmp_path / "log").glob("*.log"))[1]
    with second.open("r+b") as segment:
        segment.seek(100)
        segment.write(b"\xff")
    recovered = PartitionLog(tmp_path / "log", _SMALL)
    assert recovered.end_offset == int(second.stem)
    assert offsets_of(recovered, 0) == _EVERYTHING[: int(second.stem)]
    assert append(recovered, build_batch(b"new")) == int(second.stem)


def test_segments_that_a_killed_compaction_had_merged_are_dropped(tmp_path: Path) -> None:
    log = _fill(tmp_path / "log")
    log.close()
    merged, spare = tmp_path / "log", tmp_path / "spare"
    shutil.copytree(merged, spare)
    first, second, third = sorted(merged.glob("*.log"))
    first.write_bytes(first.read_bytes() + second.read_bytes())  # what a merge that drops nothing would leave
    (merged / "checkpoint.json").unlink()
    recovered = PartitionLog(merged, _SMALL)
    assert not second.exists()
    assert third.exists()
    assert offsets_of(recovered, 0) == _EVERYTHING
