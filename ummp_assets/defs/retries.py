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
"""Waits 2 + 4 + 8 + 16 + 32 s, each up to twice as long by its jitter: 124 s at most. Six visits to a broker that does
not answer add 6 x kafka_timeout_seconds (8 s): 172 s in all."""

FETCH_RETRIES = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For the store and the index only: each URI has attempts of its own, and one that fails is an outcome, no failed step.
Waits 5 + 10 s, each up to twice as long: 30 s at most. Beside it stands the batch's slowest host: for each
max_connections_per_host of its URIs at most max_attempts x total_timeout_seconds + max_retry_seconds
(4 x 300 s + 60 s)."""

STORE_RETRIES = dg.RetryPolicy(max_retries=4, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Waits 2 + 4 + 8 + 16 s, each up to twice as long: 60 s at most, beside the work itself."""


@contextmanager
def permanent_errors_fail_at_once() -> Iterator[None]:
    """Turn a `Permanent` error into a failure that no policy retries, with the error's own words."""
    try:
        yield
    except Permanent as error:
        raise dg.Failure(
            description=str(error), metadata={"error": type(error).__name__}, allow_retries=False
        ) from error
