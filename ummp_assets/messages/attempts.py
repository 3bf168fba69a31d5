"""When a batch whose runs failed is tried again, and what a person is told once nothing tries it any more."""

from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.replays import source_topic
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.settings import Settings

__all__ = ["LOOKED_AT", "MAX_ATTEMPTS", "explain_exhausted", "wait_seconds"]

LOOKED_AT = 100
"""Batches of a topic, from the first on that is not done, among which failed ones are looked for."""

MAX_ATTEMPTS = 25
"""Failed runs of a batch after which a person has to look: the first, and 24 repetitions in about a day."""

_FIRST_WAIT_SECONDS = 60.0
_MAX_WAIT_SECONDS = 3_600.0


def wait_seconds(failures: int) -> float:
    """Return how long after the last of so many failures the next attempt is due: 60 s, doubled, at most an hour."""
    return min(_FIRST_WAIT_SECONDS * 2.0 ** (failures - 1), _MAX_WAIT_SECONDS)


def explain_exhausted(settings: Settings, key: str) -> str:
    """Return the sentence for a batch that has used up its attempts, with the commands that end its waiting."""
    said = f"batch {key} failed {MAX_ATTEMPTS} times and is not tried again: mend what its last run says, then "
    again = "re-execute that run in the web UI"
    if source_topic(parse_key(key)[0]) not in topic_names(settings).of_role(Role.REQUESTS):
        return f"{said}{again}"
    return f'{said}{again}; or give it up: ummp abandon {key} --reason "..."'
