"""Single members taken out of decoded JSON: of the right type and within bounds, or not at all.

Promise: a member of the wrong type costs that member and a code in ``problems``, never the message around it.
"""

from typing import Final, TypeVar

import msgspec

from affidavit.wire import limits
from affidavit.wire.json_text import UNREADABLE, Json, canonical, decode, is_too_deep, members, why
from affidavit.wire.values import Problem

Members = TypeVar("Members", bound=msgspec.Struct)

HINTS_IN_METADATA: Final = ("session_id", "conversation_id", "thread_id", "trace_id")
"""Members of ``metadata`` that applications commonly use to tie calls together."""


def text_of(value: Json, *, problems: set[Problem], chars_max: int = limits.IDENTIFIER_CHARS_MAX) -> str | None:
    """Return a string of at most ``chars_max`` characters; ``None`` for null, and for anything else with a problem."""
    if value is None:
        return None
    if not isinstance(value, str):
        problems.add("member_type")
        return None
    if len(value) > chars_max:
        problems.add("member_too_long")
        return None
    return value


def text_from(raw: bytes | None, *, problems: set[Problem], chars_max: int = limits.IDENTIFIER_CHARS_MAX) -> str | None:
    """Return the string that a JSON text is, by the rules of :func:`text_of`."""
    if raw is None or raw == b"null":
        return None
    if not raw.startswith(b'"'):
        problems.add("member_type")
        return None
    return text_of(decode(raw), problems=problems, chars_max=chars_max)


def value_from(raw: bytes, *, problems: set[Problem]) -> Json:
    """Return any value that a JSON text is; ``None`` with a problem where it cannot be decoded."""
    try:
        return decode(raw)
    except UNREADABLE as failure:
        problems.add(why(failure))
        return None


def struct_from(
    decoder: msgspec.json.Decoder[Members], text: bytes | msgspec.Raw, *, problems: set[Problem]
) -> Members:
    """Decode an object into a struct of ``Any`` and ``Raw`` members, leaving out those that cannot be decoded.

    Raises one of ``UNREADABLE`` when the text is not a JSON object.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        values = members(bytes(text))
    struct: type[Members] = decoder.type
    kept: dict[str, Json] = {}
    for member in msgspec.structs.fields(struct):
        raw = values.get(member.name)
        if raw is not None:
            kept[member.name] = msgspec.Raw(raw) if member.type is msgspec.Raw else value_from(raw, problems=problems)
    return struct(**kept)


def flag_from(raw: bytes | None, *, problems: set[Problem]) -> bool:
    """Return whether a JSON text is ``true``; absent and null are false."""
    if raw is None or raw in {b"false", b"null"}:
        return False
    if raw != b"true":
        problems.add("member_type")
        return False
    return True


def count_of(value: Json, *, problems: set[Problem]) -> int | None:
    """Return a count of tokens; ``None`` for null, and for anything that cannot be a count with a problem."""
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= limits.INTEGER_MAX:  # bool is an int to isinstance
        problems.add("number_out_of_range")
        return None
    return value


def object_of(value: Json, *, problems: set[Problem]) -> dict[str, Json]:
    """Return an object; an empty one for null, and for anything else with a problem."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.add("member_type")
        return {}
    return value


def metadata_hints(raw: bytes | None, *, problems: set[Problem]) -> list[tuple[str, str]]:
    """Return what ``metadata`` says about the conversation, as (member, value)."""
    if raw is None or not raw.startswith(b"{"):
        return []
    metadata = value_from(raw, problems=problems) or {}
    found = [(name, metadata.get(name)) for name in HINTS_IN_METADATA]
    return [
        (f"metadata.{name}", value)
        for name, value in found
        if isinstance(value, str) and len(value) <= limits.HINT_CHARS_MAX
    ]


def shallow(value: Json, *, problems: set[Problem]) -> bool:
    """Tell whether a value that is taken over whole is within the bound on nesting."""
    if is_too_deep(value):
        problems.add("too_deep")
        return False
    return True


def canonical_of(value: Json, *, problems: set[Problem]) -> bytes | None:
    """Canonical form of a value that is taken over whole; ``None`` for null, and beyond the bound on nesting."""
    if value is None:
        return None
    try:
        return canonical(value)
    except RecursionError:
        problems.add("too_deep")
        return None


def is_index(value: Json, *, problems: set[Problem]) -> bool:
    """Tell whether a value can be the index of a choice, tool call or block."""
    if type(value) is int and 0 <= value <= limits.INDEX_MAX:
        return True
    problems.add("index_out_of_range")
    return False
