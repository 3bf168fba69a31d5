"""Repetition within a document: Gopher's rules (Rae et al. 2021, A1.1 and table A1), as datatrove 0.10 defines them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ummp_assets.clean.rules.text import QUALITY
from ummp_assets.clean.text.n_grams import LONGEST_TOP, n_gram_characters
from ummp_assets.clean.text.words import Words

__all__ = ["duplicate_share", "measure_repetition"]

_LINE_BREAKS = re.compile(r"\n+")

# Gopher refuses documents of half as many words. All n-grams of eight mebibytes of one word would take 5 s and 200 MB.
_MAX_WORDS = 200_000

_SHARES = ("words", *(rule.measurement for rule in QUALITY["gopher_repetition"]))


def measure_repetition(text: str, words: Words) -> dict[str, float]:
    """Return how much of a document is repetition, in shares of it by the names of the rules.

    In Chinese, Japanese and Korean the words are characters; the thresholds stay, being shares of characters. Of longer
    documents the n-grams are those of the first 200,000 words, as shares of their part.

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
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))


def _measure_parts(text: str) -> Iterator[tuple[str, float]]:
    for what, parts in (
        ("paragraph", _paragraphs(text.strip())),
        ("line", _lines(text)),
    ):
        count, characters = duplicate_share(parts)
        yield f"gopher_duplicate_{what}s", count / len(parts)
        yield f"gopher_duplicate_{what}_characters", characters / len(text)


def _paragraphs(stripped: str) -> list[str]:
    # The reference's pattern \n{2,} takes ten times as long as str.split, and gives the same.
    parts = stripped.split("\n\n")
    return [part for raw in parts if (part := raw.lstrip("\n"))] if "\n\n\n" in stripped else parts


def _lines(text: str) -> list[str]:
    if text.startswith("\n") or text.endswith("\n"):
        return _LINE_BREAKS.split(text)
    return list(filter(None, text.split("\n")))


def _measure_n_grams(text: str, words: Words) -> Iterator[tuple[str, float]]:
    of_characters = float(len(text))
    if words.count > _MAX_WORDS:
        first = replace(words, numbers=words.numbers[:_MAX_WORDS], lengths=words.lengths[:_MAX_WORDS])
        of_characters *= float(first.lengths.sum() / words.lengths.sum())
        words = first
    for n, characters in n_gram_characters(words):
        name = f"gopher_top_{n}_gram" if n <= LONGEST_TOP else f"gopher_duplicate_{n}_grams"
        yield name, characters / of_characters
