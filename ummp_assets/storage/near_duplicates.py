"""Near duplicates of texts in the index: which earlier text of a dataset has a MinHash signature like this one.

Broder 1997 for signatures; Leskovec, Rajaraman and Ullman 2020, "Mining of Massive Datasets", 3.4 for the bands: a
signature of 112 values is cut into 14 bands of 8, as FineWeb does (Penedo et al. 2024, appendix E.3), so that texts of
Jaccard similarity 0.8 share a band with probability 0.92 and of 0.9 with 0.9998; the share of equal values in both
signatures then decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ummp_assets.errors import InvalidInput
from ummp_assets.storage.band_runs import METADATA as BAND_RUNS
from ummp_assets.storage.band_runs import BandRuns
from ummp_assets.storage.index import Index

__all__ = ["BANDS", "SIGNATURE_VALUES", "SignatureIndex", "SignedText", "SimilarTwin"]

BANDS, BAND_VALUES = 14, 8
SIGNATURE_VALUES = BANDS * BAND_VALUES

_TEXTS_PER_TRANSACTION = 1_000
# SQLite allows 32,766 variables in a statement.
_KEYS_PER_STATEMENT = 15_000

_METADATA = sa.MetaData()

_VERDICTS = sa.Table(
    "text_verdicts",
    _METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("sample_id", sa.String, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Column("owner", sa.BigInteger),
    sa.Column("similarity", sa.Float, nullable=False),
    sa.UniqueConstraint("dataset", "sample_id"),
    sa.Index("ix_text_verdicts_owner", "owner"),
)

_Values = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class SignedText:
    """A text and its MinHash signature.

    Parameters
    ----------
    signature:
        Shape (112,), uint16: the low bits of each minimum, which tell as much at a half of the size (Li and König
        2010).
    """

    sample_id: str
    signature: _Values


@dataclass(frozen=True, slots=True)
class SimilarTwin:
    """The text that owns a content, and the estimated Jaccard similarity, 0 to 1."""

    sample_id: str
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    number: int
    sample_id: str
    signature: _Values


class SignatureIndex:
    """Owners of texts, per dataset; safe for several processes at once.

    Every verdict is kept, so that a repeated batch gets the answers that it got, whatever came in between.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._runs = BandRuns()
        index.make_tables(_METADATA)
        index.make_tables(BAND_RUNS)

    def claim(self, dataset: str, texts: Sequence[SignedText], min_similarity: float) -> list[SimilarTwin | None]:
        """Make each text the owner of its content, unless an owner's signature is similar.

        Parameters
        ----------
        texts:
            In the order in which they may become owners.
        min_similarity:
            Share of equal values from which on signatures are similar; 0.5 to 1.

        Returns
        -------
        For each text, in order, the first owner that is similar, or None when it is an owner itself.

        Raises
        ------
        InvalidInput
            The similarity is out of its bounds.
        """
        if not 0.5 <= min_similarity <= 1:
            raise InvalidInput(f"a similarity of {min_similarity} is not between 0.5 and 1")
        verdicts: dict[str, SimilarTwin | None] = {}
        for start in range(0, len(texts), _TEXTS_PER_TRANSACTION):
            part = texts[start : start + _TEXTS_PER_TRANSACTION]
            with self._index.transaction() as connection:
                _lock(connection)
                verdicts |= _read_verdicts(connection, dataset, [text.sample_id for text in part])
                new = {text.sample_id: text for text in part if text.sample_id not in verdicts}
                verdicts |= self._judge(connection, dataset, list(new.values()), min_similarity)
        return [verdicts[text.sample_id] for text in texts]

    def release(self, dataset: str, sample_ids: Iterable[str], min_similarity: float) -> list[str]:
        """Forget texts, and let the first of their near duplicates own the content instead.

        Returns
        -------
        The sample ids of the new owners: a repeated run of their batches keeps them.
        """
        promoted: list[str] = []
        with self._index.transaction() as connection:
            _lock(connection)
            for sample_id in sorted(set(sample_ids)):
                heirs = _delete(connection, dataset, sample_id)
                judged = self._judge(connection, dataset, heirs, min_similarity)
                promoted += [heir for heir, twin in judged.items() if twin is None]
        return promoted

    def _judge(
        self, connection: sa.Connection, dataset: str, texts: Sequence[SignedText], min_similarity: float
    ) -> dict[str, SimilarTwin | None]:
        """Give texts without a verdict one each, in order, and write it."""
        if not texts:
            return {}
        keys = _band_keys(np.stack([text.signature for text in texts]))
        buckets = self._runs.find(connection, dataset, np.unique(keys))
        known = _read_known(connection, {number for bucket in buckets.values() for number in bucket})
        first = (connection.execute(sa.select(sa.func.max(_VERDICTS.c.number))).scalar() or 0) + 1
        found = _find_owners(texts, keys, buckets, known, first, min_similarity)
        rows = [
            {
                "number": first + place,
                "dataset": dataset,
                "sample_id": text.sample_id,
                "signature": text.signature.tobytes(),
                "owner": owner and owner.number,
                "similarity": similarity,
            }
            for place, (text, (owner, similarity)) in enumerate(zip(texts, found, strict=True))
        ]
        connection.execute(sa.insert(_VERDICTS), rows)
        places = np.array([place for place, (owner, _) in enumerate(found) if owner is None], np.int64)
        numbers = np.repeat((first + places).astype(np.uint32), BANDS)
        self._runs.add(connection, dataset, keys[places].ravel(), numbers)
        return {
            text.sample_id: SimilarTwin(owner.sample_id, similarity) if owner else None
            for text, (owner, similarity) in zip(texts, found, strict=True)
        }


def _find_owners(
    texts: Sequence[SignedText],
    keys: npt.NDArray[np.int64],
    buckets: dict[int, list[int]],
    known: dict[int, _Known],
    first: int,
    min_similarity: float,
) -> list[tuple[_Known | None, float]]:
    """Return the owner of each text and its similarity, or None; texts that become owners join the buckets.

    Almost no text shares a band with another: those are told at once, and only the others are looked at singly.
    """
    values, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    shared = counts > 1
    if buckets:
        shared |= np.isin(values, np.fromiter(buckets, np.int64, len(buckets)))
    crowded = shared[places].reshape(keys.shape)
    found: list[tuple[_Known | None, float]] = [(None, 0.0)] * len(texts)
    for place in np.flatnonzero(crowded.any(axis=1)).tolist():
        text, common = texts[place], keys[place][crowded[place]].tolist()
        for number in sorted({number for key in common for number in buckets.get(key, ()) if number in known}):
            similarity = float(np.count_nonzero(known[number].signature == text.signature)) / SIGNATURE_VALUES
            if similarity >= min_similarity:
                found[place] = known[number], similarity
                break
        else:
            known[first + place] = _Known(first + place, text.sample_id, text.signature)
            for key in set(common):
                buckets.setdefault(key, []).append(first + place)
    return found


def _band_keys(signatures: _Values) -> npt.NDArray[np.int64]:
    """Return a 64-bit key for each band; shape (texts, 14)."""
    words = np.ascontiguousarray(signatures).view(np.uint64).reshape(len(signatures), BANDS, BAND_VALUES // 4)
    keys = np.arange(BANDS, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for place in range(words.shape[2]):
        keys = _mix(keys ^ words[:, :, place])
    return keys.view(np.int64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread bits: SplitMix64's finaliser (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _read_known(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, _Known]:
    wanted = sorted(numbers)
    known: dict[int, _Known] = {}
    for start in range(0, len(wanted), _KEYS_PER_STATEMENT):
        columns = sa.select(_VERDICTS.c.number, _VERDICTS.c.sample_id, _VERDICTS.c.signature)
        for row in connection.execute(
            columns.where(_VERDICTS.c.number.in_(wanted[start : start + _KEYS_PER_STATEMENT]))
        ):
            known[row.number] = _Known(row.number, row.sample_id, np.frombuffer(row.signature, np.uint16))
    return known


def _read_verdicts(connection: sa.Connection, dataset: str, sample_ids: Sequence[str]) -> dict[str, SimilarTwin | None]:
    owners = _VERDICTS.alias()
    found = connection.execute(
        sa.select(_VERDICTS.c.sample_id, owners.c.sample_id.label("twin"), _VERDICTS.c.similarity)
        .join(owners, owners.c.number == _VERDICTS.c.owner, isouter=True)
        .where(_VERDICTS.c.dataset == dataset, _VERDICTS.c.sample_id.in_(sample_ids))
    )
    return {row.sample_id: SimilarTwin(row.twin, row.similarity) if row.twin else None for row in found}


def _delete(connection: sa.Connection, dataset: str, sample_id: str) -> list[SignedText]:
    """Remove a text and the verdicts that name it; return the texts that lost their owner, in order.

    Its bands stay in the runs, where they name a number that no text has any more.
    """
    columns = sa.select(_VERDICTS.c.number, _VERDICTS.c.sample_id, _VERDICTS.c.signature)
    gone = connection.execute(
        columns.where(_VERDICTS.c.dataset == dataset, _VERDICTS.c.sample_id == sample_id)
    ).one_or_none()
    if gone is None:
        return []
    heirs = connection.execute(columns.where(_VERDICTS.c.owner == gone.number).order_by(_VERDICTS.c.number)).all()
    numbers = [gone.number, *(heir.number for heir in heirs)]
    for start in range(0, len(numbers), _KEYS_PER_STATEMENT):
        connection.execute(
            sa.delete(_VERDICTS).where(_VERDICTS.c.number.in_(numbers[start : start + _KEYS_PER_STATEMENT]))
        )
    return [SignedText(heir.sample_id, np.frombuffer(heir.signature, np.uint16)) for heir in heirs]


def _lock(connection: sa.Connection) -> None:
    """Let one writer judge at a time: two that judge similar texts at once would keep both. SQLite's do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE text_verdicts IN SHARE ROW EXCLUSIVE MODE"))
