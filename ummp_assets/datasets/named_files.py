"""Which files a store must hold: manifests, and the files that they name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ummp_assets.datasets.versions import DatasetVersion, list_datasets, read_shard_list
from ummp_assets.datasets.withdrawals import read_withdrawals
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest

__all__ = ["FOLDERS", "NamedFile", "files_of_manifest", "is_content", "list_manifests", "named_files"]

FOLDERS = ("stages", "datasets")
"""Folders that hold the files of stages and of dataset versions."""

_BLOBS = "blobs/"
_STAGE_MANIFEST = re.compile(r"stages/[^/]+/[^/]+/manifest\.json")
_VERSION_MANIFEST = re.compile(r"datasets/[^/]+/v\d+/manifest\.json")


@dataclass(frozen=True, slots=True, order=True)
class NamedFile:
    """A file that a manifest names, or a blob, which is named by what it holds."""

    path: str
    sha256: str


def is_content(path: str) -> bool:
    """Return whether a path holds content, which never changes under one name, unlike manifests and hints."""
    return path.endswith(".parquet") or path.startswith(_BLOBS)


def list_manifests(store: ObjectStore) -> Iterator[str]:
    """Yield the paths of all manifests of stages and versions."""
    for folder, pattern in zip(FOLDERS, (_STAGE_MANIFEST, _VERSION_MANIFEST), strict=True):
        yield from (info.path for info in store.list(folder) if pattern.fullmatch(info.path))


def files_of_manifest(store: ObjectStore, path: str) -> list[NamedFile]:
    """Return the files that a manifest names, its shard lists and their shards included.

    Raises
    ------
    ManifestCorrupt, UnsupportedFormat
        The manifest or a shard list is missing or damaged, or written by a newer UMMP.
    """
    data, address = store.read(path), store.uri(path)
    if _STAGE_MANIFEST.fullmatch(path):
        tables = Manifest.from_json(data, address).tables
        return [NamedFile(entry.path, entry.sha256) for entries in tables.values() for entry in entries]
    version = DatasetVersion.from_json(data, address)
    lists = [NamedFile(item.path, item.sha256) for item in version.shard_lists]
    shards = [shard for item in version.shard_lists for shard in read_shard_list(store, item)]
    return [*lists, *(NamedFile(shard.path, shard.sha256) for shard in (*shards, *version.shards))]


def named_files(store: ObjectStore, *, skip_damaged: bool = False) -> set[NamedFile]:
    """Return every file that must be there; what takedowns purged need not.

    Parameters
    ----------
    skip_damaged:
        Leave out what damaged manifests name, instead of raising `ManifestCorrupt`.
    """
    found: set[NamedFile] = set()
    for path in list_manifests(store):
        try:
            found.update(files_of_manifest(store, path))
        except ManifestCorrupt:
            if not skip_damaged:
                raise
    purged = {
        path
        for dataset in list_datasets(store)
        for item in read_withdrawals(store, dataset)
        if item.purged
        for path in item.shards
    }
    found = {file for file in found if file.path not in purged}
    return found | {NamedFile(info.path, info.path.removeprefix(_BLOBS)) for info in store.list(_BLOBS[:-1])}
