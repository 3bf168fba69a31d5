"""Assets `requests`, `labels` and `takedowns`: the messages of a batch, parsed and stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from ummp_assets.defs.assets.topics import OWNERS, topic_keys
from ummp_assets.defs.columns import column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.lineage import message_lineage
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import result, stage_run
from ummp_assets.defs.retries import BROKER_RETRIES, permanent_errors_fail_at_once
from ummp_assets.messages.intake import CODE_VERSION, read_labels, read_requests, read_takedowns
from ummp_assets.messages.topics import Role
from ummp_assets.records import LABEL_SCHEMA, REQUEST_SCHEMA, TAKEDOWN_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest

__all__ = ["make_intake_assets"]


@dataclass(frozen=True)
class _Intake:
    """An asset of the role's name; `table` holds its readable messages."""

    role: Role
    read: Callable[[ObjectStore, Settings, str], Manifest]
    table: str
    schema: pa.Schema
    description: str


_INTAKES = (
    _Intake(
        Role.REQUESTS,
        read_requests,
        "samples",
        REQUEST_SCHEMA,
        "The requests of one batch: exactly the messages of its offset ranges, parsed and stored. Messages that cannot "
        "be read are kept whole as dead letters.",
    ),
    _Intake(
        Role.LABELS,
        read_labels,
        "labels",
        LABEL_SCHEMA,
        "The labels of one batch: exactly the messages of its offset ranges, parsed and stored.",
    ),
    _Intake(
        Role.TAKEDOWNS,
        read_takedowns,
        "takedowns",
        TAKEDOWN_SCHEMA,
        "The takedowns of one batch: exactly the messages of its offset ranges, parsed and stored.",
    ),
)


def make_intake_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the asset of each role, downstream of the deployment's topics."""
    return [_make_asset(intake, settings) for intake in _INTAKES]


def _make_asset(intake: _Intake, settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=intake.role.value,
        description=intake.description,
        partitions_def=BATCHES[intake.role],
        deps=topic_keys(settings, intake.role),
        group_name="intake",
        owners=OWNERS,
        kinds={"kafka", "parquet"},
        code_version=CODE_VERSION,
        retry_policy=BROKER_RETRIES,
        metadata={"dagster/column_schema": column_schema(intake.schema)},
    )
    def read_messages(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
        with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
            manifest = intake.read(deployment.store, deployment.settings, context.partition_key)
            if manifest.numbers["expired"]:
                context.log.error(
                    "%d messages of %s had expired in Kafka before they were read: lengthen the topic's retention",
                    manifest.numbers["expired"],
                    context.partition_key,
                )
            items = int(manifest.numbers["messages"])
            lineage = message_lineage(intake.schema, topic_keys(settings, intake.role))
            rows = manifest.rows(intake.table)
            extra = {"dagster/column_lineage": lineage}
            return result(deployment.store, manifest, watch, items=items, rows=rows, extra=extra)

    return read_messages
