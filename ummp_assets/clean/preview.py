"""What other thresholds would gain and lose, from the stored measurements, before anything is cleaned again.

A sample is lost when it is stored and a rule would refuse it, gained when a rule refused it and none would. What only a
new run can find stays open: whether a gained image can be decoded, and whether a gained sample is the duplicate of
another. Verdicts on duplicates are kept in the index, so that a new run repeats them: what names a lost sample as its
twin is counted, and not gained.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from ummp_assets.clean.deciding_batches import cleaned_stages, rows_of_dataset
from ummp_assets.clean.rules.catalogue import all_rules, rules_in_force
from ummp_assets.clean.rules.judging import judge_rows
from ummp_assets.clean.rules.rule import Rule
from ummp_assets.errors import InvalidInput
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import Modality
from ummp_assets.settings import CleanSettings, TextSettings
from ummp_assets.storage.accounting import FEATURE_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import MEASUREMENTS, OUTCOMES, Manifest, find_manifest

__all__ = ["Amount", "Preview", "RuleEffect", "preview_rules"]

_DUPLICATES = [reason.value for reason in Reason if reason.outcome is Outcome.DUPLICATE]

_Mask = npt.NDArray[np.bool_]


@dataclass
class Amount:
    """Samples and their raw bytes; tokens of texts as far as they were counted, which is of stored ones only."""

    samples: int = 0
    byte_count: int = 0
    tokens: int = 0


@dataclass
class RuleEffect:
    """What one rule would lose, and gain of what it refused; the examples are sample ids."""

    modality: str
    reason: str
    setting: str
    limit: float | None
    lost: Amount = field(default_factory=Amount)
    gained: Amount = field(default_factory=Amount)
    lost_examples: list[str] = field(default_factory=list)
    gained_examples: list[str] = field(default_factory=list)


@dataclass
class Preview:
    """What a dataset would gain and lose.

    Parameters
    ----------
    batches, unmeasured_batches:
        That hold samples of the dataset; and those of them that were cleaned before measurements were stored, of which
        nothing can be said.
    undecided:
        Samples of which a value is missing that would decide: what was refused before it was read, say.
    duplicates_of_lost:
        Samples that pass the rules and stay out as duplicates of a lost one.
    """

    dataset: str
    batches: int = 0
    unmeasured_batches: int = 0
    stored: Amount = field(default_factory=Amount)
    lost: Amount = field(default_factory=Amount)
    gained: Amount = field(default_factory=Amount)
    undecided: Amount = field(default_factory=Amount)
    duplicates_of_lost: int = 0
    rules: list[RuleEffect] = field(default_factory=list)


def preview_rules(
    store: ObjectStore,
    dataset: str,
    settings: CleanSettings,
    batches: Iterable[str],
    *,
    deciding: Mapping[str, str] | None = None,
    examples: int = 5,
) -> Preview:
    """Hold the stored measurements of a dataset's samples against settings.

    Parameters
    ----------
    settings:
        With the thresholds to try.
    batches:
        Keys of request batches; those without a sample of the dataset are passed over.
    deciding:
        For samples that are in several of the batches, by id, the one in which they count, as
        `deciding_batches.find_deciding` returns it.
    examples:
        Sample ids that are named for each rule and direction, at most.

    Raises
    ------
    InvalidInput
        C4, which rewrites texts, would come, go or move: what other rules measured is of other texts then.
    """
    counting = _Counting(store, dataset, settings, deciding or {}, examples)
    for batch in batches:
        counting.add_batch(batch)
    return counting.finish()


class _Counting:
    """Adds up batch by batch; holds the ids of lost samples, and nothing else that grows with the dataset."""

    def __init__(
        self, store: ObjectStore, dataset: str, settings: CleanSettings, deciding: Mapping[str, str], examples: int
    ) -> None:
        self._store, self._settings, self._deciding, self._examples = store, settings, deciding, examples
        self._found = Preview(dataset)
        self._effects = {
            (kind, rule.reason.value): RuleEffect(
                kind.value, rule.reason.value, f"clean.{kind.value}.{rule.setting}", rule.limit(getattr(settings, kind))
            )
            for kind in Modality
            for rule in all_rules(kind)
        }
        self._lost: set[str] = set()
        self._twins: Counter[str] = Counter()

    def add_batch(self, batch: str) -> None:
        held = [item for item in cleaned_stages(self._store, batch) if self._is_held(item[1])]
        measured = [item for item in held if MEASUREMENTS in item[1].tables]
        self._found.batches += bool(held)
        self._found.unmeasured_batches += len(measured) < len(held)
        for modality, manifest in measured:
            self._add_stage(modality, manifest)

    def finish(self) -> Preview:
        self._found.duplicates_of_lost = sum(self._twins[sample_id] for sample_id in self._lost)
        self._found.rules = [item for item in self._effects.values() if item.lost.samples or item.gained.samples]
        return self._found

    def _is_held(self, manifest: Manifest) -> bool:
        if any(count.dataset == self._found.dataset for count in manifest.outcomes):
            return True
        parts = self._read(manifest, "samples", ["dataset"])
        return any(part.num_rows for part in parts)

    def _read(self, manifest: Manifest, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the dataset, but for samples that count in another batch."""
        for rows in rows_of_dataset(self._store, manifest, self._found.dataset, table, columns):
            if self._deciding and "sample_id" in columns:
                names = rows.column("sample_id").to_pylist()
                here = [self._deciding.get(name, manifest.batch) == manifest.batch for name in names]
                yield rows.filter(pa.array(here, pa.bool_()))
            else:
                yield rows

    def _add_stage(self, modality: Modality, manifest: Manifest) -> None:
        settings = getattr(self._settings, modality)
        if isinstance(settings, TextSettings):
            _require_same_texts(manifest, settings)
        rules = rules_in_force(modality, settings)
        names = {rule.measurement for rule in rules} | {rule.gate.measurement for rule in rules if rule.gate}
        tokens = self._tokens(manifest.batch) if modality is Modality.TEXT else {}
        duplicates: set[str] = set()
        for rows in self._read(manifest, MEASUREMENTS, ["sample_id", "reason", *sorted(names | {"byte_count"})]):
            duplicates |= self._add_rows(modality, rows, rules, settings, tokens)
        self._found.stored.tokens += sum(tokens.values())
        for rows in self._read(manifest, OUTCOMES, ["sample_id", "twin"]) if duplicates else ():
            pairs = zip(rows.column("sample_id").to_pylist(), rows.column("twin").to_pylist(), strict=True)
            self._twins.update(twin for sample_id, twin in pairs if sample_id in duplicates)

    def _add_rows(
        self,
        modality: Modality,
        rows: pa.RecordBatch,
        rules: Sequence[Rule],
        settings: BaseModel,
        tokens: dict[str, int],
    ) -> set[str]:
        """Count some rows; return the ids of duplicates that no rule would refuse."""
        first, is_open = judge_rows(rows, rules, settings)
        reasons = rows.column("reason")
        stored = reasons.is_null().to_numpy(zero_copy_only=False)
        by_rule = _is_in(reasons, [rule.reason.value for rule in all_rules(modality)])
        keeps = (first < 0) & ~is_open
        lost, gained = stored & (first >= 0), by_rule & keeps
        found = self._found
        _add(found.stored, rows, stored)
        _add(found.lost, rows, lost, tokens)
        _add(found.gained, rows, gained)
        _add(found.undecided, rows, (stored | by_rule) & (first < 0) & is_open)
        for place in np.unique(first[lost]).tolist():
            effect = self._effects[modality, rules[place].reason.value]
            chosen = lost & (first == place)
            _add(effect.lost, rows, chosen, tokens)
            self._name(effect.lost_examples, rows, chosen)
        for reason in pc.unique(reasons.filter(pa.array(gained))).to_pylist():
            effect = self._effects[modality, reason]
            chosen = gained & _is_in(reasons, [reason])
            _add(effect.gained, rows, chosen)
            self._name(effect.gained_examples, rows, chosen)
        self._lost.update(_ids(rows, lost))
        return set(_ids(rows, _is_in(reasons, _DUPLICATES) & keeps))

    def _name(self, examples: list[str], rows: pa.RecordBatch, chosen: _Mask) -> None:
        examples += _ids(rows, chosen)[: self._examples - len(examples)]

    def _tokens(self, batch: str) -> dict[str, int]:
        features = find_manifest(self._store, FEATURE_STAGES[Modality.TEXT], batch)
        parts = self._read(features, "samples", ["sample_id", "tokens"]) if features else ()
        return {
            sample_id: count
            for rows in parts
            for sample_id, count in zip(rows["sample_id"].to_pylist(), rows["tokens"].to_pylist(), strict=True)
        }


def _require_same_texts(manifest: Manifest, settings: TextSettings) -> None:
    """Refuse to hold measurements of one text against rules that would see another."""
    judged = manifest.rules.get("quality_rules", "").split()
    if ("c4" in judged) == ("c4" in settings.quality_rules) and all(
        _sees_c4(name, judged) == _sees_c4(name, settings.quality_rules) for name in settings.quality_rules
    ):
        return
    raise InvalidInput(
        f"batch {manifest.batch} was judged by clean.text.quality_rules={judged}: c4 rewrites the text, so that it "
        "cannot be previewed to add, remove or move it. Set it, and materialize the batches again."
    )


def _sees_c4(name: str, rules: Sequence[str]) -> bool:
    return name in rules and "c4" in rules and rules.index("c4") < rules.index(name)


def _is_in(column: pa.Array, values: Sequence[str]) -> _Mask:
    mask: _Mask = pc.is_in(column, value_set=pa.array(values, pa.string())).to_numpy(zero_copy_only=False)
    return mask


def _ids(rows: pa.RecordBatch, chosen: _Mask) -> list[str]:
    ids: list[str] = rows.column("sample_id").filter(pa.array(chosen)).to_pylist()
    return ids


def _add(amount: Amount, rows: pa.RecordBatch, chosen: _Mask, tokens: dict[str, int] | None = None) -> None:
    amount.samples += int(chosen.sum())
    amount.byte_count += int(rows.column("byte_count").to_numpy()[chosen].sum())
    if tokens:
        amount.tokens += sum(tokens.get(sample_id, 0) for sample_id in _ids(rows, chosen))
