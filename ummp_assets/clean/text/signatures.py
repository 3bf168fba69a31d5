"""MinHash signatures of texts (Broder 1997), over sequences of five words, for a whole chunk at once.

No word becomes a Python object: a running sum of the bytes, each times a power of a constant, gives the hash of every
word as a difference (Karp and Rabin 1987), and five of those the hash of a sequence. The minima come from rensa, whose
estimates were compared with datasketch's and with exact similarities.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import rensa

from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES

__all__ = ["SEQUENCE_WORDS", "sign_texts"]

SEQUENCE_WORDS = 5
"""Words of a sequence, as FineWeb takes them (Penedo et al. 2024, appendix E.3)."""

# Punctuation outside ASCII: general, and that of Chinese, Japanese and Korean, wide forms included.
_MARKS = re.compile(
    "[\xa1\xa7\xab\xb6\xb7\xbb\xbf\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u3020\u3030\u30fb"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+"
)

_SEED = 20_240_625
_MAX_BYTES = 2**20
# Arrays of eight times this stay in the processor's cache: 22 us a document of 2.7 kB, 28 us with 2 MiB at once.
_BYTES_AT_ONCE = 2**16

# Odd, so that powers can be divided out again. 32 bits tell words apart well enough, in half of the memory.
_FACTOR = np.uint32(0x9FB21C65)
_INVERSE = np.uint32(pow(0x9FB21C65, -1, 2**32))
_WORD_FACTOR = np.uint64(0x9FB21C651E98DF25)

_Hashes = npt.NDArray[np.uint64]
_HalfHashes = npt.NDArray[np.uint32]


def sign_texts(texts: Sequence[str]) -> npt.NDArray[np.uint16]:
    """Return a signature for each text.

    Case and punctuation are not compared. A character of Chinese, Japanese or Korean counts as a word. Only the first
    MiB of a text is read.

    Returns
    -------
    Shape (texts, 112), uint16, low bits of the minima; all zeros for a text of fewer than five words, which has no
    sequence to compare.
    """
    signatures = np.zeros((len(texts), SIGNATURE_VALUES), np.uint16)
    for start, encoded in _groups(texts):
        sequences, offsets = _hash_sequences(encoded)
        signed = np.flatnonzero(np.diff(offsets))
        if not len(signed):
            continue
        # rensa gives the largest value to an empty row; those are left at zero.
        minima = rensa.RMinHash.digest_matrix_from_flat_token_hashes(sequences, offsets, SIGNATURE_VALUES, _SEED)
        signatures[start + signed] = np.array(minima.to_rows(), np.uint32)[signed]
    return signatures


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield runs of texts that are small together, each with the place of its first."""
    start, size = 0, 0
    group: list[bytes] = []
    for place, text in enumerate(texts):
        head = text[:_MAX_BYTES]
        encoded = (head if head.isascii() else _MARKS.sub(" ", head.lower())).encode()[:_MAX_BYTES]
        if group and size + len(encoded) > _BYTES_AT_ONCE:
            yield start, group
            start, size, group = place, 0, []
        group.append(encoded)
        size += len(encoded) + 1
    if group:
        yield start, group


def _hash_sequences(encoded: Sequence[bytes]) -> tuple[_Hashes, _Hashes]:
    """Return the hashes of all sequences of words, and where each text's begin; shapes (sequences,), (texts + 1,)."""
    data = np.frombuffer(b" ".join(encoded) + b" ", np.uint8)
    text_ends = np.cumsum([len(text) + 1 for text in encoded])
    starts, ends = _word_bounds(data)
    words = _hash_words(data, starts, ends)
    words_before = np.searchsorted(starts, text_ends)
    sequences = words[: max(len(words) - SEQUENCE_WORDS + 1, 0)].copy()
    for place in range(1, SEQUENCE_WORDS):
        sequences = sequences * _WORD_FACTOR + words[place : place + len(sequences)]
    text_of_word = np.repeat(np.arange(len(encoded)), np.diff(words_before, prepend=0))
    inside = text_of_word[: len(sequences)] == text_of_word[SEQUENCE_WORDS - 1 :][: len(sequences)]
    counts = np.maximum(np.diff(words_before, prepend=0) - (SEQUENCE_WORDS - 1), 0)
    return sequences[inside], np.concatenate(([0], np.cumsum(counts))).astype(np.uint64)


def _word_bounds(data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    kinds = _byte_kinds()[data]
    before = np.concatenate(([np.uint8(0)], kinds[:-1]))
    begins = (kinds == 2) | ((kinds == 1) & (before == 0))
    ends = (before != 0) & (begins | (kinds == 0))
    return np.flatnonzero(begins), np.flatnonzero(ends)


def _hash_words(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> _Hashes:
    powers, inverses = _powers()
    terms = _byte_values()[data]
    terms *= powers[: len(data)]
    sums = np.zeros(len(data) + 1, np.uint32)
    np.cumsum(terms, out=sums[1:])
    return _spread(((sums[ends] - sums[starts]) * inverses[starts]).astype(np.uint64))


def _spread(values: _Hashes) -> _Hashes:
    """Let every bit decide every other, by half of SplitMix64's finaliser (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    spread: _Hashes = values ^ (values >> np.uint64(27))
    return spread


@cache
def _byte_kinds() -> npt.NDArray[np.uint8]:
    """0: between words; 1: inside a word; 2: begins a word, being the first byte of a CJK character in UTF-8."""
    kinds = np.zeros(256, np.uint8)
    kinds[[*b"0123456789_", *range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1), *range(0x80, 0x100)]] = 1
    kinds[0xE3:0xEE] = 2
    return kinds


@cache
def _byte_values() -> _HalfHashes:
    """A value for each byte; small and capital ASCII letters have the same."""
    values = (_spread(np.arange(1, 257, dtype=np.uint64) * _WORD_FACTOR) >> np.uint64(32)).astype(np.uint32)
    values[ord("A") : ord("Z") + 1] = values[ord("a") : ord("z") + 1]
    return values


@cache
def _powers() -> tuple[_HalfHashes, _HalfHashes]:
    """Return the powers of the factor and of its inverse, for every place in a group; wrapping at 2^32."""
    count = _BYTES_AT_ONCE + _MAX_BYTES + 2
    powers, inverses = np.full(count, _FACTOR), np.full(count, _INVERSE)
    powers[0] = inverses[0] = 1
    return np.cumprod(powers, dtype=np.uint32), np.cumprod(inverses, dtype=np.uint32)
