"""A store that counts what it is asked, and lets something happen before an object is created."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ummp_assets.storage.objects import ObjectInfo, ObjectStore

__all__ = ["CountingStore"]


class CountingStore:
    """Passes everything on to another store.

    Attributes
    ----------
    calls:
        Calls by method.
    before_create:
        Called once, before the next object is created.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        self.before_create: Callable[[], object] | None = None

    def read(self, path: str) -> bytes:
        self.calls["read"] += 1
        return self._store.read(path)

    def open(self, path: str) -> BinaryIO:
        self.calls["open"] += 1
        return self._store.open(path)

    def write(self, path: str, data: bytes) -> None:
        self.calls["write"] += 1
        self._store.write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        self.calls["create"] += 1
        if self.before_create:
            call, self.before_create = self.before_create, None
            call()
        return self._store.create(path, data)

    def upload(self, file: Path, path: str) -> None:
        self.calls["upload"] += 1
        self._store.upload(file, path)

    def exists(self, path: str) -> bool:
        self.calls["exists"] += 1
        return self._store.exists(path)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.calls["list"] += 1
        return self._store.list(prefix)

    def delete(self, path: str) -> None:
        self.calls["delete"] += 1
        self._store.delete(path)

    def uri(self, path: str = "") -> str:
        return self._store.uri(path)

    def scratch_directory(self) -> Path:
        return self._store.scratch_directory()
