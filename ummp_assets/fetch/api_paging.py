"""How the pages of a JSON API are read, as the fragment of its URI says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin

from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.reasons import Reason

__all__ = ["Paging", "read_paging", "resolve_pointer"]

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Paging:
    """The pairs of a fragment; `items` and `next` are JSON Pointers (RFC 6901)."""

    items: str = ""
    next: str | None = None
    cursor: str | None = None
    page: str | None = None
    first: int = 1

    def first_url(self, url: str) -> str:
        """Return the URL of the first page."""
        return self.numbered_url(url, self.first)

    def numbered_url(self, url: str, number: int) -> str:
        """Return the URL of a page by its number, where pages are counted; else the URL as it is."""
        return _with_parameter(url, self.page, str(number)) if self.page else url

    def items_of(self, page: Any, *, is_first: bool) -> list[Any]:
        """Return the items in a page; raises `SourceError` when the pointer names nothing in the first one. A later one
        without it may be how the server says that there are no more."""
        items = _resolve(page, self.items)
        if items is _ABSENT and not is_first:
            return []
        if items is _ABSENT:
            raise SourceError(Reason.INVALID_RESPONSE, f"The page has nothing at items={self.items}")
        return items if isinstance(items, list) else [] if items is None else [items]

    def next_url(self, url: str, links: Mapping[str, Mapping[str, str]], page: Any) -> str | None:
        """Return the URL of the page after this one, None at the end; raises `SourceError` when what stands for it is
        neither text nor a number."""
        if self.next is None:
            link = links.get("next", {}).get("url")
            return urljoin(url, link) if link else None
        token = resolve_pointer(page, self.next)
        if token in (None, "", False):
            return None
        if not isinstance(token, str | int):
            raise SourceError(Reason.INVALID_RESPONSE, f"What stands at next={self.next} names no page")
        return _with_parameter(url, self.cursor, str(token)) if self.cursor else urljoin(url, str(token))


def read_paging(fragment: str) -> Paging:
    """Return what a fragment says; raises `SourceError`."""
    options = {name: unquote(value) for name, _, value in (part.partition("=") for part in fragment.split("&") if part)}
    first = options.pop("first", "1")
    if options.keys() - {"items", "next", "cursor", "page"} or not (first.isascii() and first.isdecimal()):
        raise SourceError(Reason.INVALID_URI, f"The fragment {fragment!r} does not say how pages are read")
    for name in ("items", "next"):
        if options.get(name) and not options[name].startswith("/"):
            raise SourceError(Reason.INVALID_URI, f"{name}={options[name]} is no JSON Pointer: it begins with no slash")
    return Paging(first=int(first), **options)


def resolve_pointer(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) names in a document, None when there is nothing.

    >>> resolve_pointer({"a": [{"b/c": 1}]}, "/a/0/b~1c")
    1
    """
    found = _resolve(document, pointer)
    return None if found is _ABSENT else found


def _resolve(document: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name, _ABSENT)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return _ABSENT
    return document


def _with_parameter(url: str, name: str, value: str) -> str:
    address, _, query = url.partition("?")
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return f"{address}?{urlencode([*kept, (name, value)])}"
