"""What labels and takedowns that were read say of rows: which go, and which label the others have.

The same rule serves a batch on its way into a dataset (labels that came early) and rows that are in one (labels and
takedowns that came late), so that the order of arrival makes no difference to what a row ends up as.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ummp_assets.settings import DatasetSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.label_index import LabelEntry, LabelIndex
from ummp_assets.storage.takedown_index import TakedownIndex, taken_down

__all__ = ["IDENTITY_COLUMNS", "Reviser", "Revision", "RowReviser", "effective_label"]

IDENTITY_COLUMNS = ("sample_id", "uri", "sha256", "content_sha256", "label")
"""Columns that decide what becomes of a row."""

_LABEL_TARGETS = ("sample_id", "sha256", "uri")
_JSON_NULL = "null"


@dataclass(frozen=True, slots=True)
class Revision:
    """What rows become: for each whether it stays, and its label."""

    keep: Sequence[bool]
    labels: Sequence[str | None]
    relabelled: int

    @property
    def dropped(self) -> int:
        return len(self.keep) - sum(self.keep)

    @property
    def changes_nothing(self) -> bool:
        return not self.dropped and not self.relabelled

    def apply(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return packed rows with the labels replaced, without those that go."""
        position = rows.schema.get_field_index("label")
        field = rows.schema.field(position)
        revised = rows.set_column(position, field, pa.array(self.labels, field.type))
        return revised.filter(pa.array(self.keep, pa.bool_())) if self.dropped else revised


class RowReviser(Protocol):
    """What decides what becomes of rows."""

    @property
    def has_orders(self) -> bool:
        """Whether any row can change."""
        ...

    def revise(self, rows: pa.RecordBatch) -> Revision:
        """Return what rows with `IDENTITY_COLUMNS` become."""
        ...


class Reviser:
    """Looks labels and takedowns up for rows of one dataset; raises `IndexUnavailable`."""

    def __init__(self, index: Index, dataset: str, settings: DatasetSettings) -> None:
        self._index, self._dataset, self._policy = index, dataset, settings.label_policy
        self._labels = LabelIndex(index)
        self._has_labels = self._labels.has_labels(dataset)
        self.has_takedowns = not TakedownIndex(index).is_empty()

    @property
    def has_orders(self) -> bool:
        """Whether any label of the dataset or any takedown was read: without one, no row changes."""
        return self._has_labels or self.has_takedowns

    def revise(self, rows: pa.RecordBatch) -> Revision:
        """Return what the rows become.

        Parameters
        ----------
        rows:
            Rows with `IDENTITY_COLUMNS`.
        """
        values = {name: rows.column(name).to_pylist() for name in IDENTITY_COLUMNS}
        labels = self._labels_of(values) if self._has_labels else values["label"]
        relabelled = sum(new != old for new, old in zip(labels, values["label"], strict=True))
        return Revision(self._keep(values), labels, relabelled)

    def _keep(self, values: dict[str, list[str]]) -> list[bool]:
        hashes = ("sha256", "content_sha256")
        forbidden = taken_down(
            self._index,
            uris=values["uri"],
            sha256s=[digest for name in hashes for digest in values[name]],
            sample_ids=values["sample_id"],
        )
        named = zip(*(values[name] for name in ("sample_id", "uri", *hashes)), strict=True)
        return [not any(name in forbidden for name in names) for names in named]

    def _labels_of(self, values: dict[str, list[str]]) -> list[str | None]:
        histories = self._labels.find(self._dataset, {kind: values[kind] for kind in _LABEL_TARGETS})
        labels: list[str | None] = []
        for position, present in enumerate(values["label"]):
            history = [label for kind in _LABEL_TARGETS for label in histories.get((kind, values[kind][position]), ())]
            labels.append(effective_label(history, self._policy) if history else present)
        return labels


def effective_label(history: Sequence[LabelEntry], policy: str) -> str | None:
    """Return the label that holds, as JSON, or None when it was withdrawn (the label `null`).

    Parameters
    ----------
    history:
        All labels of one sample, at least one, in any order.
    policy:
        `latest`: the newest label. `majority`: the one that most annotators gave last; of several, the one that was
        given last. Labels without an annotator count as one annotator's; who withdrew theirs has no vote.
    """
    ordered = sorted(history, key=lambda label: label.order)
    if policy == "majority":
        newest = {label.annotator: label for label in ordered}.values()
        votes = Counter(label.label for label in newest if label.label != _JSON_NULL)
        ordered = [label for label in newest if votes[label.label] == max(votes.values(), default=0)]
    chosen = max(ordered, key=lambda label: label.order).label
    return None if chosen == _JSON_NULL else chosen
