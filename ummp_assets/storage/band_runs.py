"""What leads to a text, in sorted runs: a log-structured merge tree (O'Neil et al. 1996) of big rows.

Bands of signatures and hashes of ids are random numbers. As rows of their own, 15 for each text, they would fall on 15
other pages of the database's tree: measured, a thousand texts rewrote 56 MB. Instead each claim adds one run, sorted,
and four runs of a level are merged to one of the next; a look-up is a binary search in each of the few runs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ummp_assets.storage.band_filter import BandFilter

__all__ = ["METADATA", "BandRuns"]

# With eight, runs are merged less often, but a look-up among 10^6 texts goes through 16 instead of 10.
_MERGED_RUNS = 4
# A run of the last level holds what leads to a quarter of a million texts in 46 MB; merging one takes 140.
_LAST_LEVEL = 4
# What leads to 10^6 texts.
_CACHE_BYTES = 160 * 2**20
_NUMBER_BYTES = 4

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

# Built once: building them takes longer than the database does.
_IN_DATASET = (
    # Of the length of a value the database reads no more than its header.
    sa.select(_RUNS.c.run, _RUNS.c.level, sa.func.length(_RUNS.c.numbers))
    .where(_RUNS.c.dataset == sa.bindparam("dataset"))
    .order_by(_RUNS.c.run)
)
_WHOLE = sa.select(_RUNS.c.bands, _RUNS.c.numbers).where(_RUNS.c.run == sa.bindparam("number"))
_INSERT = sa.insert(_RUNS)

_Integers = npt.NDArray[np.int64]
_Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the database tells of a run: its number and level, and how many bands it holds."""

    number: int
    level: int
    bands: int


class _Run:
    """The upper halves of bands in ascending order, and for each the number of an owner, both of shape (entries,).

    Halves take half of the memory, and of a thousand bands that a run of four million does not hold they take one for
    another, whose owner turns out to be unlike.
    """

    def __init__(self, bands: _Integers, numbers: _Numbers) -> None:
        self._halves, self._numbers = _upper_halves(bands), numbers

    @property
    def byte_count(self) -> int:
        return self._halves.nbytes + self._numbers.nbytes

    def find(self, bands: _Integers) -> Iterator[tuple[int, list[int]]]:
        """Yield those of the bands that the run holds, each with its owners."""
        halves = _upper_halves(bands)
        begins = np.searchsorted(self._halves, halves, "left")
        (held,) = (self._halves.take(begins, mode="clip") == halves).nonzero()
        ends = np.searchsorted(self._halves, halves[held], "right")
        for band, begin, end in zip(bands[held].tolist(), begins[held].tolist(), ends.tolist(), strict=True):
            yield band, self._numbers[begin:end].tolist()


def _upper_halves(bands: _Integers) -> npt.NDArray[np.int32]:
    return (bands >> 32).astype(np.int32)


class BandRuns:
    """Owners by band, per dataset. Runs never change, so that those once read are kept, and a filter for each dataset,
    up to 160 MB.

    It remembers runs as they are written: once a transaction was rolled back, it must not be used any more.
    """

    def __init__(self) -> None:
        # What was not used for longest stands first.
        self._runs: dict[int, _Run] = {}
        self._filters: dict[str, BandFilter] = {}

    def find(self, connection: sa.Connection, dataset: str, bands: _Integers) -> dict[int, list[int]]:
        """Return the numbers of the owners that stand under any of the bands, by band.

        Parameters
        ----------
        bands:
            Shape (n,), ascending and distinct.
        """
        owners: dict[int, list[int]] = {}
        runs = _runs_of(connection, dataset)
        possible = self._filter(connection, dataset, runs).choose(bands)
        if len(possible):
            for run in runs:
                for band, found in self._read(connection, run.number).find(possible):
                    owners.setdefault(band, []).extend(found)
        return owners

    def add(self, connection: sa.Connection, dataset: str, bands: _Integers, numbers: _Numbers) -> None:
        """Put owners under bands, both of shape (n,); in any order."""
        if not len(bands):
            return
        order = np.argsort(bands)
        bands, numbers = added, _ = bands[order], numbers[order]
        level, parts = 0, [(bands, numbers)]
        runs = _runs_of(connection, dataset)
        merged: set[int] = set()
        while (
            level < _LAST_LEVEL and len(peers := [run.number for run in runs if run.level == level]) == _MERGED_RUNS - 1
        ):
            parts += [_read_whole(connection, peer) for peer in peers]
            merged.update(peers)
            level += 1
        if merged:
            connection.execute(sa.delete(_RUNS).where(_RUNS.c.run.in_(merged)))
            bands, numbers = _merge(parts)
        row = {"dataset": dataset, "level": level, "bands": bands.data.cast("B"), "numbers": numbers.data.cast("B")}
        key: Any = connection.execute(_INSERT, row).inserted_primary_key
        number: int = key[0]
        for peer in merged:
            self._runs.pop(peer, None)
        self._keep(number, _Run(bands, numbers))
        known = self._filters.get(dataset)
        if known and known.runs >= merged and known.has_room(_count(runs) + len(added)):
            known.add(added)
            known.runs = known.runs - merged | {number}

    def _filter(self, connection: sa.Connection, dataset: str, runs: Sequence[_Entry]) -> BandFilter:
        """Return the filter of all runs of a dataset."""
        known = self._filters.pop(dataset, None)
        if known is None or not known.has_room(_count(runs)):
            known = BandFilter(_count(runs))
            self._make_room(known.byte_count)
        self._filters[dataset] = known
        numbers_of_all = {run.number for run in runs}
        for number in numbers_of_all - known.runs:
            bands, numbers = _read_whole(connection, number)
            known.add(bands)
            self._keep(number, _Run(bands, numbers))
        known.runs = numbers_of_all
        return known

    def _read(self, connection: sa.Connection, number: int) -> _Run:
        run = self._runs.pop(number, None) or _Run(*_read_whole(connection, number))
        self._keep(number, run)
        return run

    def _keep(self, number: int, run: _Run) -> None:
        self._runs.pop(number, None)
        self._make_room(run.byte_count)
        self._runs[number] = run

    def _make_room(self, byte_count: int) -> None:
        held = sum(run.byte_count for run in self._runs.values())
        held += sum(known.byte_count for known in self._filters.values())
        while held + byte_count > _CACHE_BYTES and (self._runs or self._filters):
            kept: dict[Any, Any] = self._runs or self._filters
            held -= kept.pop(next(iter(kept))).byte_count


def _count(runs: Iterable[_Entry]) -> int:
    return sum(run.bands for run in runs)


def _merge(parts: list[tuple[_Integers, _Numbers]]) -> tuple[_Integers, _Numbers]:
    """Return sorted runs as one, and take them out of the list, that they need not stay in memory."""
    bands, numbers = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    parts.clear()
    # Timsort merges what is sorted in half of quicksort's time.
    order = np.argsort(bands, kind="stable")
    return bands[order], numbers[order]


def _runs_of(connection: sa.Connection, dataset: str) -> list[_Entry]:
    """Return the runs of a dataset, in order."""
    rows = connection.execute(_IN_DATASET, {"dataset": dataset})
    return [_Entry(run, level, byte_count // _NUMBER_BYTES) for run, level, byte_count in rows]


def _read_whole(connection: sa.Connection, number: int) -> tuple[_Integers, _Numbers]:
    row = connection.execute(_WHOLE, {"number": number}).one()
    return np.frombuffer(row.bands, np.int64), np.frombuffer(row.numbers, np.uint32)
