"""Citations: whatever a conversation does, its exact bytes come back, and it names only bytes that it may name."""

from __future__ import annotations

import json
import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.errors import CorruptionError
from affidavit.seal import citation as module
from affidavit.seal.citation import (
    CITE_SECONDS_MAX,
    CONVERSATIONS_A_SCOPE_MAX,
    NO_BEGINNING,
    PREFIX_BYTES_MIN,
    STRING_BYTES_MIN,
    Citation,
    Citations,
    Layout,
    assemble,
    leb128,
    parse_layout,
    parse_leb128,
)
from affidavit.wire.strings import long_strings

SCOPES = (b"scope of ann....", b"scope of ben....")
APP = b"scope of the app"
ALPHABET = 'ab "\\\n\t/\x01é€😀{}[]:,u0041'
LENGTHS = (0, 3, STRING_BYTES_MIN - 3, STRING_BYTES_MIN - 2, STRING_BYTES_MIN, 400, PREFIX_BYTES_MIN, 9000)


class Turn(NamedTuple):
    """What somebody sends."""

    scope: int
    change: str
    text: int
    length: int
    ascii_only: bool
    spaced: bool


TURNS = st.lists(
    st.builds(
        Turn,
        scope=st.integers(0, 1),
        change=st.sampled_from(("say", "say", "say", "say", "again", "edit", "forget", "new", "raw", "cut", "switch")),
        text=st.integers(0, 12),
        length=st.sampled_from(LENGTHS),
        ascii_only=st.booleans(),
        spaced=st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


def text_of(number: int, length: int) -> str:
    """One of a dozen texts, with everything that JSON escapes; the longer begins with the shorter."""
    chance = random.Random(number)
    return "".join(chance.choice(ALPHABET) for _ in range(length))


class World:
    """A log's citations, and what each of its records owns."""

    def __init__(self) -> None:
        self.citations = Citations(key=bytes(range(32)))
        self.owned: dict[int, tuple[bytes, bytes]] = {}  # leaf → scope, bytes
        self.cited = 0

    def send(
        self, scope: bytes, wire: bytes, *, is_json: bool, now_s: int = 0, shared: dict[int, Citation] | None = None
    ) -> Layout:
        leaf = len(self.owned)
        beginning = self.citations.beginning(scope, wire, now_s=now_s) if is_json else NO_BEGINNING
        layout = self.citations.lay_out(
            wire,
            scope=scope,
            beginning=beginning,
            shared={offset: cited for offset, cited in (shared or {}).items() if offset >= beginning.length},
            json=wire if is_json else None,
            leaf=leaf,
            now_s=now_s,
        )
        if is_json:
            self.citations.remember_request(scope, wire, layout, beginning=beginning, now_s=now_s)
        self.owned[leaf] = (scope, layout.owned)
        self.require(scope, wire, layout, leaf, is_json=is_json)
        self.require_citable(layout, leaf)
        return layout

    def require_citable(self, layout: Layout, leaf: int) -> None:
        own = 0
        pieces = []
        for piece in parse_layout(layout, leaf=leaf):
            if isinstance(piece, bytes):
                pieces.append(Citation(leaf, own, len(piece)))
                own += len(piece)
            else:
                pieces.append(piece)
        assert layout.citable == tuple(pieces)

    def require(self, scope: bytes, wire: bytes, layout: Layout, leaf: int, *, is_json: bool) -> None:
        assert assemble(layout, leaf=leaf, owned_by=lambda cited: self.owned[cited][1]) == wire
        inside = [(start, start + length) for start, length in long_strings(wire, minimum=2)] if is_json else []
        at = 0
        for piece in parse_layout(layout, leaf=leaf):
            length = len(piece) if isinstance(piece, bytes) else piece.length
            if isinstance(piece, Citation):
                self.cited += 1
                owner, owned = self.owned[piece.leaf]
                assert piece.leaf < leaf
                assert owner in (scope, APP)
                assert piece.offset + piece.length <= len(owned)
                assert is_json, "bytes that do not parse are stored whole"
                for edge in (at, at + length):
                    assert not any(start < edge < end for start, end in inside), "half of a string is cited"
            at += length
        assert at == len(wire)


@settings(max_examples=150)
@given(turns=TURNS)
def test_the_exact_bytes_of_any_conversation_come_back(turns: list[Turn]) -> None:
    world = World()
    chats: list[list[str]] = [[], []]
    for turn in turns:
        chat = chats[turn.scope]
        text = text_of(turn.text, turn.length)
        if turn.change == "say":
            chat += [text, f"answer to {turn.text}: {text_of(turn.text + 1, turn.length)}"]
        elif turn.change == "edit" and chat:
            chat[len(chat) // 2] = text
        elif turn.change == "forget":
            del chat[len(chat) // 2 :]
        elif turn.change == "new":
            chats[turn.scope] = chat = [text]
        elif turn.change == "switch":
            chats[turn.scope] = chat = list(chats[1 - turn.scope])
        body = json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": text} for text in chat]},
            ensure_ascii=turn.ascii_only,
            separators=None if turn.spaced else (",", ":"),
        ).encode()
        if turn.change == "raw":
            body = text.encode() * 3
        if turn.change == "cut":
            body = body[: len(body) * 2 // 3]
        is_json = turn.change not in ("raw", "cut")
        world.send(SCOPES[turn.scope], body, is_json=is_json)


def chat(*contents: str) -> bytes:
    return json.dumps({"messages": [{"content": text} for text in contents]}, separators=(",", ":")).encode()


def test_a_resent_history_costs_its_new_bytes_only() -> None:
    world = World()
    history = ["s" * 500]
    sizes = []
    for turn in range(6):
        history += [f"question {turn} " + "q" * 90, f"answer {turn} " + "a" * 90]
        sizes.append(len(world.send(SCOPES[0], chat(*history), is_json=True).owned))
    assert world.cited >= 5
    assert max(sizes[1:]) < 300


def test_a_string_in_the_middle_is_found_again_without_a_common_beginning() -> None:
    world = World()
    world.send(SCOPES[0], chat("first", "x" * STRING_BYTES_MIN), is_json=True)
    layout = world.send(SCOPES[0], chat("another", "x" * STRING_BYTES_MIN, "end"), is_json=True)
    assert b"xx" not in layout.owned
    short = world.send(SCOPES[0], chat("y" * (STRING_BYTES_MIN - 3)), is_json=True)
    assert b"yy" in world.send(SCOPES[0], chat("new", "y" * (STRING_BYTES_MIN - 3)), is_json=True).owned
    assert b"yy" in short.owned


def test_what_is_new_is_one_piece_and_each_of_its_strings_is_known_from_then_on() -> None:
    world = World()
    texts = [letter * STRING_BYTES_MIN for letter in "abcde"]
    body = chat(*texts)
    assert world.send(SCOPES[0], body, is_json=True, now_s=7) == Layout(
        leb128(len(body) << 1), body, 7, (Citation(0, 0, len(body)),)
    )
    layout = world.send(SCOPES[0], chat("first", *reversed(texts)), is_json=True, now_s=8)
    assert world.cited == len(texts)
    assert layout.oldest_s == 7
    assert not any(text.encode() in layout.owned for text in texts)


def test_another_scope_is_never_cited() -> None:
    world = World()
    body = chat("s" * 600, "q" * 300)
    first = world.send(SCOPES[0], body, is_json=True)
    assert world.send(SCOPES[1], body, is_json=True).owned == first.owned == body
    assert world.cited == 0


def test_a_value_that_the_app_owns_is_cited_whole() -> None:
    world = World()
    value = b'"' + b"p" * 300 + b'"'
    world.owned[0] = (APP, value)
    world.citations.remember_whole(APP, value, leaf=0, now_s=0)
    body = chat("p" * 300, "and a question")
    shared = world.citations.recall_whole(APP, value, now_s=5)
    assert shared == Citation(0, 0, len(value), 0)
    layout = world.send(SCOPES[0], body, is_json=True, shared={body.index(value): shared})
    assert b"pp" not in layout.owned
    assert world.citations.recall_whole(SCOPES[0], value, now_s=5) is None
    assert world.citations.recall_whole(APP, value, now_s=CITE_SECONDS_MAX) is None


def test_bytes_are_cited_for_thirty_days_after_they_were_first_stored_and_no_longer() -> None:
    """Also through a request that took them over on the way: retention counts from the first storing."""
    world = World()
    old, day = "x" * 400, 86_400
    world.send(SCOPES[0], chat("zero", old), is_json=True, now_s=0)
    world.send(SCOPES[0], chat("something else, of the twenty-ninth day", old, "y" * 300), is_json=True, now_s=29 * day)
    assert world.cited == 1
    late = world.send(
        SCOPES[0], chat("something else, of the twenty-ninth day", old, "y" * 300, "z"), is_json=True, now_s=31 * day
    )
    assert b"xx" in late.owned
    # What the twenty-ninth day itself stored may still be cited.
    assert b"yy" not in late.owned


def test_a_beginning_is_forgotten_after_thirty_days() -> None:
    world = World()
    body = chat(*(f"short {number}" for number in range(40)))
    world.send(SCOPES[0], body, is_json=True, now_s=0)
    assert world.send(SCOPES[0], body, is_json=True, now_s=CITE_SECONDS_MAX).owned == body
    assert world.cited == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRINGS_MAX", 3)
    monkeypatch.setattr(module, "CONVERSATIONS_BYTES_MAX", 4_000)
    world = World()
    for number in range(40):
        scope = b"%16d" % (number // 6)
        world.send(scope, chat(f"{number} " + chr(97 + number % 26) * 500), is_json=True)
    citations = world.citations
    assert len(citations._strings) == 3
    kept = [conversation for kept in citations._conversations.values() for conversation in kept]
    assert sum(len(conversation.wire) for conversation in kept) == citations._conversation_bytes <= 4_000
    assert max(map(len, citations._conversations.values())) <= CONVERSATIONS_A_SCOPE_MAX


def test_strings_within_a_value_that_is_cited_whole_are_not_looked_at_again() -> None:
    """A tool definition is shared as one value; the long strings in it are part of that."""
    world = World()
    value = json.dumps({"description": "d" * STRING_BYTES_MIN, "more": "m" * STRING_BYTES_MIN}).encode()
    world.owned[0] = (APP, value)
    wire = b'{"tools":[' + value + b'],"text":"' + b"t" * STRING_BYTES_MIN + b'"}'
    at = wire.index(value)
    layout = world.send(SCOPES[0], wire, is_json=True, shared={at: Citation(0, 0, len(value), 5)}, now_s=9)
    assert b"dd" not in layout.owned
    assert b"mm" not in layout.owned
    assert b"tt" in layout.owned
    assert (world.cited, layout.oldest_s) == (1, 5)
    again = world.send(SCOPES[0], b'{"text":"' + b"d" * STRING_BYTES_MIN + b'"}', is_json=True, now_s=9)
    assert b"dd" in again.owned, "what the app owns as a whole is no string of this person's"


def test_citations_that_lie_side_by_side_become_one() -> None:
    builder = module._Builder(9)
    for citation in (Citation(3, 0, 5), Citation(3, 5, 2), Citation(3, 8, 1), Citation(4, 9, 1)):
        builder.cite(citation)
    layout = builder.layout(oldest_s=0)
    assert parse_layout(layout, leaf=9) == [Citation(3, 0, 7), Citation(3, 8, 1), Citation(4, 9, 1)]


# --- layouts that nobody of ours wrote --------------------------------------------------------------------------------


@given(number=st.integers(0, 2**63 - 1), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_numbers_come_back(number: int, before: bytes, after: bytes) -> None:
    data = before + leb128(number) + after
    assert parse_leb128(data, len(before)) == (number, len(before) + len(leb128(number)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 10, b"\x80" * 1000 + b"\0"])
def test_numbers_that_end_too_early_or_too_late(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        parse_leb128(data, 0)


@given(pieces=st.binary(max_size=60), owned=st.binary(max_size=60), leaf=st.integers(0, 2**40))
def test_hostile_layouts_parse_or_are_refused(pieces: bytes, owned: bytes, leaf: int) -> None:
    layout = Layout(pieces, owned)
    try:
        parsed = parse_layout(layout, leaf=leaf)
    except CorruptionError:
        return
    assert len(parsed) <= len(pieces)
    assert b"".join(piece for piece in parsed if isinstance(piece, bytes)) == owned
    assert all(0 <= piece.leaf < leaf for piece in parsed if isinstance(piece, Citation))


@pytest.mark.parametrize(
    ("pieces", "owned"),
    [
        (leb128(4 << 1), b"abc"),  # more than is owned
        (leb128(2 << 1), b"abc"),  # less than is owned
        (b"", b"abc"),
        (leb128(1 << 1 | 1) + leb128(0) + leb128(0), b""),  # cites itself
        (leb128(1 << 1 | 1) + leb128(6) + leb128(0), b""),  # cites a leaf before the first
        (leb128(1 << 1 | 1) + leb128(1), b""),
    ],
)
def test_layouts_that_are_none(pieces: bytes, owned: bytes) -> None:
    with pytest.raises(CorruptionError):
        parse_layout(Layout(pieces, owned), leaf=5)


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (3, 1), (4, 0), (2**62, 1), (0, 2**20)])
def test_a_citation_beyond_what_is_owned(offset: int, length: int) -> None:
    layout = Layout(leb128(length << 1 | 1) + leb128(1) + leb128(offset), b"")
    with pytest.raises(CorruptionError, match="beyond"):
        assemble(layout, leaf=1, owned_by=lambda _: b"abc")


def test_a_small_layout_does_not_become_a_flood() -> None:
    """Each piece is a few bytes and may name a megabyte; together they are bounded, before any byte is put together."""
    owned = bytes(1 << 20)
    layout = Layout((leb128(len(owned) << 1 | 1) + leb128(1) + leb128(0)) * 2_000, b"")
    with pytest.raises(CorruptionError, match="larger"):
        assemble(layout, leaf=1, owned_by=lambda _: owned)


def test_a_citation_of_an_unknown_age_is_as_old_as_the_rest() -> None:
    world = World()
    world.owned[0] = (APP, b'"' + b"v" * 300 + b'"')
    wire = b'{"a":"' + b"v" * 300 + b'"}'
    layout = world.send(SCOPES[0], wire, is_json=True, shared={5: Citation(0, 0, 302)}, now_s=9)
    assert layout.oldest_s == 9
