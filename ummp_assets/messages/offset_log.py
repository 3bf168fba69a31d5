"""The offset log: one small object per batch, put if absent before any run exists.

`batches/<topic>/<number>.json` is the truth about what belongs to which batch, as in Spark Structured Streaming's
offset log. Numbers are contiguous from 1, so the newest is found with a logarithmic number of look-ups and without a
listing.
"""

import json
from datetime import UTC, datetime

from ummp_assets.errors import InvalidInput, ManifestCorrupt, ObjectNotFound, UnsupportedFormat
from ummp_assets.messages.ranges import Batch, OffsetRange, batch_key, parse_key
from ummp_assets.storage.objects import ObjectStore

__all__ = ["OffsetLog"]

FORMAT = 1


class OffsetLog:
    """Planned batches of every topic, in a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, batch: Batch, planned_at: datetime) -> Batch:
        """Write the batch unless its number is taken; return the batch that the log holds under that number."""
        document = {
            "format": FORMAT,
            "topic": batch.topic,
            "number": batch.number,
            "topic_id": batch.topic_id,
            "planned_at": planned_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "ranges": [[item.partition, item.start, item.end] for item in batch.ranges],
        }
        path = _path(batch.topic, batch.number)
        if self._store.create(path, json.dumps(document, indent=1).encode() + b"\n"):
            return batch
        return self.get(batch.key)

    def get(self, key: str) -> Batch:
        """Return a planned batch; raises `InvalidInput` when the log does not hold it."""
        topic, number = parse_key(key)
        path = _path(topic, number)
        try:
            data = self._store.read(path)
        except ObjectNotFound:
            raise InvalidInput(f"batch {key} was never planned: {self._store.uri(path)} does not exist") from None
        try:
            document = json.loads(data)
            if document["format"] > FORMAT:
                raise UnsupportedFormat(f"{self._store.uri(path)} has format {document['format']}: upgrade UMMP")
            ranges = tuple(_range(*item) for item in document["ranges"])
            # Entries of the first releases have no topic id.
            return Batch(topic, number, ranges, document.get("topic_id"))
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestCorrupt(f"{self._store.uri(path)} is no entry of the offset log: {error}") from error

    def last(self, topic: str, hint: int = 0) -> Batch | None:
        """Return the newest batch of a topic, or None.

        Parameters
        ----------
        hint:
            A number believed to exist, usually the cursor's; a wrong one costs time only.
        """
        low = hint if hint > 0 and self._holds(topic, hint) else 0
        step = 1
        while self._holds(topic, low + step):
            low += step
            step *= 2
        while step > 1:
            step //= 2
            if self._holds(topic, low + step):
                low += step
        return self.get(batch_key(topic, low)) if low else None

    def find(self, topic: str, partition: int, offset: int) -> Batch | None:
        """Return the batch whose range holds a message, or None where none was planned for it.

        Batches follow one another in each partition, so that a logarithmic number of entries is read.
        """
        newest = self.last(topic)
        if newest is None or newest.ends.get(partition, 0) <= offset:
            return None
        low, found = 1, newest
        while low < found.number:
            middle = self.get(batch_key(topic, (low + found.number) // 2))
            if middle.ends.get(partition, 0) > offset:
                found = middle
            else:
                low = middle.number + 1
        return found if any(item.partition == partition and item.start <= offset for item in found.ranges) else None

    def _holds(self, topic: str, number: int) -> bool:
        return self._store.exists(_path(topic, number))


def _range(partition: int, start: int, end: int) -> OffsetRange:
    if not 0 <= start <= end or partition < 0:
        raise ValueError(f"[{partition}, {start}, {end}] is no range of offsets")
    return OffsetRange(partition, start, end)


def _path(topic: str, number: int) -> str:
    return f"batches/{topic}/{number:08d}.json"
