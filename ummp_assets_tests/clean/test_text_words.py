"""Words and sentences, as rules count them."""

from itertools import pairwise

import numpy as np
import pytest

from ummp_assets.clean.text.english_words import split_english_chunk
from ummp_assets.clean.text.scripts import split_characters
from ummp_assets.clean.text.words import split_words, word_table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Plain words here.", "Plain|words|here|."),
        ('(in brackets), "quoted"', '(|in|brackets|)|,|"|quoted|"'),
        ("don't can't it's we've cannot", "do|n't|ca|n't|it|'s|we|'ve|can|not"),
        ("the dog's bone", "the|dog|'s|bone"),
        ("e.g. Dr. Smith of the U.S. Army", "e.g.|Dr.|Smith|of|the|U.S.|Army"),
        ("the IBM. End", "the|IBM|.|End"),
        ("well-known and/or state-of-the-art", "well|-|known|and/or|state|-|of|-|the|-|art"),
        ("wait... what", "wait|...|what"),
        ("see https://example.org/a?b=c, then", "see|https://example.org/a?b=c|,|then"),
        ("10km 5% $20 3.14", "10|km|5|%|$|20|3.14"),
        ("f(x)=y a.b first.Second", "f(x)=y|a.b|first|.|Second"),
        ("...", "..."),
        ("A. B", "A.|B"),
        ("a. b.", "a.|b."),
    ],
)
def test_english_is_split_as_the_reference_does(text: str, words: str) -> None:
    assert split_words(text) == words.split("|")


@pytest.mark.parametrize("chunk", ["'tis", "((a))", "a--b", "x'", "“Hi!”", "--", "+1", ".5", "…", "n't", "'", "$", "."])
def test_words_joined_are_the_chunk(chunk: str) -> None:
    assert "".join(split_english_chunk(chunk)) == chunk


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ("我有iPhone15和3个苹果。", "我|有|iPhone15|和|3|个|苹|果|。"),
        ("東京タワー", "東|京|タ|ワ|ー"),
        ("한국어", "한|국|어"),
    ],
)
def test_characters_are_words_in_chinese_japanese_and_korean(chunk: str, words: str) -> None:
    assert split_characters(chunk) == words.split("|")


def test_word_arrays_hold_numbers_lengths_and_stop_words() -> None:
    words = word_table("en").words("To be, or not to be: that is the question #1.")

    assert words.count == 15
    assert words.numbers[1] == words.numbers[6]
    assert len(np.unique(words.numbers)) == 14
    assert words.lengths.tolist() == [2, 2, 1, 2, 3, 2, 2, 1, 4, 2, 3, 8, 1, 1, 1]
    assert words.stop_words == 4
    assert words.with_letters == 10
    assert words.proper_lengths.sum() == 31


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ("Dr. Who met J. Doe.", 1),
        ('He said "Stop!" and left. Then: (silence.) "Yes."', 4),
        ("Wait... still going", 1),
        ("一。二！三？", 3),
    ],
)
def test_sentences_end_at_terminal_marks(text: str, sentences: int) -> None:
    assert word_table("zh" if "。" in text else "en").count_sentences(text) == sentences


def test_tables_of_all_languages_together_forget_when_they_grow_large() -> None:
    before = word_table("zh").words("甲乙甲。")
    held = []
    for number, language in enumerate(("zh", "ja", "ko", "zh", "ja", "ko")):
        word_table(language).words("x" * (2**20 + number))
        held.append(sum(word_table(other).byte_count for other in ("zh", "ja", "ko")))

    after = word_table("zh").words("甲乙甲。")

    assert 30 * 2**20 < max(held) < 50 * 2**20
    assert any(later < earlier for earlier, later in pairwise(held))
    assert after.lengths.tolist() == before.lengths.tolist()
    assert after.flags.tolist() == before.flags.tolist()
    assert after.numbers[0] == after.numbers[2] != after.numbers[1]
