"""Numbers that carry their own proof, or a shape: cards, bank accounts, social security numbers, telephone numbers.

Promise of every function here: it gets bytes behind barriers and gives findings in order of place; its work is linear
in the text plus a bounded cost for each candidate; when `Effort` is used up, candidates count as valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import phonenumbers

from affidavit.mask.checksum import (
    CARD_DIGITS_MAX,
    CARD_DIGITS_MIN,
    IBAN_LENGTHS,
    issued,
    luhn,
    mod97,
    social_security,
    taxpayer,
)
from affidavit.mask.finding import Effort, Finding
from affidavit.mask.patterns import SPANS, WORDS
from affidavit.mask.scanner import pattern

# Bytes in which a word still says what a number means: "social security number of the applicant is" has 44.
CONTEXT_BYTES: Final = 48
# Relative costs of validations: a check digit takes one to two microseconds, a telephone number about thirty.
CHECK_COST: Final = 1
PHONE_COST: Final = 20

# Where a number in national form may come from when a word says that it is a telephone number, the likeliest first.
REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "AU", "IN", "CH", "AT", "BE", "SE", "BR", "JP")
# Where the form alone, a zero and separated groups, is enough. German numbers have almost any length: not here.
REGIONS_BY_FORM: Final = ("FR", "GB", "IT")
_TRAILING_GROUPS_MAX: Final = 3  # how many groups of digits behind an international number may belong to something else
_DIGITS_MIN: Final = 7
_E164_DIGITS_MIN: Final = 9  # shorter ones exist, but so do signed amounts
_E164_DIGITS_MAX: Final = 15  # ITU-T E.164
_INTERNATIONAL_BYTES_MIN: Final = 8  # before these, groups of 3, 3 and 4 digits are the number itself
_NANP_BYTES: Final = 13  # of which the first few may have been taken for the end of an international one
_LABEL_BYTES: Final = 8  # in which a colon stands, with spaces and quotes behind it

_CARD: Final = pattern(SPANS["card"])
_IBAN: Final = pattern(SPANS["iban"])
_SSN: Final = pattern(SPANS["ssn"])
_PHONE: Final = pattern(SPANS["phone"])
_NANP: Final = pattern(SPANS["phone_nanp"])
_CALLED: Final = pattern(SPANS["phone_called"])
_NAMED: Final = pattern(SPANS["phone_named"])
_CARD_WORDS: Final = re.compile(WORDS["card"])
_CARD_WORD_BEFORE: Final = re.compile(WORDS["card_before"])
_SSN_WORDS: Final = re.compile(WORDS["ssn"])
_GROUP: Final = re.compile(rb"[0-9]+")
_LAST_GROUP: Final = re.compile(rb"[^0-9]+[0-9]+$")
_IBAN_REST: Final = re.compile(rb"[ \-]?([A-Za-z0-9])")
_NO_DIGIT: Final = re.compile(rb"[^0-9]+")
_UP_TO_DIGIT: Final = re.compile(rb"^.*[0-9]", re.DOTALL)
_JOINTS: Final = (b"-", b".", b"/", b":")
_DECIMAL: Final = re.compile(rb"[+(]*[0-9]+\.[0-9]+$")
_EXTENSION: Final = re.compile(rb"(?i)[ ,]{0,2}(?:x|ext\.?|#) ?[0-9]{1,6}$")
_DATE_OR_TIME: Final = re.compile(
    rb"(?:19|20)[0-9]{2}([-./ ])[0-9]{1,2}\1[0-9]{1,2}(?![0-9])|[0-9]{1,2}([-./])[0-9]{1,2}\2(?:19|20)[0-9]{2}(?![0-9])"
)
_LAYOUTS: Final = frozenset({(4, 6, 5), (4, 6, 4)})
_QUARTER: Final = 4


def before(data: bytes, start: int, *, size: int = CONTEXT_BYTES) -> bytes:
    """What stands before a place, in lower case, up to a barrier."""
    return data[max(0, start - size) : start].rpartition(b"\xff")[2].lower()


def announcing(data: bytes, start: int) -> bytes:
    """What stands before a place, up to another number: that one is what the words before it announce."""
    return _UP_TO_DIGIT.sub(b"", before(data, start))


def alphanumeric(data: bytes, at: int) -> bool:
    """Whether an ASCII letter or digit stands there; beyond the ends stands none."""
    return 0 <= at < len(data) and data[at : at + 1].isalnum()


def beside_digits(data: bytes, start: int, end: int) -> bool:
    """Whether the number goes on, with or without a separator, on either side."""
    ahead = data[max(0, start - 2) : start]
    behind = data[end : end + 2]
    return (
        ahead[-1:].isalnum()
        or behind[:1].isalnum()
        or (ahead[-1:] in _JOINTS and ahead[:1].isdigit())
        or (behind[:1] in _JOINTS and behind[1:].isdigit())
    )


def cards(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Payment cards: 12 to 19 digits that pass Luhn's check, of an issuer's range, or named a card."""
    for match in _CARD.finditer(data):
        run_start, run_end = match.span()
        groups = [(run_start + one.start(), run_start + one.end()) for one in _GROUP.finditer(data[run_start:run_end])]
        first = 0
        while first < len(groups):
            last = _card_from(data, groups, first=first, effort=effort)
            if last is None:
                first += 1
                continue
            start, end = groups[first][0], groups[last][1]
            yield Finding(start, end, "CARD", _NO_DIGIT.sub(b"", data[start:end]))
            first = last + 1


def _card_from(data: bytes, groups: list[tuple[int, int]], *, first: int, effort: Effort) -> int | None:
    """Index of the last group of the longest card that begins with this group."""
    lengths: list[int] = []
    fitting: list[int] = []
    total = 0
    for index in range(first, len(groups)):
        start, end = groups[index]
        total += end - start
        if total > CARD_DIGITS_MAX:
            break
        lengths.append(end - start)
        if total >= CARD_DIGITS_MIN:
            fitting.append(index)
    for index in reversed(fitting):
        start, end = groups[first][0], groups[index][1]
        if not effort.check(cost=CHECK_COST):
            return index
        digits = _NO_DIGIT.sub(b"", data[start:end])
        if not luhn(digits):
            continue
        ahead = announcing(data, start)
        if _inside_a_number(data, start, end) and not _CARD_WORD_BEFORE.search(ahead):
            continue
        plain = _grouped_like_a_card(lengths[: index - first + 1])
        pointed = b"." in data[start:end]  # a decimal number, unless all else speaks for a card
        if (plain and issued(digits)) or (not pointed and _CARD_WORDS.search(ahead)):
            return index
    return None


def _grouped_like_a_card(lengths: list[int]) -> bool:
    return (
        len(lengths) == 1
        or (all(length == _QUARTER for length in lengths[:-1]) and lengths[-1] <= _QUARTER)
        or tuple(lengths) in _LAYOUTS
    )


def _inside_a_number(data: bytes, start: int, end: int) -> bool:
    """Whether letters touch it, or a point and digits do: part of an identifier or a decimal number."""
    ahead, behind = data[max(0, start - 2) : start], data[end : end + 2]
    return (
        ahead[-1:].isalnum()
        or behind[:1].isalnum()
        or (ahead[-1:] == b"." and ahead[:1].isdigit())
        or (behind[:1] == b"." and behind[1:].isdigit())
    )


def ibans(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Bank accounts of the countries in the registry, with or without spaces, whose check digits hold."""
    for match in _IBAN.finditer(data):
        start, end = match.span()
        length = IBAN_LENGTHS.get(data[start : start + 2].upper())
        if length is None or alphanumeric(data, start - 1):
            continue
        value = bytearray(data[start:end])
        hyphens = 0
        while len(value) < length and (step := _IBAN_REST.match(data, end)):
            value += step[1]
            end = step.end()
            hyphens += data[end - 2 : end - 1] == b"-"
        # Hyphens stand between all groups of four or nowhere: a UUID has them in other places.
        if len(value) != length or alphanumeric(data, end) or (hyphens and hyphens != (length - 1) // _QUARTER):
            continue
        # "GI89595109 shipped on 2023-..." has a country's length, and one in 97 of its kind the right check digits.
        mixed = not (value.isupper() or value.islower())
        if mixed and end - start > length and b"iban" not in before(data, start):
            continue
        value = value.upper()
        if not effort.check(cost=CHECK_COST) or mod97(bytes(value)):
            yield Finding(start, end, "IBAN", bytes(value))


def social_security_numbers(data: bytes, effort: Effort) -> Iterator[Finding]:
    """US social security numbers: in their form with separators, or nine digits that a word announces."""
    for match in _SSN.finditer(data):
        start, end = match.span()
        one, two = match.group(1), match.group(2)
        if one != two or alphanumeric(data, start - 1) or alphanumeric(data, end):
            continue
        digits = _NO_DIGIT.sub(b"", data[start:end])
        parts = digits[:3], digits[3:5], digits[5:]
        checked = effort.check(cost=CHECK_COST)
        if not checked:
            good = True
        elif _SSN_WORDS.search(announcing(data, start)):
            good = taxpayer(*parts)
        else:
            good = one in (b"-", b" ") and social_security(*parts) and not beside_digits(data, start, end)
        if good:
            yield Finding(start, end, "SSN", digits)


def phones(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Telephone numbers whose form says so: international, North American, or a zero and groups of digits."""
    for match in _PHONE.finditer(data):
        start, end = match.span()
        candidate = data[start:end]
        if candidate.startswith((b"+", b"00", b"011")):
            found = _international(data, start, end, effort=effort)
        else:
            regions = REGIONS_BY_FORM if candidate.startswith((b"0", b"(0")) else ("US",)
            found = _in_form(data, start, end, regions=regions, effort=effort)
        at = start + 1
        if found is not None:
            yield found
            at = found.end
        # What was taken for digits of this number may be another one, and its first digit the last of the one before.
        for inner in _NANP.finditer(data, at, end + _NANP_BYTES) if at < end else ():
            other = _in_form(data, inner.start(), inner.end(), regions=("US",), effort=effort)
            if other is not None:
                yield other


def _in_form(data: bytes, start: int, end: int, *, regions: tuple[str, ...], effort: Effort) -> Finding | None:
    """A number in a national form, if nothing touches it and it is no date."""
    if beside_digits(data, start, end) or _DATE_OR_TIME.search(data[start:end]):
        return None
    number = _valid(_EXTENSION.sub(b"", data[start:end]), regions, effort)
    return None if number is None else Finding(start, end, "PHONE", number)


def announced_phones(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Telephone numbers behind a word that announces them, in the national forms of `REGIONS`.

    Directly behind a label ("Phone: ...") any number is one, also one that no plan knows: wrong ones are personal too.
    """
    for match in _CALLED.finditer(data):
        start, end = match.span(1)
        labelled = data[max(0, start - _LABEL_BYTES) : start].rstrip(b" \t\r\n\"'\\").endswith((b":", b"="))
        yield from _of_some_region(data, start, end, labelled=labelled, effort=effort)


def named_phones(data: bytes, effort: Effort) -> Iterator[Finding]:
    """The same with the word behind the number, as in a card file: "089 72 63 41 office"."""
    for match in _NAMED.finditer(data):
        yield from _of_some_region(data, match.start(1), match.end(1), labelled=True, effort=effort)


def _of_some_region(data: bytes, start: int, end: int, *, labelled: bool, effort: Effort) -> Iterator[Finding]:
    whole = candidate = data[start:end]
    if alphanumeric(data, start - 1) or _DATE_OR_TIME.match(candidate):
        return
    for _ in range(_TRAILING_GROUPS_MAX):
        bare = _EXTENSION.sub(b"", candidate)
        number = None if alphanumeric(data, start + len(candidate)) else _valid(bare, REGIONS, effort)
        if number is not None:
            yield Finding(start, start + len(candidate), "PHONE", number)
            return
        shorter = _LAST_GROUP.sub(b"", candidate)
        if shorter == candidate:
            break
        candidate = shorter
    digits = _NO_DIGIT.sub(b"", whole)
    if labelled and len(digits) >= _DIGITS_MIN and not alphanumeric(data, end):
        yield Finding(start, end, "PHONE", digits)


def _international(data: bytes, start: int, end: int, *, effort: Effort) -> Finding | None:
    """A number behind "+", or behind "00" or "011" when it is written in groups; other numbers may follow it."""
    following = _NANP.search(data, start + _INTERNATIONAL_BYTES_MIN, end + _NANP_BYTES)
    if following is not None and following.start() < end:
        end = start + len(data[start : following.start()].rstrip(b" ./-("))
    candidate = data[start:end]
    plus = candidate.startswith(b"+")
    if alphanumeric(data, start - 1) or (not plus and candidate.isdigit()) or _DECIMAL.match(candidate):
        return None
    for _ in range(_TRAILING_GROUPS_MAX + 1):
        if not alphanumeric(data, start + len(candidate)):
            bare = _EXTENSION.sub(b"", candidate)
            digits = _NO_DIGIT.sub(b"", bare)
            # "(0)" is dialled only at home.
            dialled = bare if plus else b"+" + digits.removeprefix(b"011").removeprefix(b"00")
            number = _valid(dialled.replace(b"(0)", b""), (None,), effort)
            if number is not None:
                return Finding(start, start + len(candidate), "PHONE", number)
        shorter = _LAST_GROUP.sub(b"", candidate)
        if shorter == candidate:
            break
        candidate = shorter
    # Groups of digits behind a plus sign are a telephone number even where the plan that we have does not know them.
    digits = _NO_DIGIT.sub(b"", data[start:end])
    if plus and not data[start + 1 : end].isdigit() and _E164_DIGITS_MIN <= len(digits) <= _E164_DIGITS_MAX:
        return Finding(start, end, "PHONE", b"+" + digits)
    return None


def _valid(candidate: bytes, regions: Sequence[str | None], effort: Effort) -> bytes | None:
    """The number in E.164 form, or nothing; without effort left, its digits, whatever they are."""
    text = candidate.decode("ascii")
    digits = _NO_DIGIT.sub(b"", candidate)
    if len(digits) < _DIGITS_MIN - 1:
        return None
    for region in regions:
        if not effort.check(cost=PHONE_COST):
            return digits
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).encode("ascii")
    return None
