"""Bands of signatures and their owners in sorted runs: a log-structured merge tree (O'Neil et al. 1996) of big rows.

Bands are random numbers. As rows of their own, 14 for each text, they would fall on 14 other pages of the database's
tree: measured, a thousand texts rewrote 56 MB. Instead each claim adds one run, sorted, and eight runs of a level are
merged to one of the next; a look-up is a binary search in each of the few runs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

__all__ = ["METADATA", "BandRuns"]

_RUNS_PER_LEVEL = 8
# A run of the last level holds the bands of half a million texts in 90 MB; databases take rows of up to a gigabyte.
_LAST_LEVEL = 3
_CACHE_BYTES = 256 * 2**20

METADATA = sa.MetaData()

_RUNS = sa.Table(
    "text_band_runs",
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


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Bands in ascending order, and for each the number of an owner; both of shape (entries,), int64 and uint32."""

    bands: _Integers
    numbers: npt.NDArray[np.uint32]

    @property
    def byte_count(self) -> int:
        return self.bands.nbytes + self.numbers.nbytes


class BandRuns:
    """Owners by band, per dataset. Runs never change, so that those once read are kept, up to 256 MB."""

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
        for number in self._numbers(connection, dataset):
            run = self._read(connection, number)
            begins = np.searchsorted(run.bands, bands, "left")
            ends = begins + (run.bands[np.minimum(begins, len(run.bands) - 1)] == bands)
            for place in np.flatnonzero(begins != ends).tolist():
                end = int(np.searchsorted(run.bands, bands[place], "right"))
                owners.setdefault(int(bands[place]), []).extend(run.numbers[begins[place] : end].tolist())
        return owners

    def add(self, connection: sa.Connection, dataset: str, bands: _Integers, numbers: npt.NDArray[np.uint32]) -> None:
        """Put owners under bands, both of shape (n,); in any order."""
        if not len(bands):
            return
        runs, level = [_Run(bands, numbers)], 0
        while level < _LAST_LEVEL:
            peers = self._numbers(connection, dataset, level)
            if len(peers) < _RUNS_PER_LEVEL - 1:
                break
            runs += [self._read(connection, peer) for peer in peers]
            connection.execute(sa.delete(_RUNS).where(_RUNS.c.run.in_(peers)))
            level += 1
        merged = np.concatenate([run.bands for run in runs])
        order = np.argsort(merged, kind="stable")
        owners = np.concatenate([run.numbers for run in runs])[order]
        row = {"dataset": dataset, "level": level, "bands": merged[order].tobytes(), "numbers": owners.tobytes()}
        connection.execute(sa.insert(_RUNS), row)

    def _numbers(self, connection: sa.Connection, dataset: str, level: int | None = None) -> list[int]:
        chosen = sa.select(_RUNS.c.run).where(_RUNS.c.dataset == dataset).order_by(_RUNS.c.run)
        if level is not None:
            chosen = chosen.where(_RUNS.c.level == level)
        return list(connection.execute(chosen).scalars())

    def _read(self, connection: sa.Connection, number: int) -> _Run:
        if number not in self._cache:
            row = connection.execute(sa.select(_RUNS.c.bands, _RUNS.c.numbers).where(_RUNS.c.run == number)).one()
            run = _Run(np.frombuffer(row.bands, np.int64), np.frombuffer(row.numbers, np.uint32))
            self._make_room(run.byte_count)
            self._cache[number] = run
        return self._cache[number]

    def _make_room(self, byte_count: int) -> None:
        held = sum(run.byte_count for run in self._cache.values())
        for number in list(self._cache):
            if held + byte_count <= _CACHE_BYTES:
                return
            held -= self._cache.pop(number).byte_count
