"""Which digits can be what they look like: the arithmetic of cards, bank accounts, social security numbers and secrets.

Promise: pure functions over short ASCII bytes; nothing here searches, and the cost of each is bounded by the length of
its argument, which callers bound. Sources: ISO/IEC 7812 (cards; issuer ranges as the schemes publish them), ISO 13616
(IBAN and its registry of lengths), the US Social Security Administration's rules for areas, groups and serials.
"""

from __future__ import annotations

from collections import Counter
from math import log2
from typing import Final

_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_ZERO: Final = ord("0")

CARD_DIGITS_MIN: Final = 12
CARD_DIGITS_MAX: Final = 19

_SIXTEEN_TO_NINETEEN: Final = frozenset({16, 17, 18, 19})
# (first, last, lengths): issuer ranges as prefixes of equal length. Maestro's range of 12 to 19 digits is held to the
# prefixes in use, since all of 6 would take every third number that passes Luhn's check.
_ISSUERS: Final = (
    ("34", "34", frozenset({15})),
    ("37", "37", frozenset({15})),
    ("4", "4", frozenset({13, 16, 19})),
    ("51", "55", frozenset({16})),
    ("2221", "2720", frozenset({16})),
    ("2200", "2204", _SIXTEEN_TO_NINETEEN),
    ("6011", "6011", _SIXTEEN_TO_NINETEEN),
    ("644", "649", _SIXTEEN_TO_NINETEEN),
    ("65", "65", _SIXTEEN_TO_NINETEEN),
    ("60", "60", frozenset({16})),
    ("62", "62", _SIXTEEN_TO_NINETEEN),
    ("81", "82", _SIXTEEN_TO_NINETEEN),
    ("300", "305", frozenset({14, 16, 17, 18, 19})),
    ("3095", "3095", frozenset({14, 16, 17, 18, 19})),
    ("36", "36", frozenset({14, 16, 17, 18, 19})),
    ("38", "39", frozenset({14, 16, 17, 18, 19})),
    ("3528", "3589", _SIXTEEN_TO_NINETEEN),
    ("1800", "1800", frozenset({15})),
    ("2131", "2131", frozenset({15})),
    ("5018", "5018", frozenset(range(12, 20))),
    ("5020", "5020", frozenset(range(12, 20))),
    ("5038", "5038", frozenset(range(12, 20))),
    ("5893", "5893", frozenset(range(12, 20))),
    ("6304", "6304", frozenset(range(12, 20))),
    ("6759", "6759", frozenset(range(12, 20))),
    ("6761", "6763", frozenset(range(12, 20))),
    ("508", "508", frozenset({16})),
    ("9792", "9792", frozenset({16})),
)

IBAN_LENGTHS: Final = {
    text[:2].encode("ascii"): int(text[2:])
    for text in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HN28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
        "YE30",
    ]
}

_AREA_NEVER: Final = frozenset({b"000", b"666"})
_TAXPAYER: Final = ord("9")  # areas from 900 on are taxpayer numbers (ITIN), which no social security number has


def luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of the rest (ISO/IEC 7812-1, annex B)."""
    total = sum(digits[-1::-2]) - _ZERO * ((len(digits) + 1) // 2)
    for digit in digits[-2::-2]:
        total += _DOUBLED[digit - _ZERO]
    return total % 10 == 0 and digits.count(b"0") != len(digits)


def issued(digits: bytes) -> bool:
    """Whether some scheme issues cards with this prefix and this length."""
    text, length = digits.decode("ascii"), len(digits)
    return any(length in lengths and low <= text[: len(low)] <= high for low, high, lengths in _ISSUERS)


def mod97(iban: bytes) -> bool:
    """Whether check digits and country length of an upper-case IBAN without spaces hold (ISO 13616-1)."""
    if len(iban) != IBAN_LENGTHS.get(iban[:2], 0):
        return False
    try:
        rearranged = (iban[4:] + iban[:4]).decode("ascii")
        number = int("".join(str(int(character, 36)) for character in rearranged))
    except ValueError:
        return False
    return number % 97 == 1


def social_security(area: bytes, group: bytes, serial: bytes) -> bool:
    """Whether these three parts were ever given out as one number."""
    return area not in _AREA_NEVER and area[0] != _TAXPAYER and group != b"00" and serial != b"0000"


def taxpayer(area: bytes, group: bytes, serial: bytes) -> bool:
    """The same for either kind of number: what follows the words "SSN" or "ITIN" is masked in both cases."""
    return area not in _AREA_NEVER and group != b"00" and serial != b"0000"


def bits_a_character(value: bytes) -> float:
    """Shannon's entropy of the value's own characters: 0 for `aaaa`, about 4 for 20 random letters and digits."""
    length = len(value)
    return -sum(count / length * log2(count / length) for count in Counter(value).values())


def classes(value: bytes) -> int:
    """How many of lower case, upper case, digits and signs the value has."""
    return (
        any(97 <= byte <= 122 for byte in value)  # noqa: PLR2004 - a to z
        + any(65 <= byte <= 90 for byte in value)  # noqa: PLR2004 - A to Z
        + any(48 <= byte <= 57 for byte in value)  # noqa: PLR2004 - 0 to 9
        + any(not (48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122) for byte in value)  # noqa: PLR2004 - signs
    )
