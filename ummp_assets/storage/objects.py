"""The object store: bytes under relative paths below one root.

Two implementations keep one contract (`ObjectStore`): a local folder, and every fsspec file system. What the rest of
UMMP relies on is small: a put is atomic (a reader sees the old object or the new one, never a part) and `create` is
put-if-absent.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ummp_assets.errors import InvalidInput, InvalidSettings
from ummp_assets.settings import Settings

__all__ = ["SCRATCH", "ObjectInfo", "ObjectStore", "check_path", "open_replica", "open_store"]

SCRATCH = ".scratch"
"""The one name directly below the root that no object may have: a local store keeps its temporary files there."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing shows it."""

    path: str
    byte_count: int
    modified_seconds: float
    """Time of the last put, Unix seconds."""


class ObjectStore(Protocol):
    """Bytes under relative, slash-separated paths.

    Every method raises `StoreUnavailable`, with the path and the cause, when the storage itself fails, and
    `InvalidInput` when the path would leave the root.
    """

    def read(self, path: str) -> bytes:
        """Return the whole object; raises `ObjectNotFound`."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return a seekable reader of the object; raises `ObjectNotFound`.

        Once open, it gives the object as it was or, where the object was replaced meanwhile, raises `OSError`: never
        a mixture.
        """
        ...

    def write(self, path: str, data: bytes) -> None:
        """Put the object atomically, replacing what was there."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Put the object if there is none; return whether this call put it. Of several callers exactly one gets
        True."""
        ...

    def upload(self, file: Path, path: str) -> None:
        """Move a local file into the store atomically; the local file is gone afterwards.

        Raises `InvalidInput` when there is no such file.
        """
        ...

    def exists(self, path: str) -> bool:
        """Return whether there is an object at the path."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects below a folder, in order of their paths; nothing when the folder does not exist."""
        ...

    def delete(self, path: str) -> None:
        """Remove the object; no error when there is none."""
        ...

    def uri(self, path: str = "") -> str:
        """Return the full address of a path, for people and for messages."""
        ...

    def scratch_directory(self) -> Path:
        """Return a local folder for files that `upload` will move, on the store's own file system where it has one."""
        ...


def check_path(path: str) -> str:
    """Return the path if it stays below the root, else raise `InvalidInput`."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or parts[0] == SCRATCH or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(
            f"{path!r} is no path inside a store: relative, with '/' between names, without '.' and '..', "
            f"not below {SCRATCH}"
        )
    return path


def open_store(settings: Settings) -> ObjectStore:
    """Return the store that the settings name: a local folder, or an fsspec URL such as s3://bucket/prefix.

    Raises `InvalidSettings` when no installed fsspec implementation knows the scheme, or a file stands where the folder
    should be.
    """
    return _open(settings.store_url, settings)


def open_replica(settings: Settings) -> ObjectStore | None:
    """Return the second copy of the store that the settings name, or None; raises as `open_store` and
    `InvalidSettings` when it is the store itself."""
    if settings.replica is None:
        return None
    replica, store = _open(settings.replica, settings), open_store(settings)
    if f"{replica.uri()}/".startswith(f"{store.uri()}/") or f"{store.uri()}/".startswith(f"{replica.uri()}/"):
        raise InvalidSettings(f"UMMP_REPLICA={settings.replica} lies in the store {store.uri()}, or around it")
    return replica


def _open(url: str, settings: Settings) -> ObjectStore:
    if "://" not in url or url.startswith("file://"):
        from ummp_assets.storage.local_store import LocalStore

        root = Path(url.removeprefix("file://")).expanduser()
        with suppress(PermissionError):  # what cannot even be looked at, its use tells with path and cause
            if root.is_file():
                # Read, it would look like an empty store.
                raise InvalidSettings(f"the store {url} is a file: UMMP_STORE and UMMP_REPLICA name folders or URLs")
        return LocalStore(root, fsync=settings.store_fsync)
    from ummp_assets.storage.fsspec_store import FsspecStore

    return FsspecStore(url)
