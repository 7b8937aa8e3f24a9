"""The recorded chats: 2,454 real requests as the official client writes them, and their answers."""

import json

import pytest

from affidavit.wire.meaning import read_request, read_response
from affidavit.wire.strings import long_strings


@pytest.fixture(scope="module")
def trajectories(shared_data):
    return json.loads((shared_data / "trajectories" / "gpt-4o-airline.json").read_text())


def written(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def test_every_request_is_read_in_full(trajectories):
    count = 0
    for trajectory in trajectories:
        chat = trajectory["traj"]
        for turn in (number for number, message in enumerate(chat) if message["role"] == "assistant"):
            body = written({"messages": chat[:turn], "model": "gpt-4o", "temperature": 0.0, "user": "u"})
            meaning = read_request(
                dialect="openai.chat", content_type="application/json", content_encoding=None, body=body
            )
            assert (meaning.normalisation, meaning.problems) == ("full", ())
            assert meaning.message_count == turn
            assert meaning.messages == written(chat[:turn])
            assert (meaning.model, meaning.user_hint, meaning.params) == ("gpt-4o", "u", b'{"temperature":"0.0"}')
            ((at, length),) = meaning.shared_candidates
            assert json.loads(body[at : at + length]) == chat[0]["content"]
            assert (at, length) in long_strings(body, minimum=1000)
            count += 1
    assert count == 2454


def test_every_answer_is_read_in_full(trajectories):
    calls = 0
    for trajectory in trajectories:
        for message in trajectory["traj"]:
            if message["role"] != "assistant":
                continue
            body = written(
                {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            )
            meaning = read_response(
                dialect="openai.chat", status=200, content_type="application/json", content_encoding=None, body=body
            )
            assert (meaning.normalisation, meaning.terminal_seen) == ("full", True)
            (choice,) = json.loads(meaning.output)
            assert choice.get("text") == (message["content"] or None)
            told = [(call["id"], call["name"], call["arguments"]) for call in choice.get("tool_calls", ())]
            made = message.get("tool_calls") or ()
            assert told == [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in made]
            assert meaning.tool_call_count == len(made)
            calls += len(made)
    assert calls == 1164
