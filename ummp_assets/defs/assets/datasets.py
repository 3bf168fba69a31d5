"""Assets `training_shards`, `dataset_commits`, `training_datasets` and `dead_letters`: the end of a batch's way."""

from typing import Any

import dagster as dg

from ummp_assets.datasets import commit, shards
from ummp_assets.datasets.commit import COMMIT_SCHEMA, commit_batch
from ummp_assets.datasets.promote import promote_twins
from ummp_assets.datasets.receipts import publish_receipt
from ummp_assets.datasets.shards import write_shards
from ummp_assets.defs.announcements import announce
from ummp_assets.defs.assets.topics import OWNERS
from ummp_assets.defs.checks import ACCOUNTING, check_accounting
from ummp_assets.defs.columns import column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.finishing import bury, report_progress
from ummp_assets.defs.lineage import COMMIT_LINEAGE, LETTER_LINEAGE, SHARD_LINEAGE, shard_schema
from ummp_assets.defs.partitions import BATCHES, DATASETS
from ummp_assets.defs.reports import result, stage_run
from ummp_assets.defs.retries import BROKER_RETRIES, STORE_RETRIES, permanent_errors_fail_at_once
from ummp_assets.messages import dead_letters as letters
from ummp_assets.messages.topics import Role
from ummp_assets.modality_stages import modality_stages
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES, require_accounted
from ummp_assets.storage.stages import read_manifest

__all__ = ["dataset_commits", "dead_letters", "training_datasets", "training_shards"]

_CLEANED = [*CLEAN_STAGES.values()]
_REJECTING = ["requests", "downloads", *_CLEANED]

training_datasets = dg.AssetSpec(
    "training_datasets",
    # Any batch may have gone into any dataset: which ones did, each materialization names as its parents.
    deps=[
        dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())
        for asset in ("dataset_commits", "label_updates", "takedown_receipts")
    ],
    description="Training datasets, a partition each: every materialization is an immutable, numbered version.",
    partitions_def=DATASETS,
    group_name="datasets",
    owners=OWNERS,
    kinds={"dataset", "parquet"},
)


@dg.asset(
    partitions_def=BATCHES[Role.REQUESTS],
    deps=[*_CLEANED, *FEATURE_STAGES.values()],
    group_name="datasets",
    owners=OWNERS,
    kinds={"parquet"},
    code_version=shards.CODE_VERSION,
    retry_policy=STORE_RETRIES,
    check_specs=[ACCOUNTING],
)
# Dagster 1.13 takes the class alone as the annotation of an asset with checks, not its generic form.
def training_shards(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Clean records joined with their features, in shards by dataset, modality and split.

    The split follows from a hash of the content, so that a twin never crosses from training to test.
    """
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        manifest = write_shards(deployment.store, deployment.settings, context.partition_key)
        check = check_accounting(deployment.store, context.partition_key)
        rows = sum(manifest.rows(table) for table in manifest.tables)
        columns = {
            "dagster/column_schema": column_schema(shard_schema(deployment.settings.clean.image.side_pixels)),
            "dagster/column_lineage": SHARD_LINEAGE,
        }
        return result(deployment.store, manifest, watch, items=rows, rows=rows, check=check, extra=columns)


@dg.asset(
    partitions_def=BATCHES[Role.REQUESTS],
    deps=["training_shards"],
    group_name="datasets",
    owners=OWNERS,
    kinds={"kafka", "dataset"},
    code_version=commit.CODE_VERSION,
    retry_policy=BROKER_RETRIES,
    metadata={"dagster/column_schema": column_schema(COMMIT_SCHEMA)},
)
def dataset_commits(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
    """The batch's shards added to their datasets: the next version of each, and its ready event on Kafka.

    Each version shows as a materialization of `training_datasets` under its dataset's name.
    """
    store, settings = deployment.store, deployment.settings
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        require_accounted(store, context.partition_key)
        versions = commit_batch(store, deployment.index, settings, context.partition_key)
        # Of a takedown, or of a batch that was given up, while this batch was on its way.
        versions += promote_twins(store, deployment.index, settings, modality_stages(settings))
        announce(context, deployment, versions)
        # Of what was taken down while this batch was on its way.
        publish_receipt(settings, store, context.partition_key)
        report_progress(deployment, Role.REQUESTS, context.partition_key)
        manifest = read_manifest(store, commit.STAGE, context.partition_key)
        return result(store, manifest, watch, items=len(versions), extra={"dagster/column_lineage": COMMIT_LINEAGE})


@dg.asset(
    partitions_def=BATCHES[Role.REQUESTS],
    # Not on `requests`, though it is read: so `--select requests+`, one layer in Dagster's short form, can be run.
    deps=_REJECTING[1:],
    group_name="answers",
    owners=OWNERS,
    kinds={"kafka"},
    code_version=letters.CODE_VERSION,
    retry_policy=BROKER_RETRIES,
    metadata={"dagster/column_schema": column_schema(letters.SENT_SCHEMA)},
)
def dead_letters(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
    """The original message of everything in the batch that could not be used, sent to the dead-letter topic once."""
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        manifest = bury(deployment, context.partition_key, _REJECTING)
        report_progress(deployment, Role.REQUESTS, context.partition_key)
        lineage = {"dagster/column_lineage": LETTER_LINEAGE}
        return result(deployment.store, manifest, watch, items=manifest.rows("samples"), extra=lineage)
