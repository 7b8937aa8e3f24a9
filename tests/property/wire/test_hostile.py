"""Whatever arrives: a meaning comes back, its types hold, and what it calls canonical is."""

import gzip
import json

import msgspec
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import RequestMeaning, ResponseMeaning

DIALECTS = st.sampled_from(["openai.chat", "anthropic.messages", "openai.responses", "unknown"])
CODINGS = st.sampled_from([None, "", "gzip", "deflate", "br", "x, y"])
TYPES = st.sampled_from([None, "", "application/json", "text/event-stream; charset=utf-8", "text/html"])

NAMES = [
    *("messages", "role", "content", "model", "stream", "tools", "functions", "user", "safety_identifier", "metadata"),
    *("user_id", "session_id", "system", "temperature", "container", "prompt_cache_key", "x", "id", "choices", "index"),
    *("message", "delta", "finish_reason", "logprobs", "token", "usage", "prompt_tokens", "completion_tokens"),
    *("prompt_tokens_details", "cached_tokens", "error", "type", "code", "tool_calls", "function", "custom", "name"),
    *("arguments", "input", "function_call", "annotations", "audio", "data", "reasoning_content", "moderation"),
    *("content_block", "stop_reason", "stop_details", "input_tokens", "cache_creation", "output_tokens", "citation"),
    *("text", "thinking", "signature", "partial_json", "output_tokens_details", "refusal", "service_tier"),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**20, -(2**53), 2**53 - 1, 0.5, 1e300]),
    st.sampled_from(
        [
            *("", "a", "system", "developer", "user", "tool_use", "thinking", "text", "message_start", "message_delta"),
            *("content_block_start", "content_block_delta", "message_stop", "error", "ping", "text_delta", "message"),
            *("input_json_delta", "thinking_delta", "signature_delta", "citations_delta", "[DONE]", "é", "\U0001f600"),
        ]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=8)),
    max_leaves=40,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=10)
JSON_BODIES = st.builds(
    lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode(), st.one_of(OBJECTS, VALUES), st.booleans()
)
EVENTS = st.builds(
    lambda name, data: (b"event: " + name + b"\n" if name else b"") + b"data: " + data + b"\n\n",
    st.sampled_from([b"", b"", b"error", b"message_stop", b"message_start", b"ping"]),
    st.one_of(JSON_BODIES, st.just(b"[DONE]"), st.binary(max_size=8)),
)
STREAMS = st.lists(EVENTS, max_size=6).map(b"".join)


@st.composite
def damaged(draw, bodies):
    """A body with a few bytes changed, cut out or put in."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b'"', b"\\", b"{", b"}", b"[", b",", b"\xff", b"\\ud800", b"1" * 5000, b"NaN", b"\n"])
        )
    return bytes(body)


BODIES = st.one_of(
    st.binary(max_size=100),
    JSON_BODIES,
    STREAMS,
    damaged(JSON_BODIES),
    damaged(STREAMS),
    JSON_BODIES.map(gzip.compress),
)


def assert_canonical(text):
    if text is not None:
        assert text == rfc8785.dumps(json.loads(text))


def assert_typed(meaning, kind):
    """Types are checked by a round trip through a strict decoder."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(meaning), type=kind) == meaning
    assert list(meaning.problems) == sorted(set(meaning.problems))
    assert (meaning.normalisation == "full") == (not meaning.problems)


@given(dialect=DIALECTS, content_type=TYPES, coding=CODINGS, body=BODIES)
@example(dialect="openai.chat", content_type=None, coding=None, body=b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}")
@example(
    dialect="anthropic.messages", content_type=None, coding=None, body=b'{"system":' + b"[" * 990 + b"]" * 990 + b"}"
)
def test_any_request_has_a_meaning(dialect, content_type, coding, body):
    meaning = read_request(dialect=dialect, content_type=content_type, content_encoding=coding, body=body)
    assert_typed(meaning, RequestMeaning)
    assert_canonical(meaning.params)
    assert_canonical(meaning.other)
    for exact in (meaning.messages, meaning.system, meaning.tools):
        if exact is not None:
            json.loads(exact)
    end = 0
    for at, length in meaning.shared_candidates:
        assert at >= end
        end = at + length
        json.loads(body[at:end].decode(errors="replace"))
    assert end <= len(body)


@given(dialect=DIALECTS, status=st.sampled_from([200, 400, 500]), content_type=TYPES, coding=CODINGS, body=BODIES)
@example(
    dialect="openai.chat",
    status=200,
    content_type=None,
    coding=None,
    body=b'{"choices":' + b"[" * 900 + b"]" * 900 + b"}",
)
@example(
    dialect="anthropic.messages",
    status=200,
    content_type=None,
    coding=None,
    body=b'{"usage":' + b"[" * 300 + b"]" * 300 + b"}",
)
def test_any_response_has_a_meaning(dialect, status, content_type, coding, body):
    meaning = read_response(
        dialect=dialect, status=status, content_type=content_type, content_encoding=coding, body=body
    )
    assert_typed(meaning, ResponseMeaning)
    for canonical in (meaning.output, meaning.reasoning, meaning.stop_details, meaning.moderation):
        assert_canonical(canonical)
    if meaning.logprobs is not None:
        json.loads(meaning.logprobs)
    assert (meaning.logprobs is not None) == (meaning.logprobs_state == "provided")
    if meaning.usage is not None and meaning.usage.raw is not None:
        json.loads(meaning.usage.raw)
