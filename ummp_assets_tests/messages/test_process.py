"""Starting and stopping the embedded broker's process."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ummp_assets.errors import EmbeddedBrokerFailed
from ummp_assets.messages.embedded import start_broker
from ummp_assets_tests.messages.clients import Clients
from ummp_assets_tests.messages.raw_connection import RawConnection


def _wait_for_end(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_a_broker_serves_until_it_is_stopped_twice(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data") as broker:
        with Clients(broker.bootstrap_servers) as clients:
            assert clients.send(clients.topic(), b"x") == [0]
        assert psutil.pid_exists(broker.pid)
        broker.stop()
    broker.stop()
    assert not psutil.pid_exists(broker.pid)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        with pytest.raises(EmbeddedBrokerFailed, match=rf"127\.0\.0\.1:{port}.*in use"):
            start_broker(tmp_path / "data", port=port)


def test_a_folder_in_use_is_named_with_its_owner(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data") as broker:
        with pytest.raises(EmbeddedBrokerFailed, match=f"data is used by another broker .process {broker.pid}"):
            start_broker(tmp_path / "data")
        with Clients(broker.bootstrap_servers) as clients:
            assert clients.send(clients.topic(), b"undisturbed") == [0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedBrokerFailed, match=r"file/data cannot be used: .*Not a directory"):
        start_broker(tmp_path / "file" / "data")


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    start_broker(tmp_path / "data").stop()
    database = sqlite3.connect(tmp_path / "data" / "broker.sqlite")
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(EmbeddedBrokerFailed, match="written by another version"):
        start_broker(tmp_path / "data")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_addresses_that_others_can_reach_are_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(EmbeddedBrokerFailed, match="can be reached from other machines"):
        start_broker(tmp_path / "data", host=host)


def test_an_address_that_others_can_reach_is_used_when_allowed(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data", host="0.0.0.0", allow_remote=True) as broker:
        port = broker.bootstrap_servers.split(":")[1]
        with Clients(f"127.0.0.1:{port}") as clients:
            assert clients.admin.describe_cluster()["brokers"][0]["host"] == "127.0.0.1"


def test_a_broker_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from ummp_assets.messages.embedded import start_broker; "
        "broker = start_broker(pathlib.Path(sys.argv[1])); print(broker.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        broker_pid = int(parent.stdout.readline())
        assert psutil.pid_exists(broker_pid)
        parent.kill()
    assert _wait_for_end(broker_pid)


def test_importing_it_brings_nothing_heavy() -> None:
    code = "import sys, ummp_assets.messages.embedded; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"kafka", "dagster", "pandas", "numpy", "sqlite3"} & set(done.stdout.split())


def test_an_idle_broker_uses_next_to_no_processor_time(tmp_path: Path) -> None:
    with start_broker(tmp_path / "data") as broker, Clients(broker.bootstrap_servers) as clients:
        topic = clients.topic(partitions=20)
        clients.send(topic, b"x")
        time.sleep(1.5)
        process = psutil.Process(broker.pid)
        before = process.cpu_times()
        time.sleep(2)
        after = process.cpu_times()
    assert (after.user + after.system) - (before.user + before.system) < 0.1


def test_the_command_says_where_and_that_it_is_for_one_machine(tmp_path: Path) -> None:
    code = "from ummp_assets.cli.broker import broker_command; broker_command()"
    arguments = ["--data", str(tmp_path / "data"), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    label, address = process.stdout.readline().rsplit(" ", 1)
    assert label == "bootstrap servers:"
    with Clients(address.strip()) as clients:
        assert clients.send(clients.topic(), b"x") == [0]
        with RawConnection(address.strip()):
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors.count("for one machine") == len(errors.splitlines()) == 1


def test_the_command_fails_with_a_sentence(tmp_path: Path) -> None:
    code = "from ummp_assets.cli.broker import broker_command; broker_command()"
    arguments = ["--data", str(tmp_path / "data"), "--host", "0.0.0.0"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: 0.0.0.0 can be reached from other machines")
