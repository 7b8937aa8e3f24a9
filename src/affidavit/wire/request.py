"""What the requests of all dialects share: an object whose members are sorted into fields, and places within its text.

Promise: every member of the object ends in exactly one of the named fields, ``params`` or ``other``. A member that
cannot be read leaves a problem and does not disturb the rest. Spans are exact offsets in the body.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from affidavit.wire import limits
from affidavit.wire.json_text import (
    UNREADABLE,
    array_of,
    canonical_name,
    canonical_text,
    elements,
    in_canonical_order,
    members,
    places_of_elements,
    places_of_members,
    why,
)
from affidavit.wire.values import Problem, Span

_ROLE_THEN_CONTENT: Final = re.compile(
    rb'\{[ \t\r\n]*+"role"[ \t\r\n]*+:[ \t\r\n]*+"[a-z]*+"[ \t\r\n]*+,[ \t\r\n]*+"content"[ \t\r\n]*+:[ \t\r\n]*+'
)
_BLANKS: Final = b" \t\r\n"


class _Turn(msgspec.Struct, gc=False):
    """The two members of a message that decide where it belongs."""

    role: Any = None
    content: msgspec.Raw = msgspec.Raw()


_TURNS: Final = msgspec.json.Decoder(list[_Turn])
_TURN: Final = msgspec.json.Decoder(_Turn)


class Instructions(msgspec.Struct, frozen=True, gc=False):
    """What the messages say about themselves: how many, and which are instructions of the application."""

    count: int
    texts: list[bytes]
    spans: list[Span]


def read_messages(
    body: bytes, *, raw: bytes, start: int | None, roles: frozenset[str], problems: set[Problem]
) -> Instructions:
    """Count the messages and take out those with one of ``roles``; ``start`` is the place of ``raw``, if known."""
    if not raw.startswith(b"["):
        problems.add("messages_missing")
        return Instructions(0, [], [])
    try:
        turns = _TURNS.decode(raw)
    except UNREADABLE:
        turns = _each_turn(raw, problems=problems)
    chosen: dict[int, bytes] = {}  # The content of the instructions, by the number of their message.
    for number, turn in enumerate(turns):
        role = turn.role
        if not isinstance(role, str):
            problems.add("message_malformed")
        elif role in roles and len(turn.content):
            if len(chosen) >= limits.SHARED_CANDIDATES_MAX:
                problems.add("too_many_items")
                continue
            chosen[number] = bytes(turn.content)
    spans: list[Span] = []
    if chosen and start is not None:
        spans = _spans(body, raw=raw, start=start, chosen=chosen, problems=problems)
    return Instructions(len(turns), list(chosen.values()), spans)


def _each_turn(raw: bytes, *, problems: set[Problem]) -> list[_Turn]:
    """Read the messages one by one, so that a malformed one does not take its list along."""
    turns = []
    for item in elements(raw):
        try:
            turns.append(_TURN.decode(item))
        except UNREADABLE:
            problems.add("message_malformed")
            turns.append(_Turn(role=""))
    return turns


def _spans(body: bytes, *, raw: bytes, start: int, chosen: dict[int, bytes], problems: set[Problem]) -> list[Span]:
    """Find the content of the chosen messages in the body; ``chosen`` gives it by the number of its message."""
    last = max(chosen)
    items = elements(raw) if last else []  # An instruction is nearly always the first message and needs no list.
    places = places_of_elements(body, start=start, lengths=[*map(len, items[:last]), 0])
    spans = []
    for number, content in chosen.items():
        at = places[number]
        # Nearly every client writes the role first and the content next; the long way is for the others.
        found = _ROLE_THEN_CONTENT.match(body, at)
        if found is not None and body.startswith(content, found.end()):
            spans.append((found.end(), len(content)))
            continue
        items = items or elements(raw)
        item = bytes(items[number])
        values = members(item)
        inside = places_of_members(body, start=at, end=at + len(item), values=values)
        if inside is None:
            problems.add("duplicate_member")
        else:
            spans.append((inside["content"], len(content)))
    return spans


def read_tools(raw: bytes | None, *, start: int | None, body: bytes, problems: set[Problem]) -> tuple[int, list[Span]]:
    """Count the tools and place each definition."""
    if raw is None or raw == b"null":
        return 0, []
    if not raw.startswith(b"["):
        problems.add("member_type")
        return 0, []
    items = elements(raw)
    for item in items:
        if not bytes(item).startswith(b"{"):
            problems.add("tool_malformed")
    if start is None:
        return len(items), []
    if len(items) > limits.SHARED_CANDIDATES_MAX:
        problems.add("too_many_items")
    lengths = [len(item) for item in items[: limits.SHARED_CANDIDATES_MAX]]
    return len(items), list(zip(places_of_elements(body, start=start, lengths=lengths), lengths, strict=False))


def named(*names: str) -> dict[str, bytes]:
    """Members by name, each with the text that it has in a canonical object."""
    return {name: canonical_name(name) for name in names}


def sort_members(
    values: Mapping[str, bytes], *, own: AbstractSet[str], sampling: Mapping[str, bytes], problems: set[Problem]
) -> tuple[bytes | None, bytes | None]:
    """Return ``params`` and ``other``: canonical objects of what has no field of its own."""
    params: list[bytes] = []
    other: list[bytes] = []
    for name in in_canonical_order([name for name in values if name not in own]):
        try:
            value = canonical_text(values[name])
        except UNREADABLE as failure:
            problems.add(why(failure))
            continue
        if name in sampling:
            params.append(sampling[name] + value)
        else:
            other.append(canonical_name(name) + value)
    return _object_of(params), _object_of(other)


def places_in(body: bytes, *, values: Mapping[str, bytes], problems: set[Problem]) -> dict[str, int]:
    """Return the place of each member of the request; none where a name occurs twice, since readers then disagree."""
    start = 0 if body.startswith(b"{") else len(body) - len(body.lstrip(_BLANKS))
    end = len(body) if body.endswith(b"}") else len(body.rstrip(_BLANKS))
    places = places_of_members(body, start=start, end=end, values=values)
    if places is None:
        problems.add("duplicate_member")
        return {}
    return places


def _object_of(parts: list[bytes]) -> bytes | None:
    return b"{" + b",".join(parts) + b"}" if parts else None


def joined(texts: list[bytes]) -> bytes | None:
    """Return the texts as an array, if there are any."""
    return array_of(texts) if texts else None


def in_order(*groups: list[Span]) -> tuple[Span, ...]:
    """Return all spans, ascending."""
    spans = [span for group in groups for span in group]
    if len(spans) > 1:
        spans.sort()
    return tuple(spans)
