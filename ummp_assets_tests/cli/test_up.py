"""`ummp up` with all its processes: what other commands see of it, what it keeps, what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

import ummp_assets
from ummp_assets.cli.demo.content import Sample, documents
from ummp_assets.cli.demo.server import serve
from ummp_assets.cli.stack.web_ui import RunCount, WebUi
from ummp_assets.datasets.versions import list_datasets, read_version
from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import load_settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.cli.conftest import TIMEOUT_SECONDS, Ummp, running
from ummp_assets_tests.flow.batches import read_topic

_ALLOWED = {"UMMP_FETCH__ALLOWED_ADDRESSES": '["127.0.0.1/32"]', "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0"}
_RUNS = """{ runsOrError { ... on Runs { results {
    status eventConnection { events { ... on MessageEvent { message } } }
} } } }"""


@dataclass(frozen=True)
class Stack:
    """A running `ummp up`, what it printed, and the command that finds it."""

    ummp: Ummp
    process: "subprocess.Popen[str]"
    printed: dict[str, Any]

    def runs(self) -> list[dict[str, Any]]:
        address = f"{self.printed['ui'].rstrip('/')}/graphql"
        answer = requests.post(address, json={"query": _RUNS}, timeout=10).json()
        found: list[dict[str, Any]] = answer["data"]["runsOrError"]["results"]
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Shared by the first tests of this file, in their order; the last of them kills it."""
    ummp = Ummp(tmp_path_factory.mktemp("stack") / "home", _ALLOWED)
    with running(ummp) as (process, printed):
        yield Stack(ummp, process, printed)


def test_up_serves_other_commands(stack: Stack) -> None:
    again = stack.ummp("up")
    assert again.code == 1
    expected = f"already runs on {stack.ummp.home} (process {stack.process.pid}, web UI {stack.printed['ui']})"
    assert expected in again.err
    health = stack.ummp.here("doctor", "--json")
    assert (health.code, {check["state"] for check in health.document["checks"]}) == (0, {"ok"})


def test_killed_worker_is_replaced_and_the_batch_committed_once(stack: Stack) -> None:
    settings = load_settings(home=stack.ummp.home)
    page, asked, answer_now = next(iter(documents())), threading.Event(), threading.Event()

    with serve([_held(page, asked, answer_now)]) as site:
        ummp_assets.submit([site.url + page.path], dataset="documents", settings=settings)
        assert asked.wait(TIMEOUT_SECONDS)
        os.kill(_worker_of(stack.runs()), signal.SIGKILL)
        answer_now.set()
        version = ummp_assets.wait_for_dataset("documents", timeout_seconds=TIMEOUT_SECONDS, settings=settings)

    assert (version.version, version.rows) == (1, 1)
    # One run failed, one succeeded.
    assert _eventually(lambda: sorted(run["status"] for run in stack.runs()) == ["FAILURE", "SUCCESS"])
    batch = f"{topic_names(settings).requests_normal}~00000001"
    assert WebUi(stack.printed["ui"]).count_runs_of([batch, "other"]) == {
        batch: RunCount(1, 2),
        "other": RunCount(0, 0),
    }
    assert [event.key for event in read_topic(settings, topic_names(settings).datasets)] == [b"documents"]


def test_up_goes_on_where_a_killed_one_was(stack: Stack) -> None:
    asked, answer_now = threading.Event(), threading.Event()
    page = Sample("page.txt", lambda: b"A page that takes its time when it is asked for the first time.")
    with serve([_held(page, asked, answer_now)]) as server:
        assert stack.ummp.here("submit", "-d", "pages", f"{server.url}page.txt").code == 0
        assert asked.wait(TIMEOUT_SECONDS)
        family = psutil.Process(stack.process.pid).children(recursive=True)
        # Broker, code server, web server, daemon, and the run's worker.
        assert len(family) >= 5
        stack.process.kill()
        stack.process.wait(TIMEOUT_SECONDS)
        assert _eventually(lambda: not any(_is_alive(member) for member in family))
        answer_now.set()
        with running(stack.ummp) as (process, printed):
            assert printed == {**stack.printed, "recovered_runs": 1}
            store = open_store(load_settings(home=stack.ummp.home))
            assert _eventually(lambda: "pages" in list_datasets(store), TIMEOUT_SECONDS)
            topics = {topic["topic"]: topic for topic in stack.ummp.here("status", "--json").document["topics"]}
            assert topics["ummp.requests.normal"]["messages"] == 2
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_SECONDS) == 0
    version = read_version(store, "pages")
    assert (version.version, version.rows) == (1, 1)


def _held(page: Sample, asked: threading.Event, answer_now: threading.Event) -> Sample:
    """A page that is not answered before it may be."""

    def read() -> bytes:
        asked.set()
        answer_now.wait(TIMEOUT_SECONDS)
        return page.read()

    return Sample(page.path, read)


def _worker_of(runs: list[dict[str, Any]]) -> int:
    """Return the pid of the only run's worker, which Dagster writes into the run's events."""
    [run] = runs
    messages = [event.get("message", "") for event in run["eventConnection"]["events"]]
    return next(int(found[1]) for text in messages if (found := re.search(r"\(pid: (\d+)\)", text)))


def test_up_names_the_log_when_a_process_cannot_start(ummp: Ummp) -> None:
    with start_broker(ummp.home / "broker"):
        answer = ummp("up")
    assert answer.code == 1
    assert f"The end of its log, {ummp.home / 'logs' / 'broker.log'}:" in answer.err
    assert str(ummp.home / "broker") in answer.err.partition("broker.log")[2]


def test_up_refuses_a_port_that_is_in_use(ummp: Ummp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = ummp("up", "--port", str(port))
    assert answer.code == 1
    assert f"port {port} is in use" in answer.err


def test_up_refuses_a_home_that_it_cannot_make(ummp: Ummp, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    answer = ummp("up", UMMP_HOME=str(tmp_path / "file" / "home"))
    assert answer.code == 1
    assert f"{tmp_path / 'file' / 'home'}" in answer.err
    assert "UMMP_HOME" in answer.err


def test_up_does_not_hang_on_a_broker_that_is_down(ummp: Ummp) -> None:
    started = time.monotonic()
    answer = ummp("up", UMMP_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", UMMP_KAFKA_TIMEOUT_SECONDS="2")
    assert answer.code == 1
    assert "no Kafka broker answered at 127.0.0.1:1" in answer.err
    assert time.monotonic() - started < 30


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _eventually(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
