"""How answers look on the tour: narrow, one line each, and never obeyed."""

import io
from typing import Any

import pytest

from affidavit.demo.checks import Check, Checks
from affidavit.demo.display import WIDTH, Display
from affidavit.event import ACCESS_READ, LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.masked import MaskedRow

CALL = "01985f0e-7c1b-7aaa-8001-0123456789ab"


def row(**members: Any) -> MaskedRow:
    given = {"log": "default", "leaf": 1, "id": CALL, "call": CALL, "type": LLM_REQUEST, "time_us": 1, "user": "user-1"}
    return MaskedRow(**{**given, **members})


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def display(stream: io.StringIO) -> Display:
    return Display(stream)


def shown(display: Display, stream: io.StringIO, *rows: MaskedRow, about: str = "", most: int = 9) -> list[str]:
    display.rows(rows, most=most, about=about)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert all(len(line) <= WIDTH for line in lines)
    return lines[1:]


@pytest.mark.parametrize(
    ("text", "about", "seen"),
    [
        ("a lamp", "", "a lamp"),
        ("a lamp", "lamp", "a lamp"),
        ("one\n two\n\tthree", "", "one two three"),
        (f"{'word ' * 20}lamp at the end", "lamp", "…word word word lamp at the end"),
        (f"{'word ' * 20}lamp, then a Lamp", "lamp", "…lamp, then a Lamp"),
        (f"{'word ' * 20}lamps", "lamp", "word word word word word word word w…"),
        (f"{'w' * 40}=<CARD:abc234>", "<CARD", "…wwwwwwwwwwwwwww=<CARD:abc234>"),
        ("[bold]not markup[/bold]", "", "[bold]not markup[/bold]"),
        ("\x1b[31mnot red", "", r"\x1b[31mnot red"),
    ],
)
def test_of_a_text_the_surroundings_of_the_last_hit_are_shown(
    display: Display, stream: io.StringIO, text: str, about: str, seen: str
) -> None:
    (line,) = shown(display, stream, row(text=text), about=about)
    assert line == f"{CALL}  llm.request    user-1    {seen}"


def test_an_answer_says_its_outcome_and_a_reading_its_view(display: Display, stream: io.StringIO) -> None:
    answer = row(type=LLM_RESPONSE, outcome="ok", text="Hello")
    reading = row(type=ACCESS_READ, call=None, view="wire", text="show")
    assert [line.split() for line in shown(display, stream, answer, reading)] == [
        [CALL, "ok", "user-1", "Hello"],
        [CALL, "access.read", "user-1", "wire:", "show"],
    ]


def test_what_is_left_out_is_counted(display: Display, stream: io.StringIO) -> None:
    assert shown(display, stream, *[row()] * 5, most=3)[3:] == ["  … and 2 more"]


def test_money_is_exact_and_by_currency(display: Display, stream: io.StringIO) -> None:
    groups = [
        {"team": "", "records": 3, "calls": 2, "cost_nano": {"USD": 5_550, "EUR": 2 * 10**9 + 1}, "not_priced": 1},
        {"team": "a", "records": 1, "calls": 1, "cost_nano": {}, "not_priced": 0},
    ]
    display.groups(groups)
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["team", "calls", "cost", "unpriced"],
        ["–", "2", "0.00000555", "USD,", "2.000000001", "EUR", "1"],
        ["a", "1", "–", "0"],
    ]


def test_no_groups_are_a_dash(display: Display, stream: io.StringIO) -> None:
    display.groups([])
    assert stream.getvalue().strip() == "–"


def test_a_command_can_be_pasted(display: Display, stream: io.StringIO) -> None:
    display.command("search", "<EMAIL:abc234>", '"two words"', "type:llm.request")
    assert stream.getvalue() == "affidavit search '<EMAIL:abc234>' '\"two words\"' type:llm.request\n"


def test_masked_content_is_a_line_for_each_part_with_a_tool_before_its_arguments(
    display: Display, stream: io.StringIO
) -> None:
    display.content(
        {
            "content": {
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello\nthere"}]}],
                "output": [{"type": "tool_use", "id": "toolu_1", "input": '{"a":1}', "name": "find"}],
            }
        }
    )
    display.content({"content": {"state": "pending"}})
    assert [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()] == [
        "  user      Hello there",
        '  tool_use  find {"a":1}',
    ]


def test_a_quiet_check_counts_and_is_not_shown(display: Display, stream: io.StringIO) -> None:
    checks = Checks(display)
    checks.check("it holds", holds=True)
    checks.quietly("it is quiet", holds=False)
    assert checks.all == (Check("it holds", ok=True), Check("it is quiet", ok=False))
    assert checks.failed == ["it is quiet"]
    assert stream.getvalue() == "  ok    it holds\n"
