"""The log of one topic-partition: reading, appending, expiry, and the state that outlives a crash.

Memory holds no records: a fetch reads a range of a segment's file. A checkpoint, written about once a second while
the log grows, spares the next start reading what stood before it; what came after it is read, checked and, where a
crash tore a batch, cut off.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ummp_assets.messages.embedded.aborted_transactions import AbortedTransaction, AbortedTransactions
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
from ummp_assets.messages.embedded.segment_chain import SegmentChain
from ummp_assets.messages.embedded.topic_configs import TopicConfig

__all__ = ["Appended", "PartitionLog", "TimedOffset"]


class Appended(NamedTuple):
    """Where a batch went; `append_time_ms` is -1 unless the topic stamps the broker's time."""

    base_offset: int
    append_time_ms: int


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

    Attributes
    ----------
    compacted_before:
        Up to here compaction left only the latest record of each key, at the time.
    """

    def __init__(self, folder: Path, config: TopicConfig, *, deleted_before: int = 0, fsync: bool = False) -> None:
        self.config = config
        self.folder = folder
        self.is_deleted = False
        self.compacted_before = 0
        self._fsync = fsync
        self._listeners: set[Callable[[], None]] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self.aborted = AbortedTransactions(folder / "aborted.index")
        self.producers = ProducerStates()
        self.segments = SegmentChain(folder, deleted_before, fsync=fsync)
        self._recover()
        self._deleted_before = min(deleted_before, self.end_offset)

    # -- what can be read

    @property
    def start_offset(self) -> int:
        """First offset that can be read."""
        return max(self._deleted_before, self.segments.first.base_offset)

    @property
    def end_offset(self) -> int:
        """Offset that the next record will get; there being one replica, it is the high watermark too."""
        return self.segments.active.next_offset

    @property
    def last_stable_offset(self) -> int:
        """Offset before which no transaction is open."""
        unstable = self.producers.first_unstable_offset
        return self.end_offset if unstable is None else unstable

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
        for segment in self.segments.from_offset(offset):
            if segment.base_offset >= limit:
                break
            position = self.segments.opened(segment).position_of(offset)
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

    def aborted_transactions(self, offset: int, batches: bytes) -> list[AbortedTransaction]:
        """The aborted transactions that touch `batches`, which were read from `offset` on."""
        if not self.aborted or len(batches) < HEADER_BYTES:
            return []
        return self.aborted.touching(offset, _end_of_batches(batches))

    def offset_of_time(self, timestamp_ms: int) -> TimedOffset | None:
        """The first record of `timestamp_ms` or later; None where there is none."""
        for segment in self.segments:
            if segment.max_timestamp < timestamp_ms:
                continue
            position = self.segments.opened(segment).position_of_time(timestamp_ms)
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
        self.segments.active.append(stamped, position, batch[len(position) :])
        if self._fsync:
            self.segments.active.flush()
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
                self.aborted.note(ended, stable)
        elif header.producer_id >= 0:
            self.producers.note_batch(header)

    def _roll_if_due(self, header: BatchHeader) -> None:
        active = self.segments.active
        if active.size == 0:
            return
        is_full = active.size + header.size > self.config.segment_bytes
        if is_full or header.max_timestamp - active.first_timestamp > self.config.segment_ms:
            self.segments.roll()

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
        while len(self.segments) > 1 and self.segments.first.next_offset <= self._deleted_before:
            self._drop_first()

    def delete_expired(self) -> None:
        """Drop the oldest segments while the topic's retention by time or size says so."""
        if not self.config.is_deleted:
            return
        while self._is_first_expired():
            if len(self.segments) == 1:
                self.segments.roll()
            self._drop_first()

    def _is_first_expired(self) -> bool:
        first = self.segments.first
        is_empty = len(self.segments) == 1 and first.size == 0
        if is_empty or first.next_offset > self.last_stable_offset:
            return False
        keep_ms, keep_bytes = self.config.retention_ms, self.config.retention_bytes
        is_old = keep_ms >= 0 and first.max_timestamp < now_ms() - keep_ms
        is_surplus = keep_bytes >= 0 and self.segments.size - first.size >= keep_bytes
        return is_old or (is_surplus and len(self.segments) > 1)

    def _drop_first(self) -> None:
        self.segments.drop_first()
        self._is_checkpointed = False

    def replace_segments(self, replaced: Sequence[Segment], draft: Segment) -> None:
        """Put what compaction left of some closed segments in their place, unless one has expired meanwhile."""
        self.segments.replace(replaced, draft)

    def note_compaction(self, before: int) -> None:
        """Remember that a pass of compaction has come to the offset `before`."""
        self.compacted_before = before
        self._is_checkpointed = False

    def delete(self) -> None:
        """Give the files back without keeping anything; the folder is the caller's to remove."""
        self.is_deleted = True
        self._close_files()
        for listener in tuple(self._listeners):
            listener()

    # -- crash and restart

    def close(self, *, flush: bool = True) -> None:
        """Write a last checkpoint and give the files back.

        Parameters
        ----------
        flush:
            Force the log to the disk first, so that the checkpoint is believed after a reboot too.
        """
        if not self._is_checkpointed or (flush and not self._is_flushed):
            if flush:
                self.segments.flush()
            self._save_checkpoint(is_flushed=flush)
        self._close_files()

    def _close_files(self) -> None:
        self.aborted.close()
        self.segments.close()

    def checkpoint_if_changed(self) -> None:
        """Write a checkpoint unless nothing was appended since the last one."""
        if not self._is_checkpointed:
            self._save_checkpoint(is_flushed=self._fsync)

    def _save_checkpoint(self, *, is_flushed: bool) -> None:
        active = self.segments.active
        checkpoint = Checkpoint(
            segment=active.base_offset,
            size=active.size,
            next_offset=active.next_offset,
            max_timestamp=active.max_timestamp,
            compacted_before=self.compacted_before,
            aborted_transactions=len(self.aborted),
            producers=self.producers.to_json(),
            is_flushed=is_flushed,
        )
        save_checkpoint(self.folder, checkpoint)
        self._is_checkpointed, self._is_flushed = True, is_flushed

    def _recover(self) -> None:
        known = load_checkpoint(self.folder)
        if known and (known.aborted_transactions > len(self.aborted) or not self.segments.restore(known)):
            known = None
        if known:
            self.producers = ProducerStates.from_json(known.producers)
            self.compacted_before = known.compacted_before
        self.aborted.truncate(known.aborted_transactions if known else 0)
        self.segments.recover(known, self._note)
        self._is_checkpointed = known is not None and known.next_offset == self.end_offset
        self._is_flushed = self._is_checkpointed and known is not None and known.is_flushed


def _end_of_batches(batches: bytes) -> int:
    """The offset behind the last batch in `batches`, which may end inside it."""
    position, end = 0, 0
    while position + HEADER_BYTES <= len(batches):
        header = read_header(batches, position)
        position, end = position + header.size, header.last_offset + 1
    return end
