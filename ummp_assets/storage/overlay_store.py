"""A store seen through another: writes go to a scratch store, reads fall through to the base unless it is hidden."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ummp_assets.errors import ObjectNotFound
from ummp_assets.storage.objects import ObjectInfo, ObjectStore

__all__ = ["OverlayStore"]


class OverlayStore:
    """`ObjectStore` that never changes its base.

    Parameters
    ----------
    hidden:
        Prefixes of paths that are taken from the scratch store only, as if the base had none.
    """

    def __init__(self, base: ObjectStore, scratch: ObjectStore, hidden: Sequence[str]) -> None:
        self._base, self._scratch, self._hidden = base, scratch, tuple(hidden)
        self._deleted: set[str] = set()

    def read(self, path: str) -> bytes:
        return self._holder(path).read(path)

    def open(self, path: str) -> BinaryIO:
        return self._holder(path).open(path)

    def write(self, path: str, data: bytes) -> None:
        self._deleted.discard(path)
        self._scratch.write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        return not self.exists(path) and self._scratch.create(path, data)

    def upload(self, file: Path, path: str) -> None:
        self._deleted.discard(path)
        self._scratch.upload(file, path)

    def exists(self, path: str) -> bool:
        return self._scratch.exists(path) or (self._shows(path) and self._base.exists(path))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        mine = {info.path: info for info in self._scratch.list(prefix)}
        below = {info.path: info for info in self._base.list(prefix) if self._shows(info.path)}
        found = {**below, **mine}
        return iter([found[path] for path in sorted(found)])

    def delete(self, path: str) -> None:
        self._deleted.add(path)
        self._scratch.delete(path)

    def uri(self, path: str = "") -> str:
        return self._scratch.uri(path) if self._scratch.exists(path) or not path else self._base.uri(path)

    def scratch_directory(self) -> Path:
        return self._scratch.scratch_directory()

    def _shows(self, path: str) -> bool:
        return path not in self._deleted and not path.startswith(self._hidden)

    def _holder(self, path: str) -> ObjectStore:
        if self._scratch.exists(path):
            return self._scratch
        if self._shows(path):
            return self._base
        raise ObjectNotFound(self._scratch.uri(path))
