"""OpenAI chat completions, as the provider documents them: whole, as a stream, and in error.

Formats: the API reference of chat completions and its streaming, and the error codes guide. Texts of errors are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from affidavit.demo.simulator.answer import JSON_TYPE, Answer, Request, Stream, Whole
from affidavit.demo.simulator.script import Script
from affidavit.demo.simulator.turn import Question, Tool, Turn, compose, cut, input_tokens, pieces
from affidavit.demo.simulator.wish import Wish

CREATED_S: Final = 1_750_000_000
"""An answer is a function of the request, so its time is always this one."""
CHOICES_MAX: Final = 128
CACHED_TOKENS_MIN: Final = 1024
CACHED_TOKENS_STEP: Final = 128
"""Prompts from 1,024 tokens on are cached, in steps of 128."""
MESSAGE_TOKENS: Final = 4
"""What a message costs beside its text."""
SERVED: Final = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
}
"""An alias is answered by a dated model; any other name answers for itself."""
_FINGERPRINT: Final = "fp_simulated"
_REASONING_TOKENS: Final = {"minimal": 8, "low": 32, "medium": 64, "high": 128}
_DONE: Final = b"data: [DONE]\n\n"
_HEADERS: Final = JSON_TYPE + b"openai-version: 2020-10-01\r\nopenai-processing-ms: 1\r\n"

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str = ""


class _Message(msgspec.Struct, frozen=True):
    role: Role
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        content = self.content
        if content is None or isinstance(content, str):
            return content or ""
        return "".join([part.text for part in content])


class _Function(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class _Tool(msgspec.Struct, frozen=True):
    type: str
    function: _Function | None = None


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Choice(msgspec.Struct, frozen=True):
    function: _Named | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _AnswerSchema(msgspec.Struct, frozen=True):
    schema: dict[str, Any] = msgspec.field(default_factory=dict)


class _Format(msgspec.Struct, frozen=True):
    type: str
    json_schema: _AnswerSchema | None = None


class _Chat(msgspec.Struct, frozen=True):
    model: str
    messages: msgspec.Raw
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    reasoning_effort: str | None = None
    response_format: _Format | None = None


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, ready to be written in either form."""

    id: str
    model: str
    choices: int
    text: str | None
    refusal: str | None
    tool_calls: list[dict[str, Any]]
    finish: str
    usage: dict[str, Any]
    with_logprobs: int


_chat_decoder = msgspec.json.Decoder(_Chat)
_messages_decoder = msgspec.json.Decoder(list[_Message])
_encode = msgspec.json.Encoder().encode


def request_headers(request_id: str) -> bytes:
    """The provider's own header lines of every answer."""
    return b"x-request-id: %b\r\nx-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n" % (
        request_id.encode()
    )


def answer(request: Request, *, wish: Wish, script: Script, unscripted: Literal["compose", "refuse"]) -> Answer:
    """Answer one chat completion."""
    if request.credential is None:
        return failure(request, 401, message="No API key was given. Send one in an Authorization header.", code=None)
    if wish.error is not None:
        return failure(request, wish.error)
    try:
        chat = _chat_decoder.decode(request.body)
        messages = _messages_decoder.decode(chat.messages)
    except msgspec.ValidationError as error:
        return failure(request, 400, message=f"The request is not a chat completion: {error}.")
    except msgspec.DecodeError:
        return failure(request, 400, message="The body of the request is not JSON.")
    if not messages:
        return failure(request, 400, message="The array of messages is empty.", param="messages", code="empty_array")
    if chat.n is not None and not 1 <= chat.n <= CHOICES_MAX:
        return failure(request, 400, message=f"n must be between 1 and {CHOICES_MAX}.", param="n")
    turn = script.turn_after(bytes(chat.messages))
    if turn is None:
        if unscripted == "refuse":
            return failure(request, 400, message="No recorded turn follows these messages.", code="no_recorded_turn")
        turn = compose(_question(chat, messages), words=wish.words, refusal=wish.refusal)
    reply = _reply(chat, messages, turn=turn, digest=request.digest)
    if not chat.stream:
        return Whole(200, _whole(reply), _HEADERS)
    include_usage = chat.stream_options is not None and chat.stream_options.include_usage
    events = _events(reply, usage_asked_for=int(include_usage))
    return Stream(events, b"data: %b\n\n" % _error_body(500, message=None, param=None, code=None))


def failure(
    request: Request, status: int, *, message: str | None = None, param: str | None = None, code: str | None = "-"
) -> Whole:
    """An error as the provider words its members."""
    del request  # this provider names it in a header only
    retry = b"retry-after: 1\r\nretry-after-ms: 100\r\n" if status == 429 else b""  # noqa: PLR2004 - Too Many Requests
    return Whole(status, _error_body(status, message=message, param=param, code=code), _HEADERS + retry)


_ERRORS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request cannot be understood."),
    401: ("invalid_request_error", "invalid_api_key", "The API key is not valid."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "This is not permitted."),
    404: ("invalid_request_error", "unknown_url", "There is nothing under this address."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Too many requests came in too short a time."),
    500: ("server_error", None, "The simulated server failed."),
    503: ("server_error", None, "The simulated server is overloaded."),
}


def _error_body(status: int, *, message: str | None, param: str | None, code: str | None) -> bytes:
    kind, usual_code, usual_message = _ERRORS.get(status, _ERRORS[500 if status >= 500 else 400])  # noqa: PLR2004 - server errors begin there
    return _encode(
        {
            "error": {
                "message": message or usual_message,
                "type": kind,
                "param": param,
                "code": usual_code if code == "-" else code,
            }
        }
    )


def _question(chat: _Chat, messages: Sequence[_Message]) -> Question:
    results: list[str] = []
    text = ""
    for message in reversed(messages):
        if message.role in {"tool", "function"} and not text:
            results.append(message.text)
        elif message.role == "user":
            text = message.text
            break
    demanded = None
    tools = chat.tools or []
    if isinstance(chat.tool_choice, _Choice) and chat.tool_choice.function is not None:
        demanded = chat.tool_choice.function.name
    elif chat.tool_choice == "required":
        demanded = "*"
    elif chat.tool_choice == "none":
        tools = []
    schema: dict[str, Any] | None = None
    if chat.response_format is not None and chat.response_format.type == "json_schema":
        schema = chat.response_format.json_schema.schema if chat.response_format.json_schema else {}
    elif chat.response_format is not None and chat.response_format.type == "json_object":
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    return Question(
        text=text,
        results=tuple(reversed(results)),
        tools=tuple(
            Tool(name=tool.function.name, schema=tool.function.parameters)
            for tool in tools
            if tool.function is not None
        ),
        demanded=demanded,
        parallel=1 if chat.parallel_tool_calls is False else len(tools),
        answer_schema=schema,
    )


def _reply(chat: _Chat, messages: Sequence[_Message], *, turn: Turn, digest: bytes) -> _Reply:
    choices, hexdigest = chat.n or 1, digest.hex()
    limit = chat.max_completion_tokens if chat.max_completion_tokens is not None else chat.max_tokens
    stop = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    text, refusal = turn.text, turn.refusal
    finish, output = "stop", 0
    if text is not None:
        text, _, too_long = cut(text, stop=stop, tokens_max=limit)
        finish = "length" if too_long else "stop"
        output += len(pieces(text))
    if refusal is not None:
        output += len(pieces(refusal))
    tool_calls: list[dict[str, Any]] = []
    for index, call in enumerate(turn.calls):
        function = {"name": call.name, "arguments": call.arguments}
        call_id = call.id or f"call_{hexdigest[:20]}{index:04x}"
        tool_calls.append({"id": call_id, "type": "function", "function": function})
        output += input_tokens(len(call.name) + len(call.arguments))
        finish = "tool_calls"
    return _Reply(
        id=f"chatcmpl-{hexdigest[:29]}",
        model=SERVED.get(chat.model, chat.model),
        choices=choices,
        text=text,
        refusal=refusal,
        tool_calls=tool_calls,
        finish=finish,
        usage=_usage(chat, messages, output=output * choices),
        with_logprobs=int(bool(chat.logprobs)),
    )


def _usage(chat: _Chat, messages: Sequence[_Message], *, output: int) -> dict[str, Any]:
    sizes = [MESSAGE_TOKENS + input_tokens(len(message.text)) for message in messages]
    prompt = sum(sizes) + (0 if chat.tools is None else input_tokens(len(_encode(chat.tools))))
    answered = [index for index, message in enumerate(messages) if message.role == "assistant"]
    # What came before the last answer was sent once before, so a provider would have it in its cache by now.
    cached = sum(sizes[: answered[-1]]) if answered and prompt >= CACHED_TOKENS_MIN else 0
    cached = cached // CACHED_TOKENS_STEP * CACHED_TOKENS_STEP if cached >= CACHED_TOKENS_MIN else 0
    reasoning = _REASONING_TOKENS.get(chat.reasoning_effort or "", 0)
    output += reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _whole(reply: _Reply) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.tool_calls:
        message["tool_calls"] = reply.tool_calls
    message["annotations"] = []
    logprobs = _logprobs(reply.text) if reply.with_logprobs and reply.text is not None else None
    return _encode(
        {
            "id": reply.id,
            "object": "chat.completion",
            "created": CREATED_S,
            "model": reply.model,
            "choices": [
                {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reply.finish}
                for index in range(reply.choices)
            ],
            "usage": reply.usage,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }
    )


def _logprobs(text: str) -> dict[str, Any]:
    """Log-probabilities with digits of their own, so that a reader who rounds them is found out."""
    tokens = [
        {
            "token": piece,
            "logprob": -(len(piece) / 7),
            "bytes": list(piece.encode()),
            "top_logprobs": [],
        }
        for piece in pieces(text)
    ]
    return {"content": tokens, "refusal": None}


def _events(reply: _Reply, *, usage_asked_for: int) -> list[bytes]:
    head = {
        "id": reply.id,
        "object": "chat.completion.chunk",
        "created": CREATED_S,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    tail: dict[str, Any] = {"usage": None} if usage_asked_for else {}

    def event(index: int, delta: dict[str, Any], *, logprobs: object = None, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return b"data: %b\n\n" % _encode(head | {"choices": [choice]} | tail)

    choices = range(reply.choices)
    first = {"role": "assistant", "content": None if reply.tool_calls and reply.text is None else "", "refusal": None}
    events = [event(index, first) for index in choices]
    for piece in pieces(reply.text or ""):
        logprobs = _logprobs(piece) if reply.with_logprobs else None
        events += [event(index, {"content": piece}, logprobs=logprobs) for index in choices]
    for piece in pieces(reply.refusal or ""):
        events += [event(index, {"refusal": piece}) for index in choices]
    for number, call in enumerate(reply.tool_calls):
        function = call["function"]
        began = {"index": number, **call, "function": {"name": function["name"], "arguments": ""}}
        events += [event(index, {"tool_calls": [began]}) for index in choices]
        for piece in pieces(function["arguments"]):
            delta = {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
            events += [event(index, delta) for index in choices]
    events += [event(index, {}, finish=reply.finish) for index in choices]
    if usage_asked_for:
        events.append(b"data: %b\n\n" % _encode(head | {"choices": [], "usage": reply.usage}))
    events.append(_DONE)
    return events
