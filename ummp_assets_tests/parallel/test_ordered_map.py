"""The bounded, ordered map over an executor."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ummp_assets.parallel.ordered_map import map_in_order


def test_no_more_than_the_stated_items_are_under_way() -> None:
    under_way = most = 0

    def numbers() -> Iterator[int]:
        nonlocal under_way, most
        for number in range(50):
            under_way += 1
            most = max(most, under_way)
            yield number

    results = []
    with ThreadPoolExecutor(2) as executor:
        for result in map_in_order(lambda number: number * 2, numbers(), executor, 3):
            under_way -= 1
            results.append(result)

    assert results == list(range(0, 100, 2))
    assert most == 3
