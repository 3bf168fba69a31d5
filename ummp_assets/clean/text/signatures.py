"""MinHash signatures of texts (Broder 1997), over sequences of five words, for a whole chunk at once.

No word becomes a Python object. `word_hashes.py` gives a hash of every word; five of those the hash of a sequence. The
minima come from rensa, whose estimates were compared with datasketch's and with exact similarities.
"""

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import rensa

from ummp_assets.clean.text.word_hashes import hash_words
from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES

__all__ = ["SEQUENCE_WORDS", "sign_texts"]

SEQUENCE_WORDS = 5
"""Words of a sequence, as FineWeb takes them (Penedo et al. 2024, appendix E.3)."""

_SEED = 20_240_625
_MAX_BYTES = 2**20
# Arrays of this size stay in the processor's cache.
_BYTES_AT_ONCE = 2**16

# An array, whose products wrap around without a warning.
_SEQUENCE_FACTOR = np.array([0x9FB21C651E98DF25], np.uint64)

_Hashes = npt.NDArray[np.uint64]


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
        signed = np.flatnonzero(offsets[1:] != offsets[:-1])
        if not len(signed):
            continue
        # rensa gives the largest value to an empty row; those are left at zero.
        minima = rensa.RMinHash.digest_matrix_from_flat_token_hashes(sequences, offsets, SIGNATURE_VALUES, _SEED)
        # Half of the time of np.array, which looks at every number's type.
        values = np.frombuffer(b"".join([array("I", row) for row in minima.to_rows()]), np.uint32)
        signatures[start + signed] = values.reshape(-1, SIGNATURE_VALUES)[signed]
    return signatures


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield runs of texts that are small together, in UTF-8, each with the place of its first."""
    start, size = 0, 0
    group: list[bytes] = []
    for place, text in enumerate(texts):
        encoded = text[:_MAX_BYTES].encode()
        if len(encoded) > _MAX_BYTES:
            # Not in the middle of a character.
            encoded = encoded[:_MAX_BYTES].decode("utf-8", "ignore").encode()
        if group and size + len(encoded) > _BYTES_AT_ONCE:
            yield start, group
            start, size, group = place, 0, []
        group.append(encoded)
        size += len(encoded)
    if group:
        yield start, group


def _hash_sequences(encoded: Sequence[bytes]) -> tuple[_Hashes, _Hashes]:
    """Return the hashes of all sequences of words, and where each text's begin; shapes (sequences,), (texts + 1,)."""
    words, counts = hash_words(encoded)
    sequences = _combine(words)
    ends = np.cumsum(counts)
    offsets = np.zeros(len(encoded) + 1, np.uint64)
    if counts.min() < SEQUENCE_WORDS:
        offsets[1:] = np.cumsum(np.maximum(counts - (SEQUENCE_WORDS - 1), 0))
        return sequences[_inside(len(words), counts, ends)[: len(sequences)]], offsets
    # The last words of a text begin sequences that reach into the next one: the one before them, once more, changes no
    # minimum, and takes a tenth of the time of removing them.
    inner = ends[:-1]
    for place in range(1, SEQUENCE_WORDS):
        sequences[inner - place] = sequences[inner - SEQUENCE_WORDS]
    offsets[1:] = ends
    offsets[-1] = len(sequences)
    return sequences, offsets


def _combine(words: _Hashes) -> _Hashes:
    """Return a hash of each five words that follow one another: a polynomial, its terms taken by twos."""
    count = max(len(words) - SEQUENCE_WORDS + 1, 0)
    pairs = words[:-1] * _SEQUENCE_FACTOR
    pairs += words[1:]
    sequences = pairs[:count] * (_SEQUENCE_FACTOR * _SEQUENCE_FACTOR)
    sequences += pairs[2 : 2 + count]
    sequences *= _SEQUENCE_FACTOR
    sequences += words[4 : 4 + count]
    return sequences


def _inside(words: int, counts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return for each word whether it begins a sequence within its text."""
    inside = np.ones(words, bool)
    for place in range(1, SEQUENCE_WORDS):
        inside[(ends - place)[counts >= place]] = False
    return inside
