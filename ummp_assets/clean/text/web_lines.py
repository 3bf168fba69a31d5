"""What lines of web pages look like: C4's rules (Raffel et al. 2020, 2.2) and FineWeb's (Penedo et al. 2024, 3.6), both
as datatrove 0.10 defines them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from ummp_assets.clean.rules.text import COUNTED_SENTENCES
from ummp_assets.clean.text.repetition import duplicate_share
from ummp_assets.clean.text.scripts import CHARACTER_LANGUAGES, TERMINALS, has_longer_run, split_characters
from ummp_assets.clean.text.words import Words, word_table
from ummp_assets.text_settings import C4Settings, FineWebSettings

__all__ = ["C4Page", "measure_fineweb", "read_c4_page"]

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_ENDS = (".", "?", "!", '"', "'")
_CHARACTER_ENDS = (*_ENDS, "。", "？", "！", "」", "』", "”", "’")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_STOPS = tuple(sorted(TERMINALS))


@dataclass(frozen=True, slots=True)
class C4Page:
    """What C4 makes of a page.

    Parameters
    ----------
    text:
        The lines that it keeps.
    has_placeholders:
        Whether one of them holds "lorem ipsum", for which a page is filtered whatever the settings.
    measured:
        Lines with a curly bracket, and sentences: exact below ten or `min_sentences`, else at least so many.
    """

    text: str
    has_placeholders: bool
    measured: dict[str, float]


def read_c4_page(text: str, language: str, settings: C4Settings) -> C4Page:
    """Return the lines of a page that C4 keeps, and what it judges whole pages by.

    Lines are dropped that end no sentence, have fewer than three words or one of over a thousand characters, mention
    JavaScript or a policy; pages are filtered that hold "lorem ipsum" or a curly bracket, or keep fewer than five
    sentences. C4's list of bad words is not applied. In Chinese, Japanese and Korean a character is a word, and their
    own closing marks end a line.

    Parameters
    ----------
    text:
        The normalised document.
    language:
        Its BCP 47 tag.
    """
    ends = _CHARACTER_ENDS if language in CHARACTER_LANGUAGES else _ENDS
    # As bytes, which are lowered ten times as fast as letters that are not of ASCII.
    lowered = text.encode("utf-8", "replace").lower()
    suspicious = b"javascript" in lowered or any(policy.encode() in lowered for policy in _POLICIES)
    lorem = b"lorem ipsum" in lowered
    has_placeholders = False
    curly_lines = 0
    kept: list[str] = []
    stripped_lines: Iterable[str] = map(str.strip, text.splitlines())
    if settings.require_terminal_mark:
        # Most lines of a page end otherwise. A bracket may be that of a citation.
        ends_of_raw = {*ends, "]"}
        stripped_lines = [line for line in stripped_lines if line[-1:] in ends_of_raw]
    for stripped in stripped_lines:
        line = _CITATION.sub("", stripped) if "[" in stripped else stripped
        if settings.require_terminal_mark and (not line.endswith(ends) or line.endswith("...")):
            continue
        if not _has_enough_words(stripped, language, settings):
            continue
        has_placeholders |= lorem and "lorem ipsum" in line.lower()
        if suspicious and "javascript" in line.lower():
            continue
        curly_lines += "{" in line
        if suspicious and any(policy in line.lower() for policy in _POLICIES):
            continue
        kept.append(line)
    sentences = _count_sentences(kept, language, max(settings.min_sentences, COUNTED_SENTENCES))
    measured: dict[str, float] = {"c4_curly_lines": curly_lines, "c4_sentences": sentences}
    return C4Page("\n".join(kept).strip(), has_placeholders, measured)


def _has_enough_words(line: str, language: str, settings: C4Settings) -> bool:
    """Say whether a line has enough words, and none that is too long."""
    least, longest = settings.min_words_per_line, settings.max_word_characters
    # Of most lines only whether there are enough is asked: the rest of the line is not split.
    if language in CHARACTER_LANGUAGES:
        is_enough = len(split_characters(line[: 2 * least])) >= least or len(split_characters(line)) >= least
        return is_enough and not has_longer_run(line, longest)
    words = line.split(None, least if len(line) <= longest else -1)
    return len(words) >= least and (len(line) <= longest or max(map(len, words)) <= longest)


def _count_sentences(lines: Sequence[str], language: str, enough: int) -> int:
    """Return the sentences in the lines; exact below `enough`. Every line holds at least one, so that most documents
    are decided by their number of lines."""
    if len(lines) >= enough:
        return len(lines)
    table = word_table(language)
    return sum(map(table.count_sentences, lines))


def measure_fineweb(text: str, words: Words, settings: FineWebSettings) -> dict[str, float]:
    """Return what FineWeb's rules judge.

    In Chinese, Japanese and Korean a character is a word where line breaks are counted against words.

    Parameters
    ----------
    text:
        The normalised document.
    words:
        Its words.
    """
    # No loop over lines in Python, of which a document may have half a million.
    stripped = list(map(str.strip, lines := text.split("\n")))
    if not all(stripped):
        lines = [line for line, words_of_line in zip(lines, stripped, strict=True) if words_of_line]
    count, breaks = max(len(lines), 1), text.count("\n")
    lasts = "".join(map(itemgetter(-1), lines))
    return {
        "fineweb_punctuated_lines": sum(map(lasts.count, _STOPS)) / count,
        "fineweb_short_lines": sum(map(settings.short_line_characters.__ge__, map(len, lines))) / count,
        "fineweb_duplicate_line_characters": duplicate_share(lines)[1] / max(len(text) - breaks, 1),
        "fineweb_line_breaks_per_word": breaks / max(words.count, 1),
    }
