"""One spelling for one text: mojibake repaired, NFC, no control or zero-width characters, plain whitespace.

Unicode Standard Annex 15 (NFC); what counts as invisible follows the general categories Cc and Cf.
"""

import re
import unicodedata
from functools import cache

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
# Of ASCII the same as below, in a tenth of the time.
_ASCII_BREAKS = bytes.maketrans(b"\r\x0b\x0c\x1c\x1d\x1e", b"\n" * 6)
_ASCII_INVISIBLE = bytes({*range(9), *range(14, 28), 31, 127})
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
# Two spaces before the condition on what precedes them: most stand alone. Possessive, so that a line of 16 MB of spaces
# takes linear time.
_INNER_SPACES = re.compile(r"[ \t][ \t](?<=\S..)[ \t]*+(?=\S)")

# Where no line ends before, so many characters before and after a sign of mojibake are repaired together.
_AROUND_CHARACTERS = 2_000
# ftfy takes 0.2 s for a million characters, as long for 100,000 where only some of a line are mojibake, and for each
# line, also one that it leaves, as long as for forty more.
_MAX_REPAIRED_CHARACTERS, _LINE_COST, _MIXED_COST = 2**19, 40, 10
_MIXED = ("apply", "decode_inconsistent_utf8")
# As ftfy tries them.
_MISREAD_AS = ("latin-1", "sloppy-windows-1252")

# No word has so many (Unicode Standard Annex 15, section 13). Bringing a run of marks to their order takes time
# quadratic in its length: 200,000 a minute.
_MAX_MARKS = 30
_WIDE_MARKS = "\U000101fd-\U0001e94a"


def normalise_text(text: str, *, repair_mojibake: bool = True) -> str:
    """Return the text in its normal form; normalising again changes nothing.

    Indentation and single blank lines stay, for they are part of code, poems and tables; runs of spaces inside a line
    become one space, runs of blank lines one blank line. Of more than thirty combining marks in a row thirty stay.

    Parameters
    ----------
    repair_mojibake:
        Undo UTF-8 that was once decoded as Latin-1 or Windows-1252, where the heuristic of ftfy (Speer 2019) is sure.
    """
    if repair_mojibake and not text.isascii():
        text = _repair_mojibake(text)
    text = text.replace("\r\n", "\n")
    if text.isascii():
        text = text.encode("ascii").translate(_ASCII_BREAKS, _ASCII_INVISIBLE).decode("ascii")
    else:
        text = _SPACE.sub(" ", _LINE_BREAK.sub("\n", text))
        text = _INVISIBLE.sub("", text)
        if "\u200c" in text or "\u200d" in text:
            text = _STRAY_JOINER.sub("", text)
        text = unicodedata.normalize("NFC", _many_marks().sub(_drop_endless_marks, text))
        # Again, for some marks come apart into two.
        text = _many_marks().sub(_drop_endless_marks, text)
    text = _INNER_SPACES.sub(" ", text)
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n").rstrip()


@cache
def _many_marks() -> re.Pattern[str]:
    """Find runs of more than thirty characters that may be marks: of those beyond the basic plane, which `re` would
    look through one by one, all between the first and the last mark."""
    marks = "".join(character for character in map(chr, range(0x10000)) if unicodedata.combining(character))
    may_be_mark = f"[{marks}{_WIDE_MARKS}]"
    return re.compile(f"{may_be_mark}{may_be_mark}{{{_MAX_MARKS},}}")


def _drop_endless_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    count = 0
    for character in run.group():
        count = count + 1 if unicodedata.combining(character) else 0
        if count <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def _repair_mojibake(text: str) -> str:
    """Repair lines that look like mojibake, each by itself as ftfy means it, for a page may hold lines of several
    origins. Of an endless line it is what stands around, and of a document not more than takes a sixth of a second:
    524,288 characters, fewer in short lines, 50,000 of lines that are mojibake in part. If some were repaired, the rest
    is then repaired as a whole or not at all."""
    parts: list[str] = []
    done = looked_at = 0
    is_repaired = False
    while looked_at < _MAX_REPAIRED_CHARACTERS and (match := _MOJIBAKE.search(text, done)):
        start, end = _line_around(text, done, *match.span())
        line = text[start:end]
        looked_at += len(line) + _LINE_COST
        if is_bad(line):
            fixed, steps = ftfy.fix_encoding_and_explain(line)
            parts += text[done:start], fixed
            is_repaired |= fixed != line
            if steps and _MIXED in steps:
                looked_at += len(line) * (_MIXED_COST - 1)
        else:
            parts.append(text[done:end])
        done = end
    rest = text[done:]
    if is_repaired and looked_at >= _MAX_REPAIRED_CHARACTERS:
        rest = _repair_whole(rest)
    return "".join([*parts, rest]) if is_repaired else text


def _repair_whole(text: str) -> str:
    for encoding in _MISREAD_AS:
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def _line_around(text: str, done: int, start: int, end: int) -> tuple[int, int]:
    """Return where the line of a place begins, behind what is done, and ends; of a long line, a part of it."""
    first, last = max(done, start - _AROUND_CHARACTERS), min(len(text), end + _AROUND_CHARACTERS)
    begun, ended = text.rfind("\n", first, start) + 1, text.find("\n", end, last)
    if ended < 0:
        # Not in the middle of a character.
        rest = _CONTINUATIONS.match(text, last)
        ended = rest.end() if rest else last
    return begun or first, ended
