"""Batches whose runs failed for good are asked for again, later and later."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from ummp_assets.defs.reruns import find_reruns
from ummp_assets.messages.attempts import explain_exhausted
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.settings import load_settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter

TOPIC = "ummp.requests.normal"
STAGES = ("dataset_commits", "dead_letters")
NOW = datetime.now(UTC)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def batches(store: ObjectStore) -> list[Batch]:
    log = OffsetLog(store)
    return [log.put(Batch(TOPIC, number, (OffsetRange(0, number - 1, number),)), NOW) for number in (1, 2, 3)]


def _fail(instance: dg.DagsterInstance, batch: Batch, times: int = 1, tags: Mapping[str, str] | None = None) -> None:
    for _ in range(times):
        run = create_run_for_test(instance, tags={"dagster/partition": batch.key, **(tags or {})})
        instance.report_run_failed(run)


def _due(instance: dg.DagsterInstance, store: ObjectStore, after_seconds: float) -> list[tuple[int, int]]:
    moment = datetime.now(UTC) + timedelta(seconds=after_seconds)
    return [
        (batch.number, attempt)
        for batch, attempt in find_reruns(instance, store, TOPIC, STAGES, last_number=3, now=moment).due
    ]


def _commit(store: ObjectStore, batch: Batch, stages: Sequence[str]) -> None:
    for stage in stages:
        with StageWriter(store, stage, batch.key, {}) as writer:
            writer.commit(code_version="1")


def test_failed_batch_is_due_a_minute_later_and_twice_as_late_each_time(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch]
) -> None:
    _fail(instance, batches[1])
    assert (_due(instance, store, 50), _due(instance, store, 61)) == ([], [(2, 2)])
    _fail(instance, batches[1], times=2)
    assert (_due(instance, store, 230), _due(instance, store, 241)) == ([], [(2, 4)])


def test_wait_ends_at_an_hour_and_attempts_at_twenty_five(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch]
) -> None:
    _fail(instance, batches[0], times=24)
    assert (_due(instance, store, 3_590), _due(instance, store, 3_601)) == ([], [(1, 25)])
    _fail(instance, batches[0])
    found = find_reruns(instance, store, TOPIC, STAGES, last_number=3, now=NOW + timedelta(days=2))
    assert (found.due, found.exhausted) == ((), (batches[0].key,))


def test_person_is_told_how_a_batch_without_attempts_left_goes_on_or_ends() -> None:
    settings = load_settings(topic_prefix="ummp")
    said = explain_exhausted(settings, f"{TOPIC}~00000001")
    assert "failed 25 times and is not tried again" in said
    assert said.endswith(f'; or give it up: ummp abandon {TOPIC}~00000001 --reason "..."')
    # Only requests claim contents, so that only they can be given up.
    assert "ummp abandon" not in explain_exhausted(settings, "ummp.labels~00000001")


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.CANCELED])
def test_batch_with_a_run_that_did_not_fail_is_left_alone(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch], status: DagsterRunStatus
) -> None:
    _fail(instance, batches[0])
    create_run_for_test(instance, tags={"dagster/partition": batches[0].key}, status=status)
    assert _due(instance, store, 1_000) == []


def test_run_that_dagster_retries_itself_is_left_to_it(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch]
) -> None:
    _fail(instance, batches[0], tags={"dagster/will_retry": "true"})
    assert _due(instance, store, 15) == []
    create_run_for_test(instance, tags={"dagster/partition": batches[0].key}, status=DagsterRunStatus.STARTED)
    assert _due(instance, store, 1_000) == []


def test_retry_that_dagster_announced_and_missed_is_asked_for_and_started_once(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch]
) -> None:
    _fail(instance, batches[0], tags={"dagster/will_retry": "true"})
    [run] = instance.get_runs()
    assert should_retry(run, instance)

    assert _due(instance, store, 21) == [(1, 2)]

    [run] = instance.get_runs()
    assert not should_retry(run, instance)


def test_finished_batch_is_not_asked_for_but_one_without_its_dead_letters_is(
    instance: dg.DagsterInstance, store: ObjectStore, batches: list[Batch]
) -> None:
    for batch in batches[:2]:
        _fail(instance, batch)
    _commit(store, batches[0], STAGES)
    _commit(store, batches[1], STAGES[:1])
    assert _due(instance, store, 1_000) == [(2, 2)]
