"""How long is waited before another attempt, and until when."""

from datetime import UTC, datetime

import pytest

from ummp_assets.fetch.retrying import RetryRule, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def _longest(low: float, high: float) -> float:
    return high


def test_longest_wait_doubles_until_attempts_or_time_are_over() -> None:
    rule = RetryRule(max_attempts=5, base_seconds=0.5, max_seconds=60.0, uniform=_longest)
    assert [rule.wait_seconds(attempts, 0.0) for attempts in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert rule.wait_seconds(4, 58.5) == 1.5
    assert rule.wait_seconds(2, 60.0) is None


def test_wait_is_drawn_from_zero_to_its_longest() -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.25

    rule = RetryRule(max_attempts=5, base_seconds=0.5, max_seconds=60.0, uniform=draw)
    assert rule.wait_seconds(3, 0.0) == 0.25
    assert bounds == [(0.0, 2.0)]


def test_what_the_server_asks_replaces_the_wait_unless_it_is_too_long() -> None:
    rule = RetryRule(max_attempts=5, base_seconds=0.5, max_seconds=60.0, uniform=_longest)
    assert rule.wait_seconds(1, 0.0, 30.0) == 30.0
    assert rule.wait_seconds(1, 40.0, 30.0) is None
    assert rule.wait_seconds(5, 0.0, 1.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thursday, 01-Jan-26 12:00:05 GMT", 5.0),
        ("9" * 400, 86_400.0),
        ("Thu, 01 Jan 2099 12:00:00 GMT", 86_400.0),
        ("Thu, 01 Jan 2026 12:00:30 +99999999999999", None),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds
