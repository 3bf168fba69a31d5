"""What lines of web pages look like: C4's rules (Raffel et al. 2020, 2.2) and FineWeb's (Penedo et al. 2024, 3.6), both
as datatrove 0.10 defines them."""

import re
from collections.abc import Sequence

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.repetition import duplicate_share
from ummp_assets.clean.text.scripts import CHARACTER_LANGUAGES, TERMINALS, split_characters
from ummp_assets.clean.text.words import Words, word_table
from ummp_assets.reasons import Reason
from ummp_assets.text_settings import C4Settings, FineWebSettings

__all__ = ["judge_fineweb", "keep_c4_lines"]

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_ENDS = (".", "?", "!", '"', "'")
_CHARACTER_ENDS = (*_ENDS, "。", "？", "！", "」", "』", "”", "’")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_STOPS = tuple(sorted(TERMINALS))


def keep_c4_lines(text: str, language: str, settings: C4Settings) -> str | Refusal:
    """Return the lines of a page that C4 keeps, or the rule for whole pages that it breaks.

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
    lowered = text.lower()
    suspicious = "javascript" in lowered or any(policy in lowered for policy in _POLICIES)
    lorem = "lorem ipsum" in lowered
    kept: list[str] = []
    for raw in text.splitlines():
        line = _CITATION.sub("", stripped) if "[" in (stripped := raw.strip()) else stripped
        if settings.require_terminal_mark and (not line.endswith(ends) or line.endswith("...")):
            continue
        if not _has_enough_words(stripped, language, settings):
            continue
        if lorem and "lorem ipsum" in line.lower():
            return Refusal(Reason.C4_LOREM_IPSUM, 'a line holds "lorem ipsum"')
        if suspicious and "javascript" in line.lower():
            continue
        if settings.refuse_curly_brackets and "{" in line:
            return Refusal(Reason.C4_CURLY_BRACKET, "a line holds a curly bracket")
        if suspicious and any(policy in line.lower() for policy in _POLICIES):
            continue
        kept.append(line)
    if (sentences := _count_sentences(kept, language, settings.min_sentences)) < settings.min_sentences:
        detail = f"{sentences} sentences in the lines that are kept, fewer than {settings.min_sentences}"
        return Refusal(Reason.C4_TOO_FEW_SENTENCES, detail, sentences)
    return "\n".join(kept).strip()


def _has_enough_words(line: str, language: str, settings: C4Settings) -> bool:
    words = split_characters(line) if language in CHARACTER_LANGUAGES else line.split()
    if len(words) < settings.min_words_per_line:
        return False
    return len(line) <= settings.max_word_characters or max(map(len, words)) <= settings.max_word_characters


def _count_sentences(lines: Sequence[str], language: str, enough: int) -> int:
    """Return the sentences in the lines; exact below `enough`. Every line holds at least one, so that most documents
    are decided by their number of lines."""
    if len(lines) >= enough:
        return len(lines)
    table = word_table(language)
    return sum(table.words(line).sentences for line in lines)


def judge_fineweb(text: str, words: Words, settings: FineWebSettings) -> Refusal | None:
    """Return the first of FineWeb's rules that a page breaks, in the order of the reference, or None.

    In Chinese, Japanese and Korean a character is a word where line breaks are counted against words.

    Parameters
    ----------
    text:
        The normalised document, not empty.
    words:
        Its words.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    share = sum(line.endswith(_STOPS) for line in lines) / max(len(lines), 1)
    if share < settings.min_punctuated_lines:
        detail = f"{share:.1%} of the lines end a sentence, fewer than {settings.min_punctuated_lines:.1%}"
        return Refusal(Reason.FINEWEB_TOO_FEW_PUNCTUATED_LINES, detail, share)
    share = sum(len(line) <= settings.short_line_characters for line in lines) / max(len(lines), 1)
    if share > settings.max_short_lines:
        detail = f"{share:.1%} of the lines are short, more than {settings.max_short_lines:.1%}"
        return Refusal(Reason.FINEWEB_TOO_MANY_SHORT_LINES, detail, share)
    breaks = text.count("\n")
    share = duplicate_share(lines)[1] / max(len(text) - breaks, 1)
    if share > settings.max_duplicate_line_characters:
        allowed = settings.max_duplicate_line_characters
        detail = f"{share:.1%} of the characters stand in lines that occurred before, more than {allowed:.1%}"
        return Refusal(Reason.FINEWEB_DUPLICATE_LINE_CHARACTERS, detail, share)
    rate = breaks / max(words.count, 1)
    if rate > settings.max_line_breaks_per_word:
        detail = f"{rate:.2f} line breaks for each word, more than {settings.max_line_breaks_per_word}"
        return Refusal(Reason.FINEWEB_TOO_MANY_LINE_BREAKS, detail, rate)
    return None
