"""New records in clear: bounded, dropped once taken, and a word to the sealer before one is lost."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.seal import recent as module
from affidavit.seal.recent import RECENT_OVERHEAD_BYTES, RecentRecords, size_of
from affidavit.seal.unmasked import Unmasked

PLENTY = 1 << 30


def record(leaf: int, *, size: int = 0) -> Unmasked:
    return Unmasked(leaf=leaf, id=str(leaf), call=None, type="llm.request", time_us=1, meta=b"", wire=bytes(size))


def take(recent: RecentRecords, start: int, *, end: int = 1_000) -> list[int]:
    return [one.leaf for one in recent.run(start, end=end, bytes_max=PLENTY)]


def filled(count: int) -> RecentRecords:
    recent = RecentRecords()
    for leaf in range(count):
        recent.note(record(leaf))
    recent.published()
    return recent


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_BYTES_MAX", 10 * RECENT_OVERHEAD_BYTES)
    monkeypatch.setattr(module, "PRESSED_BYTES", 4 * RECENT_OVERHEAD_BYTES)


def test_what_was_asked_beyond_is_kept_no_longer() -> None:
    recent = filled(6)
    assert take(recent, 0, end=3) == [0, 1, 2]
    assert take(recent, 0, end=3) == [0, 1, 2], "an answer that was lost can be asked for again"
    assert take(recent, 3) == [3, 4, 5]
    assert recent.get(2) is None
    assert recent.get(3) is not None


def test_the_sealer_hears_before_a_follower_loses_sight() -> None:
    recent = filled(6)
    assert not recent.is_pressed, "nobody asks"
    take(recent, 0, end=1)
    assert recent.is_pressed
    take(recent, 1, end=2)
    assert not recent.is_pressed, "four wait, and so many may"


def test_what_has_no_head_yet_is_not_waited_for() -> None:
    recent = filled(2)
    take(recent, 0)
    for leaf in range(2, 9):
        recent.note(record(leaf))
    assert not recent.is_pressed
    recent.published()
    assert recent.is_pressed


def test_who_does_not_ask_any_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = filled(9)
    take(recent, 0, end=1)
    assert recent.is_pressed
    monkeypatch.setattr(module, "ASKED_S_MAX", 0.0)
    assert not recent.is_pressed


@given(st.lists(st.tuples(st.sampled_from("npt"), st.integers(0, 12), st.integers(0, 5_000)), max_size=60))
def test_it_keeps_the_newest_within_its_bound(steps: list[tuple[str, int, int]]) -> None:
    recent, kept = RecentRecords(), dict[int, Unmasked]()
    leaves = iter(range(1_000))
    for what, behind, size in steps:
        if what == "n":
            one = record(next(leaves), size=size)
            recent.note(one)
            kept[one.leaf] = one
            while sum(map(size_of, kept.values())) > module.RECENT_BYTES_MAX:
                del kept[min(kept)]
        elif what == "p":
            recent.published()
        elif kept:
            start = max(kept) - behind
            found = take(recent, start)
            kept = {leaf: one for leaf, one in kept.items() if leaf >= start}
            assert found == [leaf for leaf in sorted(kept) if start in kept]
    assert [recent.get(leaf) for leaf in kept] == list(kept.values())


def answer(leaf: int, call: str) -> Unmasked:
    return Unmasked(leaf=leaf, id=f"answer {leaf}", call=call, type="llm.response", time_us=1)


def test_an_answer_is_kept_with_the_intent_of_its_caller_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTENTS_MAX", 2)
    recent = RecentRecords()
    for leaf in range(3):
        recent.note(msgspec.structs.replace(record(leaf), meta=b"asked by %d" % leaf))
    for leaf in range(3):
        recent.note(answer(3 + leaf, str(leaf)))
    recent.note(msgspec.structs.replace(answer(6, ""), call=None))
    assert recent.get(3) is None, "its intent was the oldest, and has to be looked up"
    assert [kept.intent for kept in map(recent.get, (4, 5, 6)) if kept] == [b"asked by 1", b"asked by 2", b"{}"]
    recent.note(answer(7, "1"))
    assert recent.get(7) is None, "a call has one answer"


def test_an_answer_to_a_follower_has_room_for_one_record_at_least() -> None:
    recent = filled(4)
    assert [one.leaf for one in recent.run(0, end=4, bytes_max=0)] == [0]
    assert [one.leaf for one in recent.run(0, end=4, bytes_max=RECENT_OVERHEAD_BYTES)] == [0, 1]
