"""A rule, and judging measured values by rules."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason

__all__ = ["Gate", "Rule", "first_broken", "value_at"]


@dataclass(frozen=True, slots=True)
class Gate:
    """A measurement below which a rule does not judge, and the setting that says where."""

    measurement: str
    setting: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold.

    Parameters
    ----------
    measurement:
        Name of the measured value; several rules may bound one.
    setting:
        Path below the settings of the modality, e.g. `gopher_quality.min_words`; a number at its end is the key of a
        setting that maps numbers to limits. A switch bounds by zero when it is on.
    keeps:
        Whether values `at least` or `at most` the limit are kept.
    sentence:
        What is said of a value that is not, with `{value}` and `{limit}`.
    exact_below:
        Stored values from here on are at least so much: nobody counted further.
    """

    reason: Reason
    measurement: str
    setting: str
    keeps: Literal["at least", "at most"]
    sentence: str
    gate: Gate | None = None
    exact_below: float = math.inf

    def limit(self, settings: BaseModel) -> float | None:
        """Return the limit that holds, or None where the settings give none."""
        value = value_at(settings, self.setting)
        if isinstance(value, bool):
            return 0.0 if value else None
        return value if value is None else float(value)

    def judges(self, measured: Mapping[str, float], settings: BaseModel) -> bool:
        """Whether the rule's gate lets the sample through to it."""
        return self.gate is None or measured[self.gate.measurement] >= value_at(settings, self.gate.setting)

    def is_broken(self, value: float, limit: float) -> bool:
        """Whether a value is on the wrong side; one that is not a number, for what the rule does not judge, is not."""
        return value < limit if self.keeps == "at least" else value > limit

    def refuse(self, value: float, limit: float) -> Refusal:
        return Refusal(self.reason, self.sentence.format(value=value, limit=limit), value)


def first_broken(measured: Mapping[str, float], rules: Iterable[Rule], settings: BaseModel) -> Refusal | None:
    """Return the refusal by the first rule that the values break, or None.

    Parameters
    ----------
    measured:
        Values by name; rules whose value is missing do not judge.
    settings:
        Of the rules' modality.
    """
    for rule in rules:
        value = measured.get(rule.measurement, math.nan)
        limit = rule.limit(settings)
        if limit is not None and rule.is_broken(value, limit) and rule.judges(measured, settings):
            return rule.refuse(value, limit)
    return None


def value_at(settings: BaseModel, path: str) -> Any:
    """Return the value of a setting by its path; None for a key that a mapping does not have."""
    value: Any = settings
    # Asked 22 times a document: with the path split each time, and Mapping for dict, a tenth of judging it.
    for name in _names(path):
        value = value.get(int(name)) if isinstance(value, dict) else getattr(value, name)
    return value


@cache
def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))
