"""What leads to a text, in sorted runs: a log-structured merge tree (O'Neil et al. 1996) of big rows.

Bands of signatures and hashes of ids are random numbers. As rows of their own, 15 for each text, they would fall on 15
other pages of the database's tree: measured, a thousand texts rewrote 56 MB. Instead each claim adds one run, sorted,
and eight runs of a level are merged to one of the next; a look-up is a binary search in each of the few runs.
"""

from collections.abc import Iterator

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


class _Run:
    """Bands in ascending order and for each the number of an owner, both of shape (entries,).

    A bitmap of eight bits an entry tells of seven bands in eight that the run does not hold them, which spares most of
    the binary search: among 10^6 texts a claim took 42 us for each text without it, 25 with.
    """

    def __init__(self, bands: _Integers, numbers: npt.NDArray[np.uint32]) -> None:
        self.bands, self.numbers = bands, numbers
        self._shift = np.uint64(64 - max(6, (8 * len(bands)).bit_length()))
        held = np.zeros(1 << (64 - int(self._shift)), bool)
        held[self._slots(bands)] = True
        self._held = np.packbits(held)

    @property
    def byte_count(self) -> int:
        return self.bands.nbytes + self.numbers.nbytes + self._held.nbytes

    def find(self, bands: _Integers) -> Iterator[tuple[int, list[int]]]:
        """Yield those of the bands that the run holds, each with its owners."""
        slots = self._slots(bands)
        possible = bands[(self._held[slots >> np.uint64(3)] << (slots & np.uint64(7)).astype(np.uint8)) & 128 != 0]
        begins = np.searchsorted(self.bands, possible, "left")
        found = self.bands[np.minimum(begins, len(self.bands) - 1)] == possible
        for place in np.flatnonzero(found).tolist():
            end = int(np.searchsorted(self.bands, possible[place], "right"))
            yield int(possible[place]), self.numbers[begins[place] : end].tolist()

    def _slots(self, bands: _Integers) -> npt.NDArray[np.uint64]:
        slots: npt.NDArray[np.uint64] = bands.view(np.uint64) >> self._shift
        return slots


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
            for band, found in self._read(connection, number).find(bands):
                owners.setdefault(band, []).extend(found)
        return owners

    def add(self, connection: sa.Connection, dataset: str, bands: _Integers, numbers: npt.NDArray[np.uint32]) -> None:
        """Put owners under bands, both of shape (n,); in any order."""
        if not len(bands):
            return
        level, parts = 0, [(bands, numbers)]
        while level < _LAST_LEVEL and len(peers := self._numbers(connection, dataset, level)) == _RUNS_PER_LEVEL - 1:
            parts += [(run.bands, run.numbers) for run in (self._read(connection, peer) for peer in peers)]
            connection.execute(sa.delete(_RUNS).where(_RUNS.c.run.in_(peers)))
            level += 1
        merged, owners = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(merged)
        row = {"dataset": dataset, "level": level, "bands": merged[order].tobytes(), "numbers": owners[order].tobytes()}
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
