"""The history of labels: every label message that was read, found by what it names.

Labels may come before their sample, several times and from several annotators, so that none is ever overwritten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ummp_assets.storage.dataset_index import insert_missing
from ummp_assets.storage.index import Index

__all__ = ["LabelEntry", "LabelIndex"]

_METADATA = sa.MetaData()

_LABELS = sa.Table(
    "labels",
    _METADATA,
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("timestamp_ms", sa.BigInteger, nullable=False),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("target_kind", sa.String(16), nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text),
    sa.Column("confidence", sa.Float),
    # PostgreSQL's default index refuses values above 2,704 bytes, and signed URIs are longer.
    sa.Index("ix_labels_target", "target", postgresql_using="hash"),
    sa.Index("ix_labels_dataset", "dataset"),
)

_TARGETS_PER_STATEMENT = 2_000


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """One label message; `target_kind` is sample_id, sha256 or uri, `label` is JSON."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    dataset: str
    target_kind: str
    target: str
    label: str
    annotator: str | None = None
    confidence: float | None = None

    @property
    def order(self) -> tuple[int, str, int, int]:
        """Sorts labels by age; coordinates decide where two have one timestamp."""
        return (self.timestamp_ms, self.topic, self.partition, self.offset)


class LabelIndex:
    """Label messages, by their coordinates; every method raises `IndexUnavailable`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.make_tables(_METADATA)

    def record(self, labels: Iterable[LabelEntry]) -> None:
        """Keep label messages; one that is kept already changes nothing."""
        rows = [
            asdict(label) for label in sorted(labels, key=lambda label: (label.topic, label.partition, label.offset))
        ]
        for start in range(0, len(rows), _TARGETS_PER_STATEMENT):
            with self._index.transaction() as connection:
                insert_missing(connection, _LABELS, rows[start : start + _TARGETS_PER_STATEMENT])

    def has_labels(self, dataset: str) -> bool:
        """Return whether any message names the dataset."""
        with self._index.transaction(reading=True) as connection:
            statement = sa.select(sa.literal(1)).where(_LABELS.c.dataset == dataset).limit(1)
            return connection.execute(statement).scalar() is not None

    def find(self, dataset: str, targets: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[LabelEntry]]:
        """Return the history of each target that has one, by kind and target, the oldest label first.

        Parameters
        ----------
        targets:
            By kind (sample_id, sha256, uri), what to look for.
        """
        found: dict[tuple[str, str], list[LabelEntry]] = {}
        for kind, values in targets.items():
            wanted = sorted(set(values))
            for start in range(0, len(wanted), _TARGETS_PER_STATEMENT):
                statement = sa.select(_LABELS).where(
                    _LABELS.c.dataset == dataset,
                    _LABELS.c.target_kind == kind,
                    _LABELS.c.target.in_(wanted[start : start + _TARGETS_PER_STATEMENT]),
                )
                with self._index.transaction(reading=True) as connection:
                    for row in connection.execute(statement):
                        found.setdefault((kind, row.target), []).append(LabelEntry(**row._mapping))
        for history in found.values():
            history.sort(key=lambda label: label.order)
        return found
