"""What a sensor does at a tick, without Dagster: look at the ends of a role's topics and plan the batches that are due.

Planned batches are in the offset log before they are returned. The cursor is a hint (the last number asked for, and
since when messages wait): killed between the log and the cursor, the next tick finds the entry and asks for the same
run again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ummp_assets.errors import Permanent
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.progress import done_through
from ummp_assets.messages.ranges import Batch, Plan, batch_key, plan_batches
from ummp_assets.messages.reading import TopicEnds, read_topic_ends
from ummp_assets.messages.replays import replay_topic
from ummp_assets.messages.topics import Role, ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore

__all__ = ["Tick", "plan_tick"]


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick found.

    Parameters
    ----------
    batches:
        Batches whose runs are asked for: just planned, or planned by a tick that was killed before its cursor was kept.
    cursor:
        What the next tick is given.
    waiting:
        Messages of each topic that no batch holds yet.
    newest:
        Number of the newest batch of each topic, 0 where there is none.
    problems:
        A sentence for each topic that cannot be planned, while others can.
    """

    batches: tuple[Batch, ...]
    cursor: str
    waiting: Mapping[str, int]
    newest: Mapping[str, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hint:
    number: int = 0
    waiting_since: datetime | None = None


def plan_tick(
    store: ObjectStore,
    settings: Settings,
    role: Role,
    *,
    cursor: str | None,
    now: datetime,
    queued: Mapping[str, int],
) -> Tick:
    """Plan the batches of a role's topics that are due now.

    Parameters
    ----------
    cursor:
        What the last tick returned, or None; a lost or damaged one costs look-ups, never messages.
    now:
        Aware time of the tick.
    queued:
        Runs of each topic that wait or run.

    Raises
    ------
    BrokerUnavailable, StoreUnavailable
        Nothing was planned beyond what the log shows; the next tick goes on.
    Permanent
        No topic of the role can be planned; where others can, `Tick.problems` says which cannot.
    """
    topics = topic_names(settings).of_role(role)
    found = read_topic_ends(settings, *topics)
    if len(found) < len(topics):
        ensure_topics(settings)
        found = read_topic_ends(settings, *topics)
    hints = _parse(cursor)
    log = OffsetLog(store)
    batches: list[Batch] = []
    waiting: dict[str, int] = {}
    problems: list[Permanent] = []
    for topic, ends in found.items():
        hint = hints.get(topic, _Hint())
        try:
            last = log.last(topic, hint.number)
            forgotten = _forgotten(store, log, last, hint)
            room = settings.intake.max_queued_batches - queued.get(topic, 0) - len(forgotten)
            plan = _plan(topic, last, ends, hint, now, room, settings)
        except Permanent as problem:
            problems.append(problem)
            continue
        planned = _put(log, plan, now)
        batches += forgotten + planned
        waiting[topic] = plan.waiting
        number = planned[-1].number if planned else last.number if last else 0
        hints[topic] = _Hint(number, _waiting_since(plan, hint, now))
    if problems and not waiting:
        raise problems[0]
    newest = {topic: hints[topic].number for topic in waiting}
    if role is Role.REQUESTS:
        for topic in map(replay_topic, waiting):
            replays = _replays(store, log, topic, hints.get(topic, _Hint()))
            batches += replays
            newest[topic] = replays[-1].number if replays else hints.get(topic, _Hint()).number
            hints[topic] = _Hint(newest[topic])
    return Tick(tuple(batches), _dump(hints), waiting, newest, tuple(str(problem) for problem in problems))


def _plan(
    topic: str,
    last: Batch | None,
    ends: TopicEnds,
    hint: _Hint,
    now: datetime,
    room: int,
    settings: Settings,
) -> Plan:
    waited = (now - hint.waiting_since).total_seconds() if hint.waiting_since else 0.0
    return plan_batches(
        topic,
        last,
        ends.watermarks,
        waited_seconds=waited,
        room=room,
        intake=settings.intake,
        topic_id=ends.topic_id,
    )


def _put(log: OffsetLog, plan: Plan, now: datetime) -> list[Batch]:
    """Write the plan's batches until another sensor's entry stands in the way: the rest would overlap with it."""
    planned: list[Batch] = []
    for batch in plan.batches:
        planned.append(log.put(batch, now))
        if planned[-1] != batch:
            break
    return planned


def _forgotten(store: ObjectStore, log: OffsetLog, last: Batch | None, hint: _Hint) -> list[Batch]:
    """Return the batches that the log holds beyond the cursor; without a cursor, beyond those that are done."""
    if last is None:
        return []
    known = hint.number or done_through(store, last.topic)
    return [log.get(batch_key(last.topic, number)) for number in range(known + 1, last.number + 1)]


def _replays(store: ObjectStore, log: OffsetLog, topic: str, hint: _Hint) -> list[Batch]:
    """Return the replays that `ummp replay` put into the log since the last tick."""
    return _forgotten(store, log, log.last(topic, hint.number), hint)


def _waiting_since(plan: Plan, hint: _Hint, now: datetime) -> datetime | None:
    if not plan.waiting:
        return None
    return now if plan.batches or hint.waiting_since is None else hint.waiting_since


def _parse(cursor: str | None) -> dict[str, _Hint]:
    try:
        document: dict[str, dict[str, Any]] = json.loads(cursor or "{}")
        return {
            topic: _Hint(
                max(0, int(fields["number"])),
                datetime.fromisoformat(fields["waiting_since"]).astimezone(UTC) if fields["waiting_since"] else None,
            )
            for topic, fields in document.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def _dump(hints: Mapping[str, _Hint]) -> str:
    return json.dumps(
        {
            topic: {
                "number": hint.number,
                "waiting_since": hint.waiting_since.astimezone(UTC).isoformat() if hint.waiting_since else None,
            }
            for topic, hint in hints.items()
        }
    )
