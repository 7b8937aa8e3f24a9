"""Texts inside a text: what escapes, percent signs, entities, odd digits and base64 stand for, and where it came from.

Promise: `unescaped` gives the text that a reader of the encoding sees, and for every span of it the bytes of the
original that carry the span: exactly, where each decoded byte has a place of its own, and otherwise the whole escape.
All kinds are decoded in one pass, since they are mixed in practice (`%5Cu0034`); what only a second decoding shows, a
second view shows. Each pass is linear, and a view is never longer than its original. Decoded bytes are never 0xf5 to
0xff: those belong to the canary and the barrier, and a text that spells them with escapes keeps the escapes.

Base64 is looked for from 16 characters on, in tokens whose beginning is text. What is encoded in yet other ways, or
deeper than `search.DEPTH_MAX`, is not seen.

Characters are folded to what a person reads: digits of any script to ASCII digits, full-width and mathematical letters
to plain ones, dashes to a hyphen, spaces to a space, and what has no width to nothing.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from bisect import bisect_right
from codecs import utf_8_decode
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from typing import Final

from msgspec import Struct

from affidavit.mask.patterns import SPANS, WORDS
from affidavit.mask.scanner import pattern

_ESCAPE: Final = re.compile(WORDS["escape"])
_SIMPLE: Final = {
    b"\\\\": b"\\",
    b'\\"': b'"',
    b"\\'": b"'",
    b"\\/": b"/",
    b"\\n": b"\n",
    b"\\r": b"\r",
    b"\\t": b"\t",
    b"\\b": b"",
    b"\\f": b"\n",
    b"\\0": b"",
}
_NEVER_FROM: Final = 0xF5  # the first byte that UTF-8 never has

_BASE64: Final = pattern(SPANS["base64"])
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_PIECE: Final = re.compile(rb"[^/_\-\r\n]{16,}")
_HEAD_BYTES: Final = 64  # of a token, decoded to see whether it is text; a multiple of four
_CONTROL: Final = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"


class View(Struct, frozen=True):
    """Decoded bytes, and the borders of their pieces here and in the original."""

    data: bytes
    here: list[int]
    there: list[int]
    exact: list[bool]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The bytes of the original that carry these; an escape is taken whole."""
        first = bisect_right(self.here, start) - 1
        last = bisect_right(self.here, end - 1) - 1
        begin = self.there[first] + (start - self.here[first] if self.exact[first] else 0)
        if self.exact[last]:
            return begin, self.there[last] + end - self.here[last]
        return begin, self.there[last + 1]


class Enclosed(Struct, frozen=True):
    """A token of the original, and the text that it encodes."""

    start: int
    end: int
    data: bytes


def unescaped(data: bytes) -> View:
    """One level of decoding, of every kind at once."""
    pieces: list[bytes] = []
    here: list[int] = []
    there: list[int] = []
    exact: list[bool] = []
    length = last = 0
    for match in _ESCAPE.finditer(data):
        token = match[0]
        plain = _decoded(token)
        if plain == token:
            continue
        start, end = match.span()
        if start > last:
            pieces.append(data[last:start])
            here.append(length)
            there.append(last)
            exact.append(True)
            length += start - last
        if plain:
            pieces.append(plain)
            here.append(length)
            there.append(start)
            exact.append(False)
            length += len(plain)
        last = end
    pieces.append(data[last:])
    here += (length, length + len(data) - last)
    there += (last, len(data))
    exact += (True, True)
    return View(b"".join(pieces), here, there, exact)


def _decoded(token: bytes) -> bytes:
    """What one escape or foreign character stands for; itself, if it stands for nothing we may write."""
    lead = token[:1]
    if lead == b"%" or token[:2] == b"\\x":
        byte = int(token[-2:], 16)
        return token if byte >= _NEVER_FROM else bytes((byte,))
    if token[:2] == b"\\u":
        return _character(int(token[-4:], 16))
    if lead == b"\\":
        return _SIMPLE[token]
    if lead == b"&":
        return b"".join(_character(ord(one)) for one in unescape(token.decode("ascii"))) if token != b"&;" else token
    return _folded(token)


@lru_cache(maxsize=4096)
def _folded(token: bytes) -> bytes:
    return _character(ord(token.decode("utf-8")))


@lru_cache(maxsize=4096)
def _character(code: int) -> bytes:
    """A character as a person reads it, in UTF-8."""
    one = chr(code)
    kind = unicodedata.category(one)
    if kind == "Cf" or (kind == "Cc" and one not in "\t\n\r"):
        return b""
    if kind == "Nd":
        return b"%d" % unicodedata.decimal(one)
    if kind == "Pd" or code == 0x2212:  # noqa: PLR2004 - the minus sign
        return b"-"
    if kind == "Zs":
        return b" "
    if kind in {"Zl", "Zp"}:
        return b"\n"
    plain = unicodedata.normalize("NFKC", one)
    return (plain if plain.isascii() else one).encode("utf-8", "surrogatepass")


def enclosed(data: bytes) -> Iterator[Enclosed]:
    """Tokens of base64, in either alphabet and over several lines, that encode text."""
    for match in _BASE64.finditer(data):
        start, end = match.span()
        token = data[start:end]
        text = _as_text(token)
        if text is not None:
            yield Enclosed(start, end, text)
            continue
        for piece in _PIECE.finditer(token):
            text = _as_text(piece[0])
            if text is not None:
                yield Enclosed(start + piece.start(), start + piece.end(), text)


def _as_text(token: bytes) -> bytes | None:
    """The text that a token encodes, if its beginning is text and not a picture, a key or a digest."""
    standard = token.translate(_STANDARD, b"\r\n=")
    if not _readable(_from_base64(standard[:_HEAD_BYTES])):
        return None
    return _from_base64(standard).decode("utf-8", "ignore").encode("utf-8")


def _from_base64(standard: bytes) -> bytes:
    """All whole bytes that these characters hold; one left over holds none."""
    cut = len(standard) - (len(standard) % 4 == 1)
    return b64decode(standard[:cut] + b"=" * (-cut % 4))


def _readable(head: bytes) -> bool:
    if head.translate(None, _CONTROL) != head:
        return False
    if head.isascii():
        return True
    try:
        utf_8_decode(head, "strict", False)  # noqa: FBT003 - not final: the head may end inside a character
    except UnicodeDecodeError:
        return False
    return True
