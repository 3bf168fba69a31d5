"""Which bands a dataset's runs may hold, in one look at memory for each, however many runs there are."""

from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt

__all__ = ["BandFilter"]

_MIN_BITS_PER_BAND = 16
# 256 kB, for eight thousand texts.
_MIN_BITS = 2**21
# 64 MB, which tell nineteen of twenty bands apart among those of four million texts.
_MAX_BITS = 2**29
# Arrays of this length stay in the processor's cache.
_BANDS_AT_ONCE = 2**15
# Lower bits of a band that choose its bits of the first word, the other word, and its bits there.
_FIRST_BITS, _OTHER_BITS, _OTHER_WORD = (0, 6, 12), (18, 24), 30
_BIT_OF_WORD = np.uint64(63)

_Integers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]


class BandFilter:
    """A Bloom filter (1970) of five bits a band and 16 to 32 for each, which tells of 998 bands in 1000 that no run has
    them.

    Three of its bits stand in one word of 64 bits, two in another of the same line of the processor's cache (Putze,
    Sanders and Singler 2007), and the lines of ascending bands follow each other. There is one filter for all runs:
    among 10^6 texts a filter for each of ten took six times as long, and merging runs changes nothing here.

    Parameters
    ----------
    bands:
        How many there are to be; it has room for up to twice as many.
    """

    def __init__(self, bands: int) -> None:
        bits = min(max(1 << (_MIN_BITS_PER_BAND * bands).bit_length(), _MIN_BITS), _MAX_BITS)
        self._words: _Words = np.zeros(bits // 64, np.uint64)
        self.runs: Set[int] = frozenset()
        """Numbers of the runs whose bands were added."""

    @property
    def byte_count(self) -> int:
        return self._words.nbytes

    def has_room(self, bands: int) -> bool:
        bits = 8 * self.byte_count
        return bits == _MAX_BITS or bits >= _MIN_BITS_PER_BAND * bands

    def add(self, bands: _Integers) -> None:
        """Add bands; ascending ones are added fastest."""
        for start in range(0, len(bands), _BANDS_AT_ONCE):
            part = bands[start : start + _BANDS_AT_ONCE]
            places = self._places(part)
            # `at` waits for each word, reads do not wait for one another: 0.3 instead of 0.9 ms for a thousand texts
            # among 10^6.
            self._words.take(places, mode="clip")
            np.bitwise_or.at(self._words, places, _masks(part, _FIRST_BITS))
            np.bitwise_or.at(self._words, _others(places, part), _masks(part, _OTHER_BITS))

    def choose(self, bands: _Integers) -> _Integers:
        """Return all bands that were added, and few others, in their order."""
        places = self._places(bands)
        (held,) = self._holds(places, _masks(bands, _FIRST_BITS)).nonzero()
        places, bands = places[held], bands[held]
        return bands[self._holds(_others(places, bands), _masks(bands, _OTHER_BITS))]

    def _places(self, bands: _Integers) -> _Integers:
        shift = np.uint64(64 - (len(self._words) - 1).bit_length())
        return (bands.view(np.uint64) >> shift).view(np.int64)

    def _holds(self, places: _Integers, masks: _Words) -> npt.NDArray[np.bool_]:
        # Without a check of bounds: an eighth less than `words[places]`.
        words = self._words.take(places, mode="clip")
        words &= masks
        held: npt.NDArray[np.bool_] = words == masks
        return held


def _others(places: _Integers, bands: _Integers) -> _Integers:
    """Return the place of the other word of each band."""
    return places & ~7 | bands >> _OTHER_WORD & 7


def _masks(bands: _Integers, shifts: Sequence[int]) -> _Words:
    """Return bits of each band, chosen by its lower bits: the upper ones choose the words."""
    words = bands.view(np.uint64)
    masks = np.uint64(1) << (words >> np.uint64(shifts[0]) & _BIT_OF_WORD)
    for shift in shifts[1:]:
        masks |= np.uint64(1) << (words >> np.uint64(shift) & _BIT_OF_WORD)
    return masks
