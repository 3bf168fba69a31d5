"""How a new dataset version becomes known: its ready event on Kafka, and a materialization under the dataset's name."""

from collections.abc import Iterable

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.events import AssetLineageInfo
from dagster._core.events import DagsterEvent, StepMaterializationData

from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.versions import DatasetVersion, read_version
from ummp_assets.defs.columns import column_schema_of
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.lineage import dataset_lineage
from ummp_assets.defs.partitions import DATASETS
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.replays import source_topic
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.storage.dataset_index import DatasetIndex

__all__ = ["announce"]

_MAKERS = {
    Role.REQUESTS: "dataset_commits",
    Role.LABELS: "label_updates",
    Role.TAKEDOWNS: "takedown_receipts",
}
_SHOWN_BATCHES = 100


def announce(context: dg.AssetExecutionContext, deployment: Deployment, versions: Iterable[DatasetVersion]) -> None:
    """Send the ready event of each version once, and log it as a materialization of `training_datasets`.

    A label or takedown that came between may have made a further version: it is announced as well.

    Raises `BrokerUnavailable`.
    """
    for version in versions:
        newest = read_version(deployment.store, version.dataset)
        publish_ready_event(deployment.settings, deployment.store, newest)
        context.instance.add_dynamic_partitions(str(DATASETS.name), [version.dataset])
        for made in [version, newest] if newest.version > version.version else [version]:
            parents = _parents(deployment, made)
            _log(context, _materialization(context, deployment, made, parents), parents)


def _log(
    context: dg.AssetExecutionContext, materialization: dg.AssetMaterialization, parents: list[AssetLineageInfo]
) -> None:
    """Log a materialization with its parents, which the UI shows as links.

    `context.log_event` takes no parents. A partition mapping of our own could name them in the asset graph, but Dagster
    1.13 deprecates those and its web server knows the built-in ones only.
    """
    DagsterEvent.from_step(
        event_type=DagsterEventType.ASSET_MATERIALIZATION,
        step_context=context.get_step_execution_context(),
        event_specific_data=StepMaterializationData(materialization, parents),
        message=materialization.description,
    )


def _parents(deployment: Deployment, version: DatasetVersion) -> list[AssetLineageInfo]:
    """Return the partitions that the version was made of: its batches and their replays, the newest 100 of a role."""
    known = DatasetIndex(deployment.index)
    catch_up(deployment.store, known, version.dataset)
    batches = known.batches_until(version.dataset, version.version)
    names = topic_names(deployment.settings)
    return [
        AssetLineageInfo(dg.AssetKey(asset), set(keys[-_SHOWN_BATCHES:]))
        for role, asset in _MAKERS.items()
        if (keys := [key for key in batches if source_topic(parse_key(key)[0]) in names.of_role(role)])
    ]


def _materialization(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    version: DatasetVersion,
    parents: list[AssetLineageInfo],
) -> dg.AssetMaterialization:
    batch, maker = context.partition_key, context.asset_key.to_user_string()
    call = f'ummp_assets.open_dataset("{version.dataset}", version={version.version})'
    return dg.AssetMaterialization(
        asset_key="training_datasets",
        partition=version.dataset,
        description=f"Version {version.version}, made by batch {batch}.",
        tags={"dagster/data_version": version.sha256[:16]},
        metadata={
            "version": version.version,
            "dagster/column_lineage": dataset_lineage(version),
            "dagster/column_schema": column_schema_of(version),
            "dagster/row_count": version.rows,
            "bytes": version.byte_count,
            "batch": batch,
            "sha256": version.sha256,
            "manifest": dg.MetadataValue.path(deployment.store.uri(version.path)),
            "load with": dg.MetadataValue.text(call),
            # The page of a partition does not show its parents, the run's log does.
            "batches": dg.MetadataValue.table(
                [
                    dg.TableRecord({"made by": parent.asset_key.to_user_string(), "batch": key})
                    for parent in parents
                    for key in sorted(parent.partitions, reverse=True)
                ]
            ),
            "page of the batch": dg.MetadataValue.url(f"/assets/{maker}?view=partitions&partition={batch}"),
        },
    )
