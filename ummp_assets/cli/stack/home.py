"""The home folder of a stack: one stack at a time, and the ports that it keeps over restarts."""

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ummp_assets.errors import StackFailed, StoreUnavailable

__all__ = ["StackState", "claim_home", "claim_port", "read_state", "running_state"]

_STATE = "stack.json"
_LOCK = "stack.lock"
_LOCK_ATTEMPTS = 5
_PORT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class StackState:
    """What other commands may know of a stack: its process, its addresses, and the ports it takes again."""

    pid: int = 0
    ui_port: int | None = None
    broker_port: int | None = None

    @property
    def ui_url(self) -> str | None:
        return f"http://127.0.0.1:{self.ui_port}" if self.ui_port else None

    def write(self, home: Path) -> None:
        temporary = home / f"{_STATE}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.replace(home / _STATE)


def read_state(home: Path) -> StackState:
    """Return what the last stack of this home left, or an empty state."""
    try:
        return StackState(**json.loads((home / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return StackState()


def running_state(home: Path) -> StackState | None:
    """Return the state of the stack that runs on this home, or None when none does."""
    try:
        with (home / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_state(home)
    except OSError:
        return None
    return None


@contextmanager
def claim_home(home: Path) -> Iterator[None]:
    """Hold the home for this process; the kernel gives it back however the process ends.

    Raises `StackFailed` when another stack runs on it, and `StoreUnavailable` when it cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / _LOCK).open("a")
    except OSError as error:
        raise StoreUnavailable(str(home), f"{error}; UMMP_HOME names another folder") from error
    with lock:
        if not _try_lock(lock):
            state = read_state(home)
            raise StackFailed(
                f"a stack already runs on {home} (process {state.pid}, web UI {state.ui_url or 'not up yet'}). "
                "Use it, stop it with Ctrl-C, or set UMMP_HOME to another folder."
            )
        yield


def _try_lock(lock: IO[str]) -> bool:
    # `running_state` holds the lock for an instant: once more is not too much.
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


@contextmanager
def claim_port(*preferred: int | None) -> Iterator[int]:
    """Hold the first preferred loopback port that is free, else any free one.

    Its server binds it seconds later, when it has imported all that it needs: until the block ends no other stack of
    this user is given the same port, whatever home it has.
    """
    with ExitStack() as cleanup:
        for port in (*(number for number in preferred if number), *([0] * _PORT_ATTEMPTS)):
            found = _free_port(port)
            if found and _reserve_port(found, cleanup):
                yield found
                return
    raise StackFailed("no free port on 127.0.0.1")


def _free_port(port: int) -> int | None:
    with closing(socket.socket()) as probe:
        # As servers do, so that a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _reserve_port(port: int, cleanup: ExitStack) -> bool:
    folder = Path(tempfile.gettempdir()) / f"ummp-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = (folder / str(port)).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    cleanup.enter_context(lock)
    return True
