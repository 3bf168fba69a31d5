"""Which files a store must hold: manifests, the files that they name, and the blobs that rows in those name."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ummp_assets.datasets.versions import DatasetVersion, list_datasets, read_shard_list
from ummp_assets.datasets.withdrawals import read_withdrawals
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table

__all__ = [
    "FOLDERS",
    "NamedFile",
    "files_of_manifest",
    "is_blob",
    "is_content",
    "list_manifests",
    "listed_blobs",
    "named_blobs",
    "named_files",
    "purged_shards",
]

FOLDERS = ("stages", "datasets")
"""Folders that hold the files of stages and of dataset versions."""

_BLOBS = "blobs/"
_DOWNLOADS = "stages/downloads/"
_STAGE_MANIFEST = re.compile(r"stages/[^/]+/[^/]+/manifest\.json")
_VERSION_MANIFEST = re.compile(r"datasets/[^/]+/v\d+/manifest\.json")


@dataclass(frozen=True, slots=True, order=True)
class NamedFile:
    """A file that a manifest names, or a blob, which is named by what it holds."""

    path: str
    sha256: str


def is_content(path: str) -> bool:
    """Return whether a path holds content, which never changes under one name, unlike manifests and hints."""
    return path.endswith(".parquet") or is_blob(path)


def is_blob(path: str) -> bool:
    """Return whether a path holds the raw bytes of a large object; its name ends in their sha256."""
    return path.startswith(_BLOBS)


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
    """Return every file that a manifest names; what takedowns purged need not be there and is left out.

    Parameters
    ----------
    skip_damaged:
        Leave out what damaged manifests name, instead of raising `ManifestCorrupt`.
    """
    found = _gather(store, files_of_manifest, skip_damaged)
    purged = purged_shards(store)
    return {file for file in found if file.path not in purged}


def purged_shards(store: ObjectStore) -> set[str]:
    """Return the paths of all shards that takedowns purged."""
    withdrawals = (item for dataset in list_datasets(store) for item in read_withdrawals(store, dataset))
    return {path for item in withdrawals if item.purged for path in item.shards}


def listed_blobs(store: ObjectStore) -> set[NamedFile]:
    """Return the blobs that are there, those included that no committed row names yet."""
    return {_blob(info.path) for info in store.list(_BLOBS[:-1])}


def named_blobs(store: ObjectStore, *, skip_damaged: bool = False) -> set[NamedFile]:
    """Return the blobs that rows of the stage `downloads` name.

    Parameters
    ----------
    skip_damaged:
        Leave out what damaged files name, instead of raising `ManifestCorrupt`.
    """
    return _gather(store, _blobs_of_manifest, skip_damaged)


def _gather(
    store: ObjectStore, read: Callable[[ObjectStore, str], Iterable[NamedFile]], skip_damaged: bool
) -> set[NamedFile]:
    found: set[NamedFile] = set()
    for path in list_manifests(store):
        try:
            found.update(read(store, path))
        except ManifestCorrupt:
            if not skip_damaged:
                raise
    return found


def _blobs_of_manifest(store: ObjectStore, path: str) -> Iterator[NamedFile]:
    if path.startswith(_DOWNLOADS):
        manifest = Manifest.from_json(store.read(path), store.uri(path))
        for rows in read_table(store, manifest, "samples", columns=["blob"], batch_rows=65_536):
            yield from (_blob(blob) for blob in rows.column("blob").drop_null().to_pylist())


def _blob(path: str) -> NamedFile:
    return NamedFile(path, path.removeprefix(_BLOBS))
