"""The rules that judge documents, with the sentences that they refuse with; sources stand beside what measures."""

from ummp_assets.clean.rules.rule import Gate, Rule
from ummp_assets.reasons import Reason
from ummp_assets.text_settings import QualityRule

__all__ = ["COUNTED_SENTENCES", "LENGTH", "MAX_BYTES", "QUALITY", "TEXT_MEASUREMENTS"]

MAX_BYTES = Rule(
    Reason.TEXT_TOO_LARGE, "byte_count", "max_bytes", "at most", "{value:.0f} bytes are more than {limit:.0f}"
)

LENGTH = Rule(
    Reason.TEXT_TOO_SHORT,
    "characters",
    "min_characters",
    "at least",
    "{value:.0f} characters are left after cleaning, {limit:.0f} are asked for",
)

_TOP = {2: Reason.GOPHER_TOP_2_GRAM, 3: Reason.GOPHER_TOP_3_GRAM, 4: Reason.GOPHER_TOP_4_GRAM}
_DUPLICATES = {
    5: Reason.GOPHER_DUPLICATE_5_GRAMS,
    6: Reason.GOPHER_DUPLICATE_6_GRAMS,
    7: Reason.GOPHER_DUPLICATE_7_GRAMS,
    8: Reason.GOPHER_DUPLICATE_8_GRAMS,
    9: Reason.GOPHER_DUPLICATE_9_GRAMS,
    10: Reason.GOPHER_DUPLICATE_10_GRAMS,
}
_JUDGED_WORDS = Gate("words", "gopher_repetition.min_words")


def _repetition(reason: Reason, setting: str, what: str) -> Rule:
    sentence = f"{what}, more than {{limit:.1%}}"
    return Rule(reason, reason.value, f"gopher_repetition.{setting}", "at most", sentence, _JUDGED_WORDS)


def _most(reason: Reason, setting: str, sentence: str, measurement: str = "") -> Rule:
    return Rule(reason, measurement or reason.value, setting, "at most", sentence)


def _least(reason: Reason, setting: str, sentence: str, measurement: str = "") -> Rule:
    return Rule(reason, measurement or reason.value, setting, "at least", sentence)


_REPETITION = (
    _repetition(
        Reason.GOPHER_DUPLICATE_PARAGRAPHS, "duplicate_paragraphs", "{value:.1%} of the paragraphs occurred before"
    ),
    _repetition(
        Reason.GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS,
        "duplicate_paragraph_characters",
        "{value:.1%} of the text stands in paragraphs that occurred before",
    ),
    _repetition(Reason.GOPHER_DUPLICATE_LINES, "duplicate_lines", "{value:.1%} of the lines occurred before"),
    _repetition(
        Reason.GOPHER_DUPLICATE_LINE_CHARACTERS,
        "duplicate_line_characters",
        "{value:.1%} of the text stands in lines that occurred before",
    ),
    *(
        _repetition(reason, f"top_n_grams.{n}", f"the most frequent {n}-gram is {{value:.1%}} of the text")
        for n, reason in _TOP.items()
    ),
    *(
        _repetition(
            reason, f"duplicate_n_grams.{n}", f"{{value:.1%}} of the text stands in {n}-grams that occurred before"
        )
        for n, reason in _DUPLICATES.items()
    ),
)

_QUALITY = (
    _least(
        Reason.GOPHER_TOO_FEW_WORDS,
        "gopher_quality.min_words",
        "{value:.0f} words, fewer than {limit:.0f}",
        "gopher_words",
    ),
    _most(
        Reason.GOPHER_TOO_MANY_WORDS,
        "gopher_quality.max_words",
        "{value:.0f} words, more than {limit:.0f}",
        "gopher_words",
    ),
    _least(
        Reason.GOPHER_WORDS_TOO_SHORT,
        "gopher_quality.min_mean_word_length",
        "a word has {value:.2f} characters on average, fewer than {limit:g}",
        "gopher_mean_word_length",
    ),
    _most(
        Reason.GOPHER_WORDS_TOO_LONG,
        "gopher_quality.max_mean_word_length",
        "a word has {value:.2f} characters on average, more than {limit:g}",
        "gopher_mean_word_length",
    ),
    _most(
        Reason.GOPHER_TOO_MANY_HASHES,
        "gopher_quality.max_symbols_per_word",
        "{value:.2f} hashes for each word, more than {limit:g}",
        "gopher_hashes_per_word",
    ),
    _most(
        Reason.GOPHER_TOO_MANY_ELLIPSES,
        "gopher_quality.max_symbols_per_word",
        "{value:.2f} ellipses for each word, more than {limit:g}",
        "gopher_ellipses_per_word",
    ),
    _most(
        Reason.GOPHER_TOO_MANY_BULLET_LINES,
        "gopher_quality.max_bullet_lines",
        "{value:.1%} of the lines begin with a bullet, more than {limit:.1%}",
        "gopher_bullet_lines",
    ),
    _most(
        Reason.GOPHER_TOO_MANY_ELLIPSIS_LINES,
        "gopher_quality.max_ellipsis_lines",
        "{value:.1%} of the lines end with an ellipsis, more than {limit:.1%}",
        "gopher_ellipsis_lines",
    ),
    _least(
        Reason.GOPHER_TOO_FEW_WORDS_WITH_LETTERS,
        "gopher_quality.min_words_with_letters",
        "{value:.1%} of the words have a letter, fewer than {limit:.1%}",
        "gopher_words_with_letters",
    ),
    _least(
        Reason.GOPHER_TOO_FEW_STOP_WORDS,
        "gopher_quality.min_stop_words",
        "{value:.0f} different stop words, fewer than {limit:.0f}",
        "gopher_stop_words",
    ),
)

COUNTED_SENTENCES = 10
"""C4's sentences are counted as far as the rule asks, and at least to here: to ten takes 0.05 ms a document, to twenty
0.2."""

_C4 = (
    _most(
        Reason.C4_CURLY_BRACKET, "c4.refuse_curly_brackets", "{value:.0f} lines hold a curly bracket", "c4_curly_lines"
    ),
    Rule(
        Reason.C4_TOO_FEW_SENTENCES,
        "c4_sentences",
        "c4.min_sentences",
        "at least",
        "{value:.0f} sentences in the lines that are kept, fewer than {limit:.0f}",
        exact_below=COUNTED_SENTENCES,
    ),
)

_FINEWEB = (
    _least(
        Reason.FINEWEB_TOO_FEW_PUNCTUATED_LINES,
        "fineweb.min_punctuated_lines",
        "{value:.1%} of the lines end a sentence, fewer than {limit:.1%}",
        "fineweb_punctuated_lines",
    ),
    _most(
        Reason.FINEWEB_TOO_MANY_SHORT_LINES,
        "fineweb.max_short_lines",
        "{value:.1%} of the lines are short, more than {limit:.1%}",
        "fineweb_short_lines",
    ),
    _most(
        Reason.FINEWEB_DUPLICATE_LINE_CHARACTERS,
        "fineweb.max_duplicate_line_characters",
        "{value:.1%} of the characters stand in lines that occurred before, more than {limit:.1%}",
    ),
    _most(
        Reason.FINEWEB_TOO_MANY_LINE_BREAKS,
        "fineweb.max_line_breaks_per_word",
        "{value:.2f} line breaks for each word, more than {limit:g}",
        "fineweb_line_breaks_per_word",
    ),
)

QUALITY: dict[QualityRule, tuple[Rule, ...]] = {
    "gopher_repetition": _REPETITION,
    "gopher_quality": _QUALITY,
    "c4": _C4,
    "fineweb": _FINEWEB,
}
"""Rules by the name under which `quality_rules` lists them, in the order in which they judge."""

TEXT_MEASUREMENTS = tuple(
    dict.fromkeys(["characters", "words", *(rule.measurement for rules in QUALITY.values() for rule in rules)])
)
"""Names of all that is measured of a document besides its bytes."""
