"""`api+http(s)://`: the items of a paginated JSON API, one sample an item.

How the pages are read stands in the URI's fragment, which no server sees, as `name=value` pairs joined by `&`:

    items    JSON Pointer (RFC 6901) to the array of items in a page; without it the page itself, an array or one item
    next     JSON Pointer to the next page's URL; with `cursor`, to a token
    cursor   name of the query parameter that takes the token
    page     name of the query parameter that counts pages, until one is empty
    first    number of the first page, 1 unless given

Without `next` and `page`, the `Link` header with rel="next" is followed (RFC 8288). A page that was read already is the
end, and one of those that are counted that brings the same items as the one before it. The items become a table in JSON
Lines, which is then unpacked like any other.
"""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.api_budgets import ApiBudgets
from ummp_assets.fetch.api_paging import Paging, read_paging
from ummp_assets.fetch.api_transport import AddressRefused, ApiSession
from ummp_assets.fetch.clock import timestamp, utc_now
from ummp_assets.fetch.collecting import collect
from ummp_assets.fetch.fetched import Attempt, Fetched, FetchRequest
from ummp_assets.fetch.host_rules import rules_for
from ummp_assets.fetch.http_errors import judge_status
from ummp_assets.fetch.modality import TABLE
from ummp_assets.fetch.retrying import RetryRule, parse_retry_after
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.fetch.urls import HttpUrl, InvalidUrl, parse_http_url
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["ApiSource"]

_log = logging.getLogger(__name__)

_PREFIX = "api+"
_MAX_PAGE_BYTES = 64 * 2**20
_MAX_PAGES = 100_000
_PIECE_BYTES = 65_536
# They stand in the row of every item, so that those of a long listing would take more than its items.
_MAX_KEPT_ATTEMPTS = 20


class ApiSource:
    """Reads paginated APIs; each page is tried again by itself."""

    def __init__(self, settings: FetchSettings, scratch: Path, addresses: AddressPolicy, budgets: ApiBudgets) -> None:
        self._settings, self._scratch, self._addresses, self._budgets = settings, scratch, addresses, budgets
        self._retry = RetryRule(settings.max_attempts, settings.retry_base_seconds, settings.max_retry_seconds)

    def handles(self, scheme: str) -> bool:
        """Return whether the scheme is `api+http` or `api+https`."""
        return scheme in ("api+http", "api+https")

    def fetch(self, request: FetchRequest, started: str) -> Fetched:
        """Return the items as JSON Lines; raises `SourceError`."""
        url, _, fragment = request.uri.strip()[len(_PREFIX) :].partition("#")
        paging = read_paging(fragment)
        attempts: list[Attempt] = []
        try:
            with ApiSession(self._addresses, self._settings.user_agent) as session:
                session.needs_tls = url.lower().startswith("https:")
                items = self._items(session, url, paging, attempts)
                body = collect(map(_json_line, items), self._scratch, self._settings)
        except SourceError as error:
            error.attempts = attempts[-_MAX_KEPT_ATTEMPTS:]
            raise
        kept, pages = attempts[-_MAX_KEPT_ATTEMPTS:], sum(attempt.error is None for attempt in attempts)
        return Fetched(
            body,
            url,
            started,
            media_type="application/x-ndjson",
            attempts=kept,
            evidence={"pages": pages, "attempts": len(attempts)},
            modality=TABLE,
        )

    def close(self) -> None:
        """Nothing is kept open."""

    def _items(self, session: ApiSession, url: str, paging: Paging, attempts: list[Attempt]) -> Iterator[Any]:
        number = paging.first
        following: str | None = paging.first_url(url)
        seen: set[str] = set()
        before: list[Any] = []
        while following is not None and following not in seen:
            if len(seen) == _MAX_PAGES:
                raise SourceError(Reason.OBJECT_TOO_LARGE, f"The listing has more than {_MAX_PAGES} pages")
            seen.add(following)
            response, page = self._page(session, following, attempts)
            items = paging.items_of(page, is_first=number == paging.first)
            if paging.page and (not items or items == before):
                # The same again comes of a server that does not know the parameter.
                return
            yield from items
            before, number = items, number + 1
            if paging.page:
                following = paging.numbered_url(url, number)
            else:
                following = paging.next_url(following, response.links, page)
            self._heed_rate_limit(response)

    def _page(self, session: ApiSession, url: str, attempts: list[Attempt]) -> tuple[requests.Response, Any]:
        failures, waited = 0, 0.0
        while True:
            try:
                return self._ask(session, url, attempts)
            except SourceError as error:
                failures += 1
                _log.info("attempt %d at %s: %s", failures, url, error)
                wait = self._retry.wait_seconds(failures, waited, error.retry_after)
                if not error.transient or wait is None:
                    # Tried often enough here: the whole listing is not begun again.
                    raise SourceError(error.reason, str(error), status=error.status) from error
                waited += wait
                time.sleep(wait)

    def _ask(self, session: ApiSession, url: str, attempts: list[Attempt]) -> tuple[requests.Response, Any]:
        for _ in range(self._settings.max_redirects + 1):
            started = timestamp()
            status: int | None = None
            content = b""
            try:
                response, content = self._receive(session, url)
                status = response.status_code
                _check_status(response)
                document = None if response.is_redirect else _parse(content)
            except SourceError as error:
                attempts.append(Attempt(started, url, None, status, str(error), len(content)))
                raise
            attempts.append(Attempt(started, url, None, status, None, len(content)))
            if not response.is_redirect:
                return response, document
            url = urljoin(url, response.headers["Location"])
        raise SourceError(Reason.TOO_MANY_REDIRECTS, f"More than {self._settings.max_redirects} redirects")

    def _receive(self, session: ApiSession, url: str) -> tuple[requests.Response, bytes]:
        try:
            clean = parse_http_url(url)
        except InvalidUrl as error:
            raise SourceError(Reason.INVALID_URI, f"{url!r} cannot be asked: {error}") from error
        settings = self._settings
        own = rules_for(settings, clean).headers
        if session.needs_tls and clean.text.startswith("http:"):
            # A redirect or a link to the next page has left https: everybody on the way could read credentials.
            own = ()
        headers = dict(line.split(": ", 1) for line in own)
        limits = (settings.connect_timeout_seconds, float(settings.low_speed_seconds))
        content = bytearray()
        try:
            with (
                self._budgets.turn(clean),
                session.broken_off_after(settings.total_timeout_seconds),
                session.get(clean.text, headers=headers, timeout=limits, allow_redirects=False, stream=True) as answer,
            ):
                for piece in answer.iter_content(_PIECE_BYTES):
                    content += piece
                    if len(content) > _MAX_PAGE_BYTES:
                        raise SourceError(Reason.OBJECT_TOO_LARGE, f"A page is larger than {_MAX_PAGE_BYTES} bytes")
        except AddressRefused as error:
            raise SourceError(Reason.ADDRESS_REFUSED, str(error)) from error
        except (requests.RequestException, ValueError) as error:
            failure = _too_slow() if session.was_broken_off else _explain(error)
            self._budgets.answered(clean, failure=str(failure))
            raise failure from error
        if session.was_broken_off:
            raise _too_slow()
        self._note_answer(clean, answer)
        return answer, bytes(content)

    def _note_answer(self, url: HttpUrl, answer: requests.Response) -> None:
        rest = parse_retry_after(answer.headers.get("Retry-After", ""), utc_now())
        verdict = judge_status(answer.status_code) if answer.status_code >= 500 else None
        self._budgets.answered(
            url,
            failure=verdict.error if verdict else None,
            rest_seconds=rest if answer.status_code in (429, 503) else None,
        )

    def _heed_rate_limit(self, response: requests.Response) -> None:
        """Wait where the server says that nothing is left (`X-RateLimit-*` as GitHub has it, `RateLimit-*` of the IETF
        draft): the time of the reset in Unix seconds, or the seconds until it."""
        headers = response.headers
        left = headers.get("X-RateLimit-Remaining", headers.get("RateLimit-Remaining", ""))
        reset = headers.get("X-RateLimit-Reset", headers.get("RateLimit-Reset", ""))
        if left.strip() == "0" and reset.strip().isdecimal():
            seconds = float(reset)
            if seconds > 1_000_000_000:
                seconds -= utc_now().timestamp()
            time.sleep(min(max(0.0, seconds), self._settings.max_retry_seconds))


def _json_line(item: Any) -> bytes:
    row = item if isinstance(item, dict) else {"content": json.dumps(item, ensure_ascii=False)}
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(Reason.INVALID_RESPONSE, f"The page is no JSON: {error}") from error


def _check_status(response: requests.Response) -> None:
    verdict = None if response.is_redirect else judge_status(response.status_code)
    if verdict is not None:
        raise SourceError(
            verdict.reason,
            verdict.error,
            transient=verdict.transient,
            status=response.status_code,
            retry_after=parse_retry_after(response.headers.get("Retry-After", ""), utc_now()),
        )


def _too_slow() -> SourceError:
    return SourceError(Reason.TIMED_OUT, "The page took longer than fetch.total_timeout_seconds", transient=True)


def _explain(error: Exception) -> SourceError:
    """Return what an error of `requests` means; a `ValueError` is one about what the server redirects to."""
    if isinstance(error, requests.exceptions.SSLError):
        reason = Reason.TLS_FAILED
    elif isinstance(error, requests.Timeout):
        reason = Reason.TIMED_OUT
    elif isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        reason = Reason.TRUNCATED_BODY
    elif isinstance(error, requests.exceptions.InvalidURL):
        reason = Reason.INVALID_URI
    elif isinstance(error, requests.RequestException) and not isinstance(error, ValueError):
        reason = Reason.CONNECTION_FAILED
    else:
        reason = Reason.INVALID_RESPONSE
    transient = reason in (Reason.TIMED_OUT, Reason.TRUNCATED_BODY, Reason.CONNECTION_FAILED)
    return SourceError(reason, f"The page could not be read ({type(error).__name__})", transient=transient)
