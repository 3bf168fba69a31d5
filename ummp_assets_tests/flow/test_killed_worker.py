"""A run worker that is killed under `ummp up`: the run is started again by itself and nothing is lost or doubled."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import ummp_assets
from ummp_assets.cli.demo.content import Sample, documents
from ummp_assets.cli.demo.server import serve
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets_tests.flow.batches import read_topic

_SECONDS = 120.0
_RUNS = """{ runsOrError { ... on Runs { results {
    status eventConnection { events { ... on MessageEvent { message } } }
} } } }"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    home = tmp_path / "home"
    variables = {
        "UMMP_HOME": str(home),
        "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0",
        "UMMP_FETCH__ALLOWED_ADDRESSES": '["127.0.0.1/32"]',
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("UMMP_", "DAGSTER_"))}
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        command = [str(Path(sys.executable).with_name("ummp")), "up"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**inherited, **variables}
        )
    settings = load_settings(home=home)
    try:
        _wait_until(lambda: "http://127.0.0.1" in log.read_text(), "the web UI is up")
        yield settings
    finally:
        process.terminate()
        process.wait(30)


def _wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {_SECONDS:.0f} s until {what}"
        time.sleep(0.05)


def _ask(log: Path, query: str) -> Any:
    address = next(word for word in log.read_text().split() if word.startswith("http://127.0.0.1"))
    return requests.post(f"{address.rstrip('/')}/graphql", json={"query": query}, timeout=10).json()["data"]


def _statuses(log: Path) -> list[str]:
    return sorted(run["status"] for run in _ask(log, _RUNS)["runsOrError"]["results"])


def _worker(log: Path) -> int:
    """Return the pid of the only run's worker, which Dagster writes into the run's events."""
    [run] = _ask(log, _RUNS)["runsOrError"]["results"]
    messages = [event.get("message", "") for event in run["eventConnection"]["events"]]
    return next(int(found[1]) for text in messages if (found := re.search(r"\(pid: (\d+)\)", text)))


def test_killed_worker_is_replaced_and_the_batch_committed_once(settings: Settings, tmp_path: Path) -> None:
    pages = list(documents())[:3]

    def slowly(page: Sample) -> Sample:
        def read() -> bytes:
            time.sleep(2.0)
            return page.read()

        return Sample(page.path, read)

    with serve([slowly(page) for page in pages]) as site:
        ummp_assets.submit([site.url + page.path for page in pages], dataset="pages", settings=settings)
        _wait_until(lambda: site.asked, "the download has begun")
        os.kill(_worker(tmp_path / "up.log"), signal.SIGKILL)
        version = ummp_assets.wait_for_dataset("pages", timeout_seconds=_SECONDS, settings=settings)

    assert (version.version, version.rows) == (1, len(pages))
    _wait_until(lambda: _statuses(tmp_path / "up.log") == ["FAILURE", "SUCCESS"], "one run failed, one succeeded")
    assert [event.key for event in read_topic(settings, topic_names(settings).datasets)] == [b"pages"]
