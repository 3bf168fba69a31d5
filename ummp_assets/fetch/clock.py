"""Dates as they are stored: RFC 3339 in UTC."""

from contextlib import suppress
from datetime import UTC, datetime

__all__ = ["deadline_passed", "timestamp", "utc_now"]


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime | None = None) -> str:
    """Return a time (now, unless given) as it is stored, e.g. 2026-11-22T08:40:50.123Z."""
    return (moment or utc_now()).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def deadline_passed(deadline: str | None, now: datetime | None = None) -> bool:
    """Return whether a request's deadline is over; a deadline without zone is in UTC, an unreadable one never ends."""
    if deadline is None:
        return False
    with suppress(ValueError):
        moment = datetime.fromisoformat(deadline)
        return (now or utc_now()) > (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    return False
