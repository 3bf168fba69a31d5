"""How far groups have read: OffsetCommit, OffsetFetch, OffsetDelete."""

from collections.abc import Iterable
from typing import Any

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.groups import CommittedOffset, TopicPartition, check_metadata
from ummp_assets.messages.embedded.handlers.call import Call, Fields, code_of

__all__ = ["offset_commit", "offset_delete", "offset_fetch", "parse_offset"]

_NOTHING_COMMITTED = CommittedOffset(-1, -1, "")


def parse_offset(call: Call, topic: str, committed: Any) -> tuple[TopicPartition, CommittedOffset]:
    """What a request wants to commit; raises UNKNOWN_TOPIC_OR_PARTITION or OFFSET_METADATA_TOO_LARGE."""
    call.broker.topics.get_log(topic, committed.partition_index)
    metadata = check_metadata(committed.committed_metadata)
    offset = CommittedOffset(committed.committed_offset, committed.committed_leader_epoch, metadata)
    return TopicPartition(topic, committed.partition_index), offset


def offset_commit(call: Call) -> Fields:
    request = call.request
    accepted = []
    refusal_of_all = code_of(_check_commit, call)
    topics = []
    for topic in request.topics:
        partitions = []
        for committed in topic.partitions:
            code = refusal_of_all
            if code is ErrorCode.NONE:
                try:
                    accepted.append(parse_offset(call, topic.name, committed))
                except RequestError as refusal:
                    code = refusal.code
            partitions.append({"partition_index": committed.partition_index, "error_code": code})
        topics.append({"name": topic.name, "partitions": partitions})
    if accepted:
        call.broker.groups.commit(request.group_id, accepted)
    return {"topics": topics}


def _check_commit(call: Call) -> None:
    request = call.request
    instance_id = request.group_instance_id if call.version >= 7 else None
    generation = request.generation_id_or_member_epoch
    call.broker.groups.check_commit(request.group_id, request.member_id, instance_id, generation)


def offset_fetch(call: Call) -> Fields:
    request = call.request
    stable_only = call.version >= 7 and request.require_stable
    if call.version >= 8:
        groups = [
            {
                "group_id": group.group_id,
                "topics": _offsets(call, group.group_id, group.topics, stable_only=stable_only),
                "error_code": ErrorCode.NONE,
            }
            for group in request.groups
        ]
        return {"groups": groups}
    topics = _offsets(call, request.group_id, request.topics, stable_only=stable_only)
    return {"topics": topics, "error_code": ErrorCode.NONE}


def _offsets(call: Call, group_id: str, wanted: Iterable[Any] | None, *, stable_only: bool) -> list[Fields]:
    committed = call.broker.groups.committed(group_id)
    unstable = call.broker.groups.unstable(group_id) if stable_only else set()
    if wanted is None:
        partitions_of: dict[str, list[int]] = {}
        for topic, partition in committed:
            partitions_of.setdefault(topic, []).append(partition)
    else:
        partitions_of = {topic.name: list(topic.partition_indexes) for topic in wanted}
    return [
        {
            "name": topic,
            "partitions": [_offset(TopicPartition(topic, number), committed, unstable) for number in numbers],
        }
        for topic, numbers in partitions_of.items()
    ]


def _offset(
    where: TopicPartition, committed: dict[TopicPartition, CommittedOffset], unstable: set[TopicPartition]
) -> Fields:
    is_unstable = where in unstable
    offset = _NOTHING_COMMITTED if is_unstable else committed.get(where, _NOTHING_COMMITTED)
    return {
        "partition_index": where.partition,
        "committed_offset": offset.next_offset,
        "committed_leader_epoch": offset.leader_epoch,
        "metadata": offset.metadata,
        "error_code": ErrorCode.UNSTABLE_OFFSET_COMMIT if is_unstable else ErrorCode.NONE,
    }


def offset_delete(call: Call) -> Fields:
    request = call.request
    groups = call.broker.groups
    try:
        subscribed = groups.check_offset_deletion(request.group_id)
    except RequestError as refusal:
        return {"error_code": refusal.code, "topics": []}
    topics = []
    for topic in request.topics:
        partitions = []
        for wanted in topic.partitions:
            code = ErrorCode.NONE
            if topic.name in subscribed:
                code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
            elif call.broker.topics.find_log(topic.name, wanted.partition_index) is None:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                groups.delete_offset(request.group_id, TopicPartition(topic.name, wanted.partition_index))
            partitions.append({"partition_index": wanted.partition_index, "error_code": code})
        topics.append({"name": topic.name, "partitions": partitions})
    return {"error_code": ErrorCode.NONE, "topics": topics}
