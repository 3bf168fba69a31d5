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
    """
    measured: dict[str, float] = {"characters": len(text)}
    refusal = first_broken(measured, [LENGTH], settings)
    if not text or not (settings.quality_rules or settings.measured_rules):
        return Judged(text, refusal, measured)
    words = word_table(language).words(text)
    for rule in settings.measured_rules:
        if rule not in settings.quality_rules:
            _measure(rule, text, words, language, settings, measured)
    for rule in settings.quality_rules:
        kept = _measure(rule, text, words, language, settings, measured)
        refusal = refusal or kept.refusal or first_broken(measured, QUALITY[rule], settings)
        if kept.text != text:
            text, words = kept.text, word_table(language).words(kept.text)
    measured["characters"] = len(text)
    return Judged(text, refusal or first_broken(measured, [LENGTH], settings), measured)


def _measure(
    rule: QualityRule, text: str, words: Words, language: str, settings: TextSettings, measured: dict[str, float]
) -> Judged:
    """Add a rule's values to what was measured; return the text that it leaves."""
    match rule:
        case "gopher_repetition":
            measured |= measure_repetition(text, words)
        case "gopher_quality":
            measured |= measure_quality(text, words, language)
        case "fineweb":
            measured |= measure_fineweb(text, words, settings.fineweb)
        case "c4":
            page = read_c4_page(text, language, settings.c4)
            measured |= page.measured
            lorem = Refusal(Reason.C4_LOREM_IPSUM, 'a line holds "lorem ipsum"') if page.has_placeholders else None
            return Judged(page.text, lorem)
    return Judged(text, None)
