"""Repetition within a document: Gopher's rules (Rae et al. 2021, A1.1 and table A1), as datatrove 0.10 defines them.

n-grams are 64-bit hashes of word numbers, one array operation per n for the whole document. Sorting them shows how
often each occurs: that decides most documents, and the reference's walk over all words becomes one over the places
whose n-gram occurs twice.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ummp_assets.clean.rules.text import QUALITY
from ummp_assets.clean.text.words import Words

__all__ = ["duplicate_share", "measure_repetition"]

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")

_SHORTEST_DUPLICATE, _LONGEST = 5, 10
_SHARES = ("words", *(rule.measurement for rule in QUALITY["gopher_repetition"]))

_Hashes = npt.NDArray[np.uint64]


def measure_repetition(text: str, words: Words) -> dict[str, float]:
    """Return how much of a document is repetition, in shares of it by the names of the rules.

    In Chinese, Japanese and Korean the words are characters; the thresholds stay, being shares of characters.

    Parameters
    ----------
    text:
        The normalised document.
    words:
        Its words.
    """
    shares = dict.fromkeys(_SHARES, 0.0)
    if text:
        shares["words"] = words.count
        shares |= _measure_parts(text)
        shares |= _measure_n_grams(text, words)
    return shares


def duplicate_share(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many of the parts occurred before, and the characters in those."""
    if len(set(parts)) == len(parts):
        return 0, 0
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        else:
            seen.add(part)
    return count, characters


def _measure_parts(text: str) -> Iterator[tuple[str, float]]:
    for what, parts in (
        ("paragraph", _split(text.strip(), "\n\n", _PARAGRAPH_BREAK)),
        ("line", _split(text, "\n", _LINE_BREAK)),
    ):
        count, characters = duplicate_share(parts)
        yield f"gopher_duplicate_{what}s", count / len(parts)
        yield f"gopher_duplicate_{what}_characters", characters / len(text)


def _split(text: str, separator: str, breaks: re.Pattern[str]) -> list[str]:
    # str.split takes a tenth of the pattern's time and gives the same where no longer break occurs.
    return breaks.split(text) if f"{separator}\n" in text else text.split(separator)


def _measure_n_grams(text: str, words: Words) -> Iterator[tuple[str, float]]:
    ends = np.concatenate(([0], np.cumsum(words.lengths)))
    for n, hashes in _n_gram_hashes(words, _LONGEST):
        spans = ends[n:] - ends[:-n]
        if n < _SHORTEST_DUPLICATE:
            yield f"gopher_top_{n}_gram", _top_characters(hashes, spans + (n - 1)) / len(text)
        # An n-gram that occurs once only is part of no longer one that occurs twice.
        elif _are_distinct(hashes):
            return
        else:
            yield f"gopher_duplicate_{n}_grams", _duplicate_characters(hashes, spans, n) / len(text)


def _n_gram_hashes(words: Words, longest: int) -> Iterator[tuple[int, _Hashes]]:
    """Yield n and the hashes of the n-grams at each place, for n from 2; shape (words - n + 1,)."""
    # SplitMix64's finaliser (Steele et al. 2014) spreads the small word numbers over 64 bits.
    mixed = words.numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    hashes = mixed
    for n in range(2, min(longest, words.count) + 1):
        hashes = hashes[:-1] * np.uint64(0x9FB21C651E98DF25) + mixed[n - 1 :]
        yield n, hashes


def _are_distinct(hashes: _Hashes) -> bool:
    ordered = np.sort(hashes)
    return not bool((ordered[1:] == ordered[:-1]).any())


def _top_characters(hashes: _Hashes, spans: npt.NDArray[np.int64]) -> int:
    """Return the characters of the most frequent n-gram, joined by spaces, times its occurrences; of several the
    first in the text counts."""
    ordered = np.sort(hashes)
    lasts = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts = np.diff(lasts, prepend=-1)
    most = int(counts.max())
    if most == 1:
        return int(spans[0])
    frequent = ordered[lasts[counts == most]]
    # np.isin, which sorts both, takes three times as long.
    places = frequent.take(np.searchsorted(frequent, hashes), mode="clip") == hashes
    return most * int(spans[int(places.argmax())])


def _duplicate_characters(hashes: _Hashes, spans: npt.NDArray[np.int64], n: int) -> int:
    """Return the characters in n-grams that occurred before, where a repeated n-gram is stepped over whole.

    Only places whose n-gram occurs twice can matter: they alone are walked.
    """
    order = np.argsort(hashes)
    ordered = hashes[order]
    repeats = np.zeros(len(hashes), bool)
    repeats[1:] = ordered[1:] == ordered[:-1]
    repeats[:-1] |= repeats[1:]
    places = np.sort(order[repeats])
    seen: set[int] = set()
    characters = free = 0
    for place, value, span in zip(places.tolist(), hashes[places].tolist(), spans[places].tolist(), strict=True):
        if place < free:
            continue
        if value in seen:
            characters += span
            free = place + n
        else:
            seen.add(value)
    return characters
