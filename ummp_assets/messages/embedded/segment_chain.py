"""The segments of one topic-partition, oldest first: finding, rolling, dropping, replacing, recovery after a crash."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ummp_assets.messages.embedded.checkpoint import Checkpoint
from ummp_assets.messages.embedded.record_batch import BatchHeader
from ummp_assets.messages.embedded.segment import Segment

__all__ = ["SegmentChain"]


class SegmentChain:
    """Segments in `folder`; the last one is active, which means that it is written to.

    Parameters
    ----------
    folder:
        Must exist.
    first_offset:
        Where a log that has no segment yet begins.
    fsync:
        Force each new file's name to the disk.
    """

    def __init__(self, folder: Path, first_offset: int, *, fsync: bool) -> None:
        self._folder = folder
        self._fsync = fsync
        self._last_read: Segment | None = None
        base_offsets = sorted(int(path.stem) for path in folder.iterdir() if path.suffix == ".log")
        self._segments = [Segment(folder, base_offset) for base_offset in base_offsets]
        if not self._segments:
            self._add(first_offset)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def first(self) -> Segment:
        return self._segments[0]

    @property
    def active(self) -> Segment:
        return self._segments[-1]

    @property
    def closed(self) -> list[Segment]:
        """All segments but the active one."""
        return self._segments[:-1]

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    def from_offset(self, offset: int) -> list[Segment]:
        """The segment that covers `offset`, and those after it."""
        number = bisect_right(self._segments, offset, key=lambda segment: segment.base_offset) - 1
        return self._segments[max(0, number) :]

    def opened(self, segment: Segment) -> Segment:
        """`segment`, after giving back the file descriptors of the closed segment that was read before it."""
        if self._last_read is not None and self._last_read not in (segment, self.active):
            self._last_read.close()
        self._last_read = segment
        return segment

    def roll(self) -> None:
        """Close the active segment and begin another one."""
        if self._fsync:
            self.active.flush()
        self.active.finish()
        self._add(self.active.next_offset)

    def _add(self, base_offset: int) -> None:
        self._segments.append(Segment(self._folder, base_offset))
        self.active.create(durable=self._fsync)

    def drop_first(self) -> None:
        self._segments.pop(0).delete()

    def replace(self, replaced: Sequence[Segment], draft: Segment) -> None:
        """Put one segment, written in another folder, in the place of consecutive closed ones.

        Nothing is replaced where one of them has been dropped meanwhile.
        """
        draft.finish()
        if not set(replaced) <= set(self._segments):
            return
        number = self._segments.index(replaced[0])
        for old in replaced:
            old.close()
        draft.move_to(self._folder)
        for old in replaced[1:]:
            old.delete()
        self._segments[number : number + len(replaced)] = [draft]

    def flush(self) -> None:
        for segment in self._segments:
            segment.flush()

    def close(self) -> None:
        for segment in self._segments:
            segment.close()

    def restore(self, checkpoint: Checkpoint) -> bool:
        """Take the state that the checkpoint knows, as far as the files bear it out; `recover` reads the rest."""
        base_offsets = [segment.base_offset for segment in self._segments]
        if checkpoint.segment not in base_offsets:
            return False
        number = base_offsets.index(checkpoint.segment)
        last_known = self._segments[number]
        if last_known.file_bytes < checkpoint.size:
            return False
        if not all(segment.restore_finished() for segment in self._segments[:number]):
            return False
        last_known.restore_to(checkpoint.size, checkpoint.next_offset, checkpoint.max_timestamp)
        self._drop_replaced()
        return True

    def _drop_replaced(self) -> None:
        """Drop what a compaction had merged into the segment before when it was killed."""
        kept: list[Segment] = []
        for segment in self._segments:
            if kept and segment.base_offset < kept[-1].next_offset:
                segment.delete()
            else:
                kept.append(segment)
        self._segments = kept

    def recover(self, known: Checkpoint | None, on_batch: Callable[[BatchHeader, bytes], object]) -> None:
        """Read what was written after the checkpoint `known`, or everything, and cut off what a crash tore.

        Where a segment before the active one is torn, those after it are dropped: a log has no holes.
        """
        if known is None:
            self._segments = [Segment(self._folder, segment.base_offset) for segment in self._segments]
        recovered: list[Segment] = []
        is_torn = False
        for segment in self._segments:
            if is_torn or (recovered and segment.base_offset < recovered[-1].next_offset):
                segment.delete()
                continue
            if known is None or segment.base_offset >= known.segment:
                is_torn = not segment.recover(on_batch)
                if segment is not self.active:
                    segment.finish()
            segment.close()
            recovered.append(segment)
        self._segments = recovered
