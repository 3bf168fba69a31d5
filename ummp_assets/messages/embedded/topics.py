"""The topics that the broker has: their partitions' logs, settings, creation, growth and deletion."""

import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from ummp_assets.messages.embedded.database import Database
from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.partition_log import PartitionLog
from ummp_assets.messages.embedded.topic_configs import TopicConfig, check_config_value

__all__ = ["Topic", "Topics"]

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MAX_PARTITIONS = 10_000
_MAX_FLUSH_SECONDS = 3.0
_TABLES_BY_TOPIC = (
    "topic_configs",
    "deleted_records",
    "committed_offsets",
    "pending_offsets",
    "transaction_partitions",
)


class Topic:
    """A named list of partition logs."""

    def __init__(self, name: str, topic_id: uuid.UUID, config: TopicConfig, partitions: list[PartitionLog]) -> None:
        self.name = name
        self.id = topic_id
        self.config = config
        self.partitions = partitions


class Topics:
    """All topics, opened from `folder` and `database`.

    Parameters
    ----------
    folder:
        Holds one folder per topic, named after the topic's start and its id: a topic that is deleted and created again
        never meets its old files, and two names that differ only in case never share a folder.
    database:
        Knows which topics there are; folders that it does not know are left-overs of a deletion and are removed.
    fsync:
        Force each append to the disk before it is acknowledged.
    """

    def __init__(self, folder: Path, database: Database, *, fsync: bool) -> None:
        self._folder = folder
        self._database = database
        self._fsync = fsync
        self._topics: dict[str, Topic] = {}
        folder.mkdir(exist_ok=True)
        for name, topic_id, count in database.execute("SELECT name, id, partitions FROM topics ORDER BY name"):
            self._open(name, uuid.UUID(topic_id), count)
        known = {self._topic_folder(topic.name, topic.id) for topic in self}
        for left_over in set(folder.iterdir()) - known:
            shutil.rmtree(left_over)

    def __iter__(self) -> Iterator[Topic]:
        return iter(list(self._topics.values()))

    def find(self, name: str) -> Topic | None:
        return self._topics.get(name)

    def get(self, name: str) -> Topic:
        """The topic; raises UNKNOWN_TOPIC_OR_PARTITION."""
        topic = self._topics.get(name)
        if topic is None:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return topic

    def get_by_id(self, topic_id: uuid.UUID) -> Topic:
        """The topic; raises UNKNOWN_TOPIC_ID."""
        for topic in self:
            if topic.id == topic_id:
                return topic
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_ID)

    def find_log(self, name: str, partition: int) -> PartitionLog | None:
        topic = self._topics.get(name)
        if topic is None or not 0 <= partition < len(topic.partitions):
            return None
        return topic.partitions[partition]

    def get_log(self, name: str, partition: int) -> PartitionLog:
        """The log of one topic-partition; raises UNKNOWN_TOPIC_OR_PARTITION."""
        log = self.find_log(name, partition)
        if log is None:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return log

    def logs(self) -> Iterator[PartitionLog]:
        """The logs of all topic-partitions."""
        for topic in self:
            yield from topic.partitions

    def check_new(self, name: str, partition_count: int, overrides: Mapping[str, str | None]) -> None:
        """Raise what Kafka answers to the creation of such a topic, if it refuses."""
        if name in self._topics:
            raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if not _LEGAL_NAME.fullmatch(name) or name in (".", ".."):
            raise RequestError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: '{name}'")
        rival = next((topic.name for topic in self if _metric_name(topic.name) == _metric_name(name)), None)
        if rival is not None:
            raise RequestError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {rival}"
            )
        _check_partition_count(partition_count)
        for setting, value in overrides.items():
            check_config_value(setting, value)

    def create(self, name: str, partition_count: int, overrides: Mapping[str, str | None]) -> Topic:
        """Create a topic.

        Raises
        ------
        RequestError
            TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS or INVALID_CONFIG.
        """
        self.check_new(name, partition_count, overrides)
        topic_id = uuid.uuid4()
        with self._database.change():
            self._database.execute("INSERT INTO topics VALUES (?, ?, ?)", [name, topic_id.hex, partition_count])
            self._store_overrides(name, overrides)
        return self._open(name, topic_id, partition_count)

    def check_partition_count(self, name: str, partition_count: int) -> None:
        """Raise what Kafka answers to the growth of the topic to so many partitions, if it refuses."""
        present = len(self.get(name).partitions)
        if partition_count == present:
            raise RequestError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
        if partition_count < present:
            raise RequestError(
                ErrorCode.INVALID_PARTITIONS,
                f"The topic {name} currently has {present} partition(s); {partition_count} would not be an increase.",
            )
        _check_partition_count(partition_count)

    def add_partitions(self, name: str, partition_count: int) -> None:
        """Let the topic have so many partitions; raises UNKNOWN_TOPIC_OR_PARTITION or INVALID_PARTITIONS."""
        self.check_partition_count(name, partition_count)
        topic = self.get(name)
        self._database.execute("UPDATE topics SET partitions = ? WHERE name = ?", [partition_count, name])
        for partition in range(len(topic.partitions), partition_count):
            topic.partitions.append(self._open_log(topic, partition))

    def delete(self, name: str) -> None:
        """Delete the topic, its records and the offsets committed for it; raises UNKNOWN_TOPIC_OR_PARTITION."""
        topic = self.get(name)
        with self._database.change():
            self._database.execute("DELETE FROM topics WHERE name = ?", [name])
            for table in _TABLES_BY_TOPIC:
                self._database.execute(f"DELETE FROM {table} WHERE topic = ?", [name])  # noqa: S608 - names from here
        del self._topics[name]
        for log in topic.partitions:
            log.delete()
        shutil.rmtree(self._topic_folder(name, topic.id))

    def replace_overrides(self, name: str, overrides: Mapping[str, str | None]) -> None:
        """Give the topic other settings; raises UNKNOWN_TOPIC_OR_PARTITION or INVALID_CONFIG."""
        topic = self.get(name)
        for setting, value in overrides.items():
            check_config_value(setting, value)
        with self._database.change():
            self._database.execute("DELETE FROM topic_configs WHERE topic = ?", [name])
            self._store_overrides(name, overrides)
        topic.config = self._load_config(name)
        for log in topic.partitions:
            log.config = topic.config

    def delete_records(self, name: str, partition: int, before: int) -> None:
        """Make `before` the first offset of the topic-partition that can be read."""
        self._database.execute("INSERT OR REPLACE INTO deleted_records VALUES (?, ?, ?)", [name, partition, before])
        self.get_log(name, partition).delete_before(before)

    def close(self) -> None:
        """Close all logs; those that come after some seconds of waiting for the disk are not forced to it.

        2,000 partitions in use took 10 s, and the next start on this machine trusts them anyway.
        """
        flush_until = time.monotonic() + _MAX_FLUSH_SECONDS
        for log in self.logs():
            log.close(flush=self._fsync or time.monotonic() < flush_until)

    def _open(self, name: str, topic_id: uuid.UUID, partition_count: int) -> Topic:
        topic = Topic(name, topic_id, self._load_config(name), [])
        topic.partitions.extend(self._open_log(topic, partition) for partition in range(partition_count))
        self._topics[name] = topic
        return topic

    def _open_log(self, topic: Topic, partition: int) -> PartitionLog:
        row = self._database.execute(
            "SELECT before FROM deleted_records WHERE topic = ? AND partition = ?", [topic.name, partition]
        ).fetchone()
        folder = self._topic_folder(topic.name, topic.id) / str(partition)
        return PartitionLog(folder, topic.config, deleted_before=row[0] if row else 0, fsync=self._fsync)

    def _topic_folder(self, name: str, topic_id: uuid.UUID) -> Path:
        return self._folder / f"{name[:60]}.{topic_id.hex}"

    def _store_overrides(self, name: str, overrides: Mapping[str, str | None]) -> None:
        rows = [(name, setting, value) for setting, value in overrides.items()]
        self._database.connection.executemany("INSERT INTO topic_configs VALUES (?, ?, ?)", rows)

    def _load_config(self, name: str) -> TopicConfig:
        rows = self._database.execute("SELECT name, value FROM topic_configs WHERE topic = ?", [name])
        return TopicConfig(dict(rows.fetchall()))


def _check_partition_count(partition_count: int) -> None:
    if partition_count < 1:
        raise RequestError(ErrorCode.INVALID_PARTITIONS, "Number of partitions must be larger than 0.")
    if partition_count > _MAX_PARTITIONS:
        raise RequestError(
            ErrorCode.POLICY_VIOLATION, f"Excessively large number of partitions: at most {_MAX_PARTITIONS}."
        )


def _metric_name(name: str) -> str:
    return name.replace(".", "_")
