"""`ummp up` with all its processes: what other commands see of it, what it keeps, what it leaves behind."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ummp_assets.cli.demo.content import Sample
from ummp_assets.cli.demo.server import serve
from ummp_assets.datasets.versions import list_datasets, read_version
from ummp_assets.messages.embedded import start_broker
from ummp_assets.settings import load_settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.cli.conftest import TIMEOUT_SECONDS, Ummp


@contextmanager
def running(ummp: Ummp) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """Run `ummp up --json` and yield the process and what it printed; it is killed if the block does not end it."""
    process = ummp.start("up", "--json")
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while line := process.stdout.readline():
            lines.append(line)
            if line == "}\n":
                break
        assert lines, process.communicate()[1]
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.communicate()


def test_up_serves_other_commands_and_keeps_its_data_over_restarts(ummp: Ummp) -> None:
    with running(ummp) as (process, first):
        again = ummp("up")
        assert again.code == 1
        assert f"already runs on {ummp.home} (process {process.pid}, web UI {first['ui']})" in again.err
        assert ummp("submit", "-d", "pages", "file:///not/allowed.txt").code == 0
        health = ummp("doctor", "--json")
        assert (health.code, {check["state"] for check in health.document["checks"]}) == (0, {"ok"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == 0
    with running(ummp) as (process, second):
        assert second == first
        topics = {topic["topic"]: topic for topic in ummp("status", "--json").document["topics"]}
        assert topics["ummp.requests.normal"]["messages"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_up_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    variables = {"UMMP_FETCH__ALLOWED_ADDRESSES": '["127.0.0.1/32"]', "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0"}
    ummp = Ummp(tmp_path / "home", variables)
    asked, answer_now = threading.Event(), threading.Event()

    def read() -> bytes:
        asked.set()
        answer_now.wait(TIMEOUT_SECONDS)
        return b"A page that takes its time when it is asked for the first time."

    with serve([Sample("page.txt", read)]) as server:
        with running(ummp) as (process, _):
            assert ummp("submit", "-d", "pages", f"{server.url}page.txt").code == 0
            assert asked.wait(TIMEOUT_SECONDS)
            family = psutil.Process(process.pid).children(recursive=True)
            # Broker, code server, web server, daemon, and the run's worker.
            assert len(family) >= 5
            process.kill()
            process.wait(TIMEOUT_SECONDS)
            assert _eventually(lambda: not any(_is_alive(member) for member in family))
        answer_now.set()
        with running(ummp) as (process, second):
            assert second["recovered_runs"] == 1
            store = open_store(load_settings(home=ummp.home))
            assert _eventually(lambda: list_datasets(store) == ["pages"], TIMEOUT_SECONDS)
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_SECONDS) == 0
    version = read_version(store, "pages")
    assert (version.version, version.rows) == (1, 1)


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
