"""OpenLineage events, received by a real HTTP server; and endpoints that are down, which no run may notice."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest

from ummp_assets.definitions import defs
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.openlineage.endings import abort_open_stages
from ummp_assets.defs.openlineage.events import Attempt, StageEvents
from ummp_assets.defs.openlineage.sender import Sender, sender_of
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.replays import plan_replay
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.messages.deployments import NOW, plan_everything, request, send

# What the specification (2-0-2) requires of a run event; the client's package carries no schema of it.
_FACETS = {
    "type": "object",
    "additionalProperties": {"type": "object", "required": ["_producer", "_schemaURL"]},
}
_DATASET = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "facets": _FACETS,
        "inputFacets": _FACETS,
        "outputFacets": _FACETS,
    },
}
_RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "run", "job", "schemaURL"],
    "properties": {
        "eventType": {"enum": ["START", "COMPLETE", "ABORT", "FAIL"]},
        "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00$"},
        "producer": {"type": "string", "pattern": "^https://"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}},
        },
        "job": {"type": "object", "required": ["namespace", "name"]},
        "inputs": {"type": "array", "items": _DATASET},
        "outputs": {"type": "array", "items": _DATASET},
    },
}

Events = list[dict[str, Any]]


@contextmanager
def _endpoint(
    events: Events,
    *,
    delay_seconds: float = 0,
    status: int = 201,
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(delay_seconds)
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            events.append({**event, "path": self.path, "authorization": self.headers["Authorization"]})
            if on_event is not None:
                on_event(event)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _run(settings: Settings, key: str) -> bool:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("requests", [key])
        job = defs().resolve_job_def("requests_job")
        return job.execute_in_process(partition_key=key, instance=instance, raise_on_error=False).success


@pytest.fixture
def planned(tmp_path: Path, bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A batch of one request that nobody answers, in a deployment that the environment names; its key."""
    monkeypatch.setenv("UMMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMMP_KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("UMMP_TOPIC_PREFIX", f"t{uuid.uuid4().hex[:10]}")
    settings = load_settings()
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request(uri="http://127.0.0.1:1/page.txt")])
    return plan_everything(open_store(settings), settings, topic).key


def _of(events: Events, job: str, state: str) -> dict[str, Any]:
    [found] = [item for item in events if (item["job"]["name"], item["eventType"]) == (job, state)]
    return found


def _dataset(event: Mapping[str, Any], side: str, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = event[side][place]
    return found


def test_every_stage_of_a_batch_sends_its_start_and_what_it_committed(
    planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Events = []
    with _endpoint(events) as url:
        monkeypatch.setenv("UMMP_OPENLINEAGE_URL", url)
        monkeypatch.setenv("UMMP_OPENLINEAGE_API_KEY", "hush")
        settings = load_settings()
        assert _run(settings, planned)

    for event in events:
        jsonschema.validate(event, _RUN_EVENT)
        assert (event["path"], event["authorization"]) == ("/api/v1/lineage", "Bearer hush")
        assert {"key": "batch", "value": planned, "source": "UMMP"} in event["run"]["facets"]["tags"]["tags"]
        assert event["run"]["facets"]["parent"]["job"]["name"] == "requests_job"
    jobs = [event["job"]["name"] for event in events if event["eventType"] == "COMPLETE"]
    assert len(jobs) == 11
    assert len(events) == 22
    for job in jobs:
        assert _of(events, job, "START")["run"]["runId"] == _of(events, job, "COMPLETE")["run"]["runId"]

    store = open_store(settings)
    topic = _dataset(_of(events, "requests", "COMPLETE"), "inputs")
    assert topic["namespace"] == f"kafka://{settings.bootstrap_servers}"
    assert topic["name"] == topic_names(settings).requests_normal
    assert "0-1" in topic["facets"]["version"]["datasetVersion"]
    assert topic["inputFacets"]["dataQualityMetrics"]["rowCount"] == 1
    text = _of(events, "clean_text", "COMPLETE")
    assert (_dataset(text, "inputs")["namespace"], _dataset(text, "inputs")["name"]) == (
        store.uri(),
        "stages/downloads",
    )
    facets = _dataset(text, "outputs")["facets"]
    assert {"name": "text", "type": "string"}.items() <= next(
        field for field in facets["schema"]["fields"] if field["name"] == "text"
    ).items()
    assert facets["columnLineage"]["fields"]["text"]["inputFields"][0]["field"] == "content"
    assert _dataset(text, "outputs")["outputFacets"]["outputStatistics"]["rowCount"] == 0
    upstream = _dataset(_of(events, "downloads", "COMPLETE"), "outputs")["facets"]["version"]["datasetVersion"]
    assert _dataset(text, "inputs")["facets"]["version"]["datasetVersion"] == upstream


def test_failed_stage_says_why(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events: Events = []
    with _endpoint(events) as url:
        monkeypatch.setenv("UMMP_OPENLINEAGE_URL", url)
        settings = load_settings()
        # A batch that was never planned is an error for good.
        assert not _run(settings, planned.replace("00000001", "00000007"))

    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    message = events[1]["run"]["facets"]["errorMessage"]["message"]
    assert "was never planned" in message


def test_replay_names_the_topic_that_its_messages_came_from_once(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events: Events = []
    with _endpoint(events) as url, dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("UMMP_OPENLINEAGE_URL", url)
        settings = load_settings()
        store, topic = open_store(settings), topic_names(settings).requests_normal
        ranges = [item for item in OffsetLog(store).get(planned).ranges if len(item)]
        [again] = plan_replay(store, settings, topic, ranges, NOW)
        for key in (planned, again.key):
            instance.add_dynamic_partitions("requests", [key])
            job = defs().resolve_job_def("requests_job")
            chosen = [dg.AssetKey("requests")]
            assert job.execute_in_process(partition_key=key, instance=instance, asset_selection=chosen).success

    first, second = (event for event in events if event["eventType"] == "COMPLETE")
    broker = f"kafka://{settings.bootstrap_servers}"
    for event, version in ((first, "0:0-1 1:0-0 2:0-0 3:0-0"), (second, "0:0-1")):
        [source] = event["inputs"]
        assert (source["namespace"], source["name"]) == (broker, topic)
        assert source["facets"]["version"]["datasetVersion"] == version
        columns = _dataset(event, "outputs")["facets"]["columnLineage"]["fields"]
        # A batch comes from one of the three topics of requests.
        [origin] = columns["uri"]["inputFields"]
        assert (origin["namespace"], origin["name"], origin["field"]) == (broker, topic, "value")
    assert first["run"]["runId"] != second["run"]["runId"]


_RUN_IN_A_PROCESS = """
import sys
import dagster as dg
from ummp_assets.definitions import defs
folder, key, run_id = sys.argv[1:]
instance = dg.DagsterInstance.local_temp(folder)
instance.add_dynamic_partitions("requests", [key])
defs().resolve_job_def("requests_job").execute_in_process(partition_key=key, instance=instance, run_id=run_id)
"""


def test_attempts_that_were_interrupted_and_killed_are_aborted(
    planned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Events = []
    processes: list[subprocess.Popen[bytes]] = []
    signals = [signal.SIGINT, signal.SIGKILL]

    def end_at_start(event: Mapping[str, Any]) -> None:
        if event["eventType"] == "START":
            processes[0].send_signal(signals.pop(0))

    folder, run_id = tmp_path / "dagster", str(uuid.uuid4())
    folder.mkdir()
    with _endpoint(events, on_event=end_at_start) as url:
        monkeypatch.setenv("UMMP_OPENLINEAGE_URL", url)
        command = [sys.executable, "-c", _RUN_IN_A_PROCESS, str(folder), planned, run_id]
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        assert processes[0].wait(60) == -signal.SIGKILL
        with dg.DagsterInstance.local_temp(str(folder)) as instance:
            # As run monitoring does.
            instance.report_run_failed(instance.get_run_by_id(run_id))  # type: ignore[arg-type]
            run = instance.get_run_by_id(run_id)
            assert run is not None
            assert abort_open_stages(Deployment(), instance, run) == ["requests"]

    # What is interrupted says so itself, and Dagster tries it again.
    assert [event["eventType"] for event in events] == ["START", "ABORT", "START", "ABORT"]
    first, interrupted, second, killed = (event["run"] for event in events)
    assert first["runId"] == interrupted["runId"] != second["runId"] == killed["runId"]
    assert "Interrupted" in interrupted["facets"]["errorMessage"]["message"]
    assert killed["facets"]["errorMessage"]["message"] == f"run {run_id} ended as FAILURE"


def test_cancelled_run_ends_and_its_stage_is_aborted(
    planned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Events = []
    processes: list[subprocess.Popen[bytes]] = []
    folder, run_id = tmp_path / "dagster", str(uuid.uuid4())
    folder.mkdir()

    def cancel_at_start(event: Mapping[str, Any]) -> None:
        if event["eventType"] == "START":
            with dg.DagsterInstance.local_temp(str(folder)) as instance:
                instance.report_run_canceling(instance.get_run_by_id(run_id))  # type: ignore[arg-type]
            processes[0].send_signal(signal.SIGINT)

    with _endpoint(events, on_event=cancel_at_start) as url:
        monkeypatch.setenv("UMMP_OPENLINEAGE_URL", url)
        monkeypatch.setenv("UMMP_OPENLINEAGE_TIMEOUT_SECONDS", "30")
        command = [sys.executable, "-c", _RUN_IN_A_PROCESS, str(folder), planned, run_id]
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        assert processes[0].wait(60) > 0
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    # Not tried again.
    assert [event["eventType"] for event in events] == ["START", "ABORT"]


def test_sensors_of_ended_runs_stand_only_where_events_are_sent(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned
    assert not any("openlineage" in sensor.name for sensor in defs().sensors or ())
    monkeypatch.setenv("UMMP_OPENLINEAGE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("UMMP_SENSORS_RUNNING", "1")
    found = [sensor for sensor in defs().sensors or () if "openlineage" in sensor.name]
    assert [sensor.name for sensor in found] == ["openlineage_failure_sensor", "openlineage_canceled_sensor"]
    assert {sensor.default_status for sensor in found} == {dg.DefaultSensorStatus.RUNNING}


def _events_to(sender: Sender, settings: Settings) -> StageEvents:
    store, attempt = open_store(settings), Attempt("job", str(uuid.uuid4()), 0)
    return StageEvents(sender, settings, store, asset="requests", batch="t~00000001", attempt=attempt)


@pytest.mark.parametrize("kind", ["refused", "silent", "broken"])
def test_endpoint_that_is_down_is_warned_of_once_and_left_alone(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: Events = []
    with _endpoint(events, delay_seconds=3 if kind == "silent" else 0, status=500) as url:
        address = "http://127.0.0.1:1" if kind == "refused" else url
        settings = load_settings(home=tmp_path, openlineage_url=address, openlineage_timeout_seconds=0.2)
        sender = sender_of(settings)
        assert sender is not None
        with caplog.at_level(logging.WARNING, "ummp.openlineage"):
            for _ in range(50):
                _events_to(sender, settings).fail(ValueError("no matter"))

    warnings = [record for record in caplog.records if record.name == "ummp.openlineage"]
    assert len(warnings) == 1
    assert "the run goes on" in warnings[0].message
    assert len(events) <= 1


def test_warning_keeps_the_password_of_the_address_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender("http://user:hush@127.0.0.1:1/path", None, 0.2)
    with caplog.at_level(logging.WARNING, "ummp.openlineage"):
        assert not sender.send(_unmakeable)

    assert "http://127.0.0.1:1/path" in caplog.text
    assert "hush" not in caplog.text


def _unmakeable() -> Any:
    raise ValueError("http://user:hush@127.0.0.1:1/path is no good")


def test_nothing_is_sent_without_an_endpoint(tmp_path: Path) -> None:
    assert sender_of(load_settings(home=tmp_path)) is None
