"""The strings that a body says, in order: what masking and search work on.

Promise: every string value of a JSON text is there once, decoded, with the name of the member that it belongs to.
Names of members, and values that only say what a part *is* (its role, its type, an id), are left out. Of a text of
which a record *added* only some ranges, the strings that begin in them are there; the text is read as a whole all the
same, since the name that says what a value is may stand in bytes that an earlier record owns. Time is linear; nothing
raises.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from affidavit.wire.json_text import UNREADABLE

STRUCTURAL: Final = frozenset(
    (
        *("role", "type", "object", "id", "model", "finish_reason", "stop_reason", "finish", "status", "detail"),
        *("tool_call_id", "tool_use_id", "call_id", "user", "user_id", "safety_identifier", "service_tier"),
        *("system_fingerprint", "media_type", "encoding_format", "tool_choice", "reasoning_effort", "signature"),
        *("required", "enum", "additionalProperties"),
    )
)
"""Members whose value names a kind or an id of the protocol, not something that somebody said. Who calls is a field of
its own."""
NAME: Final = "name"
"""Member in which every dialect names a tool."""
DATA_URL: Final = "data:"
DATA_CHARS_MIN: Final = 512
"""A longer data URL, or `data` member, is a file in base64: nobody searches in it, and it stays in the record."""
_STRING: Final = re.compile(rb'"([^"]*+)"([ \t\r\n]*+:)?')
_TEXT: Final[msgspec.json.Decoder[str]] = msgspec.json.Decoder(str)


class Said(NamedTuple):
    """One string of a body."""

    member: str
    """Name of the innermost member that it is, or stands in the list of; empty where there is none."""
    text: str


def said_in(body: bytes, *, added: Sequence[tuple[int, int]] | None = None) -> Iterator[Said]:
    """Strings of a JSON text; with `added` those that begin in one of its ascending ranges `[from, to)`."""
    text = body
    if b"\\" in text:
        # As in `strings`: backslashes stand only inside strings, so after this each quote begins or ends one.
        text = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    member = ""
    ranges = iter(added if added is not None else ((0, len(body)),))
    begin, end_of_range = next(ranges, (0, 0))
    for found in _STRING.finditer(text):
        start, end = found.span(1)
        if found[2] is not None:
            member = _decoded(body, start, end)
            continue
        while start >= end_of_range:
            begin, end_of_range = next(ranges, (len(body) + 1, len(body) + 1))
        if start >= begin and member not in STRUCTURAL:
            said = _decoded(body, start, end)
            if said and not _is_file(member, said):
                yield Said(member, said)


def _decoded(body: bytes, start: int, end: int) -> str:
    raw = body[start:end]
    if b"\\" in raw:
        try:
            return _TEXT.decode(body[start - 1 : end + 1])
        except UNREADABLE:
            pass  # a lone surrogate or a byte that is no text: shown as what it is, and scanned all the same
    return raw.decode(errors="replace")


def _is_file(member: str, said: str) -> bool:
    return len(said) >= DATA_CHARS_MIN and (member == "data" or said.startswith(DATA_URL)) and " " not in said
