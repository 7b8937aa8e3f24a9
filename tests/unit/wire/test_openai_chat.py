import json

import pytest

from affidavit.wire import limits
from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.values import ProviderError


def request(body, **changes):
    if not isinstance(body, bytes):
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    given = {"dialect": "openai.chat", "content_type": "application/json", "content_encoding": None}
    return read_request(body=body, **(given | changes))


def reply(body, **changes):
    if not isinstance(body, bytes):
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    given = {"dialect": "openai.chat", "status": 200, "content_type": "application/json", "content_encoding": None}
    return read_response(body=body, **(given | changes))


def stream(*chunks, done=True, **changes):
    events = [
        chunk if isinstance(chunk, bytes) else b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks
    ]
    body = b"".join(events) + (b"data: [DONE]\n\n" if done else b"")
    return reply(body, **({"content_type": "text/event-stream; charset=utf-8"} | changes))


def delta(index=0, *, finish=None, **members):
    choice = {"index": index, "delta": members, "finish_reason": finish, "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]}


SYSTEM = {"role": "system", "content": "Be careful."}
USER = {"role": "user", "content": "Hello"}


def test_every_member_of_a_request_has_its_place():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {
        "messages": [SYSTEM, USER, {"role": "developer", "content": [{"type": "text", "text": "Brief."}]}],
        "model": "m-1",
        "stream": True,
        "tools": [tool, {"type": "custom", "custom": {"name": "g"}}],
        "user": "u-1",
        "safety_identifier": "s-1",
        "temperature": 0.7,
        "top_p": 1,
        "max_completion_tokens": 100,
        "seed": 2**60,
        "stop": ["\n"],
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"maximum": 1.5}}},
        "prompt_cache_key": "k-1",
        "metadata": {"session_id": "s", "colour": "red"},
        "store": False,
        "prediction": {"type": "content", "content": "x"},
        "brand_new": [1],
    }
    text = json.dumps(body, separators=(",", ":")).encode()
    meaning = request(text)
    assert meaning.normalisation == "full"
    assert meaning.problems == ()
    assert (meaning.model, meaning.stream, meaning.user_hint) == ("m-1", True, "s-1")
    assert (meaning.message_count, meaning.tool_count) == (3, 2)
    assert json.loads(meaning.messages) == body["messages"]
    assert meaning.messages in text
    assert json.loads(meaning.tools) == body["tools"]
    assert meaning.system == b'["Be careful.",[{"type":"text","text":"Brief."}]]'
    assert meaning.params == (
        b'{"max_completion_tokens":100,"prompt_cache_key":"k-1",'
        b'"response_format":{"json_schema":{"schema":{"maximum":"1.5"}},"type":"json_schema"},'
        b'"seed":"1152921504606846976","stop":["\\n"],"store":false,"temperature":"0.7","top_p":1}'
    )
    assert meaning.other == (
        b'{"brand_new":[1],"metadata":{"colour":"red","session_id":"s"},'
        b'"prediction":{"content":"x","type":"content"},"user":"u-1"}'
    )
    assert meaning.conversation_hints == (("metadata.session_id", "s"), ("prompt_cache_key", "k-1"))
    assert [text[at : at + length] for at, length in meaning.shared_candidates] == [
        b'"Be careful."',
        b'[{"type":"text","text":"Brief."}]',
        json.dumps(tool, separators=(",", ":")).encode(),
        b'{"type":"custom","custom":{"name":"g"}}',
    ]


@pytest.mark.parametrize(
    "text",
    [
        b'{"messages":[{"role":"system","content":"S"},{"role":"user","content":"U"}]}',
        b'{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]}',
        b'\n{ "messages" : [ { "content" : "S" , "role" : "system" } , {"role":"user","content":"U"} ] }\n ',
        b'{"messages":[{"role":"user","content":"\\"S\\""},{"role":"system","name":"S","content":"S"}]}',
        b'{"messages":[{"role":"user","content":"S"},{"role":"assistant"},{"content":"S","role":"developer"}]}',
    ],
)
def test_instructions_are_found_whatever_the_layout(text):
    meaning = request(text)
    ((at, length),) = meaning.shared_candidates
    assert text[at : at + length] == b'"S"'
    assert meaning.system == b'["S"]'
    assert meaning.normalisation == "full"


def test_legacy_functions_count_as_tools():
    meaning = request({"messages": [USER], "functions": [{"name": "f"}], "function_call": "auto"})
    assert meaning.tools == b'[{"name":"f"}]'
    assert meaning.tool_count == 1
    assert meaning.params == b'{"function_call":"auto"}'
    both = request({"messages": [USER], "functions": [{"name": "f"}], "tools": []})
    assert (both.tools, both.tool_count, both.other) == (b"[]", 0, b'{"functions":[{"name":"f"}]}')


@pytest.mark.parametrize(
    ("body", "problem", "kept"),
    [
        ({"messages": [USER], "model": 5}, "member_type", "message_count"),
        ({"messages": [USER], "model": "m" * 257}, "member_too_long", "message_count"),
        ({"messages": [USER], "stream": "yes"}, "member_type", "message_count"),
        ({"messages": [USER], "user": {"id": 1}}, "member_type", "message_count"),
        ({"messages": [USER], "user": "u" * 1025}, "member_too_long", "message_count"),
        ({"messages": {}, "model": "m"}, "messages_missing", "model"),
        ({"model": "m"}, "messages_missing", "model"),
        ({"messages": [USER, 5, None, "x", []]}, "message_malformed", "message_count"),
        ({"messages": [{"role": 7}]}, "message_malformed", "message_count"),
        ({"messages": [USER], "tools": {}}, "member_type", "message_count"),
        ({"messages": [USER], "tools": [5]}, "tool_malformed", "tool_count"),
        (b'{"messages":[],"model":"a","model":"b"}', "duplicate_member", "model"),
        (b'{"messages":[{"role":"user","role":"system","content":"x"}],"model":"a"}', "duplicate_member", "model"),
        (
            b'{"messages":[{"role":"system","content":"XX","content":"Y"}],"model":"a"}',
            "duplicate_member",
            "model",
        ),
        (b'{"messages":[],"model":"a","metadata":{"x":' + b"1" * 9000 + b"}}", "number_out_of_range", "model"),
        (b'{"messages":[],"model":"a","x":' + b"[" * 200 + b"]" * 200 + b"}", "too_deep", "model"),
        (b'{"messages":[{"role":"user","content":"\xff"}],"model":"a"}', "text_repaired", "model"),
        (rb'{"messages":[{"role":"user","content":"\ud83d"}],"model":"a"}', "text_repaired", "model"),
    ],
)
def test_one_bad_member_costs_that_member(body, problem, kept):
    meaning = request(body)
    assert meaning.normalisation == "partial"
    assert meaning.problems == (problem,)
    assert getattr(meaning, kept)


def test_a_malformed_message_does_not_take_its_list_along():
    body = b'{"messages":[5,{"role":"system","content":"S"},null,{"role":"user","content":"U"}]}'
    meaning = request(body)
    assert meaning.message_count == 4
    assert meaning.system == b'["S"]'
    assert [body[at : at + length] for at, length in meaning.shared_candidates] == [b'"S"']


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty"),
        (b"{", "json_invalid"),
        (b'{"messages":[', "json_invalid"),
        (b'{"model":NaN}', "json_invalid"),
        (b'{"model":"m"}}', "json_invalid"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"5", "not_an_object"),
        (b"\x00\xff\xfe", "json_invalid"),
        (b"[" * 100_000, "not_an_object"),
        (b'{"a":' * 100_000, "too_deep"),
    ],
)
def test_what_is_no_request_says_why(body, problem):
    meaning = request(body)
    assert (meaning.normalisation, meaning.problems) == ("unparsed", (problem,))


REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1-2025",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "free text"}},
                ],
            },
        },
        {"index": 1, "finish_reason": "stop", "message": {"role": "assistant", "content": "é\n", "refusal": None}},
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
OUTPUT = (
    '[{"finish":"tool_calls","index":0,"role":"assistant","tool_calls":['
    '{"arguments":"{\\"a\\": 1}","id":"call_1","name":"f","type":"function"},'
    '{"arguments":"free text","id":"call_2","name":"g","type":"custom"}]},'
    '{"finish":"stop","index":1,"role":"assistant","text":"é\\n"}]'
).encode()


def test_every_member_of_a_reply_has_its_place():
    meaning = reply(REPLY)
    assert (meaning.normalisation, meaning.problems) == ("full", ())
    assert (meaning.provider_id, meaning.model_served) == ("chatcmpl-1", "m-1-2025")
    assert (meaning.fingerprint, meaning.service_tier) == ("fp_1", "default")
    assert meaning.output == OUTPUT
    assert meaning.finish == ("tool_calls", "stop")
    assert meaning.tool_call_count == 2
    assert (meaning.terminal_seen, meaning.stream, meaning.error, meaning.reasoning) == (True, False, None, None)
    assert meaning.usage.raw == b'{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}'
    assert meaning.usage.source == "reported"
    assert meaning.logprobs_state == "not_provided"


def test_a_stream_gives_the_same_output_as_the_reply():
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    custom = {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "free "}}
    meaning = stream(
        # Some clouds begin with a chunk that has content filters and neither choices nor a model.
        {"id": "", "model": "", "choices": [], "prompt_filter_results": []},
        delta(0, role="assistant", content=None, tool_calls=[call]),
        delta(1, role="assistant", content="", refusal=None),
        delta(0, tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}, custom]),
        delta(1, content="é"),
        delta(
            0, tool_calls=[{"index": 1, "custom": {"input": "text"}}, {"index": 0, "function": {"arguments": " 1}"}}]
        ),
        delta(1, content="\n"),
        delta(1, finish="stop"),
        delta(0, finish="tool_calls"),
        {
            "id": "chatcmpl-1",
            "choices": [],
            "usage": REPLY["usage"],
            "service_tier": "default",
            "system_fingerprint": "fp_1",
        },
    )
    assert (meaning.normalisation, meaning.problems) == ("full", ())
    assert meaning.output == OUTPUT
    assert meaning.finish == ("tool_calls", "stop")
    assert (meaning.provider_id, meaning.model_served) == ("chatcmpl-1", "m-1")
    assert (meaning.fingerprint, meaning.service_tier) == ("fp_1", "default")
    assert (meaning.usage.input_uncached, meaning.usage.output_text) == (10, 5)
    assert (meaning.stream, meaning.terminal_seen, meaning.tool_call_count) == (True, True, 2)


def test_refusals_reasoning_and_probabilities():
    meaning = stream(
        delta(refusal="I can", reasoning_content="Should I"),
        delta(refusal="not.", reasoning_content="? No."),
        b'data: {"choices":[{"index":0,"delta":{},"logprobs":'
        b'{"content":[{"token":"a","logprob":-0.10}],"refusal":null}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"logprobs":{"content":null,"refusal":null}}]}\n\n',
    )
    assert meaning.output == b'[{"index":0,"refusal":"I cannot."}]'
    assert meaning.reasoning == b'[{"index":0,"text":"Should I? No."}]'
    assert meaning.logprobs_state == "provided"
    assert meaning.logprobs == b'[{"index":0,"logprobs":{"content":[{"token":"a","logprob":-0.10}],"refusal":null}}]'
    assert meaning.normalisation == "full"


def test_other_parts_of_a_message():
    note = {
        "type": "url_citation",
        "url_citation": {"url": "u", "start_index": 0, "end_index": 1, "title": "t", "x": 0.5},
    }
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "T"}],
        "annotations": [note],
        "audio": {"id": "a", "data": "AAAA", "transcript": "Hi", "expires_at": 1},
        "function_call": {"name": "f", "arguments": "{}"},
    }
    moderation = {"input": {"type": "moderation_results", "score": 0.25}}
    meaning = reply({"choices": [{"index": 0, "message": message}], "moderation": moderation})
    assert meaning.normalisation == "full"
    assert json.loads(meaning.output) == [
        {
            "index": 0,
            "role": "assistant",
            "content": [{"type": "text", "text": "T"}],
            "annotations": [{"type": "url_citation", "url_citation": {**note["url_citation"], "x": "0.5"}}],
            "audio": {"id": "a", "data_chars": 4, "transcript": "Hi"},
            "tool_calls": [{"type": "function_call", "name": "f", "arguments": "{}"}],
        }
    ]
    assert meaning.moderation == b'{"input":{"score":"0.25","type":"moderation_results"}}'
    assert meaning.tool_call_count == 1


def test_fragments_that_servers_bend():
    """No index, a name in each fragment, no type: all seen in compatible servers."""
    meaning = stream(
        delta(tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "{"}}]),
        delta(tool_calls=[{"function": {"name": "f", "arguments": "}"}}]),
        delta(tool_calls=[{"id": "c2", "function": {"name": "g", "arguments": "[]"}}]),
        delta(tool_calls=[{"index": 900_000, "id": "c3", "function": {"name": "h"}}]),
    )
    assert [(call["id"], call["name"], call["arguments"]) for call in json.loads(meaning.output)[0]["tool_calls"]] == [
        ("c1", "f", "{}"),
        ("c2", "g", "[]"),
        ("c3", "h", ""),
    ]


def test_calls_and_choices_stand_in_the_order_of_their_indices():
    call = {"function": {"name": "f", "arguments": "{}"}}
    meaning = stream(
        delta(2, content="c"),
        delta(0, tool_calls=[{"index": 5, "id": "second", **call}]),
        delta(0, tool_calls=[{"index": 1, "id": "first", **call}]),
    )
    output = json.loads(meaning.output)
    assert [choice["index"] for choice in output] == [0, 2]
    assert [told["id"] for told in output[0]["tool_calls"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("chunk", "problem"),
    [
        (b"data: {\n\n", "event_malformed"),
        (b"data: 5\n\n", "event_malformed"),
        (b"data: \xff\n\n", "event_malformed"),
        ({"choices": 5}, "member_type"),
        ({"choices": [5]}, "choice_malformed"),
        ({"choices": [{"index": 0, "delta": 5}]}, "choice_malformed"),
        ({"choices": [{"index": -1, "delta": {}}]}, "index_out_of_range"),
        ({"choices": [{"index": limits.INDEX_MAX + 1, "delta": {}}]}, "index_out_of_range"),
        ({"choices": [{"index": "0", "delta": {}}]}, "index_out_of_range"),
        ({"choices": [{"index": True, "delta": {}}]}, "index_out_of_range"),
        ({"choices": [{"index": 10**30, "delta": {}}]}, "index_out_of_range"),
        ({"choices": [{"index": 0, "delta": {"content": 5}}]}, "member_type"),
        ({"choices": [{"index": 0, "delta": {"refusal": []}}]}, "member_type"),
        ({"choices": [{"index": 0, "delta": {"tool_calls": {}}}]}, "member_type"),
        ({"choices": [{"index": 0, "delta": {"tool_calls": [None]}}]}, "tool_malformed"),
        ({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": 5}]}}]}, "member_type"),
        ({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 2**70}]}}]}, "index_out_of_range"),
        ({"choices": [{"index": 0, "delta": {"images": []}}]}, "member_unknown"),
        ({"choices": [{"index": 0, "finish_reason": 5, "delta": {}}]}, "member_type"),
        ({"system_fingerprint": 5}, "member_type"),
        ({"service_tier": ["m"]}, "member_type"),
        ({"usage": 5}, "member_type"),
        (b'data: {"id":' + b"1" * 9000 + b"}\n\n", "number_out_of_range"),
        (b'data: {"choices":[{"index":0,"delta":{"annotations":[' + b"[" * 200 + b"]" * 200 + b"]}}]}\n\n", "too_deep"),
    ],
)
def test_one_bad_chunk_costs_that_chunk(chunk, problem):
    meaning = stream(delta(content="a"), chunk, delta(content="b", finish="stop"))
    assert meaning.normalisation == "partial"
    assert problem in meaning.problems
    assert set(meaning.problems) <= {problem, "text_repaired"}
    assert json.loads(meaning.output)[0]["text"] == "ab"
    assert meaning.terminal_seen


@pytest.mark.parametrize("member", ["id", "model"])
def test_a_name_of_another_type_waits_for_a_better_one(member):
    meaning = stream({member: 5}, delta(content="a"))
    assert meaning.problems == ("member_type",)
    assert (meaning.provider_id, meaning.model_served) == ("chatcmpl-1", "m-1")


def test_null_ids_are_no_problem():
    meaning = stream({"id": None, "model": None, "choices": None, "usage": None, "error": None}, delta(content="a"))
    assert meaning.problems == ()
    assert meaning.provider_id == "chatcmpl-1"


def test_numbers_of_choices_and_calls_are_bounded():
    many = [{"index": index, "delta": {"content": "x"}} for index in range(limits.CHOICES_MAX + 1)]
    assert stream({"choices": many[:-1]}).problems == ()
    meaning = stream({"choices": many})
    assert meaning.problems == ("too_many_items",)
    assert len(json.loads(meaning.output)) == limits.CHOICES_MAX
    calls = [{"index": index, "id": "c"} for index in range(limits.TOOL_CALLS_MAX + 1)]
    assert stream(delta(tool_calls=calls[:-1])).problems == ()
    meaning = stream(delta(tool_calls=calls))
    assert meaning.problems == ("too_many_items",)
    assert meaning.tool_call_count == limits.TOOL_CALLS_MAX


def test_without_its_terminal_event_a_stream_is_incomplete():
    meaning = stream(delta(content="a", finish="stop"), done=False)
    assert (meaning.terminal_seen, meaning.error) == (False, None)
    assert meaning.finish == ("stop",)
    cut = reply(b'data: {"choices":[]}\n\ndata: [DONE]\n', content_type="text/event-stream")
    assert not cut.terminal_seen


def test_what_follows_the_terminal_event_is_told_and_not_read():
    meaning = stream(b"data: [DONE]\n\n", delta(content="more"))
    assert (meaning.terminal_seen, meaning.output) == (True, None)
    assert meaning.problems == ("events_after_terminal",)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (
            {"error": {"message": "m", "type": "server_error", "code": "c", "param": "p"}},
            ProviderError(type="server_error", code="c", param="p", message="m"),
        ),
        ({"error": {"message": "m", "code": 500}}, ProviderError(code="500", message="m")),
        ({"id": "x", "choices": [], "error": {"message": "m"}}, ProviderError(message="m")),
        ({"error": "text"}, ProviderError(message="text")),
        (b'event: error\ndata: {"message":"m","type":"t"}\n\n', ProviderError(type="t", message="m")),
        (b'event: error\ndata: {"error":{"message":"m"}}\n\n', ProviderError(message="m")),
        (b"event: error\ndata: oops\n\n", ProviderError(message="oops")),
    ],
)
def test_an_error_inside_a_stream_ends_it(event, error):
    meaning = stream(delta(content="a"), event, done=False)
    assert meaning.error == error
    assert meaning.terminal_seen
    assert json.loads(meaning.output)[0]["text"] == "a"


def test_instructions_and_tools_beyond_the_bound_are_not_offered(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_CANDIDATES_MAX", 2)
    tool = {"type": "function", "function": {"name": "f"}}
    meaning = request({"messages": [SYSTEM] * 2, "tools": [tool] * 2})
    assert (len(meaning.shared_candidates), meaning.problems) == (4, ())
    meaning = request({"messages": [SYSTEM] * 3, "tools": [tool] * 3})
    assert (len(meaning.shared_candidates), meaning.problems) == (4, ("too_many_items",))
    assert (meaning.message_count, meaning.tool_count) == (3, 3)


def test_no_tools():
    assert request({"messages": [USER], "tools": None}).tool_count == 0
    assert request({"messages": [USER, {"role": "system"}]}).system is None


def test_parts_of_a_reply_of_another_type():
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": 5}}]
    meaning = reply({"choices": [{"message": {"annotations": 5, "tool_calls": calls}}], "moderation": {"a": 10**20}})
    assert meaning.problems == ("member_type",)
    assert meaning.output == b'[{"index":0,"tool_calls":[{"arguments":"","id":"c","name":"f","type":"function"}]}]'
    assert meaning.moderation == b'{"a":"100000000000000000000"}'
    deep = reply(b'{"choices":[],"moderation":' + b"[" * 200 + b"]" * 200 + b"}")
    assert (deep.moderation, deep.problems) == (None, ("too_deep",))
