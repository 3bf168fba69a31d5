"""What decides how long a page takes to parse: its tags, how deep they nest, and how many names they have.

HTML asks parsers to look through all open elements at many a tag (WHATWG HTML, 13.2.6): a megabyte of `<b><i>x</b>`
takes 1.3 s, eight megabytes 80 s, and of `<rt>` a tenth is enough. Names that HTML does not know are looked up in lists
that grow with them: 430,000 elements of as many names take 70 s, 250,000 attributes of as many names 36 s.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from ummp_assets.clean.text.hash_order import sort_places
from ummp_assets.clean.text.tag_arrays import Tags, find_tags, is_one_of

__all__ = ["PageShape", "measure_shape"]

# Elements without content, and those that the next of their kind or their parent ends: they don't nest by themselves.
_FLAT = (
    *("a", "area", "base", "basefont", "bgsound", "body", "br", "caption", "col", "colgroup", "embed", "frame", "head"),
    *("hr", "html", "image", "img", "input", "keygen", "link", "meta", "option", "p", "param", "source", "tbody", "td"),
    *("tfoot", "th", "thead", "tr", "track", "wbr"),
)
# An item ends the item before it, but not one of another kind.
_LIST_ITEMS, _TERMS = ("li",), ("dd", "dt")

# As the standard tells tags apart (13.2.5.6 to 13.2.5.40): a quote opens a value only behind an equals sign.
_NAME = r"(?:=[^\s/>=]*+|[^\s/>=]++)"
_VALUE = r"""\s*+=\s*+(?:"[^"]*+"|'[^']*+'|(?!["'])[^\s>]++)?+"""
_ATTRIBUTES = re.compile(rf"(?<=<)/?[a-z][^\s/>]*+[\s/]++(?:[\s/]++|{_NAME}(?:{_VALUE})?+)++", re.IGNORECASE)
_ATTRIBUTE = re.compile(rf"({_NAME})(?:{_VALUE})?+")


@dataclass(frozen=True, slots=True)
class PageShape:
    """How many names of elements and attributes a page has, how many elements are open at once, and the sums of that
    over all tags and over all bytes."""

    names: int
    depth: int
    total_depth: int
    total_byte_depth: int


def measure_shape(page: str) -> PageShape:
    """Return the shape of a page; end tags without an open element don't count."""
    tags = " ".join(_ATTRIBUTES.findall(page))
    shape = _nesting(page.encode("utf-8", "replace"))
    if "<" in tags or ">" in tags:
        # What stands in a value passes for a tag, and may be an end tag that ends nothing.
        plain = _ATTRIBUTES.sub(lambda tag: tag.group().replace("<", "").replace(">", ""), page)
        shape = max(shape, _nesting(plain.encode("utf-8", "replace")), key=lambda found: found.depth)
    return replace(shape, names=max(shape.names, len(set(_ATTRIBUTE.findall(tags.lower())))))


def _nesting(page: bytes) -> PageShape:
    tags = find_tags(page)
    count = len(tags.starts)
    if not count:
        return PageShape(0, 0, 0, 0)
    steps = _steps(tags)
    order, repeats = sort_places(tags.names)
    begins = np.append(0, np.flatnonzero(~repeats) + 1)
    # An end tag closes an element of its name: what is open is counted by name, where tags of a name stand together.
    open_by_name = np.cumsum(steps[order])
    open_by_name -= np.repeat(open_by_name[begins] - steps[order[begins]], np.diff(begins, append=count))
    # Each name lower than all before, so that the least of one is not that of another.
    fall = np.repeat(np.arange(len(begins)) * (count + 1), np.diff(begins, append=count))
    least = np.minimum.accumulate(open_by_name - fall) + fall
    open_by_name -= np.minimum(least, 0)
    changes = np.diff(open_by_name, prepend=0)
    changes[begins] = open_by_name[begins]
    steps[order] = changes
    depths = np.cumsum(steps)
    byte_depth = int(depths @ np.diff(tags.starts, append=len(page)))
    return PageShape(len(begins), int(depths.max()), int(depths.sum()), byte_depth)


def _steps(tags: Tags) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return 1 where a tag opens an element that nests, -1 where one closes it, else 0."""
    steps = np.where(tags.is_end, -1, 1)
    steps[is_one_of(tags.names, _FLAT)] = 0
    is_list_item = is_one_of(tags.names, _LIST_ITEMS)
    items = np.flatnonzero((is_list_item | is_one_of(tags.names, _TERMS)) & ~tags.is_end)
    steps[items[1:][is_list_item[items[1:]] == is_list_item[items[:-1]]]] = 0
    return steps
