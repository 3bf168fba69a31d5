"""What leads to a text, in sorted runs: a log-structured merge tree (O'Neil et al. 1996) of big rows.

Bands of signatures and hashes of ids are random numbers. As rows of their own, 15 for each text, they would fall on 15
other pages of the database's tree: measured, a thousand texts rewrote 56 MB. Instead each claim adds one run, sorted,
and four runs of a level are merged to one of the next; a look-up is a binary search in each of the few runs.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

__all__ = ["METADATA", "BandRuns"]

# With eight, a look-up among 10^6 texts goes through 16 runs instead of 10 and takes 2.3 times that among 10^4.
_RUNS_PER_LEVEL = 4
# A run of the last level holds what leads to a quarter of a million texts in 46 MB; merging one takes 140.
_LAST_LEVEL = 4
# What leads to 10^6 texts.
_CACHE_BYTES = 160 * 2**20
# A line of the processor's cache has 512 bits.
_SLOT_OF_LINE = np.uint64(511)
# Bits of a band that choose its second and its third slot of a line.
_LATER_SLOTS = np.uint64(0), np.uint64(9)

METADATA = sa.MetaData()

_RUNS = sa.Table(
    "text_runs",
    METADATA,
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False, index=True),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("bands", sa.LargeBinary, nullable=False),
    sa.Column("numbers", sa.LargeBinary, nullable=False),
    # SQLite would give the number of a deleted run to another one, and runs are remembered by number.
    sqlite_autoincrement=True,
)

_Integers = npt.NDArray[np.int64]
_Slots = npt.NDArray[np.uint64]
_Bytes = npt.NDArray[np.uint8]
_Numbers = npt.NDArray[np.uint32]


class _Run:
    """The upper halves of bands in ascending order, and for each the number of an owner, both of shape (entries,).

    Halves take half of the memory, and of a thousand bands that a run of four million does not hold they take one for
    another, whose owner turns out to be unlike.

    A Bloom filter (1970) of three bits and 16 for each entry tells of 99 bands in 100 that the run does not hold them,
    which spares nearly all of the binary search. The bits stand in one line of the processor's cache (Putze, Sanders
    and Singler 2007), and the lines of ascending bands follow one another.
    """

    def __init__(self, bands: _Integers, numbers: _Numbers) -> None:
        self._halves, self._numbers = _upper_halves(bands), numbers
        self._bits = max(9, (16 * len(bands)).bit_length())
        self._filter = np.zeros(1 << (self._bits - 3), np.uint8)
        first = _first_slots(bands, self._bits)
        for slots in (first, *(_later_slots(first, bands, shift) for shift in _LATER_SLOTS)):
            np.bitwise_or.at(self._filter, *_bit_places(slots))

    @property
    def byte_count(self) -> int:
        return self._halves.nbytes + self._numbers.nbytes + self._filter.nbytes

    def find(self, wanted: "_Wanted") -> Iterator[tuple[int, list[int]]]:
        """Yield those of the bands that the run holds, each with its owners."""
        slots, places, bits = wanted.first_slots(self._bits)
        # Signed places, and without a check of bounds: the look-up takes an eighth less than with `filter[places]`.
        (chosen,) = (self._filter.take(places, mode="clip") & bits).nonzero()
        first, possible = slots[chosen], wanted.bands[chosen]
        for shift in _LATER_SLOTS:
            places, bits = _bit_places(_later_slots(first, possible, shift))
            (chosen,) = (self._filter.take(places, mode="clip") & bits).nonzero()
            first, possible = first[chosen], possible[chosen]
        halves = _upper_halves(possible)
        begins = np.searchsorted(self._halves, halves, "left")
        found = self._halves[np.minimum(begins, len(self._halves) - 1)] == halves
        for place in np.flatnonzero(found).tolist():
            end = int(np.searchsorted(self._halves, halves[place], "right"))
            yield int(possible[place]), self._numbers[begins[place] : end].tolist()


class _Wanted:
    """Bands that are looked for, ascending and distinct; runs of one size have them in the same slots."""

    def __init__(self, bands: _Integers) -> None:
        self.bands = bands
        self._first_slots: dict[int, tuple[_Slots, _Integers, _Bytes]] = {}

    def first_slots(self, bits: int) -> tuple[_Slots, _Integers, _Bytes]:
        """Return the first slot of each band in a filter of 2^bits, its byte, and its bit there."""
        if bits not in self._first_slots:
            slots = _first_slots(self.bands, bits)
            self._first_slots[bits] = (slots, *_bit_places(slots))
        return self._first_slots[bits]


def _upper_halves(bands: _Integers) -> npt.NDArray[np.int32]:
    return (bands >> 32).astype(np.int32)


def _first_slots(bands: _Integers, bits: int) -> _Slots:
    return bands.view(np.uint64) >> np.uint64(64 - bits)


def _later_slots(first: _Slots, bands: _Integers, shift: np.uint64) -> _Slots:
    return first & ~_SLOT_OF_LINE | bands.view(np.uint64) >> shift & _SLOT_OF_LINE


def _bit_places(slots: _Slots) -> tuple[_Integers, _Bytes]:
    return (slots >> np.uint64(3)).view(np.int64), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8)


class BandRuns:
    """Owners by band, per dataset. Runs never change, so that those once read are kept, up to 160 MB."""

    def __init__(self) -> None:
        self._cache: dict[int, _Run] = {}

    def find(self, connection: sa.Connection, dataset: str, bands: _Integers) -> dict[int, list[int]]:
        """Return the numbers of the owners that stand under any of the bands, by band.

        Parameters
        ----------
        bands:
            Shape (n,), ascending and distinct.
        """
        owners: dict[int, list[int]] = {}
        wanted = _Wanted(bands)
        for number in self._numbers(connection, dataset):
            for band, found in self._read(connection, number).find(wanted):
                owners.setdefault(band, []).extend(found)
        return owners

    def add(self, connection: sa.Connection, dataset: str, bands: _Integers, numbers: _Numbers) -> None:
        """Put owners under bands, both of shape (n,); in any order."""
        if not len(bands):
            return
        level, parts = 0, [(bands, numbers)]
        while level < _LAST_LEVEL and len(peers := self._numbers(connection, dataset, level)) == _RUNS_PER_LEVEL - 1:
            for peer in peers:
                self._cache.pop(peer, None)
                parts.append(_read_whole(connection, peer))
            connection.execute(sa.delete(_RUNS).where(_RUNS.c.run.in_(peers)))
            level += 1
        bands, numbers = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        # Timsort merges what is sorted in half of quicksort's time, and takes five times as long for what is not.
        order = np.argsort(bands, kind="stable" if len(parts) > 1 else "quicksort")
        parts.clear()
        bands, numbers = bands[order], numbers[order]
        del order
        row = {"dataset": dataset, "level": level, "bands": bands.data.cast("B"), "numbers": numbers.data.cast("B")}
        connection.execute(sa.insert(_RUNS), row)

    def _numbers(self, connection: sa.Connection, dataset: str, level: int | None = None) -> list[int]:
        chosen = sa.select(_RUNS.c.run).where(_RUNS.c.dataset == dataset).order_by(_RUNS.c.run)
        if level is not None:
            chosen = chosen.where(_RUNS.c.level == level)
        return list(connection.execute(chosen).scalars())

    def _read(self, connection: sa.Connection, number: int) -> _Run:
        if number in self._cache:
            # What was not used for longest stands first.
            self._cache[number] = self._cache.pop(number)
        else:
            run = _Run(*_read_whole(connection, number))
            self._make_room(run.byte_count)
            self._cache[number] = run
        return self._cache[number]

    def _make_room(self, byte_count: int) -> None:
        held = sum(run.byte_count for run in self._cache.values())
        for number in list(self._cache):
            if held + byte_count <= _CACHE_BYTES:
                return
            held -= self._cache.pop(number).byte_count


def _read_whole(connection: sa.Connection, number: int) -> tuple[_Integers, _Numbers]:
    row = connection.execute(sa.select(_RUNS.c.bands, _RUNS.c.numbers).where(_RUNS.c.run == number)).one()
    return np.frombuffer(row.bands, np.int64), np.frombuffer(row.numbers, np.uint32)
