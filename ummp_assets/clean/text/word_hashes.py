"""A hash for every word of many texts, without a Python object for any of them.

Bytes are folded by a table, words found where folded bytes change to and from spaces, and each word read as a few
numbers of eight bytes. Words are runs of letters, digits and underscores; characters of Chinese, Japanese and Korean
are words of their own; case is not told apart.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_SPAN_BYTES", "hash_spans", "hash_words"]

_SPACE = 0x20
MAX_SPAN_BYTES = 64
"""Of a longer word only so many bytes are read, and its length."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)

# Folds ASCII: capitals to small letters, all that is neither letter nor digit nor underscore to a space.
_ASCII = bytes(
    byte if byte >= 0x80 or chr(byte).isalnum() or byte == ord("_") else _SPACE for byte in bytes(range(256)).lower()
)
# Nearly all of these characters are Chinese, Japanese and Korean.
_FIRST_WIDE, _LAST_WIDE = 0x3000, 0xDFFF

# Marks outside ASCII: general punctuation, and that of Chinese, Japanese and Korean, wide forms included.
_MARKS = (
    *(0xA1, 0xA7, 0xAB, 0xB6, 0xB7, 0xBB, 0xBF, *range(0x2010, 0x2028), *range(0x2030, 0x205F), 0x3000, 0x3030, 0x30FB),
    *(*range(0x3001, 0x3004), *range(0x3008, 0x3021), *range(0xFF01, 0xFF10), *range(0xFF1A, 0xFF21)),
    *(*range(0xFF3B, 0xFF41), *range(0xFF5B, 0xFF66)),
)

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


def hash_words(texts: Sequence[bytes]) -> tuple[_Hashes, _Places]:
    """Return the hashes of all words of texts in UTF-8, and how many words each text has; shapes (words,), (texts,)."""
    joined = b" ".join([b"", *texts, b" " * MAX_SPAN_BYTES]).translate(_ASCII)
    data = np.frombuffer(joined, np.uint8)
    if joined.isascii():
        starts, ends = _find_words(data)
    else:
        data = data.copy()
        wide = _fold_others(data)
        starts, ends = _split_wide(data, wide, *_find_words(data))
    counts = np.searchsorted(starts, np.cumsum([len(text) + 1 for text in texts]))
    counts[1:] -= counts[:-1].copy()
    return hash_spans(data, starts, ends - starts), counts


def _find_words(data: _Bytes) -> tuple[_Places, _Places]:
    """Return where words begin and end; the data begin and end with a space."""
    inside = data != _SPACE
    (changes,) = (inside[1:] != inside[:-1]).nonzero()
    changes += 1
    return changes[::2], changes[1::2]


def _split_wide(data: _Bytes, wide: _Places, starts: _Places, ends: _Places) -> tuple[_Places, _Places]:
    """Let every wide character be a word."""
    if not len(wide):
        return starts, ends
    following = wide + 3
    begins = np.concatenate((starts, wide, following[data[following] != _SPACE]))
    # Timsort merges what is sorted; np.unique would hash all places: 7.6 instead of 0.4 us for a text of 3 kB.
    begins.sort(kind="stable")
    begins = begins[np.append(True, begins[1:] != begins[:-1])]
    following = np.append(begins[1:], ends[-1])
    return begins, np.minimum(following, ends[np.searchsorted(ends, begins, "right")])


def _fold_others(data: _Bytes) -> _Places:
    """Fold characters of two and three bytes in place: marks to spaces, capitals to small letters of equal size.

    Returns
    -------
    The places of wide characters that are no marks.
    """
    fold = _folded()
    leads = np.flatnonzero(data >= 0xC2)
    kinds = data[leads]
    first = leads[kinds < 0xE0]
    folded = fold[(data[first].astype(np.uint16) & 0x1F) << 6 | data[first + 1] & 0x3F]
    marks = folded == _SPACE
    data[first] = np.where(marks, _SPACE, folded >> 6 | 0xC0)
    data[first + 1] = np.where(marks, _SPACE, folded & 0x3F | 0x80)
    first = leads[(kinds >= 0xE0) & (kinds < 0xF0)]
    middle = data[first + 1].astype(np.uint16) & 0x3F
    folded = fold[(data[first].astype(np.uint16) & 0x0F) << 12 | middle << 6 | data[first + 2] & 0x3F]
    marks = folded == _SPACE
    data[first] = np.where(marks, _SPACE, folded >> 12 | 0xE0)
    data[first + 1] = np.where(marks, _SPACE, folded >> 6 & 0x3F | 0x80)
    data[first + 2] = np.where(marks, _SPACE, folded & 0x3F | 0x80)
    wide: _Places = first[(folded >= _FIRST_WIDE) & (folded <= _LAST_WIDE)]
    return wide


@cache
def _folded() -> npt.NDArray[np.uint16]:
    """What each character of the basic plane is folded to."""
    folded = np.arange(2**16, dtype=np.uint16)
    for code in range(0x80, 2**16):
        small = chr(code).lower()
        if len(small) == 1 and _utf8_bytes(ord(small)) == _utf8_bytes(code):
            folded[code] = ord(small)
    folded[list(_MARKS)] = _SPACE
    return folded


def _utf8_bytes(code: int) -> int:
    return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)


def hash_spans(data: _Bytes, starts: _Places, lengths: _Places) -> _Hashes:
    """Return a hash of each span of the data, behind which 64 bytes follow; of longer spans the first 64 bytes and the
    length decide."""
    # Eight bytes at every place, as one number.
    numbers: _Hashes = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    hashes = numbers[starts]
    hashes &= _LENGTH_MASKS.take(lengths, mode="clip")
    longer = np.flatnonzero(lengths > 8)
    for begun in range(8, MAX_SPAN_BYTES, 8):
        if not len(longer):
            break
        left = lengths[longer] - begun
        more = numbers[starts[longer] + begun]
        more &= _LENGTH_MASKS.take(left, mode="clip")
        more ^= hashes[longer] * _FACTOR
        # The length tells words apart that go on behind what is read.
        hashes[longer] = more + left.view(np.uint64)
        longer = longer[left > 8]
    # Half of SplitMix64's finaliser (Steele et al. 2014).
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return hashes


_LENGTH_MASKS = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)
