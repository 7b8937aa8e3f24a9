"""What people write never gets into the text of the SQL, and the fence stands outside of what they ask."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from affidavit.errors import QueryError
from affidavit.index.conditions import Binder, fenced, fenced_by_log, logs_of
from affidavit.index.language import parse, words_of
from affidavit.index.scope import LOGS_MAX, VALUES_MAX, Only, Scope
from affidavit.index.syntax import FIELDS, Match, Query

SCOPE = Scope(logs=("a", "b"), view="masked", only=(Only("team", ("red", "blue")),))
FENCE = "(`log` in ({p0:String}, {p1:String}) and `team` in ({p2:String}, {p3:String})) and ("
HOSTILE = (
    "') or 1=1 --",
    "{p0:String}",
    "a' union all select * from events --",
    "\\'",
    "%(x)s",
    "*/",
    "`",
    "\0",
    "x) or (true",
)
VALUE = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))


def sql_of(query: Query, scope: Scope = SCOPE) -> tuple[str, dict[str, object]]:
    binder = Binder()
    return fenced(query, scope, binder), binder.parameters


@st.composite
def queries(draw: st.DrawFn) -> Query:
    match = st.builds(
        Match, st.sampled_from(sorted(set(FIELDS) - {"status"})), st.lists(VALUE, min_size=1, max_size=3).map(tuple)
    )
    return Query(
        matches=tuple(draw(st.lists(match, max_size=3))),
        exclusions=tuple(draw(st.lists(match, max_size=3))),
        words=tuple(draw(st.lists(VALUE, max_size=2))),
        excluded_words=tuple(draw(st.lists(VALUE, max_size=2))),
    )


@given(queries())
def test_the_text_is_made_of_our_words_only(query: Query) -> None:
    sql, parameters = sql_of(query)
    assert sql.startswith(FENCE)
    inside = sql.removeprefix(FENCE).removesuffix(")")
    bare = re.sub(r"\{p[0-9]+:(String|Int64)\}", "", inside).replace("lowerUTF8", "lower")
    assert re.fullmatch(r"[a-zA-Z_`(), =<>']*", bare)
    assert bare.replace("''", "").count("'") == 0
    # No bracket of the query's closes the one that we opened for it.
    depth = 0
    for character in bare:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    values = {value for match in (*query.matches, *query.exclusions) for value in match.values if value}
    assert {value for value in parameters.values() if isinstance(value, str)} >= (values - {""}) - {
        value for match in (*query.matches, *query.exclusions) if match.field == "finding" for value in match.values
    }


@given(queries(), VALUE.filter(bool), VALUE.filter(bool))
def test_the_text_depends_on_the_shape_alone(query: Query, one: str, other: str) -> None:
    def filled(value: str) -> Query:
        def fill(matches: tuple[Match, ...]) -> tuple[Match, ...]:
            return tuple(Match(match.field, tuple(value for _ in match.values)) for match in matches)

        return Query(
            matches=fill(query.matches),
            exclusions=fill(query.exclusions),
            words=tuple(value for _ in query.words),
            excluded_words=tuple(value for _ in query.excluded_words),
        )

    # A phrase of several words is another shape than a word.
    assume((len(words_of(one)) == 1) == (len(words_of(other)) == 1))
    assert sql_of(filled(one))[0] == sql_of(filled(other))[0]


def test_each_log_has_the_whole_fence_and_the_same_question() -> None:
    binder = Binder()
    query = parse("user:x", now_us=0)
    conditions = fenced_by_log(query, SCOPE, binder, logs=("b", "a"))
    asked = "((`user` in ({p0:String})))"
    assert conditions == {
        "b": "(`log` in ({p1:String}) and `team` in ({p2:String}, {p3:String})) and " + asked,
        "a": "(`log` in ({p4:String}) and `team` in ({p5:String}, {p6:String})) and " + asked,
    }
    assert [binder.parameters[name] for name in ("p1", "p4")] == ["b", "a"]
    with pytest.raises(ValueError, match="the scope does not have"):
        fenced_by_log(query, SCOPE, binder, logs=("a", "c"))


@pytest.mark.parametrize(
    "text",
    ["word", "-word", "user:x", "-user:x", 'prompt:""', "trace:x", "session:x", "workflow:x", "tool:x", "finding:x"],
)
def test_a_header_view_asks_nothing_about_content(text: str) -> None:
    scope = Scope(logs=("a",), view="header", only=())
    with pytest.raises(QueryError, match="header values only"):
        sql_of(parse(text, now_us=0), scope)


def test_a_header_view_does_not_look_at_asserted_names() -> None:
    scope = Scope(logs=("a",), view="header", only=())
    assert "asserted" not in sql_of(parse("app:x team:x -app:y", now_us=0), scope)[0]
    assert "app_asserted" in sql_of(parse("app:x", now_us=0))[0]


def test_logs_that_a_query_rules_out_are_not_asked() -> None:
    assert logs_of(parse("log:b log:c", now_us=0), SCOPE) == ("b",)
    assert logs_of(parse("log:c", now_us=0), SCOPE) == ()
    assert logs_of(parse("-log:b", now_us=0), SCOPE) == ("a", "b")


def test_there_is_no_scope_of_nothing_and_none_of_everything() -> None:
    for logs in ((), ("",), ("a", "a"), tuple(map(str, range(LOGS_MAX + 1)))):
        with pytest.raises(ValueError, match="a scope names"):
            Scope(logs=logs, view="masked", only=())
    for values in ((), ("",), tuple(map(str, range(VALUES_MAX + 1)))):
        with pytest.raises(ValueError, match="predicate"):
            Scope(logs=("a",), view="masked", only=(Only("team", values),))
    Scope(
        logs=tuple(map(str, range(LOGS_MAX))), view="masked", only=(Only("team", tuple(map(str, range(VALUES_MAX)))),)
    )
    with pytest.raises(TypeError):
        Scope(logs=("a",), view="masked")  # type: ignore[call-arg]
