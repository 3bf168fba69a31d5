"""How many threads a heavy step uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["available_cores", "one_opencv_thread"]


def available_cores() -> int:
    """Return the number of cores that this process may use, which a container or `taskset` can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own: the step runs one picture on each core already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
