"""`ummp up` with all its processes: what other commands see of it, what it keeps, what it leaves behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ummp_assets.messages.embedded import start_broker
from ummp_assets_tests.cli.conftest import Ummp


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
        assert process.wait(30) == 0
    with running(ummp) as (process, second):
        assert second == first
        topics = {topic["topic"]: topic for topic in ummp("status", "--json").document["topics"]}
        assert topics["ummp.requests.normal"]["messages"] == 1
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        assert _eventually(lambda: not any(_is_alive(member) for member in family))


def test_up_names_the_log_when_a_process_cannot_start(ummp: Ummp) -> None:
    with start_broker(ummp.home / "broker"):
        answer = ummp("up")
    assert answer.code == 1
    assert f"The end of its log, {ummp.home / 'logs' / 'broker.log'}:" in answer.err
    assert str(ummp.home / "broker") in answer.err.partition("broker.log")[2]


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
