"""What the rules need to know of scripts and languages: punctuation, sentence ends, stop words, character scripts."""

import re
import string
import unicodedata
from collections.abc import Mapping

__all__ = [
    "CHARACTER_LANGUAGES",
    "STOP_WORDS",
    "SYMBOLS",
    "TERMINALS",
    "has_longer_run",
    "is_punctuation",
    "split_characters",
]

CHARACTER_LANGUAGES = frozenset({"ja", "ko", "wuu", "yue", "zh"})
"""Languages whose rules count characters as words: Chinese, Japanese and Korean."""

TERMINALS = frozenset(".!?。．！？｡؟۔।॥։።၊။។‼‽⁇⁈⁉⸮﹒﹖﹗")
"""Marks that end a sentence: Unicode's Sentence_Terminal in the scripts of living languages."""

SYMBOLS = (
    TERMINALS
    | frozenset(string.punctuation + "—–“”„’´…«»►∶━、，：；（）【】《》〈〉％～")
    | frozenset(map(chr, range(32)))
)
"""A word of these alone is no word (datatrove's punctuation set, Penedo et al. 2024)."""

# Gopher's own eight for English (Rae et al. 2021, A1.1); frequent function words elsewhere. Other languages have no
# list, and the rule does not judge them.
STOP_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("the", "be", "to", "of", "and", "that", "have", "with"),
    "de": ("der", "die", "das", "und", "in", "zu", "den", "nicht", "ist", "von"),
    "es": ("de", "la", "que", "el", "en", "y", "los", "se", "del", "por"),
    "fr": ("de", "la", "le", "et", "les", "des", "en", "un", "une", "du"),
    "it": ("di", "e", "il", "la", "che", "in", "un", "per", "non", "del"),
    "ja": ("の", "に", "は", "を", "た", "が", "で", "て", "と", "し"),
    "ko": ("이", "다", "는", "을", "의", "에", "가", "은", "를", "한"),
    "nl": ("de", "het", "een", "van", "en", "in", "is", "dat", "op", "te"),
    "pt": ("de", "a", "o", "que", "e", "do", "da", "em", "um", "para"),
    "ru": ("и", "в", "не", "на", "что", "с", "по", "как", "это", "из"),
    "zh": ("的", "是", "在", "了", "和", "有", "不", "我", "这", "人"),
}

_IDEOGRAPHS = "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af"
_LETTER_OR_DIGIT = re.compile(f"[^\\W{_IDEOGRAPHS}]")
_CHARACTER_WORD = re.compile(f"[{_IDEOGRAPHS}]|[^\\W{_IDEOGRAPHS}]+|[^\\w\\s]")


def has_longer_run(text: str, max_characters: int) -> bool:
    """Say whether one of the words that `split_characters` finds is longer."""
    length = max_characters + 1
    longer = re.compile(f"[^\\W{_IDEOGRAPHS}]{{{length}}}")
    # Of so many characters in a row one stands at a multiple of their number: the others need no look.
    places = range(max_characters, len(text), length)
    return any(
        _LETTER_OR_DIGIT.match(text, place) and longer.search(text, place - max_characters, place + length)
        for place in places
    )


def is_punctuation(character: str) -> bool:
    """Say whether Unicode calls the character punctuation (general category P)."""
    return unicodedata.category(character).startswith("P")


def split_characters(chunk: str) -> list[str]:
    """Split a chunk of Chinese, Japanese or Korean: each character and each mark is a word, a run of other letters
    and digits is one."""
    return _CHARACTER_WORD.findall(chunk)
