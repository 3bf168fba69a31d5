"""Asset `downloads`: the bytes behind a batch's requests."""

from typing import Any

import dagster as dg

from ummp_assets.defs.assets.topics import OWNERS
from ummp_assets.defs.columns import column_lineage, column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import result, stage_run
from ummp_assets.defs.retries import FETCH_RETRIES, permanent_errors_fail_at_once
from ummp_assets.fetch.stage import CODE_VERSION, download
from ummp_assets.messages.topics import Role
from ummp_assets.records import RAW_SCHEMA, REQUEST_SCHEMA

__all__ = ["downloads"]

_COMPUTED = {name: [("requests", "uri")] for name in RAW_SCHEMA.names if name not in REQUEST_SCHEMA.names}
_LINEAGE = column_lineage(RAW_SCHEMA, {"requests": REQUEST_SCHEMA}, _COMPUTED)


@dg.asset(
    partitions_def=BATCHES[Role.REQUESTS],
    deps=["requests"],
    group_name="collection",
    owners=OWNERS,
    kinds={"http", "parquet"},
    code_version=CODE_VERSION,
    retry_policy=FETCH_RETRIES,
    metadata={"dagster/column_schema": column_schema(RAW_SCHEMA)},
)
def downloads(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
    """The raw bytes of each request, with their hash, every attempt and the policy decisions.

    Fetched with many transfers at once under per-host budgets; a URI that cannot be had is a dead letter with its
    reason.
    """
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        manifest = download(deployment.store, deployment.index, deployment.settings, context.partition_key)
        items = manifest.rows("samples") + manifest.rejected
        return result(deployment.store, manifest, watch, items=items, extra={"dagster/column_lineage": _LINEAGE})
