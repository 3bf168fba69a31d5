"""HTML to main text: what a reader came for, without navigation, scripts and markup."""

import re

from resiliparse.extract.html2text import extract_plain_text

__all__ = ["extract_main_text", "is_html"]

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*|<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)


def is_html(text: str, media_type: str | None) -> bool:
    """Say whether a document is HTML: it is declared so, or starts like it (servers often send the wrong type)."""
    declared = (media_type or "").partition(";")[0].strip().lower()
    return declared in _HTML_TYPES or _HTML_START.match(text[:4_096]) is not None


def extract_main_text(html: str) -> str:
    """Return the main text of a page with its paragraphs and lists, by resiliparse's rules (Bevendorff et al. 2018).

    A page in which no main part is found gives all of its visible text.
    """
    text = extract_plain_text(html, main_content=True, alt_texts=False)
    return text if text.strip() else extract_plain_text(html, alt_texts=False)
