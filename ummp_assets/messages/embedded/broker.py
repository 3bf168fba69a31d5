"""The broker without its network: topics, groups and transactions in one data folder, and their upkeep."""

import asyncio
import fcntl
import logging
import os
import sqlite3
from pathlib import Path

from ummp_assets.errors import EmbeddedBrokerFailed
from ummp_assets.messages.embedded.compaction import compact_if_dirty
from ummp_assets.messages.embedded.database import Database
from ummp_assets.messages.embedded.error_codes import RequestError
from ummp_assets.messages.embedded.groups import Groups
from ummp_assets.messages.embedded.record_batch import now_ms
from ummp_assets.messages.embedded.topics import Topics
from ummp_assets.messages.embedded.transactions import Transactions

__all__ = ["Broker"]

_LOGGER = logging.getLogger(__name__)
_UPKEEP_SECONDS = 1.0
_PRODUCER_EXPIRY_MS = 24 * 60 * 60 * 1000  # Kafka's producer.id.expiration.ms


class Broker:
    """Everything that the broker keeps in `data_folder`, which it locks.

    Parameters
    ----------
    data_folder:
        Created if absent.
    fsync:
        Force what is acknowledged to the disk first, so that it survives a loss of power too.
    default_partitions:
        Partitions of topics that are created without a number.

    Raises
    ------
    EmbeddedBrokerFailed
        The folder cannot be made or written, another broker uses it, or another version of this one made it.
    """

    def __init__(self, data_folder: Path, *, fsync: bool = False, default_partitions: int = 1) -> None:
        self.default_partitions = default_partitions
        try:
            data_folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(data_folder / "lock")
            self._database = Database(data_folder / "broker.sqlite", fsync=fsync)
            self.cluster_id = self._database.cluster_id
            self.topics = Topics(data_folder / "topics", self._database, fsync=fsync)
            self.groups = Groups(self._database)
            self.transactions = Transactions(self._database, self.topics)
        except (OSError, sqlite3.DatabaseError) as cause:
            raise EmbeddedBrokerFailed(f"the data folder {data_folder} cannot be used: {cause}") from cause

    async def keep_up(self) -> None:
        """Every second until cancelled: abort overdue transactions and write checkpoints."""
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            try:
                self.transactions.abort_overdue()
                for log in self.topics.logs():
                    log.checkpoint_if_changed()
            except OSError:
                _LOGGER.exception("upkeep failed; it is tried again")

    async def keep_small(self, interval_seconds: float) -> None:
        """At each interval until cancelled: drop expired segments, forget idle producers, compact what needs it."""
        while True:
            await asyncio.sleep(interval_seconds)
            for log in self.topics.logs():
                try:
                    log.delete_expired()
                    log.producers.forget_idle_since(now_ms() - _PRODUCER_EXPIRY_MS)
                    await compact_if_dirty(log)
                except (OSError, RequestError):
                    if not log.is_deleted:
                        _LOGGER.exception("retention or compaction of %s failed; it is tried again", log.folder)

    def close(self) -> None:
        """Write everything to the disk and unlock the folder."""
        self.topics.close()
        self._database.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        owner = os.read(descriptor, 20).decode(errors="replace")
        os.close(descriptor)
        raise EmbeddedBrokerFailed(
            f"the data folder {path.parent} is used by another broker (process {owner or 'unknown'})"
        ) from cause
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
