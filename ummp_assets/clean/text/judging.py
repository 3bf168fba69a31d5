"""What the rules measure of a document, and the first of those in force that it breaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules.rule import first_broken
from ummp_assets.clean.rules.text import LENGTH, QUALITY
from ummp_assets.clean.text.quality import measure_quality
from ummp_assets.clean.text.repetition import measure_repetition
from ummp_assets.clean.text.web_lines import measure_fineweb, read_c4_page
from ummp_assets.clean.text.words import Words, word_table
from ummp_assets.reasons import Reason
from ummp_assets.settings import TextSettings
from ummp_assets.text_settings import QualityRule

__all__ = ["Judged", "judge_document"]

# About 131,000 words, where Gopher allows 100,000. Eight mebibytes of English would take twice as long as all the rest
# of cleaning them, and 4.5 s if no two words were equal.
_READ_CHARACTERS = 3 * 2**18


@dataclass(frozen=True, slots=True)
class Judged:
    """A document after the rules.

    Parameters
    ----------
    text:
        What is left of it.
    refusal:
        By the first rule that it breaks, or None.
    measured:
        The values of all rules that were measured, by name.
    """

    text: str
    refusal: Refusal | None
    measured: Mapping[str, float] = field(default_factory=dict)


def judge_document(text: str, language: str, settings: TextSettings) -> Judged:
    """Judge a normalised document by its length and by `settings.quality_rules`, in their order.

    Everything is measured, also after a rule was broken, so that other thresholds can be held against it later. Only
    `c4` changes the text, as its paper does: rules after it judge what it kept. Rules that are only measured
    (`settings.measured_rules`) see the document as it came.

    The others read the first 786,432 characters, to the end of a line if one ends in their second half; how many words
    a longer document has is what its length says.
    """
    measured: dict[str, float] = {"characters": len(text)}
    refusal = first_broken(measured, [LENGTH], settings)
    if not text or not (settings.quality_rules or settings.measured_rules):
        return Judged(text, refusal, measured)
    reading = _Reading(text, language)
    for rule in settings.measured_rules:
        if rule not in settings.quality_rules:
            _measure(rule, reading, settings, measured)
    for rule in settings.quality_rules:
        kept = _measure(rule, reading, settings, measured)
        refusal = refusal or kept.refusal or first_broken(measured, QUALITY[rule], settings)
        if kept.text != text:
            text = kept.text
            reading = _Reading(text, language)
    measured["characters"] = len(text)
    return Judged(text, refusal or first_broken(measured, [LENGTH], settings), measured)


class _Reading:
    """A document, and the part of it whose words are counted."""

    def __init__(self, text: str, language: str) -> None:
        self.text, self.language = text, language
        self.part = text
        if len(text) > _READ_CHARACTERS:
            # A title alone, before a line without end, would say nothing of the document.
            line_end = text.rfind("\n", _READ_CHARACTERS // 2, _READ_CHARACTERS) + 1
            self.part = text[: line_end or _READ_CHARACTERS]
        self.words: Words = word_table(language).words(self.part)


def _measure(rule: QualityRule, reading: _Reading, settings: TextSettings, measured: dict[str, float]) -> Judged:
    """Add a rule's values to what was measured; return the text that it leaves."""
    match rule:
        case "gopher_repetition":
            measured |= measure_repetition(reading.part, reading.words)
        case "gopher_quality":
            measured |= measure_quality(reading.part, reading.words, reading.language)
            measured["gopher_words"] *= len(reading.text) / max(len(reading.part), 1)
        case "fineweb":
            measured |= measure_fineweb(reading.part, reading.words, settings.fineweb)
        case "c4":
            page = read_c4_page(reading.text, reading.language, settings.c4)
            measured |= page.measured
            lorem = Refusal(Reason.C4_LOREM_IPSUM, 'a line holds "lorem ipsum"') if page.has_placeholders else None
            return Judged(page.text, lorem)
    return Judged(reading.text, None)
