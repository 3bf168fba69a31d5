"""Standing takedowns: what must not be stored any more, found by URI, hash, domain or sample id."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa

from ummp_assets.storage.dataset_index import insert_missing
from ummp_assets.storage.index import Index

__all__ = ["TakedownEntry", "TakedownIndex", "domains_of", "message_ids_of", "taken_down"]

_METADATA = sa.MetaData()

_TAKEDOWNS = sa.Table(
    "takedowns",
    _METADATA,
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    # One message stands for its target and for the hash of each content that it took down.
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("timestamp_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text),
    sa.Index("ix_takedowns_target", "target", postgresql_using="hash"),
)

_TARGETS_PER_STATEMENT = 2_000
_FIRST = sa.select(sa.literal(1)).select_from(_TAKEDOWNS).limit(1)


@dataclass(frozen=True, slots=True)
class TakedownEntry:
    """One order: nothing that matches `target` is stored any more; `kind` is uri, sha256, domain or sample_id.

    The hashes of contents that a message took down stand as orders of kind sha256 with that message's coordinates.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    kind: str
    target: str
    reason: str
    requested_by: str | None = None


class TakedownIndex:
    """Orders by what they name; every method raises `IndexUnavailable`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def record(self, orders: Iterable[TakedownEntry]) -> None:
        """Keep orders; one that is kept already changes nothing."""
        rows = [{**asdict(order), "digest": _digest(order)} for order in orders]
        rows.sort(key=lambda row: (row["topic"], row["partition"], row["offset"], row["kind"], row["digest"]))
        for start in range(0, len(rows), _TARGETS_PER_STATEMENT):
            with self._index.transaction() as connection:
                insert_missing(connection, _TAKEDOWNS, rows[start : start + _TARGETS_PER_STATEMENT])

    def is_empty(self) -> bool:
        """Return whether nothing was ever taken down."""
        with self._index.transaction(reading=True) as connection:
            return connection.execute(_FIRST).scalar() is None

    def find(self, targets: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], TakedownEntry]:
        """Return by kind and target the first order for each of these exact targets that has one."""
        found: dict[tuple[str, str], TakedownEntry] = {}
        columns = [column for column in _TAKEDOWNS.columns if column.name != "digest"]
        for kind, values in targets.items():
            wanted = sorted(set(values))
            for start in range(0, len(wanted), _TARGETS_PER_STATEMENT):
                statement = (
                    sa.select(*columns)
                    .where(_TAKEDOWNS.c.kind == kind)
                    .where(_TAKEDOWNS.c.target.in_(wanted[start : start + _TARGETS_PER_STATEMENT]))
                    .order_by(
                        _TAKEDOWNS.c.timestamp_ms, _TAKEDOWNS.c.topic, _TAKEDOWNS.c.partition, _TAKEDOWNS.c.offset
                    )
                )
                with self._index.transaction(reading=True) as connection:
                    for row in connection.execute(statement):
                        found.setdefault((kind, row.target), TakedownEntry(**row._mapping))
        return found


def taken_down(
    index: Index, *, uris: Sequence[str] = (), sha256s: Sequence[str] = (), sample_ids: Sequence[str] = ()
) -> dict[str, TakedownEntry]:
    """Return the order that forbids each of these URIs, content hashes or samples; those that are allowed are left out.

    A URI is forbidden by its own order or by one for its domain, a member of an archive by one for its message.

    Raises
    ------
    IndexUnavailable
        The index did not answer.
    """
    orders = TakedownIndex(index)
    if orders.is_empty():
        return {}
    domains = {uri: domains_of(uri) for uri in uris}
    messages = {sample_id: message_ids_of(sample_id) for sample_id in sample_ids}
    found = orders.find(
        {
            "uri": uris,
            "sha256": sha256s,
            "domain": {name for names in domains.values() for name in names},
            "sample_id": {name for names in messages.values() for name in names},
        }
    )
    forbidden: dict[str, TakedownEntry] = {}
    for named, candidates in (
        *((uri, [("uri", uri), *(("domain", name) for name in domains[uri])]) for uri in uris),
        *((digest, [("sha256", digest)]) for digest in sha256s),
        *((sample_id, [("sample_id", name) for name in messages[sample_id]]) for sample_id in sample_ids),
    ):
        for candidate in candidates:
            if candidate in found:
                forbidden.setdefault(named, found[candidate])
    return forbidden


def domains_of(uri: str) -> list[str]:
    """Return the host of a URI and every domain above it, the longest first; none where it has no host.

    >>> domains_of("https://cdn.example.org:8443/a.png")
    ['cdn.example.org', 'example.org', 'org']
    """
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return []
    labels = host.rstrip(".").split(".") if host else []
    return [".".join(labels[start:]) for start in range(len(labels))]


def message_ids_of(sample_id: str) -> list[str]:
    """Return a sample's id and, for a member of an archive, that of its message.

    >>> message_ids_of("ummp.requests.normal~0~17~page/2.txt")
    ['ummp.requests.normal~0~17~page/2.txt', 'ummp.requests.normal~0~17']
    """
    message = "~".join(sample_id.split("~", 3)[:3])
    return [sample_id] if message == sample_id else [sample_id, message]


def _digest(order: TakedownEntry) -> str:
    return hashlib.sha256(order.target.encode()).hexdigest()
