"""A document's words as arrays: split once, numbered once, so that every rule after it is arithmetic.

Text repeats itself: a chunk between spaces is split at its first sight and looked up afterwards, which leaves one
dictionary look-up a chunk and no Python per word: what a chunk's number stands for is arithmetic, too. The tables of
all languages forget everything when they have grown large together; nothing depends on what they remember.
"""

import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ummp_assets.clean.text.english_words import split_english_chunk
from ummp_assets.clean.text.scripts import (
    CHARACTER_LANGUAGES,
    STOP_WORDS,
    SYMBOLS,
    TERMINALS,
    is_punctuation,
    split_characters,
)

__all__ = ["WordTable", "Words", "new_word_table", "split_words", "word_table"]

_Value = TypeVar("_Value")

# About 150,000 English chunks. By bytes, for a chunk of Chinese is a sentence or more, and over all languages, of which
# there are 176.
_MAX_BYTES = 32 * 2**20
# Measured: a string, its place in a dictionary and its words, and ten bytes for each character of long ones.
_BYTES_PER_CHUNK, _BYTES_PER_CHARACTER = 150, 10

_MAX_CHUNK = 2**16

_LETTER = re.compile(r"[^\W\d_]")
_HAS_LETTER, _IS_SYMBOL, _IS_TERMINAL, _IS_PUNCTUATION = 1, 2, 4, 8
_DECIDING = _IS_PUNCTUATION | _IS_TERMINAL
_TERMINAL, _WORD = "t", "w"
_END = _TERMINAL + _WORD


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one document, n of them.

    Parameters
    ----------
    numbers:
        Shape (n,), int64: equal numbers are equal words; valid for this document only.
    lengths:
        Shape (n,), int64, characters of each word.
    flags:
        Shape (n,), uint8, properties of each word.
    stop_words:
        How many different stop words of the language occur, or None when no list is known for it.
    """

    numbers: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]
    stop_words: int | None

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
    def with_letters(self) -> int:
        """Words that hold at least one letter."""
        return int(np.count_nonzero(self.flags & _HAS_LETTER))

    @property
    def proper_lengths(self) -> npt.NDArray[np.int64]:
        """Lengths of the words that are not made of symbols only."""
        proper: npt.NDArray[np.int64] = self.lengths[(self.flags & _IS_SYMBOL) == 0]
        return proper


class WordTable:
    """Numbers words and remembers their properties; not safe for several threads.

    `byte_count` is about what it takes in memory.
    """

    def __init__(self, split: Callable[[str], Iterable[str]], stop_words: Iterable[str] | None) -> None:
        self._split = split
        self._stop_words = None if stop_words is None else tuple(stop_words)
        self._lengths, self._flags = array("q"), array("B")
        self._numbers = _Memory(self._number)
        # The words of chunk n are those from begins[n] to begins[n + 1].
        self._words, self._begins = array("q"), array("q", [0])
        self._chunks = _Memory(self._split_new)
        self._marks, self._word_marks = _Memory(self._read_marks), _Memory(self._read_word_mark)
        self.byte_count = 0
        for word in self._stop_words or ():
            self._numbers[word] = self._number(word)

    def words(self, text: str) -> Words:
        """Return the words of a text."""
        chunks = np.fromiter(map(self._chunks.__getitem__, text.split()), np.int64)
        begins = np.frombuffer(self._begins, np.int64)
        firsts = begins[chunks]
        counts = begins[chunks + 1] - firsts
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0)
        places += np.repeat(firsts - (ends - counts), counts)
        numbers = np.frombuffer(self._words, np.int64)[places]
        stop_words = None
        if self._stop_words is not None:
            stop_words = int(np.count_nonzero(np.bincount(numbers[numbers < len(self._stop_words)])))
        lengths = np.frombuffer(self._lengths, np.int64)[numbers]
        return Words(numbers, lengths, np.frombuffer(self._flags, np.uint8)[numbers], stop_words)

    def count_sentences(self, text: str) -> int:
        """Count sentences: a terminal mark ends one when a word follows it; punctuation between them changes nothing.

        For a line: it is less than half of the work of `words`.
        """
        chunks = text.split()
        if len(text) > _MAX_CHUNK:
            # A line of Chinese may be one chunk, and each of its characters takes 76 bytes.
            chunks = [
                chunk[start : start + _MAX_CHUNK] for chunk in chunks for start in range(0, len(chunk), _MAX_CHUNK)
            ]
        return 1 + "".join(map(self._marks.__getitem__, chunks)).count(_END) if chunks else 0

    def _split_new(self, chunk: str) -> int:
        self.byte_count += _BYTES_PER_CHUNK + _BYTES_PER_CHARACTER * len(chunk)
        self._words.extend(map(self._numbers.__getitem__, self._split(chunk)))
        self._begins.append(len(self._words))
        return len(self._begins) - 2

    def _read_marks(self, chunk: str) -> str:
        """Return a letter for each word of a chunk that decides where sentences end."""
        self.byte_count += _BYTES_PER_CHUNK + len(chunk)
        return "".join(map(self._word_marks.__getitem__, self._split(chunk)))

    def _read_word_mark(self, word: str) -> str:
        self.byte_count += _BYTES_PER_CHUNK + len(word)
        flags = _flags(word)
        return "" if flags & _DECIDING == _IS_PUNCTUATION else _TERMINAL if flags & _IS_TERMINAL else _WORD

    def _number(self, word: str) -> int:
        self._lengths.append(len(word))
        self._flags.append(_flags(word))
        return len(self._flags) - 1


class _Memory(dict[str, _Value]):
    """What was computed for each text, computed when first asked for."""

    def __init__(self, compute: Callable[[str], _Value]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, text: str) -> _Value:
        value = self[text] = self._compute(text)
        return value


def _flags(word: str) -> int:
    if word.isalpha():
        return _HAS_LETTER
    flags = 0
    if _LETTER.search(word):
        flags |= _HAS_LETTER
    if word in TERMINALS:
        flags |= _IS_TERMINAL
    if not word[0].isalnum():
        if SYMBOLS.issuperset(word):
            flags |= _IS_SYMBOL
        if all(is_punctuation(character) for character in word):
            flags |= _IS_PUNCTUATION
    return flags


_TABLES: dict[str, WordTable] = {}


def word_table(language: str) -> WordTable:
    """Return the process's table for a language, for one document."""
    if sum(table.byte_count for table in _TABLES.values()) > _MAX_BYTES:
        _TABLES.clear()
    if language not in _TABLES:
        _TABLES[language] = new_word_table(language)
    return _TABLES[language]


def new_word_table(language: str) -> WordTable:
    """Return a table that remembers nothing yet: by characters for Chinese, Japanese and Korean, else by words."""
    split = split_characters if language in CHARACTER_LANGUAGES else split_english_chunk
    return WordTable(split, STOP_WORDS.get(language))


def split_words(text: str, language: str = "en") -> list[str]:
    """Return the words of a text as strings, for reading and testing."""
    split = split_characters if language in CHARACTER_LANGUAGES else split_english_chunk
    return [word for chunk in text.split() for word in split(chunk)]
