"""Sensors with Dagster's own machinery: what they ask for, and what Dagster makes of it."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, SensorInstigatorData, TickStatus
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from ummp_assets.definitions import defs
from ummp_assets.defs.deployment import Deployment
from ummp_assets.errors import BrokerUnavailable, InvalidSettings
from ummp_assets.messages.embedded import BrokerProcess, start_broker
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.messages.deployments import make_settings, nobody_listens, request, send


def _tick(
    instance: dg.DagsterInstance, deployment: Deployment, cursor: str | None = None, sensor: str = "requests_sensor"
) -> dg.SensorResult:
    definition = defs().get_repository_def().get_sensor_def(sensor)
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"deployment": deployment}) as context:
        result = definition(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_batch_becomes_partition_run_and_cursor_in_one_result(
    instance: dg.DagsterInstance, deployment: Deployment, settings: Settings
) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request(number) for number in range(3)])

    result = _tick(instance, deployment)

    key = f"{topic}~00000001"
    [asked] = result.run_requests or []
    assert (asked.run_key, asked.partition_key) == (key, key)
    assert asked.tags == {"ummp/topic": topic, "ummp/messages": "3", "dagster/priority": "0"}
    [partitions] = result.dynamic_partitions_requests or []
    assert (partitions.partitions_def_name, partitions.partition_keys) == ("requests", [key])
    assert OffsetLog(deployment.store).get(key).messages == 3
    idle = _tick(instance, deployment, result.cursor)
    assert not idle.run_requests
    assert idle.skip_reason is not None
    assert idle.skip_reason.skip_message == "no new messages"


def test_another_store_is_refused_before_anything_is_planned_in_it(
    instance: dg.DagsterInstance, settings: Settings, tmp_path: Path
) -> None:
    def deployed(store: str, prefix: str = settings.topic_prefix) -> Deployment:
        own = settings.model_copy(update={"store": str(tmp_path / store), "topic_prefix": prefix})
        ensure_topics(own)
        send(own, topic_names(own).requests_normal, [request()])
        return Deployment(overrides=own.model_dump(mode="json", exclude_unset=True))

    first = deployed("first")
    cursor = _tick(instance, first).cursor
    second = deployed("second")

    with pytest.raises(InvalidSettings, match=rf"UMMP_STORE={tmp_path}/second/? is another store .*{tmp_path}/first"):
        _tick(instance, second, cursor)

    assert not list(second.store.list("batches"))
    assert _tick(instance, first, cursor).run_requests
    assert _tick(instance, deployed("second", f"{settings.topic_prefix}.other")).run_requests


def test_topic_sets_the_priority_of_the_run(
    instance: dg.DagsterInstance, deployment: Deployment, settings: Settings
) -> None:
    ensure_topics(settings)
    names = topic_names(settings)
    for topic in (names.requests_low, names.requests_normal, names.requests_high):
        send(settings, topic, [request()])

    asked = _tick(instance, deployment).run_requests or []

    assert [(item.tags["ummp/topic"], item.tags["dagster/priority"]) for item in asked] == [
        (names.requests_high, "10"),
        (names.requests_normal, "0"),
        (names.requests_low, "-10"),
    ]


def test_idle_sensor_says_what_waits(instance: dg.DagsterInstance, tmp_path: Path, bootstrap_servers: str) -> None:
    settings = make_settings(tmp_path, bootstrap_servers, intake={"max_batch_wait_seconds": 3_600})
    deployment = Deployment(overrides=settings.model_dump(mode="json", exclude_unset=True))
    ensure_topics(settings)
    topic = topic_names(settings).labels
    send(settings, topic, [b"{}"] * 1_234)

    result = _tick(instance, deployment, sensor="labels_sensor")

    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == f"1,234 messages wait in {topic}"


def test_idle_sensor_names_a_batch_without_attempts_left_and_the_command_that_ends_it(
    instance: dg.DagsterInstance, deployment: Deployment, settings: Settings
) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request()])
    first = _tick(instance, deployment)
    key = f"{topic}~00000001"
    for _ in range(25):
        instance.report_run_failed(create_run_for_test(instance, tags={"dagster/partition": key}))

    result = _tick(instance, deployment, first.cursor)

    assert result.skip_reason is not None
    said = result.skip_reason.skip_message or ""
    assert said.startswith(f"batch {key} failed 25 times and is not tried again")
    assert said.endswith(f'ummp abandon {key} --reason "..."')


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, 1),
        (dg.DagsterRunStatus.STARTED, 1),
        (dg.DagsterRunStatus.SUCCESS, 2),
        (dg.DagsterRunStatus.FAILURE, 2),
    ],
)
def test_runs_that_wait_or_run_take_room(
    instance: dg.DagsterInstance, tmp_path: Path, bootstrap_servers: str, status: dg.DagsterRunStatus, expected: int
) -> None:
    settings = make_settings(tmp_path, bootstrap_servers, intake={"max_batch_messages": 1, "max_queued_batches": 2})
    deployment = Deployment(overrides=settings.model_dump(mode="json", exclude_unset=True))
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request()] * 5)
    job = defs().resolve_job_def("requests_job")
    instance.create_run_for_job(job, tags={"ummp/topic": topic}, status=status)

    assert len(_tick(instance, deployment).run_requests or []) == expected


def test_broker_that_is_down_fails_the_tick_with_its_address(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with nobody_listens() as address:
        settings = make_settings(tmp_path, address, kafka_timeout_seconds=0.3)
        deployment = Deployment(overrides=settings.model_dump(mode="json", exclude_unset=True))
        with pytest.raises(BrokerUnavailable, match=f"no Kafka broker answered at {address} "):
            _tick(instance, deployment)


class Daemon:
    """Dagster's own evaluation of sensors, as its daemon does it, one round at a time."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance, self._workspace = instance, workspace

    def tick(self) -> InstigatorTick:
        """Evaluate the sensor once."""
        time.sleep(1.05)  # the sensor's own interval
        with ThreadPoolExecutor(1) as pool:
            futures: dict[str, object] = {}
            logger = logging.getLogger("sensors")
            for _ in execute_sensor_iteration(self._workspace, logger, pool, None, futures):  # type: ignore[arg-type]
                pass
        state = self.state
        return self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0]

    @property
    def state(self) -> InstigatorState:
        states = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return next(state for state in states if state.instigator_name == "requests_sensor")

    @property
    def cursor(self) -> str | None:
        data = self.state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        return data.cursor

    def forget_cursor(self, cursor: str | None) -> None:
        """Put back an older cursor, as if the daemon was killed before it kept the newer one."""
        data = self.state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        self.instance.update_instigator_state(self.state.with_data(data._replace(cursor=cursor)))
        assert self.cursor == cursor

    @property
    def keys(self) -> list[str]:
        """Partitions of all runs, in order."""
        return sorted(run.tags["dagster/partition"] for run in self.instance.get_runs())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with start_broker(tmp_path / "data") as broker:
        yield broker


@pytest.fixture
def daemon(tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    home = tmp_path / "home" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {
        "DAGSTER_HOME": str(home),
        "UMMP_HOME": str(tmp_path / "home"),
        "UMMP_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "UMMP_KAFKA_TIMEOUT_SECONDS": "1",
        "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    target = ModuleTarget("ummp_assets.definitions", None, None, None)
    with (
        dg.DagsterInstance.get() as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        [location] = workspace.create_request_context().code_locations
        [repository] = location.get_repositories().values()
        instance.start_sensor(repository.get_sensor("requests_sensor"))
        yield Daemon(instance, workspace)


def test_dagster_starts_each_batch_once_whatever_happens_to_cursor_and_broker(
    daemon: Daemon, broker: BrokerProcess, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, broker.bootstrap_servers, topic_prefix="ummp")
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request(0)])

    first = daemon.tick()
    assert first.status is TickStatus.SUCCESS, first.error
    assert daemon.keys == [f"{topic}~00000001"]
    kept = daemon.cursor
    assert kept is not None

    # Killed after the log was written: the batch is asked for again, and Dagster drops what it has.
    send(settings, topic, [request(1)])
    daemon.tick()
    daemon.forget_cursor(kept)
    assert daemon.tick().status is TickStatus.SKIPPED
    daemon.forget_cursor(None)
    assert daemon.tick().status is TickStatus.SKIPPED
    assert daemon.keys == [f"{topic}~00000001", f"{topic}~00000002"]

    send(settings, topic, [request(2)])
    before = daemon.cursor
    broker.kill()
    failed = daemon.tick()
    assert failed.status is TickStatus.FAILURE
    assert failed.error is not None
    said = failed.error.to_string()
    assert f"no Kafka broker answered at {broker.bootstrap_servers}" in said
    assert "UMMP_KAFKA_BOOTSTRAP_SERVERS" in said
    assert daemon.cursor == before

    with start_broker(tmp_path / "data", port=int(broker.bootstrap_servers.rpartition(":")[2])):
        assert daemon.tick().status is TickStatus.SUCCESS
    assert daemon.keys == [f"{topic}~{number:08d}" for number in (1, 2, 3)]
    assert set(daemon.instance.get_dynamic_partitions("requests")) == set(daemon.keys)
    store = open_store(settings.model_copy(update={"home": tmp_path / "home"}))
    ranges = [batch.ranges[0] for batch in (OffsetLog(store).get(key) for key in daemon.keys)]
    assert [(item.start, item.end) for item in ranges] == [(0, 1), (1, 2), (2, 3)]
