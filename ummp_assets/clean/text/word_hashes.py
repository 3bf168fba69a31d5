"""A hash for every word of many texts, without a Python object for any of them.

Bytes are folded by a table, words found where folded bytes change to and from spaces, and each word read as one number
of eight bytes or, if it is longer, as its first eight, its middle eight and its last eight. Words are runs of letters,
digits and underscores; characters of Chinese, Japanese and Korean are words of their own; case is not told apart.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["WHOLE_SPAN_BYTES", "hash_spans", "hash_words"]

_SPACE = 0x20
WHOLE_SPAN_BYTES = 24
"""Longer words are not read whole."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# Folds ASCII: capitals to small letters, all that is neither letter nor digit nor underscore to a space.
_ASCII = bytes(
    byte if byte >= 0x80 or chr(byte).isalnum() or byte == ord("_") else _SPACE for byte in bytes(range(256)).lower()
)
# Nearly all of these characters are Chinese, Japanese and Korean.
_WIDE = range(0x3000, 0xE000)

# Marks outside ASCII: general punctuation, and that of Chinese, Japanese and Korean, wide forms included.
_MARKS = {
    *(0xA1, 0xA7, 0xAB, 0xB6, 0xB7, 0xBB, 0xBF, *range(0x2010, 0x2028), *range(0x2030, 0x205F), 0x3000, 0x3030, 0x30FB),
    *(*range(0x3001, 0x3004), *range(0x3008, 0x3021), *range(0xFF01, 0xFF10), *range(0xFF1A, 0xFF21)),
    *(*range(0xFF3B, 0xFF41), *range(0xFF5B, 0xFF66)),
}

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


def hash_words(texts: Sequence[bytes]) -> tuple[_Hashes, _Places]:
    """Return the hashes of all words of texts in UTF-8, and how many words each text has; shapes (words,), (texts,)."""
    joined = b" ".join([b"", *texts, b" " * 8]).translate(_ASCII)
    data = np.frombuffer(joined, np.uint8)
    if joined.isascii():
        edges = _find_words(data)
    else:
        data = data.copy()
        wide = _fold_others(data)
        edges = _split_wide(data, wide, _find_words(data))
    behind = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    counts = (np.searchsorted(edges, behind) + 1) // 2
    counts[1:] -= counts[:-1].copy()
    return hash_spans(data, edges[::2], edges[1::2] - edges[::2]), counts


def _find_words(data: _Bytes) -> _Places:
    """Return where words begin and end, by turns; the data begin and end with a space."""
    inside = data != _SPACE
    changes = np.zeros(len(data), bool)
    np.not_equal(inside[1:], inside[:-1], out=changes[1:])
    (edges,) = changes.nonzero()
    return edges


def _split_wide(data: _Bytes, wide: _Places, edges: _Places) -> _Places:
    """Let every wide character be a word."""
    if not len(wide):
        return edges
    starts, ends = edges[::2], edges[1::2]
    following = wide + 3
    begins = np.concatenate((starts, wide, following[data[following] != _SPACE]))
    # Timsort merges what is sorted; np.unique would hash all places: 7.6 instead of 0.4 us for a text of 3 kB.
    begins.sort(kind="stable")
    begins = begins[np.append(True, begins[1:] != begins[:-1])]
    following = np.append(begins[1:], ends[-1])
    return np.column_stack((begins, np.minimum(following, ends[np.searchsorted(ends, begins, "right")]))).ravel()


def _fold_others(data: _Bytes) -> _Places:
    """Fold characters of two and three bytes in place: marks to spaces, capitals to small letters of equal size.

    Returns
    -------
    The places of wide characters that are no marks.
    """
    (leads,) = (data >= 0xC2).nonzero()
    # Four bytes at every place, as one number.
    heads = np.ndarray((len(data) - 3,), "<u4", data, 0, (1,))[leads]
    if (heads & 0xFF).max(initial=0) >= 0xF0:
        short = heads & 0xFF < 0xF0
        leads, heads = leads[short], heads[short]
    second = heads >> 8 & 0x3F
    long = heads & 0x20 != 0
    codes = np.where(long, (heads & 0x0F) << 12 | second << 6 | heads >> 16 & 0x3F, (heads & 0x1F) << 6 | second)
    folded = _folded().take(codes, axis=0)
    data[leads] = folded[:, 0]
    data[leads + 1] = folded[:, 1]
    data[leads[long] + 2] = folded[long, 2]
    wide: _Places = leads[folded[:, 3] != 0]
    return wide


@cache
def _folded() -> npt.NDArray[np.uint8]:
    """Return what each character of the basic plane is folded to: its bytes, and whether it is wide and no mark."""
    folded = bytearray(4 * 2**16)
    for code in range(0x80, 2**16):
        kept, small = (text.encode("utf-8", "surrogatepass") for text in (chr(code), chr(code).lower()))
        if code in _MARKS:
            small = bytes([_SPACE]) * len(kept)
        elif len(small) != len(kept):
            small = kept
        wide = code in _WIDE and code not in _MARKS
        folded[4 * code : 4 * code + 4] = small.ljust(3, b"\0") + bytes([wide])
    return np.frombuffer(folded, np.uint8).reshape(-1, 4)


def hash_spans(data: _Bytes, starts: _Places, lengths: _Places) -> _Hashes:
    """Return a hash of each span of the data, behind which eight bytes follow: of all of it, or of the length and the
    first, middle and last eight bytes if it has more than 24."""
    # Eight bytes at every place, as one number.
    numbers: _Hashes = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    hashes = numbers[starts]
    hashes &= _LENGTH_MASKS.take(lengths, mode="clip")
    (longer,) = (lengths > 8).nonzero()
    starts, sizes = starts[longer], lengths[longer]
    # The length tells words apart that differ in what is not read.
    more = numbers[starts + (sizes - 8)]
    more += sizes.view(np.uint64) * _FACTOR
    more *= _FACTOR
    more += numbers[starts + (sizes - 8 >> 1)]
    more *= _FACTOR
    hashes[longer] ^= more
    # Half of SplitMix64's finaliser (Steele et al. 2014).
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return hashes


_LENGTH_MASKS = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)
