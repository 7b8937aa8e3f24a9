"""Twins: a `MaskedRow` as one line of an insert, and back from what a query reads.

Promise: `parse_row(row, text)` of what `format_rows` wrote is the row that went in, member by member. Text that is not
Unicode (half a surrogate pair, which JSON can spell) is written with a replacement sign rather than refused: one such
record must not stop the index for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from affidavit.index.schema import COLUMNS
from affidavit.seal.masked import MaskedRow

_MEMBERS: Final = MaskedRow.__struct_fields__
_TEXT: Final = _MEMBERS.index("text")
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[Any]).decode


class _Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One row of an insert; members in the order of `schema.COLUMNS`."""

    log: str
    leaf: int
    id: str
    call: str
    type: str
    time_us: int
    app: str
    team: str
    environment: str
    provider: str
    model_requested: str
    model_served: str
    data_class: str
    model: str
    outcome: str
    status: int | None
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    ms: int | None
    cost_nano: int | None
    currency: str
    cost_state: str
    user: str
    session: str
    app_asserted: str
    team_asserted: str
    prompt: str
    workflow: str
    trace: str
    tools: tuple[str, ...]
    findings: tuple[str, ...]
    text: str
    row: str


if _Line.__struct_fields__ != tuple(COLUMNS):  # pragma: no cover - a slip of ours, seen on the first import
    raise AssertionError("an insert has its columns in another order than the table")


def format_rows(rows: Iterable[MaskedRow]) -> bytes:
    """Rows as `JSONCompactEachRow`, one a line."""
    lines = [_line(row) for row in rows]
    try:
        return msgspec.json.Encoder().encode_lines(lines)
    except UnicodeEncodeError:
        return msgspec.json.Encoder().encode_lines([_sound(msgspec.to_builtins(line)) for line in lines])


def parse_row(row: str, text: str) -> MaskedRow:
    """The row that an insert wrote; raises `msgspec.ValidationError` on anything else."""
    values = dict(zip(_MEMBERS, _decode(row), strict=True))
    values["text"] = text
    return msgspec.convert(values, MaskedRow)


def _line(row: MaskedRow) -> _Line:
    values = list(msgspec.structs.astuple(row))
    values[_TEXT] = ""
    try:
        whole = _encode(values).decode()
    except UnicodeEncodeError:
        whole = _encode(_sound(values)).decode()
    tokens_in = _sum(
        row.input_uncached,
        row.cache_read,
        row.cache_write_5m,
        row.cache_write_1h,
        row.cache_write_other,
        row.audio_in,
        row.image,
    )
    tokens_out = _sum(row.output_text, row.reasoning, row.audio_out)
    begin, end = row.received_us, row.last_byte_us
    return _Line(
        row.log,
        row.leaf,
        row.id,
        row.call or "",
        row.type,
        row.time_us,
        row.app or "",
        row.team or "",
        row.environment or "",
        row.provider or "",
        row.model_requested or "",
        row.model_served or "",
        row.data_class or "",
        row.model_served or row.model_requested or "",
        row.outcome or "",
        row.status,
        tokens_in,
        tokens_out,
        _sum(tokens_in, tokens_out),
        None if begin is None or end is None else (end - begin) // 1000,
        row.cost_nano,
        row.currency or "",
        row.cost_state or "",
        row.user or "",
        row.session or "",
        row.app_asserted or "",
        row.team_asserted or "",
        row.prompt or "",
        row.workflow or "",
        row.trace or "",
        row.tools,
        tuple(row.findings),
        row.text,
        whole,
    )


def _sum(*counts: int | None) -> int | None:
    """What was reported, added up; nothing where nothing was."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _sound(value: object) -> object:
    """The same value, in which every string is Unicode that UTF-8 can write."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list | tuple):
        return [_sound(member) for member in value]
    if isinstance(value, dict):
        return {_sound(key): _sound(member) for key, member in value.items()}
    return value
