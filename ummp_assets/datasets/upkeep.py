"""Keeping the store in order: garbage, damage and replicas. Every step is idempotent and safe while runs write."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from ummp_assets.datasets.versions import latest_version, list_datasets, read_shards, read_version
from ummp_assets.datasets.withdrawals import read_withdrawals
from ummp_assets.errors import ObjectNotFound
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest

__all__ = ["DamagedFile", "collect_garbage", "replicate", "scrub"]

_BLOCK_BYTES = 2**20
_STAGES = "stages"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file that is missing or not what was written, and whether it was restored from the replica."""

    path: str
    problem: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """A file that a manifest names."""

    path: str
    sha256: str


def collect_garbage(store: ObjectStore, now: datetime, *, safety_age: timedelta = timedelta(days=1)) -> list[str]:
    """Delete files of stages and datasets that no manifest names, and return their paths.

    They are left by attempts that were killed, replaced or lost a race. A younger file may belong to a run that has yet
    to put its manifest.

    Parameters
    ----------
    safety_age:
        Files younger than this are never touched. It must exceed the longest run.
    """
    # Listed first: what a run writes and names after this moment is not in the list.
    limit = (now - safety_age).timestamp()
    candidates = [
        info.path
        for folder in (_STAGES, "datasets")
        for info in store.list(folder)
        if info.path.endswith(".parquet") and info.modified_seconds < limit
    ]
    named = {file.path for file in _named_files(store)}
    garbage = [path for path in candidates if path not in named]
    for path in garbage:
        store.delete(path)
    return garbage


def scrub(store: ObjectStore, replica: ObjectStore | None = None) -> list[DamagedFile]:
    """Hash every file that a manifest names, and restore the damaged ones from the replica where it has them whole.

    Returns
    -------
    The files that were missing or damaged, in order of their paths.
    """
    found = []
    for file in sorted(set(_named_files(store)), key=lambda file: file.path):
        problem = _problem_of(store, file)
        if problem is not None:
            repaired = replica is not None and _problem_of(replica, file) is None
            if repaired and replica is not None:
                _copy(replica, store, file.path)
            found.append(DamagedFile(file.path, problem, repaired))
    return found


def replicate(store: ObjectStore, replica: ObjectStore) -> list[str]:
    """Copy to a second root what it lacks, manifests after the files that they name; return the paths copied.

    Files never change under one path, but for manifests, which are compared. What was taken down, purged or collected
    leaves the replica, too; a file that is missing here although a manifest names it stays there, to repair from.
    """
    copied = []
    for path in _in_order_of_need(store):
        is_manifest = not path.endswith(".parquet")
        if replica.exists(path) and not (is_manifest and replica.read(path) != store.read(path)):
            continue
        try:
            _copy(store, replica, path)
        except ObjectNotFound:
            # Collected, purged or replaced since it was listed.
            continue
        copied.append(path)
    _forget(store, replica)
    return copied


def _forget(store: ObjectStore, replica: ObjectStore) -> None:
    named = {file.path for file in _named_files(store)}
    kept = [info.path for folder in (_STAGES, "datasets") for info in replica.list(folder)]
    gone = [path for path in kept if path.endswith(".parquet") and path not in named]
    for path in [*gone, *_erased_blobs(store)]:
        if not store.exists(path):
            replica.delete(path)


def _erased_blobs(store: ObjectStore) -> Iterator[str]:
    for info in store.list("takedowns"):
        for item in json.loads(store.read(info.path))["erased"]:
            yield from item["blobs"]


def _in_order_of_need(store: ObjectStore) -> list[str]:
    paths = [info.path for info in store.list()]
    return sorted(paths, key=lambda path: (not path.endswith(".parquet"), path.endswith(_MANIFEST), path))


def _named_files(store: ObjectStore) -> Iterator[_Named]:
    for info in store.list(_STAGES):
        if info.path.endswith(f"/{_MANIFEST}"):
            manifest = Manifest.from_json(store.read(info.path), store.uri(info.path))
            for entries in manifest.tables.values():
                yield from (_Named(entry.path, entry.sha256) for entry in entries)
    for dataset in list_datasets(store):
        yield from _shards_of(store, dataset)
    # A blob is named by what it holds.
    yield from (_Named(info.path, info.path.removeprefix("blobs/")) for info in store.list("blobs"))


def _shards_of(store: ObjectStore, dataset: str) -> Iterable[_Named]:
    purged = {path for item in read_withdrawals(store, dataset) if item.purged for path in item.shards}
    found: dict[str, _Named] = {}
    for number in range(1, latest_version(store, dataset) + 1):
        for shard in read_shards(store, read_version(store, dataset, number)):
            if shard.path not in purged:
                found[shard.path] = _Named(shard.path, shard.sha256)
    return found.values()


def _problem_of(store: ObjectStore, file: _Named) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.open(file.path) as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    except ObjectNotFound:
        return "missing"
    return None if digest.hexdigest() == file.sha256 else "its sha256 differs"


def _copy(source: ObjectStore, target: ObjectStore, path: str) -> None:
    with TemporaryDirectory(dir=target.scratch_directory(), ignore_cleanup_errors=True) as folder:
        local = Path(folder) / "copy"
        with source.open(path) as opened, local.open("wb") as written:
            while block := opened.read(_BLOCK_BYTES):
                written.write(block)
        target.upload(local, path)
