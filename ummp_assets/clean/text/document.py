"""One raw document to a clean one, or to the rule that it broke."""

import hashlib
from dataclasses import dataclass

from ummp_assets.clean.text.decoding import CorruptText, decode
from ummp_assets.clean.text.language import detect_language
from ummp_assets.clean.text.main_text import extract_main_text, is_html
from ummp_assets.clean.text.normalise import normalise_text
from ummp_assets.reasons import Reason
from ummp_assets.settings import TextSettings

__all__ = ["CleanDocument", "Verdict", "clean_document"]


@dataclass(frozen=True, slots=True)
class CleanDocument:
    """A text that passed every rule; `content_sha256` is of its UTF-8 form."""

    text: str
    content_sha256: str
    language: str
    language_score: float
    encoding: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first rule that a document broke, with the value that it compared."""

    reason: Reason
    detail: str
    measured: float | None = None


def clean_document(data: bytes, media_type: str | None, settings: TextSettings) -> CleanDocument | Verdict:
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
        return Verdict(Reason.CORRUPT_TEXT, str(error), error.measured)
    text = extract_main_text(decoded.text) if is_html(decoded.text, media_type) else decoded.text
    text = normalise_text(text, repair_mojibake=settings.repair_mojibake)
    if len(text) < settings.min_characters:
        return Verdict(
            Reason.TEXT_TOO_SHORT,
            f"{len(text)} characters are left after cleaning, {settings.min_characters} are asked for",
            len(text),
        )
    language, score = detect_language(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return CleanDocument(text, digest, language, score, decoded.encoding)
