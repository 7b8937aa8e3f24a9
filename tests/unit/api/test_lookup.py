"""Which leaves a question means, from trees on disk."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.api import lookup as module
from affidavit.api.lookup import Lookup, Page, Place, ranges_of
from affidavit.errors import NotFoundError
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.leaf import Leaf, Source, format_leaf
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint
from affidavit.tlog.edge import EMPTY_EDGE, grow
from affidavit.tlog.note import Ed25519Signer, Note, format_note

CALL = "01985f0e-7c1b-7aaa-8001-{:012x}"
SIGNER = Ed25519Signer.from_seed(name="example.test/log", seed=bytes(32))


def leaf(number: int, *, kind: str = "llm.request", call: str | None = None, time_us: int | None = None) -> Leaf:
    return Leaf.of(
        id=CALL.format(number),
        src=Source(id="worker0", boot="AAAAAAAA", seq=number + 1),
        time_us=time_us or 1_000_000 + number,
        type=kind,
        links=None if call is None else {"call": call},
    )


def write_log(data: Path, name: str, leaves: list[Leaf]) -> None:
    """A servable tree of these leaves, as the sealer leaves it behind."""
    layout = DataLayout(data).log(name)
    growth = grow(EMPTY_EDGE, [format_leaf(one) for one in leaves])
    for path, content in growth.files:
        target = layout.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    text = format_checkpoint(Checkpoint("example.test/log", growth.edge.size, growth.edge.root))
    layout.tree.mkdir(parents=True, exist_ok=True)
    layout.checkpoint.write_bytes(format_note(Note(text, (SIGNER.sign(text),))))


@pytest.fixture
def looking(tmp_path: Path) -> Lookup:
    calls = []
    for number in range(0, 12, 2):
        calls += [leaf(number), leaf(number + 1, kind="llm.response", call=CALL.format(number))]
    write_log(tmp_path, "default", calls)
    write_log(
        tmp_path, "system", [leaf(100 + number, kind="epoch.open", time_us=1_000_003 + number) for number in range(3)]
    )
    return Lookup(tmp_path)


def test_the_system_log_comes_first(looking):
    assert looking.logs() == ["system", "default"]
    assert looking.require_log("default") == "default"
    with pytest.raises(NotFoundError, match="there are: system, default"):
        looking.require_log("../default")


def test_where_there_is_nothing(tmp_path):
    empty = Lookup(tmp_path / "none")
    assert empty.logs() == []
    assert list(empty.pages([], types=())) == []
    assert empty.newest([], types=(), limit=5).places == ()


def test_pages_name_every_leaf_once(looking, monkeypatch):
    monkeypatch.setattr(module, "PAGE_LEAVES_MAX", 5)
    assert list(looking.pages(["system", "default"], types=())) == [
        Page("system", ((0, 3),)),
        Page("default", ((0, 5),)),
        Page("default", ((5, 10),)),
        Page("default", ((10, 12),)),
    ]


def test_pages_of_a_type_name_no_other_leaf(looking, monkeypatch):
    monkeypatch.setattr(module, "PAGE_LEAVES_MAX", 4)
    assert list(looking.pages(["default", "system"], types=["llm.response"])) == [
        Page("default", ((1, 2), (3, 4), (5, 6), (7, 8))),
        Page("default", ((9, 10), (11, 12))),
    ]
    assert next(looking.pages(["default"], types=["llm.request", "llm.response"])).ranges == ((0, 4),)


def test_the_newest_of_several_logs_by_time(looking):
    newest = looking.newest(["system", "default"], types=(), limit=9)
    assert [(place.log, place.leaf) for place in newest.places] == [
        ("system", 1),
        ("default", 5),
        ("system", 2),
        ("default", 6),
        ("default", 7),
        ("default", 8),
        ("default", 9),
        ("default", 10),
        ("default", 11),
    ]
    assert newest.others == 15 - 9
    assert looking.newest(["default"], types=["epoch.open"], limit=9).places == ()


def test_leaves_that_stand_out_of_order_are_found_by_time(tmp_path):
    times = [5, 1, 2, 9, 3, 4]
    write_log(tmp_path, "default", [leaf(number, time_us=time) for number, time in enumerate(times)])
    newest = Lookup(tmp_path).newest(["default"], types=(), limit=2)
    assert [place.time_us for place in newest.places] == [5, 9]


@pytest.mark.parametrize("number", [4, 5])
def test_either_half_finds_the_whole_call(looking, number):
    assert [(place.type, place.leaf) for place in looking.find(CALL.format(number))] == [
        ("llm.request", 4),
        ("llm.response", 5),
    ]


def test_a_record_that_is_no_call_is_found_alone(looking):
    assert looking.find(CALL.format(101).upper()) == [
        Place("system", 1, CALL.format(101), None, "epoch.open", 1_000_004)
    ]


def test_a_beginning_that_is_unambiguous(looking):
    assert looking.find(CALL.format(102)[:-1] + "6") == looking.find(CALL.format(102))
    assert looking.find("01985f0e-7c1b-7aaa-8001-00000000000a"[:36]) == looking.find(CALL.format(10))


def test_a_beginning_that_is_not_names_some(looking):
    with pytest.raises(NotFoundError, match=r"^9 records begin with 01985f0e: .* and 4 more. Give more of the id$"):
        looking.find("01985f0e")


@pytest.mark.parametrize(
    "text", ["", "0198", "01985f0", "zzzzzzzz", "01985f0e%", "01985f0e-7c1b-7aaa-8001-0000000000000"]
)
def test_what_is_no_id(looking, text):
    with pytest.raises(NotFoundError, match="is not an id"):
        looking.find(text)


def test_an_id_that_nobody_has(looking):
    with pytest.raises(NotFoundError, match="no sealed record has the id"):
        looking.find("01985f0e-7c1b-7aaa-8001-ffffffffffff")
    with pytest.raises(NotFoundError, match="no sealed record has the id"):
        looking.find("01985f0f")


@given(st.sets(st.integers(0, 200)))
def test_ranges_are_the_leaves_and_do_not_touch(leaves):
    ranges = ranges_of(sorted(leaves))
    assert {number for start, end in ranges for number in range(start, end)} == leaves
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
