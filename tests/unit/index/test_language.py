"""What a text means, what is refused, and in which words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import QueryError
from affidavit.index.language import LENGTH_MAX, TERMS_MAX, WORDS_MAX, parse
from affidavit.index.syntax import FIELDS, MEASURES, Comparison, Match, Query

NOW_US = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z


def read(text: str) -> Query:
    return parse(text, now_us=NOW_US)


def test_the_example_of_the_documentation() -> None:
    query = read('user:ana model:gpt-4o "refund" since:2h -word cost>0.01 tokens>1000')
    assert query == Query(
        matches=(Match("user", ("ana",)), Match("model", ("gpt-4o",))),
        comparisons=(Comparison("cost", ">", 10_000_000), Comparison("tokens", ">", 1000)),
        since_us=NOW_US - 7_200_000_000,
        words=("refund",),
        excluded_words=("word",),
    )


def test_a_field_again_means_or_and_with_a_minus_neither() -> None:
    query = read("user:ana user:bo user:ana -app:x -app:y")
    assert query.matches == (Match("user", ("ana", "bo")),)
    assert query.exclusions == (Match("app", ("x", "y")),)


def test_values_and_phrases_are_quoted_alike() -> None:
    query = read(r'user:"a b" "credit note" team:"say \"hi\" \\ x" USER:"" <EMAIL:ab12cd> -"two words"')
    assert query.matches == (Match("user", ("a b", "")), Match("team", ('say "hi" \\ x',)))
    assert query.words == ("credit note", "<EMAIL:ab12cd>")
    assert query.excluded_words == ("two words",)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW_US - 30_000_000),
        ("15m", NOW_US - 900_000_000),
        ("7d", NOW_US - 7 * 86_400_000_000),
        ("4w", NOW_US - 28 * 86_400_000_000),
        ("2026-01-05", 1_767_571_200_000_000),
        ("2026-01-05T10:30", 1_767_609_000_000_000),
        ("2026-01-05T10:30:00.000001Z", 1_767_609_000_000_001),
        ("2026-01-05T12:30+02:00", 1_767_609_000_000_000),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert read(f"since:{text}").since_us == moment


def test_a_day_is_included_in_until_and_a_moment_is_not() -> None:
    assert read("until:2026-01-05").until_us == 1_767_571_200_000_000 + 86_400_000_000
    assert read("until:2026-01-05T00:00").until_us == 1_767_571_200_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("usr:ana", "did you mean `user`?"),
        ("zzzz:ana", "no field `zzzz`; To look for it as text, put quotes round it"),
        ("https://example.org", "no field `https`"),
        ("a user:", "at character 3 of the query: nothing follows `user:`"),
        ('"open', "opens at character 1 is never closed"),
        ('user:"open', "opens at character 6 is never closed"),
        ("--", "no letter or digit"),
        ('""', "no letter or digit"),
        ("cost:5", "write `cost>5`"),
        ("-cost>5", "write `cost<=5`"),
        ("cost>1e3", "a plain number"),
        ("tokens>0.5", "a plain number"),
        ("tokens>99999999999999999999", "past 9007199254740992"),
        ("cost>1234567890", "at most 9 digits"),
        ("cost>0.0000000001", "at most 9 digits"),
        ("user>5", "write `user:`"),
        ("since:yesterday", "a duration such as 2h"),
        ("since:2026-02-30", "no such date"),
        ("since:2h since:3h", "a second time"),
        ("since>2h", "write `since:`"),
        ("-since:2h", "write `since:`"),
        ("since:1h until:2h", "exchange them"),
        ("id:1234567", "at least 8 characters"),
        ("status:2x", "429"),
        ('log:""', "every record has a log"),
        ("bad \udc80", "lone surrogate"),
    ],
)
def test_an_error_says_what_and_where_and_what_instead(text: str, said: str) -> None:
    with pytest.raises(QueryError, match=re.escape(said)):
        read(text)


def test_the_bounds_hold_at_the_number_and_past_it() -> None:
    read("x" * LENGTH_MAX)
    read("-user:x " * TERMS_MAX)
    read("w " * WORDS_MAX)
    for text in ("x" * (LENGTH_MAX + 1), "-user:x " * (TERMS_MAX + 1), "w " * (WORDS_MAX + 1)):
        with pytest.raises(QueryError, match="at most"):
            read(text)


PIECES = st.sampled_from(
    [
        *(f"{name}:" for name in FIELDS),
        *(f"{name}>" for name in MEASURES),
        "since:",
        "until:",
        "-",
        '"',
        "\\",
        " ",
        "<",
        "2h",
        "5xx",
        "ü",
        "0.1",
    ]
)


@given(st.one_of(st.text(max_size=80), st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=20).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        query = read(text)
    except QueryError:
        return
    assert all(match.values for match in (*query.matches, *query.exclusions))


@given(st.sampled_from(sorted(set(FIELDS) - {"id", "call", "status", "log"})), st.text(max_size=30))
def test_any_value_can_be_quoted(field: str, value: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in value):
        return
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert read(f'{field}:"{quoted}"').matches == (Match(field, (value,)),)
