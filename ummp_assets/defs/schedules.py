"""Schedules: the store's nightly upkeep."""

from datetime import UTC, datetime

import dagster as dg

from ummp_assets.datasets.upkeep import collect_garbage, scrub
from ummp_assets.datasets.withdrawals import purge_withdrawn
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.retries import STORE_RETRIES

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
    """Delete files that no manifest names, left by attempts that were killed or replaced more than a day ago."""
    deleted = collect_garbage(deployment.store, datetime.now(UTC))
    context.add_output_metadata({"files": len(deleted)})


@dg.op(retry_policy=STORE_RETRIES, ins={"start": dg.In(dg.Nothing)})
def verify(deployment: Deployment) -> None:
    """Hash every file that a manifest names; fail, with their names, when one is missing or not what was written."""
    damaged = scrub(deployment.store)
    if damaged:
        names = ", ".join(f"{file.path} ({file.problem})" for file in damaged[:_SHOWN_PATHS])
        raise dg.Failure(
            description=f"{len(damaged)} files are damaged: {names}. Restore them from a replica, or materialize again "
            "the batches that they belong to.",
            allow_retries=False,
        )


@dg.job(
    description="Purge what was withdrawn, delete what no manifest names, and check every file against its manifest."
)
def upkeep_job() -> None:
    verify(collect(purge()))


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
