"""Personal data known by its form or by what announces it: e-mail, network addresses, birth dates, numbers of records.

Promise of every function here: as in `numbers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from affidavit.mask.finding import Effort, Finding
from affidavit.mask.numbers import CHECK_COST, alphanumeric, before
from affidavit.mask.patterns import SPANS, WORDS
from affidavit.mask.scanner import pattern

EMAIL_BYTES_MAX: Final = 320  # RFC 5321: 64 for the mailbox, 255 for the domain, and the sign between
ADDRESS_BYTES_MAX: Final = 45  # the longest text form of an IPv6 address
USERINFO_BYTES: Final = 80  # before a password in an address: a user's name is seldom longer
HELD_DIGITS_MIN: Final = 5  # fewer are years, amounts and counts
_FIRST_YEAR, _LAST_YEAR = 1890, 2100
_MONTHS, _DAYS = 12, 31

_EMAIL: Final = pattern(SPANS["email"])
_IPV4: Final = pattern(SPANS["ipv4"])
_IPV6: Final = pattern(SPANS["ipv6"])
_BORN: Final = pattern(SPANS["born"])
_HELD: Final = pattern(SPANS["held"])
_USERINFO: Final = re.compile(rb"://[^\s/@:\"'<>]*:$")
_VERSION: Final = re.compile(WORDS["version"])
_PARTS: Final = re.compile(rb"[0-9]+")
_WORD: Final = re.compile(rb"[a-z\x80-\xf4]{3,}")
_POINTED: Final = re.compile(rb"[0-9]+(?:[.][0-9]+)+$")
_DATED: Final = re.compile(
    rb"(?:19|20)[0-9]{2}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}$"
)
_FILES: Final = frozenset(b"png jpg jpeg gif svg webp css js mjs ts tsx py json html pdf".split())
_MAILBOX_EDGE: Final = b"!$*'^~%.-"


def emails(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Addresses of mailboxes. File names (`icon@2x.png`) and `git@host:path` are none."""
    for match in _EMAIL.finditer(data):
        start, end = match.span()
        if end - start > EMAIL_BYTES_MAX:
            start = max(start, data.rindex(b"@", start, end) - 64)
        mailbox, _, domain = data[start:end].rpartition(b"@")
        kept = mailbox.lstrip(_MAILBOX_EDGE)
        start += len(mailbox) - len(kept)
        rest, _, top = domain.rpartition(b".")
        if top.lower() in _FILES:
            # `ana@example.org.pdf` is a file that is called by an address; `icon@2x.png` is not.
            if not _is_domain(rest):
                continue
            end -= len(b".") + len(top)
        if not kept or (kept == b"git" and data[end : end + 1] == b":"):
            continue
        if effort.check(cost=CHECK_COST) and _USERINFO.search(before(data, start, size=USERINFO_BYTES)):
            continue  # a password and a host: `passwords_in_addresses` takes the one and leaves the other
        yield Finding(start, end, "EMAIL", data[start:end].lower())


def _is_domain(name: bytes) -> bool:
    """Whether a name could be a mailbox's domain; versions have numbers between their points."""
    labels = name.split(b".")
    return len(labels) > 1 and labels[-1].isalpha() and not any(label.isdigit() for label in labels)


def addresses_v4(data: bytes, effort: Effort) -> Iterator[Finding]:
    """IPv4 addresses of some host: not versions, sections or object identifiers, and not the machine itself."""
    for match in _IPV4.finditer(data):
        start, end = match.span()
        ahead, behind = data[start - 1 : start], data[end : end + 2]
        if ahead.isalnum() or ahead == b"." or behind[:1].isalnum() or (behind[:1] == b"." and behind[1:].isdigit()):
            continue
        text = data[start:end]
        try:
            address = IPv4Address(text.decode("ascii"))
        except AddressValueError:
            continue
        if address.is_loopback or address.is_unspecified or text.startswith(b"255."):
            continue
        if effort.check(cost=CHECK_COST) and _VERSION.search(before(data, start, size=24)):
            continue
        yield Finding(start, end, "IP", text)


def addresses_v6(data: bytes, effort: Effort) -> Iterator[Finding]:
    """IPv6 addresses. Two words with colons between are a name in a program, unless a digit is among them."""
    for match in _IPV6.finditer(data):
        start, end = match.span()
        if end - start > ADDRESS_BYTES_MAX:
            continue
        text = data[start:end]
        cut = text.rstrip(b".")
        if cut.endswith(b":") and not cut.endswith(b"::"):
            cut = cut[:-1]
        end = start + len(cut)
        if cut.startswith(b":") and not cut.startswith(b"::"):  # "ip:2001:db8::1"
            cut, start = cut[1:], start + 1
        if alphanumeric(data, start - 1) or alphanumeric(data, end) or not _PARTS.search(cut):
            continue
        try:
            address = IPv6Address(cut.decode("ascii"))
        except AddressValueError:
            continue
        if address.is_loopback or address.is_unspecified:
            continue
        effort.check(cost=CHECK_COST)
        yield Finding(start, end, "IP", address.compressed.encode("ascii"))


def birth_dates(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Dates that a word such as "born" announces."""
    for match in _BORN.finditer(data):
        start, end = match.span(1)
        text = data[start:end].lower()
        if effort.check(cost=CHECK_COST) and not _is_date(text):
            continue
        yield Finding(start, end, "DOB", b" ".join(text.split()))


def _is_date(text: bytes) -> bool:
    """Whether day, month and year are possible, in whatever order."""
    numbers = [int(part) for part in _PARTS.findall(text)]
    if _WORD.search(text):
        day, year = numbers[0], numbers[-1]
        return 1 <= day <= _DAYS and _FIRST_YEAR <= year <= _LAST_YEAR
    if len(numbers) == 1:
        digits = b"%08d" % numbers[0]
        numbers = [int(digits[:4]), int(digits[4:6]), int(digits[6:])]
        if not _FIRST_YEAR <= numbers[0] <= _LAST_YEAR:
            numbers = [int(digits[:2]), int(digits[2:4]), int(digits[4:])]
    year = numbers[0] if numbers[0] > _DAYS else numbers[-1]
    rest = numbers[1:] if numbers[0] > _DAYS else numbers[:-1]
    return (
        (year < 100 or _FIRST_YEAR <= year <= _LAST_YEAR)  # noqa: PLR2004 - years of two digits
        and all(1 <= number <= _DAYS for number in rest)
        and min(rest) <= _MONTHS
    )


def held_numbers(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Numbers of accounts, records, customers, policies, passports, licences: whatever a person is filed under."""
    for match in _HELD.finditer(data):
        start, end = match.span(1)
        text = data[start:end]
        if sum(48 <= byte <= 57 for byte in text) < HELD_DIGITS_MIN:  # noqa: PLR2004 - 0 to 9
            continue
        if effort.check(cost=CHECK_COST) and (_POINTED.match(text) or _DATED.match(text)):
            continue
        yield Finding(start, end, "ACCOUNT", text.upper().replace(b" ", b"").replace(b"-", b""))
