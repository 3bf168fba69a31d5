"""A folder for temporary files that a killed process does not leave behind for ever.

The kernel drops the locks of a process that ends in any way, SIGKILL included. So each process holds a lock on its own
folder, and whoever makes the next folder clears away those that nobody holds.
"""

import fcntl
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ScratchFolder"]

_LOCK = "lock"


class ScratchFolder:
    """One process's folder below `parent`, made at first use and removed at the process's end or, after a kill, by the
    next process that makes one there."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._mutex = threading.Lock()
        self._folder: Path | None = None

    def __reduce__(self) -> tuple[type["ScratchFolder"], tuple[Path]]:
        # A process that unpickles a store needs a folder of its own.
        return ScratchFolder, (self._parent,)

    @property
    def path(self) -> Path:
        """The folder; raises `OSError` when it cannot be made."""
        with self._mutex:
            if self._folder is None:
                self._parent.mkdir(parents=True, exist_ok=True)
                with _locked(self._parent / _LOCK):
                    _remove_abandoned(self._parent)
                    self._folder = Path(tempfile.mkdtemp(dir=self._parent))
                    descriptor = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                weakref.finalize(self, _release, self._folder, descriptor, os.getpid())
            return self._folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.iterdir():
        if folder.is_dir() and not _is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        # Killed between making the folder and its lock: nobody else is here, the parent's lock is ours.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _release(folder: Path, descriptor: int, owner: int) -> None:
    # A forked child inherits the descriptor, and with it the lock, but the folder stays its parent's.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
