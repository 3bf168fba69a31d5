"""Who has the same content as whom, and which samples an order names: the look-ups of a takedown."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ummp_assets.records import Modality
from ummp_assets.storage.dataset_index import insert_missing
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.takedown_index import TakedownEntry, domains_of

__all__ = ["TwinIndex"]

_METADATA = sa.MetaData()

_TWINS = sa.Table(
    "twins",
    _METADATA,
    sa.Column("sample_id", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
)

_SAMPLES = sa.table("samples", sa.column("sample_id"), sa.column("uri"), sa.column("sha256"), sa.column("batch"))
_CONTENTS = sa.table("contents", sa.column("dataset"), sa.column("kind"), sa.column("digest"), sa.column("sample_id"))

_IDS_PER_STATEMENT = 2_000


class TwinIndex:
    """Exact duplicates and their owners; every method raises `IndexUnavailable`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def record(self, twins: Iterable[tuple[str, str]]) -> None:
        """Keep pairs of a duplicate's sample id and its owner's."""
        rows = [{"sample_id": sample_id, "owner": owner} for sample_id, owner in sorted(twins)]
        for start in range(0, len(rows), _IDS_PER_STATEMENT):
            with self._index.transaction() as connection:
                insert_missing(connection, _TWINS, rows[start : start + _IDS_PER_STATEMENT])

    def named_by(self, order: TakedownEntry) -> set[str]:
        """Return the ids of all samples that an order names itself."""
        if order.kind == "domain":
            return self._of_domain(order.target)
        by_id = _SAMPLES.c.sample_id == order.target
        member = _SAMPLES.c.sample_id.startswith(f"{order.target}~", autoescape=True)
        statements = {
            "uri": [sa.select(_SAMPLES.c.sample_id).where(_SAMPLES.c.uri == order.target)],
            "sha256": [
                sa.select(_SAMPLES.c.sample_id).where(_SAMPLES.c.sha256 == order.target),
                sa.select(_CONTENTS.c.sample_id).where(_CONTENTS.c.digest == order.target),
            ],
            "sample_id": [sa.select(_SAMPLES.c.sample_id).where(by_id | member)],
        }
        with self._index.transaction(reading=True) as connection:
            return {name for statement in statements[order.kind] for name in connection.execute(statement).scalars()}

    def with_same_content(self, sample_ids: Iterable[str]) -> set[str]:
        """Return the given samples and all that have the same content: owners, in other datasets too, duplicates, and
        equal raw bytes."""
        found: set[str] = set()
        new = set(sample_ids)
        while new:
            found |= new
            new = self._neighbours(sorted(new)) - found
        return found

    def contents_of(self, sample_ids: Iterable[str]) -> set[str]:
        """Return the content hashes that the samples own."""
        wanted = sorted(sample_ids)
        found: set[str] = set()
        for start in range(0, len(wanted), _IDS_PER_STATEMENT):
            chunk = wanted[start : start + _IDS_PER_STATEMENT]
            statement = sa.select(_CONTENTS.c.digest).where(_CONTENTS.c.sample_id.in_(chunk))
            with self._index.transaction(reading=True) as connection:
                found.update(connection.execute(statement).scalars())
        return found

    def owners_of(self, digest: str, datasets: Iterable[str]) -> set[str]:
        """Return the ids of the samples of some datasets that own a content, by its hash."""
        with self._index.transaction(reading=True) as connection:
            # All three columns of the key: by the digest alone every row would be looked at.
            statement = sa.select(_CONTENTS.c.sample_id).where(
                _CONTENTS.c.dataset.in_(sorted(datasets)),
                _CONTENTS.c.kind.in_([kind.value for kind in Modality]),
                _CONTENTS.c.digest == digest,
            )
            return set(connection.execute(statement).scalars())

    def members_of(self, message_id: str, batch: str) -> list[SampleEntry]:
        """Return the samples of a batch that are members of one message's archive, in order of their ids."""
        # By batch, which is indexed: no database looks a prefix up in every collation.
        member = _SAMPLES.c.sample_id.startswith(f"{message_id}~", autoescape=True)
        statement = sa.select(_SAMPLES.c.sample_id).where(_SAMPLES.c.batch == batch, member)
        with self._index.transaction(reading=True) as connection:
            names = list(connection.execute(statement).scalars())
        return self._index.find_samples(sample_ids=names)

    def duplicates_of(self, owners: Iterable[str]) -> set[str]:
        """Return the samples that were rejected as copies of the given ones."""
        wanted = sorted(owners)
        found: set[str] = set()
        for start in range(0, len(wanted), _IDS_PER_STATEMENT):
            chunk = wanted[start : start + _IDS_PER_STATEMENT]
            statement = sa.select(_TWINS.c.sample_id).where(_TWINS.c.owner.in_(chunk))
            with self._index.transaction(reading=True) as connection:
                found.update(connection.execute(statement).scalars())
        return found

    def _neighbours(self, sample_ids: Sequence[str]) -> set[str]:
        near: set[str] = set()
        for start in range(0, len(sample_ids), _IDS_PER_STATEMENT):
            chunk = sample_ids[start : start + _IDS_PER_STATEMENT]
            owned = sa.select(_CONTENTS.c.digest).where(_CONTENTS.c.sample_id.in_(chunk))
            hashes = sa.select(_SAMPLES.c.sha256).where(_SAMPLES.c.sample_id.in_(chunk), _SAMPLES.c.sha256.is_not(None))
            statements = (
                sa.select(_TWINS.c.owner).where(_TWINS.c.sample_id.in_(chunk)),
                sa.select(_TWINS.c.sample_id).where(_TWINS.c.owner.in_(chunk)),
                sa.select(_SAMPLES.c.sample_id).where(_SAMPLES.c.sha256.in_(hashes)),
                # Two passes, 0.2 s for 10^6 contents: takedowns are rare, and an index for them would cost every claim.
                sa.select(_CONTENTS.c.sample_id).where(_CONTENTS.c.digest.in_(owned)),
            )
            with self._index.transaction(reading=True) as connection:
                for statement in statements:
                    near.update(connection.execute(statement).scalars())
        return near

    def _of_domain(self, domain: str) -> set[str]:
        # Takedowns of a domain are rare: one pass over the URIs costs less than an index of hosts for every batch.
        candidate = _SAMPLES.c.uri.contains(domain, autoescape=True)
        statement = sa.select(_SAMPLES.c.sample_id, _SAMPLES.c.uri).where(candidate)
        with self._index.transaction(reading=True) as connection:
            return {row.sample_id for row in connection.execute(statement) if domain in domains_of(row.uri)}
