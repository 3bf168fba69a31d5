"""Which transactions were aborted in one topic-partition, so that readers of committed records can leave them out."""

from pathlib import Path
from typing import NamedTuple

from ummp_assets.messages.embedded.producer_states import EndedTransaction
from ummp_assets.messages.embedded.sorted_rows import SortedRows

__all__ = ["AbortedTransaction", "AbortedTransactions"]


class AbortedTransaction(NamedTuple):
    """Records of `producer_id` from `first_offset` to its abort marker at `marker_offset` do not count."""

    producer_id: int
    first_offset: int
    marker_offset: int


class AbortedTransactions:
    """A file of aborted transactions, ordered by their markers' offsets.

    With each stands the last stable offset after its marker: every transaction that began before that has ended, so
    that a search may stop there (as in Kafka's transaction index).
    """

    def __init__(self, path: Path) -> None:
        self._rows = SortedRows(path, columns=4)
        self.close, self.truncate = self._rows.close, self._rows.truncate

    def __len__(self) -> int:
        return self._rows.count

    def note(self, ended: EndedTransaction, last_stable_offset: int) -> None:
        self._rows.append(ended.marker_offset, last_stable_offset, ended.first_offset, ended.producer_id)

    def touching(self, start: int, end: int) -> list[AbortedTransaction]:
        """The aborted transactions with records in the half-open range of offsets, ordered by their first offsets."""
        found = []
        for number in range(self._rows.count_where(lambda row: row[0] < start), self._rows.count):
            marker_offset, stable_offset, first_offset, producer_id = self._rows.get(number)
            if first_offset < end:
                found.append(AbortedTransaction(producer_id, first_offset, marker_offset))
            if stable_offset >= end:
                break
        return sorted(found, key=lambda transaction: transaction.first_offset)
