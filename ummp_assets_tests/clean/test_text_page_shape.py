"""The shape of a page, told by arrays: `reference_depth` is the definition, tag by tag."""

import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ummp_assets.clean.text.main_text import extract_main_text
from ummp_assets.clean.text.page_shape import measure_shape
from ummp_assets.clean.text.page_tags import strip_tags
from ummp_assets.clean.text.tag_arrays import find_tags

FLAT = {"br", "p", "td"}
ITEMS = {"li": "li", "dd": "dd", "dt": "dd"}
TAGS = ["div", "b", "ul", "li", "dt", "dd", "br", "p", "x-one-of-our-own", "x-one-of-their-own"]
PARTS = st.lists(
    st.sampled_from([*(f"<{name}>" for name in TAGS), *(f"</{name.upper()}\t>" for name in TAGS), "a > b", "< 3", "é"])
)


def reference_depth(page: str) -> int:
    open_elements: Counter[str] = Counter()
    item = ""
    greatest = 0
    for slash, tag in re.findall(r"<(/?)([a-zA-Z][^\s/>]*)", page):
        name = tag.lower()
        if name in FLAT:
            continue
        if not slash:
            if (kind := ITEMS.get(name)) and kind == item:
                continue
            item = kind or item
            open_elements[name] += 1
        elif open_elements[name]:
            open_elements[name] -= 1
        greatest = max(greatest, open_elements.total())
    return greatest


@given(PARTS)
def test_depth_is_that_of_the_definition(parts: list[str]) -> None:
    assert measure_shape("".join(parts)).depth == reference_depth("".join(parts))


def test_total_depth_is_the_sum_over_all_tags() -> None:
    assert measure_shape("<div><b>x</b><br><i></i></div>").total_depth == 1 + 2 + 1 + 1 + 2 + 1 + 0


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("no tag at all", 0),
        ("<a b=1 c='x > d' e><p f=\"g h\"i j = k l=m/n o/p == q></p r><br/>", 12),
        ("".join(f"<x{number}></X{number}>" for number in range(50)), 50),
        ("".join(f"<p a{number}></p>" for number in range(50)), 51),
        ("<p " + " ".join(f"A{number % 7}=a" for number in range(50)) + ">", 8),
    ],
)
def test_names_of_elements_and_attributes_are_counted(page: str, names: int) -> None:
    assert measure_shape(page).names == names


def test_end_tags_in_values_end_no_element() -> None:
    assert measure_shape("<div><p a='></div>'>" * 90).depth == 90


@pytest.mark.parametrize("length", [9, 24, 25, 40, 64])
def test_names_that_differ_in_any_byte_are_told_apart(length: int) -> None:
    names = [f"{'a' * place}b{'a' * (length - place - 1)}" for place in range(length)]

    assert len(set(find_tags("".join(f"<{name}>" for name in names).encode()).names.tolist())) == length


def test_names_of_more_than_64_bytes_are_taken_for_different() -> None:
    long = "x" * 65
    assert len(set(find_tags(f"<{long}a></{long}b><{long}a>".encode()).names.tolist())) == 3
    assert len(set(find_tags(b"<X-A></x-a><x-b>").names.tolist())) == 2


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Fish &amp; chips<br>for <b>two</b></p>", "Fish & chips\nfor two"),
        ("a < b <p>c", "a < b\nc"),
        ("a<b<i>c", "a<bc"),
        ("<p>one\ntwo</P\n><!-- no --><script>if (a<b) c</script>three<p", "one two\nthree<p"),
        ("<table><tr><td>1<td>2</table><!doctype html>日本", "1\n2\n日本"),
    ],
)
def test_text_is_left_without_tags(page: str, text: str) -> None:
    assert strip_tags(page) == text


@pytest.mark.parametrize("part", ["<p><x{0}>a</x{0}>", "<p a{0}>a</p>", "<p a{0} b{0}=1>a</p>", "<p>a</p>"])
def test_page_that_is_parsed_slowly_gives_the_text_between_its_tags(part: str) -> None:
    count = 210_000 if part == "<p>a</p>" else 25_000
    page = "<html><body><nav>menu</nav><main>" + "".join(map(part.format, range(count)))

    began = time.thread_time()
    text = extract_main_text(page)

    # Parsed, the menu would be left out; names alone would take up to 15 s.
    assert text.split("\n") == ["menu", *["a"] * count]
    assert time.thread_time() - began < 5
