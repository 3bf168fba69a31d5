"""A second copy of the store under another root."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ummp_assets.datasets.named_files import (
    FOLDERS,
    files_of_manifest,
    is_content,
    list_manifests,
    listed_blobs,
    named_blobs,
    named_files,
)
from ummp_assets.datasets.receipts import erased_blobs, is_whole_receipt, list_receipts
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import hash_file

__all__ = ["copy_object", "hash_object", "replicate"]

_BLOCK_BYTES = 2**20
_MANIFEST = "manifest.json"


def replicate(
    store: ObjectStore, replica: ObjectStore, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Copy to a second root what it lacks, manifests after the files that they name; return the paths copied.

    Content never changes under one path; manifests and other small objects are compared. What is damaged here is not
    copied. What was taken down, purged or collected leaves the replica, too; a file that is missing here although a
    manifest names it stays there, to repair from.

    Parameters
    ----------
    on_progress:
        Called with how many objects were looked at, and how many there are.
    """
    copied = []
    digests = {file.path: file.sha256 for file in named_files(store, skip_damaged=True) | listed_blobs(store)}
    damaged = {path for path in list_manifests(store) if not _is_readable(store, path)}
    unsealed = {path for path in list_receipts(store) if not is_whole_receipt(store, path)}
    paths = [path for path in _in_order_of_need(store) if path not in damaged | unsealed]
    for position, path in enumerate(paths, 1):
        # Collected, purged or replaced since it was listed, the object is none any more.
        try:
            if not _is_there(store, replica, path) and copy_object(store, replica, path, digests.get(path)):
                copied.append(path)
        except ObjectNotFound:
            continue
        if on_progress is not None:
            on_progress(position, len(paths))
    if not damaged:
        # What an unreadable manifest names may be needed to repair from.
        _forget(store, replica)
    return copied


def copy_object(source: ObjectStore, target: ObjectStore, path: str, sha256: str | None = None) -> bool:
    """Copy an object, unless its hash is another one than is given; return whether it was copied.

    Raises `ObjectNotFound` when the source has none.
    """
    with TemporaryDirectory(dir=target.scratch_directory(), ignore_cleanup_errors=True) as folder:
        local = Path(folder) / "copy"
        with source.open(path) as opened, local.open("wb") as written:
            while block := opened.read(_BLOCK_BYTES):
                written.write(block)
        if sha256 is not None and hash_file(local) != sha256:
            return False
        target.upload(local, path)
    return True


def hash_object(store: ObjectStore, path: str) -> str:
    """Return the sha256 of an object, in hex; raises `ObjectNotFound`."""
    digest = hashlib.sha256()
    with store.open(path) as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _is_there(store: ObjectStore, replica: ObjectStore, path: str) -> bool:
    if not replica.exists(path):
        return False
    return is_content(path) or replica.read(path) == store.read(path)


def _is_readable(store: ObjectStore, path: str) -> bool:
    try:
        files_of_manifest(store, path)
    except ManifestCorrupt:
        return False
    return True


def _in_order_of_need(store: ObjectStore) -> list[str]:
    paths = [info.path for info in store.list()]
    return sorted(paths, key=lambda path: (not is_content(path), path.endswith(_MANIFEST), path))


def _forget(store: ObjectStore, replica: ObjectStore) -> None:
    named = {file.path for file in named_files(store)}
    kept = [info.path for folder in FOLDERS for info in replica.list(folder)]
    gone = [path for path in kept if path.endswith(".parquet") and path not in named]
    for path in [*gone, *_erased_blobs(store, replica)]:
        if not store.exists(path):
            replica.delete(path)


def _erased_blobs(store: ObjectStore, replica: ObjectStore) -> list[str]:
    """Return the blobs that only the replica has and that no row names, or that a receipt says are erased.

    A receipt may lack what a call erased that was killed; a row may name what a takedown erased while its batch is on
    its way. What is lost without either is kept.
    """
    missing = {file.path for file in listed_blobs(replica) - listed_blobs(store)}
    if not missing:
        # As on most nights: the rows of all batches are read for those only.
        return []
    try:
        named = {file.path for file in named_blobs(store)}
    except ManifestCorrupt:
        # What an unreadable file names may be needed to repair from.
        named = missing
    return sorted(missing - (named - erased_blobs(store)))
