"""Administration of topics: CreateTopics, DeleteTopics, CreatePartitions."""

from typing import Any

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.handlers.call import NODE_ID, Call, Fields
from ummp_assets.messages.embedded.handlers.configs import describe_topic_configs
from ummp_assets.messages.embedded.topics import Topics

__all__ = ["create_partitions", "create_topics", "delete_topics"]

_CREATED_CONFIG_KEYS = ("name", "value", "read_only", "config_source", "is_sensitive")
_DEFAULT = -1  # "as the broker is configured", for the numbers of partitions and replicas


def create_topics(call: Call) -> Fields:
    names = [wanted.name for wanted in call.request.topics]
    return {"topics": [_create_once(call, wanted, names.count(wanted.name)) for wanted in call.request.topics]}


def _create_once(call: Call, wanted: Any, times: int) -> Fields:
    answer: Fields = {"name": wanted.name, "num_partitions": -1, "replication_factor": -1, "configs": []}
    try:
        if times > 1:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"Topic '{wanted.name}' is named {times} times.")
        count = _partition_count(wanted, call.broker.default_partitions)
        overrides = {setting.name: setting.value for setting in wanted.configs}
        if call.request.validate_only:
            call.broker.topics.check_new(wanted.name, count, overrides)
            return answer | {"error_code": ErrorCode.NONE, "num_partitions": count, "replication_factor": 1}
        topic = call.broker.topics.create(wanted.name, count, overrides)
    except RequestError as refusal:
        return answer | {"error_code": refusal.code, "error_message": refusal.message}
    return answer | {
        "topic_id": topic.id,
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "num_partitions": count,
        "replication_factor": 1,
        "configs": [
            {key: setting[key] for key in _CREATED_CONFIG_KEYS}
            for setting in describe_topic_configs(topic.config, None)
        ],
    }


def _partition_count(wanted: Any, default: int) -> int:
    """How many partitions the request asks for; raises what Kafka answers to wrong replicas."""
    if wanted.assignments:
        if wanted.num_partitions != _DEFAULT or wanted.replication_factor != _DEFAULT:
            raise RequestError(
                ErrorCode.INVALID_REQUEST, "A manual partition assignment excludes partition and replica counts."
            )
        numbers = sorted(assignment.partition_index for assignment in wanted.assignments)
        if numbers != list(range(len(numbers))):
            raise RequestError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based list")
        for assignment in wanted.assignments:
            _check_replicas(assignment.broker_ids)
        return len(numbers)
    if wanted.replication_factor not in (_DEFAULT, 1):
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0."
            if wanted.replication_factor < 1
            else f"Unable to replicate the partition {wanted.replication_factor} time(s): there is one broker.",
        )
    return default if wanted.num_partitions == _DEFAULT else int(wanted.num_partitions)


def _check_replicas(broker_ids: list[int]) -> None:
    if list(broker_ids) != [NODE_ID]:
        raise RequestError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"the only broker has id {NODE_ID}")


def delete_topics(call: Call) -> Fields:
    topics = call.broker.topics
    if call.version >= 6:
        return {"responses": [_delete(topics, wanted.name, wanted.topic_id) for wanted in call.request.topics]}
    return {"responses": [_delete(topics, name, None) for name in call.request.topic_names]}


def _delete(topics: Topics, name: str | None, topic_id: Any) -> Fields:
    answer: Fields = {"name": name, "topic_id": topic_id, "error_code": ErrorCode.NONE, "error_message": None}
    try:
        topic = topics.get(name) if name is not None else topics.get_by_id(topic_id)
        topics.delete(topic.name)
    except RequestError as refusal:
        return answer | {"error_code": refusal.code, "error_message": refusal.message}
    return answer | {"name": topic.name, "topic_id": topic.id}


def create_partitions(call: Call) -> Fields:
    return {"results": [_add_partitions(call, wanted) for wanted in call.request.topics]}


def _add_partitions(call: Call, wanted: Any) -> Fields:
    answer: Fields = {"name": wanted.name, "error_code": ErrorCode.NONE, "error_message": None}
    topics = call.broker.topics
    try:
        topics.check_partition_count(wanted.name, wanted.count)
        if wanted.assignments is not None:
            if len(wanted.assignments) != wanted.count - len(topics.get(wanted.name).partitions):
                raise RequestError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "one assignment for each new partition")
            for assignment in wanted.assignments:
                _check_replicas(assignment.broker_ids)
        if not call.request.validate_only:
            topics.add_partitions(wanted.name, wanted.count)
    except RequestError as refusal:
        return answer | {"error_code": refusal.code, "error_message": refusal.message}
    return answer
