"""How many transfers may be open at once: those that move data, and those that wait beside them."""

import resource

__all__ = ["allowed_descriptors", "max_open_transfers"]

# Beside 32 that move data, 1,000 may wait for dead and slow hosts, or for answers that take 200 ms to begin. A small
# `max_connections` bounds them too: it is what says how many transfers share a narrow link.
_MAX_STALLED, _MAX_STALLED_EACH = 1_024, 32
# Descriptors left to the rest of the process.
_SPARE_DESCRIPTORS = 256


def allowed_descriptors() -> int | None:
    """Return how many files this process may open, None when there is no limit."""
    soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft_limit == resource.RLIM_INFINITY else soft_limit


def max_open_transfers(max_connections: int, descriptors: int | None) -> int:
    """Return how many transfers may be open, those that have stalled included; each may take a descriptor for its
    connection and one for its scratch file.

    >>> max_open_transfers(64, descriptors=None)
    1088
    >>> max_open_transfers(64, descriptors=256)
    64
    """
    most = max_connections + min(_MAX_STALLED, _MAX_STALLED_EACH * max_connections)
    if descriptors is None:
        return most
    # A shell of macOS has 256, all of which would be spared.
    spare = min(_SPARE_DESCRIPTORS, descriptors // 2)
    return max(1, min(most, (descriptors - spare) // 2))
