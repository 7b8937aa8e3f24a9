"""OpenAI chat completions: requests, replies, and streams of chunks.

Promise: a reply and the stream of the same answer give the same ``output``; a stream is folded choice by choice,
fragment by fragment, whatever the order of chunks and however sparse their indices. Members are those of the ``openai``
package 3.54 (``types/chat``); ``reasoning_content`` and ``reasoning`` are what compatible servers add. A member of a
message that is not known here leaves ``member_unknown``, so that *full* means full.
"""

from typing import Any, Final

import msgspec

from affidavit.wire import limits
from affidavit.wire.failure import error_of
from affidavit.wire.fields import (
    canonical_of,
    flag_from,
    is_index,
    metadata_hints,
    object_of,
    shallow,
    text_from,
    text_of,
    value_from,
)
from affidavit.wire.json_text import (
    UNREADABLE,
    Json,
    array_of,
    canonical,
    canonical_own,
    decode,
    elements,
    members,
)
from affidavit.wire.openai_usage import usage_of
from affidavit.wire.request import in_order, joined, named, places_in, read_messages, read_tools, sort_members
from affidavit.wire.values import Problem, RequestMeaning, ResponseMeaning

_INSTRUCTION_ROLES: Final = frozenset(("system", "developer"))
_OWN: Final = frozenset(("model", "messages", "stream"))
_OWN_WITH: Final = {
    (tools, user): _OWN | {tools, user} for tools in ("tools", "functions") for user in ("safety_identifier", "user")
}
"""Members with a field of their own, by the names under which this request gives its tools and its user."""
_SAMPLING: Final = named(
    *("audio", "frequency_penalty", "function_call", "logit_bias", "logprobs", "max_completion_tokens"),
    *("max_tokens", "min_p", "modalities", "moderation", "n", "parallel_tool_calls", "presence_penalty"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "reasoning_effort"),
    *("repetition_penalty", "response_format", "seed", "service_tier", "stop", "store", "stream_options"),
    *("temperature", "tool_choice", "top_k", "top_logprobs", "top_p", "verbosity", "web_search_options"),
)
_DONE: Final = b"[DONE]"
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
    tools_name = "tools" if "tools" in values else "functions"
    user_name = "safety_identifier" if "safety_identifier" in values else "user"
    tools = values.get(tools_name)
    tool_count, tool_spans = read_tools(tools, start=where.get(tools_name), body=body, problems=problems)
    params, other = sort_members(values, own=_OWN_WITH[tools_name, user_name], sampling=_SAMPLING, problems=problems)
    hints = metadata_hints(values.get("metadata"), problems=problems)
    cache_key = text_from(values.get("prompt_cache_key"), problems=problems, chars_max=limits.HINT_CHARS_MAX)
    if cache_key is not None:
        hints.append(("prompt_cache_key", cache_key))
    return RequestMeaning(
        dialect="openai.chat",
        model=text_from(values.get("model"), problems=problems),
        stream=flag_from(values.get("stream"), problems=problems),
        user_hint=text_from(values.get(user_name), problems=problems, chars_max=limits.USER_HINT_CHARS_MAX) or None,
        messages=messages,
        system=joined(told.texts),
        tools=tools,
        params=params,
        other=other,
        message_count=told.count,
        tool_count=tool_count,
        shared_candidates=in_order(told.spans, tool_spans),
        conversation_hints=tuple(hints),
        normalisation="partial" if problems else "full",  # Last, since the lines above may add to the problems.
        problems=tuple(sorted(problems)),
    )


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message, or a delta of one."""

    role: Any = None
    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct, gc=False):
    """A choice of a reply, which has a message, or of a chunk, which has a delta."""

    index: Any = None
    finish_reason: Any = None
    message: _Message | None = None
    delta: _Message | None = None
    logprobs: msgspec.Raw = msgspec.Raw()


class _Reply(msgspec.Struct, gc=False):
    """A whole reply, or one chunk of a streamed one."""

    id: Any = None
    model: Any = None
    system_fingerprint: Any = None
    service_tier: Any = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    moderation: Any = None
    error: Any = None


_REPLY: Final = msgspec.json.Decoder(_Reply, float_hook=str)
_CHOICE: Final = msgspec.json.Decoder(_Choice, float_hook=str)


class _Call(msgspec.Struct, gc=False):
    """A tool call, gathered from its fragments."""

    kind: str = "function"
    id: str | None = None
    name: str | None = None
    arguments: list[str] = []

    def add(self, item: dict[str, Json], *, problems: set[Problem]) -> None:
        """Take a fragment: ``{"id", "type", "function": {"name", "arguments"}}`` or ``"custom": {"name", "input"}``."""
        self.id = self.id or text_of(item.get("id"), problems=problems)
        kind = text_of(item.get("type"), problems=problems)
        if kind:
            self.kind = kind
        if "custom" in item:
            inner = object_of(item["custom"], problems=problems)
            self.kind = "custom"
            self.put(inner.get("name"), inner.get("input"), problems=problems)
        else:
            inner = object_of(item.get("function"), problems=problems)
            self.put(inner.get("name"), inner.get("arguments"), problems=problems)

    def put(self, name: Json, arguments: Json, *, problems: set[Problem]) -> None:
        """Take the name, which some servers repeat with each fragment, and a piece of the arguments."""
        self.name = self.name or text_of(name, problems=problems)
        if isinstance(arguments, str):
            self.arguments.append(arguments)
        elif arguments is not None:
            problems.add("member_type")

    def value(self) -> dict[str, Json]:
        """The call as it stands in ``output``."""
        named = {"type": self.kind, "id": self.id, "name": self.name, "arguments": "".join(self.arguments)}
        return {name: value for name, value in named.items() if value is not None}


class _Answer(msgspec.Struct, gc=False):
    """One choice, gathered from a message or from deltas."""

    role: str | None = None
    text: list[str] = []
    refusal: list[str] = []
    reasoning: list[str] = []
    parts: list[Json] = []
    calls: dict[int, _Call] = {}
    function: _Call | None = None
    annotations: list[Json] = []
    audio: dict[str, Json] = {}
    transcript: list[str] = []
    finish: str | None = None

    def add(self, message: _Message, *, problems: set[Problem]) -> None:
        """Take a whole message, or the next delta."""
        content = message.content
        if isinstance(content, str):
            self.text.append(content)
        elif isinstance(content, list):
            self.parts.extend(part for part in content if shallow(part, problems=problems))
        elif content is not None:
            problems.add("member_type")
        if self.role is None and message.role is not None:
            self.role = text_of(message.role, problems=problems)
        if message.refusal is not None:
            _append_text(self.refusal, message.refusal, problems=problems)
        thought = message.reasoning if message.reasoning_content is None else message.reasoning_content
        if thought:
            _append_text(self.reasoning, thought, problems=problems)
        if message.tool_calls is not None:
            self.add_calls(message.tool_calls, problems=problems)
        if message.function_call is not None:
            inner = object_of(message.function_call, problems=problems)
            self.function = self.function or _Call()
            self.function.kind = "function_call"
            self.function.put(inner.get("name"), inner.get("arguments"), problems=problems)
        if message.annotations is not None:
            if isinstance(message.annotations, list):
                self.annotations.extend(note for note in message.annotations if shallow(note, problems=problems))
            else:
                problems.add("member_type")
        if message.audio is not None:
            self.add_audio(object_of(message.audio, problems=problems), problems=problems)

    def add_calls(self, items: Json, *, problems: set[Problem]) -> None:
        """Take tool calls: in a reply by position, in a stream by index."""
        if not isinstance(items, list):
            problems.add("member_type")
            return
        for item in items:
            if not isinstance(item, dict):
                problems.add("tool_malformed")
                continue
            index = item.get("index")
            if index is None:  # Whole calls carry no index; a fragment without one continues the last call.
                index = len(self.calls) if item.get("id") or not self.calls else next(reversed(self.calls))
            if not is_index(index, problems=problems):
                continue
            call = self.calls.get(index)
            if call is None:
                if len(self.calls) >= limits.TOOL_CALLS_MAX:
                    problems.add("too_many_items")
                    continue
                call = self.calls[index] = _Call()
            call.add(item, problems=problems)

    def add_audio(self, audio: dict[str, Json], *, problems: set[Problem]) -> None:
        """Take spoken output: the transcript, and of the sound only its length, since the wire bytes have it."""
        self.audio["id"] = self.audio.get("id") or text_of(audio.get("id"), problems=problems)
        transcript = audio.get("transcript")
        if isinstance(transcript, str):
            self.transcript.append(transcript)
        data = audio.get("data")
        if isinstance(data, str):
            self.audio["data_chars"] = self.audio.get("data_chars", 0) + len(data)

    def is_foreign(self) -> bool:
        """Whether some value was taken over whole, so that ``output`` is not all of our own making."""
        return bool(self.parts or self.annotations)

    def call_count(self) -> int:
        """How many tool calls the choice makes."""
        return len(self.calls) + (self.function is not None)

    def value(self, index: int) -> dict[str, Json]:
        """The choice as it stands in ``output``."""
        whole: dict[str, Json] = {"index": index}
        if self.role is not None:
            whole["role"] = self.role
        if text := "".join(self.text):
            whole["text"] = text
        if refusal := "".join(self.refusal):
            whole["refusal"] = refusal
        if self.parts:
            whole["content"] = self.parts
        if self.calls or self.function is not None:
            calls = [self.calls[number] for number in sorted(self.calls)]
            whole["tool_calls"] = [
                call.value() for call in (calls if self.function is None else [*calls, self.function])
            ]
        if self.annotations:
            whole["annotations"] = self.annotations
        if self.audio:
            named = {**self.audio, "transcript": "".join(self.transcript) or None}
            whole["audio"] = {name: value for name, value in named.items() if value is not None}
        if self.finish is not None:
            whole["finish"] = self.finish
        return whole


class _Fold(msgspec.Struct, gc=False):
    """A reply or a stream of chunks, folded into one answer."""

    problems: set[Problem]
    id: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    tier: str | None = None
    answers: dict[int, _Answer] = {}
    usage: bytes = b""
    moderation: Json = None
    error: Json = None
    logprobs: list[bytes] = []

    def add(self, reply: _Reply) -> None:
        """Take a whole reply, or the next chunk."""
        problems = self.problems
        self.id = self.id or text_of(reply.id, problems=problems)
        # A first chunk may carry an empty model (content filters of one cloud do that); the next one names it.
        self.model = self.model or text_of(reply.model, problems=problems)
        if reply.system_fingerprint is not None:
            self.fingerprint = text_of(reply.system_fingerprint, problems=problems)
        if reply.service_tier is not None:
            self.tier = text_of(reply.service_tier, problems=problems)
        if len(reply.usage) and (usage := bytes(reply.usage)) != b"null":
            self.usage = usage
        if reply.moderation is not None:
            self.moderation = reply.moderation
        if reply.error is not None:
            self.error = reply.error
        for number, choice in enumerate(reply.choices or ()):
            index = choice.index
            if index is None:
                index = number
            answer = self.answers.get(index) if type(index) is int else None
            if answer is None:
                if not is_index(index, problems=problems):
                    continue
                if len(self.answers) >= limits.CHOICES_MAX:
                    problems.add("too_many_items")
                    continue
                answer = self.answers[index] = _Answer()
            if choice.finish_reason is not None:
                answer.finish = text_of(choice.finish_reason, problems=problems)
            message = choice.delta or choice.message
            if message is not None:
                answer.add(message, problems=problems)
            # The object is there, with nulls inside, even where no probability is.
            if len(choice.logprobs) > len(b"null") and b'"token' in bytes(choice.logprobs):
                self.logprobs.append(b'{"index":%d,"logprobs":%b}' % (index, bytes(choice.logprobs)))

    def meaning(self, *, stream: bool, terminal_seen: bool) -> ResponseMeaning:
        """The answer as far as it came."""
        problems = self.problems
        output: list[Json] = []
        reasoning: list[Json] = []
        finish: list[str] = []
        tool_call_count = 0
        is_foreign = False
        for index, answer in sorted(self.answers.items()):
            output.append(answer.value(index))
            if answer.reasoning:
                reasoning.append({"index": index, "text": "".join(answer.reasoning)})
            if answer.finish:
                finish.append(answer.finish)
            tool_call_count += answer.call_count()
            is_foreign |= answer.is_foreign()
        usage = usage_of(self.usage, problems=problems)
        error = None if self.error is None else error_of(self.error, problems=problems)
        # Only values that were taken over whole need the long way to canonical form.
        encoded = canonical(output, nesting_max=_OUTPUT_NESTING_MAX) if is_foreign else canonical_own(output)
        return ResponseMeaning(
            dialect="openai.chat",
            provider_id=self.id,
            model_served=self.model,
            fingerprint=self.fingerprint,
            service_tier=self.tier,
            output=encoded if output else None,
            reasoning=canonical_own(reasoning) if reasoning else None,
            finish=tuple(finish),
            moderation=canonical_of(self.moderation, problems=problems),
            usage=usage,
            logprobs_state="provided" if self.logprobs else "not_provided",
            logprobs=array_of(self.logprobs) if self.logprobs else None,
            error=error,
            stream=stream,
            terminal_seen=terminal_seen,
            tool_call_count=tool_call_count,
            normalisation="partial" if problems else "full",
            problems=tuple(sorted(problems)),
        )


def read_reply(body: bytes, *, problems: set[Problem]) -> ResponseMeaning:
    """Read a whole sound reply; raises one of ``UNREADABLE`` when it is not a JSON object."""
    fold = _Fold(problems)
    fold.add(_reply(body, problems=problems))
    return fold.meaning(stream=False, terminal_seen=True)


def read_stream(events: list[tuple[bytes, bytes]], *, problems: set[Problem]) -> ResponseMeaning:
    """Read the events of a sound stream."""
    fold = _Fold(problems)
    terminal_seen = False
    for event_type, data in events:
        if terminal_seen:
            problems.add("events_after_terminal")
            break
        if data.startswith(_DONE):
            terminal_seen = True
            continue
        try:
            fold.add(_reply(data, problems=problems))
        except UNREADABLE:
            problems.add("event_malformed")
        if event_type == b"error" and fold.error is None:
            fold.error = _value_or_text(data)
        terminal_seen = fold.error is not None
    return fold.meaning(stream=True, terminal_seen=terminal_seen)


def _reply(text: bytes, *, problems: set[Problem]) -> _Reply:
    """Decode a reply or chunk; what is malformed inside it is left out, one piece at a time."""
    try:
        return _REPLY.decode(text)
    except msgspec.ValidationError:
        values = members(text)
    reply = _Reply()
    for name in ("id", "model", "system_fingerprint", "service_tier", "moderation", "error"):
        if name in values:
            setattr(reply, name, value_from(values[name], problems=problems))
    reply.usage = msgspec.Raw(values.get("usage", b""))
    choices = values.get("choices", b"null")
    if choices.startswith(b"["):
        read = [_choice(bytes(item), problems=problems) for item in elements(choices)]
        reply.choices = [choice for choice in read if choice is not None]
    elif choices != b"null":
        problems.add("member_type")
    return reply


def _choice(text: bytes, *, problems: set[Problem]) -> _Choice | None:
    """Decode a choice, leaving out what is malformed or unknown in it."""
    try:
        return _CHOICE.decode(text)
    except msgspec.ValidationError:
        pass
    value = value_from(text, problems=problems)
    if not isinstance(value, dict):
        problems.add("choice_malformed")
        return None
    choice = _Choice(index=value.get("index"), finish_reason=value.get("finish_reason"))
    choice.logprobs = msgspec.Raw(members(text).get("logprobs", b""))
    for name in ("message", "delta"):
        inner = value.get(name)
        if isinstance(inner, dict):
            known = {member: inner[member] for member in _Message.__struct_fields__ if member in inner}
            if len(known) < len(inner):
                problems.add("member_unknown")
            setattr(choice, name, _Message(**known))
        elif inner is not None:
            problems.add("choice_malformed")
    return choice


def _value_or_text(data: bytes) -> Json:
    try:
        return decode(data)
    except UNREADABLE:
        return data.decode(errors="replace")


def _append_text(pieces: list[str], value: Json, *, problems: set[Problem]) -> None:
    if isinstance(value, str):
        pieces.append(value)
    else:
        problems.add("member_type")
