"""The store on any fsspec file system whose puts are atomic: s3, gs, abfs, memory and more.

`create` relies on the back end's own put-if-absent (`mode="create"`: a conditional put on S3, Google Storage and
Azure).
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from ummp_assets.errors import InvalidInput, InvalidSettings, ObjectNotFound, StoreUnavailable
from ummp_assets.storage.objects import ObjectInfo, check_path
from ummp_assets.storage.scratch import ScratchFolder

__all__ = ["FsspecStore"]


class FsspecStore:
    """`ObjectStore` below an fsspec URL; options come from fsspec's own configuration and the usual environment
    variables."""

    def __init__(self, url: str) -> None:
        try:
            # A cached listing would hide what other processes put.
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InvalidSettings(f"UMMP_STORE={url}: {error}") from error
        self._url = url.rstrip("/")
        self._root = root.rstrip("/")
        self._scratch = ScratchFolder(Path(tempfile.gettempdir()) / f"ummp-{os.getuid()}")

    def read(self, path: str) -> bytes:
        target = self._target(path)
        with self._using(path):
            return cast(bytes, self._files.cat_file(target))

    def open(self, path: str) -> BinaryIO:
        target = self._target(path)
        with self._using(path):
            file = self._files.open(target, "rb")
            # s3fs opens a folder as an empty file.
            if getattr(file, "details", {}).get("type") == "directory":
                raise FileNotFoundError(target)
            return cast(BinaryIO, file)

    def write(self, path: str, data: bytes) -> None:
        target = self._target(path)
        with self._using(path):
            self._put(target, lambda: self._files.pipe_file(target, data))

    def create(self, path: str, data: bytes) -> bool:
        target = self._target(path)
        with self._using(path):
            try:
                self._put(target, lambda: self._files.pipe_file(target, data, mode="create"))
            except FileExistsError:
                return False
            except OSError:
                # From servers that do not name the failed condition, s3fs passes on "invalid argument" or "busy".
                if self._is_file(target):
                    return False
                raise
            return True

    def upload(self, file: Path, path: str) -> None:
        target = self._target(path)
        if not file.is_file():
            raise InvalidInput(f"{file} is no file that could be moved to {self.uri(path)}")
        with self._using(path):
            self._put(target, lambda: self._files.put_file(str(file), target))
            file.unlink()

    def exists(self, path: str) -> bool:
        target = self._target(path)
        with self._using(path):
            return self._is_file(target)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._target(prefix) if prefix else self._root
        found: dict[str, dict[str, Any]] = {}
        with self._using(prefix), suppress(FileNotFoundError):
            found = self._files.find(top, detail=True)
        for name in sorted(found):
            # Asked for the files below an object, fsspec gives the object itself.
            if name != top:
                yield _describe(name[len(self._root) :].lstrip("/"), found[name])

    def delete(self, path: str) -> None:
        target = self._target(path)
        with self._using(path), suppress(FileNotFoundError):
            self._files.rm_file(target)

    def uri(self, path: str = "") -> str:
        return f"{self._url}/{path}" if path else self._url

    def scratch_directory(self) -> Path:
        try:
            return self._scratch.path
        except OSError as error:
            raise StoreUnavailable(tempfile.gettempdir(), error) from error

    def _target(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    def _put(self, target: str, put: Callable[[], object]) -> None:
        try:
            put()
        except FileNotFoundError:
            # Only some file systems have folders, and asking for one costs S3 two requests: hence not beforehand.
            self._files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            put()

    def _is_file(self, target: str) -> bool:
        # Not fsspec's own `isfile`: it answers False whenever the storage fails.
        try:
            return bool(self._files.info(target)["type"] == "file")
        except FileNotFoundError:
            return False

    @contextmanager
    def _using(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise ObjectNotFound(self.uri(path)) from None
        except Exception as error:
            # Each back end has errors of its own besides OSError: botocore's, aiohttp's, Azure's.
            raise StoreUnavailable(self.uri(path), error) from error


def _describe(path: str, details: dict[str, Any]) -> ObjectInfo:
    modified = details.get("LastModified") or details.get("created") or details.get("mtime") or 0
    seconds = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
    return ObjectInfo(path, int(details["size"]), seconds)
