"""How a new dataset version becomes known: its ready event on Kafka, and a materialization under the dataset's name."""

from collections.abc import Iterable

import dagster as dg

from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.versions import DatasetVersion, read_version
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.partitions import DATASETS

__all__ = ["announce"]


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
            context.log_event(_materialization(deployment, made, context.partition_key))


def _materialization(deployment: Deployment, version: DatasetVersion, batch: str) -> dg.AssetMaterialization:
    call = f'ummp_assets.open_dataset("{version.dataset}", version={version.version})'
    return dg.AssetMaterialization(
        asset_key="training_datasets",
        partition=version.dataset,
        description=f"Version {version.version}, made by batch {batch}.",
        metadata={
            "version": version.version,
            "dagster/row_count": version.rows,
            "bytes": version.byte_count,
            "batch": batch,
            "sha256": version.sha256,
            "manifest": dg.MetadataValue.path(deployment.store.uri(version.path)),
            "load with": dg.MetadataValue.text(call),
        },
    )
