"""The store in a local folder.

A put writes a temporary file on the target's file system and renames it; `create` links it, which the kernel refuses
when the name is taken. With `fsync` on, a put survives a power cut as well as a SIGKILL.
"""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ummp_assets.errors import InvalidInput, ObjectNotFound, StoreUnavailable
from ummp_assets.storage.objects import SCRATCH, ObjectInfo, check_path
from ummp_assets.storage.scratch import ScratchFolder

__all__ = ["LocalStore"]


class LocalStore:
    """`ObjectStore` in a folder, which is made at the first put."""

    def __init__(self, root: Path, *, fsync: bool = False) -> None:
        self._root = root.absolute()
        self._fsync = fsync
        self._scratch = ScratchFolder(self._root / SCRATCH)

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
        with self._storing(path), self._temporary(data) as temporary:
            self._make_folder(target.parent)
            temporary.replace(target)
            self._sync_folder(target.parent)

    def create(self, path: str, data: bytes) -> bool:
        target = self._target(path)
        with self._storing(path), self._temporary(data) as temporary:
            self._make_folder(target.parent)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            self._sync_folder(target.parent)
            return True

    def upload(self, file: Path, path: str) -> None:
        target = self._target(path)
        if not file.is_file():
            raise InvalidInput(f"{file} is no file that could be moved to {self.uri(path)}")
        with self._storing(path):
            self._sync_file(file)
            self._make_folder(target.parent)
            try:
                file.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._upload_across_file_systems(file, target)
            self._sync_folder(target.parent)

    def exists(self, path: str) -> bool:
        target = self._target(path)
        with self._storing(path):
            return target.is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._target(prefix) if prefix else self._root
        with self._storing(prefix):
            yield from self._walk(top)

    def delete(self, path: str) -> None:
        target = self._target(path)
        with self._storing(path), contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            target.unlink()

    def uri(self, path: str = "") -> str:
        return str(self._root / path)

    def scratch_directory(self) -> Path:
        with self._storing(SCRATCH):
            return self._scratch.path

    def _target(self, path: str) -> Path:
        return self._root / check_path(path)

    @contextlib.contextmanager
    def _temporary(self, data: bytes) -> Iterator[Path]:
        # Not `tempfile`: its files are closed to every other user, and a training process may well be another one.
        path = self._scratch.path / uuid.uuid4().hex
        try:
            path.write_bytes(data)
            self._sync_file(path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _upload_across_file_systems(self, file: Path, target: Path) -> None:
        temporary = self._scratch.path / uuid.uuid4().hex
        try:
            shutil.copyfile(file, temporary)
            self._sync_file(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        file.unlink()

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync_folder(folder.parent)

    def _sync_file(self, path: Path) -> None:
        if self._fsync:
            _sync(path, os.O_RDWR)

    def _sync_folder(self, folder: Path) -> None:
        if self._fsync:
            _sync(folder, os.O_RDONLY)

    def _walk(self, folder: Path) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(folder) as entries:
                # A folder's slash takes part in the order of the paths: "a-b" < "a/b" < "a0".
                names = sorted((entry.name + "/" * entry.is_dir(), entry) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in names:
            if name.endswith("/"):
                if Path(entry.path) != self._root / SCRATCH:
                    yield from self._walk(Path(entry.path))
            else:
                # A file may be replaced or collected while the folder is read.
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    yield ObjectInfo(os.path.relpath(entry.path, self._root), status.st_size, status.st_mtime)

    @contextlib.contextmanager
    def _storing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(self.uri(path), error) from error


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
