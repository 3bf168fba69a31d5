"""The `ummp` command as a user runs it: the installed script, in a process of its own, with a home of its own."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner

from ummp_assets.cli import main
from ummp_assets.settings import Settings, load_settings

SCRIPT = str(Path(sysconfig.get_path("scripts")) / "ummp")
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Ummp:
    """Runs the command with its home below the test's folder."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UMMP_")}
        # Wide enough that no table folds a cell that a test looks for.
        self.environment = {**inherited, "COLUMNS": "200", "UMMP_HOME": str(home), **variables}

    def __call__(self, *arguments: str, stdin: str | None = None, **variables: str) -> Answer:
        done = subprocess.run(
            [SCRIPT, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={**self.environment, **variables},
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments: str, **variables: str) -> Answer:
        """Run the command in this process, which saves a second of imports each time."""
        environment = {name: value for name, value in self.environment.items() if name.startswith(("UMMP_", "COLUMNS"))}
        result = CliRunner().invoke(main, arguments, env={**environment, **variables}, prog_name="ummp")
        return Answer(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: str, stdin: int | IO[Any] = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [SCRIPT, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )


@contextmanager
def running(ummp: Ummp, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """Run a command, by default `ummp up`, until its JSON is printed; yield the process and the document.

    It is killed if the block does not end it.
    """
    process = ummp.start(*(arguments or ("up",)), "--json")
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


@pytest.fixture
def ummp(tmp_path: Path) -> Ummp:
    return Ummp(tmp_path / "home", {})


@pytest.fixture
def with_broker(tmp_path: Path, bootstrap_servers: str) -> Ummp:
    """The command with a broker configured, under a topic prefix of the test's own."""
    variables = {"UMMP_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "UMMP_TOPIC_PREFIX": tmp_path.name[:60]}
    return Ummp(tmp_path / "home", variables)


@pytest.fixture
def broker_settings(with_broker: Ummp) -> Settings:
    return load_settings(
        home=with_broker.home,
        kafka_bootstrap_servers=with_broker.environment["UMMP_KAFKA_BOOTSTRAP_SERVERS"],
        topic_prefix=with_broker.environment["UMMP_TOPIC_PREFIX"],
    )
