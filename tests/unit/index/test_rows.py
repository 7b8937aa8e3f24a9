"""A row goes into the index and comes back the same."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from affidavit.index.rows import format_rows, parse_row
from affidavit.index.schema import COLUMNS
from affidavit.seal.masked import MaskedRow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = st.one_of(st.none(), TEXT.filter(bool))
COUNT = st.one_of(st.none(), st.integers(min_value=0, max_value=2**53))
ROWS = st.builds(
    MaskedRow,
    log=TEXT.filter(bool),
    leaf=st.integers(min_value=0, max_value=2**53),
    id=TEXT.filter(bool),
    call=NAME,
    type=TEXT.filter(bool),
    time_us=st.integers(min_value=0, max_value=2**53),
    model_served=NAME,
    outcome=NAME,
    status=COUNT,
    stream=st.one_of(st.none(), st.booleans()),
    received_us=COUNT,
    last_byte_us=COUNT,
    input_uncached=COUNT,
    image=COUNT,
    output_text=COUNT,
    cost_nano=COUNT,
    user=NAME,
    tools=st.lists(TEXT, max_size=3).map(tuple),
    opened=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3).map(tuple),
    text=TEXT,
    findings=st.dictionaries(TEXT, st.integers(0, 9), max_size=3),
    cites=st.lists(st.integers(0, 9), max_size=3).map(tuple),
)


def line_of(row: MaskedRow) -> dict[str, object]:
    return dict(zip(COLUMNS, msgspec.json.decode(format_rows([row])), strict=True))


@given(ROWS)
def test_what_went_in_comes_out(row: MaskedRow) -> None:
    line = line_of(row)
    assert parse_row(line["row"], line["text"]) == row


@given(ROWS)
def test_the_text_is_there_once(row: MaskedRow) -> None:
    row = msgspec.structs.replace(row, text="canary of the text")
    assert format_rows([row]).count(b"canary of the text") == 1


@given(ROWS)
def test_tokens_are_sums_of_what_was_reported(row: MaskedRow) -> None:
    line = line_of(row)
    known_in = [count for count in (row.input_uncached, row.image) if count is not None]
    assert line["input_tokens"] == (sum(known_in) if known_in else None)
    assert line["output_tokens"] == row.output_text
    if known_in or row.output_text is not None:
        assert line["tokens"] == sum(known_in) + (row.output_text or 0)
    else:
        assert line["tokens"] is None


def test_half_a_character_does_not_stop_the_index() -> None:
    row = MaskedRow(log="default", leaf=0, id="x", type="llm.request", time_us=0, user="a\udc80", text="b\ud800c")
    line = line_of(row)
    assert parse_row(line["row"], line["text"]) == msgspec.structs.replace(row, user="a?", text="b?c")
