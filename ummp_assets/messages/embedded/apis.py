"""The requests that the broker understands: which versions, and who answers.

Versions end where a newer one would need what this broker has not: topic ids in Produce and Fetch, transactions of
KIP-890. Produce ends at 8, the last version with plain lengths: see `wire`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kafka.protocol import admin, consumer, metadata, producer

from ummp_assets.messages.embedded.error_codes import ErrorCode
from ummp_assets.messages.embedded.handlers import (
    cluster,
    configs,
    group_membership,
    group_offsets,
    records,
    topics,
    transactions,
)
from ummp_assets.messages.embedded.handlers.call import Call, Fields

__all__ = ["APIS", "API_VERSIONS_KEY", "Api", "unsupported_api_versions"]

Handler = Callable[[Call], Fields | Awaitable[Fields] | None]


class Api(NamedTuple):
    """One kind of request: kafka-python's classes, the versions spoken, and the handler."""

    request_class: Any
    response_class: Any
    min_version: int
    max_version: int
    handle: Handler


def _api(module: Any, name: str, min_version: int, max_version: int, handle: Handler) -> Api:
    request_class, response_class = getattr(module, f"{name}Request"), getattr(module, f"{name}Response")
    return Api(request_class, response_class, min_version, max_version, handle)


def _api_versions(call: Call) -> Fields:
    if call.version >= 3:
        names = (call.request.client_software_name, call.request.client_software_version)
        if not all(name and _SOFTWARE_NAME.fullmatch(name) for name in names):
            return {"error_code": ErrorCode.INVALID_REQUEST, "api_keys": []}
    return {
        "error_code": ErrorCode.NONE,
        "api_keys": [
            {"api_key": key, "min_version": _ADVERTISED_MIN.get(key, api.min_version), "max_version": api.max_version}
            for key, api in sorted(APIS.items())
        ],
    }


def unsupported_api_versions() -> Fields:
    """What a client is told whose ApiVersions request is too new; it is encoded as version 0 (KIP-511)."""
    api = APIS[API_VERSIONS_KEY]
    versions = {"api_key": API_VERSIONS_KEY, "min_version": api.min_version, "max_version": api.max_version}
    return {"error_code": ErrorCode.UNSUPPORTED_VERSION, "api_keys": [versions]}


_ALL = (
    _api(metadata, "ApiVersions", 0, 4, _api_versions),
    _api(metadata, "Metadata", 0, 12, cluster.metadata),
    _api(metadata, "FindCoordinator", 0, 6, cluster.find_coordinator),
    _api(admin, "DescribeCluster", 0, 1, cluster.describe_cluster),
    _api(producer, "Produce", 3, 8, records.produce),
    _api(consumer, "Fetch", 4, 12, records.fetch),
    _api(consumer, "ListOffsets", 1, 9, records.list_offsets),
    _api(consumer, "OffsetForLeaderEpoch", 2, 4, records.offset_for_leader_epoch),
    _api(admin, "DeleteRecords", 0, 2, records.delete_records),
    _api(admin, "CreateTopics", 2, 7, topics.create_topics),
    _api(admin, "DeleteTopics", 1, 6, topics.delete_topics),
    _api(admin, "CreatePartitions", 0, 3, topics.create_partitions),
    _api(admin, "DescribeConfigs", 1, 4, configs.describe_configs),
    _api(admin, "AlterConfigs", 0, 2, configs.alter_configs),
    _api(admin, "IncrementalAlterConfigs", 0, 1, configs.incremental_alter_configs),
    _api(consumer, "JoinGroup", 0, 9, group_membership.join_group),
    _api(consumer, "SyncGroup", 0, 5, group_membership.sync_group),
    _api(consumer, "Heartbeat", 0, 4, group_membership.heartbeat),
    _api(consumer, "LeaveGroup", 0, 5, group_membership.leave_group),
    _api(admin, "DescribeGroups", 0, 6, group_membership.describe_groups),
    _api(admin, "ListGroups", 0, 5, group_membership.list_groups),
    _api(admin, "DeleteGroups", 0, 2, group_membership.delete_groups),
    _api(consumer, "OffsetCommit", 2, 8, group_offsets.offset_commit),
    _api(consumer, "OffsetFetch", 1, 8, group_offsets.offset_fetch),
    _api(consumer, "OffsetDelete", 0, 0, group_offsets.offset_delete),
    _api(producer, "InitProducerId", 0, 4, transactions.init_producer_id),
    _api(producer, "AddPartitionsToTxn", 0, 3, transactions.add_partitions_to_txn),
    _api(producer, "AddOffsetsToTxn", 0, 3, transactions.add_offsets_to_txn),
    _api(producer, "TxnOffsetCommit", 0, 3, transactions.txn_offset_commit),
    _api(producer, "EndTxn", 0, 3, transactions.end_txn),
)

API_VERSIONS_KEY: int = metadata.ApiVersionsRequest.API_KEY
# As Kafka 4 does: librdkafka takes a broker that lacks Produce 0 for one that cannot compress (KAFKA-18659).
_ADVERTISED_MIN: Mapping[int, int] = {producer.ProduceRequest.API_KEY: 0}
_SOFTWARE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
APIS: Mapping[int, Api] = MappingProxyType({api.request_class.API_KEY: api for api in _ALL})
