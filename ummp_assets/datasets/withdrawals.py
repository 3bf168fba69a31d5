"""Versions that a takedown withdrew: which shards hold what was taken down, and when those are purged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from ummp_assets.datasets.versions import dataset_path, list_datasets
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Withdrawal", "is_withdrawn", "purge_withdrawn", "put_withdrawal", "read_withdrawals"]

_FOLDER = "withdrawals"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What one batch of takedowns withdrew from one dataset.

    Parameters
    ----------
    takedown:
        Key of the batch of takedowns.
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

    def covers(self, version: int) -> bool:
        return any(first <= version < end for first, end in self.shards.values())


def put_withdrawal(store: ObjectStore, withdrawal: Withdrawal) -> None:
    """Write a withdrawal, replacing what stands for the same takedown."""
    store.write(_path(withdrawal), json.dumps(asdict(withdrawal), sort_keys=True, indent=1).encode() + b"\n")


def read_withdrawals(store: ObjectStore, dataset: str) -> list[Withdrawal]:
    """Return all withdrawals of a dataset, in order of their takedowns."""
    found = store.list(dataset_path(dataset, _FOLDER))
    return [Withdrawal(**json.loads(store.read(info.path))) for info in found]


def is_withdrawn(store: ObjectStore, dataset: str, version: int) -> Withdrawal | None:
    """Return the withdrawal that covers a version, or None."""
    return next((item for item in read_withdrawals(store, dataset) if item.covers(version)), None)


def purge_withdrawn(store: ObjectStore, now: datetime) -> list[str]:
    """Delete the shards of withdrawn versions whose time has come, and return their paths; a repeated call deletes
    nothing more."""
    deleted: list[str] = []
    for dataset in list_datasets(store):
        for item in read_withdrawals(store, dataset):
            if not item.purged and datetime.fromisoformat(item.purge_after) <= now:
                for path in sorted(item.shards):
                    store.delete(path)
                    deleted.append(path)
                put_withdrawal(store, replace(item, purged=True))
    return deleted


def _path(withdrawal: Withdrawal) -> str:
    return dataset_path(withdrawal.dataset, f"{_FOLDER}/{withdrawal.takedown}.json")
