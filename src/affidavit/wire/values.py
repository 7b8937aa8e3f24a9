"""What a provider's bytes mean, as values: the output of :mod:`affidavit.wire.meaning`.

Promise: each field holds what the wire said, or ``None`` when it said nothing; nothing is guessed or filled in.
Free text (messages, output, reasoning, error message, user hint, hints) belongs in the erasable body of a record.
``problems`` are codes from a fixed list and never carry content, so that they may stand in a header block.

Bytes fields are JSON text. *Exact* means the characters that were on the wire. *Canonical* means RFC 8785, in which
every number that is not an integer below 2**53 is kept as a string with its source text (``0.70`` stays ``"0.70"``),
because a record must not depend on how a language prints floating point.
"""

from typing import Final, Literal, TypeAlias

import msgspec

Dialect: TypeAlias = Literal["openai.chat", "openai.responses", "anthropic.messages", "unknown"]
Normalisation: TypeAlias = Literal["full", "partial", "unparsed"]
Span: TypeAlias = tuple[int, int]

Problem: TypeAlias = Literal[
    "block_malformed",  # a content block that is not an object, or a delta for a block that never started
    "choice_malformed",  # a choice, its message or delta is not an object
    "dialect_unread",  # this dialect is known, or unknown, but not read yet
    "duplicate_member",  # an object names a member twice: readers disagree about which one counts
    "empty",  # no bytes
    "encoding_broken",  # the content encoding does not decode
    "encoding_truncated",  # the compressed body ends early; what came out was read
    "encoding_unsupported",  # br, zstd, several codings, or an unknown one
    "error_unreadable",  # an error status with a body that is not a provider's error object
    "event_unknown",  # a stream event of a type that this version does not know
    "event_malformed",  # a stream event whose data is not a JSON object
    "events_after_terminal",  # the stream went on after its terminal event
    "index_out_of_range",  # an index that is negative, absurd or not an integer
    "json_invalid",  # not JSON
    "member_too_long",  # a name or identifier beyond its bound
    "member_type",  # a member of another type than the dialect says
    "member_unknown",  # a message carries a member that this version does not know
    "message_malformed",  # a message of the request that is not an object with a role
    "messages_missing",  # no list of messages
    "not_an_object",  # JSON, but not an object
    "number_out_of_range",  # a count that is negative, fractional or beyond 2**53
    "text_repaired",  # invalid UTF-8 or lone surrogates, replaced in the fields; the wire bytes are untouched
    "tool_malformed",  # a tool or tool call that is not an object
    "too_deep",  # nesting beyond the bound
    "too_large",  # a body beyond the bound
    "too_many_events",  # a stream beyond the bound
    "too_many_items",  # more choices, tool calls, blocks or spans than the bound
    "usage_inconsistent",  # the provider's token counts contradict each other
]

FINISH_REASONS: Final = frozenset(
    (
        *("stop", "length", "tool_calls", "content_filter", "function_call"),
        *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"),
        "model_context_window_exceeded",
    )
)
"""Finish reasons that the official packages name. Any other is a string that an upstream chose, and no enumeration: it
may not stand in a header block."""


class RequestMeaning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request to a model asks for.

    ``messages`` and ``tools`` are exact. ``system`` is a JSON array of exact texts: for OpenAI the content of each
    system or developer message, for Anthropic the ``system`` member and then the content of each message with the role
    ``system``. ``params`` (sampling parameters) and ``other`` (every remaining member) are canonical objects: together
    with the named fields they account for each member of the request.

    ``shared_candidates`` are disjoint ascending (offset, length) spans of whole JSON values within the body, each the
    content of a system or developer message or one tool definition. They are empty when the body was content-encoded,
    since then no span of the wire bytes corresponds to them.
    """

    dialect: Dialect
    normalisation: Normalisation
    model: str | None = None
    stream: bool = False
    user_hint: str | None = None
    messages: bytes | None = None
    system: bytes | None = None
    tools: bytes | None = None
    params: bytes | None = None
    other: bytes | None = None
    message_count: int = 0
    tool_count: int = 0
    shared_candidates: tuple[Span, ...] = ()
    conversation_hints: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Token counts in disjoint buckets; ``None`` means that the provider did not report this part apart.

    The input buckets (``input_uncached``, ``cache_*``, ``audio_in``, ``image``) add up to all input tokens, the output
    buckets (``output_text``, ``reasoning``, ``audio_out``) to all output tokens. ``cache_write_other`` counts cache
    writes whose lifetime is neither five minutes nor an hour, or is not stated. ``raw`` is the provider's own object:
    exact for OpenAI; canonical for Anthropic, whose streams tell it in parts that replace each other.
    """

    input_uncached: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    cache_write_other: int | None = None
    output_text: int | None = None
    reasoning: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    image: int | None = None
    raw: bytes | None
    source: Literal["reported"] = "reported"


class ProviderError(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The provider's own account of a failure. ``message`` may echo content and belongs in the erasable body."""

    type: str | None = None
    code: str | None = None
    param: str | None = None
    message: str | None = None


class ResponseMeaning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model answered. The same answer gives the same ``output``, streamed or whole.

    ``output`` is a canonical array. OpenAI: one object a choice, by index, with ``index``, ``role``, ``text``,
    ``refusal``, ``tool_calls`` (``type``, ``id``, ``name``, ``arguments``) and ``finish``, each present only if it was
    given. Anthropic: one object a block, by index, with ``index``, ``type`` and ``text``, or ``id``, ``name`` and
    ``arguments``; other block types whole. ``arguments`` is always a string, as the model wrote it. ``reasoning`` is a
    canonical array too; its ``index`` is the one that ``output`` counts by. ``logprobs`` is an array of ``index`` and
    the provider's exact ``logprobs`` objects (a stream has one for each chunk that carried some).

    ``terminal_seen``: the whole JSON was read, or the stream's terminal event; without it the answer is incomplete.
    """

    dialect: Dialect
    normalisation: Normalisation
    provider_id: str | None = None
    model_served: str | None = None
    fingerprint: str | None = None
    service_tier: str | None = None
    region: str | None = None
    output: bytes | None = None
    reasoning: bytes | None = None
    finish: tuple[str, ...] = ()
    stop_sequence: str | None = None
    stop_details: bytes | None = None
    moderation: bytes | None = None
    usage: Usage | None = None
    logprobs_state: Literal["provided", "not_provided"] = "not_provided"
    logprobs: bytes | None = None
    error: ProviderError | None = None
    stream: bool = False
    terminal_seen: bool = False
    tool_call_count: int = 0
    problems: tuple[Problem, ...] = ()
