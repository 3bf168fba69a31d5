"""The broker in a process of its own, which ends with the process that started it."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from ummp_assets.errors import EmbeddedBrokerFailed

__all__ = ["BrokerProcess", "start_broker"]

_START_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 10.0


class BrokerProcess:
    """A running broker; leaving its context stops it.

    Attributes
    ----------
    bootstrap_servers:
        The address to give to Kafka clients.
    pid:
        The broker's process.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", bootstrap_servers: str) -> None:
        self._process = process
        self.bootstrap_servers = bootstrap_servers
        self.pid = process.pid

    def stop(self) -> None:
        """End the broker and wait until its data are on the disk; does nothing where it has ended."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._release()

    def kill(self) -> None:
        """End the broker as a crash would, with SIGKILL."""
        self._process.kill()
        self._release()

    def _release(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_broker(
    data_directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    fsync: bool = False,
    allow_remote: bool = False,
    default_partitions: int = 1,
    retention_check_seconds: float = 300.0,
) -> BrokerProcess:
    """Start the embedded broker and wait until it accepts connections.

    The broker ends when this process ends, however that happens: it holds the other end of a pipe.

    Parameters
    ----------
    data_directory:
        Holds everything that the broker keeps; created if absent; one broker at a time may use it.
    host:
        A loopback address, since the broker has neither encryption nor accounts.
    port:
        0 lets the system choose one that is free.
    fsync:
        Force acknowledged data to the disk, so that they survive a loss of power as well as a killed process.
    allow_remote:
        Permit a host that other machines can reach.
    default_partitions:
        Partitions of topics that are created without a number; at least 1.
    retention_check_seconds:
        Time between two looks for expired segments and for logs to compact.

    Raises
    ------
    EmbeddedBrokerFailed
        The address is refused or in use, or the folder cannot be written or is used by another broker.

    Example
    -------
    >>> with start_broker(Path("data/broker")) as broker:  # doctest: +SKIP
    ...     producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    """
    arguments = ["--data", str(data_directory), "--host", host, "--port", str(port), "--exit-with-parent"]
    arguments += ["--default-partitions", str(default_partitions)]
    arguments += ["--retention-check-seconds", str(retention_check_seconds)]
    arguments += ["--fsync"] if fsync else []
    arguments += ["--allow-remote"] if allow_remote else []
    process = subprocess.Popen(
        [sys.executable, "-m", "ummp_assets.messages.embedded", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
    )
    broker = BrokerProcess(process, bootstrap_servers="")
    try:
        report = json.loads(_first_line(process) or "{}")
    except BaseException:
        broker.kill()
        raise
    if "listening" not in report:
        broker.kill()
        reason = report.get("error", f"exit code {process.returncode}, see its messages on standard error")
        raise EmbeddedBrokerFailed(f"the embedded broker could not start: {reason}")
    broker.bootstrap_servers = report["listening"]
    return broker


def _environment() -> dict[str, str]:
    """This process's environment, without what would keep Python from caching compiled code: it halves the start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _first_line(process: "subprocess.Popen[bytes]") -> bytes:
    if process.stdout is None or not select.select([process.stdout], [], [], _START_TIMEOUT_SECONDS)[0]:
        raise EmbeddedBrokerFailed(f"the embedded broker said nothing for {_START_TIMEOUT_SECONDS:.0f} s")
    return process.stdout.readline()
