"""`api+http(s)://`: the items of a paginated JSON API, one sample an item.

How the pages are read stands in the URI's fragment, which no server sees, as `name=value` pairs joined by `&`:

    items    JSON Pointer (RFC 6901) to the array of items in a page; without it the page itself, an array or one item
    next     JSON Pointer to the next page's URL; with `cursor`, to a token
    cursor   name of the query parameter that takes the token
    page     name of the query parameter that counts pages, until one is empty
    first    number of the first page, 1 unless given

Without `next` and `page`, the `Link` header with rel="next" is followed (RFC 8288). The items become a table in JSON
Lines, which is then unpacked like any other.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin

import requests

from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.api_transport import AddressRefused, make_session
from ummp_assets.fetch.clock import timestamp, utc_now
from ummp_assets.fetch.collecting import collect
from ummp_assets.fetch.fetched import Attempt, Fetched, FetchRequest
from ummp_assets.fetch.host_rules import rules_for
from ummp_assets.fetch.http_errors import judge_status
from ummp_assets.fetch.modality import TABLE
from ummp_assets.fetch.retrying import RetryRule, parse_retry_after
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.fetch.urls import InvalidUrl, parse_http_url
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["ApiSource", "resolve_pointer"]

_PREFIX = "api+"
_MAX_PAGE_BYTES = 64 * 2**20
_MAX_PAGES = 100_000
_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class _Paging:
    items: str = ""
    next: str | None = None
    cursor: str | None = None
    page: str | None = None
    first: int = 1


class ApiSource:
    """Reads paginated APIs; each page is tried again by itself."""

    def __init__(self, settings: FetchSettings, scratch: Path, addresses: AddressPolicy) -> None:
        self._settings, self._scratch, self._addresses = settings, scratch, addresses
        self._retry = RetryRule(settings.max_attempts, settings.retry_base_seconds, settings.max_retry_seconds)

    def handles(self, scheme: str) -> bool:
        """Return whether the scheme is `api+http` or `api+https`."""
        return scheme in ("api+http", "api+https")

    def fetch(self, request: FetchRequest, started: str) -> Fetched:
        """Return the items as JSON Lines; raises `SourceError`."""
        url, _, fragment = request.uri.strip()[len(_PREFIX) :].partition("#")
        paging = _read_paging(fragment)
        attempts: list[Attempt] = []
        with make_session(self._addresses, self._settings.user_agent) as session:
            items = self._items(session, url, paging, attempts)
            body = collect(map(_json_line, items), self._scratch, self._settings)
        return Fetched(body, url, started, media_type="application/x-ndjson", attempts=attempts, modality=TABLE)

    def close(self) -> None:
        """Nothing is kept open."""

    def _items(self, session: requests.Session, url: str, paging: _Paging, attempts: list[Attempt]) -> Iterator[Any]:
        number = paging.first
        following: str | None = _with_parameter(url, paging.page, str(number)) if paging.page else url
        seen: set[str] = set()
        while following is not None and following not in seen and len(seen) < _MAX_PAGES:
            seen.add(following)
            response, page = self._page(session, following, attempts)
            items = resolve_pointer(page, paging.items)
            found = items if isinstance(items, list) else [] if items is None else [items]
            yield from found
            number += 1
            if paging.page:
                following = _with_parameter(url, paging.page, str(number)) if found else None
            else:
                following = _next_url(following, response, page, paging)
            self._heed_rate_limit(response)

    def _page(self, session: requests.Session, url: str, attempts: list[Attempt]) -> tuple[requests.Response, Any]:
        failures, waited = 0, 0.0
        while True:
            try:
                return self._ask(session, url, attempts)
            except SourceError as error:
                failures += 1
                wait = self._retry.wait_seconds(failures, waited, error.retry_after)
                if not error.transient or wait is None:
                    # Tried often enough here: the whole listing is not begun again.
                    raise SourceError(error.reason, str(error), status=error.status) from error
                waited += wait
                time.sleep(wait)

    def _ask(self, session: requests.Session, url: str, attempts: list[Attempt]) -> tuple[requests.Response, Any]:
        for _ in range(self._settings.max_redirects + 1):
            started = timestamp()
            try:
                clean = parse_http_url(url)
                headers = dict(line.split(": ", 1) for line in rules_for(self._settings, clean).headers)
                response, content = self._receive(session, clean.text, headers)
            except InvalidUrl as error:
                raise SourceError(Reason.INVALID_URI, f"{url!r} cannot be asked: {error}") from error
            except AddressRefused as error:
                raise SourceError(Reason.ADDRESS_REFUSED, str(error)) from error
            except requests.RequestException as error:
                raise _explain(error, attempts, started, url) from error
            verdict = None if response.is_redirect else judge_status(response.status_code)
            error_text = verdict.error if verdict else None
            attempts.append(Attempt(started, url, None, response.status_code, error_text, len(content)))
            if verdict is not None:
                wait = parse_retry_after(response.headers.get("Retry-After", ""), utc_now())
                raise SourceError(
                    verdict.reason,
                    verdict.error,
                    transient=verdict.transient,
                    status=response.status_code,
                    retry_after=wait,
                )
            if not response.is_redirect:
                return response, _parse(content)
            url = urljoin(url, response.headers["Location"])
        raise SourceError(Reason.TOO_MANY_REDIRECTS, f"More than {self._settings.max_redirects} redirects")

    def _receive(self, session: requests.Session, url: str, headers: dict[str, str]) -> tuple[requests.Response, bytes]:
        limits = (self._settings.connect_timeout_seconds, float(self._settings.low_speed_seconds))
        over = time.monotonic() + self._settings.total_timeout_seconds
        with session.get(url, headers=headers, timeout=limits, allow_redirects=False, stream=True) as response:
            content = bytearray()
            for piece in response.iter_content(_PIECE_BYTES):
                content += piece
                if len(content) > _MAX_PAGE_BYTES:
                    raise SourceError(Reason.OBJECT_TOO_LARGE, f"A page is larger than {_MAX_PAGE_BYTES} bytes")
                if time.monotonic() > over:
                    raise SourceError(Reason.TIMED_OUT, "The page took longer than total_timeout_seconds")
            return response, bytes(content)

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


def resolve_pointer(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) names in a document, None when there is nothing.

    >>> resolve_pointer({"a": [{"b/c": 1}]}, "/a/0/b~1c")
    1
    """
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def _read_paging(fragment: str) -> _Paging:
    options = {name: unquote(value) for name, _, value in (part.partition("=") for part in fragment.split("&") if part)}
    first = options.pop("first", "1")
    unknown = options.keys() - {"items", "next", "cursor", "page"}
    if unknown or not first.isdecimal():
        raise SourceError(Reason.INVALID_URI, f"The fragment {fragment!r} does not say how pages are read")
    return _Paging(first=int(first), **options)


def _next_url(url: str, response: requests.Response, page: Any, paging: _Paging) -> str | None:
    if paging.next is None:
        link = response.links.get("next", {}).get("url")
        return urljoin(url, link) if link else None
    token = resolve_pointer(page, paging.next)
    if token in (None, "", False):
        return None
    return _with_parameter(url, paging.cursor, str(token)) if paging.cursor else urljoin(url, str(token))


def _with_parameter(url: str, name: str, value: str) -> str:
    address, _, query = url.partition("?")
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return f"{address}?{urlencode([*kept, (name, value)])}"


def _json_line(item: Any) -> bytes:
    row = item if isinstance(item, dict) else {"content": json.dumps(item, ensure_ascii=False)}
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(Reason.INVALID_RESPONSE, f"The page is no JSON: {error}") from error


def _explain(error: requests.RequestException, attempts: list[Attempt], started: str, url: str) -> SourceError:
    if isinstance(error, requests.exceptions.SSLError):
        reason = Reason.TLS_FAILED
    elif isinstance(error, requests.Timeout):
        reason = Reason.TIMED_OUT
    elif isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        reason = Reason.TRUNCATED_BODY
    else:
        reason = Reason.CONNECTION_FAILED
    detail = f"The page could not be read ({type(error).__name__})"
    attempts.append(Attempt(started, url, None, None, detail, 0))
    return SourceError(reason, detail, transient=reason is not Reason.TLS_FAILED)
