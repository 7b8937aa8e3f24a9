import msgspec
from hypothesis import given
from hypothesis import strategies as st

from affidavit.demo.simulator.turn import Question, Tool, ToolCall, compose, cut, pieces

FIND = Tool(
    name="find_order",
    schema={
        "type": "object",
        "properties": {
            "order": {"type": "string"},
            "count": {"type": "integer"},
            "kind": {"type": "string", "enum": ["lamp", "bulb"]},
            "notes": {"type": "array", "items": {"type": "boolean"}},
        },
    },
)


def test_an_answer_says_that_it_is_simulated() -> None:
    turn = compose(Question(text="Where is it?"), words=None, refusal=0)
    assert turn.text == "Simulated answer to: Where is it?"


def test_a_tool_that_the_question_names_is_called_with_arguments_that_fit_its_schema() -> None:
    turn = compose(Question(text="Which order is A-1042, a bulb?", tools=(FIND,), parallel=1), words=None, refusal=0)
    assert turn.text is None
    (call,) = turn.calls
    assert msgspec.json.decode(call.arguments) == {"order": "A-1042", "count": 1042, "kind": "bulb", "notes": [True]}


def test_no_tool_is_called_when_none_is_named_or_its_result_is_there() -> None:
    assert compose(Question(text="Hello", tools=(FIND,)), words=None, refusal=0).calls == ()
    answered = Question(text="Which order?", tools=(FIND,), results=("in transit",))
    assert compose(answered, words=None, refusal=0).text == "Simulated answer. The tool said: in transit"


def test_a_demanded_tool_is_called_whatever_the_question_says() -> None:
    turn = compose(Question(text="Hello", tools=(FIND,), demanded="*"), words=None, refusal=0)
    assert [call.name for call in turn.calls] == ["find_order"]
    assert isinstance(turn.calls[0], ToolCall)


def test_a_schema_that_never_ends_does_not_either() -> None:
    deep: dict[str, object] = {"type": "object"}
    deep["properties"] = {"again": deep}
    turn = compose(Question(text="x", answer_schema=deep), words=None, refusal=0)
    assert turn.text is not None
    assert turn.text.count("again") == 8


@given(st.text())
def test_pieces_put_together_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text(max_size=60), st.integers(min_value=0, max_value=12))
def test_a_limit_keeps_a_beginning_of_at_most_that_many_pieces(text: str, limit: int) -> None:
    kept, met, too_long = cut(text, stop=(), tokens_max=limit)
    assert text.startswith(kept)
    assert met is None
    assert len(pieces(kept)) <= limit
    assert bool(too_long) == (len(pieces(text)) > limit)


def test_a_stop_sequence_ends_the_text_before_it() -> None:
    assert cut("one STOP two", stop=("STOP",), tokens_max=None) == ("one ", "STOP", 0)
