"""JSON as text: is it sound, where does each value lie, and what is its canonical form.

Promise: nothing here changes the length of a text or moves a value, so that an offset found in a sound text is an
offset in the body that was on the wire. Canonical form is RFC 8785 with one addition, stated in
:mod:`affidavit.wire.values`: a number that is not an integer below 2**53 becomes a string holding its source text.

``UNREADABLE`` names everything that decoding hostile text raises; every decode in this package stands in a ``try`` with
it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from affidavit.wire import limits
from affidavit.wire.values import Problem

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Json: TypeAlias = Any
"""A decoded value: objects, arrays, strings, integers, booleans, null; other numbers as strings of their source
text."""

_VALUE: Final[msgspec.json.Decoder[Json]] = msgspec.json.Decoder(float_hook=str)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANYTHING: Final = msgspec.json.Decoder(msgspec.Raw)
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SORTED: Final = msgspec.json.Encoder(order="sorted")
_AS_BUILT: Final = msgspec.json.Encoder()

_SPACE_CODE: Final = 0x20
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
_NAME: Final = rb'[ \t\r\n]*+[{,][ \t\r\n]*+"[^"\\]*+'
_COLON: Final = rb'"[ \t\r\n]*+:[ \t\r\n]*+'
_MEMBER: Final = re.compile(_NAME + _COLON)
_ESCAPED_MEMBER: Final = tuple(map(re.compile, (_NAME, rb'(?:\\.[^"\\]*+){1,500}', _COLON)))
"""Beginning, escapes and end of a member whose name has escapes: so many at once, because memory grows with them."""
_ELEMENT: Final = re.compile(rb"[ \t\r\n]*+[\[,][ \t\r\n]*+")
_END: Final = re.compile(rb"[ \t\r\n]*+[}\]]")
_INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,14}|0")
_NUMBER_BEGINNINGS: Final = (b"-", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9")
_LITERALS: Final = frozenset((b"true", b"false", b"null"))
_AROUND_NAME: Final = len(b'{"":')
_BEYOND_PLANE_0: Final = "\U00010000"


def sound(body: bytes) -> bytes:
    r"""Return ``body`` itself if it is sound, else a text of the same length in which what is not Unicode is replaced.

    A byte that is not UTF-8 becomes ``?``, the escape of a lone surrogate becomes ``\ufffd``. Such texts are legal
    enough for some readers, so the call may well have happened, but they can be neither hashed canonically nor shown.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            body = body.decode(errors="surrogateescape").encode(errors="replace")
    if b"\\" in body and _SURROGATE.search(body):
        text = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
        return body if text == body else text
    return body


def why(failure: Exception) -> Problem:
    """Name what one of ``UNREADABLE`` says about a part of a body that is JSON as a whole."""
    if isinstance(failure, RecursionError):
        return "too_deep"
    return "number_out_of_range" if isinstance(failure, msgspec.ValidationError) else "json_invalid"


def decode(text: bytes | msgspec.Raw) -> Json:
    """Decode any JSON value; raises one of ``UNREADABLE``."""
    return _VALUE.decode(text)


def check(text: bytes) -> None:
    """Raise one of ``UNREADABLE`` unless the text is JSON."""
    _ANYTHING.decode(text)


def members(text: bytes) -> dict[str, bytes]:
    """Return the exact text of each member's value; the last of equal names counts. Raises one of ``UNREADABLE``."""
    return {name: bytes(value) for name, value in _MEMBERS.decode(text).items()}


def elements(text: bytes) -> list[msgspec.Raw]:
    """Return the exact text of each element of an array. Raises one of ``UNREADABLE``."""
    return _ELEMENTS.decode(text)


def places_of_members(text: bytes, *, start: int, end: int, values: Mapping[str, bytes]) -> dict[str, int] | None:
    """Return the offset of each member's value in the object that lies at ``start`` and ends at ``end``.

    ``values`` is what :func:`members` gave for that object. ``None`` means that the object names a member twice.
    """
    places: dict[str, int] = {}
    # No layout is shorter than this: no blanks, no escapes in names, no name twice. If it fits, the places are right.
    position = start
    for name, value in values.items():
        position += len(name) + _AROUND_NAME
        places[name] = position
        position += len(value)
    if position + len(b"}") == end:
        return places
    places.clear()
    position = start
    for name, value in values.items():
        found = _MEMBER.match(text, position)
        place = found.end() if found is not None else _behind_escaped_name(text, position)
        # JSON values delimit themselves: a text that begins with a value, followed by a comma or bracket, is that
        # value.
        if place is None or not text.startswith(value, place):
            return None
        places[name] = place
        position = place + len(value)
    return places if _END.match(text, position if values else start + 1) else None


def _behind_escaped_name(text: bytes, position: int) -> int | None:
    """Return where the value of a member begins whose name has escapes; the member begins at ``position``."""
    beginning, escapes, colon = _ESCAPED_MEMBER
    found = beginning.match(text, position)
    while found is not None:
        position = found.end()
        found = escapes.match(text, position)
    found = colon.match(text, position)
    return None if found is None else found.end()


def places_of_elements(text: bytes, *, start: int, lengths: Iterable[int]) -> list[int]:
    """Return the offset of each element of the array that begins at ``start``, given their lengths."""
    places: list[int] = []
    position = start
    for length in lengths:
        if text[position + 1] > _SPACE_CODE and text[position] > _SPACE_CODE:  # No blanks around the bracket or comma.
            places.append(position + 1)
            position += 1 + length
            continue
        found = _ELEMENT.match(text, position)
        if found is None:
            break
        places.append(found.end())
        position = found.end() + length
    return places


def canonical_text(text: bytes) -> bytes:
    """Canonical form of one JSON value given as text; raises one of ``UNREADABLE``."""
    if text in _LITERALS or _INTEGER.fullmatch(text):
        return text
    if text.startswith(_NUMBER_BEGINNINGS):
        return b'"' + text + b'"'
    return canonical(_VALUE.decode(text))


def canonical_own(value: Json) -> bytes:
    """Canonical form of a value of our own making: ASCII names, strings, integers that are counts."""
    return _SORTED.encode(value)


def canonical(value: Json, *, nesting_max: int = limits.NESTING_MAX) -> bytes:
    """Canonical form of a decoded value; raises ``RecursionError`` beyond the bound on nesting."""
    if isinstance(value, str):
        return _AS_BUILT.encode(value)
    if _is_plain(value, nesting_max):
        return _SORTED.encode(value)
    return _AS_BUILT.encode(_rebuilt(value))


def is_too_deep(value: Json) -> bool:
    """Tell whether a decoded value is beyond the bound on nesting."""
    try:
        _is_plain(value, limits.NESTING_MAX)
    except RecursionError:
        return True
    return False


def canonical_name(name: str) -> bytes:
    """A member's name as it stands in canonical form, colon included."""
    return _AS_BUILT.encode(name) + b":"


def in_canonical_order(names: Iterable[str]) -> list[str]:
    """Names as RFC 8785 sorts them: by UTF-16 units, which for ASCII is the order of characters."""
    ordered = sorted(names)
    if not "".join(ordered).isascii():
        ordered.sort(key=lambda name: name.encode("utf-16-be"))
    return ordered


def array_of(texts: Sequence[bytes]) -> bytes:
    """Join exact texts into the text of an array."""
    return b"[" + b",".join(texts) + b"]"


def _is_plain(value: Json, depth_left: int) -> bool:
    """Tell whether msgspec's sorted encoding of ``value`` is already canonical."""
    if isinstance(value, str):
        return True
    if isinstance(value, int):
        return -limits.INTEGER_MAX <= value <= limits.INTEGER_MAX
    if value is None:
        return True
    if depth_left <= 0:
        raise RecursionError
    # Every part is looked at even after one is found that is not plain, so that the bound on nesting holds for all of
    # it.
    if isinstance(value, list):
        parts = [_is_plain(item, depth_left - 1) for item in value]
        return all(parts)
    parts = [_is_plain(item, depth_left - 1) for item in value.values()]
    # msgspec sorts names by code point, RFC 8785 by UTF-16 unit; they differ only beyond plane 0.
    return all(parts) and all(name.isascii() or max(name) < _BEYOND_PLANE_0 for name in value)


def _rebuilt(value: Json) -> Json:
    """The value with names in canonical order and integers that JSON cannot carry exactly as strings."""
    if isinstance(value, dict):
        return {name: _rebuilt(value[name]) for name in in_canonical_order(value)}
    if isinstance(value, list):
        return [_rebuilt(item) for item in value]
    if isinstance(value, int) and not -limits.INTEGER_MAX <= value <= limits.INTEGER_MAX:
        return str(value)
    return value
