"""Anthropic messages, as the provider documents them: whole, as a stream, and in error.

Formats: the API reference of messages, its streaming and its errors. Texts of errors are ours.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from affidavit.demo.simulator.answer import JSON_TYPE, Answer, Request, Stream, Whole
from affidavit.demo.simulator.script import Script
from affidavit.demo.simulator.turn import Question, Tool, Turn, compose, cut, input_tokens, pieces
from affidavit.demo.simulator.wish import Wish

CACHED_TOKENS_MIN: Final = 1024
"""Shorter prefixes are not cached, whatever is marked."""
MESSAGE_TOKENS: Final = 4
"""What a message costs beside its text."""
TOOLS_AT_ONCE_MAX: Final = 8
SERVED: Final = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
"""An alias is answered by a dated model; any other name answers for itself."""
_LIMITS: Final = b"anthropic-ratelimit-requests-limit: 1000\r\nanthropic-ratelimit-requests-remaining: 999\r\n"
_HEADERS: Final = JSON_TYPE + b"anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\n"

Role = Literal["user", "assistant", "system"]


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    content: str | list[_Block] | None = None
    cache_control: dict[str, Any] | None = None

    @property
    def whole_text(self) -> str:
        """Its text, or that of a tool's result."""
        return self.text or _text(self.content)


_Content = str | list[_Block]


class _Message(msgspec.Struct, frozen=True):
    role: Role
    content: _Content


class _Tool(msgspec.Struct, frozen=True):
    name: str
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict)


class _Choice(msgspec.Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _Thinking(msgspec.Struct, frozen=True):
    type: str


class _Ask(msgspec.Struct, frozen=True):
    model: str
    max_tokens: int
    messages: msgspec.Raw
    system: _Content | None = None
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    stop_sequences: list[str] | None = None
    thinking: _Thinking | None = None


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, ready to be written in either form."""

    id: str
    model: str
    content: list[dict[str, Any]]
    stop: dict[str, Any]
    """`stop_reason`, `stop_sequence` and, where declined, `stop_details`."""
    usage: dict[str, Any]


_ask_decoder = msgspec.json.Decoder(_Ask)
_messages_decoder = msgspec.json.Decoder(list[_Message])
_encode = msgspec.json.Encoder().encode


def request_headers(request_id: str) -> bytes:
    """The provider's own header lines of every answer."""
    return b"request-id: %b\r\n" % request_id.encode() + _LIMITS


def answer(request: Request, *, wish: Wish, script: Script, unscripted: Literal["compose", "refuse"]) -> Answer:
    """Answer one message."""
    if request.credential is None:
        return failure(request, 401, message="No key was given. Send one in x-api-key.")
    if wish.error is not None:
        return failure(request, wish.error)
    if request.version is None:
        return failure(request, 400, message="The header anthropic-version is missing.")
    try:
        ask = _ask_decoder.decode(request.body)
        messages = _messages_decoder.decode(ask.messages)
    except msgspec.ValidationError as error:
        return failure(request, 400, message=f"The request is not a message: {error}.")
    except msgspec.DecodeError:
        return failure(request, 400, message="The body of the request is not JSON.")
    if not messages:
        return failure(request, 400, message="messages: at least one is required.")
    if ask.max_tokens < 1:
        return failure(request, 400, message="max_tokens: must be at least 1.")
    turn = script.turn_after(bytes(ask.messages))
    if turn is None:
        if unscripted == "refuse":
            return failure(request, 400, message="No recorded turn follows these messages.")
        turn = compose(_question(ask, messages), words=wish.words, refusal=wish.refusal)
    reply = _reply(ask, messages, turn=turn, digest=request.digest)
    if ask.stream:
        return Stream(_events(reply), _event("error", _error(request, 529, message=None)))
    return Whole(200, _encode(_message(reply)), _HEADERS)


def failure(request: Request, status: int, *, message: str | None = None) -> Whole:
    """An error as the provider words its members."""
    retry = b"retry-after: 1\r\n" if status == 429 else b""  # noqa: PLR2004 - Too Many Requests
    return Whole(status, _encode(_error(request, status, message=message)), _HEADERS + retry)


_ERRORS: Final = {
    400: ("invalid_request_error", "The request cannot be understood."),
    401: ("authentication_error", "The key is not valid."),
    402: ("billing_error", "There is a problem with the bill."),
    403: ("permission_error", "This is not permitted."),
    404: ("not_found_error", "There is nothing under this address."),
    413: ("request_too_large", "The request is too large."),
    429: ("rate_limit_error", "Too many requests came in too short a time."),
    500: ("api_error", "The simulated server failed."),
    504: ("timeout_error", "The simulated server took too long."),
    529: ("overloaded_error", "The simulated server is overloaded."),
}


def _error(request: Request, status: int, *, message: str | None) -> dict[str, Any]:
    kind, usual = _ERRORS.get(status, _ERRORS[500 if status >= 500 else 400])  # noqa: PLR2004 - server errors begin there
    return {"type": "error", "error": {"type": kind, "message": message or usual}, "request_id": request.id}


def _text(content: _Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join([block.whole_text for block in content])


def _question(ask: _Ask, messages: Sequence[_Message]) -> Question:
    results: list[str] = []
    text = ""
    for message in reversed(messages):
        if message.role != "user":
            continue
        blocks = [] if isinstance(message.content, str) else message.content
        given = [block.whole_text for block in blocks if block.type == "tool_result"]
        text = message.content if isinstance(message.content, str) else "".join(block.text for block in blocks)
        results += reversed(given)
        if text or not given:
            break
    choice = ask.tool_choice
    tools = [] if choice is not None and choice.type == "none" else ask.tools or []
    demanded = None
    if choice is not None and choice.type in {"any", "tool"}:
        demanded = choice.name or "*"
    return Question(
        text=text,
        results=tuple(reversed(results)),
        tools=tuple(Tool(name=tool.name, schema=tool.input_schema) for tool in tools),
        demanded=demanded,
        parallel=1 if choice is not None and choice.disable_parallel_tool_use else TOOLS_AT_ONCE_MAX,
        reasons=int(ask.thinking is not None and ask.thinking.type != "disabled"),
    )


def _reply(ask: _Ask, messages: Sequence[_Message], *, turn: Turn, digest: bytes) -> _Reply:
    hexdigest = digest.hex()
    content: list[dict[str, Any]] = []
    stop: dict[str, Any] = {"stop_reason": "end_turn", "stop_sequence": None}
    output = thinking = 0
    if turn.reasoning is not None:
        signature = b64encode(digest).decode()
        content.append({"type": "thinking", "thinking": turn.reasoning, "signature": signature})
        output = thinking = len(pieces(turn.reasoning))
    if turn.text is not None:
        text, met, too_long = cut(turn.text, stop=ask.stop_sequences or (), tokens_max=ask.max_tokens)
        content.append({"type": "text", "text": text})
        output += len(pieces(text))
        if too_long:
            stop["stop_reason"] = "max_tokens"
        elif met is not None:
            stop = {"stop_reason": "stop_sequence", "stop_sequence": met}
    for index, call in enumerate(turn.calls):
        call_id = call.id or f"toolu_01{hexdigest[:18]}{index:04x}"
        block = {"type": "tool_use", "id": call_id, "name": call.name, "input": msgspec.Raw(call.arguments.encode())}
        content.append(block)
        output += input_tokens(len(call.name) + len(call.arguments))
        stop["stop_reason"] = "tool_use"
    if turn.refusal is not None:
        details = {"type": "refusal", "category": None, "explanation": turn.refusal}
        stop = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    return _Reply(
        id=f"msg_01{hexdigest[:22]}",
        model=SERVED.get(ask.model, ask.model),
        content=content,
        stop=stop,
        usage=_usage(ask, messages, output=output, thinking=thinking),
    )


def _usage(ask: _Ask, messages: Sequence[_Message], *, output: int, thinking: int) -> dict[str, Any]:
    fixed = input_tokens(len(_text(ask.system))) + (0 if ask.tools is None else input_tokens(len(_encode(ask.tools))))
    said = sum(MESSAGE_TOKENS + input_tokens(len(_text(message.content))) for message in messages)
    marks = [block.cache_control for block in ask.system or () if isinstance(block, _Block) and block.cache_control]
    cached = fixed if marks and fixed >= CACHED_TOKENS_MIN else 0
    # Whatever follows an answer was preceded by a request with the same system prompt, which is in the cache by now.
    was_read = any(message.role == "assistant" for message in messages)
    written = 0 if was_read else cached
    for_an_hour = bool(marks) and marks[-1].get("ttl") == "1h"
    return {
        "input_tokens": fixed - cached + said,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached if was_read else 0,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if for_an_hour else written,
            "ephemeral_1h_input_tokens": written if for_an_hour else 0,
        },
        "output_tokens": max(output, 1),
        "output_tokens_details": {"thinking_tokens": thinking},
        "service_tier": "standard",
    }


def _message(reply: _Reply) -> dict[str, Any]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": reply.content,
        **reply.stop,
        "usage": reply.usage,
    }


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(data))


def _events(reply: _Reply) -> list[bytes]:
    start = _message(reply) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start.pop("stop_details", None)
    start["usage"] = {name: value for name, value in reply.usage.items() if name != "output_tokens_details"} | {
        "output_tokens": 1
    }
    events = [_event("message_start", {"type": "message_start", "message": start})]
    for index, block in enumerate(reply.content):
        begun, deltas = _block_events(block)
        events.append(
            _event("content_block_start", {"type": "content_block_start", "index": index, "content_block": begun})
        )
        if index == 0:
            events.append(_event("ping", {"type": "ping"}))
        events += [
            _event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
            for delta in deltas
        ]
        events.append(_event("content_block_stop", {"type": "content_block_stop", "index": index}))
    usage = {name: value for name, value in reply.usage.items() if name not in {"cache_creation", "service_tier"}}
    events.append(_event("message_delta", {"type": "message_delta", "delta": reply.stop, "usage": usage}))
    events.append(_event("message_stop", {"type": "message_stop"}))
    return events


def _block_events(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and the deltas that complete it."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        deltas: list[dict[str, Any]] = [
            {"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])
        ]
        return block | {"thinking": "", "signature": ""}, [
            *deltas,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    arguments = bytes(block["input"]).decode()
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(arguments))]
    return block | {"input": {}}, deltas
