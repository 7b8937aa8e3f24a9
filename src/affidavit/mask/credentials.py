"""What opens something: keys with a provider's prefix, tokens, private keys, passwords in addresses and assignments.

Promise of every function here: as in `numbers`. A value that is plainly no secret (a variable, a star for each
character, a word in brackets) is left alone, since a reader of a record wants to see that it was one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Final

from msgspec import DecodeError
from msgspec.json import decode

from affidavit.mask.checksum import bits_a_character, classes
from affidavit.mask.finding import Effort, Finding
from affidavit.mask.numbers import CHECK_COST, alphanumeric
from affidavit.mask.patterns import SPANS, WORDS
from affidavit.mask.scanner import pattern

JWT_HEADER_BYTES_MAX: Final = 4096  # headers that carry a certificate chain have two to three thousand
PRIVATE_KEY_BYTES_MAX: Final = 20_000  # between beginning and end: RSA of 16,384 bits has 13,000
_END_LINE_BYTES: Final = 80  # of "-----END ... PRIVATE KEY-----"
PASSWORD_BYTES_MIN: Final = 6
TOKEN_BYTES_MIN: Final = 8
# Bits a character: English words have about 3 at this length, twelve random letters and digits 3.4.
TOKEN_BITS_MIN: Final = 2.8
MIXED_BITS_MIN: Final = 2.2  # enough where letters, digits and signs are mixed, as in passwords that people make
_DISTINCT_MIN: Final = 7  # different characters that a real key has; "xxxxxxxx" and "your-key-here" examples have fewer
_DASHES: Final = b"-----"
_END: Final = b"-----END"
_SEEN_BYTES: Final = 256  # of a value, when it is judged

_HEADED: Final = pattern(SPANS["headed"])
_JWT: Final = pattern(SPANS["jwt"])
_PRIVATE: Final = pattern(SPANS["private"])
_BODY: Final = pattern(SPANS["private_body"])
_BEARER: Final = pattern(SPANS["bearer"])
_USERINFO: Final = pattern(SPANS["userinfo"])
_ASSIGNED: Final = pattern(SPANS["assigned"])
_NAME: Final = re.compile(WORDS["password_name"])
# What a program calls something, in any of the usual spellings; a header's or a setting's value is seldom that.
_IDENTIFIER: Final = re.compile(WORDS["identifier"])
_QUOTES: Final = re.compile(WORDS["quotes"])
_ENDING: Final = re.compile(WORDS["ending"])
# Groups of the pattern: 1 to 3 are quoted.
_BARE: Final = 4
_IN_WORDS: Final = 5
# What stands for a secret: a variable, stars, or words without a digit that begin as in "your-api-key".
_VARIABLE: Final = re.compile(WORDS["variable"])
_SCHEMES: Final = frozenset((b"bearer", b"basic", b"token", b"digest", b"apikey", b"negotiate", b"aws4-hmac-sha256"))
_CALL: Final = re.compile(WORDS["call"])
_PATH: Final = re.compile(WORDS["path"])


def keys(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Keys that begin as some provider's keys do."""
    for match in _HEADED.finditer(data):
        start, end = match.span()
        checked = effort.check(cost=CHECK_COST)
        if checked and (alphanumeric(data, start - 1) or len(set(data[start:end])) < _DISTINCT_MIN):
            continue
        yield Finding(start, end, "SECRET", data[start:end])


def web_tokens(data: bytes, effort: Effort) -> Iterator[Finding]:
    """JSON Web Tokens, signed or encrypted: the first part decodes to a header that names an algorithm."""
    for match in _JWT.finditer(data):
        start, end = match.span()
        if not effort.check(cost=CHECK_COST) or _is_header(data[start:end].partition(b".")[0]):
            yield Finding(start, end, "JWT", data[start:end])


def _is_header(part: bytes) -> bool:
    if len(part) > JWT_HEADER_BYTES_MAX:
        return True
    try:
        header = decode(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (DecodeError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and ("alg" in header or "enc" in header)


def private_keys(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Whole PEM and PGP blocks. Of one without an end, what looks like its lines; a bare mention is no key."""
    at = 0
    more_ends = True
    while match := _PRIVATE.search(data, at):
        start, at = match.span()
        # Looking for an end that is not there once is enough: a text full of beginnings would cost a square.
        end = data.find(_END, at) if more_ends else -1
        more_ends = end >= 0
        effort.check(cost=CHECK_COST)
        if 0 <= end <= start + PRIVATE_KEY_BYTES_MAX:
            closed = data.find(_DASHES, end + len(_END), end + _END_LINE_BYTES)
            at = closed + len(_DASHES) if closed >= 0 else end + len(_END)
        else:
            body = _BODY.match(data, at)
            if body is None or body.end() == at:
                continue
            at = body.end()
        yield Finding(start, at, "PRIVATE_KEY", data[start:at])


def authorizations(data: bytes, effort: Effort) -> Iterator[Finding]:
    """What stands behind `Authorization:` and its relatives, or behind "Bearer" alone."""
    for match in _BEARER.finditer(data):
        start, end = match.span(1) if match.span(1)[0] >= 0 else match.span(2)
        value = data[start:end].rstrip(b",;.):")
        loose = match.span(1)[0] < 0
        # A scheme without a value is what is left where the value was masked.
        if value.lower() in _SCHEMES:
            continue
        plain = _VARIABLE.match(value) or _CALL.match(value) or _PATH.match(value) or _IDENTIFIER.fullmatch(value)
        if effort.check(cost=CHECK_COST) and (plain or (loose and not _random(value))):
            continue
        yield Finding(start, start + len(value), "SECRET", value)


def passwords_in_addresses(data: bytes, effort: Effort) -> Iterator[Finding]:
    """The password of `scheme://user:password@host`."""
    for match in _USERINFO.finditer(data):
        start, end = match.span(1)
        value = data[start:end]
        if effort.check(cost=CHECK_COST) and _VARIABLE.match(value) and not value[-1:].isdigit():
            continue
        yield Finding(start, end, "SECRET", value)


def assigned_secrets(data: bytes, effort: Effort) -> Iterator[Finding]:
    """Values that a name such as "password" or "api_key" is given, unless they cannot be secret."""
    for match in _ASSIGNED.finditer(data):
        group = next(number for number in range(1, _IN_WORDS + 1) if match.span(number)[0] >= 0)
        start, end = match.span(group)
        value = data[start:end]
        if group >= _BARE:  # quotes of a typographer and the end of a sentence are no part of it
            quotes = _QUOTES.match(value)
            start += quotes.end() if quotes else 0
            value = _ENDING.sub(b"", data[start:end])
        name = data[match.start() : start]
        if effort.check(cost=CHECK_COST) and not _secret(name, value[:_SEEN_BYTES], group=group):
            continue
        if value:
            yield Finding(start, start + len(value), "SECRET", value)


def _secret(name: bytes, value: bytes, *, group: int) -> bool:
    """A token is long and mixed. A password may be short and plain, but not bare: there stand variables and types."""
    if _VARIABLE.match(value) or (group >= _BARE and (_CALL.match(value) or _PATH.match(value))):
        return False
    if not _NAME.search(name):
        return b" " not in value and _random(value)
    if len(value) < PASSWORD_BYTES_MIN or value.isdigit() or _NAME.fullmatch(value):
        return False
    if group == _IN_WORDS or b" " in value:
        return classes(value) > 1
    setting = name.isupper() and b"=" in name
    return group != _BARE or setting or not _IDENTIFIER.fullmatch(value)


def _random(value: bytes) -> bool:
    digits = sum(48 <= byte <= 57 for byte in value)  # noqa: PLR2004 - 0 to 9
    return (
        len(value) >= TOKEN_BYTES_MIN
        and 0 < digits < len(value)
        and bits_a_character(value) >= (MIXED_BITS_MIN if classes(value) > 2 else TOKEN_BITS_MIN)  # noqa: PLR2004
        and not _VARIABLE.match(value)
    )
