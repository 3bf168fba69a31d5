"""The stack: its processes in the order in which they need one another, and the way back."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ummp_assets.cli.stack.broker import EmbeddedBroker
from ummp_assets.cli.stack.children import Child
from ummp_assets.cli.stack.dagster_processes import DagsterProcesses
from ummp_assets.cli.stack.home import StackState, claim_home, claim_port, read_state
from ummp_assets.cli.stack.web_ui import WebUi
from ummp_assets.errors import StackFailed
from ummp_assets.settings import Settings

__all__ = ["Stack", "run_stack"]

_UI_PORT = 3_000
_UI_SECONDS = 120.0
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
    settings: Settings,
    *,
    ui_port: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_broker: Callable[[], None] = lambda: None,
) -> Iterator[Stack]:
    """Run the stack while the `with` block lasts.

    Parameters
    ----------
    ui_port:
        Port of the web UI on 127.0.0.1; by default the one of last time, else 3000, else any that is free.
    say:
        Is told what is being done.
    on_broker:
        Called when the broker answers and has all topics, while Dagster still starts.

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
        before = read_state(home)
        port = _claim_ui_port(ui_port, before, cleanup)
        state = replace(before, pid=os.getpid(), ui_port=port)
        say("starting the broker")
        broker = None
        if settings.kafka_bootstrap_servers:
            # One that is down is told before anything is started in vain.
            _make_topics(settings)
        else:
            broker = EmbeddedBroker(settings, cleanup.enter_context(claim_port(state.broker_port)))
            cleanup.callback(broker.child.stop, _STOP_SECONDS)
            state = replace(state, broker_port=broker.port)
        dagster = DagsterProcesses(settings, port, cleanup)
        if broker:
            broker.wait()
            _make_topics(settings)
        state.write(home)
        on_broker()
        say("starting Dagster")
        recovered = dagster.start()
        children = (*((broker.child,) if broker else ()), *dagster.children)
        stack = Stack(settings, WebUi(f"http://127.0.0.1:{port}"), children, recovered)
        _wait_until_up(stack)
        yield stack


def _claim_ui_port(wanted: int | None, before: StackState, cleanup: ExitStack) -> int:
    preferred = (wanted,) if wanted else (before.ui_port, _UI_PORT)
    port = cleanup.enter_context(claim_port(*preferred))
    if wanted and port != wanted:
        raise StackFailed(f"port {wanted} is in use; leave out --port to take a free one")
    return port


def _make_topics(settings: Settings) -> None:
    from ummp_assets.messages.topics import ensure_topics

    ensure_topics(settings)


def _wait_until_up(stack: Stack) -> None:
    deadline = time.monotonic() + _UI_SECONDS
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
    raise StackFailed(f"the web UI at {stack.ui.url} was not up after {_UI_SECONDS:.0f} s ({cause}).\n{logs}")
