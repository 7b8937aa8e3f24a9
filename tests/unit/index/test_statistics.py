"""Sums are those of the rows, by whatever way ClickHouse takes to them."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affidavit.errors import QueryError
from affidavit.index import statistics as module
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.scope import Only, Scope
from affidavit.index.statistics import FACET_VALUES_MAX, Dimension, facets, stats
from affidavit.index.store import Store
from affidavit.index.syntax import Query
from affidavit.seal.masked import MaskedRow
from tests.support.index_oracle import expected
from tests.support.masked_rows import DAY_US, RowMaker

MAKER = RowMaker(seed=9, vocabulary=100, users=30, words=8, span_us=10 * DAY_US, rows=1000)
ROWS = [*MAKER.rows("a", first=0, count=800), *MAKER.rows("b", first=0, count=200)]
ALL = Scope(logs=("a", "b"), view="masked", only=())
BY = {"log": "log", "team": "team", "env": "environment", "outcome": "outcome", "user": "user", "type": "type"}
MOMENTS = ("2026-09-22", "2026-09-23T10:30", "2026-09-24", "2026-09-26T00:00:00.000001", "2026-09-23T11:00", "1w")


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    follower = Follower(store)
    for begin in range(0, len(ROWS), 250):
        follower.apply(ROWS[begin : begin + 250])
    return store


def summed(rows: list[MaskedRow], by: tuple[str, ...]) -> dict[tuple[str, ...], tuple[object, ...]]:
    groups: dict[tuple[str, ...], list[MaskedRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, BY[name]) or "" for name in by), []).append(row)
    result = {}
    for key, members in groups.items():
        cost: Counter[str] = Counter()
        for row in members:
            if row.currency:
                cost[row.currency] += row.cost_nano or 0
        result[key] = (
            len(members),
            sum(row.outcome is not None for row in members),
            sum(row.outcome not in {None, "ok"} for row in members),
            sum(row.input_uncached or 0 for row in members),
            sum(row.output_text or 0 for row in members),
            dict(cost),
            sum(row.cost_state == "not_priced" for row in members),
        )
    return result


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(sorted(BY)), max_size=3, unique=True).map(tuple),
    st.tuples(
        st.one_of(st.just(""), st.sampled_from(MOMENTS).map("since:{}".format)),
        st.one_of(st.just(""), st.sampled_from(MOMENTS).map("until:{}".format)),
    ).map(" ".join),
    st.sampled_from(["", "team:team-3", "user:user-1", MAKER.vocabulary[0], "-outcome:ok", "cost>0.001"]),
    st.sampled_from([ALL, Scope(logs=("b",), view="masked", only=(Only("environment", ("prod",)),))]),
)
def test_sums_are_those_of_the_rows(filled: Store, by: tuple[str, ...], times: str, term: str, scope: Scope) -> None:
    try:
        query = parse(f"{times} {term}", now_us=ROWS[799].time_us)
    except QueryError:
        return
    groups = stats(filled, query, scope, by=by)
    found = {
        group.key: (
            group.records,
            group.calls,
            group.failed,
            group.input_tokens,
            group.output_tokens,
            group.cost_nano,
            group.not_priced,
        )
        for group in groups
    }
    assert found == summed(expected(ROWS, query, scope), by)
    assert list(found) == sorted(found)


def test_days_and_hours_are_utc(filled: Store) -> None:
    assert [group.key for group in stats(filled, Query(), ALL, by=("day",))][:2] == [("2026-09-21",), ("2026-09-22",)]
    first = stats(filled, Query(), ALL, by=("hour",))[0]
    assert first.key == ("2026-09-21T14:00Z",)


def test_a_call_without_a_price_costs_nothing_and_is_counted(filled: Store) -> None:
    query = parse("type:llm.response", now_us=0)
    (group,) = stats(filled, query, ALL, by=())
    unpriced = [row for row in ROWS if row.cost_state == "not_priced"]
    assert group.not_priced == len(unpriced) > 0
    assert group.cost_nano == {
        currency: sum(row.cost_nano or 0 for row in ROWS if row.currency == currency) for currency in ("USD", "EUR")
    }


@pytest.mark.parametrize(
    ("by", "roll_up"), [(("team", "day"), "spend"), (("user",), "spend_by_user"), (("day", "user"), "spend_by_user")]
)
def test_sums_by_team_user_and_day_come_from_a_roll_up(
    filled: Store, monkeypatch: pytest.MonkeyPatch, by: tuple[Dimension, ...], roll_up: str
) -> None:
    asked: list[tuple[str, dict[str, object]]] = []
    read = filled.read

    def noted(sql: str, parameters: dict[str, object]) -> Sequence[Sequence[object]]:
        asked.append((sql, parameters))
        return read(sql, parameters)

    monkeypatch.setattr(filled, "read", noted)
    stats(filled, Query(), ALL, by=by)
    ((sql, parameters),) = asked
    assert f"ReadFromMergeTree ({roll_up})" in str(read("explain projections = 1 " + sql, parameters))


@pytest.mark.parametrize("text", ["", "user:user-0", MAKER.vocabulary[0], "user:nobody"])
def test_facets_count_what_matches(filled: Store, text: str) -> None:
    query = parse(text, now_us=0)
    rows = expected(ROWS, query, ALL)
    found = facets(filled, query, ALL)
    assert (found.counted, found.complete) == (len(rows), True)
    for field, member in {"team": "team", "user": "user", "outcome": "outcome", "type": "type"}.items():
        counts = Counter(getattr(row, member) or "" for row in rows)
        assert dict(found.values[field]).items() <= counts.items()
        assert [count for _, count in found.values[field]] == sorted(counts.values(), reverse=True)[:FACET_VALUES_MAX]


def test_facets_say_values_as_they_are(filled: Store) -> None:
    strange = ['a","b', "[]", "\\", "\0", "a/b", "日本語 \N{PILE OF POO}", "\n\t", "', 1)", "{p0:String}", ""]
    made = MAKER.rows("strange", first=0, count=len(strange))
    rows = [
        msgspec.structs.replace(row, model_requested=value or None, model_served=None, user=value[::-1] or None)
        for row, value in zip(made, strange, strict=True)
    ]
    Follower(filled).apply(rows)
    found = facets(filled, Query(), Scope(logs=("strange",), view="masked", only=())).values
    assert sorted(found["model"]) == sorted((value, 1) for value in strange)
    assert sorted(found["user"]) == sorted((value[::-1], 1) for value in strange)


def test_facets_look_back_only_as_far_as_they_must(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACET_LEAVES", 16)
    scope = Scope(logs=("a",), view="masked", only=())
    monkeypatch.setattr(module, "FACET_ROWS", 10)
    found = facets(filled, Query(), scope)
    assert (found.counted, found.complete) == (16, False)
    assert dict(found.values["type"]) == Counter(row.type for row in ROWS[784:800])
    monkeypatch.setattr(module, "FACET_ROWS", 100)
    found = facets(filled, Query(), scope)
    assert found.counted >= 100
    assert dict(found.values["type"]) == Counter(row.type for row in ROWS[800 - found.counted : 800])
    found = facets(filled, parse("user:nobody", now_us=0), ALL)
    assert (found.counted, found.complete) == (0, True)


def test_what_came_out_of_a_body_divides_no_header_view(filled: Store) -> None:
    scope = Scope(logs=("a",), view="header", only=())
    with pytest.raises(QueryError, match="header values only"):
        stats(filled, Query(), scope, by=("team", "user"))
    assert "user" not in facets(filled, Query(), scope).values


def test_bounds_of_a_sum(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(QueryError, match="different fields"):
        stats(filled, Query(), ALL, by=("team", "team"))
    with pytest.raises(QueryError, match="different fields"):
        stats(filled, Query(), ALL, by=("team", "app", "model", "env", "day"))
    teams = len(stats(filled, Query(), Scope(logs=("a",), view="masked", only=()), by=("user",)))
    monkeypatch.setattr(module, "GROUPS_MAX", teams - 1)
    with pytest.raises(QueryError, match="divide by fewer"):
        stats(filled, Query(), ALL, by=("user",))


def test_logs_outside_of_the_query_are_not_asked(filled: Store) -> None:
    assert stats(filled, parse("log:elsewhere", now_us=0), ALL, by=()) == ()
    assert facets(filled, parse("log:elsewhere", now_us=0), ALL).counted == 0
