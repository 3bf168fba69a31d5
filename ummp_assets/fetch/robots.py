"""robots.txt (RFC 9309) and what servers say about AI in their answers' headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from protego import Protego

from ummp_assets.storage.fetch_state import StoredRobots

__all__ = ["MAX_ROBOTS_BYTES", "ROBOTS_PATH", "RobotsRules", "forbids_ai", "product_token", "read_robots"]

ROBOTS_PATH = "/robots.txt"
MAX_ROBOTS_BYTES = 512_000
"""What is read of a longer robots.txt; RFC 9309, 2.5 asks for at least 500 KiB."""

_MAX_CRAWL_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RobotsRules:
    """What a host's robots.txt means for one user agent.

    Parameters
    ----------
    crawl_delay_seconds:
        Pause between two requests that the host asks for.
    evidence:
        What is stored with what was fetched under these rules; one object for all of a host.
    """

    status: int
    fetched_at: str
    crawl_delay_seconds: float | None
    evidence: Mapping[str, Any]
    _agent: str
    _parser: Protego | None

    @property
    def reachable(self) -> bool:
        """Whether the host gave a usable answer; without one nothing may be fetched (RFC 9309, 2.3.1.4)."""
        return self.status < 500 and self.status != 429

    def allows(self, url: str) -> bool:
        """Return whether the URL may be fetched."""
        return self.reachable and (self._parser is None or self._parser.can_fetch(url, self._agent))


def read_robots(stored: StoredRobots, agent: str) -> RobotsRules:
    """Return the rules of an answer to /robots.txt: parsed for 200, everything allowed for other answers below 500."""
    parser = Protego.parse(stored.body) if 200 <= stored.status < 300 and stored.body.strip() else None
    delay = parser.crawl_delay(agent) if parser is not None else None
    fetched_at = datetime.fromtimestamp(stored.fetched_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return RobotsRules(
        stored.status,
        fetched_at,
        min(float(delay), _MAX_CRAWL_DELAY_SECONDS) if delay else None,
        {"robots": {"allowed": True, "status": stored.status, "fetched_at": fetched_at}},
        agent,
        parser,
    )


def product_token(user_agent: str) -> str:
    """Return the name that robots.txt addresses us by: the part of the user agent before the version.

    >>> product_token("ummp/0.1 (+https://example.org)")
    'ummp'
    """
    return user_agent.split("/", 1)[0].split(" ", 1)[0].strip() or "*"


def forbids_ai(tag: str, agent: str) -> set[str]:
    """Return which of `noai` and `noimageai` an `X-Robots-Tag` header says to this user agent.

    A directive may be addressed (`otherbot: noai`); an address holds for the directives after it.

    >>> sorted(forbids_ai("noindex, noai", "ummp"))
    ['noai']
    >>> forbids_ai("otherbot: noai", "ummp")
    set()
    """
    found: set[str] = set()
    addressed = True
    for part in tag.lower().split(","):
        name, colon, directive = part.partition(":")
        if colon and name.strip() not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            addressed = name.strip() in ("*", agent.lower())
        else:
            directive = part
        if addressed and directive.strip() in ("noai", "noimageai"):
            found.add(directive.strip())
    return found
