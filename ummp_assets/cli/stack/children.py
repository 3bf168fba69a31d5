"""Child processes of a stack: each with a log file, in a process group of its own, dying with the stack."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ummp_assets.errors import StackFailed

__all__ = ["Child", "Program", "child_environment"]

_TAIL_LINES = 15
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def child_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment fit for starting Python quickly.

    Without bytecode files, each start of Dagster takes three times as long (2.4 s against 0.8).
    """
    environment = {**base, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


@dataclass(frozen=True)
class Program:
    """What a child runs.

    Parameters
    ----------
    name:
        For messages and for the name of the log file.
    preload:
        Modules that it imports before it passes its gate.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    preload: tuple[str, ...] = ()


class Child:
    """A program that runs as a process.

    A process group of its own keeps Ctrl-C away from it, so that the stack can stop its children in order.

    Parameters
    ----------
    gate:
        A file for whose existence it waits after its imports; by default it does not wait.
    """

    def __init__(self, program: Program, logs: Path, environment: Mapping[str, str], *, gate: Path = Path("/")) -> None:
        self.name, self.log_path = program.name, logs / f"{program.name}.log"
        logs.mkdir(parents=True, exist_ok=True)
        read_end, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "ummp_assets.cli.stack.child", str(read_end), str(gate)]
        command += [" ".join(program.preload), program.module, *program.arguments]
        try:
            with self.log_path.open("ab") as log:
                log.write(f"--- {program.module} {' '.join(program.arguments)}\n".encode())
                log.flush()
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    pass_fds=[read_end],
                    start_new_session=True,
                )
        finally:
            os.close(read_end)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise `StackFailed`, with the end of the log, when the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise StackFailed(f"{self.name} ended with code {code}. {self.describe_log()}")

    def describe_log(self) -> str:
        """Return the path of the log and its last lines since this start."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        lines = [_COLOURS.sub("", line) for line in lines]
        return "\n".join([f"The end of its log, {self.log_path}:", *(f"  {line}" for line in lines[-_TAIL_LINES:])])

    def stop(self, timeout_seconds: float) -> None:
        """Ask the process to end, then kill it and all that it started."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process and all that it started."""
        # No such group: all have ended. Not permitted: what macOS says of a group whose last member is a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
