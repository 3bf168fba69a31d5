"""Which failures are tried again: the class of the error decides, and each policy keeps its stated limit."""

import inspect
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets import errors
from ummp_assets.defs.retries import BROKER_RETRIES, FETCH_RETRIES, STORE_RETRIES, permanent_errors_fail_at_once
from ummp_assets.errors import BrokerUnavailable, Permanent, StoreUnavailable, Transient
from ummp_assets.storage.local_store import LocalStore
from ummp_assets_tests.faults.runs import Deployed, failures, is_committed, retries, run_with_retries
from ummp_assets_tests.messages.deployments import request


def _subclasses(kind: type[Exception]) -> list[type[Exception]]:
    return [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, kind)]


@pytest.mark.parametrize("kind", _subclasses(Permanent))
def test_every_permanent_error_fails_at_once_with_its_own_words(kind: type[Exception]) -> None:
    named = inspect.signature(kind).parameters if "__init__" in vars(kind) else ["message"]
    error = kind(*["change the setting"] * len(named))
    with pytest.raises(dg.Failure) as caught, permanent_errors_fail_at_once():
        raise error

    assert caught.value.allow_retries is False
    assert caught.value.description == str(error)
    assert caught.value.metadata["error"].value == kind.__name__


@pytest.mark.parametrize(
    "error", [BrokerUnavailable("127.0.0.1:1", "gone"), StoreUnavailable("/store", "full"), ValueError("a bug")]
)
def test_other_errors_pass_to_the_policy(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, permanent_errors_fail_at_once():
        raise error

    assert caught.value is error


def test_what_may_come_back_is_transient() -> None:
    names = {kind.__name__ for kind in _subclasses(Transient)}

    assert {"BrokerUnavailable", "StoreUnavailable", "IndexUnavailable", "CommitConflict"} <= names


@pytest.mark.parametrize(
    ("policy", "worst_seconds"),
    [
        pytest.param(BROKER_RETRIES, 124, id="broker"),
        pytest.param(FETCH_RETRIES, 30, id="fetch"),
        pytest.param(STORE_RETRIES, 60, id="store"),
    ],
)
def test_policy_waits_no_longer_than_is_written_beside_it(policy: dg.RetryPolicy, worst_seconds: float) -> None:
    waits = [policy.calculate_delay(attempt) for _ in range(200) for attempt in range(1, policy.max_retries + 1)]
    worst = [2 * (policy.delay or 0) * 2**attempt for attempt in range(policy.max_retries)]

    assert sum(worst) == worst_seconds
    assert all(0 <= wait <= limit for wait, limit in zip(waits, worst * 200, strict=True))


def test_batch_that_was_never_planned_fails_its_run_at_the_first_attempt(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = f"{deployed.topic}~00000009"
    deployed.instance.add_dynamic_partitions("requests", [key])

    events = run_with_retries(deployed, "requests", key)

    assert retries(events) == []
    [said] = failures(events)
    assert f"batch {key} was never planned" in said
    assert not is_committed(store, "requests", key)


def test_damaged_manifest_fails_the_next_stage_at_the_first_attempt(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(1)])
    store.write(f"stages/requests/{key}/manifest.json", b"{")

    events = run_with_retries(deployed, "downloads", key)

    assert retries(events) == []
    [said] = failures(events)
    assert f"stages/requests/{key}/manifest.json is no manifest of a stage" in said
    assert not is_committed(store, "downloads", key)
