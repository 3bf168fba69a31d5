"""What a person wants to know of a run first: how far it is, its loss, its accuracy, what it needs."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import pyarrow as pa

from ummp_assets.messages.schemas import LogMessage

__all__ = ["SUMMARY_SCHEMA", "RunSummaries"]

SUMMARY_SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("messages", pa.int64(), nullable=False),
        pa.field("ranks", pa.int64(), nullable=False),
        pa.field("first_step", pa.int64(), nullable=False),
        pa.field("last_step", pa.int64(), nullable=False),
        pa.field("first_time_ms", pa.int64(), nullable=False),
        pa.field("last_time_ms", pa.int64(), nullable=False),
        pa.field("loss", pa.float64()),
        pa.field("accuracy", pa.float64()),
        pa.field("metrics", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("resources", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("dataset", pa.string()),
        pa.field("version", pa.int64()),
    ]
)
"""Table `summaries`: `metrics` holds each metric at the last step that has it, as the mean over the ranks (`loss` and
`accuracy` are two of them); `resources` the greatest value seen."""


@dataclass
class _Run:
    messages: int = 0
    ranks: set[int] = field(default_factory=set)
    steps: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    last: dict[str, tuple[int, dict[int, float]]] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    dataset: str | None = None
    version: int | None = None

    def metrics(self) -> Mapping[str, float]:
        return {name: fmean(by_rank[rank] for rank in sorted(by_rank)) for name, (_, by_rank) in self.last.items()}


class RunSummaries:
    """Summaries of all runs in a batch; the same messages in the same order give the same rows."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = defaultdict(_Run)

    def add(self, log: LogMessage, time_ms: int) -> None:
        """Count one message."""
        run = self._runs[log.run]
        run.messages += 1
        run.ranks.add(log.rank)
        run.steps = _extremes([*run.steps, log.step])
        run.times_ms = _extremes([*run.times_ms, time_ms])
        run.dataset = log.dataset or run.dataset
        run.version = log.version or run.version
        for name, value in log.metrics.items():
            step, by_rank = run.last.get(name, (-1, {}))
            if log.step > step:
                run.last[name] = (log.step, {log.rank: value})
            elif log.step == step:
                by_rank[log.rank] = value
        for name, value in log.resources.items():
            run.resources[name] = max(run.resources.get(name, value), value)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row of `SUMMARY_SCHEMA` for each run, in order of the runs' names."""
        return [_row(name, self._runs[name]) for name in sorted(self._runs)]


def _extremes(values: list[int]) -> list[int]:
    return [min(values), max(values)]


def _row(name: str, run: _Run) -> dict[str, Any]:
    metrics = run.metrics()
    return {
        "run": name,
        "messages": run.messages,
        "ranks": len(run.ranks),
        "first_step": run.steps[0],
        "last_step": run.steps[1],
        "first_time_ms": run.times_ms[0],
        "last_time_ms": run.times_ms[1],
        "loss": metrics.get("loss"),
        "accuracy": metrics.get("accuracy"),
        "metrics": sorted(metrics.items()),
        "resources": sorted(run.resources.items()),
        "dataset": run.dataset,
        "version": run.version,
    }
