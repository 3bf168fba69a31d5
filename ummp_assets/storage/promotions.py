"""Duplicates whose owner was taken down or lost with its batch: they may own the content, the look or the words now,
and enter the dataset.

A promotion is noted before the owner is forgotten and struck out once the dataset has the sample, so that a crash at
any instant loses none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ummp_assets.settings import CleanSettings
from ummp_assets.storage.dataset_index import insert_missing
from ummp_assets.storage.index import Index
from ummp_assets.storage.near_duplicates import SignatureIndex
from ummp_assets.storage.perceptual_index import PerceptualIndex

__all__ = ["Promotion", "PromotionIndex", "release_owners"]

_METADATA = sa.MetaData()

_PROMOTIONS = sa.Table(
    "promotions",
    _METADATA,
    sa.Column("dataset", sa.String(64), primary_key=True),
    sa.Column("sample_id", sa.String, primary_key=True),
)

_IDS_PER_STATEMENT = 2_000


@dataclass(frozen=True, slots=True, order=True)
class Promotion:
    """A sample that was a duplicate, exact or near, of one that is gone."""

    dataset: str
    sample_id: str


class PromotionIndex:
    """Promotions that wait; every method raises `IndexUnavailable`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def add(self, promotions: Iterable[Promotion]) -> None:
        """Note promotions; those that are noted already change nothing."""
        rows = [asdict(item) for item in sorted(set(promotions))]
        for start in range(0, len(rows), _IDS_PER_STATEMENT):
            with self._index.transaction() as connection:
                insert_missing(connection, _PROMOTIONS, rows[start : start + _IDS_PER_STATEMENT])

    def waiting(self) -> list[Promotion]:
        """Return all promotions that are not struck out, in order."""
        with self._index.transaction(reading=True) as connection:
            return sorted(Promotion(row.dataset, row.sample_id) for row in connection.execute(sa.select(_PROMOTIONS)))

    def strike_out(self, promotions: Iterable[Promotion]) -> None:
        """Forget promotions that were carried out or are none any more."""
        with self._index.transaction() as connection:
            for item in sorted(promotions):
                connection.execute(
                    sa.delete(_PROMOTIONS).where(
                        _PROMOTIONS.c.dataset == item.dataset, _PROMOTIONS.c.sample_id == item.sample_id
                    )
                )


def release_owners(index: Index, clean: CleanSettings, dataset: str, sample_ids: Sequence[str]) -> None:
    """Make the near-duplicate indexes of texts and images forget samples, and note the promotion of their twins.

    A twin that is similar to another owner as well stays a duplicate, of that one.
    """
    if not sample_ids:
        return
    signatures, looks = SignatureIndex(index), PerceptualIndex(index)
    heirs = (signatures.heirs(dataset, sample_ids) | looks.heirs(dataset, sample_ids)) - set(sample_ids)
    PromotionIndex(index).add(Promotion(dataset, heir) for heir in heirs)
    # Switched off by now: what is not the very same is none.
    similarity, distance_bits = clean.text.near_duplicate_similarity, clean.image.near_duplicate_bits
    signatures.release(dataset, sample_ids, 1.0 if similarity is None else similarity)
    looks.release(dataset, sample_ids, distance_bits or 0)
