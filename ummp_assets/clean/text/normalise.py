"""One spelling for one text: mojibake repaired, NFC, no control or zero-width characters, plain whitespace.

Unicode Standard Annex 15 (NFC); what counts as invisible follows the general categories Cc and Cf.
"""

import re
import unicodedata

import ftfy
from ftfy.badness import is_bad

__all__ = ["normalise_text"]

# UTF-8 that was read as Latin-1 or Windows-1252: a lead byte's character before a continuation byte's. Looking for it
# first spares clean non-ASCII texts ftfy's own heuristic, 60 % of the time of cleaning when it ran on all of them.
_CONTINUATION = (
    "\x80-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019\u201c\u201d\u2022\u2013"
    "\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
_MOJIBAKE = re.compile(f"[\xc2-\xf4](?:[{_CONTINUATION}]|(?<=[a-z][\xc2\xc3]) )")
_CONTINUATIONS = re.compile(f"[{_CONTINUATION}]{{0,3}}")
# Tab and line feed stay. Soft hyphen, zero-width space, word joiner, BOM, directional marks and embeddings, deprecated
# format characters, interlinear marks, noncharacters and lone surrogates carry no text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
# Joiners are spelling in Arabic, Indic and emoji sequences, and noise everywhere else.
_STRAY_JOINER = re.compile("(?<![\u0600-\u1fff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]+")
_LINE_BREAK = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# The first character before the condition on what precedes it: searching for one of a set is what `re` does fastest.
# Possessive, so that a line of 16 MB of spaces takes linear time.
_INNER_SPACES = re.compile(r"[ \t](?<=\S[ \t])[ \t]++(?=\S)")
_BLANK_LINES = re.compile(r"\n{3,}")

# Where no line ends before, so many characters before and after a sign of mojibake are repaired together.
_AROUND_CHARACTERS = 2_000
# ftfy takes 0.2 s for a million characters, as long for 100,000 where only some of a line are mojibake, and for each
# line as long as for forty more.
_MAX_REPAIRED_CHARACTERS, _LINE_COST, _MIXED_COST = 4 * 2**20, 40, 10
_MIXED = ("apply", "decode_inconsistent_utf8")


def normalise_text(text: str, *, repair_mojibake: bool = True) -> str:
    """Return the text in its normal form; normalising again changes nothing.

    Indentation and single blank lines stay, for they are part of code, poems and tables; runs of spaces inside a line
    become one space, runs of blank lines one blank line.

    Parameters
    ----------
    repair_mojibake:
        Undo UTF-8 that was once decoded as Latin-1 or Windows-1252, where the heuristic of ftfy (Speer 2019) is sure.
    """
    if repair_mojibake and not text.isascii():
        text = _repair_mojibake(text)
    text = _LINE_BREAK.sub("\n", text.replace("\r\n", "\n"))
    if not text.isascii():
        text = _SPACE.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        if "\u200c" in text or "\u200d" in text:
            text = _STRAY_JOINER.sub("", text)
        text = unicodedata.normalize("NFC", text)
    text = _INNER_SPACES.sub(" ", text)
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip("\n").rstrip()


def _repair_mojibake(text: str) -> str:
    """Repair lines that look like mojibake, each by itself as ftfy means it, for a page may hold lines of several
    origins. Of an endless line it is what stands around, and of a document not more than takes a second or two: four
    million characters, fewer in short lines, 400,000 of lines that are mojibake in part."""
    parts: list[str] = []
    done = repaired = 0
    while repaired < _MAX_REPAIRED_CHARACTERS and (match := _MOJIBAKE.search(text, done)):
        start, end = _line_around(text, done, *match.span())
        line = text[start:end]
        if is_bad(line):
            fixed, steps = ftfy.fix_encoding_and_explain(line)
            parts += text[done:start], fixed
            repaired += len(line) * (_MIXED_COST if steps and _MIXED in steps else 1) + _LINE_COST
        else:
            parts.append(text[done:end])
        done = end
    return "".join([*parts, text[done:]]) if repaired else text


def _line_around(text: str, done: int, start: int, end: int) -> tuple[int, int]:
    """Return where the line of a place begins, behind what is done, and ends; of a long line, a part of it."""
    first, last = max(done, start - _AROUND_CHARACTERS), min(len(text), end + _AROUND_CHARACTERS)
    begun, ended = text.rfind("\n", first, start) + 1, text.find("\n", end, last)
    if ended < 0:
        # Not in the middle of a character.
        rest = _CONTINUATIONS.match(text, last)
        ended = rest.end() if rest else last
    return begun or first, ended
