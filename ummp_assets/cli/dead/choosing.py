"""Which dead letters a command is about."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ummp_assets.errors import InvalidInput

if TYPE_CHECKING:
    from ummp_assets.messages.dead_reading import DeadLetter
    from ummp_assets.settings import Settings
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["choose_letters"]


def choose_letters(
    store: "ObjectStore", settings: "Settings", names: Sequence[str], reason: str | None = None
) -> "list[DeadLetter]":
    """Return the letters that are named, with a reason if one is given; without names, all.

    Parameters
    ----------
    names:
        `<partition>~<offset>` in the topic of dead letters (with or without its name), or sample ids.

    Raises
    ------
    InvalidInput
        A name stands for no letter that Kafka still has.
    """
    from ummp_assets.messages.dead_reading import read_dead_letters

    wanted, seen = set(names), set[str]()
    chosen = []
    for letter in read_dead_letters(store, settings):
        matched = wanted.intersection(_names_of(letter))
        seen |= matched
        if (matched or not wanted) and reason in (None, letter.reason):
            chosen.append(letter)
    missing = sorted(wanted - seen)
    if missing:
        raise InvalidInput(f"no dead letter {', '.join(missing)}: `ummp dead list` shows what there is")
    return chosen


def _names_of(letter: "DeadLetter") -> Iterator[str]:
    yield letter.letter
    yield letter.letter.split("~", 1)[1]
    yield letter.sample_id
