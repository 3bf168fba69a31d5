"""The parts of the stack, without Dagster's processes: the home, child processes, lost runs, environments."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest
from pydantic import SecretStr

from ummp_assets.cli.stack.children import Child, Program, child_environment
from ummp_assets.cli.stack.dagster_home import dagster_home, prepare_instance, write_dagster_files
from ummp_assets.cli.stack.environment import settings_environment, without_settings
from ummp_assets.cli.stack.home import StackState, claim_home, claim_port, read_state, running_state
from ummp_assets.errors import InvalidSettings, StackFailed
from ummp_assets.settings import FetchSettings, HostSettings, load_settings

FORGETTING_PARENT = """
import sys, time
from pathlib import Path
from ummp_assets.cli.stack.children import Child, Program, child_environment
import os
program = Program("server", "http.server", ("--bind", "127.0.0.1", "0"))
child = Child(program, Path(sys.argv[1]), child_environment(os.environ))
print(child.pid, flush=True)
time.sleep(60)
"""


def test_home_is_given_to_one_stack_only(tmp_path: Path) -> None:
    with claim_home(tmp_path):
        StackState(pid=12, ui_port=3_456).write(tmp_path)
        assert running_state(tmp_path) == StackState(pid=12, ui_port=3_456)
        with pytest.raises(StackFailed, match=r"process 12, web UI http://127.0.0.1:3456"), claim_home(tmp_path):
            pass
    assert running_state(tmp_path) is None
    assert read_state(tmp_path).ui_port == 3_456


@pytest.mark.parametrize("content", ["", "no json", '{"unknown": 1}', "[]"])
def test_state_is_empty_when_its_file_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert read_state(tmp_path) == StackState()


def test_port_is_the_preferred_one_unless_it_is_taken() -> None:
    with claim_port() as free:
        pass
    with claim_port(free) as claimed:
        assert claimed == free
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with claim_port(number, free) as second, claim_port(number) as other:
            assert second == free
            assert other not in (0, number, free)


def test_port_that_a_starting_stack_has_claimed_is_given_to_no_other() -> None:
    with claim_port() as first, claim_port(first) as second:
        assert second != first
    with claim_port(first) as again:
        assert again == first


def test_child_dies_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORGETTING_PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert _eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_child_waits_at_its_gate(tmp_path: Path) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "listed"
    folder.mkdir()
    child = Child(
        Program("zip", "zipfile", ("-c", str(folder / "a.zip"), __file__)), tmp_path, _environment(), gate=gate
    )
    try:
        time.sleep(0.5)
        child.check()
        assert not list(folder.iterdir())
        gate.touch()
        assert _eventually(lambda: bool(list(folder.iterdir())))
        assert [file.name for file in folder.iterdir()] == ["a.zip"]
    finally:
        child.kill()


def test_child_that_ended_is_reported_with_the_end_of_its_own_log(tmp_path: Path) -> None:
    (tmp_path / "broken.log").write_text("what an earlier start said\n")
    child = Child(Program("broken", "ummp_assets.no_such_module", ()), tmp_path, _environment())
    try:
        assert _eventually(lambda: _failure(child) != "")
        message = _failure(child)
    finally:
        child.kill()
    assert "broken ended with code 1" in message
    assert str(tmp_path / "broken.log") in message
    assert "No module named" in message
    assert "an earlier start" not in message


def test_child_environment_lets_python_keep_its_bytecode() -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in child_environment({"PYTHONDONTWRITEBYTECODE": "1", "A": "b"})
    assert child_environment({"A": "b"})["A"] == "b"


def test_settings_survive_the_way_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = FetchSettings(
        allowed_addresses=("::1/128",),
        connections={"shop": SecretStr("postgresql://reader:word@db/shop")},
        hosts={"example.org": HostSettings(headers={"Authorization": SecretStr("Bearer token")})},
    )
    given = load_settings(home=tmp_path, topic_prefix="mine", kafka_client={"a": [1]}, fetch=fetch)
    for name, value in settings_environment(given).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given
    assert load_settings().fetch.connections["shop"].get_secret_value() == "postgresql://reader:word@db/shop"


def test_settings_of_the_environment_can_be_left_out() -> None:
    environment = {"UMMP_STORE": "s", "UMMP_FETCH__MAX_REDIRECTS": "1", "UMMP_SENSORS_RUNNING": "1", "PATH": "/bin"}
    assert without_settings(environment) == {"UMMP_SENSORS_RUNNING": "1", "PATH": "/bin"}


def test_dagster_files_keep_what_the_user_changed(tmp_path: Path) -> None:
    write_dagster_files(tmp_path, Path("/s/code"))
    configuration = dagster_home(tmp_path) / "dagster.yaml"
    assert configuration.read_text() == (Path(__file__).parents[2] / "dagster.yaml").read_text()
    configuration.write_text("telemetry: {enabled: false}\n")
    workspace = write_dagster_files(tmp_path, Path("/s/other"))
    assert configuration.read_text() == "telemetry: {enabled: false}\n"
    assert "/s/other" in workspace.read_text()


def test_runs_whose_worker_is_gone_are_reported_so_that_they_are_retried(tmp_path: Path) -> None:
    write_dagster_files(tmp_path, Path("/s/code"))
    settings = load_settings(home=tmp_path)
    assert prepare_instance(settings) == 0

    @dg.job
    def nothing() -> None:
        pass

    with (
        socket.socket(socket.AF_UNIX) as server,
        dg.DagsterInstance.from_config(str(dagster_home(tmp_path))) as instance,
    ):
        alive = f"/tmp/ummp-test-{os.getpid()}-{time.monotonic_ns()}"
        server.bind(alive)
        server.listen()

        def start(status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
            return instance.create_run_for_job(nothing, status=status, tags=tags).run_id

        def tag(path: str) -> dict[str, str]:
            return {".dagster/grpc_info": f'{{"host": "localhost", "socket": "{path}"}}'}

        started = start(dg.DagsterRunStatus.STARTED, tag("/nowhere/code"))
        starting = start(dg.DagsterRunStatus.STARTING, tag("/nowhere/code"))
        canceling = start(dg.DagsterRunStatus.CANCELING, tag("/nowhere/code"))
        served = start(dg.DagsterRunStatus.STARTED, tag(alive))
        foreign = start(dg.DagsterRunStatus.STARTED, {})
        waiting = start(dg.DagsterRunStatus.NOT_STARTED, {})
        assert prepare_instance(settings) == 3
        states = {run.run_id: run.status for run in instance.get_runs()}
        Path(alive).unlink()
    assert states == {
        started: dg.DagsterRunStatus.FAILURE,
        starting: dg.DagsterRunStatus.FAILURE,
        canceling: dg.DagsterRunStatus.CANCELED,
        served: dg.DagsterRunStatus.STARTED,
        foreign: dg.DagsterRunStatus.STARTED,
        waiting: dg.DagsterRunStatus.NOT_STARTED,
    }


def test_home_that_ran_batches_for_another_store_is_refused(tmp_path: Path) -> None:
    write_dagster_files(tmp_path, Path("/s/code"))
    first, second = (load_settings(home=tmp_path, store=str(tmp_path / name)) for name in ("first", "second"))
    prepare_instance(first)

    said = rf"UMMP_STORE={second.store_url}.* is another store .*{first.store_url}.*UMMP_HOME.*UMMP_TOPIC_PREFIX"
    with pytest.raises(InvalidSettings, match=said):
        prepare_instance(second)

    prepare_instance(first)
    (tmp_path / "first").rename(tmp_path / "moved")
    prepare_instance(load_settings(home=tmp_path, store=str(tmp_path / "moved")))


def test_store_that_does_not_answer_does_not_keep_the_stack_from_starting(tmp_path: Path) -> None:
    write_dagster_files(tmp_path, Path("/s/code"))
    (tmp_path / "file").write_bytes(b"")
    assert prepare_instance(load_settings(home=tmp_path, store=str(tmp_path / "file" / "store"))) == 0


def _eventually(condition: Callable[[], bool], timeout_seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _failure(child: Child) -> str:
    try:
        child.check()
    except StackFailed as error:
        return str(error)
    return ""


def _environment() -> dict[str, str]:
    return child_environment(os.environ)
