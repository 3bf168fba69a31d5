"""The tags of large pages: what can go before parsing, how deep the others nest, and the text without any.

HTML asks parsers to look through all open elements at many a tag (WHATWG HTML, 13.2.6): a megabyte of `<b><i>x</b>`
takes 1.3 s, eight megabytes 80 s, and of `<rt>` a tenth is enough. What nests deep is therefore never parsed.
"""

import html
import re
from collections import Counter

__all__ = ["drop_scripts", "drop_silent_tags", "is_deeper_than", "strip_tags"]

# Elements without content, and those that the next of their kind or their parent ends: they don't nest by themselves.
_FLAT = (
    "a|area|base|basefont|bgsound|body|br|caption|col|colgroup|embed|frame|head|hr|html|image|img|input|keygen|link|meta"
    "|option|p|param|source|tbody|td|tfoot|th|thead|tr|track|wbr"
)
_TAG = re.compile(rf"</?(?!(?:{_FLAT})[\s/>])[a-z][^\s/>]*", re.IGNORECASE)
# An item ends the item before it, but not one of another kind.
_ITEMS = {"li": "li", "dd": "dd", "dt": "dd"}

# Without `svg` and `math` no tag closes itself, and nothing nests but what nests in HTML.
_DRAWING, _DRAWING_END = re.compile(r"<svg\b", re.IGNORECASE), re.compile(r"</svg\s*>", re.IGNORECASE)
_SILENT = re.compile(r"</?(?:svg|math|mspace|mprescripts|mglyph|none|rb|rp|rtc?)\b[^<>]*>", re.IGNORECASE)
# Most pages hold none: a sixth of the time of extracting one of 40 kB is spared.
_SILENT_STARTS = ("<svg", "<math", "<rt", "<rb", "<rp")

_SCRIPT = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|noscript|select|iframe|object)\b.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|body|br|caption|center|dd|details|div|dl|dt|fieldset|figcaption|figure|footer"
    r"|form|h[1-6]|head|header|hr|html|li|main|menu|nav|ol|p|pre|section|summary|table|td|th|title|tr|ul)\b[^<>]*>",
    re.IGNORECASE,
)
_INLINE = re.compile(r"</?[a-z!?][^<>]*>", re.IGNORECASE)


def drop_silent_tags(page: str) -> str:
    """Return a page without drawings, and without the tags of formulas and readings, whose text stays."""
    lowered = page.lower()
    if not any(start in lowered for start in _SILENT_STARTS):
        return page
    if lowered.count("<svg") <= lowered.count("</svg"):
        page = _drop_drawings(page)
    return _SILENT.sub("", page)


def drop_scripts(page: str) -> str:
    """Return a page without scripts, styles and comments; `i<n` in a script looks like a tag."""
    return _SCRIPT.sub("", page)


def is_deeper_than(page: str, max_depth: int) -> bool:
    """Say whether somewhere in a page more elements are open at once; end tags without an open element don't count."""
    open_elements: Counter[str] = Counter()
    depth, item = 0, ""
    for tag in _TAG.finditer(page):
        name = tag.group()[1:].lower()
        if name[0] != "/":
            if kind := _ITEMS.get(name):
                if kind == item:
                    continue
                item = kind
            depth += 1
            if depth > max_depth:
                return True
            open_elements[name] += 1
        elif open_elements[name[1:]]:
            open_elements[name[1:]] -= 1
            depth -= 1
    return False


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
    text = _UNSEEN.sub("", page)
    text = _INLINE.sub("", _BLOCK.sub("\x00", text).translate(_TO_SPACES)).replace("\x00", "\n")
    return "\n".join(filter(None, map(str.strip, html.unescape(text).split("\n"))))


_TO_SPACES = dict.fromkeys(map(ord, "\t\n\f\r"), " ")
