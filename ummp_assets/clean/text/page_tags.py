"""The tags of large pages: what can go before parsing, and the text without any."""

import html
import re

import numpy as np

from ummp_assets.clean.text.tag_arrays import find_tags, is_one_of

__all__ = ["drop_scripts", "drop_silent_tags", "strip_tags"]

# Without `svg` and `math` no tag closes itself, and nothing nests but what nests in HTML.
_DRAWING, _DRAWING_END = re.compile(r"<svg\b", re.IGNORECASE), re.compile(r"</svg\s*>", re.IGNORECASE)
_SILENT = re.compile(r"</?(?:svg|math|mspace|mprescripts|mglyph|none|rb|rp|rtc?)\b[^<>]*>", re.IGNORECASE)
# Most pages hold none: a sixth of the time of extracting one of 40 kB is spared.
_SILENT_STARTS = (b"<svg", b"<math", b"<rt", b"<rb", b"<rp")

_SCRIPT = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|noscript|select|iframe|object)\b.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_UNSEEN_STARTS = (b"<!--", b"<script", b"<style", b"<template", b"<noscript", b"<select", b"<iframe", b"<object")
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "div", "dl"),
    *("dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header"),
    *("hr", "html", "li", "main", "menu", "nav", "ol", "p", "pre", "section", "summary", "table", "td", "th", "title"),
    *("tr", "ul"),
)
_DECLARATION = re.compile(r"<[!?][^<>]*>")
_TO_SPACES = bytes.maketrans(b"\t\n\f\r", b"    ")
_LINE_END, _OPEN, _CLOSE = ord("\n"), ord("<"), ord(">")


def drop_silent_tags(page: str) -> str:
    """Return a page without drawings, and without the tags of formulas and readings, whose text stays."""
    lowered = page.encode("utf-8", "replace").lower()
    if not any(start in lowered for start in _SILENT_STARTS):
        return page
    if lowered.count(b"<svg") <= lowered.count(b"</svg"):
        page = _drop_drawings(page)
    return _SILENT.sub("", page)


def drop_scripts(page: str) -> str:
    """Return a page without scripts, styles and comments; `i<n` in a script looks like a tag."""
    return _SCRIPT.sub("", page)


def _drop_drawings(page: str) -> str:
    # Not by one expression, which would look through the rest of the page at each drawing that no tag ends.
    parts: list[str] = []
    done = 0
    while (start := _DRAWING.search(page, done)) and (end := _DRAWING_END.search(page, start.end())):
        parts.append(page[done : start.start()])
        done = end.end()
    return "".join([*parts, page[done:]])


def strip_tags(page: str) -> str:
    """Return the text of a page, whatever its tags; blocks are lines. It takes time linear in the page's length."""
    lowered = page.encode("utf-8", "replace").lower()
    if any(start in lowered for start in _UNSEEN_STARTS):
        page = _UNSEEN.sub("", page)
    text = _drop_tags(_DECLARATION.sub("", page).encode("utf-8", "replace")).decode()
    return "\n".join(filter(None, map(str.strip, html.unescape(text).split("\n"))))


def _drop_tags(page: bytes) -> bytes:
    """Remove each tag that an angle bracket closes before the next one opens; of a block a line end stays."""
    tags = find_tags(page)
    # Behind the last tag no bracket may follow.
    data = np.frombuffer(page.translate(_TO_SPACES) + b"<", np.uint8).copy()
    brackets = np.flatnonzero((data == _OPEN) | (data == _CLOSE))
    following = brackets[np.searchsorted(brackets, tags.starts) + 1]
    closed = data[following] == _CLOSE
    starts = tags.starts[closed]
    edges = np.zeros(len(data), np.int8)
    edges[starts] = 1
    # Where a tag begins behind another, both are at work.
    edges[following[closed] + 1] -= 1
    stays = np.cumsum(edges, dtype=np.int8) == 0
    stays[-1] = False
    lines = starts[is_one_of(tags.names[closed], _BLOCKS)]
    data[lines] = _LINE_END
    stays[lines] = True
    text: bytes = data[stays].tobytes()
    return text
