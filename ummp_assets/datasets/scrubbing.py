"""Hashing every file against its manifest, and restoring what is damaged from a replica."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ummp_assets.datasets.named_files import (
    NamedFile,
    files_of_manifest,
    is_blob,
    list_manifests,
    listed_blobs,
    named_blobs,
    named_files,
)
from ummp_assets.datasets.receipts import is_whole_receipt, list_receipts
from ummp_assets.datasets.replication import copy_object, hash_object
from ummp_assets.datasets.restoring import erase_again, files_of_batch, restore_manifest, restored_batches
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.takedown_index import TakedownIndex, taken_down

__all__ = ["DamagedFile", "scrub"]

Progress = Callable[[int, int], None]
"""Called with how many files were looked at, and how many there are."""


@dataclass(frozen=True, slots=True, order=True)
class DamagedFile:
    """A file that is missing or not what was written, and whether it was restored from the replica."""

    path: str
    problem: str
    repaired: bool


def scrub(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    replica: ObjectStore | None = None,
    on_progress: Progress | None = None,
) -> list[DamagedFile]:
    """Read every manifest, hash every file that one names, blobs included, and check the seals of receipts; restore
    what is damaged where a replica has it whole.

    What changes meanwhile is looked at twice before it counts as damaged, so that runs may go on. What was taken down
    since the replica was made is erased from what it gives back.

    Returns
    -------
    The files that were missing or damaged, in order of their paths.

    Raises
    ------
    IndexUnavailable
        What was taken down cannot be told.
    """
    found = [
        *_damaged_receipts(store, replica),
        *_damaged_manifests(store, index, replica),
        *_missing_manifests(store, index, replica),
    ]
    files = sorted(_files(store) | listed_blobs(store))
    suspects = []
    for position, file in enumerate(files, 1):
        if _problem_of(store, file) is not None:
            suspects.append(file)
        if on_progress is not None:
            on_progress(position, len(files))
    found += _judge(store, index, replica, suspects)
    # Last: the files of the batch must be there.
    for batch in restored_batches(store):
        erase_again(store, index, settings, batch)
    return sorted(found)


def _files(store: ObjectStore) -> set[NamedFile]:
    return named_files(store, skip_damaged=True) | named_blobs(store, skip_damaged=True)


def _judge(
    store: ObjectStore, index: Index, replica: ObjectStore | None, suspects: list[NamedFile]
) -> Iterator[DamagedFile]:
    # A takedown, a purge or a new run of a stage may have replaced a file since it was listed.
    still_named = _files(store) | listed_blobs(store) if suspects else set()
    restored = []
    for file in suspects:
        problem = _problem_of(store, file)
        # A batch on its way may name what a takedown deleted: its clean stages refuse it.
        if file in still_named and problem is not None and not _is_forbidden(index, file):
            repaired = replica is not None and _problem_of(replica, file) is None
            if repaired and replica is not None:
                copy_object(replica, store, file.path)
                restored.append(file)
            yield DamagedFile(file.path, problem, repaired)
    named = _files(store) if restored else set()
    for file in restored:
        # Taken down between the look and the copy.
        if _is_forbidden(index, file) or not (is_blob(file.path) or file in named):
            store.delete(file.path)


def _is_forbidden(index: Index, file: NamedFile) -> bool:
    return is_blob(file.path) and bool(taken_down(index, sha256s=[file.sha256]))


def _damaged_receipts(store: ObjectStore, replica: ObjectStore | None) -> Iterator[DamagedFile]:
    there = list_receipts(store)
    for path in sorted({*there, *(list_receipts(replica) if replica is not None else ())}):
        if not is_whole_receipt(store, path):
            repaired = replica is not None and is_whole_receipt(replica, path)
            if repaired and replica is not None:
                copy_object(replica, store, path)
            yield DamagedFile(path, "its sha256 differs" if path in there else "missing", repaired)


def _damaged_manifests(store: ObjectStore, index: Index, replica: ObjectStore | None) -> Iterator[DamagedFile]:
    for path in list_manifests(store):
        problem = _problem_of_manifest(store, path)
        if problem is not None:
            yield DamagedFile(path, problem, _restored(store, index, replica, path))


def _missing_manifests(store: ObjectStore, index: Index, replica: ObjectStore | None) -> Iterator[DamagedFile]:
    """Restore manifests that only the replica has: none is ever deleted on purpose."""
    for path in list_manifests(replica) if replica is not None else ():
        if not store.exists(path) and _restored(store, index, replica, path):
            yield DamagedFile(path, "missing", repaired=True)


def _restored(store: ObjectStore, index: Index, replica: ObjectStore | None, path: str) -> bool:
    if replica is None or _problem_of_manifest(replica, path) is not None:
        return False
    if not TakedownIndex(index).is_empty() and not _can_be_erased(store, replica, path):
        return False
    restore_manifest(store, replica, path)
    return True


def _can_be_erased(store: ObjectStore, replica: ObjectStore, path: str) -> bool:
    """Return whether all files are whole, here or there, that must be read to erase what was taken down since."""
    others = files_of_batch(store, path)
    return all(
        _problem_of(store, file) is None or _problem_of(replica, file) is None
        for file in (*files_of_manifest(replica, path), *others)
    )


def _problem_of_manifest(store: ObjectStore, path: str) -> str | None:
    try:
        files_of_manifest(store, path)
    except ObjectNotFound:
        return "missing"
    except ManifestCorrupt as error:
        return str(error)
    return None


def _problem_of(store: ObjectStore, file: NamedFile) -> str | None:
    try:
        return None if hash_object(store, file.path) == file.sha256 else "its sha256 differs"
    except ObjectNotFound:
        return "missing"
