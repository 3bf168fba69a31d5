"""Near duplicates of texts in the index: which earlier text of a dataset has a MinHash signature like this one.

Broder 1997 for signatures; Leskovec, Rajaraman and Ullman 2020, "Mining of Massive Datasets", 3.4 for the bands: a
signature of 112 values is cut into 14 bands of 8, as FineWeb does (Penedo et al. 2024, appendix E.3), so that texts of
Jaccard similarity 0.8 share a band with probability 0.92 and of 0.9 with 0.9998; the share of equal values in both
signatures then decides.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ummp_assets.errors import InvalidInput
from ummp_assets.storage.band_runs import METADATA as BAND_RUNS
from ummp_assets.storage.band_runs import BandRuns
from ummp_assets.storage.index import Index
from ummp_assets.storage.text_blocks import (
    BLOCK_TEXTS,
    NO_OWNER,
    TextBlock,
    append_blocks,
    next_number,
    read_blocks,
    remove_texts,
)
from ummp_assets.storage.text_blocks import METADATA as TEXT_BLOCKS

__all__ = ["BANDS", "SIGNATURE_VALUES", "SignatureIndex", "SignedText", "SimilarTwin"]

BANDS, BAND_VALUES = 14, 8
SIGNATURE_VALUES = BANDS * BAND_VALUES

_TEXTS_PER_TRANSACTION = 1_000

_Values = npt.NDArray[np.uint16]
_Keys = npt.NDArray[np.int64]


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
    """A text in the index; `owner` is the number of its owner or `NO_OWNER`."""

    number: int
    sample_id: str
    signature: _Values
    owner: int
    similarity: float


class SignatureIndex:
    """Owners of texts, per dataset; safe for several processes at once.

    Every verdict is kept, so that a repeated batch gets the answers that it got, whatever came in between. One
    structure of sorted runs leads to a text by each of its bands, by its sample id, and by its owner; the texts
    themselves stand in blocks.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._runs = BandRuns()
        index.make_tables(TEXT_BLOCKS)
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
                verdicts |= self._judge(connection, dataset, part, min_similarity)
        return [verdicts[text.sample_id] for text in texts]

    def heirs(self, dataset: str, sample_ids: Sequence[str]) -> set[str]:
        """Return the samples that are near duplicates of any of these, which own a content."""
        if not sample_ids:
            return set()
        with self._index.transaction(reading=True) as connection:
            candidates = self._led_to(connection, dataset, _id_keys(sample_ids))
            owners = {text.number for text in candidates if text.sample_id in set(sample_ids)}
            return {heir.sample_id for heir in self._find_heirs(connection, dataset, owners)}

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
                heirs = self._remove(connection, dataset, sample_id)
                judged = self._judge(connection, dataset, heirs, min_similarity)
                promoted += [heir for heir, twin in judged.items() if twin is None]
        return promoted

    def _judge(
        self, connection: sa.Connection, dataset: str, texts: Sequence[SignedText], min_similarity: float
    ) -> dict[str, SimilarTwin | None]:
        """Return the verdict of each text; those that had none get one, in order."""
        if not texts:
            return {}
        ids = _id_keys([text.sample_id for text in texts])
        bands = _band_keys(np.concatenate([text.signature for text in texts]).reshape(len(texts), SIGNATURE_VALUES))
        keys = np.sort(np.concatenate((bands.ravel(), ids)))
        repeats = keys[1:] == keys[:-1]
        buckets = self._runs.find(connection, dataset, np.append(keys[:-1][~repeats], keys[-1]))
        known = _read_known(connection, {number for bucket in buckets.values() for number in bucket})
        verdicts = _verdicts_of(connection, known, {text.sample_id for text in texts})
        latest = {text.sample_id: place for place, text in enumerate(texts)}
        new = [place for sample_id, place in latest.items() if sample_id not in verdicts]
        if new:
            crowded = _holds(bands[new], np.union1d(keys[1:][repeats], np.fromiter(buckets, np.int64, len(buckets))))
            first = next_number(connection)
            texts = [texts[place] for place in new]
            found = _find_owners(texts, bands[new], crowded, buckets, known, first, min_similarity)
            self._write(connection, dataset, first, texts, found, bands[new], ids[new])
            verdicts |= {
                text.sample_id: SimilarTwin(owner.sample_id, similarity) if owner else None
                for text, (owner, similarity) in zip(texts, found, strict=True)
            }
        return verdicts

    def _write(
        self,
        connection: sa.Connection,
        dataset: str,
        first: int,
        texts: Sequence[SignedText],
        found: Sequence[tuple[_Known | None, float]],
        bands: _Keys,
        ids: _Keys,
    ) -> None:
        """Keep texts, whose numbers begin at `first`, and what leads to them: bands, ids and owners."""
        owners = np.array([owner.number if owner else NO_OWNER for owner, _ in found], np.int64)
        similarities = np.array([similarity for _, similarity in found], np.float64)
        signatures = np.stack([text.signature for text in texts])
        block = TextBlock([text.sample_id for text in texts], signatures, owners, similarities)
        append_blocks(connection, first, block)
        numbers = first + np.arange(len(texts), dtype=np.uint32)
        owns = owners == NO_OWNER
        leading = (bands[owns].ravel(), ids, _heir_keys(owners[~owns]))
        led_to = (np.repeat(numbers[owns], BANDS), numbers, numbers[~owns])
        self._runs.add(connection, dataset, np.concatenate(leading), np.concatenate(led_to))

    def _remove(self, connection: sa.Connection, dataset: str, sample_id: str) -> list[SignedText]:
        """Remove a text and the verdicts that name it; return the texts that lost their owner, in order.

        What led to them, hashes of 64 bits, stays in the runs, where it names numbers that no text has any more.
        """
        candidates = self._led_to(connection, dataset, _id_keys([sample_id]))
        gone = next((text for text in candidates if text.sample_id == sample_id), None)
        if gone is None:
            return []
        heirs = self._find_heirs(connection, dataset, {gone.number})
        remove_texts(connection, [gone.number, *(heir.number for heir in heirs)])
        return [SignedText(heir.sample_id, heir.signature) for heir in heirs]

    def _find_heirs(self, connection: sa.Connection, dataset: str, owners: Set[int]) -> list[_Known]:
        """Return the texts whose owner is one of these numbers, in order."""
        keys = _heir_keys(np.fromiter(owners, np.int64, len(owners)))
        return [text for text in self._led_to(connection, dataset, keys) if text.owner in owners]

    def _led_to(self, connection: sa.Connection, dataset: str, keys: _Keys) -> list[_Known]:
        """Return the texts that the keys may lead to, in order."""
        found = self._runs.find(connection, dataset, np.unique(keys))
        known = _read_known(connection, {number for numbers in found.values() for number in numbers})
        return [known[number] for number in sorted(known)]


def _verdicts_of(
    connection: sa.Connection, known: Mapping[int, _Known], sample_ids: Set[str]
) -> dict[str, SimilarTwin | None]:
    texts = [text for text in known.values() if text.sample_id in sample_ids]
    owners = _read_known(connection, {text.owner for text in texts} - {NO_OWNER})
    return {
        text.sample_id: None if text.owner == NO_OWNER else SimilarTwin(owners[text.owner].sample_id, text.similarity)
        for text in texts
    }


def _find_owners(
    texts: Sequence[SignedText],
    keys: _Keys,
    crowded: npt.NDArray[np.bool_],
    buckets: dict[int, list[int]],
    known: dict[int, _Known],
    first: int,
    min_similarity: float,
) -> list[tuple[_Known | None, float]]:
    """Return the owner of each text and its similarity, or None; texts that become owners join the buckets.

    Almost no text shares a band with another: only those that do, as `crowded` says of each band, are looked at.
    """
    found: list[tuple[_Known | None, float]] = [(None, 0.0)] * len(texts)
    shared: dict[int, set[int]] = {}
    for place, key in zip(crowded.nonzero()[0].tolist(), keys[crowded].tolist(), strict=True):
        shared.setdefault(place, set()).add(key)
    for place, common in shared.items():
        text = texts[place]
        for number in sorted({number for key in common for number in buckets.get(key, ()) if number in known}):
            similarity = float(np.count_nonzero(known[number].signature == text.signature)) / SIGNATURE_VALUES
            if similarity >= min_similarity:
                found[place] = known[number], similarity
                break
        else:
            known[first + place] = _Known(first + place, text.sample_id, text.signature, NO_OWNER, 0.0)
            for key in common:
                buckets.setdefault(key, []).append(first + place)
    return found


def _holds(keys: _Keys, wanted: _Keys) -> npt.NDArray[np.bool_]:
    """Return for each key whether it is among the wanted ones."""
    # Of the few wanted ones a table of 16 bits spares nearly all of the binary search: 0.1 instead of 1 us for a text.
    table = np.zeros(2**16, bool)
    table[wanted & 0xFFFF] = True
    held: npt.NDArray[np.bool_] = table[keys & 0xFFFF]
    held[held] = np.isin(keys[held], wanted)
    return held


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


def _id_keys(sample_ids: Sequence[str]) -> _Keys:
    digests = [hashlib.blake2b(sample_id.encode(), digest_size=8).digest() for sample_id in sample_ids]
    return np.frombuffer(b"".join(digests), np.int64)


def _heir_keys(owners: _Keys) -> _Keys:
    # Far from the band keys, which mix small numbers first.
    return _mix(owners.view(np.uint64) + np.uint64(0x6A09E667F3BCC908)).view(np.int64)


def _read_known(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, _Known]:
    """Return the texts of the numbers, those left out that were removed."""
    wanted = sorted(numbers)
    blocks = read_blocks(connection, wanted) if wanted else {}
    known: dict[int, _Known] = {}
    for number in wanted:
        block, place = blocks[number // BLOCK_TEXTS], number % BLOCK_TEXTS
        if (sample_id := block.sample_ids[place]) is not None:
            owner, similarity = int(block.owners[place]), float(block.similarities[place])
            known[number] = _Known(number, sample_id, block.signatures[place], owner, similarity)
    return known


def _lock(connection: sa.Connection) -> None:
    """Let one writer judge at a time: two that judge similar texts at once would keep both. SQLite's do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE text_blocks IN SHARE ROW EXCLUSIVE MODE"))
