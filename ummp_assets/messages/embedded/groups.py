"""All consumer groups, and the offsets that they committed."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kafka.protocol.consumer import ConsumerProtocolSubscription

from ummp_assets.messages.embedded.database import Database
from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.group import Group, GroupState

__all__ = ["CommittedOffset", "Groups", "TopicPartition", "check_metadata"]

_MAX_METADATA_BYTES = 4096
_CONSUMER_PROTOCOL = "consumer"


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class CommittedOffset(NamedTuple):
    """Where a group goes on reading, with the text that it stored beside."""

    next_offset: int
    leader_epoch: int
    metadata: str


class Groups:
    """The groups that have members, in memory, and every group's offsets, in the database.

    Members are not kept over a restart: their next heartbeat tells them to join again. Offsets are kept until the group
    or the topic is deleted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups: dict[str, Group] = {}

    def get_or_create(self, group_id: str) -> Group:
        """The group; raises INVALID_GROUP_ID for an empty name."""
        if not group_id:
            raise RequestError(ErrorCode.INVALID_GROUP_ID)
        return self._groups.setdefault(group_id, Group(group_id))

    def find(self, group_id: str) -> Group | None:
        """The group, if it has or had members since the start, or has committed offsets."""
        group = self._groups.get(group_id)
        if group is None and self._has_offsets(group_id):
            group = self._groups[group_id] = Group(group_id)
        return group

    def __iter__(self) -> Iterator[Group]:
        stored = self._database.execute("SELECT DISTINCT group_id FROM committed_offsets").fetchall()
        for group_id in sorted({row[0] for row in stored} | set(self._groups)):
            group = self.find(group_id)
            if group is not None:
                yield group

    def _has_offsets(self, group_id: str) -> bool:
        row = self._database.execute("SELECT 1 FROM committed_offsets WHERE group_id = ? LIMIT 1", [group_id])
        return row.fetchone() is not None

    def check_commit(self, group_id: str, member_id: str, instance_id: str | None, generation: int) -> None:
        """Raise what Kafka answers to a commit by such a member, if it refuses.

        A consumer that manages its partitions itself commits with generation -1, which only a group without members
        accepts.
        """
        group = self.find(group_id) if group_id else None
        if generation < 0 and not member_id and (group is None or not group.members):
            return
        if group is None or (not group.members and group.generation == 0):
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        member = group.check_generation(member_id, instance_id, generation)
        if group.state is GroupState.COMPLETING:
            raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)
        group.heard_from(member)

    def commit(self, group_id: str, offsets: Iterable[tuple[TopicPartition, CommittedOffset]]) -> None:
        """Store offsets that `check_commit` accepted."""
        self._groups.setdefault(group_id, Group(group_id))
        rows = [(group_id, *where, *offset) for where, offset in offsets]
        with self._database.change():
            self._database.connection.executemany(
                "INSERT OR REPLACE INTO committed_offsets VALUES (?, ?, ?, ?, ?, ?)", rows
            )

    def committed(self, group_id: str) -> dict[TopicPartition, CommittedOffset]:
        """Every offset that the group committed."""
        rows = self._database.execute(
            "SELECT topic, partition, next_offset, leader_epoch, metadata FROM committed_offsets "
            "WHERE group_id = ? ORDER BY topic, partition",
            [group_id],
        )
        return {TopicPartition(*row[:2]): CommittedOffset(*row[2:]) for row in rows}

    def unstable(self, group_id: str) -> set[TopicPartition]:
        """Where an open transaction has an offset for the group that may yet be committed."""
        rows = self._database.execute("SELECT topic, partition FROM pending_offsets WHERE group_id = ?", [group_id])
        return {TopicPartition(*row) for row in rows}

    def delete(self, group_id: str) -> None:
        """Forget the group and its offsets; raises GROUP_ID_NOT_FOUND or NON_EMPTY_GROUP."""
        group = self._get_existing(group_id)
        if group.members:
            raise RequestError(ErrorCode.NON_EMPTY_GROUP)
        self._database.execute("DELETE FROM committed_offsets WHERE group_id = ?", [group_id])
        del self._groups[group_id]

    def check_offset_deletion(self, group_id: str) -> set[str]:
        """The topics whose offsets must stay because members read them; raises as `delete` does."""
        group = self._get_existing(group_id)
        if not group.members:
            return set()
        if group.protocol_type != _CONSUMER_PROTOCOL:
            raise RequestError(ErrorCode.NON_EMPTY_GROUP)
        return {topic for member in group.members.values() for topic in _subscribed_topics(member.protocols.values())}

    def delete_offset(self, group_id: str, where: TopicPartition) -> None:
        self._database.execute(
            "DELETE FROM committed_offsets WHERE group_id = ? AND topic = ? AND partition = ?", [group_id, *where]
        )

    def _get_existing(self, group_id: str) -> Group:
        group = self.find(group_id)
        if group is None:
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND)
        return group


def check_metadata(metadata: str | None) -> str:
    """The text stored beside an offset; raises OFFSET_METADATA_TOO_LARGE."""
    if metadata is not None and len(metadata) > _MAX_METADATA_BYTES:
        raise RequestError(ErrorCode.OFFSET_METADATA_TOO_LARGE)
    return metadata or ""


def _subscribed_topics(subscriptions: Iterable[bytes]) -> set[str]:
    return {topic for content in subscriptions for topic in ConsumerProtocolSubscription.decode(content).topics}
