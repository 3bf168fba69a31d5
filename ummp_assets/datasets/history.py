"""The line of a dataset's versions: adding the next one against other committers, and keeping the index up with it."""

import random
import time
from collections.abc import Callable

from ummp_assets.datasets.versions import (
    DatasetVersion,
    create_version,
    latest_version,
    read_version,
    remember_latest,
)
from ummp_assets.errors import CommitConflict, ManifestCorrupt
from ummp_assets.storage.dataset_index import DatasetIndex, VersionEntry
from ummp_assets.storage.objects import ObjectStore

__all__ = ["catch_up", "put_next_version"]

_MAX_ATTEMPTS = 200
_MAX_PAUSE_SECONDS = 0.25


def put_next_version(
    store: ObjectStore,
    known: DatasetIndex,
    dataset: str,
    propose: Callable[[DatasetVersion | None], DatasetVersion | None],
) -> DatasetVersion | None:
    """Commit what `propose` makes of the newest version, on whatever version is the newest when it succeeds.

    Optimistic: of several committers with one parent exactly one puts the next number, the others propose again on
    top of it, so that none loses another's shards.

    Parameters
    ----------
    propose:
        Returns the next version for a parent (None: the dataset is new), or None when the parent already holds it.

    Returns
    -------
    The version that was put, or None.

    Raises
    ------
    CommitConflict
        Other committers were first 200 times in a row.
    ManifestCorrupt
        A file of the newest version is missing or damaged.
    """
    for attempt in range(_MAX_ATTEMPTS):
        newest = catch_up(store, known, dataset)
        try:
            version = propose(read_version(store, dataset, newest) if newest else None)
        except ManifestCorrupt:
            # On top of this parent a takedown may have deleted what was to be read of it.
            if latest_version(store, dataset, newest) == newest:
                raise
            continue
        if version is None:
            return None
        if create_version(store, version):
            remember_latest(store, dataset, version.version)
            known.record(_entry(version))
            return version
        # Jitter only spreads the committers in time, it leaves no trace in what is written.
        time.sleep(random.uniform(0, _MAX_PAUSE_SECONDS * min(1.0, attempt / 10)))  # noqa: S311
    raise CommitConflict(
        f"other committers of dataset {dataset} were first {_MAX_ATTEMPTS} times in a row; the next try goes on"
    )


def catch_up(store: ObjectStore, known: DatasetIndex, dataset: str) -> int:
    """Take versions into the index that it has not seen, and return the newest number, 0 when there is none."""
    seen = known.newest(dataset)
    newest = latest_version(store, dataset, seen)
    for number in range(seen + 1, newest + 1):
        known.record(_entry(read_version(store, dataset, number)))
    return newest


def _entry(version: DatasetVersion) -> VersionEntry:
    return VersionEntry(
        version.dataset, version.version, version.added_batches, version.added_shards, version.removed_shards
    )
