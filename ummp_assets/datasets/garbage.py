"""Collecting files of attempts that were killed, replaced or lost a race: no manifest names them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import PurePosixPath

from ummp_assets.datasets.named_files import FOLDERS, named_files
from ummp_assets.storage.objects import ObjectInfo, ObjectStore

__all__ = ["collect_garbage", "find_garbage"]

_ONE_DAY = timedelta(days=1)


def find_garbage(store: ObjectStore, now: datetime, *, safety_age: timedelta = _ONE_DAY) -> list[ObjectInfo]:
    """Return the files of stages and datasets that no manifest names and that are older than the safety age.

    A younger one may belong to a run that has yet to put its manifest. Blobs are none: they are named by what they
    hold, and the next attempt uses them.

    Parameters
    ----------
    safety_age:
        It must exceed the longest run.

    Raises
    ------
    ManifestCorrupt
        A manifest cannot be read: what it names cannot be told from garbage. `ummp datasets scrub` says more.
    """
    # Listed first: what a run writes and names after this moment is not in the list.
    candidates = list(_old_files(store, now - safety_age))
    named = {file.path for file in named_files(store)}
    return [info for info in candidates if info.path not in named]


def collect_garbage(store: ObjectStore, now: datetime, *, safety_age: timedelta = _ONE_DAY) -> list[str]:
    """Delete what `find_garbage` finds, and return the paths; raises as that does."""
    deleted = []
    # Folder by folder, in order of the paths: looked at once, right before its files go.
    for folder, infos in groupby(find_garbage(store, now, safety_age=safety_age), _folder_of):
        # Names derive from content: a run that writes the same file again right now has made it young.
        unchanged = set(store.list(folder))
        for info in infos:
            if info in unchanged:
                store.delete(info.path)
                deleted.append(info.path)
    return deleted


def _folder_of(info: ObjectInfo) -> str:
    return str(PurePosixPath(info.path).parent)


def _old_files(store: ObjectStore, limit: datetime) -> Iterator[ObjectInfo]:
    for folder in FOLDERS:
        for info in store.list(folder):
            if info.path.endswith(".parquet") and info.modified_seconds < limit.timestamp():
                yield info
