"""Hashing every file against its manifest, and restoring what is damaged from a replica."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ummp_assets.datasets.named_files import NamedFile, files_of_manifest, list_manifests, named_files
from ummp_assets.datasets.replication import copy_object, hash_object
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore

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
    store: ObjectStore, replica: ObjectStore | None = None, on_progress: Progress | None = None
) -> list[DamagedFile]:
    """Read every manifest and hash every file that one names; restore what is damaged where a replica has it whole.

    What changes meanwhile is looked at twice before it counts as damaged, so that runs may go on.

    Returns
    -------
    The files that were missing or damaged, in order of their paths.
    """
    found = [*_damaged_manifests(store, replica), *_missing_manifests(store, replica)]
    files = sorted(named_files(store, skip_damaged=True))
    suspects = []
    for position, file in enumerate(files, 1):
        if _problem_of(store, file) is not None:
            suspects.append(file)
        if on_progress is not None:
            on_progress(position, len(files))
    return sorted([*found, *_judge(store, replica, suspects)])


def _judge(store: ObjectStore, replica: ObjectStore | None, suspects: list[NamedFile]) -> Iterator[DamagedFile]:
    # A takedown, a purge or a new run of a stage may have replaced a file since it was listed.
    still_named = named_files(store, skip_damaged=True) if suspects else set()
    for file in suspects:
        problem = _problem_of(store, file)
        if file in still_named and problem is not None:
            repaired = replica is not None and _problem_of(replica, file) is None
            if repaired and replica is not None:
                copy_object(replica, store, file.path)
            yield DamagedFile(file.path, problem, repaired)


def _damaged_manifests(store: ObjectStore, replica: ObjectStore | None) -> Iterator[DamagedFile]:
    for path in list_manifests(store):
        problem = _problem_of_manifest(store, path)
        if problem is not None:
            repaired = replica is not None and _problem_of_manifest(replica, path) is None
            if repaired and replica is not None:
                for file in files_of_manifest(replica, path):
                    if file.path.endswith(".json"):
                        copy_object(replica, store, file.path)
                copy_object(replica, store, path)
            yield DamagedFile(path, problem, repaired)


def _missing_manifests(store: ObjectStore, replica: ObjectStore | None) -> Iterator[DamagedFile]:
    """Restore manifests that only the replica has: none is ever deleted on purpose."""
    for path in list_manifests(replica) if replica is not None else ():
        if replica is not None and not store.exists(path) and _problem_of_manifest(replica, path) is None:
            copy_object(replica, store, path)
            yield DamagedFile(path, "missing", repaired=True)


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
