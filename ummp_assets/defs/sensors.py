"""Sensors: one for each role of topics. A tick asks Kafka for the ends of the topics, never for a message."""

from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRunStatus

from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.jobs import JOBS, LAST_STAGES
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reruns import find_reruns
from ummp_assets.defs.same_store import require_same_store
from ummp_assets.messages.attempts import explain_exhausted
from ummp_assets.messages.planning import Tick, plan_tick
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.settings import Settings

__all__ = ["IN_ORDER_TAG", "TOPIC_TAG", "make_sensors"]

TOPIC_TAG = "ummp/topic"
IN_ORDER_TAG = "ummp/in-order"
"""Of runs that must not overlap with one of the same value; `dagster.yaml` limits both tags."""

_IN_ORDER = (Role.PARAMETERS,)
_WAITING = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
]


def make_sensors(*, running: bool) -> list[dg.SensorDefinition]:
    """Return the sensor of each role.

    Parameters
    ----------
    running:
        Whether they tick as soon as the code is loaded; else a person switches them on.
    """
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    return [_make_sensor(role, status) for role in JOBS]


def _make_sensor(role: Role, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    # The daemon's loop takes 5 s whatever is asked for; 1 s lets each round of it evaluate the sensor.
    @dg.sensor(
        name=f"{role.value}_sensor",
        job=JOBS[role],
        minimum_interval_seconds=1,
        default_status=status,
        description=f"Plans batches of {role.value.replace('_', ' ')} from the topics' offsets and starts their runs.",
    )
    def sense(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
        now = datetime.now(UTC)
        store, settings = deployment.store, deployment.settings
        require_same_store(context.instance, store, settings)
        queued = _queued(context.instance, settings, role)
        tick = plan_tick(store, settings, role, cursor=context.cursor, now=now, queued=queued)
        for problem in tick.problems:
            context.log.error(problem)
        requests = [_run_request(settings, role, batch) for batch in tick.batches]
        exhausted: list[str] = []
        for topic, newest in tick.newest.items():
            again = find_reruns(context.instance, store, topic, LAST_STAGES[role], newest, now)
            requests += [_run_request(settings, role, batch, attempt) for batch, attempt in again.due]
            exhausted += [explain_exhausted(settings, key) for key in again.exhausted]
        if not requests:
            return dg.SensorResult(skip_reason=_idle(tick, exhausted), cursor=tick.cursor)
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[BATCHES[role].build_add_request([batch.key for batch in tick.batches])],
            cursor=tick.cursor,
        )

    return sense


def _run_request(settings: Settings, role: Role, batch: Batch, attempt: int = 1) -> dg.RunRequest:
    tags = {
        TOPIC_TAG: batch.topic,
        "ummp/messages": str(batch.messages),
        "dagster/priority": str(topic_names(settings).priority(batch.topic)),
    }
    if role in _IN_ORDER:
        tags[IN_ORDER_TAG] = batch.topic
    run_key = batch.key if attempt == 1 else f"{batch.key}~{attempt}"
    return dg.RunRequest(run_key=run_key, partition_key=batch.key, tags=tags)


def _queued(instance: dg.DagsterInstance, settings: Settings, role: Role) -> dict[str, int]:
    return {
        topic: instance.get_runs_count(dg.RunsFilter(tags={TOPIC_TAG: topic}, statuses=_WAITING))
        for topic in topic_names(settings).of_role(role)
    }


def _idle(tick: Tick, exhausted: list[str]) -> str:
    waiting = [f"{count:,} messages wait in {topic}" for topic, count in tick.waiting.items() if count]
    return "; ".join([*tick.problems, *exhausted, *waiting]) or "no new messages"
