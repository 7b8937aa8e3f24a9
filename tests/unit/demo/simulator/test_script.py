import json
from pathlib import Path

import pytest

from affidavit.demo.simulator.script import load_trajectories, script_of
from affidavit.errors import FormatError

CONVERSATION = [
    {"role": "user", "content": "Where?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "here"},
    {"role": "assistant", "content": "Hére.\n"},
]


def test_the_turn_that_follows_is_given_with_every_character() -> None:
    script = script_of([CONVERSATION])
    assert len(script) == 2
    first = script.turn_after(json.dumps(CONVERSATION[:1]).encode())
    assert first is not None
    assert (first.text, first.calls[0].id, first.calls[0].arguments) == (None, "call_1", '{"a": 1}')
    # Written otherwise, but the same messages.
    second = script.turn_after(json.dumps(CONVERSATION[:3], indent=2, sort_keys=True).encode())
    assert second is not None
    assert second.text == "Hére.\n"


def test_other_messages_have_no_turn() -> None:
    script = script_of([CONVERSATION])
    assert script.turn_after(b'[{"role": "user", "content": "Where"}]') is None
    assert script.turn_after(json.dumps(CONVERSATION).encode()) is None


def test_conversations_that_begin_alike_take_turns() -> None:
    begin = {"role": "user", "content": "Hi"}
    script = script_of([[begin, {"role": "assistant", "content": text}] for text in ("one", "two")])
    asked = json.dumps([begin]).encode()
    given = [turn.text for turn in (script.turn_after(asked) for _ in range(3)) if turn is not None]
    assert given == ["one", "two", "one"]


def test_anthropic_blocks_are_a_turn_as_well() -> None:
    blocks = [
        {"type": "text", "text": "Done."},
        {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"a": 1}},
    ]
    script = script_of([[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": blocks}]])
    turn = script.turn_after(b'[{"content": "Hi", "role": "user"}]')
    assert turn is not None
    assert (turn.text, turn.calls[0].arguments) == ("Done.", '{"a":1}')


def test_a_file_of_trajectories_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps([{"traj": CONVERSATION, "reward": 1}, {"messages": CONVERSATION[:2]}]))
    assert load_trajectories(path) == [CONVERSATION, CONVERSATION[:2]]


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"traj": [{"content": "secret"}]}]', '[{"traj": "secret"}]'])
def test_another_file_is_refused_in_words_that_hold_nothing_of_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        load_trajectories(path)
    assert "nothing was sent" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_trajectories(tmp_path / "none.json")
