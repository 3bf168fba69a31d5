"""Documents of any size, one of each kind that cleaning could be slow on: what is common, and what is built to hurt."""

import base64
import html
import json
import random
from collections.abc import Callable, Iterable
from itertools import count

from ummp_assets_tests.benchmarks.english import english_documents
from ummp_assets_tests.clean.test_text_document import ARTICLE_1

__all__ = ["COMMON", "LONG_TEXTS"]

_DRAWN = random.Random(8)
_UNIQUE_BYTES = 2**21


def _repeated(part: str | bytes) -> Callable[[int], bytes]:
    data = part.encode() if isinstance(part, str) else part
    return lambda size: data * (size // len(data))


def _page(part: str, begin: str = "<html><body>") -> Callable[[int], bytes]:
    return lambda size: begin.encode() + _repeated(part)(size - len(begin))


def _lines(line: Callable[[int], str], begin: str = "") -> Callable[[int], bytes]:
    """Return what makes documents of numbered lines, repeated after 2 MiB."""
    return lambda size: begin.encode() + _repeated(_gathered(map(line, count()), min(size, _UNIQUE_BYTES)))(size)


def _distinct(line: Callable[[int], str], begin: str = "") -> Callable[[int], bytes]:
    return lambda size: begin.encode() + _gathered(map(line, count()), size)


def _gathered(parts: Iterable[str], size: int) -> bytes:
    gathered: list[str] = []
    for part in parts:
        size -= len(part)
        if size < 0:
            break
        gathered.append(part)
    return "".join(gathered).encode()


def _english(size: int) -> bytes:
    return _repeated("\n\n".join(english_documents(600)))(size)


def _english_page(size: int) -> bytes:
    paragraphs = "\n\n".join(english_documents(600)).split("\n\n")
    part = "".join(
        f"<div class='c'><h2>Part {number}</h2><p>{html.escape(text)} <a href='/x/{number}'>more</a></p></div>\n"
        for number, text in enumerate(paragraphs)
    )
    return b"<!doctype html><html><body><main>" + _repeated(part)(size)


def _misread(language: str, separator: str = "\n") -> str:
    return (ARTICLE_1[language] + separator).encode().decode("latin-1")


def _ideographs(size: int) -> bytes:
    return "".join(map(chr, _DRAWN.choices(range(0x4E00, 0x9FA5), k=size // 3))).encode()


def _log_line(number: int) -> str:
    time = f"2026-11-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:{number * 7 % 60:02}.{number % 1000:03}Z"
    return (
        f"{time} [INFO] 10.{number % 256}.3.4 - {number * 0x9E3779B9 % 2**64:016x} "
        f"GET /api/items/{number}?q={number * 13} 200 {number % 5000} 8.{number % 256}.{number * 7 % 256}.9\n"
    )


def _json_line(number: int) -> str:
    user = {"id": number, "mail": f"user{number}@example.org", "ip": f"8.8.{number % 256}.{number * 7 % 256}"}
    return json.dumps(user | {"text": "some words here, with marks", "values": [number, number / 7]}) + "\n"


COMMON: dict[str, Callable[[int], bytes]] = {
    "English": _english,
    "English page": _english_page,
    "table": _lines(lambda n: f"<tr><td>{n}</td><td>name {n}</td><td>{n * 7 % 1000}.5</td></tr>\n", "<html><table>"),
    "million items": _page("<li>x"),
    "links": _lines(lambda n: f"<a href='/p/{n}'>page {n}</a>\n", "<html><body>"),
    "server log": _lines(_log_line),
    "CSV": _lines(lambda n: f'{n},{n / 7:.6f},{n * 31 % 10**6},name{n},2026-11-{1 + n % 28:02},"a, b"\n'),
    "JSON lines": _lines(_json_line),
    "mojibake": _repeated(_misread("fr") + _misread("de")),
    "Chinese": _repeated(ARTICLE_1["zh"]),
    "Chinese, GB 18030": _repeated((ARTICLE_1["zh"] * 20 + "\n").encode("gb18030")),
    "Japanese": _repeated(ARTICLE_1["ja"]),
    "Korean": _repeated(ARTICLE_1["ko"]),
    "Arabic": _repeated(ARTICLE_1["ar"] + "\n"),
    "Hindi": _repeated(ARTICLE_1["hi"] + "\n"),
    "Russian": _repeated(ARTICLE_1["ru"] + "\n"),
    "emoji": _repeated("👩‍💻🙂🎉 "),
    "base64": lambda size: base64.b64encode(_DRAWN.randbytes(size * 3 // 4)),
    "minified JavaScript": _lines(lambda n: f'function a{n}(b,c){{var d{n}=b.e||{{}};return d{n}.f("x{n}")}}'),
    "XML": _lines(lambda n: f"<item id='{n}'><name>n{n}</name></item>\n", "<?xml version='1.0'?>\n<root>"),
}
"""Kinds that users have."""

LONG_TEXTS: dict[str, Callable[[int], bytes]] = COMMON | {
    "tiny cells": _page("<tr><td>1<td>2", "<html><table>"),
    "lists in lists": _page("<ul><li>x" * 100 + "</ul>" * 100),
    "500 deep": _page("<div>x" * 500 + "</div>" * 500),
    "never closed": _page("<div>"),
    "marks": _page("<b>x</b>"),
    "breaks": _page("x<br>"),
    "entities": _page("&amp;&eacute;&#120; "),
    "half entities": _page("&x"),
    "angle brackets": _page("<"),
    "elements of own names": _distinct(lambda n: f"<x{n}>a</x{n}>", "<html><body>"),
    "attributes of own names": _distinct(lambda n: f"<p a{n} b{n}=1>a</p>", "<html><body>"),
    "many attributes": _page("<p " + " ".join(f"a{n}=b" for n in range(200)) + ">x</p>"),
    "mojibake in one line": _repeated(_misread("fr", " ")),
    "mojibake in short lines": _repeated("Ã©\n"),
    "mojibake in part": _repeated("中Ã©\n"),
    "no mojibake": _repeated("Ã“ Â» É’s naïveté — “Ã” \n"),
    "ideographs by chance": _ideographs,
    "one word": _repeated("word "),
    "one word a line": _repeated("word\n"),
    "one letter": _repeated("a"),
    "distinct words": _distinct(lambda n: f"{n * 2654435761 % 2**32:x} "),
    "distinct quotes": _distinct(lambda n: f"\"don't{n}\" 'it's' ({n}%) a/b{n} "),
    "printable bytes": lambda size: bytes(_DRAWN.choices(range(32, 127), k=size)),
    "e-mail addresses": _lines(lambda n: f"user{n}@example.org\n"),
    "short e-mail addresses": _repeated("a@b.co "),
    "at signs": _repeated("a@"),
    "digits": lambda size: bytes(_DRAWN.choices(b"0123456789", k=size)),
    "digits by fours": _lines(lambda n: f"{n * 7919 % 9000 + 1000} {n * 31 % 9000 + 1000} 1234 5678\n"),
    "cards": _repeated("4111 1111 1111 1111\n"),
    "telephone numbers": _lines(lambda n: f"+49 30 {n * 7919 % 900_000 + 100_000}\n"),
    "resident ids": _repeated("11010519491231002X\n"),
    "addresses": _lines(lambda n: f"8.{n % 256}.{n * 7 % 256}.{n * 11 % 256}\n"),
    "addresses of version 6": _repeated("2a00:1450:4001:82a::200e "),
    "times": _repeated("12:30:45 2026-11-25 "),
    "accents": _repeated("e\u0301\u0323"),
    "endless accents": lambda size: b"a" + _repeated("\u0301\u0323")(size - 1),
    "zero-width spaces": _repeated("\u200b"),
    "joiners": _repeated("a\u200d"),
    "surrogates": _repeated(b"abcdef \xed\xa0\x80"),
    "replacement characters": _repeated("a\ufffd "),
    "stray bytes": _repeated(ARTICLE_1["fr"].encode() * 5 + b"\xe9 "),
    "double spaces": _repeated("x  "),
    "no-break spaces": _repeated("a\xa0\xa0b"),
    "blank lines": _repeated("x\n\n\n"),
    "brackets": _repeated("("),
}
"""All kinds, by name."""
