"""Dagster's processes: code server, web server and daemon.

They import at once, on all cores, and go on in order: the code server when the instance's database is made, the others
when the code server answers. One that comes too early would keep its failure to load the code for many seconds.
"""

import os
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from ummp_assets.cli.stack.children import Child, Program, child_environment
from ummp_assets.cli.stack.dagster_home import dagster_home, prepare_instance, write_dagster_files
from ummp_assets.cli.stack.environment import settings_environment, without_settings
from ummp_assets.errors import StackFailed
from ummp_assets.settings import Settings

__all__ = ["DagsterProcesses"]

_DEFINITIONS = "ummp_assets.definitions"
_START_SECONDS = 90.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05


class DagsterProcesses:
    """The three processes, at their gates until `start` is called.

    Parameters
    ----------
    cleanup:
        Stops them, the daemon first, so that no run begins. The web server keeps nothing that it could lose. The code
        server is killed together with its run workers: a worker that is asked to stop would mark its run as cancelled,
        one that is killed has its run found and retried at the next start.
    """

    def __init__(self, settings: Settings, ui_port: int, cleanup: ExitStack) -> None:
        self._settings = settings
        # A Unix socket in a private folder: loopback ports are open to every user of the machine, and a socket's path
        # may have no more than 104 characters, which rules out the home.
        folder = Path(tempfile.mkdtemp(prefix="ummp-"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        self._socket, self._prepared, self._serving = folder / "code", folder / "prepared", folder / "serving"
        workspace = ("-w", str(write_dagster_files(settings.home_path, self._socket)))
        logs, environment = settings.home_path / "logs", _environment(settings)
        self._code_server = Child(_code_server(self._socket), logs, environment, gate=self._prepared)
        cleanup.callback(self._code_server.kill)
        self._web_server = Child(_web_server(ui_port, workspace), logs, environment, gate=self._serving)
        cleanup.callback(self._web_server.kill)
        self._daemon = Child(_daemon(workspace), logs, environment, gate=self._serving)
        cleanup.callback(self._daemon.stop, _STOP_SECONDS)

    @property
    def children(self) -> tuple[Child, ...]:
        return self._code_server, self._web_server, self._daemon

    def start(self) -> int:
        """Make the instance, let the processes go on in order, and return the number of runs recovered.

        Raises `StackFailed`, with the end of its log, when the code server does not come up.
        """
        recovered = prepare_instance(self._settings)
        self._prepared.touch()
        deadline = time.monotonic() + _START_SECONDS
        while not self._code_server_answers():
            self._code_server.check()
            if time.monotonic() > deadline:
                raise StackFailed(f"the code server did not answer. {self._code_server.describe_log()}")
            time.sleep(_POLL_SECONDS)
        self._serving.touch()
        return recovered

    def _code_server_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0


def _environment(settings: Settings) -> dict[str, str]:
    own = {"DAGSTER_HOME": str(dagster_home(settings.home_path)), "UMMP_SENSORS_RUNNING": "1"}
    return child_environment({**without_settings(os.environ), **settings_environment(settings), **own})


def _code_server(address: Path) -> Program:
    arguments = ("api", "grpc", "--socket", str(address), "--module-name", _DEFINITIONS)
    preload = ("dagster._cli.api", "dagster._grpc.server", _DEFINITIONS)
    return Program("code-server", "dagster", (*arguments, "--location-name", "ummp_assets"), preload)


def _web_server(port: int, workspace: tuple[str, ...]) -> Program:
    arguments = ("--host", "127.0.0.1", "--port", str(port), *workspace)
    return Program("web-server", "dagster_webserver", arguments, ("dagster_webserver.cli",))


def _daemon(workspace: tuple[str, ...]) -> Program:
    return Program("daemon", "dagster._daemon", ("run", *workspace), ("dagster._daemon.cli",))
