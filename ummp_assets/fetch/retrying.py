"""When to try again: exponential back-off with full jitter, capped in attempts and in time, and `Retry-After`.

Wait before attempt n+1: uniform(0, base * 2**(n-1)) seconds ("full jitter": M. Brooker, "Exponential Backoff and
Jitter", AWS Architecture Blog, 2015: it spreads clients that failed together better than a fixed or half-random wait).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST_REST_SECONDS", "RetryRule", "parse_retry_after"]

LONGEST_REST_SECONDS = 86_400.0
"""A server that asks for more, by mistake or in bad faith, would never be asked again by any run."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Decides how long to wait before another attempt, or that there is none.

    Parameters
    ----------
    max_attempts:
        Attempts in all, the first included.
    base_seconds:
        Upper end of the first random wait.
    max_seconds:
        Limit for all waits of one URI together.
    uniform:
        Draws a number between two bounds.
    """

    max_attempts: int
    base_seconds: float
    max_seconds: float
    uniform: Callable[[float, float], float] = random.uniform

    def wait_seconds(self, attempts: int, waited_seconds: float, retry_after: float | None = None) -> float | None:
        """Return how long to wait after so many attempts, or None when the URI is given up.

        `retry_after` is what the server asked for; it replaces the random wait, and a server that asks for more than
        is left of `max_seconds` is not waited for.
        """
        if attempts >= self.max_attempts:
            return None
        left = self.max_seconds - waited_seconds
        if retry_after is not None:
            return retry_after if retry_after <= left else None
        drawn = self.uniform(0.0, self.base_seconds * 2.0 ** (attempts - 1))
        return min(drawn, left) if left > 0 else None


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most a day; None when it is unreadable (RFC 9110,
    10.2.3).

    >>> parse_retry_after("120", datetime.now(UTC))
    120.0
    """
    text = value.strip()
    if text.isdecimal():
        return min(float(text), LONGEST_REST_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), LONGEST_REST_SECONDS)
