"""Names of members: judged, never used as paths, and made fit to end a sample id."""

import hashlib

__all__ = ["MemberNames", "check_name", "storable"]

# With the rest of a sample id it must stay below the 2,704 bytes that PostgreSQL takes as a key.
_MAX_NAME_BYTES = 1_000


def check_name(name: str) -> str | None:
    """Return what is wrong with a member's name, None when it stays inside the archive."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return f"The name {name!r} is absolute"
    if ".." in parts:
        return f"The name {name!r} leads out of the archive"
    return None


def storable(text: str) -> str:
    r"""Return text that UTF-8 and every database take: lone surrogates and NUL are written as escapes.

    >>> storable("a\udcffb\0")
    'a\\udcffb\\x00'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class MemberNames:
    """Gives each member of one archive a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return the name as it can be stored: a long one shortened, the second of the same name as `name#2`.

        >>> names = MemberNames()
        >>> [names.take("a"), names.take("a")]
        ['a', 'a#2']
        """
        name = _shortened(storable(name))
        unique, number = name, self._numbers.get(name, 1)
        while unique in self._taken:
            number += 1
            unique = f"{name}#{number}"
        # Going on from here keeps an archive of 100,000 members of one name from taking minutes.
        self._numbers[name] = number
        self._taken.add(unique)
        return unique


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= _MAX_NAME_BYTES:
        return name
    return f"{encoded[:_MAX_NAME_BYTES].decode(errors='ignore')}#{hashlib.sha256(encoded).hexdigest()}"
