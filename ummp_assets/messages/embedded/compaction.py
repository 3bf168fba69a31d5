"""Compaction: of a topic that keeps the latest record of each key, drop the records that a later one replaced.

As Kafka's log cleaner does, a pass reads the segments that were closed since the last one, remembers the last offset of
each key, and rewrites all segments before that point. Offsets stay what they were and leave gaps; the active segment
and open transactions are not touched. Differences: control markers are always kept, and a tombstone goes with the
second pass after `delete.retention.ms`, reckoned from its own timestamp.

The work is done in small steps between which the broker answers requests.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ummp_assets.messages.embedded.partition_log import PartitionLog
from ummp_assets.messages.embedded.record_batch import (
    BatchHeader,
    Record,
    iterate_records,
    now_ms,
    read_header,
    rebuild_batch,
)
from ummp_assets.messages.embedded.segment import Segment

__all__ = ["compact_if_dirty"]

# Bound of the keys remembered in one pass, at about 200 bytes each; one that meets more ends early, the next goes on.
_MAX_KEYS = 100_000
_DIGEST_BYTES = 16
_DRAFTS = "compacting"


async def compact_if_dirty(log: PartitionLog) -> None:
    """Run one pass over the log if its topic is compacted and enough of it was written since the last pass."""
    if not log.config.is_compacted:
        return
    ready = list(_compactible_segments(log))
    total = sum(segment.size for segment in ready)
    dirty = [segment for segment in ready if segment.next_offset > log.compacted_before]
    dirty_bytes = sum(segment.size for segment in dirty)
    if not dirty_bytes or dirty_bytes / total < log.config.min_dirty_ratio:
        return
    await _Pass(log).run(ready, dirty)


def _compactible_segments(log: PartitionLog) -> Iterator[Segment]:
    youngest = now_ms() - log.config.min_compaction_lag_ms
    for segment in log.segments.closed:
        if segment.next_offset > log.last_stable_offset or segment.max_timestamp > youngest:
            return
        yield segment


class _Pass:
    """One pass over one log."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log
        self._last_offsets: dict[bytes, int] = {}
        self._seen_before = log.compacted_before
        self._tombstones_before_ms = now_ms() - log.config.tombstone_retention_ms
        self._aborted: dict[int, list[tuple[int, int]]] = {}
        for producer_id, first_offset, marker_offset in log.aborted.touching(log.start_offset, log.end_offset):
            self._aborted.setdefault(producer_id, []).append((first_offset, marker_offset))

    async def run(self, ready: list[Segment], dirty: list[Segment]) -> None:
        known_before = await self._remember_keys(dirty)
        drafts = self._log.folder / _DRAFTS
        for group in _groups(ready, known_before, self._log.config.segment_bytes):
            shutil.rmtree(drafts, ignore_errors=True)
            draft = await self._rewrite(group, drafts)
            if draft is None:
                return
            self._log.replace_segments(group, draft)
        shutil.rmtree(drafts, ignore_errors=True)
        self._log.note_compaction(known_before)

    async def _remember_keys(self, dirty: list[Segment]) -> int:
        """Note the last offset of each key; the offset up to which all keys are noted."""
        for segment in dirty:
            for batch in _batches(segment):
                header = read_header(batch)
                if header.last_offset < self._seen_before or not self._is_data(header):
                    continue
                for record in iterate_records(batch):
                    if record.key is not None:
                        self._last_offsets[_digest(record.key)] = record.offset
                if len(self._last_offsets) >= _MAX_KEYS:
                    return header.last_offset + 1
                await asyncio.sleep(0)
        return dirty[-1].next_offset

    def _is_data(self, header: BatchHeader) -> bool:
        """Whether the batch holds records of clients that count: no marker, and no aborted transaction."""
        if header.is_control:
            return False
        spans = self._aborted.get(header.producer_id, ()) if header.is_transactional else ()
        return not any(first <= header.base_offset < marker for first, marker in spans)

    async def _rewrite(self, group: list[Segment], drafts: Path) -> Segment | None:
        """What is left of the segments in a new one; None where the topic was deleted meanwhile."""
        drafts.mkdir()
        draft = Segment(drafts, group[0].base_offset)
        draft.create(durable=False)
        for segment in group:
            for batch in _batches(segment):
                left = self._filtered(batch)
                if left:
                    draft.append(read_header(left), left)
                await asyncio.sleep(0)
                if self._log.is_deleted:
                    draft.close()
                    return None
        draft.next_offset = group[-1].next_offset
        draft.flush()
        return draft

    def _filtered(self, batch: bytes) -> bytes:
        header = read_header(batch)
        if header.is_control:
            return batch
        if not self._is_data(header):
            return b""
        records = list(iterate_records(batch))
        kept = [record for record in records if self._is_kept(record)]
        if len(kept) == len(records):
            return batch
        return rebuild_batch(batch, kept) if kept else b""

    def _is_kept(self, record: Record) -> bool:
        if record.key is None:
            return False
        if self._last_offsets.get(_digest(record.key), -1) > record.offset:
            return False
        is_seen = record.offset < self._seen_before
        return not (record.is_tombstone and is_seen and record.timestamp < self._tombstones_before_ms)


def _batches(segment: Segment) -> Iterator[bytes]:
    for position, header in segment.headers(0):
        yield segment.read(position, header.size)


def _groups(segments: list[Segment], before: int, max_bytes: int) -> Iterator[list[Segment]]:
    """Runs of segments that begin before the offset `before`, each run small enough to become one segment."""
    group: list[Segment] = []
    for segment in segments:
        if segment.base_offset >= before:
            break
        if group and sum(member.size for member in group) + segment.size > max_bytes:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _digest(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=_DIGEST_BYTES).digest()
