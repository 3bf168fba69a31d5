"""Near duplicates of texts in the index: which earlier text of a dataset has a MinHash signature like this one.

Broder 1997 for signatures; Leskovec, Rajaraman and Ullman 2020, "Mining of Massive Datasets", 3.4 for the bands: a
signature of 112 values is cut into 14 bands of 8, as FineWeb does (Penedo et al. 2024, appendix E.3), so that texts of
Jaccard similarity 0.8 share a band with probability 0.92 and of 0.9 with 0.9998; the share of equal values in both
signatures then decides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ummp_assets.errors import InvalidInput, UnsupportedFormat
from ummp_assets.storage.band_runs import METADATA as BAND_RUNS
from ummp_assets.storage.band_runs import BandRuns
from ummp_assets.storage.index import Index
from ummp_assets.storage.text_blocks import METADATA as TEXT_BLOCKS
from ummp_assets.storage.text_blocks import (
    NO_OWNER,
    KnownText,
    TextBlock,
    append_blocks,
    next_number,
    read_texts,
    remove_texts,
    signature_version,
)
from ummp_assets.storage.text_keys import BAND_VALUES, BANDS, Keys, SortedKeys, band_keys, heir_keys, id_keys

__all__ = ["SIGNATURE_VALUES", "SIGNATURE_VERSION", "SignatureIndex", "SignedTexts", "SimilarTwin"]

SIGNATURE_VALUES = BANDS * BAND_VALUES

SIGNATURE_VERSION = 3
"""Version of what the values are: those of different versions cannot be compared."""

_TEXTS_PER_TRANSACTION = 1_000

_Values = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class SignedTexts:
    """Texts and their MinHash signatures, n of them.

    Parameters
    ----------
    signatures:
        Shape (n, 112), uint16: the low bits of each minimum, which tell as much at a half of the size (Li and König
        2010).
    """

    sample_ids: Sequence[str]
    signatures: _Values

    def part(self, places: slice | Sequence[int]) -> "SignedTexts":
        chosen = self.sample_ids[places] if isinstance(places, slice) else [self.sample_ids[place] for place in places]
        return SignedTexts(chosen, self.signatures[places])


@dataclass(frozen=True, slots=True)
class SimilarTwin:
    """The text that owns a content, and the estimated Jaccard similarity, 0 to 1."""

    sample_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class _Nearby:
    """Texts that may be similar: their numbers by the key that leads to them, and those of them that are left."""

    numbers: dict[int, list[int]]
    texts: dict[int, KnownText]


class SignatureIndex:
    """Owners of texts, per dataset; safe for several processes at once.

    Every verdict is kept, so that a repeated batch gets the answers that it got, whatever came in between. One
    structure of sorted runs leads to a text by each of its bands, by its sample id, and by its owner; the texts
    themselves stand in blocks.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._forget()
        index.make_tables(TEXT_BLOCKS)
        index.make_tables(BAND_RUNS)

    def claim(self, dataset: str, texts: SignedTexts, min_similarity: float) -> list[SimilarTwin | None]:
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
        UnsupportedFormat
            The index holds signatures of another version, with which new texts cannot be compared.
        """
        if not 0.5 <= min_similarity <= 1:
            raise InvalidInput(f"a similarity of {min_similarity} is not between 0.5 and 1")
        verdicts: dict[str, SimilarTwin | None] = {}
        for start in range(0, len(texts.sample_ids), _TEXTS_PER_TRANSACTION):
            part = texts.part(slice(start, start + _TEXTS_PER_TRANSACTION))
            with self._writing() as connection:
                verdicts |= self._judge(connection, dataset, part, min_similarity, self._refuse_others)
        return [verdicts[sample_id] for sample_id in texts.sample_ids]

    def heirs(self, dataset: str, sample_ids: Sequence[str]) -> set[str]:
        """Return the samples that are near duplicates of any of these, which own a content."""
        if not sample_ids:
            return set()
        with self._index.transaction(reading=True) as connection:
            candidates = self._led_to(connection, dataset, id_keys(sample_ids))
            owners = {text.number for text in candidates if text.sample_id in set(sample_ids)}
            return {heir.sample_id for heir in self._find_heirs(connection, dataset, owners)}

    def release(self, dataset: str, sample_ids: Iterable[str], min_similarity: float) -> list[str]:
        """Forget texts, and let the first of their near duplicates own the content instead.

        Returns
        -------
        The sample ids of the new owners: a repeated run of their batches keeps them.
        """
        promoted: list[str] = []
        with self._writing() as connection:
            for sample_id in sorted(set(sample_ids)):
                heirs = self._remove(connection, dataset, sample_id)
                judged = self._judge(connection, dataset, heirs, min_similarity)
                promoted += [heir for heir, twin in judged.items() if twin is None]
        return promoted

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._index.transaction() as connection:
                _lock(connection)
                yield connection
        except BaseException:
            # The database does not have what was written, and gives its numbers to others.
            self._forget()
            raise

    def _forget(self) -> None:
        self._runs = BandRuns()
        self._comparable = False

    def _refuse_others(self, connection: sa.Connection) -> None:
        """Raise `UnsupportedFormat` when the index holds signatures that new ones cannot be compared with."""
        if self._comparable:
            return
        if (version := signature_version(connection, SIGNATURE_VERSION)) != SIGNATURE_VERSION:
            raise UnsupportedFormat(
                f"the index holds signatures of texts of version {version or 'unknown'}, this release makes those of "
                f"version {SIGNATURE_VERSION}: near duplicates of what it holds would not be found. Use the release "
                "that wrote them, or empty its tables text_blocks, text_runs and text_signatures and materialize "
                "clean_text of all batches again, in their order."
            )
        self._comparable = True

    def _judge(
        self,
        connection: sa.Connection,
        dataset: str,
        texts: SignedTexts,
        min_similarity: float,
        check: Callable[[sa.Connection], None] | None = None,
    ) -> dict[str, SimilarTwin | None]:
        """Return the verdict of each text; those that had none get one, in order, once `check` was called."""
        if not texts.sample_ids:
            return {}
        ids, bands = id_keys(texts.sample_ids), band_keys(texts.signatures)
        keys = SortedKeys(np.concatenate((bands.ravel(), ids)))
        numbers = self._runs.find(connection, dataset, keys.distinct)
        nearby = _Nearby(numbers, read_texts(connection, {number for found in numbers.values() for number in found}))
        verdicts = _verdicts_of(connection, nearby.texts, set(texts.sample_ids))
        latest = {sample_id: place for place, sample_id in enumerate(texts.sample_ids)}
        new = [place for sample_id, place in latest.items() if sample_id not in verdicts]
        if new:
            if check is not None:
                check(connection)
            shared = keys.shared(numbers)[: bands.size].reshape(bands.shape)[new]
            first, texts, bands = next_number(connection), texts.part(new), bands[new]
            found = _find_owners(texts, bands, shared, nearby, first, min_similarity)
            self._write(connection, dataset, first, _block(texts, found), bands, ids[new])
            verdicts |= {
                sample_id: SimilarTwin(owner.sample_id, similarity) if owner else None
                for sample_id, (owner, similarity) in zip(texts.sample_ids, found, strict=True)
            }
        return verdicts

    def _write(
        self, connection: sa.Connection, dataset: str, first: int, texts: TextBlock, bands: Keys, ids: Keys
    ) -> None:
        """Keep texts, whose numbers begin at `first`, and what leads to them: bands, ids and owners."""
        append_blocks(connection, first, texts)
        numbers = first + np.arange(len(ids), dtype=np.uint32)
        owns = texts.owners == NO_OWNER
        leading = (bands[owns].ravel(), ids, heir_keys(texts.owners[~owns]))
        led_to = (np.repeat(numbers[owns], BANDS), numbers, numbers[~owns])
        self._runs.add(connection, dataset, np.concatenate(leading), np.concatenate(led_to))

    def _remove(self, connection: sa.Connection, dataset: str, sample_id: str) -> SignedTexts:
        """Remove a text and the verdicts that name it; return the texts that lost their owner, in order.

        What led to them, hashes of 64 bits, stays in the runs, where it names numbers that no text has any more.
        """
        candidates = self._led_to(connection, dataset, id_keys([sample_id]))
        gone = next((text for text in candidates if text.sample_id == sample_id), None)
        if gone is None:
            return _signed([])
        heirs = self._find_heirs(connection, dataset, {gone.number})
        remove_texts(connection, [gone.number, *(heir.number for heir in heirs)])
        return _signed(heirs)

    def _find_heirs(self, connection: sa.Connection, dataset: str, owners: Set[int]) -> list[KnownText]:
        """Return the texts whose owner is one of these numbers, in order."""
        keys = heir_keys(np.fromiter(owners, np.int64, len(owners)))
        return [text for text in self._led_to(connection, dataset, keys) if text.owner in owners]

    def _led_to(self, connection: sa.Connection, dataset: str, keys: Keys) -> list[KnownText]:
        """Return the texts that the keys may lead to, in order."""
        found = self._runs.find(connection, dataset, np.unique(keys))
        known = read_texts(connection, {number for numbers in found.values() for number in numbers})
        return [known[number] for number in sorted(known)]


def _verdicts_of(
    connection: sa.Connection, known: Mapping[int, KnownText], sample_ids: Set[str]
) -> dict[str, SimilarTwin | None]:
    texts = [text for text in known.values() if text.sample_id in sample_ids]
    owners = read_texts(connection, {text.owner for text in texts} - {NO_OWNER})
    return {
        text.sample_id: None if text.owner == NO_OWNER else SimilarTwin(owners[text.owner].sample_id, text.similarity)
        for text in texts
    }


def _signed(texts: Sequence[KnownText]) -> SignedTexts:
    signatures = np.array([text.signature for text in texts], np.uint16).reshape(-1, SIGNATURE_VALUES)
    return SignedTexts([text.sample_id for text in texts], signatures)


def _block(texts: SignedTexts, found: Sequence[tuple[KnownText | None, float]]) -> TextBlock:
    owners = np.array([owner.number if owner else NO_OWNER for owner, _ in found], np.int64)
    similarities = np.array([similarity for _, similarity in found], np.float64)
    return TextBlock(texts.sample_ids, texts.signatures, owners, similarities)


def _find_owners(
    texts: SignedTexts,
    bands: Keys,
    shared: npt.NDArray[np.bool_],
    nearby: _Nearby,
    first: int,
    min_similarity: float,
) -> list[tuple[KnownText | None, float]]:
    """Return the owner of each text and its similarity, or None; texts that become owners join those nearby.

    Almost no text shares a band with another: only those that do, as `shared` says of each band, are looked at.
    """
    numbers, known = nearby.numbers, nearby.texts
    found: list[tuple[KnownText | None, float]] = [(None, 0.0)] * len(texts.sample_ids)
    keys, counts = bands[shared].tolist(), shared.sum(axis=1)
    ends = np.cumsum(counts)
    for place in np.flatnonzero(counts).tolist():
        signature, common = texts.signatures[place], keys[ends[place] - counts[place] : ends[place]]
        for number in sorted({number for key in common for number in numbers.get(key, ()) if number in known}):
            similarity = float(np.count_nonzero(known[number].signature == signature)) / SIGNATURE_VALUES
            if similarity >= min_similarity:
                found[place] = known[number], similarity
                break
        else:
            known[first + place] = KnownText(first + place, texts.sample_ids[place], signature, NO_OWNER, 0.0)
            for key in common:
                numbers.setdefault(key, []).append(first + place)
    return found


def _lock(connection: sa.Connection) -> None:
    """Let one writer judge at a time: two that judge similar texts at once would keep both. SQLite's do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE text_blocks IN SHARE ROW EXCLUSIVE MODE"))
