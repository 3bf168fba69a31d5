"""Processes that call one function again and again, and hold no more than it needs.

`multiprocessing` would import in each child what the parent was started with: Dagster, 100 MB and a second. So a bare
interpreter imports the function it is sent, and Arrow is told that there is no pandas. What it has loaded then it
shares with the children that it forks: one that cleans texts adds 31 MB instead of 130, one that tokenises 6 instead of
260, and starts in 10 ms. Only Linux forks safely; elsewhere each child loads everything itself. The one that forks ends
its children when the process that asked for them is gone, however it ended: one that hangs would run on for ever.
"""

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler, recv_handle, send_handle
from typing import Any, Never, TypeVar, cast

__all__ = ["MAX_CHILDREN", "ChildFamily", "ChildProcess", "child_pool", "serve", "serve_forks"]

MAX_CHILDREN = 8
"""Children of a step, however many cores there are, so that it stays below 1 GB: cleaning texts takes 660 MB with two,
780 with eight and 990 with sixteen, tokenising them 770, 840 and 900. Other batches use the other cores."""

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")

# An interpreter that has been told to end takes some milliseconds.
_END_SECONDS = 5.0

_PROGRAM = f"import sys; sys.path[:] = sys.argv[3:]; import {__name__} as m; getattr(m, sys.argv[1])(int(sys.argv[2]))"


class ChildProcess:
    """A process that calls one function, again and again; made by a `ChildFamily`."""

    def __init__(self, connection: Connection, kill: Callable[[], None]) -> None:
        self._connection, self._kill = connection, kill

    def ask(self, argument: Any, timeout_seconds: float | None = None) -> Any:
        """Return what the function returned or raised, or None when the process died or is late."""
        try:
            self._connection.send(argument)
            if not self._connection.poll(timeout_seconds):
                return None
            return self._connection.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """Kill the process: a decoder that hangs listens to nothing else."""
        self._kill()
        self._connection.close()


class ChildFamily:
    """Children that call the same function, and share what it needs where processes can be forked.

    Parameters
    ----------
    function:
        Picklable, and of a module that can be imported.
    prepare:
        Picklable; loads what all children need, besides what importing `function` does.
    forks:
        Whether to fork; by default on Linux.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        prepare: Callable[[], object] | None = None,
        *,
        forks: bool = sys.platform == "linux",
    ) -> None:
        self._task = function, prepare
        self._forks = forks
        self._lock = threading.Lock()
        self._parent: tuple[subprocess.Popen[bytes], Connection] | None = None

    def child(self) -> ChildProcess:
        """Return a new child; imports are not part of any call's time.

        Raises what loading the function or `prepare` raised, `OSError` when there can be no more processes, and
        `ChildProcessError` when the process that forks has died; the next call starts another one.
        """
        if not self._forks:
            process, connection = _start("serve", self._task)
            return ChildProcess(connection, lambda: _end(process))
        near_end, far_end = Pipe()
        # With our copy of its end open, the child's death would never be the end of the stream.
        with self._lock, far_end:
            if self._parent is None:
                self._parent = _start("serve_forks", self._task)
            process, connection = self._parent
            try:
                connection.send(None)
                send_handle(connection, far_end.fileno(), process.pid)
                forked: int | OSError = connection.recv()
            except (EOFError, OSError) as error:
                self._end_parent()
                forked = ChildProcessError(f"the process that forks children has died: {error!r}")
        if isinstance(forked, OSError):
            near_end.close()
            raise forked
        pid = forked
        return ChildProcess(near_end, lambda: self._kill(pid))

    def close(self) -> None:
        """End the process that forks, and with it the children that have not been ended."""
        with self._lock:
            self._end_parent()

    def _end_parent(self) -> None:
        if self._parent is not None:
            (process, connection), self._parent = self._parent, None
            connection.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                _end(process)

    def _kill(self, pid: int) -> None:
        # By its parent, for which alone the number stands for this process until it has been waited for.
        with self._lock, suppress(EOFError, OSError):
            if self._parent is not None:
                _, connection = self._parent
                connection.send(pid)
                connection.recv()


def _start(serving: str, task: object) -> tuple[subprocess.Popen[bytes], Connection]:
    near_end, far_end = Pipe()
    with far_end:
        arguments = [sys.executable, "-c", _PROGRAM, serving, str(far_end.fileno()), *sys.path]
        # Its threads would not live on in forked children.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(arguments, pass_fds=[far_end.fileno()], stdin=subprocess.DEVNULL, env=environment)
    try:
        near_end.send(task)
        failure: Exception | None = near_end.recv()
    except (EOFError, OSError) as error:
        failure = ChildProcessError(f"a process died while it loaded what it needs: {error!r}")
    if failure is not None:
        _end(process)
        near_end.close()
        raise failure
    return process, near_end


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def child_pool(
    function: Callable[[_Argument], _Answer], prepare: Callable[[], object] | None = None
) -> Iterator[Callable[[_Argument], _Answer]]:
    """Give a function that does the same in child processes, one for each thread that calls it at the same time.

    It raises `ChildProcessError` when a child dies.
    """
    family = ChildFamily(function, prepare)
    idle: queue.SimpleQueue[ChildProcess] = queue.SimpleQueue()

    def call(argument: _Argument) -> _Answer:
        try:
            child = idle.get_nowait()
        except queue.Empty:
            child = family.child()
        answer = child.ask(argument)
        if answer is None:
            child.end()
            raise ChildProcessError(f"a process died in the middle of {function}")
        idle.put(child)
        if isinstance(answer, Exception):
            raise answer
        return cast(_Answer, answer)

    try:
        yield call
    finally:
        while not idle.empty():
            idle.get().end()
        family.close()


def serve(file_descriptor: int) -> None:
    """Answer the parent until it closes its end of the connection or ends itself."""
    connection, function = _load(file_descriptor)
    _answer(connection, function)


def serve_forks(file_descriptor: int) -> None:
    """Fork a child for each connection that the parent sends, and end the one whose number it sends, or all of them
    when the parent is gone."""
    connection, function = _load(file_descriptor)
    # What the collector touches would be copied into each child.
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    try:
        with suppress(EOFError, OSError, KeyboardInterrupt):
            while True:
                pid = connection.recv()
                if pid is None:
                    connection.send(_fork(connection, function, children))
                else:
                    _end_children(children & {pid})
                    children.discard(pid)
                    connection.send(None)
    finally:
        _end_children(children)
    # What was loaded is not worth taking apart.
    os._exit(0)


def _fork(connection: Connection, function: Callable[[Any], Any], children: set[int]) -> int | OSError:
    far_end = recv_handle(connection)
    try:
        pid = os.fork()
    except OSError as error:
        return error
    else:
        if pid == 0:
            connection.close()
            _answer_and_exit(Connection(far_end), function)
        children.add(pid)
        return pid
    finally:
        os.close(far_end)


def _end_children(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _load(file_descriptor: int) -> tuple[Connection, Callable[[Any], Any]]:
    sys.meta_path.insert(0, _WithoutPandas())
    connection = Connection(file_descriptor)
    try:
        function, prepare = connection.recv()
        if prepare is not None:
            prepare()
    except Exception as error:
        connection.send(_sendable(error))
        raise
    connection.send(None)
    return connection, function


def _answer(connection: Connection, function: Callable[[Any], Any]) -> None:
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            argument = connection.recv()
            try:
                answer = ForkingPickler.dumps(function(argument))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the chunk came from
                answer = ForkingPickler.dumps(_sendable(error))
            connection.send_bytes(answer)


def _answer_and_exit(connection: Connection, function: Callable[[Any], Any]) -> Never:
    """Answer as a forked child, which must never go on with what its parent was doing."""
    try:
        _answer(connection, function)
    except BaseException:  # noqa: BLE001 - nobody is left to raise it to
        traceback.print_exc()
    finally:
        os._exit(0)


def _sendable(error: Exception) -> Exception:
    """Return an error as another process can raise it: itself, or its words when it would not survive the way."""
    with suppress(Exception):
        if type(ForkingPickler.loads(ForkingPickler.dumps(error))) is type(error):
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


class _WithoutPandas(MetaPathFinder):
    """Tells Arrow, which asks of every list whether it is a series, that there is no pandas: 48 MB and 0.4 s."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used in this process", name=fullname)
