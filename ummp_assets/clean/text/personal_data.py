"""Personal data to typed placeholders: e-mail addresses, telephone numbers, public IP addresses, credit cards, Chinese
resident ids.

What has a checksum or a defined range must pass it: the Luhn formula for cards (ISO/IEC 7812-1, annex B), ISO 7064 MOD
11-2 for resident ids (GB 11643-1999), global ranges for addresses (as FineWeb: Penedo et al. 2024, 3.7). Words are of
ASCII letters here, for Chinese and Japanese put no space around a number.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ummp_assets.text_settings import PersonalData

__all__ = ["replace_personal_data"]


class _Kind(NamedTuple):
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    hint: re.Pattern[str] | None = None
    """What a text must hold for the pattern to be worth its time."""


_RESIDENT_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")


def replace_personal_data(text: str, kinds: Sequence[PersonalData]) -> tuple[str, Counter[str]]:
    """Return the text with personal data replaced by `<kind>`, and how many of each kind were.

    Parameters
    ----------
    kinds:
        What is replaced. Resident ids are looked for before cards and cards before telephone numbers, whatever the
        order given, for the longer number is the surer one.
    """
    counts: Counter[str] = Counter()
    for kind, (pattern, is_valid, hint) in _KINDS.items():
        if kind not in kinds or (hint and not hint.search(text)):
            continue

        def replace(match: re.Match[str], kind: str = kind, is_valid: Callable[[str], bool] = is_valid) -> str:
            if not is_valid(match.group()):
                return match.group()
            counts[kind] += 1
            return f"<{kind}>"

        text = pattern.sub(replace, text)
    return text, counts


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdecimal()]


def _is_card(text: str) -> bool:
    digits = _digits(text)
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_resident_id(text: str) -> bool:
    total = sum(weight * int(digit) for weight, digit in zip(_RESIDENT_ID_WEIGHTS, text[:17], strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def _is_phone(text: str) -> bool:
    # ITU-T E.164: at most 15 digits.
    return 8 <= len(_digits(text)) <= 15


def _is_public_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address in _PUBLIC_IPV6 if address.version == 6 else address.is_global


_FOUR_DIGITS = re.compile(r"\d{4}")

_KINDS: dict[PersonalData, _Kind] = {
    "email": _Kind(
        re.compile(
            r"(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])", re.ASCII
        ),
        lambda _: True,
        re.compile("@"),
    ),
    "resident_id": _Kind(
        re.compile(
            r"(?<![0-9A-Za-z])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]"
            r"(?![0-9A-Za-z])"
        ),
        _is_resident_id,
        re.compile(r"[0-9]{17}"),
    ),
    "credit_card": _Kind(
        re.compile(r"(?<![0-9A-Za-z.-])[2-6](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z-])"), _is_card, _FOUR_DIGITS
    ),
    "phone": _Kind(
        re.compile(
            r"(?<![\w+])\+[1-9][0-9]{0,2}(?:[ .-]?\([0-9]{1,4}\))?(?:[ .-]?[0-9]{2,11}){1,5}(?![\w])"
            r"|(?<![\w.-])(?:1[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[.-])[0-9]{3}[.-][0-9]{4}(?![\w-])"
            r"|(?<![0-9A-Za-z.])1[3-9][0-9](?:[ -]?[0-9]{4}){2}(?![0-9A-Za-z])",
            re.ASCII,
        ),
        _is_phone,
        _FOUR_DIGITS,
    ),
    "ip_address": _Kind(
        re.compile(
            r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\.?\w)"
            r"|(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){0,6}(?![\w:])",
            re.ASCII,
        ),
        _is_public_address,
        re.compile(r"[0-9]\.[0-9]{1,3}\.|[0-9A-Fa-f]:[0-9A-Fa-f:]"),
    ),
}
