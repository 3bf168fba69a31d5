"""No request before the host's robots.txt is known: the first one makes us ask, the others wait with it."""

from pathlib import Path

from ummp_assets.fetch.body import BodyWriter
from ummp_assets.fetch.fetched import FetchRequest
from ummp_assets.fetch.host_policy import HostPolicy
from ummp_assets.fetch.hosts import Host, HostQueues
from ummp_assets.fetch.http_transfer import Download
from ummp_assets.fetch.robots import MAX_ROBOTS_BYTES, ROBOTS_PATH
from ummp_assets.fetch.urls import parse_http_url
from ummp_assets.reasons import Reason

__all__ = ["RobotsGate"]

# Answers that say nothing about robots: the host is open (RFC 9309, 2.3.1.3).
_OPEN = frozenset({Reason.HTTP_CLIENT_ERROR, Reason.TOO_MANY_REDIRECTS, Reason.EMPTY_BODY})


class RobotsGate:
    """Lets downloads into the queues of their hosts."""

    def __init__(self, queues: HostQueues[Download], policy: HostPolicy[Download], scratch: Path) -> None:
        self._queues, self._policy, self._scratch = queues, policy, scratch

    def enter(self, download: Download) -> None:
        """Let a download wait for its turn, and first for the host's robots.txt where that is kept and not known."""
        host = download.host
        is_known = host.robots is not None or not host.rules.respect_robots or host.closed is not None
        if is_known or download.robots_of is not None:
            self._queues.add(host, download)
            return
        host.held.append(download)
        if not host.asking_robots:
            host.asking_robots = True
            url = parse_http_url(host.origin + ROBOTS_PATH)
            body = BodyWriter(self._scratch, MAX_ROBOTS_BYTES, MAX_ROBOTS_BYTES)
            request = FetchRequest(download.position, "", "", url.text, "text")
            self._queues.add(host, Download(request, url, host, body, robots_of=host))

    def answered(self, host: Host[Download], status: int, question: Download) -> None:
        """Take the host's answer, and let in what has waited for it."""
        text = question.body.finish().read().decode("utf-8-sig", "replace") if status == 200 else ""
        self._policy.take_robots(host, status, text)
        held, host.held = host.held, []
        for download in held:
            self._queues.add(host, download)

    def failed(self, host: Host[Download], question: Download, reason: Reason) -> list[Download]:
        """Take the news that there is no answer; return the downloads that share its fate."""
        if reason in _OPEN:
            self.answered(host, question.attempts[-1].status or 404, question)
        elif reason is Reason.OBJECT_TOO_LARGE:
            # What has come of it counts (RFC 9309, 2.5).
            self.answered(host, 200, question)
        elif reason is Reason.HTTP_SERVER_ERROR:
            self.answered(host, 503, question)
        else:
            held, host.held, host.asking_robots = host.held, [], False
            for download in held:
                download.attempts.extend(question.attempts)
            return held
        return []
