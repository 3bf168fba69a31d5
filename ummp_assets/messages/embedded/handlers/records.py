"""Records in and out: Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords."""

import asyncio
import logging
from contextlib import ExitStack
from typing import Any

from ummp_assets.messages.embedded.aborted_transactions import AbortedTransaction
from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.groups import TopicPartition
from ummp_assets.messages.embedded.handlers.call import Call, Fields, completed
from ummp_assets.messages.embedded.partition_log import PartitionLog, TimedOffset
from ummp_assets.messages.embedded.record_batch import validate_produced_batch

__all__ = ["delete_records", "fetch", "list_offsets", "offset_for_leader_epoch", "produce"]

_LOGGER = logging.getLogger(__name__)
_READ_COMMITTED = 1
_LEADER_EPOCH = 0
# Bound of one fetch response; larger requests are answered in pieces, as Kafka does at 55 MB (fetch.max.bytes).
# Throughput is the same from 1 MiB on, while a response lies in memory three times until it is sent.
_MAX_FETCH_BYTES = 4 * 1024 * 1024

_LATEST, _EARLIEST, _MAX_TIMESTAMP, _EARLIEST_LOCAL, _LATEST_TIERED = -1, -2, -3, -4, -5


def produce(call: Call) -> Fields | None:
    """Append batches; a producer that asked for no acknowledgement (acks=0) gets no response.

    If something was refused, such a producer loses its connection, which is all that it can be told.
    """
    responses = [
        {
            "name": topic.name,
            "partition_responses": [_append_or_refuse(call, topic.name, data) for data in topic.partition_data],
        }
        for topic in call.request.topic_data
    ]
    if call.request.acks != 0:
        return {"responses": responses}
    if any(part["error_code"] for topic in responses for part in topic["partition_responses"]):
        raise ConnectionAbortedError("an unacknowledged Produce was refused")
    return None


def _append_or_refuse(call: Call, topic: str, data: Any) -> Fields:
    answer: Fields = {
        "index": data.index,
        "base_offset": -1,
        "log_append_time_ms": -1,
        "log_start_offset": -1,
        "error_message": None,
    }
    try:
        return completed(answer, _append, call, topic, data)
    except OSError:
        _LOGGER.exception("records for %s-%d could not be stored", topic, data.index)
        return answer | {"error_code": ErrorCode.KAFKA_STORAGE_ERROR}


def _append(call: Call, topic: str, data: Any) -> Fields:
    if call.request.acks not in (-1, 0, 1):
        raise RequestError(ErrorCode.INVALID_REQUIRED_ACKS)
    log = call.broker.topics.get_log(topic, data.index)
    batch = memoryview(data.records or b"")
    header = validate_produced_batch(batch, log.config.max_message_bytes)
    call.broker.transactions.check_batch(header, TopicPartition(topic, data.index))
    base_offset, append_time = log.append(batch, header)
    return {
        "base_offset": base_offset,
        "log_append_time_ms": append_time,
        "log_start_offset": log.start_offset,
    }


async def fetch(call: Call) -> Fields:
    """Read batches; waits up to `max_wait_ms` while there are fewer than `min_bytes` and no errors."""
    request = call.request
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.max_wait_ms / 1000
    appended = asyncio.Event()
    with ExitStack() as watches:
        for topic in request.topics:
            for wanted in topic.partitions:
                log = call.broker.topics.find_log(topic.topic, wanted.partition)
                if log is not None:
                    watches.enter_context(log.watched_by(appended.set))
        while True:
            appended.clear()
            response, is_complete = _read_all(call)
            remaining = deadline - loop.time()
            if is_complete or remaining <= 0:
                return response
            try:
                await asyncio.wait_for(appended.wait(), remaining)
            except TimeoutError:
                return response


def _read_all(call: Call) -> tuple[Fields, bool]:
    request = call.request
    budget = min(request.max_bytes, _MAX_FETCH_BYTES)
    read_bytes, has_error = 0, False
    responses = []
    for topic in request.topics:
        partitions = []
        for wanted in topic.partitions:
            part = _read_one(call, topic.topic, wanted, budget - read_bytes, is_first=read_bytes == 0)
            read_bytes += len(part["records"])
            has_error = has_error or part["error_code"] != ErrorCode.NONE
            partitions.append(part)
        responses.append({"topic": topic.topic, "partitions": partitions})
    is_complete = has_error or read_bytes >= request.min_bytes or not responses
    return {"error_code": ErrorCode.NONE, "session_id": 0, "responses": responses}, is_complete


def _read_one(call: Call, topic: str, wanted: Any, budget: int, *, is_first: bool) -> Fields:
    nothing: Fields = {
        "partition_index": wanted.partition,
        "high_watermark": -1,
        "last_stable_offset": -1,
        "log_start_offset": -1,
        "aborted_transactions": None,
        "records": b"",
    }
    max_bytes = max(0, min(wanted.partition_max_bytes, budget))
    return completed(nothing, _read, call, topic, wanted, max_bytes, is_first=is_first)


def _read(call: Call, topic: str, wanted: Any, max_bytes: int, *, is_first: bool) -> Fields:
    committed = call.request.isolation_level == _READ_COMMITTED
    log = call.broker.topics.get_log(topic, wanted.partition)
    records = log.read(wanted.fetch_offset, max_bytes, committed=committed, whole_batch=is_first)
    aborted = log.aborted_transactions(wanted.fetch_offset, records) if committed else None
    return {
        "high_watermark": log.end_offset,
        "last_stable_offset": log.last_stable_offset,
        "log_start_offset": log.start_offset,
        "aborted_transactions": aborted and [_described(transaction) for transaction in aborted],
        "records": records,
    }


def _described(transaction: AbortedTransaction) -> Fields:
    return {"producer_id": transaction.producer_id, "first_offset": transaction.first_offset}


def list_offsets(call: Call) -> Fields:
    nothing: Fields = {"timestamp": -1, "offset": -1, "leader_epoch": -1}
    topics = [
        {
            "name": topic.name,
            "partitions": [
                completed(nothing | {"partition_index": wanted.partition_index}, _list_offset, call, topic.name, wanted)
                for wanted in topic.partitions
            ],
        }
        for topic in call.request.topics
    ]
    return {"topics": topics}


def _list_offset(call: Call, topic: str, wanted: Any) -> Fields | None:
    log = call.broker.topics.get_log(topic, wanted.partition_index)
    committed = call.version >= 2 and call.request.isolation_level == _READ_COMMITTED
    found = _look_up(log, wanted.timestamp, committed=committed)
    return found and {"timestamp": found.timestamp, "offset": found.offset, "leader_epoch": _LEADER_EPOCH}


def _look_up(log: PartitionLog, timestamp: int, *, committed: bool) -> TimedOffset | None:
    end = log.last_stable_offset if committed else log.end_offset
    if timestamp == _LATEST:
        return TimedOffset(end, -1)
    if timestamp in (_EARLIEST, _EARLIEST_LOCAL):
        return TimedOffset(log.start_offset, -1)
    if timestamp == _LATEST_TIERED:
        return None
    found = log.offset_of_latest_time() if timestamp == _MAX_TIMESTAMP else log.offset_of_time(timestamp)
    return found if found is not None and found.offset < end else None


def offset_for_leader_epoch(call: Call) -> Fields:
    nothing: Fields = {"leader_epoch": -1, "end_offset": -1}
    topics = [
        {
            "topic": topic.topic,
            "partitions": [
                completed(nothing | {"partition": wanted.partition}, _end_of_epoch, call, topic.topic, wanted)
                for wanted in topic.partitions
            ],
        }
        for topic in call.request.topics
    ]
    return {"topics": topics}


def _end_of_epoch(call: Call, topic: str, wanted: Any) -> Fields | None:
    """There was never another leader, so that epoch 0 ends where the log ends."""
    log = call.broker.topics.get_log(topic, wanted.partition)
    if wanted.leader_epoch != _LEADER_EPOCH:
        return None
    return {"leader_epoch": _LEADER_EPOCH, "end_offset": log.end_offset}


def delete_records(call: Call) -> Fields:
    topics = [
        {
            "name": topic.name,
            "partitions": [
                completed(
                    {"partition_index": wanted.partition_index, "low_watermark": -1},
                    _delete_before,
                    call,
                    topic.name,
                    wanted,
                )
                for wanted in topic.partitions
            ],
        }
        for topic in call.request.topics
    ]
    return {"topics": topics}


def _delete_before(call: Call, topic: str, wanted: Any) -> Fields:
    log = call.broker.topics.get_log(topic, wanted.partition_index)
    if not log.config.is_deleted:
        raise RequestError(ErrorCode.POLICY_VIOLATION)
    before = log.end_offset if wanted.offset == -1 else wanted.offset
    if not 0 <= before <= log.end_offset:
        raise RequestError(ErrorCode.OFFSET_OUT_OF_RANGE)
    call.broker.topics.delete_records(topic, wanted.partition_index, before)
    return {"low_watermark": log.start_offset}
