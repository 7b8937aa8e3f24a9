"""The rows that a query gives: exactly those that it means, in order, and none from outside of the scope."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affidavit.errors import QueryError
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.query import HEADER_MEMBERS, ROWS_MAX, differences, find, get, search, tail, walk
from affidavit.index.scope import Only, Scope
from affidavit.index.store import Store
from affidavit.index.syntax import Query
from affidavit.seal.masked import MaskedRow
from tests.support.index_oracle import expected
from tests.support.masked_rows import RowMaker

LOGS = ("alpha", "beta", "system")
ALL = Scope(logs=LOGS, view="masked", only=())
MAKER = RowMaker(seed=7, vocabulary=300, users=12, words=12, rows=1500)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made_rows() -> list[MaskedRow]:
    source = random.Random(3)
    rows = [
        row for log, count in zip(LOGS, (700, 500, 40), strict=True) for row in MAKER.rows(log, first=0, count=count)
    ]
    strange = {
        # Times that run against the order of leaves, and ties: order is by leaf all the same.
        5: {"time_us": rows[5].time_us + 10**12},
        6: {"time_us": rows[7].time_us},
        8: {"text": "Überweisung an <EMAIL:ab12cd>, refund-policy; REFUND", "user": "ana b"},
        9: {"text": "", "mask_state": "pending", "user": None, "trace": None},
        10: {"app": "unregistered", "app_asserted": "shadow", "team": None, "team_asserted": "red"},
        12: {"text": "refund policy of 日本語 text", "user": "it's {p0:String} \\ 100%"},
    }
    for index, changes in strange.items():
        rows[index] = msgspec.structs.replace(rows[index], **changes)
    return [msgspec.structs.replace(row, user="common") if source.random() < 0.02 else row for row in rows]


ROWS = made_rows()


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    follower = Follower(store)
    for begin in range(0, len(ROWS), 300):  # several parts a log
        follower.apply(ROWS[begin : begin + 300])
    return store


def everything(store: Store, query: Query, scope: Scope, *, limit: int = ROWS_MAX) -> list[MaskedRow]:
    rows: list[MaskedRow] = []
    after = None
    while True:
        page = search(store, query, scope, limit=limit, after=after)
        rows += page.rows
        after = page.next
        if after is None:
            return rows


def places(rows: list[MaskedRow]) -> list[tuple[str, int]]:
    return sorted((row.log, row.leaf) for row in rows)


COMMON, RARE = MAKER.vocabulary[0], MAKER.vocabulary[200]
TERMS = st.sampled_from(
    [
        *("user:user-0", "user:user-5", 'user:"ana b"', "user:nobody", 'user:""', "-user:user-0", "user:common"),
        *("model:gpt-4o", "model:claude-haiku-4-5", "-model:gpt-4o", 'model:""', "app:app-1", "app:shadow", 'app:""'),
        *(
            "team:team-3",
            "team:red",
            "-team:red",
            'team:""',
            "env:prod",
            "-env:prod",
            "type:llm.response",
            "provider:x",
        ),
        *("outcome:ok", 'outcome:""', "-outcome:error", "status:200", "status:4xx", "-status:2xx", 'status:""'),
        *("tool:lookup_order", '-tool:""', "finding:email", 'finding:""', "workflow:run-0", "prompt:support@0"),
        *("session:user-0/0", f"trace:{ROWS[20].trace}", 'trace:""', f"id:{ROWS[30].id}", f"call:{ROWS[31].call[:10]}"),
        *(
            "log:alpha",
            "log:beta",
            "-log:alpha",
            "log:elsewhere",
            "cost>0.005",
            "cost<=0.001",
            "tokens>=1000",
            "ms<500",
        ),
        *("since:2026-10-01", "until:2026-11-01", "since:30d", COMMON, RARE, f"-{COMMON}", "REFUND", "<EMAIL:ab12cd>"),
        *(
            "überweisung",
            '"refund policy"',
            '"policy refund"',
            "refund-policy",
            "日本語",
            "refu",
            f'"{COMMON} {COMMON}"',
        ),
    ]
)
SCOPES = st.builds(
    Scope,
    logs=st.sets(st.sampled_from([*LOGS, "elsewhere"]), min_size=1).map(tuple),
    view=st.just("masked"),
    only=st.one_of(
        st.just(()),
        st.sampled_from(
            [
                (Only("team", ("team-1", "team-2", "team-3")),),
                (Only("environment", ("test",)), Only("user", ("user-0", "user-1"))),
                (Only("team", ("red",)),),
            ]
        ),
    ),
)


@QUICK
@given(st.lists(TERMS, max_size=4, unique=True), SCOPES)
def test_a_query_gives_the_rows_that_it_means(filled: Store, terms: list[str], scope: Scope) -> None:
    try:
        query = parse(" ".join(terms), now_us=ROWS[699].time_us)
    except QueryError:
        return
    assert places(everything(filled, query, scope)) == places(expected(ROWS, query, scope))


@pytest.mark.parametrize(
    "term", ["REFUND", "refund-policy", '"refund policy"', "<EMAIL:ab12cd>", "überweisung", "日本語", 'user:"ana b"']
)
def test_strange_text_is_found(filled: Store, term: str) -> None:
    query = parse(term, now_us=0)
    found = places(everything(filled, query, ALL))
    assert found
    assert found == places(expected(ROWS, query, ALL))


def test_a_phrase_is_looked_for_as_each_log_spells_it(filled: Store) -> None:
    place = "<EMAIL:ab12cd>"
    query = Query(words=("ana@example.org",), spellings={"ana@example.org": {"alpha": place, "beta": "<EMAIL:zzzzzz>"}})
    assert [(row.log, row.leaf) for row in everything(filled, query, ALL)] == [("alpha", 8)]
    elsewhere = msgspec.structs.replace(query, spellings={"ana@example.org": {"beta": place}})
    assert everything(filled, elsewhere, ALL) == []
    beta = Scope(logs=("beta",), view="masked", only=())
    assert everything(filled, query, beta) == [], "no spelling leads out of the scope"
    without = Query(excluded_words=query.words, spellings=query.spellings)
    assert len(everything(filled, without, ALL)) == len(everything(filled, Query(), ALL)) - 1


def test_a_value_that_looks_like_sql_is_a_value(filled: Store) -> None:
    query = parse(r'''user:"it's {p0:String} \\ 100%"''', now_us=0)
    assert places(everything(filled, query, ALL)) == [("alpha", 12)]


@QUICK
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.one_of(TERMS, st.sampled_from(["-log:beta", "log:beta", "') or true --"])), max_size=6).map(
            " ".join
        ),
    )
)
def test_nothing_that_is_written_leaves_the_scope(filled: Store, text: str) -> None:
    fence = Scope(logs=("beta",), view="masked", only=(Only("team", ("team-1", "team-2")),))
    try:
        query = parse(text, now_us=ROWS[0].time_us)
    except QueryError:
        return
    for row in everything(filled, query, fence):
        assert row.log == "beta"
        assert row.team in {"team-1", "team-2"}


def test_a_row_comes_back_whole(filled: Store) -> None:
    assert get(filled, ALL, log="alpha", leaf=8) == ROWS[8]
    assert everything(filled, parse("log:alpha", now_us=0), ALL) == ROWS[699::-1]


@pytest.mark.parametrize("text", ["", "user:user-0", COMMON])
def test_a_page_of_one_log_begins_with_the_newest_parts_and_reads_rows_last(
    filled: Store, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    asked: list[tuple[str, dict[str, object]]] = []
    read = filled.read_lines

    def noted(sql: str, parameters: dict[str, object]) -> list[list[object]]:
        asked.append((sql, parameters))
        return read(sql, parameters)

    monkeypatch.setattr(filled, "read_lines", noted)
    search(filled, parse(text, now_us=0), Scope(logs=("alpha",), view="masked", only=()), limit=5)
    ((sql, parameters),) = asked
    plan = str(filled.read("explain actions = 1 " + sql, parameters))
    assert "InReverseOrder" in plan
    assert "Virtual row conversions" in plan, "or every part is begun"
    assert "Lazily read columns" in plan, "or whole rows are read to find out that they do not match"


@pytest.mark.parametrize("limit", [1, 40, 300])
def test_pages_neither_repeat_nor_lose_and_keep_each_log_in_order(filled: Store, limit: int) -> None:
    query = parse("user:user-9" if limit == 1 else "", now_us=0)
    rows = everything(filled, query, ALL, limit=limit)
    assert places(rows) == places(expected(ROWS, query, ALL))
    for log in LOGS:
        leaves = [row.leaf for row in rows if row.log == log]
        assert leaves == sorted(leaves, reverse=True)


def test_a_limit_and_a_cursor_are_checked(filled: Store) -> None:
    for limit in (0, ROWS_MAX + 1):
        with pytest.raises(QueryError, match="a page has"):
            search(filled, Query(), ALL, limit=limit)
    for cursor in ("", "x", "????", "é", "gaFh", "AAAA"):
        with pytest.raises(QueryError, match="begin again"):
            search(filled, Query(), ALL, limit=1, after=cursor)


def test_a_cursor_of_another_scope_opens_nothing(filled: Store) -> None:
    page = search(filled, Query(), ALL, limit=3)
    small = Scope(logs=("system",), view="masked", only=())
    assert {row.log for row in search(filled, Query(), small, limit=100, after=page.next).rows} <= {"system"}


def test_one_row_is_got_within_the_scope_only(filled: Store) -> None:
    assert get(filled, ALL, log="beta", leaf=3) is not None
    assert get(filled, ALL, log="beta", leaf=500) is None
    assert get(filled, Scope(logs=("alpha",), view="masked", only=()), log="beta", leaf=3) is None
    assert get(filled, Scope(logs=LOGS, view="masked", only=(Only("team", ("none",)),)), log="beta", leaf=3) is None


def test_the_table_agrees_with_the_rows_that_were_put_in(filled: Store) -> None:
    for row in ROWS[:40]:
        assert differences(filled, row) == [], row
    changed = msgspec.structs.replace(ROWS[5], user="somebody", cost_nano=1)
    assert set(differences(filled, changed) or ()) == {"user", "cost_nano", "row"}
    assert differences(filled, msgspec.structs.replace(ROWS[5], leaf=10**9)) is None


def test_a_call_is_found_by_its_id_and_by_a_beginning(filled: Store) -> None:
    intent, outcome = ROWS[40], ROWS[41]
    assert find(filled, ALL, beginning=intent.id) == (outcome, intent)
    assert find(filled, ALL, beginning=outcome.id.upper()) == (outcome,)
    begun = find(filled, ALL, beginning=intent.id[:12])
    assert intent in begun
    assert outcome in begun
    assert find(filled, Scope(logs=("beta",), view="masked", only=()), beginning=intent.id) == ()
    with pytest.raises(QueryError, match="at least 8"):
        find(filled, ALL, beginning=intent.id[:7])


def test_a_header_view_shows_header_members_only(filled: Store) -> None:
    scope = Scope(logs=LOGS, view="header", only=())
    for row in everything(filled, Query(), scope):
        for name in set(MaskedRow.__struct_fields__) - HEADER_MEMBERS:
            assert not getattr(row, name), name
    whole = get(filled, ALL, log="alpha", leaf=41)
    shown = get(filled, scope, log="alpha", leaf=41)
    assert [getattr(shown, name) for name in sorted(HEADER_MEMBERS)] == [
        getattr(whole, name) for name in sorted(HEADER_MEMBERS)
    ]


def test_walking_gives_all_of_it_in_batches(filled: Store) -> None:
    query = parse("-user:user-0", now_us=0)
    batches = list(walk(filled, query, ALL, batch_rows=100))
    assert max(map(len, batches)) <= 100
    rows = [row for batch in batches for row in batch]
    assert places(rows) == places(expected(ROWS, query, ALL))
    assert [row.leaf for row in rows if row.log == "alpha"] == sorted(row.leaf for row in rows if row.log == "alpha")


def test_what_arrives_is_followed_and_does_not_move_a_page(filled: Store) -> None:
    # A log of its own: the rest of this file knows what is in the others.
    scope = Scope(logs=("late",), view="masked", only=())
    follower = Follower(filled)
    begun, late = MAKER.rows("late", first=0, count=40), MAKER.rows("late", first=40, count=25)
    follower.apply(begun)
    first = search(filled, Query(), scope, limit=10)
    start = tail(filled, Query(), scope, after={}, limit=10)
    assert start.rows == ()
    follower.apply(late)
    rest = search(filled, Query(), scope, limit=ROWS_MAX, after=first.next)
    assert [*first.rows, *rest.rows] == begun[::-1]
    seen: list[MaskedRow] = []
    progress = start.progress
    while True:
        step = tail(filled, Query(), scope, after=progress, limit=10)
        if not step.rows:
            break
        seen += step.rows
        progress = step.progress
    assert seen == late
    assert progress == {"late": 64}
    nothing = tail(filled, parse("user:nobody", now_us=0), scope, after={"late": -1}, limit=10)
    assert (nothing.rows, nothing.progress) == ((), {"late": 64})
