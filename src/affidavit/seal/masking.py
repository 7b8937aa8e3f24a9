"""From a record in clear to what followers and readers get of it: header values, who and where, masked text.

Promise: of what a client or a provider said, only text that passed the masker leaves; where it did not pass, or the
project asks for more than this version has, the row says `pending` and holds no text. No record makes this raise. It
holds no key that opens anything: the key that it is given makes placeholders.

Text of a row is what its record *added*: for a request the strings of the bytes that no earlier record owns, for an
answer its content put together, since a stream cuts words and numbers into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from affidavit.config import Masking
from affidavit.event import ACCESS_READ, ACCESS_SEARCH, CONTENT_SHARED, LLM_REQUEST, LLM_RESPONSE
from affidavit.mask import Masked, Masker, MaskSilentError
from affidavit.seal.masked import MaskedRow
from affidavit.seal.slots import (
    CAPTURE_NAMES,
    COST_NAMES,
    COUNTS_NAMES,
    TIMES_NAMES,
    USAGE_NAMES,
    HeaderValues,
    unpack_header,
)
from affidavit.seal.unmasked import Unmasked
from affidavit.wire.json_text import UNREADABLE, check
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.texts import NAME, Said, said_in
from affidavit.wire.values import Dialect, RequestMeaning, ResponseMeaning

TEXT_CHARS_MAX: Final = 1 << 20
"""Characters of a record that are masked for a row. A novel has half of it; what lies behind stays in the record."""
OVERHANG_CHARS: Final = 4_096
"""Masked together with a cut text and mostly thrown away: longer than anything that is found."""
CONTENT_BYTES_MAX: Final = 16 << 20
"""Bytes of a record that are masked to be shown; a larger one is for a program, and has its exact bytes."""
NAME_CHARS_MAX: Final = 1_024
"""Characters of a name that a caller gave."""
_PLAIN: Final = frozenset(
    ("", "content", "text", "arguments", "description", "refusal", "thinking", "input", "output", "value", "name")
)
"""Members whose name says nothing of their value."""
NAMES_MAX: Final = 8_192
"""Names that are masked once."""
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_PRINCIPAL: Final = frozenset({"EMAIL", "PHONE"})
"""What the name of a caller may be: people are known by them, and are to be found by them."""


class _Identity(msgspec.Struct, gc=False):
    user: str | None = None
    session: str | None = None
    app: str | None = None
    team: str | None = None
    key: str | None = None
    prompt: str | None = None
    workflow: str | None = None
    trace: str | None = None


class _Context(msgspec.Struct, gc=False):
    client_ip: str | None = None
    user_agent: str | None = None
    view: str | None = None
    log: str | None = None
    leaves: tuple[tuple[int, int], ...] = ()
    query: str | None = None


class _Meta(msgspec.Struct, gc=False):
    content: tuple[str, str] = ("", "")
    identity: _Identity = msgspec.field(default_factory=_Identity)
    context: _Context = msgspec.field(default_factory=_Context)
    http: msgspec.Raw = msgspec.Raw(b"null")


class _Http(msgspec.Struct, gc=False):
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


_meta = msgspec.json.Decoder(_Meta)
_http = msgspec.json.Decoder(_Http | None)
_value = msgspec.json.Decoder(Any, float_hook=str)


class _Text(NamedTuple):
    """Masked text of a record, its strings one a line, and what was found in it."""

    text: str
    findings: dict[str, int]


def _masked_text(said: list[Said], masker: Masker, *, is_cut: int) -> _Text:
    """Mask the strings of a record within the bound: those of plain members together, the others each with its name."""
    plain = [one.text for one in said if one.member in _PLAIN]
    masked = iter(masker.mask_all(plain))
    parts: list[str] = []
    findings: dict[str, int] = {}
    for one in said:
        if one.member in _PLAIN:
            text, found = msgspec.structs.astuple(next(masked))
        else:
            # The name of a member says what its value is: `{"ssn": "…"}`.
            json = masker.mask_json({one.member: one.text})
            (text,), found = json.value.values(), json.findings
        parts.append(text)
        for kind, count in found.items():
            findings[kind] = findings.get(kind, 0) + count
    if is_cut:
        # Whatever the cut divides lies at the very end of what was masked, whether that grew or shrank.
        parts[-1] = parts[-1][:-OVERHANG_CHARS]
    return _Text("\n".join(parts)[:TEXT_CHARS_MAX], findings)


def _within_bound(said: Iterable[Said]) -> tuple[list[Said], int]:
    """The first strings, `TEXT_CHARS_MAX` characters of them and a bit more of the last; whether that one was cut."""
    kept: list[Said] = []
    left = TEXT_CHARS_MAX
    for one in said:
        if len(one.text) > left:
            kept.append(Said(one.member, one.text[: left + OVERHANG_CHARS]))
            return kept, 1
        kept.append(one)
        left -= len(one.text)
    return kept, 0


def masked_row(item: Unmasked, *, log: str, masker: Masker, masking: Masking) -> MaskedRow:
    """What followers get of one record."""
    members = _header_members(item)
    meta, intent = _meta_of(item.meta), _meta_of(item.intent)
    caller = intent if item.type == LLM_RESPONSE else meta
    try:
        members |= _caller_members(caller, members, masker)
        if item.type in {ACCESS_READ, ACCESS_SEARCH}:
            members |= {"view": meta.context.view, "opened_log": meta.context.log, "opened": meta.context.leaves}
        members |= _text_members(item, meta, dialect=members.get("dialect"), masker=masker, masking=masking)
    except MaskSilentError:
        # The scanner did not find what it must find, so nothing that it looked at counts as masked.
        members = _header_members(item) | {"mask_state": "pending"}
    return MaskedRow(
        log=log,
        leaf=item.leaf,
        id=item.id,
        call=item.id if item.type == LLM_REQUEST else item.call,
        type=item.type,
        time_us=item.time_us,
        cites=item.cites,
        body_state=item.body_state,  # type: ignore[arg-type]  # the sealer's own word
        **members,
    )


UNREAD: Final = {"state": "pending"}
"""Content of a record that a defect of ours keeps from being read."""


def unread_row(item: Unmasked, *, log: str) -> MaskedRow:
    """The row of a record that a defect of ours keeps from being read: its place in the log, and nothing else."""
    return MaskedRow(log=log, leaf=item.leaf, id=item.id, type=item.type, time_us=item.time_us, mask_state="pending")


def masked_content(item: Unmasked, *, masker: Masker, masking: Masking) -> dict[str, Any]:
    """What a reader gets of one whole record: its parts as JSON, every string and number in them masked.

    `state` is that of `MaskedRow.mask_state`, or `too_large`; the parts are there only where it is `structured`.
    """
    members = _header_members(item)
    meta = _meta_of(item.meta)
    if item.body_state != "open":
        return {"state": "none"}
    if len(item.wire) > CONTENT_BYTES_MAX:
        return {"state": "too_large"}
    if masking == "full":
        return {"state": "pending"}
    parts = _parts(item, meta, dialect=members.get("dialect"))
    if parts is None:
        return {"state": "pending"}
    try:
        return {
            "state": "structured",
            **{name: masker.mask_json(_value.decode(raw)).value for name, raw in parts.items()},
        }
    except (MaskSilentError, *UNREADABLE):
        return {"state": "pending"}


# --- header -----------------------------------------------------------------------------------------------------------


def _header_members(item: Unmasked) -> dict[str, Any]:
    if not item.header:
        return {}
    values: HeaderValues = unpack_header(item.header)
    members: dict[str, Any] = {
        "app": values.app,
        "team": values.team,
        "environment": values.environment,
        "provider": values.provider,
        "model_requested": values.model[0],
        "model_served": values.model[1],
        "data_class": values.data_class,
        "policy": values.policy,
    }
    if values.outcome is not None:
        outcome, status, finish, stream = values.outcome
        members |= {"outcome": outcome, "status": status, "finish": finish, "stream": bool(stream)}
    if values.usage is not None:
        members |= zip(USAGE_NAMES, values.usage, strict=True)
    if values.cost is not None:
        members |= zip(COST_NAMES, values.cost, strict=True)
    members |= zip(COUNTS_NAMES, values.counts, strict=True)
    if values.capture is not None:
        members |= zip(CAPTURE_NAMES, values.capture, strict=True)
    if values.actor is not None:
        members["actor"], members["identity_assurance"] = values.actor
    for name, offset in zip(TIMES_NAMES, values.times, strict=False):
        members[name] = None if offset is None else item.time_us + offset
    return members


# --- who and where ----------------------------------------------------------------------------------------------------


def _meta_of(data: bytes) -> _Meta:
    try:
        return _meta.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Meta()  # an unreadable record, kept as it stands: it says nothing of anybody


def _caller_members(meta: _Meta, known: dict[str, Any], masker: Masker) -> dict[str, Any]:
    identity, context = meta.identity, meta.context
    named: dict[str, Any] = {
        "user": _principal(identity.user, masker),
        "key": identity.key,
        "client_ip": context.client_ip,
        "session": _name(identity.session, masker),
        "user_agent": _name(context.user_agent, masker),
        "prompt": _name(identity.prompt, masker),
        "workflow": _name(identity.workflow, masker),
        "trace": _name(identity.trace, masker) or _trace(meta),
    }
    if identity.app != known.get("app"):
        named["app_asserted"] = _name(identity.app, masker)
    if identity.team != known.get("team"):
        named["team_asserted"] = _name(identity.team, masker)
    return named


@lru_cache(NAMES_MAX)
def _masked_name(name: str, masker: Masker) -> Masked:
    """The same few names come with every call."""
    return masker.mask(name)


def _name(name: str | None, masker: Masker) -> str | None:
    return None if name is None else _masked_name(name, masker).text[:NAME_CHARS_MAX]


def _principal(name: str | None, masker: Masker) -> str | None:
    """A caller's own name: an address or a number by which they are known stays, what else is found does not."""
    if name is None:
        return None
    masked = _masked_name(name, masker)
    return (name if masked.findings.keys() <= _PRINCIPAL else masked.text)[:NAME_CHARS_MAX]


def _trace(meta: _Meta) -> str | None:
    """The trace of W3C trace context, where the client sent one."""
    raw = bytes(meta.http)
    if b"raceparent" not in raw:
        return None
    try:
        http = _http.decode(raw)
    except msgspec.MsgspecError:
        return None
    for name, value in http.headers if http is not None else ():
        if name.lower() == "traceparent":
            found = _TRACEPARENT.fullmatch(value.strip())
            return None if found is None else found[1]
    return None


# --- text -------------------------------------------------------------------------------------------------------------


def _text_members(
    item: Unmasked, meta: _Meta, *, dialect: Dialect | None, masker: Masker, masking: Masking
) -> dict[str, Any]:
    if item.body_state != "open":
        return {}
    said: list[Said] | None
    tools: tuple[str, ...] = ()
    if item.type in {ACCESS_READ, ACCESS_SEARCH}:
        said = [Said("", meta.context.query)] if meta.context.query else []
    else:
        said, tools = _said(item, meta, dialect=dialect, masker=masker)
    if said is None or (masking == "full" and said):
        return {"mask_state": "pending"}
    if not said:
        return {"tools": tools}
    kept, is_cut = _within_bound(said)
    text, findings = _masked_text(kept, masker, is_cut=is_cut)
    return {"mask_state": "structured", "text": text, "findings": findings, "tools": tools}


def _said(
    item: Unmasked, meta: _Meta, *, dialect: Dialect | None, masker: Masker
) -> tuple[list[Said] | None, tuple[str, ...]]:
    """`(strings, names of tools called)`; no strings where the bytes cannot be read as text."""
    if item.type == LLM_RESPONSE:
        answer = _answer(item, meta, dialect)
        if answer.normalisation != "unparsed":
            return _said_in_answer(answer, masker)
    elif item.type == LLM_REQUEST and meta.content[1]:
        request = _request(item, meta, dialect)
        if request.normalisation == "unparsed":
            return None, ()
        raws = (request.messages, request.system, request.tools, request.params, request.other)
        return [said for raw in raws if raw is not None for said in said_in(raw)], ()
    if not item.wire:
        return [], ()
    if not _is_json(item.wire):
        return None, ()
    return list(said_in(item.wire, added=item.added)), ()


def _said_in_answer(answer: ResponseMeaning, masker: Masker) -> tuple[list[Said], tuple[str, ...]]:
    strings: list[Said] = []
    tools: list[str] = []
    for raw in (answer.output, answer.reasoning):
        for said in said_in(raw) if raw is not None else ():
            strings.append(said)
            if said.member == NAME:
                tools.append(masker.mask(said.text).text[:NAME_CHARS_MAX])
    if answer.error is not None and answer.error.message:
        strings.append(Said("text", answer.error.message))
    return strings, tuple(dict.fromkeys(tools))


def _parts(item: Unmasked, meta: _Meta, *, dialect: Dialect | None) -> dict[str, bytes] | None:
    """JSON of the parts of a whole record, by name; ``None`` where its bytes cannot be read."""
    parts: dict[str, bytes | None]
    if item.type == LLM_RESPONSE:
        answer = _answer(item, meta, dialect)
        if answer.normalisation == "unparsed":
            return _as_it_stands(item, "content")
        error = None if answer.error is None else msgspec.json.encode(answer.error)
        parts = {"output": answer.output, "reasoning": answer.reasoning, "error": error}
    elif item.type == LLM_REQUEST:
        request = _request(item, meta, dialect)
        if request.normalisation == "unparsed":
            return _as_it_stands(item, "content")
        # Of OpenAI's dialect the system prompt is a message like others.
        system = request.system if dialect == "anthropic.messages" else None
        parts = {"system": system, "messages": request.messages, "tools": request.tools}
        parts |= {"params": request.params, "other": request.other}
    elif item.type in {ACCESS_READ, ACCESS_SEARCH}:
        parts = {"query": msgspec.json.encode(meta.context.query) if meta.context.query else None}
    else:
        return _as_it_stands(item, "value" if item.type == CONTENT_SHARED else "content")
    return {name: raw for name, raw in parts.items() if raw is not None}


def _as_it_stands(item: Unmasked, name: str) -> dict[str, bytes] | None:
    if not item.wire:
        return {}
    return {name: item.wire} if _is_json(item.wire) else None


def _answer(item: Unmasked, meta: _Meta, dialect: Dialect | None) -> ResponseMeaning:
    try:
        http = _http.decode(meta.http)
    except msgspec.MsgspecError:
        http = None
    media_type, encoding = meta.content
    return read_response(
        dialect=dialect or "unknown",
        status=(http.status if http is not None else None) or 0,
        content_type=media_type,
        content_encoding=encoding,
        body=item.wire,
    )


def _request(item: Unmasked, meta: _Meta, dialect: Dialect | None) -> RequestMeaning:
    media_type, encoding = meta.content
    return read_request(
        dialect=dialect or "unknown", content_type=media_type, content_encoding=encoding, body=item.wire
    )


def _is_json(data: bytes) -> bool:
    try:
        check(data)
    except UNREADABLE:
        return False
    return True
