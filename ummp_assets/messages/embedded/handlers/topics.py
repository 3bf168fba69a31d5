"""Administration of topics: CreateTopics, DeleteTopics, CreatePartitions."""

from collections import Counter
from typing import Any

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.handlers.call import NODE_ID, Call, Fields, completed
from ummp_assets.messages.embedded.handlers.configs import describe_topic_configs

__all__ = ["create_partitions", "create_topics", "delete_topics"]

_CREATED_CONFIG_KEYS = ("name", "value", "read_only", "config_source", "is_sensitive")
_DEFAULT = -1  # "as the broker is configured", for the numbers of partitions and replicas


def create_topics(call: Call) -> Fields:
    names = Counter(wanted.name for wanted in call.request.topics)
    return {
        "topics": [
            completed(
                {
                    "name": wanted.name,
                    "error_message": None,
                    "num_partitions": -1,
                    "replication_factor": -1,
                    "configs": [],
                },
                _create,
                call,
                wanted,
                names[wanted.name],
            )
            for wanted in call.request.topics
        ]
    }


def _create(call: Call, wanted: Any, times: int) -> Fields:
    if times > 1:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"Topic '{wanted.name}' is named {times} times.")
    count = _partition_count(wanted, call.broker.default_partitions)
    overrides = {setting.name: setting.value for setting in wanted.configs}
    created: Fields = {"num_partitions": count, "replication_factor": 1}
    if call.request.validate_only:
        call.broker.topics.check_new(wanted.name, count, overrides)
        return created
    topic = call.broker.topics.create(wanted.name, count, overrides)
    settings = describe_topic_configs(topic.config, None)
    configs = [{key: setting[key] for key in _CREATED_CONFIG_KEYS} for setting in settings]
    return created | {"topic_id": topic.id, "configs": configs}


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
    if call.version >= 6:
        wanted = [(topic.name, topic.topic_id) for topic in call.request.topics]
    else:
        wanted = [(name, None) for name in call.request.topic_names]
    return {
        "responses": [
            completed({"name": name, "topic_id": topic_id, "error_message": None}, _delete, call, name, topic_id)
            for name, topic_id in wanted
        ]
    }


def _delete(call: Call, name: str | None, topic_id: Any) -> Fields:
    topics = call.broker.topics
    topic = topics.get_by_id(topic_id) if name is None else topics.get(name)
    topics.delete(topic.name)
    return {"name": topic.name, "topic_id": topic.id}


def create_partitions(call: Call) -> Fields:
    return {
        "results": [
            completed({"name": wanted.name, "error_message": None}, _add_partitions, call, wanted)
            for wanted in call.request.topics
        ]
    }


def _add_partitions(call: Call, wanted: Any) -> None:
    topics = call.broker.topics
    topics.check_partition_count(wanted.name, wanted.count)
    if wanted.assignments is not None:
        added = wanted.count - len(topics.get(wanted.name).partitions)
        if len(wanted.assignments) != added:
            raise RequestError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{added} partitions need as many assignments")
        for assignment in wanted.assignments:
            _check_replicas(assignment.broker_ids)
    if not call.request.validate_only:
        topics.add_partitions(wanted.name, wanted.count)
