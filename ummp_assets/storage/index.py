"""The index: look-ups across batches, kept in any database that SQLAlchemy speaks (SQLite by default, PostgreSQL at
scale).

It answers which sample owns a content and which samples and URIs are known or taken down. It holds nothing that the
manifests and topics do not: it can be rebuilt from them. All writes are idempotent, so that a repeated batch changes
nothing.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ummp_assets.errors import IndexUnavailable, InvalidSettings
from ummp_assets.settings import Settings
from ummp_assets.storage.exclusion import exclusive

__all__ = ["Index", "SampleEntry", "SqlIndex", "open_index"]

_T = TypeVar("_T")

# SQLite allows 32,766 variables in a statement; the widest row here has 7.
_ROWS_PER_STATEMENT = 2_000
_WAL_SECONDS = 30.0

# Any number that no other user of the same database locks.
_TABLES_LOCK = 0x756D6D70


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """What the index knows of a sample: where it came from and what became of it."""

    sample_id: str
    dataset: str
    modality: str
    batch: str
    uri: str
    sha256: str | None
    outcome: str
    reason: str | None


class Index(Protocol):
    """Look-ups across batches. Every method raises `IndexUnavailable` when the database does not answer."""

    def claim(self, dataset: str, kind: str, claims: Sequence[tuple[str, str]]) -> list[str]:
        """Make each sample the owner of a content unless it has one; return the owners.

        Parameters
        ----------
        kind:
            What the digests are of, e.g. `text` or `image`.
        claims:
            Pairs of digest and sample id. Within a call the first pair of a digest wins; between calls the first call.

        Returns
        -------
        The owner's sample id for each claim, in the order given. A repeated call gives the same answer.
        """
        ...

    def release(self, dataset: str, kind: str, sample_ids: Iterable[str]) -> None:
        """Make samples no longer the owners of their contents: the next claim of each owns it."""
        ...

    def record_samples(self, entries: Iterable[SampleEntry]) -> None:
        """Put entries, replacing those with the same sample id."""
        ...

    def find_samples(
        self, *, sample_ids: Sequence[str] = (), uris: Sequence[str] = (), sha256s: Sequence[str] = ()
    ) -> list[SampleEntry]:
        """Return the samples that have one of the ids, URIs or raw hashes, in order of their ids."""
        ...

    def make_tables(self, metadata: sa.MetaData) -> None:
        """Make the tables that are missing, for look-ups that live in files of their own."""
        ...

    def transaction(self, *, reading: bool = False) -> AbstractContextManager[sa.Connection]:
        """Open a transaction, for look-ups that live in files of their own; with `reading`, one that never writes."""
        ...

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Keep everybody else who shares the index out of blocks with this name; waits until nobody is in one."""
        ...

    def ping(self) -> None:
        """Ask the database for an answer."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


_METADATA = sa.MetaData()

_CONTENTS = sa.Table(
    "contents",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("sample_id", sa.Text, nullable=False),
)

_SAMPLES = sa.Table(
    "samples",
    _METADATA,
    sa.Column("sample_id", sa.String, primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("batch", sa.String(128), nullable=False, index=True),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64)),
    # PostgreSQL's default index refuses values above 2,704 bytes, and signed URIs are longer.
    sa.Index("ix_samples_uri", "uri", postgresql_using="hash"),
)


class SqlIndex:
    """`Index` over SQLAlchemy; safe for several processes at once."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
            self._address = parsed.render_as_string(hide_password=True)
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise InvalidSettings(f"UMMP_INDEX={self._address}: only sqlite and postgresql are supported")
            self._engine = _make_engine(parsed)
        except (sa.exc.ArgumentError, ImportError) as error:
            # Without the value: it may hold a password.
            raise InvalidSettings(f"UMMP_INDEX: {error}") from error
        except OSError as error:
            raise IndexUnavailable(
                f"the index at {self._address} cannot be made: {error}. Check UMMP_INDEX."
            ) from error
        # Made once: it is as much work as a transaction.
        self._reading_engine = self._engine.execution_options(reading=True)
        self._insert = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        self._made: set[sa.MetaData] = set()
        self.make_tables(_METADATA)

    def claim(self, dataset: str, kind: str, claims: Sequence[tuple[str, str]]) -> list[str]:
        wanted: dict[str, str] = {}
        for digest, sample_id in claims:
            wanted.setdefault(digest, sample_id)
        owners: dict[str, str] = {}
        for chunk in _batched(sorted(wanted.items())):
            # In order of the key, here and below: writers that lock the same rows in other orders deadlock.
            rows = [{"dataset": dataset, "kind": kind, "digest": digest, "sample_id": owner} for digest, owner in chunk]
            with self.transaction() as connection:
                connection.execute(self._insert(_CONTENTS).on_conflict_do_nothing(), rows)
                found = connection.execute(
                    sa.select(_CONTENTS.c.digest, _CONTENTS.c.sample_id).where(
                        _CONTENTS.c.dataset == dataset,
                        _CONTENTS.c.kind == kind,
                        _CONTENTS.c.digest.in_([digest for digest, _ in chunk]),
                    )
                )
                owners.update((digest, owner) for digest, owner in found)
        return [owners[digest] for digest, _ in claims]

    def release(self, dataset: str, kind: str, sample_ids: Iterable[str]) -> None:
        for chunk in _batched(sorted(sample_ids)):
            with self.transaction() as connection:
                connection.execute(
                    sa.delete(_CONTENTS).where(
                        _CONTENTS.c.dataset == dataset, _CONTENTS.c.kind == kind, _CONTENTS.c.sample_id.in_(chunk)
                    )
                )

    def record_samples(self, entries: Iterable[SampleEntry]) -> None:
        for chunk in _batched(entries):
            # PostgreSQL refuses to replace one row twice in a statement.
            latest = {entry.sample_id: entry for entry in chunk}
            statement = self._insert(_SAMPLES)
            columns = {
                column.name: statement.excluded[column.name] for column in _SAMPLES.columns if not column.primary_key
            }
            with self.transaction() as connection:
                connection.execute(
                    statement.on_conflict_do_update(index_elements=[_SAMPLES.c.sample_id], set_=columns),
                    [_row(latest[sample_id]) for sample_id in sorted(latest)],
                )

    def find_samples(
        self, *, sample_ids: Sequence[str] = (), uris: Sequence[str] = (), sha256s: Sequence[str] = ()
    ) -> list[SampleEntry]:
        found: dict[str, SampleEntry] = {}
        for column, values in (
            (_SAMPLES.c.sample_id, sample_ids),
            (_SAMPLES.c.uri, uris),
            (_SAMPLES.c.sha256, sha256s),
        ):
            for chunk in _batched(values):
                with self.transaction(reading=True) as connection:
                    for row in connection.execute(sa.select(_SAMPLES).where(column.in_(chunk))):
                        found[row.sample_id] = SampleEntry(**row._mapping)
        return [found[sample_id] for sample_id in sorted(found)]

    def ping(self) -> None:
        with self.transaction(reading=True) as connection:
            connection.execute(sa.select(1))

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        with self._answering(), exclusive(self._engine, name):
            yield

    def close(self) -> None:
        self._engine.dispose()

    def make_tables(self, metadata: sa.MetaData) -> None:
        if metadata in self._made:
            return
        with self.transaction() as connection:
            if self._engine.dialect.name == "postgresql":
                # Its "if not exists" is no protection against another process that makes the same table right now.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TABLES_LOCK)))
            for table in metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        self._made.add(metadata)

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[sa.Connection]:
        engine = self._reading_engine if reading else self._engine
        with self._answering(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn the errors of a database that does not answer into `IndexUnavailable`."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise IndexUnavailable(
                f"the index at {self._address} did not answer: {cause}. Check UMMP_INDEX."
            ) from error


def _row(entry: SampleEntry) -> dict[str, Any]:
    # PostgreSQL's texts cannot hold NUL, which a refused URI may contain.
    return {**asdict(entry), "uri": entry.uri.replace("\0", "\ufffd")}


def _batched(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _ROWS_PER_STATEMENT)):
        yield chunk


def open_index(settings: Settings) -> Index:
    """Return the index that the settings name, with its tables made; raises `InvalidSettings` and
    `IndexUnavailable`."""
    return SqlIndex(settings.index_url)


def _make_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 60})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Transactions are begun below, as writers: a reader that turns writer in the middle can't wait for the lock.
        connection.isolation_level = None
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _switch_to_wal(connection: Any) -> None:
    """Switch a new database to write-ahead logging. SQLite's own time-out does not hold for this statement."""
    deadline = time.monotonic() + _WAL_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
