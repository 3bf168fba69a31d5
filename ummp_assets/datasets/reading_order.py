"""The order in which a reader takes row groups: the same for everybody who knows the seed, divided without loss.

Row groups are shuffled as a whole, then dealt out to ranks and workers, and rows are shuffled inside a buffer of a few
row groups: the way of WebDataset and tf.data, made exact. All readers of an epoch compute the whole order, so that
they agree without talking to one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ummp_assets.errors import InvalidInput

__all__ = ["Part", "RowGroup", "deal", "order_groups"]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A piece of a shard that is read at once: its shard's position, its own, and the rows [start, end) to take."""

    shard: int
    group: int
    start: int
    end: int

    @property
    def rows(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Part:
    """Which share of a dataset a process reads.

    Parameters
    ----------
    rank, world_size:
        This training process, from 0, and how many there are.
    worker, workers:
        This loader process of the rank, from 0, and how many there are.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world_size and 0 <= self.worker < self.workers):
            raise InvalidInput(
                f"rank {self.rank} of {self.world_size}, worker {self.worker} of {self.workers}: both count from 0"
            )

    @property
    def index(self) -> int:
        return self.rank * self.workers + self.worker

    @property
    def count(self) -> int:
        return self.world_size * self.workers

    def share_of(self, rows: int) -> tuple[int, int]:
        """Return where this part of so many rows begins and ends."""
        return rows * self.index // self.count, rows * (self.index + 1) // self.count


def order_groups(groups: Sequence[RowGroup], seed: int | None, epoch: int) -> list[RowGroup]:
    """Return the row groups in the order of an epoch: as they stand without a seed, else shuffled."""
    if seed is None:
        return list(groups)
    order = np.random.default_rng([seed, epoch]).permutation(len(groups))
    return [groups[position] for position in order]


def deal(groups: Sequence[RowGroup], part: Part) -> list[RowGroup]:
    """Return this part's share of the rows: every row is in exactly one part, and parts differ by one row at most.

    The rows, in order, are cut into equal runs, one a part; a row group at a cut is read by both its neighbours, each
    taking its own rows.
    """
    begin, end = part.share_of(sum(group.rows for group in groups))
    share = []
    position = 0
    for group in groups:
        first, last = max(begin - position, 0), min(end - position, group.rows)
        if first < last:
            share.append(RowGroup(group.shard, group.group, group.start + first, group.start + last))
        position += group.rows
    return share
