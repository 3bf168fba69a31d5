"""Versions that a takedown withdrew: which shards hold what was taken down, and when those are purged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from ummp_assets.datasets.versions import dataset_path, list_datasets
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import find_manifest

__all__ = ["Withdrawal", "is_withdrawn", "purge_withdrawn", "put_withdrawal", "read_withdrawals"]

_FOLDER = "withdrawals"
_AGAIN = ".again"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What one batch of takedowns withdrew from one dataset.

    Parameters
    ----------
    takedown:
        Key of the batch of takedowns, or of the batch of requests that came upon their orders when its way ended; what
        is withdrawn once more stands beside it, under the key and `.again`.
    shards:
        By path, the half-open range of versions that hold the shard.
    purge_after:
        ISO 8601 time from which on the shards may be deleted.
    purged:
        Whether they are.
    """

    dataset: str
    takedown: str
    shards: Mapping[str, Sequence[int]]
    purge_after: str
    purged: bool = False

    @property
    def batch(self) -> str:
        """The key of the batch, whose receipt says what was taken away."""
        name = self.takedown
        while name.endswith(_AGAIN):
            name = name.removesuffix(_AGAIN)
        return name

    def covers(self, version: int) -> bool:
        return any(first <= version < end for first, end in self.shards.values())


def put_withdrawal(store: ObjectStore, withdrawal: Withdrawal) -> Withdrawal:
    """Add shards to what stands for the same takedown, and return that.

    A repeated call, which no longer finds shards that were purged, loses none.
    """
    try:
        earlier = _read(store, _path(withdrawal))
    except ObjectNotFound:
        _write(store, withdrawal)
        return withdrawal
    new = {path: versions for path, versions in withdrawal.shards.items() if path not in earlier.shards}
    if not new:
        return earlier
    if earlier.purged:
        # Beside it: what is purged need not be there, and these must.
        return put_withdrawal(store, replace(withdrawal, takedown=withdrawal.takedown + _AGAIN, shards=new))
    merged = replace(earlier, shards={**earlier.shards, **new})
    _write(store, merged)
    return merged


def read_withdrawals(store: ObjectStore, dataset: str) -> list[Withdrawal]:
    """Return all withdrawals of a dataset, in order of their takedowns."""
    found = store.list(dataset_path(dataset, _FOLDER))
    return [_read(store, info.path) for info in found]


def is_withdrawn(store: ObjectStore, dataset: str, version: int) -> Withdrawal | None:
    """Return the withdrawal that covers a version, or None."""
    return next((item for item in read_withdrawals(store, dataset) if item.covers(version)), None)


def purge_withdrawn(store: ObjectStore, now: datetime) -> list[str]:
    """Delete the shards of withdrawn versions whose time has come, and return their paths; a repeated call deletes
    nothing more.

    A shard that a stage still names stays until it is erased from there, since its other rows are read for that.
    """
    deleted: list[str] = []
    for dataset in list_datasets(store):
        for item in read_withdrawals(store, dataset):
            if not item.purged and datetime.fromisoformat(item.purge_after) <= now:
                free = [path for path in sorted(item.shards) if not _is_named(store, path)]
                for path in free:
                    store.delete(path)
                deleted += free
                # Unless the takedown has withdrawn more meanwhile.
                if len(free) == len(item.shards) and _read(store, _path(item)) == item:
                    _write(store, replace(item, purged=True))
    return deleted


def _is_named(store: ObjectStore, path: str) -> bool:
    """Return whether the stage in whose folder a shard stands names it."""
    folder, stage, batch, _ = path.split("/")
    manifest = find_manifest(store, stage, batch) if folder == "stages" else None
    return manifest is not None and any(path == entry.path for item in manifest.tables.values() for entry in item)


def _read(store: ObjectStore, path: str) -> Withdrawal:
    data = store.read(path)
    try:
        return Withdrawal(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise ManifestCorrupt(
            f"{store.uri(path)} says no more which versions a takedown withdrew: {error}. Put it back from a replica."
        ) from error


def _write(store: ObjectStore, withdrawal: Withdrawal) -> None:
    store.write(_path(withdrawal), json.dumps(asdict(withdrawal), sort_keys=True, indent=1).encode() + b"\n")


def _path(withdrawal: Withdrawal) -> str:
    return dataset_path(withdrawal.dataset, f"{_FOLDER}/{withdrawal.takedown}.json")
