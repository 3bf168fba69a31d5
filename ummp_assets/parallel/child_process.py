"""Processes that call one function again and again, and hold no more than it needs.

`multiprocessing` would import in each child what the parent was started with: Dagster, 100 MB and a second. So the
child is a bare interpreter that imports the function it is sent, and Arrow is told that there is no pandas.
"""

import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

__all__ = ["ChildProcess", "child_pool", "serve"]

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")

_PROGRAM = f"import sys; sys.path[:] = sys.argv[2:]; from {__name__} import serve; serve(int(sys.argv[1]))"


class ChildProcess:
    """A process that calls one function, again and again.

    Parameters
    ----------
    function:
        Picklable, and of a module that can be imported.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._connection, far_end = Pipe()
        # With our copy of its end open, the child's death would never be the end of the stream.
        with far_end:
            arguments = [sys.executable, "-c", _PROGRAM, str(far_end.fileno()), *sys.path]
            self._process = subprocess.Popen(arguments, pass_fds=[far_end.fileno()], stdin=subprocess.DEVNULL)
        self._connection.send(function)
        # Its imports are not part of any call's time.
        self._connection.recv()

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
        self._process.kill()
        self._process.wait()
        self._connection.close()


@contextmanager
def child_pool(function: Callable[[_Argument], _Answer]) -> Iterator[Callable[[_Argument], _Answer]]:
    """Give a function that does the same in child processes, one for each thread that calls it at the same time.

    It raises `ChildProcessError` when a child dies.
    """
    idle: queue.SimpleQueue[ChildProcess] = queue.SimpleQueue()

    def call(argument: _Argument) -> _Answer:
        try:
            child = idle.get_nowait()
        except queue.Empty:
            child = ChildProcess(function)
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


def serve(file_descriptor: int) -> None:
    """Answer the parent until it closes its end of the connection or ends itself."""
    sys.meta_path.insert(0, _WithoutPandas())
    connection = Connection(file_descriptor)
    try:
        function = connection.recv()
        connection.send("ready")
        while True:
            argument = connection.recv()
            try:
                answer = function(argument)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the chunk came from
                answer = error
            connection.send(answer)
    except (EOFError, BrokenPipeError):
        return


class _WithoutPandas(MetaPathFinder):
    """Tells Arrow, which asks of every list whether it is a series, that there is no pandas: 48 MB and 0.4 s."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used in this process", name=fullname)
