"""What goes through the gate at once stays within the budget."""

import threading
from concurrent.futures import ThreadPoolExecutor

from ummp_assets.parallel.memory_gate import MemoryGate


def test_the_budget_is_never_exceeded_and_everything_gets_through() -> None:
    gate = MemoryGate(100)
    inside, most, lock = 0, 0, threading.Lock()

    def work(size: int) -> int:
        nonlocal inside, most
        with gate.room(size):
            with lock:
                inside += size
                most = max(most, inside)
            threading.Event().wait(0.001)
            with lock:
                inside -= size
        return size

    sizes = [10, 60, 90, 30, 100, 1] * 10
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, sizes)) == sizes
    assert 60 <= most <= 100


def test_what_is_larger_than_the_budget_goes_in_alone() -> None:
    gate = MemoryGate(100)
    entered = threading.Event()

    def enter() -> None:
        with gate.room(1):
            entered.set()

    with gate.room(1_000):
        other = threading.Thread(target=enter)
        other.start()
        assert not entered.wait(0.05)
    other.join(5)
    assert entered.is_set()
