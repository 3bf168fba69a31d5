"""One function over many items in an executor: bounded in what is under way, ordered in what comes out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

__all__ = ["map_in_order"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], executor: Executor | None, ahead: int
) -> Iterator[_Result]:
    """Yield `function(item)` for each item in order, with at most `ahead` items under way in the executor.

    `Executor.map` would submit all items at once and hold them all in memory.
    """
    if executor is None:
        yield from map(function, items)
        return
    under_way: deque[Future[_Result]] = deque()
    try:
        for item in items:
            under_way.append(executor.submit(function, item))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
