"""One raw document to a clean one, or to the rule that it broke."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from resiliparse.parse.html import HTMLParserException

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.decoding import CorruptText, decode
from ummp_assets.clean.text.language import detect_language
from ummp_assets.clean.text.main_text import extract_main_text, is_html
from ummp_assets.clean.text.normalise import normalise_text
from ummp_assets.clean.text.personal_data import replace_personal_data
from ummp_assets.clean.text.quality import judge_quality
from ummp_assets.clean.text.repetition import judge_repetition
from ummp_assets.clean.text.web_lines import judge_fineweb, keep_c4_lines
from ummp_assets.clean.text.words import Words, word_table
from ummp_assets.reasons import Reason
from ummp_assets.settings import TextSettings

__all__ = ["CleanDocument", "apply_quality_rules", "clean_document"]


@dataclass(frozen=True, slots=True)
class CleanDocument:
    """A text that passed every rule; `content_sha256` is of its UTF-8 form, `replaced` counts personal data by kind."""

    text: str
    content_sha256: str
    language: str
    language_score: float
    encoding: str
    replaced: Mapping[str, int]


def clean_document(data: bytes, media_type: str | None, settings: TextSettings) -> CleanDocument | Refusal:
    """Decode, extract, normalise and judge one document; never raises for its content.

    Parameters
    ----------
    data:
        The raw bytes, at most `settings.max_bytes`.
    media_type:
        Content-Type as the server sent it, or None.
    """
    try:
        decoded = decode(data, media_type)
    except CorruptText as error:
        return Refusal(Reason.CORRUPT_TEXT, str(error), error.measured)
    try:
        text = extract_main_text(decoded.text) if is_html(decoded.text, media_type) else decoded.text
    except HTMLParserException as error:
        return Refusal(Reason.CORRUPT_TEXT, f"the page cannot be parsed: {error}")
    text = normalise_text(text, repair_mojibake=settings.repair_mojibake)
    if refusal := _judge_length(text, settings):
        return refusal
    language, score = detect_language(text)
    judged = apply_quality_rules(text, language, settings)
    if isinstance(judged, Refusal):
        return judged
    if refusal := _judge_length(judged, settings):
        return refusal
    # Last, so that the rules judge what the author wrote.
    text, replaced = replace_personal_data(judged, settings.personal_data)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return CleanDocument(text, digest, language, score, decoded.encoding, replaced)


def apply_quality_rules(text: str, language: str, settings: TextSettings) -> str | Refusal:
    """Return the text that `settings.quality_rules` leave of a normalised document, or the first rule that it breaks.

    Only `c4` changes the text, as its paper does; rules after it judge what it kept.
    """
    words: Words | None = None
    for rule in settings.quality_rules:
        words = words or word_table(language).words(text)
        refusal: Refusal | None = None
        match rule:
            case "gopher_repetition":
                refusal = judge_repetition(text, words, settings.gopher_repetition)
            case "gopher_quality":
                refusal = judge_quality(text, words, language, settings.gopher_quality)
            case "fineweb":
                refusal = judge_fineweb(text, words, settings.fineweb)
            case "c4":
                kept = keep_c4_lines(text, language, settings.c4)
                if isinstance(kept, Refusal):
                    return kept
                text, words = kept, None
        if refusal:
            return refusal
    return text


def _judge_length(text: str, settings: TextSettings) -> Refusal | None:
    if len(text) >= settings.min_characters:
        return None
    detail = f"{len(text)} characters are left after cleaning, {settings.min_characters} are asked for"
    return Refusal(Reason.TEXT_TOO_SHORT, detail, len(text))
