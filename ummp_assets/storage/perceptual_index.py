"""Near duplicates of images in the index: which earlier image of a dataset has a hash a few bits away.

Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing", section 3: hashes that differ
in at most four of 64 bits agree in at least one of five disjoint substrings. Each owner stands in the table under its
five substrings; a look-up reads those that share one and counts the bits. Among 10^6 random hashes that is about 660.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ummp_assets.errors import InvalidInput
from ummp_assets.storage.index import Index

__all__ = ["MAX_DISTANCE_BITS", "HashedImage", "NearTwin", "PerceptualIndex"]

MAX_DISTANCE_BITS = 4

_HASH_BITS = 64
_SUBSTRINGS = MAX_DISTANCE_BITS + 1
_SUBSTRING_BITS = -(-_HASH_BITS // _SUBSTRINGS)
_ROWS_PER_STATEMENT = 2_000

_METADATA = sa.MetaData()

_VERDICTS = sa.Table(
    "image_verdicts",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("sample_id", sa.String, primary_key=True),
    sa.Column("hash", sa.BigInteger, nullable=False),
    sa.Column("twin", sa.String),
    sa.Column("distance_bits", sa.Integer, nullable=False),
    sa.Index("ix_image_verdicts_twin", "dataset", "twin"),
)

_SUBSTRING_OWNERS = sa.Table(
    "image_substrings",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("substring", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sample_id", sa.String, primary_key=True),
    sa.Column("hash", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class HashedImage:
    """An image and its unsigned 64-bit perceptual hash."""

    sample_id: str
    hash: int


@dataclass(frozen=True, slots=True)
class NearTwin:
    """The image that owns a look, and how many bits of the hashes differ."""

    sample_id: str
    distance_bits: int


class PerceptualIndex:
    """Owners of looks, per dataset; safe for several processes at once.

    Every verdict is kept, so that a repeated batch gets the answers that it got, whatever came in between.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def claim(self, dataset: str, images: Sequence[HashedImage], max_distance_bits: int) -> list[NearTwin | None]:
        """Make each image the owner of its look, unless an owner's hash is near.

        Parameters
        ----------
        images:
            In the order in which they may become owners.
        max_distance_bits:
            Hashes that differ in at most so many bits are near; 0 to 4.

        Returns
        -------
        For each image, in order, the nearest owner that came before it, or None when it is an owner itself.

        Raises
        ------
        InvalidInput
            The distance is out of its bounds.
        """
        if not 0 <= max_distance_bits <= MAX_DISTANCE_BITS:
            raise InvalidInput(f"a distance of {max_distance_bits} bits is not between 0 and {MAX_DISTANCE_BITS}")
        with self._index.transaction() as connection:
            _lock(connection, dataset)
            known = _read_verdicts(connection, dataset, [image.sample_id for image in images])
            new = [image for image in images if image.sample_id not in known]
            judged = _judge(new, _read_owners(connection, dataset, new), max_distance_bits)
            _write_verdicts(connection, dataset, new, judged)
        verdicts = known | judged
        return [verdicts[image.sample_id] for image in images]

    def heirs(self, dataset: str, sample_ids: Sequence[str]) -> set[str]:
        """Return the samples that are near duplicates of any of these, which own a look."""
        found: set[str] = set()
        with self._index.transaction(reading=True) as connection:
            for start in range(0, len(sample_ids), _ROWS_PER_STATEMENT):
                chosen = _VERDICTS.c.twin.in_(sample_ids[start : start + _ROWS_PER_STATEMENT])
                statement = sa.select(_VERDICTS.c.sample_id).where(_VERDICTS.c.dataset == dataset, chosen)
                found.update(connection.execute(statement).scalars())
        return found

    def release(self, dataset: str, sample_ids: Iterable[str], max_distance_bits: int) -> list[str]:
        """Forget images, and let their near duplicates own their looks instead.

        Returns
        -------
        The sample ids of the new owners: a repeated run of their batches keeps them.
        """
        promoted: list[str] = []
        with self._index.transaction() as connection:
            _lock(connection, dataset)
            for sample_id in sorted(set(sample_ids)):
                _delete(connection, dataset, sample_id)
                heirs = connection.execute(
                    sa.select(_VERDICTS.c.sample_id, _VERDICTS.c.hash)
                    .where(_VERDICTS.c.dataset == dataset, _VERDICTS.c.twin == sample_id)
                    .order_by(_VERDICTS.c.sample_id)
                ).all()
                images = [HashedImage(heir.sample_id, _unsigned(heir.hash)) for heir in heirs]
                for image in images:
                    _delete(connection, dataset, image.sample_id)
                judged = _judge(images, _read_owners(connection, dataset, images), max_distance_bits)
                _write_verdicts(connection, dataset, images, judged)
                promoted += [heir for heir, twin in judged.items() if twin is None]
        return promoted


def _judge(
    images: Sequence[HashedImage], owners: Mapping[str, int], max_distance_bits: int
) -> dict[str, NearTwin | None]:
    by_substring: dict[int, dict[str, int]] = {}
    for owner, value in owners.items():
        for substring in _substrings(value):
            by_substring.setdefault(substring, {})[owner] = value
    verdicts: dict[str, NearTwin | None] = {}
    for image in images:
        if image.sample_id in verdicts:
            continue
        near = min(
            (
                ((image.hash ^ value).bit_count(), owner)
                for substring in _substrings(image.hash)
                for owner, value in by_substring.get(substring, {}).items()
            ),
            default=None,
        )
        if near is not None and near[0] <= max_distance_bits:
            verdicts[image.sample_id] = NearTwin(near[1], near[0])
            continue
        verdicts[image.sample_id] = None
        for substring in _substrings(image.hash):
            by_substring.setdefault(substring, {})[image.sample_id] = image.hash
    return verdicts


def _substrings(value: int) -> list[int]:
    """Return the parts of a hash, each with its position, as small integers."""
    mask = (1 << _SUBSTRING_BITS) - 1
    return [
        position << _SUBSTRING_BITS | (value >> position * _SUBSTRING_BITS) & mask for position in range(_SUBSTRINGS)
    ]


def _read_verdicts(connection: sa.Connection, dataset: str, sample_ids: Sequence[str]) -> dict[str, NearTwin | None]:
    found: dict[str, NearTwin | None] = {}
    for start in range(0, len(sample_ids), _ROWS_PER_STATEMENT):
        chosen = sample_ids[start : start + _ROWS_PER_STATEMENT]
        for row in connection.execute(
            sa.select(_VERDICTS).where(_VERDICTS.c.dataset == dataset, _VERDICTS.c.sample_id.in_(chosen))
        ):
            found[row.sample_id] = None if row.twin is None else NearTwin(row.twin, row.distance_bits)
    return found


def _read_owners(connection: sa.Connection, dataset: str, images: Sequence[HashedImage]) -> dict[str, int]:
    """Return the hashes of the owners that share a substring with any of the images."""
    wanted = sorted({substring for image in images for substring in _substrings(image.hash)})
    owners: dict[str, int] = {}
    for start in range(0, len(wanted), _ROWS_PER_STATEMENT):
        chosen = wanted[start : start + _ROWS_PER_STATEMENT]
        columns = _SUBSTRING_OWNERS.c
        for row in connection.execute(
            sa.select(columns.sample_id, columns.hash).where(columns.dataset == dataset, columns.substring.in_(chosen))
        ):
            owners[row.sample_id] = _unsigned(row.hash)
    return owners


def _write_verdicts(
    connection: sa.Connection, dataset: str, images: Sequence[HashedImage], judged: Mapping[str, NearTwin | None]
) -> None:
    hashes = {image.sample_id: _signed(image.hash) for image in reversed(images)}
    verdicts, owners = [], []
    for sample_id, twin in judged.items():
        verdicts.append(
            {
                "dataset": dataset,
                "sample_id": sample_id,
                "hash": hashes[sample_id],
                "twin": twin.sample_id if twin else None,
                "distance_bits": twin.distance_bits if twin else 0,
            }
        )
        if twin is None:
            owners += [
                {"dataset": dataset, "substring": substring, "sample_id": sample_id, "hash": hashes[sample_id]}
                for substring in _substrings(_unsigned(hashes[sample_id]))
            ]
    if verdicts:
        connection.execute(sa.insert(_VERDICTS), verdicts)
    if owners:
        connection.execute(sa.insert(_SUBSTRING_OWNERS), owners)


def _delete(connection: sa.Connection, dataset: str, sample_id: str) -> None:
    for table in (_VERDICTS, _SUBSTRING_OWNERS):
        connection.execute(sa.delete(table).where(table.c.dataset == dataset, table.c.sample_id == sample_id))


def _lock(connection: sa.Connection, dataset: str) -> None:
    # SQLite lets in one writer at a time; on PostgreSQL two could each miss what the other is about to insert.
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"image_verdicts {dataset}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _signed(value: int) -> int:
    return value - (1 << _HASH_BITS) if value >> (_HASH_BITS - 1) else value


def _unsigned(value: int) -> int:
    return value & ((1 << _HASH_BITS) - 1)
