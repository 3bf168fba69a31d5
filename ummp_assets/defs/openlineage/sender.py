"""Sends events to an endpoint that may be down: it never fails a run, and slows it by a bounded time, once a minute."""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ummp_assets.settings import Settings

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

__all__ = ["Sender", "sender_of"]

_LOG = logging.getLogger("ummp.openlineage")
_REST_SECONDS = 60.0


class Sender:
    """Sends to one endpoint; after a failure it rests for a minute, in which events are dropped."""

    def __init__(self, url: str, api_key: str | None, timeout_seconds: float) -> None:
        self._url, self._timeout_seconds = url, timeout_seconds
        self._client = _make_client(url, api_key, timeout_seconds)
        self._rests_until = 0.0
        self._has_warned = False

    def send(self, make: "Callable[[], RunEvent]") -> bool:
        """Send the event that `make` returns within the time limit; return whether the endpoint took it."""
        if time.monotonic() < self._rests_until:
            return False
        errors: list[Exception] = []
        try:
            event = make()
        except Exception as error:  # noqa: BLE001 - nor for an event that cannot be made
            self._rest(error)
            return False
        # The client's own limit is for each packet: an endpoint that trickles would hold a run for ever.
        thread = threading.Thread(target=self._emit, args=(event, errors), daemon=True, name="openlineage")
        thread.start()
        thread.join(self._timeout_seconds)
        if not thread.is_alive() and not errors:
            self._has_warned = False
            return True
        self._rest(errors[0] if errors else f"no answer within {self._timeout_seconds:g} s")
        return False

    def _rest(self, cause: object) -> None:
        self._rests_until = time.monotonic() + _REST_SECONDS
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "OpenLineage events to %s are dropped, the run goes on: %s. Check UMMP_OPENLINEAGE_URL.",
                _without_userinfo(self._url),
                str(cause).replace(self._url, _without_userinfo(self._url)),
            )

    def _emit(self, event: "RunEvent", errors: list[Exception]) -> None:
        try:
            self._client.emit(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, no run may fail for it
            errors.append(error)


def sender_of(settings: Settings) -> Sender | None:
    """Return the process's sender to the endpoint of the settings, or None where none is set or the extra
    `openlineage` is not installed."""
    if not settings.openlineage_url:
        return None
    key = settings.openlineage_api_key
    return _sender(
        settings.openlineage_url, key.get_secret_value() if key else None, settings.openlineage_timeout_seconds
    )


@cache
def _sender(url: str, api_key: str | None, timeout_seconds: float) -> Sender | None:
    try:
        return Sender(url, api_key, timeout_seconds)
    except ImportError:
        _LOG.warning("UMMP_OPENLINEAGE_URL is set, but the client is missing: pip install 'ummp-assets[openlineage]'")
    except Exception as error:  # noqa: BLE001 - a wrong address is no reason to fail a run, either
        shown = _without_userinfo(url)
        _LOG.warning("UMMP_OPENLINEAGE_URL=%s cannot be used: %s", shown, str(error).replace(url, shown))
    return None


def _without_userinfo(url: str) -> str:
    """Return a URL without `user:password@`, which no log may hold."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _make_client(url: str, api_key: str | None, timeout_seconds: float) -> "OpenLineageClient":
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

    auth = ApiKeyTokenProvider({"apiKey": api_key}) if api_key else TokenProvider({})
    config = HttpConfig(url=url, timeout=timeout_seconds, auth=auth, retry={"total": 0})
    return OpenLineageClient(transport=HttpTransport(config))
