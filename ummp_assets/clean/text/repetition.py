"""Repetition within a document: Gopher's rules (Rae et al. 2021, A1.1 and table A1), as datatrove 0.10 defines them.

n-grams are 64-bit hashes of word numbers, one array operation per n for the whole document. Sorting them shows how
often each occurs: that decides most documents, and the reference's walk over all words becomes one over the places
whose n-gram occurs twice.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.words import Words
from ummp_assets.reasons import Reason
from ummp_assets.text_settings import GopherRepetitionSettings

__all__ = ["duplicate_share", "judge_repetition"]

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")

_TOP_REASONS = {2: Reason.GOPHER_TOP_2_GRAM, 3: Reason.GOPHER_TOP_3_GRAM, 4: Reason.GOPHER_TOP_4_GRAM}
_DUPLICATE_REASONS = {
    5: Reason.GOPHER_DUPLICATE_5_GRAMS,
    6: Reason.GOPHER_DUPLICATE_6_GRAMS,
    7: Reason.GOPHER_DUPLICATE_7_GRAMS,
    8: Reason.GOPHER_DUPLICATE_8_GRAMS,
    9: Reason.GOPHER_DUPLICATE_9_GRAMS,
    10: Reason.GOPHER_DUPLICATE_10_GRAMS,
}

_Hashes = npt.NDArray[np.uint64]


def judge_repetition(text: str, words: Words, settings: GopherRepetitionSettings) -> Refusal | None:
    """Return the first rule of repetition that a document breaks, in the order of the reference, or None.

    In Chinese, Japanese and Korean the words are characters; the thresholds stay, being shares of characters.

    Parameters
    ----------
    text:
        The normalised document, not empty.
    words:
        Its words.
    """
    if words.count < settings.min_words:
        return None
    return _judge_parts(text, settings) or _judge_n_grams(text, words, settings)


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


def _judge_parts(text: str, settings: GopherRepetitionSettings) -> Refusal | None:
    for what, parts, max_parts, max_characters, reasons in (
        (
            "paragraphs",
            _split(text.strip(), "\n\n", _PARAGRAPH_BREAK),
            settings.duplicate_paragraphs,
            settings.duplicate_paragraph_characters,
            (Reason.GOPHER_DUPLICATE_PARAGRAPHS, Reason.GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS),
        ),
        (
            "lines",
            _split(text, "\n", _LINE_BREAK),
            settings.duplicate_lines,
            settings.duplicate_line_characters,
            (Reason.GOPHER_DUPLICATE_LINES, Reason.GOPHER_DUPLICATE_LINE_CHARACTERS),
        ),
    ):
        count, characters = duplicate_share(parts)
        if (share := count / len(parts)) > max_parts:
            return Refusal(reasons[0], f"{share:.1%} of the {what} occurred before, more than {max_parts:.1%}", share)
        if (share := characters / len(text)) > max_characters:
            detail = f"{share:.1%} of the text stands in {what} that occurred before, more than {max_characters:.1%}"
            return Refusal(reasons[1], detail, share)
    return None


def _split(text: str, separator: str, breaks: re.Pattern[str]) -> list[str]:
    # str.split takes a tenth of the pattern's time and gives the same where no longer break occurs.
    return breaks.split(text) if f"{separator}\n" in text else text.split(separator)


def _judge_n_grams(text: str, words: Words, settings: GopherRepetitionSettings) -> Refusal | None:
    ends = np.concatenate(([0], np.cumsum(words.lengths)))
    for n, hashes in _n_gram_hashes(words, max((*settings.top_n_grams, *settings.duplicate_n_grams), default=0)):
        if (allowed := settings.top_n_grams.get(n)) is not None:
            characters = _top_characters(hashes, ends[n:] - ends[:-n] + (n - 1), allowed * len(text))
            if (share := characters / len(text)) > allowed:
                detail = f"the most frequent {n}-gram is {share:.1%} of the text, more than {allowed:.1%}"
                return Refusal(_TOP_REASONS[n], detail, share)
        if (allowed := settings.duplicate_n_grams.get(n)) is not None:
            # An n-gram that occurs once only is part of no longer one that occurs twice.
            if _are_distinct(hashes):
                return None
            characters = _duplicate_characters(hashes, ends[n:] - ends[:-n], n)
            if (share := characters / len(text)) > allowed:
                detail = f"{share:.1%} of the text stands in {n}-grams that occurred before, more than {allowed:.1%}"
                return Refusal(_DUPLICATE_REASONS[n], detail, share)
    return None


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


def _top_characters(hashes: _Hashes, spans: npt.NDArray[np.int64], enough: float) -> int:
    """Return the characters of the most frequent n-gram, joined by spaces, times its occurrences; of several the
    first in the text counts. Exact above `enough`, else any number up to it."""
    ordered = np.sort(hashes)
    lasts = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts = np.diff(lasts, prepend=-1)
    most = int(counts.max())
    if most * int(spans.max()) <= enough:
        return 0
    if most == 1:
        return int(spans[0])
    frequent = ordered[lasts[counts == most]]
    places = hashes == frequent[0] if len(frequent) == 1 else np.isin(hashes, frequent)
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
