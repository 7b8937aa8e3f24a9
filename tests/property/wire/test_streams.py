"""An answer means the same whether it came whole or in pieces, and however the pieces are cut."""

import json
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from affidavit.wire.meaning import read_response

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text("abc_", min_size=1, max_size=6)


def pieces(draw, text):
    """Cut a text anywhere, empty pieces included."""
    places = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=3))})
    cut = [text[start:end] for start, end in pairwise(places)] or [""]
    return ["", *cut] if draw(st.booleans()) else cut


@st.composite
def openai_answers(draw):
    """A reply, and the chunks of a stream of it, choices mixed."""
    choices, queues = [], []
    for index in range(draw(st.integers(1, 3))):
        text, refusal, thought = draw(TEXTS), draw(TEXTS), draw(TEXTS)
        calls = [
            {"id": f"call_{number}", "type": "function", "function": {"name": draw(NAMES), "arguments": draw(TEXTS)}}
            for number in range(draw(st.integers(0, 3)))
        ]
        finish = draw(st.sampled_from(["stop", "length", "tool_calls"]))
        message = {
            "role": "assistant",
            "content": text or None,
            "refusal": refusal or None,
            "reasoning_content": thought,
        }
        if calls:
            message["tool_calls"] = calls
        choices.append({"index": index, "message": message, "finish_reason": finish})
        deltas = [{"role": "assistant", "content": None if calls else ""}]
        deltas += [{"reasoning_content": piece} for piece in pieces(draw, thought)]
        deltas += [{"content": piece} for piece in pieces(draw, text)]
        deltas += [{"refusal": piece} for piece in pieces(draw, refusal)]
        for number, call in enumerate(calls):
            first, *rest = pieces(draw, call["function"]["arguments"])
            deltas.append(
                {"tool_calls": [{**call, "index": number, "function": {**call["function"], "arguments": first}}]}
            )
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in rest]
        queue = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
        queues.append([*queue, {"index": index, "delta": {}, "finish_reason": finish}])
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    head = {"id": "c", "model": "m", "system_fingerprint": "fp", "service_tier": "default"}
    chunks = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append({**head, "choices": [queue.pop(0)], "usage": None})
    chunks.append({**head, "choices": [], "usage": usage})
    return {**head, "choices": choices, "usage": usage}, chunks


def read(body, *, dialect, content_type):
    return read_response(dialect=dialect, status=200, content_type=content_type, content_encoding=None, body=body)


def same(whole, streamed):
    assert streamed == msgspec.structs.replace(whole, stream=True)
    assert (whole.normalisation, whole.terminal_seen) == ("full", True)


@given(answer=openai_answers(), escaped=st.booleans())
def test_openai(answer, escaped):
    reply, chunks = answer
    body = json.dumps(reply, ensure_ascii=escaped, separators=(",", ":")).encode()
    events = [json.dumps(chunk, ensure_ascii=escaped, separators=(",", ":")) for chunk in chunks]
    stream = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
    whole = read(body, dialect="openai.chat", content_type="application/json")
    assert whole.usage.raw in body
    same(whole, read(stream, dialect="openai.chat", content_type="text/event-stream"))


@st.composite
def anthropic_answers(draw):
    """A reply, and the events of a stream of it."""
    content, events = [], []
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "thinking", "tool_use", "web_search_tool_result"]))
        if kind == "text":
            text = draw(TEXTS)
            block, begun = {"type": kind, "text": text}, {"type": kind, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(draw, text)]
        elif kind == "thinking":
            thought = draw(TEXTS)
            block = {"type": kind, "thinking": thought, "signature": "sig"}
            begun = {"type": kind, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(draw, thought)]
            deltas.append({"type": "signature_delta", "signature": "sig"})
        elif kind == "tool_use":
            given_input = draw(st.dictionaries(NAMES, st.one_of(TEXTS, st.floats(0, 1)), max_size=3))
            text = json.dumps(given_input, separators=(",", ":"))
            block = {"type": kind, "id": "t", "name": draw(NAMES), "input": given_input}
            begun = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(draw, text)]
        else:
            block = {"type": kind, "tool_use_id": "t", "content": [{"title": draw(TEXTS), "score": 0.5}]}
            begun, deltas = block, []
        content.append(block)
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    usage = {"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 2, "service_tier": "standard"}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "c"}
    stop = {"stop_reason": draw(st.sampled_from(["end_turn", "tool_use"])), "stop_sequence": None}
    begun_usage = {**usage, "output_tokens": 1}
    start = {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": begun_usage}}
    end = {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 5}}
    return {**head, "content": content, **stop, "usage": usage}, [start, {"type": "ping"}, *events, end]


@given(answer=anthropic_answers())
def test_anthropic(answer):
    reply, events = answer
    body = json.dumps(reply, separators=(",", ":")).encode()
    stream = "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in [*events, {"type": "message_stop"}]
    ).encode()
    whole = read(body, dialect="anthropic.messages", content_type="application/json")
    same(whole, read(stream, dialect="anthropic.messages", content_type="text/event-stream"))
