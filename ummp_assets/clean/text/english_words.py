"""One chunk between spaces to words, by the rules that spaCy documents for English (spacy.io/usage/linguistic-features,
"Tokenization"), which datatrove counts words with.

Written for agreement where rules count, not for identity: prefixes and suffixes are taken off one by one, contractions
and abbreviations are kept as they are known, the rest is split at inner marks. Other languages with spaces use it too.
"""

import re

__all__ = ["split_english_chunk"]

_LOWER = "a-zß-öø-ÿāăąćĉċčďđēėęěğģīįıķļłńņňőœřśşšţťūůűźżžа-яёα-ω"
_UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĖĘĚĞĢĪĮİĶĻŁŃŅŇŐŒŘŚŞŠŢŤŪŮŰŹŻŽА-ЯЁΑ-Ω"
_LETTER = f"{_LOWER}{_UPPER}\u0590-\u1fff\u3040-\u9fff\uac00-\ud7af"
_QUOTE = "'\"”“`‘´’‚„»«"
_MARKS = frozenset(",:;!?¿¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪「」『』（）〔〕【】《》〈〉…—–" + _QUOTE)
_HEADS = _MARKS | frozenset("§%=$£€¥฿₽")
_ICON = "\u00a6\u00a9\u00ae\u00b0\u2100-\u214f\u2190-\u2bff\U0001f000-\U0001faff"
_IS_ICON = re.compile(f"[{_ICON}]")
_UNIT = re.compile("(?<=[0-9])(?:[+$£€¥TGMK%mgt]|km|dm|cm|mm|ha|nm|yd|in|ft|kg|mg|lb|oz|mph|mb|MB|kb|KB|gb|GB|tb|TB)$")
_INFIX = re.compile(
    f"\\.\\.+|…|[{_ICON}]|(?<=[0-9])[+\\-*^](?=[0-9-])|(?<=[{_LOWER}{_QUOTE}])\\.(?=[{_UPPER}{_QUOTE}])"
    f"|(?<=[{_LETTER}]),(?=[{_LETTER}])|(?<=[{_LETTER}0-9])(?:---?|-|–|——?|~)(?=[{_LETTER}])"
    f"|(?<=[{_LETTER}0-9])[:<>=/](?=[{_LETTER}])"
)
_URL = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+@)?(?:(?:[\w-]+\.)+[a-z]{2,63}|\d{1,3}(?:\.\d{1,3}){3})(?::\d{2,5})?(?:[/?#]\S*)?"
)
_CONTRACTION = re.compile(
    r"(?P<n>(?:[cw]o|ca|do|does|did|is|are|was|were|has|have|had|ca|could|should|would|wo|must|need|might|ai)(?=n['’]?t))"
    r"(?P<t>n['’]?t)|(?P<w>\w+)(?P<c>['’](?:m|re|ve|ll|d|M|RE|VE|LL|D))|(?P<a>can)(?P<b>not)",
    re.IGNORECASE,
)
_ABBREVIATIONS = frozenset(
    [
        "a.m.",
        "p.m.",
        "e.g.",
        "i.e.",
        "E.g.",
        "I.e.",
        "vs.",
        "v.s.",
        "Mr.",
        "Mrs.",
        "Ms.",
        "Dr.",
        "Prof.",
        "St.",
        "Mt.",
        "Jr.",
        "Sr.",
        "Inc.",
        "Ltd.",
        "Co.",
        "co.",
        "Corp.",
        "Bros.",
        "Adm.",
        "Gen.",
        "Gov.",
        "Rep.",
        "Rev.",
        "Sen.",
        "Messrs.",
        "Ph.D.",
        "D.C.",
        "N.Y.",
        "N.J.",
        "Jan.",
        "Feb.",
        "Mar.",
        "Apr.",
        "Jun.",
        "Jul.",
        "Aug.",
        "Sep.",
        "Sept.",
        "Oct.",
        "Nov.",
        "Dec.",
        "Calif.",
        "Mass.",
        "Mich.",
        "Pa.",
        "Va.",
        "Wash.",
        "Ill.",
        "Ill.",
        "Fla.",
        "Ga.",
        "Ky.",
        "La.",
        "Md.",
        "Miss.",
        "Minn.",
        "Tenn.",
        "'",
        "''",
        "C++",
        "and/or",
        "w/o",
        "ma'am",
        "o'clock",
        ":)",
        ":-)",
        ":(",
        ":-(",
        ";)",
        ";-)",
        ":D",
        ":-D",
        ":P",
        ":/",
        "<3",
        "^_^",
        "-_-",
        "o_o",
        "O_o",
        "xD",
        "XD",
        ":]",
        ":[",
        ":|",
        "=)",
        "=(",
        "(:",
        "):",
        "(;",
        "\\n",
        "\\t",
    ]
)
# A word between marks, or a name with underscores, that ends in two small letters, two capitals or a digit.
# Abbreviations left aside, the rules below would neither split it nor keep a mark with it.
_WRAPPED = re.compile(
    r"([(\[{\"“‘*_#&`]*+)"
    r"((?:[^\W_]++_++)*+(?:[^\W\d_]*(?:[a-zß-öø-ÿ]{2}|[A-Z]{2})|[^\W_]*[0-9]))"
    r"([,:;!?(){}\[\]>\"”*_`]*+(?:\.[,:;(){}\[\]>\"”*_`]*+)?+)"
)
# Taking marks off one by one is quadratic: 98 s for a mebibyte of brackets. No word of a language is that long.
_MAX_CHARACTERS, _RUN_OR_MARK = 1_000, re.compile(r"\w+|[^\w\s]")
_APOSTROPHES = frozenset("'’")
_BEFORE_STOP = _MARKS | frozenset("%²-+")


def split_english_chunk(chunk: str) -> list[str]:
    """Return the words of a chunk that holds no space; joined they are the chunk."""
    if len(chunk) > _MAX_CHARACTERS:
        return _RUN_OR_MARK.findall(chunk)
    if chunk.isalpha():
        return _split_contraction(chunk)
    # Three quarters of the other chunks are one word between marks, which part one by one.
    if (wrapped := _WRAPPED.fullmatch(chunk)) and f"{wrapped[2]}." not in _ABBREVIATIONS:
        return [*wrapped[1], *_split_contraction(wrapped[2]), *wrapped[3]]
    start, end = 0, len(chunk)
    heads: list[str] = []
    tails: list[str] = []
    while start < end and not _is_special(core := chunk[start:end]):
        if head := _head_length(core):
            heads.append(core[:head])
            start += head
            if start == end or _is_special(core := chunk[start:end]):
                break
        if tail := _tail_length(core):
            tails.append(core[-tail:])
            end -= tail
        if not head and not tail:
            break
    return [*heads, *_split_core(chunk[start:end]), *reversed(tails)]


def _head_length(core: str) -> int:
    first = core[0]
    if first.isalnum():
        return 0
    if first in _HEADS:
        return 1
    if first == ".":
        dots = len(core) - len(core.lstrip("."))
        return dots if dots > 1 else 0
    if first == "+":
        return int(not core[1:2].isdigit())
    return int(_IS_ICON.match(first) is not None)


def _tail_length(core: str) -> int:
    last, before = core[-1], core[-2:-1]
    if last in _MARKS:
        return 1
    if last == ".":
        if before == ".":
            return len(core) - len(core.rstrip("."))
        after_word = before.isdigit() or (before.isalpha() and not before.isupper())
        initials = core[-3:-1]
        return int(
            after_word or before in _BEFORE_STOP or (len(initials) == 2 and initials.isalpha() and initials.isupper())
        )
    if last in "sS" and before in _APOSTROPHES:
        return 2
    if unit := _UNIT.search(core, max(0, len(core) - 4)):
        return len(unit.group())
    return int(_IS_ICON.match(last) is not None)


def _is_special(chunk: str) -> bool:
    if len(chunk) == 2 and chunk[1] == "." and chunk[0].islower():
        return True
    return chunk in _ABBREVIATIONS or (_may_contract(chunk) and _CONTRACTION.fullmatch(chunk) is not None)


def _may_contract(chunk: str) -> bool:
    return "'" in chunk or "’" in chunk or chunk.endswith(("nt", "not", "NT", "NOT"))


def _split_core(core: str) -> list[str]:
    if not core or core.isalnum() or core in _ABBREVIATIONS:
        return _split_contraction(core) if core else []
    if _may_contract(core) and _CONTRACTION.fullmatch(core):
        return _split_contraction(core)
    if "." in core and _URL.fullmatch(core):
        return [core]
    words, start = [], 0
    for infix in _INFIX.finditer(core):
        if infix.start() > start:
            words.append(core[start : infix.start()])
        words.append(infix.group())
        start = infix.end()
    return [*words, core[start:]] if start < len(core) else words


def _split_contraction(word: str) -> list[str]:
    found = _CONTRACTION.fullmatch(word) if _may_contract(word) else None
    return [part for part in found.groups() if part] if found else [word]
