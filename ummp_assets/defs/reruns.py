"""Batches whose run failed for good: asked for again, later and later, until they are done.

A step's own policy bridges minutes. A longer outage of the broker, the store or the index fails the run, and its run
key is used up; so the sensor asks again under a new one.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import dagster as dg
from dagster import DagsterRunStatus

from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.progress import done_through, is_done
from ummp_assets.messages.ranges import Batch, batch_key
from ummp_assets.storage.objects import ObjectStore

__all__ = ["find_reruns"]

_FIRST_WAIT_SECONDS = 60.0
_MAX_WAIT_SECONDS = 3_600.0
_MAX_ATTEMPTS = 24
_LOOKED_AT = 100


def find_reruns(
    instance: dg.DagsterInstance,
    store: ObjectStore,
    topic: str,
    last_stages: Iterable[str],
    last_number: int,
    now: datetime,
) -> Iterator[tuple[Batch, int]]:
    """Yield each unfinished batch whose runs have all failed and that is due again, with its next attempt's number.

    The first repetition is due 60 s after the failure, each later one after twice as long, at most an hour; after 24 a
    person has to look. Runs that somebody cancelled, and those that Dagster itself retries, are left alone.

    Parameters
    ----------
    last_number:
        The newest batch that was asked for.
    """
    stages = tuple(last_stages)
    first = done_through(store, topic) + 1
    for number in range(first, min(last_number, first + _LOOKED_AT) + 1):
        key = batch_key(topic, number)
        if is_done(store, key, stages):
            continue
        attempt = _due_attempt(instance, key, now)
        if attempt:
            yield OffsetLog(store).get(key), attempt


def _due_attempt(instance: dg.DagsterInstance, key: str, now: datetime) -> int | None:
    records = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": key}), limit=_MAX_ATTEMPTS + 1)
    failed = [record for record in records if record.dagster_run.status == DagsterRunStatus.FAILURE]
    if not records or len(failed) < len(records) or len(failed) > _MAX_ATTEMPTS:
        return None
    if failed[0].dagster_run.tags.get("dagster/will_retry") == "true":
        return None
    wait_seconds = min(_FIRST_WAIT_SECONDS * 2 ** (len(failed) - 1), _MAX_WAIT_SECONDS)
    ended_seconds = failed[0].end_time or failed[0].update_timestamp.timestamp()
    return len(failed) + 1 if now.timestamp() - ended_seconds >= wait_seconds else None
