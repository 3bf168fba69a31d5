"""The log of one topic-partition: segments on disk, the state of its producers, and recovery after a crash.

Memory holds no records: a fetch reads a range of a segment's file. A checkpoint, written about once a second while
the log grows, spares the next start reading what stood before it; what came after it is read, checked and, where a
crash tore a batch, cut off.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ummp_assets.messages.embedded.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.producer_states import ProducerStates
from ummp_assets.messages.embedded.record_batch import (
    HEADER_BYTES,
    BatchHeader,
    control_marker,
    is_commit_marker,
    iterate_records,
    now_ms,
    read_header,
    stamp_append_time,
    stamp_position,
)
from ummp_assets.messages.embedded.segment import Segment
from ummp_assets.messages.embedded.sorted_rows import SortedRows
from ummp_assets.messages.embedded.topic_configs import TopicConfig

__all__ = ["AbortedTransaction", "Appended", "PartitionLog", "TimedOffset"]


class Appended(NamedTuple):
    """Where a batch went; `append_time_ms` is -1 unless the topic stamps the broker's time."""

    base_offset: int
    append_time_ms: int


class AbortedTransaction(NamedTuple):
    """Records of `producer_id` from `first_offset` to the producer's next abort marker do not count."""

    producer_id: int
    first_offset: int


class TimedOffset(NamedTuple):
    """A record's offset and timestamp (milliseconds since 1970)."""

    offset: int
    timestamp: int


class PartitionLog:
    """An append-only sequence of record batches.

    Parameters
    ----------
    folder:
        Where its files lie; created if absent.
    config:
        The topic's settings; may be replaced while the log is open.
    deleted_before:
        Offsets below this one were deleted by an administrator.
    fsync:
        Force each append to the disk before it is acknowledged.
    """

    def __init__(self, folder: Path, config: TopicConfig, *, deleted_before: int = 0, fsync: bool = False) -> None:
        self.config = config
        self.folder = folder
        self._fsync = fsync
        self._deleted_before = deleted_before
        self._listeners: set[Callable[[], None]] = set()
        self._last_read: Segment | None = None
        self._is_checkpointed = False
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        # Rows (marker offset, last stable offset after it, first offset, producer id), ordered by the first.
        self._aborted = SortedRows(folder / "aborted.index", columns=4)
        self.producers = ProducerStates()
        base_offsets = sorted(int(path.stem) for path in folder.glob("*.log")) or [deleted_before]
        self.segments = [Segment(folder, base_offset) for base_offset in base_offsets]
        if is_new:
            self._active.create(durable=fsync)
        self._recover()

    # -- what can be read

    @property
    def start_offset(self) -> int:
        """First offset that can be read."""
        return max(self._deleted_before, self.segments[0].base_offset)

    @property
    def end_offset(self) -> int:
        """Offset that the next record will get; there being one replica, it is the high watermark too."""
        return self._active.next_offset

    @property
    def last_stable_offset(self) -> int:
        """Offset before which no transaction is open."""
        unstable = self.producers.first_unstable_offset
        return self.end_offset if unstable is None else unstable

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self.segments)

    @property
    def _active(self) -> Segment:
        return self.segments[-1]

    def read(self, offset: int, max_bytes: int, *, committed: bool, whole_batch: bool) -> bytes:
        """The stored batches from the one that holds `offset` on.

        Parameters
        ----------
        offset:
            Where to begin; at `end_offset` there is nothing to read.
        max_bytes:
            Bound of the answer, which may end inside a batch, as Kafka's may.
        committed:
            Read nothing of transactions that are open.
        whole_batch:
            Give the first batch whole even where it is larger than `max_bytes`, so that the reader gets on.

        Raises
        ------
        RequestError
            OFFSET_OUT_OF_RANGE below `start_offset` or above `end_offset`.
        """
        if not self.start_offset <= offset <= self.end_offset:
            raise RequestError(
                ErrorCode.OFFSET_OUT_OF_RANGE, f"{offset} is not in [{self.start_offset}, {self.end_offset}]"
            )
        limit = self.last_stable_offset if committed else self.end_offset
        number = max(0, bisect_right(self.segments, offset, key=lambda segment: segment.base_offset) - 1)
        for segment in self.segments[number:]:
            if segment.base_offset >= limit:
                break
            position = self._opened(segment).position_of(offset)
            end = segment.size if segment.next_offset <= limit else segment.position_of(limit)
            if position < end:
                return self._read_range(segment, position, end, max_bytes, whole_batch=whole_batch)
        return b""

    @staticmethod
    def _read_range(segment: Segment, position: int, end: int, max_bytes: int, *, whole_batch: bool) -> bytes:
        batches = segment.read(position, min(max_bytes, end - position))
        if whole_batch and (len(batches) < HEADER_BYTES or len(batches) < read_header(batches).size):
            first = read_header(segment.read(position, HEADER_BYTES))
            batches = segment.read(position, first.size)
        return batches

    def _opened(self, segment: Segment) -> Segment:
        """`segment`, after giving back the descriptors of the closed segment that was read before it."""
        if self._last_read is not None and self._last_read not in (segment, self._active):
            self._last_read.close()
        self._last_read = segment
        return segment

    def aborted_transactions(self, offset: int, batches: bytes) -> list[AbortedTransaction]:
        """The aborted transactions that touch `batches`, which were read from `offset` on."""
        if not self._aborted.count or len(batches) < HEADER_BYTES:
            return []
        end = _end_of_batches(batches)
        aborted = []
        for number in range(self._aborted.count_where(lambda row: row[0] < offset), self._aborted.count):
            _, stable_offset, first_offset, producer_id = self._aborted.get(number)
            if first_offset < end:
                aborted.append(AbortedTransaction(producer_id, first_offset))
            if stable_offset >= end:
                break
        return sorted(aborted, key=lambda transaction: transaction.first_offset)

    def offset_of_time(self, timestamp_ms: int) -> TimedOffset | None:
        """The first record of `timestamp_ms` or later; None where there is none."""
        for segment in self.segments:
            if segment.max_timestamp < timestamp_ms:
                continue
            position = self._opened(segment).position_of_time(timestamp_ms)
            for start, header in segment.headers(position):
                if header.max_timestamp < timestamp_ms or header.last_offset < self.start_offset:
                    continue
                for record in iterate_records(segment.read(start, header.size)):
                    if record.timestamp >= timestamp_ms and record.offset >= self.start_offset:
                        return TimedOffset(record.offset, record.timestamp)
        return None

    def offset_of_latest_time(self) -> TimedOffset | None:
        """The first record that bears the log's highest timestamp."""
        return self.offset_of_time(max(segment.max_timestamp for segment in self.segments))

    # -- writing

    def append(self, batch: memoryview, header: BatchHeader) -> Appended:
        """Append a batch that `validate_produced_batch` accepted, unless the producer sent it before.

        Raises
        ------
        RequestError
            INVALID_TIMESTAMP, INVALID_RECORD, or what `ProducerStates.offset_of_duplicate` says.
        OSError
            The disk is full or broken.
        """
        if header.producer_id >= 0:
            duplicate = self.producers.offset_of_duplicate(header)
            if duplicate is not None:
                return Appended(duplicate, -1)
        now = now_ms()
        self._check_records(batch, header, now)
        append_time = -1
        if self.config.uses_append_time:
            append_time = now
            batch = memoryview(stamp_append_time(batch, now))
            header = read_header(batch)
        return Appended(self._write(batch, header), append_time)

    def _check_records(self, batch: memoryview, header: BatchHeader, now: int) -> None:
        is_future = header.max_timestamp > now + self.config.max_ms_after_now
        is_past = header.base_timestamp < now - self.config.max_ms_before_now
        if (is_future or is_past) and not self.config.uses_append_time:
            raise RequestError(ErrorCode.INVALID_TIMESTAMP, f"timestamp {header.max_timestamp} is out of range")
        if self.config.is_compacted and any(record.key is None for record in iterate_records(batch)):
            raise RequestError(ErrorCode.INVALID_RECORD, "a compacted topic accepts no record without a key")

    def append_marker(self, producer_id: int, producer_epoch: int, *, commit: bool) -> None:
        """Append the control batch that ends the producer's transaction."""
        marker = control_marker(producer_id, producer_epoch, commit=commit)
        self._write(memoryview(marker), read_header(marker))

    def _write(self, batch: memoryview, header: BatchHeader) -> int:
        self._roll_if_due(header)
        stamped = header._replace(base_offset=self.end_offset)
        position = stamp_position(stamped, stamped.base_offset)
        self._active.append(stamped, position, batch[len(position) :])
        if self._fsync:
            self._active.flush()
        self._note(stamped, batch)
        self._is_checkpointed = False
        for listener in tuple(self._listeners):
            listener()
        return stamped.base_offset

    def _note(self, header: BatchHeader, batch: bytes | memoryview) -> None:
        if header.is_control:
            ended = self.producers.note_marker(header)
            if ended is not None and not is_commit_marker(batch):
                unstable = self.producers.first_unstable_offset
                stable = header.last_offset + 1 if unstable is None else unstable
                self._aborted.append(header.base_offset, stable, ended.first_offset, ended.producer_id)
        elif header.producer_id >= 0:
            self.producers.note_batch(header)

    def _roll_if_due(self, header: BatchHeader) -> None:
        active = self._active
        if active.size == 0:
            return
        is_full = active.size + header.size > self.config.segment_bytes
        if is_full or header.max_timestamp - active.first_timestamp > self.config.segment_ms:
            self._roll()

    def _roll(self) -> None:
        if self._fsync:
            self._active.flush()
        self._active.finish()
        self.segments.append(Segment(self.folder, self._active.next_offset))
        self._active.create(durable=self._fsync)
        self._is_checkpointed = False

    @contextmanager
    def watched_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` after each append until the context ends."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    # -- deleting

    def delete_before(self, offset: int) -> None:
        """Make `offset` the first one that can be read, and drop the segments that lie before it."""
        self._deleted_before = max(self._deleted_before, offset)
        while len(self.segments) > 1 and self.segments[1].base_offset <= self._deleted_before:
            self._drop_first()

    def delete_expired(self) -> None:
        """Drop the oldest segments while the topic's retention by time or size says so."""
        if not self.config.is_deleted:
            return
        while self._active.size and self._is_first_expired():
            if len(self.segments) == 1:
                self._roll()
            self._drop_first()

    def _is_first_expired(self) -> bool:
        first = self.segments[0]
        if first.next_offset > self.last_stable_offset:
            return False
        oldest = now_ms() - self.config.retention_ms
        is_old = self.config.retention_ms >= 0 and first.max_timestamp < oldest
        is_surplus = self.config.retention_bytes >= 0 and self.size - first.size >= self.config.retention_bytes
        return is_old or (is_surplus and len(self.segments) > 1)

    def _drop_first(self) -> None:
        self.segments.pop(0).delete()
        self._is_checkpointed = False

    def close(self) -> None:
        """Force the log to the disk, write a last checkpoint and give the files back."""
        if not self._is_checkpointed:
            for segment in self.segments:
                segment.flush()
            self._save_checkpoint(is_flushed=True)
        self._close_files()

    def delete(self) -> None:
        """Give the files back without keeping anything; the folder is the caller's to remove."""
        self._close_files()
        for listener in tuple(self._listeners):
            listener()

    def _close_files(self) -> None:
        self._aborted.close()
        for segment in self.segments:
            segment.close()

    # -- crash and restart

    def checkpoint_if_changed(self) -> None:
        """Write a checkpoint unless nothing was appended since the last one."""
        if not self._is_checkpointed:
            self._save_checkpoint(is_flushed=self._fsync)

    def _save_checkpoint(self, *, is_flushed: bool) -> None:
        active = self._active
        state = (active.base_offset, active.size, active.next_offset, active.max_timestamp, self._aborted.count)
        save_checkpoint(self.folder, Checkpoint(*state, self.producers.to_json(), is_flushed))
        self._is_checkpointed = True

    def _recover(self) -> None:
        checkpoint = load_checkpoint(self.folder)
        unread = self._restore(checkpoint) if checkpoint else None
        if unread is None:
            self.producers, unread = ProducerStates(), 0
            self._aborted.truncate(0)
            self.segments = [Segment(self.folder, segment.base_offset) for segment in self.segments]
        for number in range(unread, len(self.segments)):
            segment = self.segments[number]
            if not segment.recover(self._note):
                self._drop_after(number)
                break
            if segment is not self._active:
                segment.finish()
        self._is_checkpointed = checkpoint is not None and checkpoint.next_offset == self.end_offset
        self._deleted_before = min(self._deleted_before, self.end_offset)

    def _drop_after(self, number: int) -> None:
        for lost in self.segments[number + 1 :]:
            lost.delete()
        del self.segments[number + 1 :]

    def _restore(self, checkpoint: Checkpoint) -> int | None:
        """Restore what the checkpoint knows; the number of the segment to read on from, or None to read them all."""
        base_offsets = [segment.base_offset for segment in self.segments]
        if checkpoint.segment not in base_offsets or checkpoint.aborted_rows > self._aborted.count:
            return None
        number = base_offsets.index(checkpoint.segment)
        active = self.segments[number]
        if active.file_bytes < checkpoint.size:
            return None
        if not all(segment.restore_finished() for segment in self.segments[:number]):
            return None
        active.restore_to(checkpoint.size, checkpoint.next_offset, checkpoint.max_timestamp)
        self.producers = ProducerStates.from_json(checkpoint.producers)
        self._aborted.truncate(checkpoint.aborted_rows)
        return number


def _end_of_batches(batches: bytes) -> int:
    """The offset behind the last batch in `batches`, which may end inside it."""
    position, end = 0, 0
    while position + HEADER_BYTES <= len(batches):
        header = read_header(batches, position)
        position, end = position + header.size, header.last_offset + 1
    return end
