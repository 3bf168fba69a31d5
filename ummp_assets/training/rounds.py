"""When a round of federated training is closed, and what it comes to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ummp_assets.messages.codec import Undecodable
from ummp_assets.messages.schemas import ParametersHeader
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.training.averaging import FederatedAverage, Signature, signature
from ummp_assets.training.packing import Arrays
from ummp_assets.training.update_spool import Update, UpdateSpool

__all__ = ["ClosedRound", "close_rounds", "reject_parameters"]


@dataclass
class ClosedRound:
    """A round that takes no more parameters; `arrays` is None where no worker's could be used."""

    model: str
    round: int
    workers: list[str] = field(default_factory=list)
    samples: int = 0
    arrays: Arrays | None = None


def close_rounds(
    spool: UpdateSpool, newest_ms: int, *, timeout_seconds: float, max_bytes: int, rejections: list[Rejection]
) -> Iterator[ClosedRound]:
    """Average the rounds that are complete, in order, and take their updates out of the spool.

    A round is complete when it has parameters of as many workers as they state, when they state no number and there
    are any, or when its first message is older than the newest by the time-out. Time is that of the messages, never
    of a clock, so that the same messages give the same rounds. Rounds below a closed one are closed without a result.

    Parameters
    ----------
    newest_ms:
        Time of the newest message, Unix milliseconds.
    rejections:
        Updates that end without being averaged are added here.
    """
    for model in sorted({model for model, _ in spool.rounds()}):
        numbers = [number for name, number in spool.rounds() if name == model]
        # The highest first: once it is closed, the ones below are late.
        for number in reversed(numbers):
            closed = _close(spool, model, number, newest_ms - timeout_seconds * 1000, max_bytes, rejections)
            if closed is not None:
                for lower in numbers[: numbers.index(number)]:
                    _refuse_rest(spool, model, lower, Reason.LATE_PARAMETERS, f"round {number} was closed", rejections)
                yield closed
                break


def _close(
    spool: UpdateSpool, model: str, number: int, open_since_ms: float, max_bytes: int, rejections: list[Rejection]
) -> ClosedRound | None:
    _drop_replaced(spool, model, number, rejections)
    is_over = min(update.timestamp_ms for update in spool.updates(model, number)) < open_since_ms
    if not is_over and not _is_complete(spool.updates(model, number)):
        return None
    usable = list(_usable(spool, model, number, max_bytes, rejections))
    if not is_over and not _is_complete(usable):
        return None
    closed = ClosedRound(model, number)
    average = FederatedAverage()
    for update in usable:
        average.add(update.arrays(max_bytes), update.header.samples)
        closed.workers.append(update.header.worker)
        spool.remove(update)
    if usable:
        closed.samples, closed.arrays = average.samples, average.result()
    detail = f"round {number} was closed with the parameters of {len(usable)} workers"
    _refuse_rest(spool, model, number, Reason.INCOMPLETE_PARAMETERS, detail, rejections)
    return closed


def _is_complete(updates: list[Update]) -> bool:
    workers = {update.header.worker for update in updates if update.completed}
    stated = [update.header.workers for update in updates if update.header.workers]
    return len(workers) >= max(stated, default=1)


def _drop_replaced(spool: UpdateSpool, model: str, number: int, rejections: list[Rejection]) -> None:
    newest = {update.header.worker: update for update in spool.updates(model, number) if update.completed}
    for update in spool.updates(model, number):
        if update.completed and update is not newest[update.header.worker]:
            rejections.append(_rejection(update, Reason.REPLACED_PARAMETERS, "by a later publication"))
            spool.remove(update)


def _usable(
    spool: UpdateSpool, model: str, number: int, max_bytes: int, rejections: list[Rejection]
) -> Iterator[Update]:
    """Yield the complete updates that can be averaged with one another; the others are rejected."""
    signatures: dict[str, Signature] = {}
    for update in spool.updates(model, number):
        if update.completed:
            try:
                signatures[update.header.worker] = _check(update.arrays(max_bytes))
            except Undecodable as error:
                rejections.append(_rejection(update, error.reason, error.detail))
                spool.remove(update)
    # What most workers have is right; of equally many, what the first by name has.
    common = Counter(signatures.values()).most_common(1)
    for update in spool.updates(model, number):
        if update.completed and signatures[update.header.worker] == common[0][0]:
            yield update
        elif update.completed:
            detail = f"{common[0][1]} of {len(signatures)} workers have others"
            rejections.append(_rejection(update, Reason.MISMATCHED_PARAMETERS, detail))
            spool.remove(update)


def _check(arrays: Arrays) -> Signature:
    for name in sorted(arrays):
        if not np.isfinite(arrays[name]).all():
            raise Undecodable(Reason.NON_FINITE_PARAMETERS, f"array {name!r} holds NaN or infinity")
    return signature(arrays)


def _refuse_rest(
    spool: UpdateSpool, model: str, number: int, reason: Reason, detail: str, rejections: list[Rejection]
) -> None:
    for update in spool.updates(model, number):
        rejections.append(_rejection(update, reason, detail))
        spool.remove(update)


def _rejection(update: Update, reason: Reason, detail: str) -> Rejection:
    return reject_parameters(update.header, update.sample_id, reason, detail)


def reject_parameters(header: ParametersHeader, sample_id: str, reason: Reason, detail: str) -> Rejection:
    """Return what becomes of parameters that are not averaged; `uri` is `<model>/<round>/<worker>`."""
    return Rejection(sample_id, "", "parameters", f"{header.model}/{header.round}/{header.worker}", reason, detail)
