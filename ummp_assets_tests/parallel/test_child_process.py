"""Child processes that call one function: answers, errors, deaths, and what they leave out."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.parallel.child_process import child_pool


def act(word: str) -> tuple[int, list[str]]:
    """Do as the word says; return the process's id and what it has imported of these."""
    if word == "raise":
        raise InvalidInput("as asked")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    # Arrow asks for pandas here.
    pa.array([word])
    return os.getpid(), [name for name in ("dagster", "pandas", "pytest") if name in sys.modules]


def test_child_holds_nothing_of_what_its_parent_was_started_with() -> None:
    with child_pool(act) as call, ThreadPoolExecutor(1) as threads:
        first, second = threads.map(call, ["one", "two"])

    # This module imports pytest itself.
    assert first == second == (first[0], ["pytest"])
    assert first[0] != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(first[0], 0)


def test_error_is_raised_as_what_it_is_and_death_is_told() -> None:
    with child_pool(act) as call:
        with pytest.raises(InvalidInput, match="as asked"):
            call("raise")
        with pytest.raises(ChildProcessError, match="died"):
            call("die")
        assert call("again")[0] != os.getpid()
