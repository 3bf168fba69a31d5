"""The store on any fsspec file system: s3, gs, abfs, hdfs, memory and more.

`create` relies on the back end's own put-if-absent (`mode="create"`: a conditional put on S3 and Google Storage).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from ummp_assets.errors import InvalidSettings, ObjectNotFound, StoreUnavailable
from ummp_assets.storage.objects import ObjectInfo, check_path

__all__ = ["FsspecStore"]


class FsspecStore:
    """`ObjectStore` below an fsspec URL; options come from fsspec's own configuration and the usual environment
    variables."""

    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InvalidSettings(f"UMMP_STORE={url}: {error}") from error
        self._url = url.rstrip("/")
        self._root = self._root.rstrip("/")

    def read(self, path: str) -> bytes:
        with self._using(path):
            return cast(bytes, self._files.cat_file(self._target(path)))

    def open(self, path: str) -> BinaryIO:
        with self._using(path):
            return cast(BinaryIO, self._files.open(self._target(path), "rb"))

    def write(self, path: str, data: bytes) -> None:
        target = self._target(path)
        with self._using(path):
            self._make_folder(target)
            self._files.pipe_file(target, data)

    def create(self, path: str, data: bytes) -> bool:
        target = self._target(path)
        with self._using(path):
            self._make_folder(target)
            try:
                self._files.pipe_file(target, data, mode="create")
            except FileExistsError:
                return False
            return True

    def upload(self, file: Path, path: str) -> None:
        target = self._target(path)
        with self._using(path):
            self._make_folder(target)
            self._files.put_file(str(file), target)
            file.unlink()

    def exists(self, path: str) -> bool:
        with self._using(path):
            return bool(self._files.isfile(self._target(path)))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._target(prefix) if prefix else self._root
        with self._using(prefix):
            found: dict[str, dict[str, Any]] = self._files.find(top, detail=True)
        for name in sorted(found):
            details = found[name]
            modified = details.get("LastModified") or details.get("created") or details.get("mtime") or 0
            seconds = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
            yield ObjectInfo(name[len(self._root) :].lstrip("/"), int(details["size"]), seconds)

    def delete(self, path: str) -> None:
        target = self._target(path)
        with self._using(path):
            try:
                self._files.rm_file(target)
            except FileNotFoundError:
                return

    def uri(self, path: str = "") -> str:
        return f"{self._url}/{path}" if path else self._url

    def scratch_directory(self) -> Path:
        if not hasattr(self, "_scratch"):
            self._scratch = tempfile.TemporaryDirectory(prefix="ummp-")
        return Path(self._scratch.name)

    def _target(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    def _make_folder(self, target: str) -> None:
        self._files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)

    @contextmanager
    def _using(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise ObjectNotFound(self.uri(path)) from None
        except OSError as error:
            raise StoreUnavailable(self.uri(path), error) from error
