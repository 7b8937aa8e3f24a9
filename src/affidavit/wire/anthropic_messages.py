"""Anthropic messages: requests, replies, and streams of typed events.

Promise: a reply and the stream of the same answer give the same ``output``; deltas are folded block by block, by index.
Usage in a stream is cumulative: each count of ``message_delta`` replaces the earlier one and is never added to it.
Members are those of the ``anthropic`` package 2.12 (``types``); of a block nothing is left out, whatever members it
has.
"""

from typing import Any, Final

import msgspec

from affidavit.wire import limits
from affidavit.wire.failure import error_of
from affidavit.wire.fields import (
    canonical_of,
    count_of,
    flag_from,
    is_index,
    metadata_hints,
    object_of,
    shallow,
    struct_from,
    text_from,
    text_of,
    value_from,
)
from affidavit.wire.json_text import (
    UNREADABLE,
    Json,
    canonical,
    decode,
    elements,
    members,
    why,
)
from affidavit.wire.request import in_order, joined, named, places_in, read_messages, read_tools, sort_members
from affidavit.wire.values import Problem, RequestMeaning, ResponseMeaning, Usage

_INSTRUCTION_ROLES: Final = frozenset(("system",))
_OWN: Final = frozenset(("model", "messages", "system", "tools", "stream"))
_SAMPLING: Final = named(
    *("cache_control", "context_management", "inference_geo", "max_tokens", "output_config", "output_format"),
    *("service_tier", "speed", "stop_sequences", "temperature", "thinking", "tool_choice", "top_k", "top_p"),
)
_THINKING: Final = frozenset(("thinking", "redacted_thinking"))
_STOP_MEMBERS: Final = ("stop_reason", "stop_sequence", "stop_details")
_SILENT_EVENTS: Final = frozenset(("ping", "content_block_stop"))
_TEXT_DELTAS: Final = {"text_delta": "text", "thinking_delta": "thinking", "compaction_delta": "content"}
_OUTPUT_NESTING_MAX: Final = limits.NESTING_MAX + 4
"""A value that is taken over whole lies at most four levels below the top of ``output``."""


def read_request(body: bytes, *, problems: set[Problem], placed: bool) -> RequestMeaning:
    """Read a sound body; raises one of ``UNREADABLE`` when it is not a JSON object. Spans only where ``placed``."""
    values = members(body)
    places = places_in(body, values=values, problems=problems)
    where = places if placed else {}
    messages = values.get("messages")
    told = read_messages(
        body, raw=messages or b"", start=where.get("messages"), roles=_INSTRUCTION_ROLES, problems=problems
    )
    system = values.get("system", b"null")
    texts = told.texts if system == b"null" else [system, *told.texts]
    system_spans = [] if system == b"null" or "system" not in where else [(where["system"], len(system))]
    tools = values.get("tools")
    tool_count, tool_spans = read_tools(tools, start=where.get("tools"), body=body, problems=problems)
    params, other = sort_members(values, own=_OWN, sampling=_SAMPLING, problems=problems)
    metadata = values.get("metadata")
    user = None
    if metadata is not None and metadata.startswith(b"{"):
        said = value_from(metadata, problems=problems) or {}
        user = text_of(said.get("user_id"), problems=problems, chars_max=limits.USER_HINT_CHARS_MAX) or None
    hints = metadata_hints(metadata, problems=problems)
    container = values.get("container", b"null")
    if container.startswith(b'"'):
        name = text_from(container, problems=problems, chars_max=limits.HINT_CHARS_MAX)
        hints += [] if name is None else [("container", name)]
    return RequestMeaning(
        dialect="anthropic.messages",
        model=text_from(values.get("model"), problems=problems),
        stream=flag_from(values.get("stream"), problems=problems),
        user_hint=user,
        messages=messages,
        system=joined(texts),
        tools=tools,
        params=params,
        other=other,
        message_count=told.count,
        tool_count=tool_count,
        shared_candidates=in_order(system_spans, told.spans, tool_spans),
        conversation_hints=tuple(hints),
        normalisation="partial" if problems else "full",  # Last, since the lines above may add to the problems.
        problems=tuple(sorted(problems)),
    )


class _Message(msgspec.Struct, gc=False):
    """A whole reply, or the message that a stream starts with."""

    type: Any = None
    id: Any = None
    model: Any = None
    role: Any = None
    content: msgspec.Raw = msgspec.Raw()
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    """The data of one stream event, whatever its type."""

    type: Any = None
    message: msgspec.Raw = msgspec.Raw()
    index: Any = None
    content_block: msgspec.Raw = msgspec.Raw()
    delta: Any = None
    usage: Any = None
    error: Any = None


_MESSAGE: Final = msgspec.json.Decoder(_Message, float_hook=str)
_EVENT: Final = msgspec.json.Decoder(_Event, float_hook=str)


class _Block:
    """A content block, gathered from its start and its deltas."""

    __slots__ = ("kind", "members", "pieces")

    def __init__(self, *, kind: str, members_: dict[str, Json]) -> None:
        self.kind = kind
        self.members = members_
        self.pieces: dict[str, list[str]] = {}

    def add(self, delta: dict[str, Json], *, problems: set[Problem]) -> None:
        """Take the next delta."""
        kind = delta.get("type")
        if kind == "input_json_delta":
            self.put("arguments", delta.get("partial_json"), problems=problems)
        elif kind == "signature_delta":
            self.members["signature"] = text_of(
                delta.get("signature"), problems=problems, chars_max=limits.BODY_BYTES_MAX
            )
        elif kind == "citations_delta":
            citation = delta.get("citation")
            if shallow(citation, problems=problems):
                if not isinstance(self.members.get("citations"), list):
                    self.members["citations"] = []
                self.members["citations"].append(citation)
        elif isinstance(kind, str) and kind in _TEXT_DELTAS:
            member = _TEXT_DELTAS[kind]
            self.put(member, delta.get(member), problems=problems)
        else:
            problems.add("member_unknown")

    def put(self, member: str, piece: Json, *, problems: set[Problem]) -> None:
        """Append to a member that comes in pieces."""
        if isinstance(piece, str):
            self.pieces.setdefault(member, []).append(piece)
        elif piece is not None:
            problems.add("member_type")

    def value(self, index: int) -> dict[str, Json]:
        """The block as it stands in ``output`` or ``reasoning``."""
        whole = dict(self.members)
        for member, pieces in self.pieces.items():
            text = "".join(pieces)
            begun = whole.get(member)
            if member == "arguments":
                # The start carries an empty object in place of the arguments that follow.
                whole[member] = text or begun
            else:
                whole[member] = begun + text if isinstance(begun, str) else text
        if "thinking" in whole:
            whole["text"] = whole.pop("thinking")
        whole = {name: value for name, value in whole.items() if value is not None and value != []}
        return whole | {"index": index, "type": self.kind}


class _Fold:
    """A reply or a stream of events, folded into one answer."""

    __slots__ = ("blocks", "error", "id", "model", "problems", "stop", "terminal_seen", "usage")

    def __init__(self, problems: set[Problem]) -> None:
        self.problems = problems
        self.id: str | None = None
        self.model: str | None = None
        self.blocks: dict[int, _Block] = {}
        self.stop: dict[str, Json] = {}
        self.usage: dict[str, Json] | None = None
        self.error: Json = None
        self.terminal_seen = False

    def start(self, message: _Message) -> None:
        """Take a whole reply, or the message that a stream starts with."""
        problems = self.problems
        self.id = text_of(message.id, problems=problems)
        self.model = text_of(message.model, problems=problems)
        self.error = message.error
        self.stop_with({name: getattr(message, name) for name in _STOP_MEMBERS})
        self.count(message.usage)
        content = bytes(message.content)
        if content.startswith(b"["):
            for index, item in enumerate(elements(content)):
                self.start_block(index, bytes(item))
        elif content and content != b"null":
            problems.add("member_type")

    def start_block(self, index: Json, text: bytes) -> None:
        """Take a block, whole or as it starts."""
        problems = self.problems
        if not is_index(index, problems=problems):
            return
        if len(self.blocks) >= limits.BLOCKS_MAX and index not in self.blocks:
            problems.add("too_many_items")
            return
        try:
            value = decode(text)
        except UNREADABLE as failure:
            problems.add(why(failure))
            return
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            problems.add("block_malformed")
            return
        kind: str = value.pop("type")
        if "input" in value:
            # The arguments are kept as the model wrote them, so their text is taken and not their value.
            del value["input"]
            value["arguments"] = members(text)["input"].decode()
        if not shallow(value, problems=problems):
            return
        if len(kind) > limits.IDENTIFIER_CHARS_MAX:
            problems.add("member_too_long")
            return
        self.blocks[index] = _Block(kind=kind, members_=value)

    def stop_with(self, said: dict[str, Json]) -> None:
        """Take what is said about why the answer stopped."""
        for name in _STOP_MEMBERS:
            if said.get(name) is not None:
                self.stop[name] = said[name]

    def count(self, usage: Json) -> None:
        """Take cumulative counts."""
        if usage is None:
            return
        counts = object_of(usage, problems=self.problems)
        if self.usage is None:
            self.usage = {}
        self.usage.update({name: value for name, value in counts.items() if value is not None})

    def add(self, event: _Event) -> None:
        """Take the next stream event."""
        problems = self.problems
        kind = event.type
        if kind == "content_block_delta":
            block = self.blocks.get(event.index) if type(event.index) is int else None
            if block is None:
                problems.add("block_malformed")
            elif isinstance(event.delta, dict):
                block.add(event.delta, problems=problems)
            else:
                problems.add("member_type")
        elif kind == "content_block_start":
            self.start_block(event.index, bytes(event.content_block))
        elif kind == "message_start":
            self.start(struct_from(_MESSAGE, event.message, problems=problems))
        elif kind == "message_delta":
            self.stop_with(object_of(event.delta, problems=problems))
            self.count(event.usage)
        elif kind == "message_stop":
            self.terminal_seen = True
        elif kind == "error":
            self.error = {} if event.error is None else event.error
            self.terminal_seen = True
        elif not isinstance(kind, str) or kind not in _SILENT_EVENTS:
            problems.add("event_unknown")

    def meaning(self, *, stream: bool) -> ResponseMeaning:
        """The answer as far as it came."""
        problems = self.problems
        blocks = sorted(self.blocks.items())
        output = [block.value(index) for index, block in blocks if block.kind not in _THINKING]
        reasoning = [block.value(index) for index, block in blocks if block.kind in _THINKING]
        said = self.usage or {}
        finish = text_of(self.stop.get("stop_reason"), problems=problems)
        error = None if self.error is None else error_of(self.error, problems=problems)
        return ResponseMeaning(
            dialect="anthropic.messages",
            provider_id=self.id,
            model_served=self.model,
            service_tier=text_of(said.get("service_tier"), problems=problems),
            region=text_of(said.get("inference_geo"), problems=problems),
            output=canonical(output, nesting_max=_OUTPUT_NESTING_MAX) if output else None,
            reasoning=canonical(reasoning, nesting_max=_OUTPUT_NESTING_MAX) if reasoning else None,
            finish=() if finish is None else (finish,),
            stop_sequence=text_of(
                self.stop.get("stop_sequence"), problems=problems, chars_max=limits.ERROR_MESSAGE_CHARS_MAX
            ),
            stop_details=canonical_of(self.stop.get("stop_details"), problems=problems),
            usage=usage_of(self.usage, problems=problems),
            error=error,
            stream=stream,
            terminal_seen=self.terminal_seen,
            tool_call_count=sum(block.kind.endswith("tool_use") for _, block in blocks),
            normalisation="partial" if problems else "full",
            problems=tuple(sorted(problems)),
        )


def read_reply(body: bytes, *, problems: set[Problem]) -> ResponseMeaning:
    """Read a whole sound reply; raises one of ``UNREADABLE`` when it is not a JSON object."""
    fold = _Fold(problems)
    fold.terminal_seen = True
    fold.start(struct_from(_MESSAGE, body, problems=problems))
    return fold.meaning(stream=False)


def read_stream(events: list[tuple[bytes, bytes]], *, problems: set[Problem]) -> ResponseMeaning:
    """Read the events of a sound stream."""
    fold = _Fold(problems)
    for event_type, data in events:
        if fold.terminal_seen:
            problems.add("events_after_terminal")
            break
        try:
            event = struct_from(_EVENT, data, problems=problems)
            if event.type is None:
                event.type = event_type.decode(errors="replace")
            fold.add(event)
        except UNREADABLE:
            problems.add("event_malformed")
            if event_type == b"error":
                fold.add(_Event(type="error", error=data.decode(errors="replace")))
    return fold.meaning(stream=True)


def usage_of(value: Json, *, problems: set[Problem]) -> Usage | None:
    """Put Anthropic's counts into buckets: ``input_tokens`` leaves out what was read from or written to the cache.

    Cache writes are given in total and, by newer models, by lifetime as well; what the lifetimes do not cover has none.
    """
    if value is None:
        return None
    counts = object_of(value, problems=problems)
    lifetimes = object_of(counts.get("cache_creation"), problems=problems)
    details = object_of(counts.get("output_tokens_details"), problems=problems)
    written_5m = count_of(lifetimes.get("ephemeral_5m_input_tokens"), problems=problems)
    written_1h = count_of(lifetimes.get("ephemeral_1h_input_tokens"), problems=problems)
    written = count_of(counts.get("cache_creation_input_tokens"), problems=problems)
    if written is not None and (written_5m is not None or written_1h is not None):
        written -= (written_5m or 0) + (written_1h or 0)
        if written < 0:
            problems.add("usage_inconsistent")
        if written <= 0:
            written = None
    output = count_of(counts.get("output_tokens"), problems=problems)
    thinking = count_of(details.get("thinking_tokens"), problems=problems)
    if output is not None and thinking is not None:
        if thinking > output:
            problems.add("usage_inconsistent")
            thinking = output
        output -= thinking
    return Usage(
        input_uncached=count_of(counts.get("input_tokens"), problems=problems),
        cache_read=count_of(counts.get("cache_read_input_tokens"), problems=problems),
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        cache_write_other=written,
        output_text=output,
        reasoning=thinking,
        raw=canonical_of(counts, problems=problems),
    )
