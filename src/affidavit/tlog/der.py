"""DER, read strictly and written: as much of X.690 as timestamps and certificates need.

Promise: a value has one encoding and only that is read: tags of one byte, lengths in their shortest form, nothing
behind an element that was opened as a whole. What an element contains is opened by whoever knows what it should be.
`element` and `object_identifier` write what `Elements` reads. Specification: ITU-T X.690, sections 8 and 10.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from affidavit.errors import FormatError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

LENGTH_BYTES_MAX: Final = 3
"""A timestamp has some kilobytes; what states 16 MiB or more is none."""
_SHORT: Final = 0x80
_TAG_NUMBER: Final = 0x1F


def context(number: int, *, constructed: bool = True) -> int:
    """The tag of ``[number]``."""
    return 0x80 | number | (0x20 if constructed else 0)


class Element(NamedTuple):
    """A tag and what stands in it; `raw` is all of it, as it was read."""

    tag: int
    content: bytes
    raw: bytes


class Elements:
    """What stands in an element, one after the other."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    def take(self, tag: int) -> Element:
        """The next element, which must have this tag.

        Raises:
            FormatError: There is none, it has another tag, or it is not DER.
        """
        if self._at >= len(self._data) or self._data[self._at] != tag or tag & _TAG_NUMBER == _TAG_NUMBER:
            raise FormatError(f"not DER of the form that is expected here: no element of tag {tag:#04x}")
        return self._next()

    def take_any(self) -> Element:
        """The next element, whatever its tag."""
        return self.take(self._data[self._at] if self._at < len(self._data) else 0)

    def take_if(self, tag: int) -> Element | None:
        """The next element if it has this tag."""
        return self.take(tag) if self._data[self._at : self._at + 1] == bytes((tag,)) else None

    def end(self) -> None:
        """Demand that nothing is left."""
        if not self.at_end:
            raise FormatError("not DER of the form that is expected here: something follows")

    def _next(self) -> Element:
        data, start = self._data, self._at
        at = start + 2
        length = data[start + 1] if at <= len(data) else -1
        if length >= _SHORT:
            size = length - _SHORT
            length = int.from_bytes(data[at : at + size], "big")
            at += size
            if not 0 < size <= LENGTH_BYTES_MAX or length < max(_SHORT, 1 << 8 * (size - 1)):
                raise FormatError("not DER: a length that is not in its shortest form, or far too large")
        end = at + length
        if length < 0 or end > len(data):
            raise FormatError("not DER: an element is cut short")
        self._at = end
        return Element(data[start], data[at:end], data[start:end])


def whole(data: bytes, tag: int) -> Elements:
    """What stands in the one element of this tag that `data` is."""
    outer = Elements(data)
    content = outer.take(tag).content
    outer.end()
    return Elements(content)


def integer(content: bytes) -> int:
    """The value of an INTEGER."""
    if not content or (len(content) > 1 and content[0] in (0x00, 0xFF) and (content[0] ^ content[1]) < _SHORT):
        raise FormatError("not DER: an integer that is not in its shortest form")
    return int.from_bytes(content, "big", signed=True)


def moment(found: Element) -> int:
    """Microseconds since 1970 UTC of a UTCTime or a GeneralizedTime, which end with ``Z``; finer fractions are cut."""
    text, dot, fraction = found.content.removesuffix(b"Z").partition(b".")
    if found.tag == UTC_TIME:  # RFC 5280: two digits of a year from 1950 to 2049
        text = (b"20" if text[:2] < b"50" else b"19") + text
    is_whole = found.content.endswith(b"Z") and text.isdigit() and len(text) == len("YYYYmmddHHMMSS")
    is_fraction = not dot or (found.tag == GENERALIZED_TIME and fraction.isdigit() and fraction[-1:] != b"0")
    if found.tag not in (UTC_TIME, GENERALIZED_TIME) or not is_whole or not is_fraction:
        raise FormatError("not DER: a time that is not in its one form")
    try:
        seconds = datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise FormatError("not DER: a time that does not exist") from error
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))


def element(tag: int, *contents: bytes) -> bytes:
    """An element of these contents."""
    content = b"".join(contents)
    length = len(content)
    if length < _SHORT:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, _SHORT | size)) + length.to_bytes(size, "big") + content


def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER, as an element."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.append(0x80 | number & 0x7F)
        content += bytes(reversed(septets))
    return element(OBJECT_IDENTIFIER, bytes(content))
