"""One raw document to a clean one, or to the rule that it broke.

Every step takes time linear in the document's length, and the largest documents that the default limits accept, 4 MiB,
take less than a second of CPU whatever they hold: English 0.44, a page of HTML 0.39, Chinese 0.27, server logs 0.46,
lists of 800,000 items 0.65, and of 65 kinds the slowest 0.87, words that all differ (`benchmarks/long_documents.py`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from resiliparse.parse.html import HTMLParserException

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.decoding import CorruptText, decode
from ummp_assets.clean.text.judging import judge_document
from ummp_assets.clean.text.language import detect_language
from ummp_assets.clean.text.main_text import extract_main_text, is_html
from ummp_assets.clean.text.normalise import normalise_text
from ummp_assets.clean.text.personal_data import replace_personal_data
from ummp_assets.reasons import Reason
from ummp_assets.settings import TextSettings

__all__ = ["CleanDocument", "clean_document"]


@dataclass(frozen=True, slots=True)
class CleanDocument:
    """A text that passed every rule; `content_sha256` is of its UTF-8 form, `replaced` counts personal data by kind,
    `measurements` are what the rules measured."""

    text: str
    content_sha256: str
    language: str
    language_score: float
    encoding: str
    replaced: Mapping[str, int]
    measurements: Mapping[str, float]


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
    language, score = detect_language(text)
    judged = judge_document(text, language, settings)
    if judged.refusal:
        return replace(judged.refusal, measurements=judged.measured)
    # Last, so that the rules judge what the author wrote.
    text, replaced = replace_personal_data(judged.text, settings.personal_data)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return CleanDocument(text, digest, language, score, decoded.encoding, replaced, judged.measured)
