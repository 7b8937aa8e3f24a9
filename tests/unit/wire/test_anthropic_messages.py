import json

import pytest

from affidavit.wire import limits
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import ProviderError


def request(body, **changes):
    if not isinstance(body, bytes):
        body = json.dumps(body, separators=(",", ":")).encode()
    given = {"dialect": "anthropic.messages", "content_type": "application/json", "content_encoding": None}
    return read_request(body=body, **(given | changes))


def reply(body, **changes):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    given = {
        "dialect": "anthropic.messages",
        "status": 200,
        "content_type": "application/json",
        "content_encoding": None,
    }
    return read_response(body=body, **(given | changes))


def stream(*events, stop=True):
    parts = []
    for event in [*events, {"type": "message_stop"}] if stop else events:
        if isinstance(event, bytes):
            parts.append(event)
        else:
            parts.append(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return reply(b"".join(parts), content_type="text/event-stream; charset=utf-8")


def start(**members):
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "c-1",
        "content": [],
        "stop_reason": None,
    }
    return {"type": "message_start", "message": message | members}


def block(index, **members):
    return {"type": "content_block_start", "index": index, "content_block": members}


def delta(index, kind, **members):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | members}


def test_every_member_of_a_request_has_its_place():
    body = {
        "model": "c-1",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be careful.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "system", "content": "And brief."},
            {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]},
        ],
        "metadata": {"user_id": "u-1"},
        "temperature": 0.5,
        "top_k": 5,
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "container": "container_1",
        "stream": True,
        "brand_new": 1.5,
    }
    text = json.dumps(body, separators=(",", ":")).encode()
    meaning = request(text)
    assert (meaning.normalisation, meaning.problems) == ("full", ())
    assert (meaning.model, meaning.stream, meaning.user_hint) == ("c-1", True, "u-1")
    assert (meaning.message_count, meaning.tool_count) == (3, 1)
    assert json.loads(meaning.messages) == body["messages"]
    assert json.loads(meaning.system) == [body["system"], "And brief."]
    assert json.loads(meaning.tools) == body["tools"]
    assert meaning.params == (
        b'{"max_tokens":100,"stop_sequences":["END"],"temperature":"0.5",'
        b'"thinking":{"budget_tokens":2048,"type":"enabled"},"tool_choice":{"type":"auto"},"top_k":5}'
    )
    assert meaning.other == b'{"brand_new":"1.5","container":"container_1","metadata":{"user_id":"u-1"}}'
    assert meaning.conversation_hints == (("container", "container_1"),)
    assert [json.loads(text[at : at + length]) for at, length in meaning.shared_candidates] == [
        body["system"],
        "And brief.",
        body["tools"][0],
    ]


def test_a_plain_system_prompt():
    body = b'{"system": "Be careful.", "messages": []}'
    meaning = request(body)
    assert meaning.system == b'["Be careful."]'
    ((at, length),) = meaning.shared_candidates
    assert body[at : at + length] == b'"Be careful."'
    assert request(b'{"system":null,"messages":[]}').system is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"messages": [], "metadata": {"user_id": 5}}, "member_type"),
        ({"messages": [], "metadata": {"user_id": "u" * 1025}}, "member_too_long"),
        ({"messages": 5}, "messages_missing"),
        (b'{"messages":[],"metadata":{"user_id":' + b"1" * 9000 + b"}}", "number_out_of_range"),
        (b'{"messages":[],"system":"a","system":"b"}', "duplicate_member"),
    ],
)
def test_one_bad_member_costs_that_member(body, problem):
    meaning = request(body)
    assert (meaning.normalisation, meaning.problems) == ("partial", (problem,))
    assert meaning.user_hint is None
    assert meaning.shared_candidates == ()


USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 15},
    "service_tier": "standard",
    "inference_geo": "us",
}
CITATION = {"type": "char_location", "cited_text": "T", "start_char_index": 0}
REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "c-1-2025",
    "content": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "abc"},
        {"type": "text", "text": "The answer.", "citations": [CITATION]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 0.10}},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"title": "t", "score": 0.5}]},
        {"type": "text", "text": "Bye.", "citations": None},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}


def test_every_member_of_a_reply_has_its_place():
    meaning = reply(REPLY)
    assert (meaning.normalisation, meaning.problems) == ("full", ())
    assert (meaning.provider_id, meaning.model_served) == ("msg_1", "c-1-2025")
    assert (meaning.service_tier, meaning.region, meaning.fingerprint) == ("standard", "us", None)
    assert (meaning.finish, meaning.stop_sequence, meaning.stop_details) == (("tool_use",), None, None)
    assert (meaning.terminal_seen, meaning.stream, meaning.tool_call_count) == (True, False, 2)
    assert json.loads(meaning.reasoning) == [
        {"index": 0, "type": "thinking", "text": "Let me see.", "signature": "sig"},
        {"index": 1, "type": "redacted_thinking", "data": "abc"},
    ]
    assert json.loads(meaning.output) == [
        {"index": 2, "type": "text", "text": "The answer.", "citations": [CITATION]},
        {"index": 3, "type": "tool_use", "id": "toolu_1", "name": "f", "arguments": '{"a": 0.1}'},
        {
            "index": 4,
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "arguments": '{"query": "q"}',
        },
        {
            "index": 5,
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"title": "t", "score": "0.5"}],
        },
        {"index": 6, "type": "text", "text": "Bye."},
    ]
    usage = meaning.usage
    assert (usage.input_uncached, usage.cache_read) == (10, 7)
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.cache_write_other) == (20, 10, None)
    assert (usage.output_text, usage.reasoning) == (35, 15)
    assert json.loads(usage.raw) == USAGE


def test_a_stream_gives_the_same_output_as_the_reply():
    first = USAGE | {"output_tokens": 1, "output_tokens_details": None, "cache_read_input_tokens": 0}
    meaning = stream(
        start(model="c-1-2025", usage=first),
        {"type": "ping"},
        block(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let me "),
        delta(0, "thinking_delta", thinking="see."),
        delta(0, "signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        block(1, type="redacted_thinking", data="abc"),
        block(2, type="text", text="", citations=[]),
        delta(2, "text_delta", text="The "),
        delta(2, "citations_delta", citation=CITATION),
        delta(2, "text_delta", text="answer."),
        block(3, type="tool_use", id="toolu_1", name="f", input={}),
        delta(3, "input_json_delta", partial_json=""),
        delta(3, "input_json_delta", partial_json='{"a": '),
        delta(3, "input_json_delta", partial_json="0.1}"),
        block(4, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        delta(4, "input_json_delta", partial_json='{"query": "q"}'),
        block(5, **REPLY["content"][5]),
        block(6, type="text", text="", citations=None),
        delta(6, "text_delta", text="Bye."),
        # Cumulative: these replace what message_start said, and are not added to it.
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 15},
                "cache_read_input_tokens": 7,
                "input_tokens": None,
            },
        },
    )
    whole = reply(REPLY)
    assert (meaning.normalisation, meaning.problems) == ("full", ())
    assert meaning.output == whole.output
    assert meaning.reasoning == whole.reasoning
    assert meaning.usage == whole.usage
    assert (meaning.finish, meaning.tool_call_count) == (whole.finish, whole.tool_call_count)
    assert (meaning.provider_id, meaning.model_served) == (whole.provider_id, whole.model_served)
    assert (meaning.stream, meaning.terminal_seen) == (True, True)


def test_a_tool_call_without_arguments():
    meaning = stream(start(), block(0, type="tool_use", id="t", name="f", input={}))
    assert json.loads(meaning.output)[0]["arguments"] == "{}"
    begun = block(0, type="tool_use", id="t", name="f", input={})
    meaning = stream(start(), begun, delta(0, "input_json_delta", partial_json=""))
    assert json.loads(meaning.output)[0]["arguments"] == "{}"


def test_why_it_stopped():
    meaning = stream(
        start(),
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}, "usage": {}},
    )
    assert (meaning.finish, meaning.stop_sequence) == (("stop_sequence",), "END")
    refused = reply(REPLY | {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio"}})
    assert (refused.finish, refused.stop_details) == (("refusal",), b'{"category":"bio","type":"refusal"}')


@pytest.mark.parametrize(
    ("counts", "expected", "problems"),
    [
        ({"input_tokens": 5, "output_tokens": 2}, (5, None, None, None, None, 2, None), ()),
        ({"cache_creation_input_tokens": 9}, (None, None, None, None, 9, None, None), ()),
        ({"cache_creation_input_tokens": 0}, (None, None, None, None, 0, None, None), ()),
        (
            {"cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_5m_input_tokens": 4}},
            (None, None, 4, None, 5, None, None),
            (),
        ),
        (
            {"cache_creation_input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 4}},
            (None, None, None, 4, None, None, None),
            ("usage_inconsistent",),
        ),
        (
            {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 4}},
            (None, None, None, None, None, 0, 3),
            ("usage_inconsistent",),
        ),
        ({"input_tokens": -1, "output_tokens": 1.5}, (None,) * 7, ("number_out_of_range",)),
        ({"cache_creation": 5, "output_tokens_details": []}, (None,) * 7, ("member_type",)),
    ],
)
def test_buckets_are_disjoint(counts, expected, problems):
    meaning = reply(REPLY | {"usage": counts})
    usage = meaning.usage
    assert (
        *(usage.input_uncached, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h),
        *(usage.cache_write_other, usage.output_text, usage.reasoning),
    ) == expected
    assert meaning.problems == problems


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (b"event: ping\ndata: {\n\n", "event_malformed"),
        (b"event: ping\ndata: 5\n\n", "event_malformed"),
        ({"type": "brand_new"}, "event_unknown"),
        (delta(9, "text_delta", text="x"), "block_malformed"),
        (delta("0", "text_delta", text="x"), "block_malformed"),
        (delta(0, "brand_new_delta", x=1), "member_unknown"),
        (delta(0, "text_delta", text=5), "member_type"),
        ({"type": "content_block_delta", "index": 0, "delta": 5}, "member_type"),
        ({"type": "content_block_start", "index": 1, "content_block": 5}, "block_malformed"),
        ({"type": "content_block_start", "index": 1, "content_block": {"type": 5}}, "block_malformed"),
        ({"type": "content_block_start", "index": -1, "content_block": {"type": "text"}}, "index_out_of_range"),
        ({"type": "content_block_start", "index": 1, "content_block": {"type": "t" * 257}}, "member_too_long"),
        (
            b'data: {"type":"content_block_start","index":1,"content_block":{"type":"x","a":'
            + b"[" * 200
            + b"]" * 200
            + b"}}\n\n",
            "too_deep",
        ),
        (
            b'data: {"type":"content_block_start","index":1,"content_block":{"type":"x","a":' + b"1" * 9000 + b"}}\n\n",
            "number_out_of_range",
        ),
        ({"type": "message_delta", "delta": 5, "usage": None}, "member_type"),
        ({"type": "message_delta", "delta": {}, "usage": 5}, "member_type"),
        (b'data: {"type":"ping","index":' + b"1" * 9000 + b"}\n\n", "number_out_of_range"),
    ],
)
def test_one_bad_event_costs_that_event(event, problem):
    meaning = stream(
        start(),
        block(0, type="text", text=""),
        delta(0, "text_delta", text="a"),
        event,
        delta(0, "text_delta", text="b"),
    )
    assert (meaning.normalisation, meaning.problems) == ("partial", (problem,))
    assert json.loads(meaning.output)[0]["text"] == "ab"
    assert meaning.terminal_seen


def test_numbers_of_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "BLOCKS_MAX", 3)
    content = [{"type": "text", "text": "x"}] * 4
    assert reply(REPLY | {"content": content[:3]}).problems == ()
    meaning = reply(REPLY | {"content": content})
    assert meaning.problems == ("too_many_items",)
    assert len(json.loads(meaning.output)) == 3


@pytest.mark.parametrize("content", [5, {}, "text"])
def test_content_of_another_type(content):
    meaning = reply(REPLY | {"content": content})
    assert (meaning.output, meaning.problems) == (None, ("member_type",))
    assert meaning.provider_id == "msg_1"


def test_an_error_inside_a_stream_ends_it():
    meaning = stream(
        start(),
        block(0, type="text", text="a"),
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        stop=False,
    )
    assert meaning.error == ProviderError(type="overloaded_error", message="Overloaded")
    assert (meaning.terminal_seen, meaning.normalisation) == (True, "full")
    plain = stream(start(), b"event: error\ndata: oops\n\n", stop=False)
    assert (plain.error, plain.terminal_seen) == (ProviderError(message="oops"), True)


def test_without_its_terminal_event_a_stream_is_incomplete():
    meaning = stream(start(), {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, stop=False)
    assert (meaning.terminal_seen, meaning.finish) == (False, ("end_turn",))


def test_what_follows_the_terminal_event_is_told_and_not_read():
    meaning = stream(start(), {"type": "message_stop"}, block(0, type="text", text="more"))
    assert (meaning.output, meaning.problems) == (None, ("events_after_terminal",))
