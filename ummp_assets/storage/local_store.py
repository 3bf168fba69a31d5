"""The store in a local folder.

A put writes a temporary file beside the target's file system and renames it; `create` links it, which the kernel
refuses when the name is taken. With `fsync` on, a put survives a power cut as well as a SIGKILL.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ummp_assets.errors import ObjectNotFound, StoreUnavailable
from ummp_assets.storage.objects import ObjectInfo, check_path

__all__ = ["LocalStore"]

_SCRATCH = ".scratch"


class LocalStore:
    """`ObjectStore` in a folder, which is made at the first put."""

    def __init__(self, root: Path, *, fsync: bool = False) -> None:
        self._root = root.absolute()
        self._fsync = fsync

    def read(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read()

    def open(self, path: str) -> BinaryIO:
        try:
            return self._target(path).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ObjectNotFound(self.uri(path)) from None
        except OSError as error:
            raise StoreUnavailable(self.uri(path), error) from error

    def write(self, path: str, data: bytes) -> None:
        target = self._target(path)
        with self._storing(path):
            self._temporary(data).replace(self._in_folder(target))
            self._sync_folder(target)

    def create(self, path: str, data: bytes) -> bool:
        target = self._target(path)
        with self._storing(path):
            temporary = self._temporary(data)
            try:
                os.link(temporary, self._in_folder(target))
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            self._sync_folder(target)
            return True

    def upload(self, file: Path, path: str) -> None:
        target = self._target(path)
        with self._storing(path):
            if self._fsync:
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            file.replace(self._in_folder(target))
            self._sync_folder(target)

    def exists(self, path: str) -> bool:
        try:
            return self._target(path).is_file()
        except OSError as error:
            raise StoreUnavailable(self.uri(path), error) from error

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._target(prefix) if prefix else self._root
        with self._storing(prefix):
            yield from self._walk(top)

    def delete(self, path: str) -> None:
        with self._storing(path):
            self._target(path).unlink(missing_ok=True)

    def uri(self, path: str = "") -> str:
        return str(self._root / path)

    def scratch_directory(self) -> Path:
        scratch = self._root / _SCRATCH
        with self._storing(_SCRATCH):
            scratch.mkdir(parents=True, exist_ok=True)
        return scratch

    def _target(self, path: str) -> Path:
        return self._root / check_path(path)

    def _temporary(self, data: bytes) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self.scratch_directory())
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if self._fsync:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            Path(name).unlink()
            raise
        return Path(name)

    @staticmethod
    def _in_folder(target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _sync_folder(self, target: Path) -> None:
        if self._fsync:
            descriptor = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _walk(self, folder: Path) -> Iterator[ObjectInfo]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != _SCRATCH:
                    yield from self._walk(Path(entry.path))
            else:
                # A file may be replaced or collected while the folder is read.
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    relative = os.path.relpath(entry.path, self._root)
                    yield ObjectInfo(relative, status.st_size, status.st_mtime)

    @contextlib.contextmanager
    def _storing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(self.uri(path), error) from error
