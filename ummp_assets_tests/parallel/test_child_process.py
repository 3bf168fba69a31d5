"""Child processes that call one function: answers, errors, deaths, and what they leave out."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.parallel.child_process import ChildFamily, child_pool


def act(word: str) -> tuple[int, list[str]]:
    """Do as the word says; return the process's id and what it has imported of these."""
    if word == "raise":
        raise InvalidInput("as asked")
    if word == "raise a lambda":
        raise InvalidInput(lambda: word)
    if word == "hang":
        threading.Event().wait()
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
        with pytest.raises(RuntimeError, match=r"InvalidInput: .*lambda"):
            call("raise a lambda")
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


def fail_to_prepare() -> None:
    raise InvalidInput("the model is missing")


def die_preparing() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("forks", [True, False])
def test_what_loading_raises_is_raised_here(forks: bool) -> None:
    with pytest.raises(InvalidInput, match="the model is missing"):
        ChildFamily(act, fail_to_prepare, forks=forks).child()


def test_death_while_loading_is_told() -> None:
    with pytest.raises(ChildProcessError, match="while it loaded"):
        ChildFamily(act, die_preparing).child()


def parent_of(_: object) -> int:
    return os.getppid()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_a_family_whose_forking_process_dies_says_so_and_starts_another_one() -> None:
    family = ChildFamily(parent_of)
    try:
        first = family.child()
        os.kill(forker := first.ask(None), signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="forks"):
            family.child()
        second = family.child()
        assert second.ask(None) != forker
        first.end()
        assert isinstance(second.ask(None), int)
    finally:
        family.close()


_PROGRAM = """
from ummp_assets.parallel.child_process import ChildFamily
from ummp_assets_tests.parallel.test_child_process import act
child = ChildFamily(act).child()
print(child.ask("one")[0], flush=True)
child.ask("hang")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_a_child_that_hangs_ends_with_the_process_that_asked_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(0.05)
        process.kill()
    until = time.monotonic() + 10
    while _is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
