"""HTML to main text: what a reader came for, without navigation, scripts and markup.

By resiliparse rather than trafilatura: on 81 pages of documentation of 42 kB (`benchmarks/main_text.py`) it takes 13
times as many a CPU second (397 against 30) and keeps none of what stands around the main part (precision 1.00 against
0.99), where trafilatura keeps a little more of the part itself (recall 0.96 against 0.95; F1 0.974 against 0.962).
"""

import re

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from ummp_assets.clean.text.page_shape import PageShape, measure_shape
from ummp_assets.clean.text.page_tags import drop_scripts, drop_silent_tags, strip_tags

__all__ = ["extract_main_text", "is_html"]

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*|<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_MAX_DEPTH = 512
_DEEP = " > ".join("*" * _MAX_DEPTH)
# What a parser is given takes at most 0.5 s: a tag up to 1.1 us, a name that HTML does not know as many look-ups as
# there are such names.
_MAX_TAGS, _MAX_ATTRIBUTES, _MAX_NAMES = 400_000, 400_000, 2_000
# Finding the main part takes 2 us a tag, 0.06 for each element around it, and 0.003 for each around each byte of text.
_MAX_MAIN_TAGS, _MAX_MAIN_DEPTH, _MAX_MAIN_BYTE_DEPTH = 150_000, 6_000_000, 2**27
# In shorter pages what is quadratic takes at most 0.4 s: 8,000 tags of readings, or 60,000 of other kinds.
_SILENT_CHARACTERS, _SHAPED_CHARACTERS = 2**15, 2**18
_ENDLESS_TAG = re.compile(r"<[^<>]{65536,}>?")
_MAX_OPTIONS, _OPTION = 1_000, re.compile(r"</?option\b[^<>]*>", re.IGNORECASE)
_MAX_ROOTS, _ROOT = 100, re.compile(r"</?(?:html|body)\b[^<>]*>", re.IGNORECASE)
# Letters and currencies of three bytes, and an ASCII character before one of two: as such or as a reference.
_THREE_BYTES = re.compile(
    r">\s*+(?:(?=[\u0800-\ud7ff\uf900-\uffef])[\w\u20a0-\u20cf]"
    r"|[!-;=?-~](?:(?=[\u0080-\u07ff])[\w\xb0]|&(?!(?:nbsp|[lg]t|amp|quot|apos|#39);)#?\w{2,8};)|&euro;"
    r"|&#(?:1[2-9]\d{3}|[2-4]\d{4}|5[0-4]\d{3}|[xX](?:3|[4-9a-cA-C]|[dD](?=[0-6]))[\da-fA-F]{3});)(?=\s*+<)"
)
# A word joiner, which carries no text.
_COMPANION = "\u2060"


def is_html(text: str, media_type: str | None) -> bool:
    """Say whether a document is HTML: it is declared so, or starts like it (servers often send the wrong type)."""
    declared = (media_type or "").partition(";")[0].strip().lower()
    return declared in _HTML_TYPES or _HTML_START.match(text[:4_096]) is not None


def extract_main_text(html: str) -> str:
    """Return the main text of a page with its paragraphs and lists, by resiliparse's rules (Bevendorff et al. 2018).

    A page in which no main part is found gives all of its visible text, and so do pages of which finding it takes too
    long: of more than 150,000 tags, or of large texts inside many elements. Of pages nested deeper than 512 elements,
    which take time quadratic in the depth, of more than 400,000 tags or attributes, or 2,000 names of them, it is what
    is left without tags.

    Raises
    ------
    HTMLParserException
        The page cannot be parsed.
    """
    page = _tame(html)
    if len(page) > _SILENT_CHARACTERS:
        page = drop_silent_tags(page)
    has_main = True
    if len(page) > _SHAPED_CHARACTERS:
        shape = _parsable_shape(page)
        if (shape is None or not _is_shallow(shape)) and len(scriptless := drop_scripts(page)) < len(page):
            page = scriptless
            shape = _parsable_shape(page)
        if shape is None:
            return strip_tags(page)
        has_main = page.count("<") <= _MAX_MAIN_TAGS and _is_shallow(shape)
    tree = HTMLTree.parse(_accompany_letters(page) if has_main else page)
    # A selector, for it walks the tree in C: below 4 ms for a page of 850 kB.
    if tree.document is not None and tree.document.query_selector(_DEEP) is not None:
        return strip_tags(page)
    text = extract_plain_text(tree, main_content=True, alt_texts=False) if has_main else ""
    if not text.strip():
        text = extract_plain_text(tree, alt_texts=False)
    text = text.replace(_COMPANION, "")
    # Items are indented by their depth, which may be all that the text consists of.
    return text if len(text) <= len(html) else strip_tags(page)


def _accompany_letters(page: str) -> str:
    """Put a character that carries no text behind texts of three bytes that stand alone between tags.

    Where resiliparse 2.0 looks for the main part it takes them for characters of icon fonts: of `9<b>月</b>` the month
    was lost, and all of `<i>là</i>`.
    """
    if page.isascii() and "&" not in page:
        return page
    return _THREE_BYTES.sub(rf"\g<0>{_COMPANION}", page)


def _parsable_shape(page: str) -> PageShape | None:
    """Return the shape of a page, or None for one that would take too long to parse."""
    if page.count("<") > _MAX_TAGS or page.count("=") > _MAX_ATTRIBUTES:
        return None
    shape = measure_shape(page)
    return shape if shape.names <= _MAX_NAMES and shape.depth <= _MAX_DEPTH else None


def _is_shallow(shape: PageShape) -> bool:
    return shape.total_depth <= _MAX_MAIN_DEPTH and shape.total_byte_depth <= _MAX_MAIN_BYTE_DEPTH


def _tame(html: str) -> str:
    """Remove what holds no text but makes the parser quadratic: endless tags, masses of options, repeated roots.

    Measured on 1 MB of each: 1.6 s for one tag with 125,000 attributes, 30 s for 110,000 options, 1.3 s for 55,000
    roots.
    """
    html = _ENDLESS_TAG.sub("", html)
    # As bytes, which are lowered ten times as fast as letters that are not of ASCII.
    lowered = html.encode("utf-8", "replace").lower()
    if lowered.count(b"<option") > _MAX_OPTIONS:
        html = _OPTION.sub(" ", html)
    if lowered.count(b"<html") + lowered.count(b"<body") > _MAX_ROOTS:
        html = _ROOT.sub("", html)
    return html
