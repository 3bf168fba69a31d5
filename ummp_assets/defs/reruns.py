"""Batches whose run failed for good: asked for again, later and later, until they are done.

A step's own policy bridges minutes. A longer outage of the broker, the store or the index fails the run, and its run
key is used up; so the sensor asks again under a new one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from dagster import DagsterRunStatus, RunRecord

from ummp_assets.messages.attempts import LOOKED_AT, MAX_ATTEMPTS, wait_seconds
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.progress import done_through, is_done
from ummp_assets.messages.ranges import Batch, batch_key
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Reruns", "find_reruns"]

_WILL_RETRY_TAG = "dagster/will_retry"

_MISSED_RETRY_SECONDS = 20.0
"""After so long a retry that Dagster announced, but did not start, never comes.

Its daemon looks for new failures every 5 s, by the event, which is written before the run's status. One that it sees
between the two it takes for a run that did not fail, and does not look at it again (Dagster 1.13); the run is then
tagged as to be retried for ever.
"""


@dataclass(frozen=True, slots=True)
class Reruns:
    """What became of the failed batches of a topic.

    Parameters
    ----------
    due:
        Batches to ask for again, each with its next attempt's number.
    exhausted:
        Keys of those that have used up their attempts: a person has to look.
    """

    due: tuple[tuple[Batch, int], ...]
    exhausted: tuple[str, ...]


def find_reruns(
    instance: dg.DagsterInstance,
    store: ObjectStore,
    topic: str,
    last_stages: Iterable[str],
    last_number: int,
    now: datetime,
) -> Reruns:
    """Return the unfinished batches whose runs have all failed and that are due again.

    The first repetition is due 60 s after the failure, each later one after twice as long, at most an hour. Runs that
    somebody cancelled are left alone, and those that Dagster itself retries, unless it has missed them: such a run is
    untagged, so that Dagster does not start a second one.

    Parameters
    ----------
    last_number:
        The newest batch that was asked for.
    """
    stages = tuple(last_stages)
    first = done_through(store, topic) + 1
    due: list[tuple[Batch, int]] = []
    exhausted: list[str] = []
    for number in range(first, min(last_number, first + LOOKED_AT) + 1):
        key = batch_key(topic, number)
        if is_done(store, key, stages):
            continue
        failed = _failed_runs(instance, key)
        if len(failed) >= MAX_ATTEMPTS:
            exhausted.append(key)
        elif failed and _is_due(instance, failed, now):
            due.append((OffsetLog(store).get(key), len(failed) + 1))
    return Reruns(tuple(due), tuple(exhausted))


def _failed_runs(instance: dg.DagsterInstance, key: str) -> list[RunRecord]:
    """Return the runs of a batch, the newest first, or none unless all have failed."""
    records = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": key}), limit=MAX_ATTEMPTS)
    failed = [record for record in records if record.dagster_run.status == DagsterRunStatus.FAILURE]
    return failed if len(failed) == len(records) else []


def _is_due(instance: dg.DagsterInstance, failed: list[RunRecord], now: datetime) -> bool:
    newest = failed[0]
    waited_seconds = now.timestamp() - (newest.end_time or newest.update_timestamp.timestamp())
    if newest.dagster_run.tags.get(_WILL_RETRY_TAG) != "true":
        return waited_seconds >= wait_seconds(len(failed))
    if waited_seconds < _MISSED_RETRY_SECONDS:
        return False
    instance.add_run_tags(newest.dagster_run.run_id, {_WILL_RETRY_TAG: "false"})
    return True
