"""Hashes of words: equal for equal words whatever stands around them, different for different ones."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ummp_assets.clean.text.word_hashes import hash_words
from ummp_assets_tests.clean.test_text_document import ARTICLE_1

ALPHABET = st.sampled_from("abzABZ09_ .,;-'\n\t@[`{")


def hashes_of(text: str) -> list[int]:
    hashes, counts = hash_words([text.encode()])
    assert counts.tolist() == [len(hashes)]
    return [int(value) for value in hashes]


@given(st.lists(st.text(ALPHABET, max_size=90), max_size=6))
def test_words_are_told_apart_as_a_pattern_does(texts: list[str]) -> None:
    hashes, counts = hash_words([text.encode() for text in texts])
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    joined = [word for found in words for word in found]

    assert counts.tolist() == list(map(len, words))
    assert len({*zip(joined, hashes.tolist(), strict=True)}) == len(set(joined)) == len(set(hashes.tolist()))


@pytest.mark.parametrize("language", ["de", "es", "fr", "pt", "ru"])
def test_capitals_of_other_alphabets_are_folded(language: str) -> None:
    text = ARTICLE_1[language]

    assert hashes_of(text.upper().replace("SS", "ss")) == hashes_of(text)
    assert len(hashes_of(text)) == len(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("人人生而自由", 6),
        ("我有iPhone15。", 3),
        ("東京、タワー！", 5),
        ("“quoted”—dashed…", 2),
        ("¿Qué?", 1),
        ("👩 emoji", 2),
        ("", 0),
    ],
)
def test_wide_characters_are_words_and_marks_are_none(text: str, words: int) -> None:
    assert len(hashes_of(text)) == words


def test_long_words_differ_by_what_is_read_and_by_their_length() -> None:
    word = "x" * 60
    words = [word, word + "a", word + "b", "y" + word, word * 2, word * 3]

    assert len(set(hashes_of(" ".join(words)))) == 6


def test_hash_does_not_depend_on_the_texts_around_it() -> None:
    together, _ = hash_words([b"one", "größer".encode(), b"two"])

    assert together.tolist() == [*hashes_of("one"), *hashes_of("größer"), *hashes_of("two")]
