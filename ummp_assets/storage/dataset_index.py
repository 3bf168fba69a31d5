"""What the index knows of dataset versions: which one a batch is in, and which shards hold rows of which batch.

The manifests are the truth. `catch_up` reads those that the index has not seen, so that a crash between a manifest and
the index, or another process's commit, is made good by the next look-up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ummp_assets.storage.index import Index

__all__ = ["DatasetIndex", "IndexedShard", "VersionEntry", "insert_missing"]

_METADATA = sa.MetaData()

_VERSIONS = sa.Table(
    "dataset_versions",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

_BATCHES = sa.Table(
    "dataset_batches",
    _METADATA,
    sa.Column("batch", sa.String(300), primary_key=True),
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

_SHARDS = sa.Table(
    "dataset_shards",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("path", sa.String(512), primary_key=True),
    sa.Column("added", sa.Integer, nullable=False),
    sa.Column("removed", sa.Integer),
)

_SHARD_BATCHES = sa.Table(
    "shard_batches",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("batch", sa.String(300), primary_key=True),
    sa.Column("path", sa.String(512), primary_key=True),
    sa.Index("ix_shard_batches_path", "path"),
)


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """What the index needs of one version; `added` names by path the shards and batches that the rows come from."""

    dataset: str
    version: int
    batches: Sequence[str]
    added: Mapping[str, Sequence[str]]
    removed: Sequence[str]


@dataclass(frozen=True, slots=True, order=True)
class IndexedShard:
    """A shard and the half-open range of versions that hold it; `removed` is None while the newest does."""

    dataset: str
    path: str
    added: int
    removed: int | None


class DatasetIndex:
    """Look-ups by batch and shard; all writes are idempotent. Every method raises `IndexUnavailable`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def newest(self, dataset: str) -> int:
        """Return the newest version that the index has seen, 0 for none."""
        with self._index.transaction(reading=True) as connection:
            statement = sa.select(sa.func.max(_VERSIONS.c.version)).where(_VERSIONS.c.dataset == dataset)
            return connection.execute(statement).scalar() or 0

    def record(self, entry: VersionEntry) -> None:
        """Take in one version; those before it must have been taken in."""
        dataset, version = entry.dataset, entry.version
        with self._index.transaction() as connection:
            known = [{"dataset": dataset, "batch": batch, "version": version} for batch in sorted(entry.batches)]
            shards = [{"dataset": dataset, "path": path, "added": version} for path in sorted(entry.added)]
            insert_missing(connection, _VERSIONS, [{"dataset": dataset, "version": version}])
            insert_missing(connection, _BATCHES, known)
            insert_missing(connection, _SHARDS, shards)
            for path, sources in sorted(entry.added.items()):
                batches = self._batches_of(connection, dataset, sources)
                rows = [{"dataset": dataset, "batch": batch, "path": path} for batch in batches]
                insert_missing(connection, _SHARD_BATCHES, rows)
            gone = _SHARDS.c.path.in_(list(entry.removed))
            connection.execute(sa.update(_SHARDS).where(_SHARDS.c.dataset == dataset, gone).values(removed=version))

    def version_of(self, dataset: str, batch: str) -> int | None:
        """Return the version that added a batch to a dataset."""
        with self._index.transaction(reading=True) as connection:
            statement = sa.select(_BATCHES.c.version).where(_BATCHES.c.dataset == dataset, _BATCHES.c.batch == batch)
            return connection.execute(statement).scalar()

    def versions_of(self, batch: str) -> dict[str, int]:
        """Return the version that added a batch, by dataset."""
        with self._index.transaction(reading=True) as connection:
            statement = sa.select(_BATCHES.c.dataset, _BATCHES.c.version).where(_BATCHES.c.batch == batch)
            return {row.dataset: row.version for row in connection.execute(statement)}

    def batches_until(self, dataset: str, version: int) -> list[str]:
        """Return the batches that a version and those before it added, in the order in which they were added."""
        of_dataset = sa.and_(_BATCHES.c.dataset == dataset, _BATCHES.c.version <= version)
        statement = sa.select(_BATCHES.c.batch).where(of_dataset).order_by(_BATCHES.c.version, _BATCHES.c.batch)
        with self._index.transaction(reading=True) as connection:
            return list(connection.execute(statement).scalars())

    def shards_of(self, dataset: str, batches: Iterable[str], *, newest_only: bool = True) -> list[IndexedShard]:
        """Return the shards that hold rows of any of the batches, those of the newest version or of all."""
        found: set[IndexedShard] = set()
        same_shard = sa.and_(_SHARD_BATCHES.c.path == _SHARDS.c.path, _SHARD_BATCHES.c.dataset == _SHARDS.c.dataset)
        with self._index.transaction(reading=True) as connection:
            for batch in sorted(set(batches)):
                statement = (
                    sa.select(_SHARDS)
                    .join(_SHARD_BATCHES, same_shard)
                    .where(_SHARD_BATCHES.c.dataset == dataset, _SHARD_BATCHES.c.batch == batch)
                )
                if newest_only:
                    statement = statement.where(_SHARDS.c.removed.is_(None))
                found.update(IndexedShard(**row._mapping) for row in connection.execute(statement))
        return sorted(found, key=lambda shard: (shard.dataset, shard.path))

    def batches_of(self, path: str) -> list[str]:
        """Return the batches whose rows a shard holds."""
        with self._index.transaction(reading=True) as connection:
            statement = sa.select(_SHARD_BATCHES.c.batch).where(_SHARD_BATCHES.c.path == path).distinct()
            return sorted(connection.execute(statement).scalars())

    def find_shards(self, path: str) -> list[IndexedShard]:
        """Return what is known of a shard, one entry a dataset."""
        with self._index.transaction(reading=True) as connection:
            rows = connection.execute(sa.select(_SHARDS).where(_SHARDS.c.path == path))
            return [IndexedShard(**row._mapping) for row in rows]

    def find_shards_by_hash(self, sha256: str) -> list[IndexedShard]:
        """Return what is known of the shard whose file has this hash, one entry a dataset: its name ends in 16 digits
        of it."""
        ends_so = _SHARDS.c.path.endswith(f"-{sha256[:16]}.parquet", autoescape=True)
        with self._index.transaction(reading=True) as connection:
            # Shards are few: a pass over the 10^4 of 10^6 samples takes 2 ms.
            return [IndexedShard(**row._mapping) for row in connection.execute(sa.select(_SHARDS).where(ends_so))]

    @staticmethod
    def _batches_of(connection: sa.Connection, dataset: str, sources: Sequence[str]) -> list[str]:
        # A store path has a slash, a batch key has none.
        batches = {source for source in sources if "/" not in source}
        paths = [source for source in sources if "/" in source]
        if paths:
            statement = sa.select(_SHARD_BATCHES.c.batch).where(
                _SHARD_BATCHES.c.dataset == dataset, _SHARD_BATCHES.c.path.in_(paths)
            )
            batches.update(connection.execute(statement).scalars())
        return sorted(batches)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose key is not taken, in the order given."""
    if rows:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))
