"""The stack: its processes in the order in which they need one another, and the way back.

Broker, code server, web server, daemon. On the way down the daemon goes first, so that no run begins. The code server
is killed together with its run workers: a worker that is asked to stop would mark its run as cancelled, one that is
killed has its run found and retried at the next start.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ummp_assets.cli.stack.children import Child, child_environment
from ummp_assets.cli.stack.dagster_home import dagster_home, prepare_instance, write_dagster_files
from ummp_assets.cli.stack.environment import settings_environment
from ummp_assets.cli.stack.home import StackState, choose_port, claim_home, read_state
from ummp_assets.cli.stack.web_ui import WebUi
from ummp_assets.errors import StackFailed
from ummp_assets.settings import Settings

__all__ = ["Stack", "run_stack"]

_DEFINITIONS = "ummp_assets.definitions"
_UI_PORT = 3_000
_START_SECONDS = 90.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Parameters
    ----------
    recovered_runs:
        Runs of an earlier stack whose worker was gone, and which are retried now.
    """

    settings: Settings
    ui: WebUi
    children: tuple[Child, ...]
    recovered_runs: int

    def check(self) -> None:
        """Raise `StackFailed` when one of its processes has ended."""
        for child in self.children:
            child.check()


@contextmanager
def run_stack(
    settings: Settings, *, ui_port: int | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[Stack]:
    """Run the stack while the `with` block lasts.

    Parameters
    ----------
    ui_port:
        Port of the web UI on 127.0.0.1; by default the one of last time, else 3000, else any that is free.
    say:
        Is told what is being done.

    Raises
    ------
    StackFailed
        Another stack runs on this home, or a process did not start; the message holds the end of its log.
    BrokerUnavailable, StoreUnavailable
        The configured broker does not answer; the home cannot be written.
    """
    home = settings.home_path
    with ExitStack() as cleanup:
        cleanup.enter_context(claim_home(home))
        state = replace(read_state(home), pid=os.getpid(), ui_port=_choose_ui_port(home, ui_port))
        say("starting the broker")
        state, broker = _start_broker(settings, state, cleanup)
        state.write(home)
        say("starting Dagster")
        dagster, recovered = _start_dagster(settings, state, cleanup)
        stack = Stack(settings, WebUi(state.ui_url or ""), (*broker, *dagster), recovered)
        say("waiting for the web UI")
        _wait_until_up(stack)
        yield stack


def _choose_ui_port(home: Path, wanted: int | None) -> int:
    port = choose_port(wanted) if wanted else choose_port(read_state(home).ui_port, _UI_PORT)
    if wanted and port != wanted:
        raise StackFailed(f"port {wanted} is in use; leave out --port to take a free one")
    return port


def _start_broker(settings: Settings, state: StackState, cleanup: ExitStack) -> tuple[StackState, tuple[Child, ...]]:
    """Start the embedded broker unless another one is configured, and create the topics."""
    from ummp_assets.messages.topics import ensure_topics

    children: tuple[Child, ...] = ()
    if not settings.kafka_bootstrap_servers:
        port = choose_port(state.broker_port)
        folder = settings.broker_address_path.parent
        folder.mkdir(parents=True, exist_ok=True)
        broker = Child(
            "broker",
            "ummp_assets.messages.embedded",
            ("--data", str(folder), "--port", str(port)),
            log_path=settings.home_path / "logs" / "broker.log",
            environment=child_environment({}),
        )
        cleanup.callback(broker.stop, _STOP_SECONDS)
        _wait_for_port(broker, port)
        settings.broker_address_path.write_text(f"127.0.0.1:{port}\n", encoding="utf-8")
        state = replace(state, broker_port=port)
        children = (broker,)
    ensure_topics(settings)
    return replace(state, bootstrap_servers=settings.bootstrap_servers), children


def _wait_for_port(child: Child, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        child.check()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise StackFailed(
        f"{child.name} did not listen on port {port} after {_START_SECONDS:.0f} s. {child.describe_log()}"
    )


def _start_dagster(settings: Settings, state: StackState, cleanup: ExitStack) -> tuple[tuple[Child, ...], int]:
    """Start code server, web server and daemon; return them and the number of runs recovered."""
    home = settings.home_path
    # A Unix socket in a private folder: loopback ports are open to every user of the machine, and a socket's path may
    # have no more than 104 characters, which rules out the home.
    sockets = Path(tempfile.mkdtemp(prefix="ummp-"))
    cleanup.callback(shutil.rmtree, sockets, ignore_errors=True)
    workspace = str(write_dagster_files(home, sockets / "code"))
    overrides = {"DAGSTER_HOME": str(dagster_home(home)), "UMMP_SENSORS_RUNNING": "1"}
    environment = child_environment({**settings_environment(settings), **overrides})

    def start(name: str, module: str, *arguments: str) -> Child:
        return Child(name, module, arguments, log_path=home / "logs" / f"{name}.log", environment=environment)

    code = ("--module-name", _DEFINITIONS, "--location-name", "ummp_assets")
    code_server = start("code-server", "dagster", "api", "grpc", "--socket", str(sockets / "code"), *code)
    cleanup.callback(code_server.kill)
    # While the code server loads.
    recovered = prepare_instance(home)
    web_server = start(
        "web-server", "dagster_webserver", "--host", "127.0.0.1", "--port", str(state.ui_port), "-w", workspace
    )
    cleanup.callback(web_server.stop, _STOP_SECONDS)
    daemon = start("daemon", "dagster._daemon", "run", "-w", workspace)
    cleanup.callback(daemon.stop, _STOP_SECONDS)
    return (code_server, web_server, daemon), recovered


def _wait_until_up(stack: Stack) -> None:
    deadline = time.monotonic() + _START_SECONDS
    cause: object = "no answer"
    while time.monotonic() < deadline:
        stack.check()
        try:
            problem = stack.ui.load_error()
        except OSError as error:
            cause = error
        else:
            if problem is None:
                return
            if problem:
                raise StackFailed(f"Dagster cannot load ummp_assets: {problem}")
        time.sleep(_POLL_SECONDS)
    logs = "\n".join(child.describe_log() for child in stack.children)
    raise StackFailed(f"the web UI at {stack.ui.url} was not up after {_START_SECONDS:.0f} s ({cause}).\n{logs}")
