"""Child processes that call one function: answers, errors, deaths, and what they leave out."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.parallel.child_process import ChildFamily, child_pool


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


@pytest.mark.parametrize("forks", [True, False])
def test_children_of_a_family_live_and_die_each_for_itself(forks: bool) -> None:
    family = ChildFamily(act, forks=forks)
    try:
        first, second = family.child(), family.child()
        pids = [child.ask("one")[0] for child in (first, second)]
        assert len({os.getpid(), *pids}) == 3
        assert first.ask("die") is None
        first.end()
        assert second.ask("two")[0] == pids[1]
        second.end()
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        third = family.child()
        assert third.ask("three")[0] not in pids
        third.end()
    finally:
        family.close()


def remember(_: object) -> object:
    """Return what `prepare_memory` left."""
    return sys.modules.get("prepared")


def prepare_memory() -> None:
    sys.modules["prepared"] = "once"  # type: ignore[assignment]


def test_children_share_what_was_prepared() -> None:
    with child_pool(remember, prepare_memory) as call:
        assert call("anything") == "once"
