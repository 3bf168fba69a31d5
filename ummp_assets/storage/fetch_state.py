"""What fetching remembers across batches and shares between the runs of a deployment, in the index's database.

Four look-ups: where the bytes of a URI stand and how to ask whether they changed; what a host's robots.txt said; which
hosts rest after failures or on their own request; and how many connections each running fetch may have to a host.
All of it can be lost: the next fetches ask again. Times are Unix seconds.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ummp_assets.storage.index import Index

__all__ = [
    "LEASE_SECONDS",
    "RENEW_SECONDS",
    "STARVED_SECONDS",
    "FetchState",
    "RestingHost",
    "StoredFetch",
    "StoredRobots",
]

LEASE_SECONDS = 20.0
"""A share of a host's connections lasts so long without renewal, which is what a killed run costs the others."""
RENEW_SECONDS = 5.0
STARVED_SECONDS = 0.5
"""While a host's whole budget is taken by other runs, it is asked for again this often."""

_T = TypeVar("_T")

_ROWS_PER_STATEMENT = 1_000

# Any number that no other user of the same database locks.
_LEASES_LOCK = 0x756D6C73

_METADATA = sa.MetaData()

_FETCHES = sa.Table(
    "fetches",
    _METADATA,
    sa.Column("uri_sha256", sa.String(64), primary_key=True),
    sa.Column("etag", sa.Text),
    sa.Column("last_modified", sa.Text),
    sa.Column("media_type", sa.Text),
    sa.Column("final_uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("byte_count", sa.BigInteger, nullable=False),
    sa.Column("batch", sa.String(128), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("blob", sa.Text),
)

_ROBOTS = sa.Table(
    "robots",
    _METADATA,
    sa.Column("origin", sa.String(300), primary_key=True),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("fetched_at", sa.Double, nullable=False),
)

_RESTING = sa.Table(
    "resting_hosts",
    _METADATA,
    sa.Column("origin", sa.String(300), primary_key=True),
    sa.Column("until", sa.Double, nullable=False),
    sa.Column("failing", sa.Boolean, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
)

_LEASES = sa.Table(
    "host_leases",
    _METADATA,
    sa.Column("origin", sa.String(300), primary_key=True),
    sa.Column("holder", sa.String(64), primary_key=True),
    sa.Column("connections", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
)


class StoredFetch(NamedTuple):
    """Where the bytes of a URI stand since they were last fetched, and their validators.

    `row` is the row's number in table `samples` of the stage `downloads` of `batch`; `blob` the store path of a large
    object.
    """

    etag: str | None
    last_modified: str | None
    media_type: str | None
    final_uri: str
    sha256: str
    byte_count: int
    batch: str
    row: int
    blob: str | None


class StoredRobots(NamedTuple):
    """A host's answer to /robots.txt."""

    status: int
    body: str
    fetched_at: float


class RestingHost(NamedTuple):
    """A host that is left alone for a while: because it asked for it, or (`failing`) because it fails again and
    again."""

    until: float
    failing: bool
    cause: str


_Entry = StoredFetch | StoredRobots | RestingHost


class FetchState:
    """The look-ups; every method raises `IndexUnavailable` when the database does not answer.

    Parameters
    ----------
    batch:
        For which connections are leased: the next attempt at it takes over the shares of one that was killed.
    """

    def __init__(self, index: Index, batch: str = "") -> None:
        self._index, self._batch = index, batch
        index.make_tables(_METADATA)

    def find_fetches(self, uris: Iterable[str]) -> dict[str, StoredFetch]:
        """Return what is known of the URIs' last fetches."""
        by_digest = {_digest(uri): uri for uri in uris}
        return {
            by_digest[row.pop("uri_sha256")]: StoredFetch(**row)
            for row in self._find(_FETCHES, _FETCHES.c.uri_sha256, by_digest)
        }

    def record_fetches(self, fetches: Iterable[tuple[str, StoredFetch]]) -> None:
        """Put the last fetch of each URI; of two for the same URI the later one stays."""
        self._put(_FETCHES, ((_digest(uri), fetch) for uri, fetch in fetches))

    def find_robots(self, origins: Iterable[str], *, fetched_after: float) -> dict[str, StoredRobots]:
        """Return the answers to /robots.txt that are not older than a time, by origin."""
        rows = self._find(_ROBOTS, _ROBOTS.c.origin, origins, _ROBOTS.c.fetched_at >= fetched_after)
        return {row.pop("origin"): StoredRobots(**row) for row in rows}

    def record_robots(self, answers: Mapping[str, StoredRobots]) -> None:
        """Put answers to /robots.txt by origin."""
        self._put(_ROBOTS, answers.items())

    def find_resting(self, origins: Iterable[str], *, now: float) -> dict[str, RestingHost]:
        """Return the hosts that are to be left alone at the moment, by origin."""
        rows = self._find(_RESTING, _RESTING.c.origin, origins, _RESTING.c.until > now)
        return {row.pop("origin"): RestingHost(**row) for row in rows}

    def record_resting(self, hosts: Mapping[str, RestingHost]) -> None:
        """Let hosts rest, by origin."""
        self._put(_RESTING, hosts.items())

    def lease_connections(
        self,
        holder: str,
        hosts: Mapping[str, tuple[int, int]],
        *,
        now: float,
        expires_at: float,
        only_one_more: bool = False,
    ) -> dict[str, int]:
        """Take or renew a share of each host's connections for a part of a batch's fetch; return how many it may have.

        The shares of all holders together never exceed the budget: whoever comes later gets what is free, and takes
        its fair share as the others give way at their next renewal. A killed holder's share is its own again at the
        batch's next attempt, and ends with its lease.

        Parameters
        ----------
        hosts:
            By origin, the host's budget and how many connections the holder has open now.
        only_one_more:
            Whether the holder wants no more than one beside those.
        """
        shares: dict[str, int] = {}
        holder = self._holder_id(holder)
        for chunk in _batched(sorted(hosts)):
            with self._index.transaction() as connection:
                if connection.dialect.name == "postgresql":
                    # Two that read at once would both see the whole budget free.
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LEASES_LOCK)))
                query = sa.select(_LEASES.c.origin, _LEASES.c.connections).where(
                    _is_one_of(connection, _LEASES.c.origin, chunk),
                    _LEASES.c.holder != holder,
                    _LEASES.c.expires_at > now,
                )
                taken: dict[str, list[int]] = {}
                for origin, connections in connection.execute(query):
                    taken.setdefault(origin, []).append(connections)
                for origin in chunk:
                    budget, active = hosts[origin]
                    others = taken.get(origin, [])
                    fair = max(1, budget // (len(others) + 1))
                    wanted = active + 1 if only_one_more else max(fair, active)
                    shares[origin] = max(0, min(wanted, budget - sum(others)))
                rows = [(origin, holder, shares[origin], expires_at) for origin in chunk]
                _put_rows(connection, _LEASES, rows)
        return shares

    def release_connections(self, holder: str, origins: Iterable[str] | None = None) -> None:
        """Give back the shares of some hosts, or of all."""
        mine = sa.delete(_LEASES).where(_LEASES.c.holder == self._holder_id(holder))
        if origins is None:
            with self._index.transaction() as connection:
                connection.execute(mine)
            return
        for chunk in _batched(sorted(origins)):
            with self._index.transaction() as connection:
                connection.execute(mine.where(_is_one_of(connection, _LEASES.c.origin, chunk)))

    def _holder_id(self, holder: str) -> str:
        # A batch's key may be longer than the column.
        return _digest(f"{self._batch} {holder}")

    def _find(
        self, table: sa.Table, key: sa.Column[str], values: Iterable[str], *conditions: sa.ColumnElement[bool]
    ) -> Iterator[dict[str, Any]]:
        for chunk in _batched(values):
            with self._index.transaction(reading=True) as connection:
                query = sa.select(table).where(_is_one_of(connection, key, chunk), *conditions)
                rows = connection.execute(query).all()
            for row in rows:
                yield dict(row._mapping)

    def _put(self, table: sa.Table, entries: Iterable[tuple[str, _Entry]]) -> None:
        latest = dict(entries)
        # In order of the key: writers that lock the same rows in other orders deadlock.
        for chunk in _batched(sorted(latest)):
            rows = [(value, *latest[value]) for value in chunk]
            with self._index.transaction() as connection:
                _put_rows(connection, table, rows)


def _put_rows(connection: sa.Connection, table: sa.Table, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows, in the order of the table's columns, or replace those that are there."""
    statement = _upsert(connection, table)
    if connection.dialect.name == "sqlite":
        # By the driver: SQLAlchemy's own way with each parameter took 9 of the 15 microseconds that a row costs.
        connection.exec_driver_sql(str(statement.compile(dialect=connection.dialect)), rows)
    else:
        names = table.columns.keys()
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])


def _is_one_of(connection: sa.Connection, key: sa.Column[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return `key IN values` with one parameter for all values: a thousand of them cost 15 microseconds each."""
    if connection.dialect.name == "sqlite":
        listed = sa.func.json_each(json.dumps(values)).table_valued("value")
        return key.in_(sa.select(listed.c.value))
    return key == sa.any_(sa.literal(list(values), sa.ARRAY(sa.Text)))


def _upsert(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)


def _digest(uri: str) -> str:
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()


def _batched(items: Iterable[_T]) -> Iterator[Sequence[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _ROWS_PER_STATEMENT)):
        yield chunk
