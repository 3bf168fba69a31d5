"""Schedules: the store's nightly upkeep."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.garbage import collect_garbage
from ummp_assets.datasets.replication import replicate
from ummp_assets.datasets.scrubbing import scrub
from ummp_assets.datasets.versions import list_datasets, read_version
from ummp_assets.datasets.withdrawals import purge_withdrawn
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.retries import BROKER_RETRIES, STORE_RETRIES
from ummp_assets.storage.objects import open_replica

__all__ = ["make_schedules", "upkeep_job"]

_NIGHTLY = "0 3 * * *"
_SHOWN_PATHS = 20


@dg.op(retry_policy=STORE_RETRIES, out=dg.Out(dg.Nothing))
def purge(context: dg.OpExecutionContext, deployment: Deployment) -> None:
    """Delete the shards of withdrawn dataset versions whose delay has passed."""
    deleted = purge_withdrawn(deployment.store, datetime.now(UTC))
    context.add_output_metadata({"files": len(deleted)})


@dg.op(retry_policy=STORE_RETRIES, ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def collect(context: dg.OpExecutionContext, deployment: Deployment) -> None:
    """Delete files that no manifest names, left by attempts that were killed or replaced long ago."""
    age = timedelta(hours=deployment.settings.datasets.garbage_age_hours)
    deleted = collect_garbage(deployment.store, datetime.now(UTC), safety_age=age)
    context.add_output_metadata({"files": len(deleted)})


@dg.op(retry_policy=BROKER_RETRIES, ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def compact(context: dg.OpExecutionContext, deployment: Deployment) -> None:
    """Merge the small shards of every dataset that has some, into a version of its own, and announce it."""
    store, settings = deployment.store, deployment.settings
    merged = 0
    for dataset in list_datasets(store):
        version = compact_dataset(store, deployment.index, settings, dataset)
        # Also what an earlier try made and could not announce: then nothing is small any more.
        publish_ready_event(settings, store, version or read_version(store, dataset))
        merged += len(version.removed_shards) if version else 0
    context.add_output_metadata({"shards merged": merged})


@dg.op(retry_policy=STORE_RETRIES, ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def verify(context: dg.OpExecutionContext, deployment: Deployment) -> None:
    """Hash every file that a manifest names and repair it from the replica, if there is one; fail, with their names,
    when one stays missing or damaged."""
    found = scrub(deployment.store, deployment.index, deployment.settings, open_replica(deployment.settings))
    damaged = [file for file in found if not file.repaired]
    for file in found:
        context.log.error("%s: %s%s", file.path, file.problem, ", repaired" if file.repaired else "")
    if damaged:
        names = ", ".join(f"{file.path} ({file.problem})" for file in damaged[:_SHOWN_PATHS])
        raise dg.Failure(
            description=f"{len(damaged)} files are damaged: {names}. `ummp datasets scrub --repair` restores them from "
            "a replica, `ummp datasets rebuild NAME --repair` a dataset's shards from the stored raw bytes.",
            allow_retries=False,
        )
    context.add_output_metadata({"files repaired": len(found)})


@dg.op(retry_policy=STORE_RETRIES, ins={"start": dg.In(dg.Nothing)})
def copy_to_replica(context: dg.OpExecutionContext, deployment: Deployment) -> None:
    """Bring the replica up to date, where the settings name one; only a store that was found whole is copied."""
    replica = open_replica(deployment.settings)
    copied = replicate(deployment.store, replica) if replica is not None else []
    context.add_output_metadata({"objects": len(copied)})


@dg.job(
    description="Purge what was withdrawn, delete what no manifest names, merge small shards, check every file against "
    "its manifest, bring the replica up to date."
)
def upkeep_job() -> None:
    copy_to_replica(verify(compact(collect(purge()))))


def make_schedules(*, running: bool) -> list[dg.ScheduleDefinition]:
    """Return the schedules; with `running` they are on as soon as the code is loaded."""
    status = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
    return [
        dg.ScheduleDefinition(
            name="nightly_upkeep",
            job=upkeep_job,
            cron_schedule=_NIGHTLY,
            execution_timezone="UTC",
            default_status=status,
            description="The store's upkeep, every night at three (UTC).",
        )
    ]
