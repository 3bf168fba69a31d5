"""The end of stages whose process could not say it: it was killed, or its machine is gone.

Dagster notices, and ends the run as failed or cancelled; then the stages that had begun are aborted.
"""

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.execution.stats import StepEventStatus

from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.openlineage.events import Attempt, StageEvents
from ummp_assets.defs.openlineage.sender import sender_of
from ummp_assets.settings import Settings

__all__ = ["abort_open_stages", "make_ending_sensors"]

_STATUSES = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_PARTITION_TAG = "dagster/partition"


def make_ending_sensors(settings: Settings, *, running: bool) -> list[dg.SensorDefinition]:
    """Return the sensors of runs that failed and that were cancelled; none where no events are sent."""
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    return [_make_sensor(ending, status) for ending in _STATUSES] if settings.openlineage_url else []


def abort_open_stages(deployment: Deployment, instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Send ABORT for the stages that had begun when a run ended, and return their names.

    A stage that failed by itself has said so.
    """
    sender, batch = sender_of(deployment.settings), run.tags.get(_PARTITION_TAG)
    if sender is None or batch is None:
        return []
    steps = instance.get_run_step_stats(run.run_id)
    open_steps = [step for step in steps if step.status is StepEventStatus.IN_PROGRESS]
    for step in open_steps:
        attempt = Attempt(run.job_name, run.run_id, (step.attempts or 1) - 1)
        events = StageEvents(
            sender, deployment.settings, deployment.store, asset=step.step_key, batch=batch, attempt=attempt
        )
        events.abort(f"run {run.run_id} ended as {run.status.value}")
    return [step.step_key for step in open_steps]


def _make_sensor(ending: DagsterRunStatus, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=ending,
        name=f"openlineage_{ending.value.lower()}_sensor",
        minimum_interval_seconds=30,
        default_status=status,
        description=f"Ends the OpenLineage runs of stages that had begun when a run ended as {ending.value}.",
    )
    def end(context: dg.RunStatusSensorContext, deployment: Deployment) -> None:
        aborted = abort_open_stages(deployment, context.instance, context.dagster_run)
        if aborted:
            context.log.info("OpenLineage: aborted %s", ", ".join(aborted))

    return end
