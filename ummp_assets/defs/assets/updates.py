"""Assets `label_updates` and `takedown_receipts`: what a batch of labels or takedowns changed in the datasets."""

from typing import Any

import dagster as dg

from ummp_assets.datasets import labels as label_updates_stage
from ummp_assets.datasets import takedown as takedown_stage
from ummp_assets.datasets.labels import UPDATE_SCHEMA, apply_labels
from ummp_assets.datasets.promote import promote_twins
from ummp_assets.datasets.receipts import publish_receipt
from ummp_assets.datasets.takedown import RECEIPT_SCHEMA, apply_takedowns
from ummp_assets.datasets.versions import DatasetVersion, read_version
from ummp_assets.defs.announcements import announce
from ummp_assets.defs.assets.topics import OWNERS
from ummp_assets.defs.columns import column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.finishing import bury, report_progress
from ummp_assets.defs.lineage import RECEIPT_LINEAGE, UPDATE_LINEAGE
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import result, stage_run
from ummp_assets.defs.retries import BROKER_RETRIES, permanent_errors_fail_at_once
from ummp_assets.messages.topics import Role
from ummp_assets.modality_stages import modality_stages
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table

__all__ = ["label_updates", "takedown_receipts"]

_UPDATED = {"dagster/column_lineage": UPDATE_LINEAGE}
_RECEIVED = {"dagster/column_lineage": RECEIPT_LINEAGE}


@dg.asset(
    partitions_def=BATCHES[Role.LABELS],
    deps=["labels"],
    group_name="updates",
    owners=OWNERS,
    kinds={"kafka", "dataset"},
    code_version=label_updates_stage.CODE_VERSION,
    retry_policy=BROKER_RETRIES,
    metadata={"dagster/column_schema": column_schema(UPDATE_SCHEMA)},
)
def label_updates(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
    """The labels of the batch, kept and applied: a new version of each dataset of which they change a row.

    A label may come before its sample; it is kept and holds as soon as the sample comes.
    """
    store, settings = deployment.store, deployment.settings
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        manifest = apply_labels(store, deployment.index, settings, context.partition_key)
        announce(context, deployment, _versions(store, manifest))
        bury(deployment, context.partition_key, ["labels"])
        report_progress(deployment, Role.LABELS, context.partition_key)
        return result(store, manifest, watch, items=int(manifest.numbers["labels"]), extra=_UPDATED)


@dg.asset(
    partitions_def=BATCHES[Role.TAKEDOWNS],
    deps=["takedowns"],
    group_name="updates",
    owners=OWNERS,
    kinds={"kafka", "dataset"},
    code_version=takedown_stage.CODE_VERSION,
    retry_policy=BROKER_RETRIES,
    metadata={"dagster/column_schema": column_schema(RECEIPT_SCHEMA)},
)
def takedown_receipts(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
    """What the takedowns of the batch named, taken out of the stages and of every dataset, with a receipt.

    Near duplicates that were left out because of it enter their datasets.
    """
    store, settings = deployment.store, deployment.settings
    with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
        manifest = apply_takedowns(store, deployment.index, settings, context.partition_key)
        promoted = promote_twins(store, deployment.index, settings, modality_stages(settings))
        announce(context, deployment, [*_versions(store, manifest), *promoted])
        publish_receipt(settings, store, context.partition_key)
        bury(deployment, context.partition_key, ["takedowns"])
        report_progress(deployment, Role.TAKEDOWNS, context.partition_key)
        return result(
            store,
            manifest,
            watch,
            items=int(manifest.numbers["takedowns"]),
            extra=_RECEIVED,
        )


def _versions(store: ObjectStore, manifest: Manifest) -> list[DatasetVersion]:
    """Return the dataset versions that the rows of a stage name."""
    named = {
        (row["dataset"], row["version"])
        for rows in read_table(store, manifest, "samples", columns=["dataset", "version"])
        for row in rows.to_pylist()
        if row["version"] is not None
    }
    return [read_version(store, dataset, version) for dataset, version in sorted(named)]
