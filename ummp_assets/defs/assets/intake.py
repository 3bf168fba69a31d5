"""Asset `requests`: the messages of a batch, parsed and stored."""

from typing import Any

import dagster as dg

from ummp_assets.defs.assets.topics import OWNERS, topic_keys
from ummp_assets.defs.columns import column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import result, stopwatch
from ummp_assets.defs.retries import BROKER_RETRIES, permanent_errors_fail_at_once
from ummp_assets.messages.intake import CODE_VERSION, read_requests
from ummp_assets.messages.topics import Role
from ummp_assets.records import REQUEST_SCHEMA
from ummp_assets.settings import Settings

__all__ = ["make_requests_asset"]


def make_requests_asset(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `requests`, downstream of the deployment's request topics."""

    @dg.asset(
        partitions_def=BATCHES[Role.REQUESTS],
        deps=topic_keys(settings, Role.REQUESTS),
        group_name="intake",
        owners=OWNERS,
        kinds={"kafka", "parquet"},
        code_version=CODE_VERSION,
        retry_policy=BROKER_RETRIES,
        metadata={"dagster/column_schema": column_schema(REQUEST_SCHEMA)},
    )
    def requests(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
        """The requests of one batch: exactly the messages of its offset ranges, parsed and stored.

        Messages that cannot be read are kept whole as dead letters. Offsets that Kafka's retention deleted before they
        were read are counted as `expired`.
        """
        with permanent_errors_fail_at_once(), stopwatch() as watch:
            manifest = read_requests(deployment.store, deployment.settings, context.partition_key)
        if manifest.numbers["expired"]:
            context.log.error(
                "%d messages of %s had expired in Kafka before they were read: lengthen the topic's retention",
                manifest.numbers["expired"],
                context.partition_key,
            )
        return result(deployment.store, manifest, watch, items=int(manifest.numbers["messages"]))

    return requests
