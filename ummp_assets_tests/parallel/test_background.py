"""Calls beside what goes on meanwhile: one at a time, in order, and no error is lost before the last wait."""

import threading

import pytest

from ummp_assets.parallel.background import Background


def _fail() -> None:
    raise OSError("the disk is full")


def test_calls_follow_one_another_in_another_thread() -> None:
    background = Background("test")
    order: list[str] = []
    first_may_end = threading.Event()

    def first() -> None:
        first_may_end.wait(10)
        order.append(f"first in {threading.current_thread().name}")

    background.start(first)
    threading.Timer(0.05, first_may_end.set).start()
    background.start(order.append, "second")
    background.wait()
    assert order == ["first in test_0", "second"]
    background.end()


def test_an_error_is_raised_by_the_next_start_and_once_only() -> None:
    background = Background("test")
    called: list[str] = []
    background.start(_fail)
    with pytest.raises(OSError, match="full"):
        background.start(called.append, "never")
    background.wait()
    assert called == []
    background.end()


def test_ending_ends_the_thread_and_raises_nothing() -> None:
    background = Background("test-that-ends")
    background.start(_fail)
    background.end()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-that-ends")]
