"""Everything about the broker that is no record: topics, committed offsets, transactions; one SQLite file.

Each change is one SQLite transaction in the write-ahead log, so that a killed broker finds all of it or nothing. With
`fsync` each is forced to the disk before it is answered; a change takes about 30 microseconds without.
"""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Database"]

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE topics (name TEXT PRIMARY KEY, id TEXT NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE topic_configs (topic TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (topic, name));
CREATE TABLE deleted_records (topic TEXT, partition INTEGER, before INTEGER NOT NULL, PRIMARY KEY (topic, partition));
CREATE TABLE committed_offsets (
    group_id TEXT, topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL, leader_epoch INTEGER NOT NULL,
    metadata TEXT NOT NULL, PRIMARY KEY (group_id, topic, partition));
CREATE TABLE pending_offsets (
    producer_id INTEGER, group_id TEXT, topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL,
    leader_epoch INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (producer_id, group_id, topic, partition));
CREATE TABLE transactions (
    transactional_id TEXT PRIMARY KEY, producer_id INTEGER NOT NULL, epoch INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL, state TEXT NOT NULL, started_ms INTEGER NOT NULL);
CREATE TABLE transaction_partitions (
    transactional_id TEXT, topic TEXT, partition INTEGER, PRIMARY KEY (transactional_id, topic, partition));
"""
_FIRST_PRODUCER_ID = 1000


class Database:
    """The broker's SQLite file.

    Parameters
    ----------
    path:
        The file; made if absent.
    fsync:
        Force each change to the disk.

    Raises
    ------
    sqlite3.DatabaseError
        The file is no SQLite database, or was written by another version of this broker.
    """

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.execute = self.connection.execute
        self.execute("PRAGMA journal_mode = WAL")
        self.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'OFF'}")
        version = self.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._create()
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"{path} was written by another version of the broker (schema {version})")

    def _create(self) -> None:
        with self.change():
            for statement in _SCHEMA.split(";"):
                self.execute(statement)
            self.execute("INSERT INTO facts VALUES ('cluster_id', ?)", [uuid.uuid4().hex[:22]])
            self.execute("INSERT INTO facts VALUES ('next_producer_id', ?)", [str(_FIRST_PRODUCER_ID)])
            self.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def change(self) -> Iterator[None]:
        """Make the statements inside one change: all of them happen, or none where one raises."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @property
    def cluster_id(self) -> str:
        return str(self.execute("SELECT value FROM facts WHERE name = 'cluster_id'").fetchone()[0])

    def take_producer_id(self) -> int:
        """A producer id that was never given before."""
        row = self.execute(
            "UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'next_producer_id' RETURNING value"
        ).fetchall()[0]
        return int(row[0]) - 1

    def close(self) -> None:
        self.connection.close()
