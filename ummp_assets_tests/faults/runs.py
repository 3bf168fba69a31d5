"""Runs of single assets of a deployment: with the retries of their policies, or with one attempt only."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from ummp_assets.definitions import defs
from ummp_assets.messages.embedded import BrokerProcess, start_broker
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path
from ummp_assets_tests.messages.deployments import plan_everything, send

__all__ = ["Deployed", "failures", "is_committed", "mending", "requests_job", "retries", "run_once", "run_with_retries"]

_ONE_ATTEMPT: dict[str, Any] = {"execution": {"config": {"retries": {"disabled": {}}}}}


@dataclass
class Deployed:
    """A deployment and what a test may do to it."""

    settings: Settings
    instance: dg.DagsterInstance
    broker: BrokerProcess
    broker_folder: Path

    @property
    def topic(self) -> str:
        return topic_names(self.settings).requests_normal

    def plan(self, store: ObjectStore, values: list[bytes]) -> str:
        """Send messages, plan them as one batch and make it a partition; its key."""
        send(self.settings, self.topic, values)
        batch: Batch = plan_everything(store, self.settings, self.topic)
        self.instance.add_dynamic_partitions("requests", [batch.key])
        return batch.key

    def restart_broker(self) -> BrokerProcess:
        """Start the broker again, at the same address and with the same data."""
        port = int(self.broker.bootstrap_servers.rpartition(":")[2])
        return start_broker(self.broker_folder, port=port)


def requests_job() -> dg.JobDefinition:
    """Return the deployment's own job, for Dagster to load again."""
    return defs().resolve_job_def("requests_job")


def run_once(deployed: Deployed, asset: str, key: str) -> list[dg.DagsterEvent]:
    """Run one asset of a batch with one attempt only; the run's events."""
    with dg.execute_job(
        dg.reconstructable(requests_job),
        instance=deployed.instance,
        run_config=_ONE_ATTEMPT,
        tags={"dagster/partition": key},
        asset_selection=[dg.AssetKey(asset)],
    ) as result:
        return list(result.all_events)


def run_with_retries(deployed: Deployed, asset: str, key: str) -> list[dg.DagsterEvent]:
    """Run one asset of a batch as its policy says; the run's events."""
    result = requests_job().execute_in_process(
        partition_key=key,
        instance=deployed.instance,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset)],
    )
    return list(result.all_events)


def failures(events: list[dg.DagsterEvent]) -> list[str]:
    """Return what each failed step said, with its causes."""
    return [_text(event.step_failure_data.error) for event in events if event.is_step_failure]


def retries(events: list[dg.DagsterEvent]) -> list[str]:
    """Return what each attempt said after which another one followed."""
    return [_text(event.step_retry_data.error) for event in events if event.is_step_up_for_retry]


@contextmanager
def mending(deployed: Deployed, mend: Callable[[], object]) -> Iterator[None]:
    """Call `mend`, in another thread, as soon as an attempt of any run has failed and waits for the next one."""

    def watch() -> None:
        while not stop.wait(0.05):
            runs = set(deployed.instance.get_run_ids()) - before
            if any(deployed.instance.all_logs(run, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY) for run in runs):
                mend()
                return

    before = set(deployed.instance.get_run_ids())
    stop = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def is_committed(store: ObjectStore, stage: str, key: str) -> bool:
    return store.exists(stage_path(stage, key))


def _text(error: Any) -> str:
    return re.sub(r"\s+", " ", error.to_string()) if error else ""
