"""Garbage is collected less often for a while, and then as before."""

import gc
from contextlib import ExitStack

from ummp_assets.parallel.rare_collections import rare_collections


def test_collections_are_rare_in_the_block_only() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] >= 100_000
    assert gc.get_threshold() == before


def test_blocks_that_overlap_as_those_of_two_threads_leave_the_threshold_as_it_was() -> None:
    before = gc.get_threshold()
    first, second = ExitStack(), ExitStack()
    first.enter_context(rare_collections())
    second.enter_context(rare_collections())
    first.close()
    assert gc.get_threshold()[0] >= 100_000
    second.close()
    assert gc.get_threshold() == before


def test_a_threshold_that_turns_collecting_off_stays() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with rare_collections():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
