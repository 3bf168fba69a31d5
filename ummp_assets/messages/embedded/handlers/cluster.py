"""Who is there: Metadata, FindCoordinator, DescribeCluster."""

import uuid
from typing import Any

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.handlers.call import NODE_ID, Call, Fields
from ummp_assets.messages.embedded.topics import Topic

__all__ = ["describe_cluster", "find_coordinator", "metadata"]

_NO_ID = uuid.UUID(int=0)
_COORDINATOR_TYPES = (0, 1)  # consumer group, transaction
_BROKER_ENDPOINTS = 1


def metadata(call: Call) -> Fields:
    request = call.request
    wants_all = request.topics is None or (call.version == 0 and not request.topics)
    if wants_all:
        topics = [_describe(topic) for topic in call.broker.topics]
    else:
        topics = [_describe_wanted(call, wanted) for wanted in request.topics]
    host, port = call.address
    return {
        "brokers": [{"node_id": NODE_ID, "host": host, "port": port, "rack": None}],
        "cluster_id": call.broker.cluster_id,
        "controller_id": NODE_ID,
        "topics": topics,
    }


def _describe_wanted(call: Call, wanted: Any) -> Fields:
    try:
        if wanted.name is None:
            return _describe(call.broker.topics.get_by_id(wanted.topic_id))
        topic = call.broker.topics.find(wanted.name)
        if topic is None and (call.version < 4 or call.request.allow_auto_topic_creation):
            topic = call.broker.topics.create(wanted.name, call.broker.default_partitions, {})
        return _describe(topic or call.broker.topics.get(wanted.name))
    except RequestError as refusal:
        topic_id = wanted.topic_id or _NO_ID
        return {"error_code": refusal.code, "name": wanted.name, "topic_id": topic_id, "partitions": []}


def _describe(topic: Topic) -> Fields:
    partitions = [
        {
            "error_code": ErrorCode.NONE,
            "partition_index": number,
            "leader_id": NODE_ID,
            "leader_epoch": 0,
            "replica_nodes": [NODE_ID],
            "isr_nodes": [NODE_ID],
            "offline_replicas": [],
        }
        for number in range(len(topic.partitions))
    ]
    return {
        "error_code": ErrorCode.NONE,
        "name": topic.name,
        "topic_id": topic.id,
        "is_internal": False,
        "partitions": partitions,
    }


def find_coordinator(call: Call) -> Fields:
    request = call.request
    host, port = call.address
    found = {"node_id": NODE_ID, "host": host, "port": port, "error_code": ErrorCode.NONE, "error_message": None}
    if call.version >= 1 and request.key_type not in _COORDINATOR_TYPES:
        found |= {"node_id": -1, "host": "", "port": -1, "error_code": ErrorCode.INVALID_REQUEST}
    if call.version >= 4:
        return {"coordinators": [{"key": key, **found} for key in request.coordinator_keys]}
    return found


def describe_cluster(call: Call) -> Fields:
    host, port = call.address
    endpoint_type = call.request.endpoint_type if call.version >= 1 else _BROKER_ENDPOINTS
    if endpoint_type != _BROKER_ENDPOINTS:
        return {
            "error_code": ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            "error_message": "this broker has no controller endpoint of its own",
            "endpoint_type": endpoint_type,
            "cluster_id": "",
            "brokers": [],
        }
    return {
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "endpoint_type": endpoint_type,
        "cluster_id": call.broker.cluster_id,
        "controller_id": NODE_ID,
        "brokers": [{"broker_id": NODE_ID, "host": host, "port": port, "rack": None}],
    }
