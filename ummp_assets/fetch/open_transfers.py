"""How many transfers may be open at once: those that move data, and those that wait beside them."""

import resource

__all__ = ["allowed_descriptors", "max_open_transfers"]

# Beside 32 that move data, 190 waited at most for 200 dead and slow hosts of 10,000. Behind a narrow link all seem to
# wait: the default of 64 may then open 576, which share 10 Mbit/s at twice the `low_speed_bytes_per_second` of each.
_MAX_STALLED, _MAX_STALLED_EACH = 1_024, 8
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
    576
    >>> max_open_transfers(64, descriptors=256)
    64
    """
    most = max_connections + min(_MAX_STALLED, _MAX_STALLED_EACH * max_connections)
    if descriptors is None:
        return most
    # A shell of macOS has 256, all of which would be spared.
    spare = min(_SPARE_DESCRIPTORS, descriptors // 2)
    return max(1, min(most, (descriptors - spare) // 2))
