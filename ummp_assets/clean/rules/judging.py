"""Holding stored measurements against rules, a column at a time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from ummp_assets.clean.rules.rule import Rule, value_at

__all__ = ["judge_rows"]

_Mask = npt.NDArray[np.bool_]


def judge_rows(rows: pa.RecordBatch, rules: Sequence[Rule], settings: BaseModel) -> tuple[npt.NDArray[np.int64], _Mask]:
    """Return for each row which rule it breaks first, as its place among the rules or -1, and whether a value is
    missing that could break another. [shape=(rows,) each]

    Parameters
    ----------
    rows:
        With a column for each rule's measurement and gate.
    """
    first = np.full(rows.num_rows, -1, np.int64)
    is_open = np.zeros(rows.num_rows, np.bool_)
    for place, rule in enumerate(rules):
        limit = rule.limit(settings)
        if limit is None:
            continue
        values, missing = _column(rows, rule.measurement)
        judged = np.ones(rows.num_rows, np.bool_)
        if rule.gate is not None:
            gate, gate_missing = _column(rows, rule.gate.measurement)
            judged = gate_missing | (gate >= value_at(settings, rule.gate.setting))
            missing |= gate_missing
        broken = values < limit if rule.keeps == "at least" else values > limit
        missing |= broken & (values >= rule.exact_below)
        first[(first < 0) & judged & broken & ~missing] = place
        is_open |= judged & missing
    return first, is_open


def _column(rows: pa.RecordBatch, name: str) -> tuple[npt.NDArray[np.float64], _Mask]:
    """Return a column's values, not a number where they are missing, and where that is."""
    column = rows.column(name)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return column.to_numpy(zero_copy_only=False).astype(np.float64), missing
