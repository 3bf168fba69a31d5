"""How many characters of a document stand in repeated n-grams: the counts behind Gopher's rules (Rae et al. 2021, table
A1), as datatrove 0.10 defines them.

n-grams are hashes of word numbers, one array operation for all places of a document. Where an n-gram occurs once, no
longer one that begins there occurs twice: each n looks only at the places that the one before it left.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ummp_assets.clean.text.hash_order import sort_places
from ummp_assets.clean.text.words import Words

__all__ = ["LONGEST", "LONGEST_TOP", "n_gram_characters"]

LONGEST = 10
"""The most words of an n-gram."""

LONGEST_TOP = 4
"""The most words of an n-gram of which the most frequent one counts."""

_FACTOR = np.uint64(0x9FB21C651E98DF25)

_Hashes = npt.NDArray[np.uint64]
_Places = npt.NDArray[np.int64]
_Marks = npt.NDArray[np.bool_]


def n_gram_characters(words: Words) -> Iterator[tuple[int, int]]:
    """Yield n, from 2 to 10 or the words of the document, and characters.

    Up to n = 4 they are the characters of the most frequent n-gram, joined by spaces, times its occurrences; of several
    the first in the document counts. From n = 5 on they are the characters, spaces not counted, in n-grams that
    occurred before, where such an n-gram is stepped over whole.
    """
    ends = np.zeros(words.count + 1, np.int64)
    np.cumsum(words.lengths, out=ends[1:])
    mixed = _mix(words.numbers)
    places, hashes = np.arange(words.count), mixed[: words.count]
    for n in range(2, min(LONGEST_TOP, words.count) + 1):
        count, place = 1, 0
        if len(places):
            hashes = hashes * _FACTOR + mixed[places + (n - 1)]
            order, repeats = sort_places(hashes)
            if repeats.any():
                count, first = _most_frequent(order, repeats)
                place = int(places[first])
            several = _place_marks(order, repeats)
            places, hashes = places[several], hashes[several]
        yield n, count * (int(ends[place + n] - ends[place]) + n - 1)
    lengths = range(LONGEST_TOP + 1, min(LONGEST, words.count) + 1)
    if lengths and len(places):
        yield from _duplicates(lengths, places, hashes, mixed, ends)
    else:
        yield from ((n, 0) for n in lengths)


def _duplicates(
    lengths: range, places: _Places, hashes: _Hashes, mixed: _Hashes, ends: _Places
) -> Iterator[tuple[int, int]]:
    """Yield n and the characters in n-grams that occurred before, given the 4-grams that occur several times.

    All n at once, since few places are left: shape (n, places).
    """
    grams = mixed[places + (np.array(lengths)[:, None] - 1)]
    for gram in grams:
        gram += hashes * _FACTOR
        hashes = gram
    several = _place_marks(*sort_places(grams))
    for n, gram, marks in zip(lengths, grams, several, strict=True):
        found = places[marks]
        yield n, _walk(found, gram[marks], ends[found + n] - ends[found], n) if len(found) else 0


def _mix(numbers: npt.NDArray[np.int64]) -> _Hashes:
    """Spread small numbers over 64 bits, by half of SplitMix64's finaliser (Steele et al. 2014).

    Numbers that no word has follow the last word, so that n-grams over the end are like no other.
    """
    mixed = np.empty(len(numbers) + LONGEST, np.uint64)
    mixed[: len(numbers)] = numbers
    mixed[len(numbers) :] = np.arange(2**63, 2**63 + LONGEST, dtype=np.uint64)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    return mixed


def _place_marks(order: _Places, repeats: _Marks) -> _Marks:
    """Return for each place whether its hash occurs several times; shape (..., n)."""
    ordered = np.zeros(order.shape, bool)
    ordered[..., 1:] = repeats
    ordered[..., :-1] |= repeats
    marks = np.empty(order.size, bool)
    row_begins = np.arange(0, order.size, order.shape[-1]).reshape(*order.shape[:-1], 1)
    marks[order + row_begins] = ordered
    return marks.reshape(order.shape)


def _most_frequent(order: _Places, repeats: _Marks) -> tuple[int, int]:
    """Return how often the most frequent hash occurs, and where first."""
    changes = np.flatnonzero(~repeats)
    begins = np.zeros(len(changes) + 2, np.int64)
    begins[1:-1], begins[-1] = changes + 1, len(order)
    counts = begins[1:] - begins[:-1]
    most = int(counts.max())
    return most, int(order[begins[:-1][counts == most]].min())


def _walk(places: _Places, hashes: _Hashes, spans: _Places, n: int) -> int:
    seen: set[int] = set()
    characters = free = 0
    for place, value, span in zip(places.tolist(), hashes.tolist(), spans.tolist(), strict=True):
        if place < free:
            continue
        if value in seen:
            characters += span
            free = place + n
        else:
            seen.add(value)
    return characters
