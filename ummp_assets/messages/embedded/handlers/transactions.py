"""Idempotence and transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn."""

from collections.abc import Callable
from typing import Any, ParamSpec

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.groups import TopicPartition
from ummp_assets.messages.embedded.handlers.call import Call, Fields, code_of
from ummp_assets.messages.embedded.handlers.group_offsets import parse_offset
from ummp_assets.messages.embedded.transactions import ProducerIdentity

__all__ = ["add_offsets_to_txn", "add_partitions_to_txn", "end_txn", "init_producer_id", "txn_offset_commit"]

P = ParamSpec("P")


def init_producer_id(call: Call) -> Fields:
    request = call.request
    known = None
    if call.version >= 3 and request.producer_id >= 0:
        known = ProducerIdentity(request.producer_id, request.producer_epoch)
    try:
        identity = call.broker.transactions.identify(request.transactional_id, request.transaction_timeout_ms, known)
    except RequestError as refusal:
        code = _spoken(refusal.code, fenced_is_known=call.version >= 4)
        return {"error_code": code, "producer_id": -1, "producer_epoch": -1}
    return {
        "error_code": ErrorCode.NONE,
        "producer_id": identity.producer_id,
        "producer_epoch": identity.epoch,
    }


def _spoken(code: ErrorCode, *, fenced_is_known: bool) -> ErrorCode:
    """Older clients know a fenced producer by its epoch only."""
    if code is ErrorCode.PRODUCER_FENCED and not fenced_is_known:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code


def _code_of(call: Call, action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> ErrorCode:
    return _spoken(code_of(action, *args, **kwargs), fenced_is_known=call.version >= 2)


def add_partitions_to_txn(call: Call) -> Fields:
    request = call.request
    transactional_id = request.v3_and_below_transactional_id
    producer = ProducerIdentity(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch)
    topics = request.v3_and_below_topics
    wanted = [TopicPartition(topic.name, number) for topic in topics for number in topic.partitions]
    missing = {where for where in wanted if call.broker.topics.find_log(*where) is None}
    codes = {}
    for where in wanted:
        if missing:  # all or nothing
            is_missing = where in missing
            codes[where] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if is_missing else ErrorCode.OPERATION_NOT_ATTEMPTED
        else:
            add = call.broker.transactions.add_partition
            codes[where] = _code_of(call, add, transactional_id, producer, where)
    results = [
        {
            "name": topic.name,
            "results_by_partition": [
                {"partition_index": number, "partition_error_code": codes[TopicPartition(topic.name, number)]}
                for number in topic.partitions
            ],
        }
        for topic in topics
    ]
    return {"results_by_topic_v3_and_below": results}


def add_offsets_to_txn(call: Call) -> Fields:
    request = call.request
    producer = ProducerIdentity(request.producer_id, request.producer_epoch)
    add = call.broker.transactions.add_offsets
    return {"error_code": _code_of(call, add, request.transactional_id, producer)}


def txn_offset_commit(call: Call) -> Fields:
    request = call.request
    topics = []
    for topic in request.topics:
        partitions = []
        for committed in topic.partitions:
            code = _code_of(call, _commit_offset, call, topic.name, committed)
            partitions.append({"partition_index": committed.partition_index, "error_code": code})
        topics.append({"name": topic.name, "partitions": partitions})
    return {"topics": topics}


def _commit_offset(call: Call, topic: str, committed: Any) -> None:
    request = call.request
    if call.version >= 3 and (request.member_id or request.generation_id >= 0):
        call.broker.groups.check_commit(
            request.group_id, request.member_id, request.group_instance_id, request.generation_id
        )
    where, offset = parse_offset(call, topic, committed)
    producer = ProducerIdentity(request.producer_id, request.producer_epoch)
    call.broker.transactions.commit_offset(request.transactional_id, producer, request.group_id, where, offset)


def end_txn(call: Call) -> Fields:
    request = call.request
    producer = ProducerIdentity(request.producer_id, request.producer_epoch)
    end = call.broker.transactions.end
    return {"error_code": _code_of(call, end, request.transactional_id, producer, commit=request.committed)}
