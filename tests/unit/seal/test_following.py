"""Followers: each leaf once, in order, masked, out of memory and out of the log alike, against one access event."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.crypt.keyring import Kind
from affidavit.errors import AccessRefusedError, FormatError
from affidavit.ledger.wal import Shard
from affidavit.mask import Masker
from affidavit.seal import desk as desk_module
from affidavit.seal import following, masking, recent
from affidavit.seal.desk import TEXT_CHARS_MAX, TEXTS_MAX, Desk
from affidavit.seal.mask_process import OwnMaskHand
from affidavit.seal.masked import MaskedRow
from affidavit.seal.unmasked import Unmasked
from tests.support.accesses import whole_answer, write_access, write_follow
from tests.support.installation import (
    Installation,
    chat_response,
    clock_us,
    new_id,
    write_call,
    write_request,
    write_response,
)
from tests.support.story import QuickDisk

SYSTEM = "Be brief. " * 40
ADDRESS = "ana.lamp@example.org"
_rows = msgspec.msgpack.Decoder(list[MaskedRow])
_contents = msgspec.msgpack.Decoder(list[dict[str, Any]])


class Bench:
    """An installation, a worker's shard, the api's shard, and a desk."""

    def __init__(self, root: Path) -> None:
        self.installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk()).start()
        self.worker: Shard = self.installation.shard()
        self.shard: Shard = self.installation.shard(source="api")
        self.desk = self.open_desk()

    def open_desk(self) -> Desk:
        sealer = self.installation.sealer
        return Desk(
            sealer=sealer, ring=self.installation.ring, mask_hand=OwnMaskHand(), clock_us=clock_us, random=os.urandom
        )

    def say(self, *texts: str, user: str = "ann", answer: str = "an answer") -> str:
        call = write_call(self.worker, conversation(*texts), chat_response(answer), user=user)
        self.worker.flush()
        self.installation.drain()
        self.installation.sealer.settle()
        return call

    def follow(self, *, log: str = "default", start: int = 0) -> str:
        name: str = whole_answer(self.desk, write_follow(self.shard, log=log, start=start)).body["follower"]
        return name

    def pull(self, follower: str, *, start: int = 0) -> list[MaskedRow]:
        reply = whole_answer(self.desk, {"op": "rows", "follower": follower, "start": start})
        return _rows.decode(reply.parts[0]) if reply.parts else []


def conversation(*texts: str) -> bytes:
    """A chat's request: everything that was said before, as clients send it."""
    messages = [{"role": "system", "content": SYSTEM}]
    messages += [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]
    return json.dumps({"model": "gpt-4o", "messages": messages}).encode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_leaf_once_in_order_with_who_and_what(bench: Bench) -> None:
    call = bench.say("where is my lamp?")
    rows = bench.pull(bench.follow())
    assert [row.leaf for row in rows] == list(range(len(rows)))
    request, response = (row for row in rows if row.type.startswith("llm."))
    assert (request.type, request.call, request.user, request.model_requested) == ("llm.request", call, "ann", "gpt-4o")
    assert (response.type, response.call, response.outcome, response.status) == ("llm.response", call, "ok", 200)
    assert (response.user, response.output_text is not None) == ("ann", True)  # its intent says who called
    assert "where is my lamp?" in request.text
    assert response.text == "an answer"
    assert request.mask_state == response.mask_state == "structured"


def test_live_rows_and_rows_of_a_rebuild_are_the_same(bench: Bench) -> None:
    bench.say("before anybody follows", user=ADDRESS)
    follower = bench.follow()
    bench.pull(follower)
    for turns in (("one " * 60,), ("one " * 60, "two", "three " * 50)):
        bench.say(*turns)
    bench.say(f"write to {ADDRESS}", answer=f"I wrote to {ADDRESS}")
    write_request(bench.worker, conversation("no answer came"))
    bench.worker.close()
    bench.installation.drain()
    bench.installation.sealer.settle()
    live = bench.pull(follower)
    bench.installation.stop()
    bench.installation.open()
    bench.installation.start()
    bench.desk = bench.open_desk()
    again = bench.pull(bench.follow())
    assert again[: len(live)] == live
    assert {row.type for row in live} >= {"llm.request", "llm.response", "epoch.open"}
    assert any(row.cites for row in live)


def test_text_is_what_a_record_adds(bench: Bench) -> None:
    follower = bench.follow()
    bench.say("a question about a reading lamp")
    bench.say("a question about a reading lamp", "an answer", "and the shade?")
    first, second = (row for row in bench.pull(follower) if row.type == "llm.request")
    assert "Be brief." in first.text
    assert second.cites == (first.leaf,)
    assert "Be brief." not in second.text
    assert "and the shade?" in second.text


def test_nothing_unmasked_leaves(bench: Bench) -> None:
    follower = bench.follow()
    bench.say(f"write to {ADDRESS}", answer=f"I wrote to {ADDRESS}")
    rows = [row for row in bench.pull(follower) if row.type.startswith("llm.")]
    assert all(ADDRESS not in row.text and "<EMAIL:" in row.text for row in rows)
    assert [row.findings for row in rows] == [{"EMAIL": 1}, {"EMAIL": 1}]
    # Equal values correlate, in one project.
    assert len({word for row in rows for word in row.text.split() if word.startswith("<EMAIL:")}) == 1


def test_a_name_in_cited_bytes_still_says_what_a_value_is(bench: Bench) -> None:
    """A request that differs from the one before only in the value of a member: the record owns just that value."""
    follower = bench.follow()
    texts = []
    for value in ("Correct7horseBattery", "kitten42sunny", "078051120abc"):
        body = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "The same words each time. " * 20}],
            "metadata": {"password": value, "note": "n"},
        }
        write_call(bench.worker, json.dumps(body).encode(), chat_response("ok"), user="ann")
        bench.worker.flush()
        bench.installation.drain()
        bench.installation.sealer.settle()
        texts.append(value)
    live = [row for row in bench.pull(follower) if row.type == "llm.request"]
    assert all(row.cites for row in live[1:]), "or this test is about nothing"
    for row in live:
        assert "<SECRET:" in row.text
        assert not any(value in row.text for value in texts)
    bench.installation.stop()
    bench.installation.open()
    bench.installation.start()
    bench.desk = bench.open_desk()
    bench.shard = bench.installation.shard(source="api")
    assert [row for row in bench.pull(bench.follow()) if row.type == "llm.request"] == live


@pytest.mark.parametrize("lost", range(1, 6))
def test_a_value_that_the_bound_divides_does_not_stay(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """Addresses make placeholders that are shorter, so that more of what was masked fits than was meant to."""
    monkeypatch.setattr(masking, "TEXT_CHARS_MAX", 100_000)
    card = "4111 1111 1111 1111"
    whole = 100_000 + masking.OVERHANG_CHARS
    filling = f"{'a' * 60}@{'b' * 60}.example.org "
    head = filling * ((whole - 200) // len(filling))
    text = head + "w" * (whole - len(head) - len(card) - 1 + lost) + " " + card + " and more" * 2000
    item = Unmasked(
        leaf=1,
        id="i",
        call=None,
        type="llm.request",
        time_us=1,
        wire=json.dumps({"messages": [{"role": "user", "content": text}]}).encode(),
        body_state="open",
    )
    row = masking.masked_row(item, log="default", masker=Masker(key=bytes(32)), masking="structured")
    assert "<EMAIL:" in row.text
    assert "4111" not in row.text


def test_a_record_that_cannot_be_read_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.say("a question")
    bench.say("another question")

    def broken(item: Unmasked, *_: Any) -> Any:
        if item.type == "llm.request":
            raise RuntimeError(ADDRESS)
        return {}

    monkeypatch.setattr(masking, "_header_members", broken)
    rows = bench.pull(bench.follow())
    assert [row.leaf for row in rows] == list(range(len(rows)))
    assert {row.mask_state for row in rows if row.type == "llm.request"} == {"pending"}
    assert ADDRESS not in repr(rows)


def test_a_reader_gets_the_whole_conversation_masked(bench: Bench) -> None:
    bench.say("a question", "an answer", f"write to {ADDRESS}", answer=f"I wrote to {ADDRESS}")
    leaves = [row.leaf for row in bench.pull(bench.follow()) if row.type.startswith("llm.")]
    reply = whole_answer(bench.desk, write_access(bench.shard, (leaves[0], leaves[1] + 1), view="masked"))
    request, response = _contents.decode(reply.parts[0])
    assert request["state"] == response["state"] == "structured"
    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "user"]
    assert "<EMAIL:" in request["messages"][-1]["content"]
    assert "<EMAIL:" in response["output"][0]["text"]
    assert ADDRESS.encode() not in reply.parts[0]


def test_full_masking_keeps_text_back(bench: Bench) -> None:
    bench.installation.sealer.settings.masking["default"] = "full"
    bench.say("where is my lamp?")
    rows = [row for row in bench.pull(bench.follow()) if row.type.startswith("llm.")]
    assert [(row.mask_state, row.text) for row in rows] == [("pending", ""), ("pending", "")]
    assert rows[0].model_requested == "gpt-4o"
    reply = whole_answer(bench.desk, write_access(bench.shard, (rows[0].leaf, rows[0].leaf + 1), view="masked"))
    assert _contents.decode(reply.parts[0]) == [{"state": "pending"}]


def test_bytes_that_cannot_be_read_stay_pending(bench: Bench) -> None:
    write_call(bench.worker, b"this is no JSON at all", b"nor is this", user="ann")
    bench.worker.flush()
    bench.installation.drain()
    rows = [row for row in bench.pull(bench.follow()) if row.type.startswith("llm.")]
    assert [(row.mask_state, row.text) for row in rows] == [("pending", ""), ("pending", "")]


def test_a_follower_needs_its_own_sealed_event(bench: Bench) -> None:
    bench.say("a question")
    with pytest.raises(AccessRefusedError):
        whole_answer(bench.desk, {"op": "rows", "follower": "made-up", "start": 0})
    reading = write_access(bench.shard, (0, 2), view="masked")
    with pytest.raises(AccessRefusedError, match="no follower's"):
        whole_answer(bench.desk, reading | {"op": "follow"})
    question = write_follow(bench.shard)
    whole_answer(bench.desk, question)
    with pytest.raises(AccessRefusedError, match="honoured already"):
        whole_answer(bench.desk, question)
    with pytest.raises(AccessRefusedError, match="honoured already"):
        whole_answer(bench.open_desk(), question)


def test_a_follower_sees_nothing_before_its_beginning(bench: Bench) -> None:
    bench.say("a question")
    follower = bench.follow(start=2)
    with pytest.raises(AccessRefusedError, match="no sealed access event covers"):
        bench.pull(follower, start=1)
    assert bench.pull(follower, start=2)[0].leaf == 2


def test_what_follows_cannot_be_opened_by_a_reading(bench: Bench) -> None:
    bench.say("a question")
    with pytest.raises(AccessRefusedError, match="at most"):
        whole_answer(bench.desk, write_follow(bench.shard) | {"op": "open"})


def test_an_answer_is_bounded_and_the_next_one_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "GATHER_LEAVES_MAX", 3)
    bench.say("a question")
    follower = bench.follow()
    first = bench.pull(follower)
    rest = bench.pull(follower, start=3)
    assert [row.leaf for row in first + rest] == list(range(len(first) + len(rest)))
    assert len(first) == 3
    monkeypatch.setattr(following, "GATHER_BYTES_MAX", 0)
    assert len(bench.pull(follower)) == 1


def test_what_no_longer_fits_into_memory_is_opened_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = bench.follow()
    monkeypatch.setattr(recent, "RECENT_BYTES_MAX", 3_000)
    for number in range(6):
        bench.say(f"question {number}")
    kept = bench.installation.sealer.logs["default"].recent
    assert kept is not None
    rows = bench.pull(follower)
    assert sum(kept.get(row.leaf) is not None for row in rows) <= 3
    assert [row.text.rpartition(" ")[2] for row in rows if row.type == "llm.request"] == list("012345")


def spelled(bench: Bench, *texts: str, log: str = "default") -> list[str]:
    reply = whole_answer(bench.desk, {"op": "spell", "log": log, "texts": list(texts)})
    return msgspec.msgpack.decode(reply.parts[0], type=list[str])


def test_who_knows_a_value_learns_its_placeholder(bench: Bench) -> None:
    follower = bench.follow()
    bench.say(f"write to {ADDRESS}")
    (row,) = [row for row in bench.pull(follower) if row.type == "llm.request"]
    address, word = spelled(bench, ADDRESS, "lamp")
    assert address in row.text
    assert word == "lamp"
    assert spelled(bench, ADDRESS, log="system") != [address], "each log has placeholders of its own"


def test_only_so_much_is_spelled_at_once(bench: Bench) -> None:
    for question in ({"log": "nowhere", "texts": ["a"]}, {"log": "default", "texts": ["a"] * (TEXTS_MAX + 1)}):
        with pytest.raises(AccessRefusedError):
            whole_answer(bench.desk, {"op": "spell", **question})
    with pytest.raises(FormatError):
        whole_answer(bench.desk, {"op": "spell", "log": "default", "texts": ["a" * (TEXT_CHARS_MAX + 1)]})


def test_questions_of_readers_are_in_the_row_masked(bench: Bench) -> None:
    follower = bench.follow(log="system")
    rows = bench.pull(follower)
    (access,) = (row for row in rows if row.type == "access.read")
    assert (access.user, access.view, access.opened_log) == ("uid:1000", "masked", "system")
    assert access.opened[0][0] == 0
    assert access.text == "follow"


def rows_by_type(rows: list[MaskedRow], kind: str) -> list[MaskedRow]:
    return [row for row in rows if row.type == kind]


def start_again(bench: Bench) -> None:
    """A sealer that remembers nothing: what is asked for is opened."""
    bench.installation.stop()
    bench.installation.open()
    bench.installation.start()
    bench.desk = bench.open_desk()
    bench.shard = bench.installation.shard(source="api")


def test_a_person_whose_key_is_gone_is_erased_in_a_rebuild_and_nobody_else(bench: Bench) -> None:
    bench.say("mine", user="ann")
    bench.say("yours", user="ben")
    start_again(bench)
    ring = bench.installation.ring
    ring.destroy(ring.find(Kind.SUBJECT, ring.scope(Kind.SUBJECT, "default", "ann")).id)
    anns, bens = rows_by_type(bench.pull(bench.follow()), "llm.request")
    assert (anns.body_state, anns.mask_state, anns.text, anns.user) == ("erased", "none", "", None)
    assert anns.model_requested == "gpt-4o", "the header stays"
    assert (bens.body_state, bens.user) == ("open", "ben")
    assert "yours" in bens.text


def test_who_called_is_looked_up_where_it_is_no_longer_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "METAS_MAX", 1)
    calls = {name: write_request(bench.worker, conversation(name), user=name) for name in ("ann", "ben", "cleo")}
    for call in calls.values():
        write_response(bench.worker, call, chat_response("an answer"))
    bench.worker.flush()
    bench.installation.drain()
    bench.installation.sealer.settle()
    start_again(bench)
    answers = rows_by_type(bench.pull(bench.follow()), "llm.response")
    assert {row.call: row.user for row in answers} == {call: name for name, call in calls.items()}


def test_an_answer_whose_question_is_not_in_the_log_names_nobody(bench: Bench) -> None:
    """We seal no such log; its reader must not fall over it, nor take the answer for the question."""
    bench.say("a question")
    bench.follow()
    gatherer = bench.desk._gatherers["default"]
    size = bench.installation.sealer.logs["default"].writer.size
    types = [gatherer.one(leaf, size=size).type for leaf in range(size)]
    answer = types.index("llm.response")
    assert gatherer._intent_of(new_id(), size=size) == b"{}"
    gatherer._metas.clear()
    gatherer._reader.find = lambda *_, **__: [answer]  # type: ignore[method-assign]
    assert gatherer.one(answer, size=size).intent == b"{}"


@pytest.mark.parametrize("bound", ["GATHER_BYTES_MAX", "OPENED_MAX", "GATHER_LEAVES_MAX"])
def test_an_answer_to_a_follower_is_bounded_and_the_next_one_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    for number in range(3):
        bench.say(f"question {number}")
    start_again(bench)
    whole = bench.pull(bench.follow())
    monkeypatch.setattr(following, bound, 1)
    follower, found = bench.follow(), []
    while rows := bench.pull(follower, start=len(found)):
        assert len(rows) == 1
        found += rows
        if len(found) == len(whole):
            break
    assert found == whole


def test_as_many_followers_as_are_kept_and_one_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "FOLLOWERS_MAX", 2)
    first, second = bench.follow(), bench.follow()
    assert bench.pull(first)
    third = bench.follow()
    with pytest.raises(AccessRefusedError, match="Follow again"):
        bench.pull(first)
    assert bench.pull(second) == bench.pull(third)


def test_a_follower_that_keeps_up_does_not_wait_for_the_sealer(bench: Bench) -> None:
    follower = bench.follow(start=1)
    bench.say("a question")
    quick = bench.desk.quick
    assert quick({"op": "status"}) is None
    assert quick({"op": "rows", "follower": "nobody", "start": 1}) is None
    assert quick({"op": "rows", "follower": follower, "start": 0}) is None, "that is not covered by its access event"
    size = bench.installation.sealer.logs["default"].writer.size
    first = bench.installation.opener()
    request = next(at for at in range(size) if first.leaf(at, size=size).type == "llm.request")
    later = quick({"op": "rows", "follower": follower, "start": request})
    assert callable(later)
    assert [row.type for row in _rows.decode(later().parts[0])] == ["llm.request", "llm.response"]
    assert quick({"op": "rows", "follower": follower, "start": size}) is None, "nothing is there yet"
    spelled = quick({"op": "spell", "log": "default", "texts": [ADDRESS]})
    assert callable(spelled)
    (text,) = msgspec.msgpack.decode(spelled().parts[0])
    assert text.startswith("<EMAIL:")
