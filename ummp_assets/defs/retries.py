"""Which failures are tried again, how often and for how long at most.

A `Transient` error is retried by the step's policy; a `Permanent` one fails the step at once with what to change. The
inner limits (one broker visit, one URI) are in the settings; a step's worst case is written beside its policy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ummp_assets.errors import Permanent

__all__ = ["BROKER_RETRIES", "FETCH_RETRIES", "STORE_RETRIES", "permanent_errors_fail_at_once"]

BROKER_RETRIES = dg.RetryPolicy(max_retries=5, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Dagster waits (2^n - 1) x delay, give or take one delay, before repetition n: 2 + 6 + 14 + 30 + 62 s, 124 s at most
with the jitter. Six visits add at most 30 s each, the limit of a stalled read and of a transaction: 304 s in all. A
batch of parameters may wait for the one before it as well, 6 x training.predecessor_wait_seconds."""

FETCH_RETRIES = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For the store and the index only: each URI has attempts of its own, and one that fails is an outcome, no failed step.
Waits 5 + 15 s, 30 s at most with the jitter. Beside it stands the batch's slowest host: for each
max_connections_per_host of its URIs at most max_attempts x total_timeout_seconds + max_retry_seconds
(4 x 300 s + 60 s)."""

STORE_RETRIES = dg.RetryPolicy(max_retries=4, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Waits 2 + 6 + 14 + 30 s, 60 s at most with the jitter, beside the work itself."""


@contextmanager
def permanent_errors_fail_at_once() -> Iterator[None]:
    """Turn a `Permanent` error into a failure that no policy retries, with the error's own words."""
    try:
        yield
    except Permanent as error:
        raise dg.Failure(
            description=str(error), metadata={"error": type(error).__name__}, allow_retries=False
        ) from error
