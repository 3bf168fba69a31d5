"""Assets of what training processes send: logs and model parameters."""

from typing import Any

import dagster as dg

from ummp_assets.defs.assets.topics import OWNERS, topic_keys
from ummp_assets.defs.columns import column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.finishing import bury, report_progress
from ummp_assets.defs.lineage import message_lineage
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import result, stage_run
from ummp_assets.defs.retries import BROKER_RETRIES, permanent_errors_fail_at_once
from ummp_assets.messages.topics import Role
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets.training import log_stage, parameters_stage

__all__ = ["make_model_parameters_asset", "make_training_logs_asset"]

_SUMMARY_COLUMNS = ["run", "last_step", "loss", "accuracy", "ranks", "messages"]
_SHOWN_RUNS = 50


def make_training_logs_asset(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `training_logs`, downstream of the deployment's topic of logs."""

    @dg.asset(
        partitions_def=BATCHES[Role.TRAINING_LOGS],
        deps=topic_keys(settings, Role.TRAINING_LOGS),
        group_name="training",
        owners=OWNERS,
        kinds={"kafka", "parquet"},
        code_version=log_stage.CODE_VERSION,
        retry_policy=BROKER_RETRIES,
        metadata={"dagster/column_schema": column_schema(log_stage.METRIC_SCHEMA)},
    )
    def training_logs(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
        """Metrics and resources that training processes reported: one row a number, one summary a run."""
        store = deployment.store
        with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
            manifest = log_stage.training_logs(store, deployment.settings, context.partition_key)
            bury(deployment, context.partition_key, [manifest.stage])
            report_progress(deployment, Role.TRAINING_LOGS, context.partition_key)
            watch.stop()
            topics = topic_keys(settings, Role.TRAINING_LOGS)
            lineage = {"dagster/column_lineage": message_lineage(log_stage.METRIC_SCHEMA, topics)}
            extra = {**_summaries(store, manifest), **lineage}
            return result(store, manifest, watch, items=int(manifest.numbers["messages"]), extra=extra)

    return training_logs


def make_model_parameters_asset(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset `model_parameters`, downstream of the deployment's topic of parameters."""

    @dg.asset(
        partitions_def=BATCHES[Role.PARAMETERS],
        deps=topic_keys(settings, Role.PARAMETERS),
        group_name="training",
        owners=OWNERS,
        kinds={"kafka", "parquet"},
        code_version=parameters_stage.CODE_VERSION,
        retry_policy=BROKER_RETRIES,
        metadata={"dagster/column_schema": column_schema(parameters_stage.AVERAGE_SCHEMA)},
    )
    def model_parameters(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
        """The federated average of each round that the batch completes; it goes back on the same topic."""
        store = deployment.store
        with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
            manifest = parameters_stage.average_parameters(store, deployment.settings, context.partition_key)
            bury(deployment, context.partition_key, [manifest.stage])
            report_progress(deployment, Role.PARAMETERS, context.partition_key)
            topics = topic_keys(settings, Role.PARAMETERS)
            lineage = {"dagster/column_lineage": message_lineage(parameters_stage.AVERAGE_SCHEMA, topics)}
            return result(store, manifest, watch, items=int(manifest.numbers["messages"]), extra=lineage)

    return model_parameters


def _summaries(store: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """Return a table of the runs, and the mean of their losses and accuracies, which plot over the batches."""
    rows = [
        row for part in read_table(store, manifest, "summaries", columns=_SUMMARY_COLUMNS) for row in part.to_pylist()
    ]
    shown: dict[str, Any] = {}
    for name in ("loss", "accuracy"):
        values = [row[name] for row in rows if row[name] is not None]
        if values:
            shown[name] = sum(values) / len(values)
    if rows:
        shown["runs in this batch"] = dg.MetadataValue.table([dg.TableRecord(row) for row in rows[:_SHOWN_RUNS]])
    return shown
