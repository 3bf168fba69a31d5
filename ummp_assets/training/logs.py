"""Metrics from inside a training process.

with TrainingLogger("run-7", dataset="news", version=3) as logger:
    for step, batch in enumerate(batches):
        logger.log(step, {"loss": train(batch)})
"""

import json
import math
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.schemas import LogMessage
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.training.background_sender import BackgroundSender

__all__ = ["TrainingLogger", "log_metrics"]


class TrainingLogger:
    """Logs one run; leaving its context waits until the broker has taken everything, at most `training.flush_seconds`.

    Parameters
    ----------
    run:
        Name of the run; its messages stay in order.
    rank:
        Number of this process in a distributed run, from 0.
    dataset, version, shard:
        What the run trains on, where it is known.
    settings:
        Read from the environment when not given.

    Raises
    ------
    InvalidSettings
        No broker is configured.
    """

    def __init__(
        self,
        run: str,
        *,
        rank: int = 0,
        dataset: str | None = None,
        version: int | None = None,
        shard: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or load_settings()
        self._fields = {"run": run, "rank": rank, "dataset": dataset, "version": version, "shard": shard}
        self._sender = BackgroundSender(settings, topic_names(settings).training_logs)

    def log(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        level: str | None = None,
        message: str | None = None,
    ) -> bool:
        """Queue one message and return at once.

        Parameters
        ----------
        step:
            Training step, at least 0.
        metrics:
            Numbers by name; `loss` and `accuracy` are shown in summaries. NaN and infinity are kept.
        resources:
            Numbers by name with the unit in it, e.g. `gpu_bytes`.

        Returns
        -------
        False when `training.max_queued_logs` messages already wait, and this one is dropped.

        Raises
        ------
        InvalidInput
            A value is none of these.
        """
        fields = {**self._fields, "step": step, "metrics": metrics, "resources": resources}
        key, value = _encode({**fields, "level": level, "message": message})
        return self._sender.send(key, value)

    def flush(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until the broker has answered for every message so far; return whether it did in time."""
        return self._sender.flush(timeout_seconds)

    def close(self) -> None:
        """Flush and end; no message can be logged afterwards."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_shared: dict[str, BackgroundSender] = {}
_shared_lock = threading.Lock()


def log_metrics(
    run: str,
    step: int,
    metrics: Mapping[str, float],
    *,
    resources: Mapping[str, float] | None = None,
    rank: int = 0,
    dataset: str | None = None,
    version: int | None = None,
    shard: str | None = None,
    level: str | None = None,
    message: str | None = None,
    settings: Settings | None = None,
) -> bool:
    """Queue metrics of a training step and return at once; they are flushed at the process's end.

    The function form of `TrainingLogger.log`, with its parameters, result and errors.

    >>> log_metrics("run-7", step=100, metrics={"loss": 0.31}, resources={"gpu_bytes": 7e9})  # doctest: +SKIP
    True
    """
    key, value = _encode(
        {
            "run": run,
            "step": step,
            "rank": rank,
            "metrics": metrics,
            "resources": resources,
            "dataset": dataset,
            "version": version,
            "shard": shard,
            "level": level,
            "message": message,
        }
    )
    return _shared_sender(settings or load_settings()).send(key, value)


def _shared_sender(settings: Settings) -> BackgroundSender:
    topic = topic_names(settings).training_logs
    address = f"{settings.bootstrap_servers} {topic}"
    with _shared_lock:
        if address not in _shared:
            _shared[address] = BackgroundSender(settings, topic)
        return _shared[address]


def _encode(fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("metrics", "resources"):
        if name in given:
            given[name] = {metric: _number(metric, value) for metric, value in given[name].items()}
    try:
        checked = LogMessage.model_validate({**given, "time": datetime.now(UTC)})
    except ValidationError as error:
        raise InvalidInput(f"this cannot be logged: {error}") from None
    document = checked.model_dump(by_alias=True, exclude_none=True, mode="python")
    document["time"] = document["time"].isoformat()
    for name in ("metrics", "resources"):
        document[name] = {metric: _json_number(value) for metric, value in document[name].items()}
    return checked.run.encode(), json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _number(name: str, value: Any) -> float:
    # Also for NumPy's and torch's scalars.
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name}={value!r} is no number") from None


def _json_number(value: float) -> float | str:
    # JSON has no word for them, and a loss that became NaN is what a person most wants to see.
    return value if math.isfinite(value) else str(value)
