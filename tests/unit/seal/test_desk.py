"""The desk: an access event opens what it names, once, while it is fresh, and nothing else opens anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.crypt.commitment import field_commitment, fields_root
from affidavit.errors import AccessRefusedError, CorruptionError, FormatError, NotFoundError
from affidavit.event import encode_meta
from affidavit.ledger.channel import Reply
from affidavit.ledger.wal import Shard
from affidavit.seal.desk import LEAVES_MAX, Desk
from affidavit.seal.mask_process import OwnMaskHand
from affidavit.seal.opening import ACCESS_AGE_US_MAX, require_fresh
from affidavit.text import b64u, parse_b64u
from tests.support.accesses import access_meta, whole_answer, write_access, write_follow
from tests.support.installation import Installation, chat_request, chat_response, clock_us, write_call
from tests.support.story import QuickDisk

REQUEST, RESPONSE = chat_request("be brief", "a question about a parcel"), chat_response("an answer")


class Bench:
    """An installation with one call, an api shard, and a desk whose clock can be moved."""

    def __init__(self, root: Path) -> None:
        self.installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk()).start()
        self.late_us = 0
        worker = self.installation.shard()
        self.call = write_call(worker, REQUEST, RESPONSE, user="ann")
        worker.flush()
        self.installation.drain()
        worker.close()
        self.shard: Shard = self.installation.shard(source="api")
        self.desk = self.open_desk()
        self.leaves = {
            self.installation.opener().leaf(index, size=self.size()).type: index for index in range(self.size())
        }

    def open_desk(self) -> Desk:
        return Desk(
            sealer=self.installation.sealer,
            ring=self.installation.ring,
            mask_hand=OwnMaskHand(),
            clock_us=lambda: clock_us() + self.late_us,
            random=os.urandom,
        )

    def size(self, log: str = "default") -> int:
        return self.installation.sealer.logs[log].writer.size

    def ask(self, **changes: Any) -> Reply:
        question = write_access(self.shard, *changes.pop("leaves", (self.both,)), **changes)
        return whole_answer(self.desk, question)

    @property
    def both(self) -> tuple[int, int]:
        return self.leaves["llm.request"], self.leaves["llm.response"] + 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_exactly_what_was_named_comes_out(bench: Bench) -> None:
    reply = bench.ask()
    rows = reply.body["rows"]
    assert [row["type"] for row in rows] == ["llm.request", "llm.response"]
    assert [row["call"] for row in rows] == [bench.call, bench.call]
    assert [reply.parts[row["wire"]] for row in rows] == [REQUEST, RESPONSE]
    assert rows[0]["meta"]["identity"]["user"] == "ann"
    assert rows[1]["header"]["outcome"][:2] == ("ok", 200)
    assert [row["mask_pending"] for row in rows] == [["messages", "system", "tools"], ["output", "reasoning"]]
    one = bench.ask(leaves=[(bench.leaves["llm.response"], bench.leaves["llm.response"] + 1)])
    assert one.parts == (RESPONSE,)
    assert msgspec.json.encode(reply.body)


def test_a_view_without_bytes_gives_none(bench: Bench) -> None:
    reply = bench.ask(view="header")
    assert reply.parts == ()
    assert all("wire" not in row and "meta" not in row for row in reply.body["rows"])
    assert b"parcel" not in msgspec.json.encode(reply.body)
    assert reply.body["rows"][0]["header"]["provider"] == "openai"


def test_an_access_is_honoured_once(bench: Bench) -> None:
    question = write_access(bench.shard, bench.both)
    assert whole_answer(bench.desk, question).parts
    for desk in (bench.desk, bench.open_desk()):
        with pytest.raises(AccessRefusedError, match="honoured already"):
            whole_answer(desk, question)


def test_the_access_is_on_record_before_anything_comes_out(bench: Bench) -> None:
    before = bench.size("system")
    bench.ask()
    opener = bench.installation.opener("system")
    leaf = opener.leaf(before, size=bench.size("system"))
    assert (leaf.type, leaf.src.id) == ("access.read", "api")
    opened = opener.body(before, leaf)
    assert opened is not None
    meta = json.loads(opened.meta)
    assert meta["identity"] == {"user": "uid:1000"}
    assert meta["context"]["leaves"] == [list(bench.both)]
    assert meta["context"]["view"] == "wire"


def test_nobody_reads_without_an_access_of_that_number(bench: Bench) -> None:
    question = write_access(bench.shard, bench.both)
    for other in ({"record": 99}, {"shard": "api.AAAAAAAA"}, {"record": 0}, {"record": -1}):
        with pytest.raises(AccessRefusedError):
            whole_answer(bench.desk, question | other)
    assert whole_answer(bench.desk, question).parts


def test_another_record_of_the_shard_is_no_access(bench: Bench) -> None:
    record = bench.shard.begin("default")
    record.finish(meta=b'{"type":"source.start","id":"01890a5d-ac96-774b-bcce-b302099a8057","time_us":5,"mono_us":1}')
    bench.shard.sync()
    with pytest.raises(AccessRefusedError):
        whole_answer(bench.desk, {"op": "open", "shard": bench.shard.name, "record": record.number})


@pytest.mark.parametrize(
    ("age_us", "is_fresh"), [(0, True), (ACCESS_AGE_US_MAX, True), (ACCESS_AGE_US_MAX + 1, False), (-1, False)]
)
def test_freshness_to_the_microsecond(age_us: int, is_fresh: bool) -> None:  # noqa: FBT001
    if is_fresh:
        require_fresh(sealed_us=1_000, now_us=1_000 + age_us)
        return
    with pytest.raises(AccessRefusedError, match="60 s"):
        require_fresh(sealed_us=1_000, now_us=1_000 + age_us)


def test_an_old_access_is_spent_unhonoured(bench: Bench) -> None:
    question = write_access(bench.shard, bench.both)
    bench.installation.drain()
    bench.late_us = ACCESS_AGE_US_MAX + 5_000_000
    with pytest.raises(AccessRefusedError, match="60 s"):
        whole_answer(bench.desk, question)
    bench.late_us = 0
    with pytest.raises(AccessRefusedError, match="honoured already"):
        whole_answer(bench.desk, question)


def test_a_restart_forgets_accesses_that_nobody_came_for(bench: Bench) -> None:
    question = write_access(bench.shard, bench.both)
    bench.installation.drain()
    bench.installation.open()
    bench.installation.start()
    with pytest.raises(AccessRefusedError):
        bench.open_desk().answer(question)


@pytest.mark.parametrize(
    "leaves", [[(0, LEAVES_MAX + 1)], [(0, 1)] * (LEAVES_MAX + 1), [(0, 2**53 - 1)], [(0, 2**50)] * 20_000]
)
def test_an_access_that_names_too_much(bench: Bench, leaves: list[tuple[int, int]]) -> None:
    with pytest.raises(AccessRefusedError, match="at most"):
        bench.ask(leaves=leaves)


def test_an_access_to_a_log_or_a_leaf_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(AccessRefusedError, match="exists"):
        bench.ask(log="nowhere")
    with pytest.raises(NotFoundError):
        bench.ask(leaves=[(0, bench.size() + 1)])
    assert bench.ask(leaves=[]).body["rows"] == []
    assert bench.ask(leaves=[(5, 5), (9, 2)]).body["rows"] == []


def test_leaves_that_speak_of_the_log_have_no_content(bench: Bench) -> None:
    reply = bench.ask(leaves=[(0, 1)], log="system")
    (row,) = reply.body["rows"]
    assert (row["type"], row["header"], row["mask_pending"], reply.parts) == ("project.create", None, [], ())
    assert row["data"]["project"] == "system"


def test_an_erased_key_says_erased_and_keeps_the_header(bench: Bench) -> None:
    opener = bench.installation.opener()
    index = bench.leaves["llm.request"]
    row = opener._row(index)
    bench.installation.ring.destroy(row.key_id)
    rows = bench.ask().body["rows"]
    assert [entry["wire"] for entry in rows] == ["erased", "erased"]
    assert rows[0]["header"]["provider"] == "openai"
    assert "destroyed" in rows[0]["why"]


def test_damage_is_never_shown(bench: Bench) -> None:
    path = bench.installation.data.log("default").bodies(0)
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match="not shown"):
        bench.ask()


@pytest.mark.parametrize(
    "question", [{}, {"op": "read"}, {"op": "open"}, {"op": "open", "shard": 5, "record": "x"}, {"op": None}]
)
def test_questions_that_nobody_knows(bench: Bench, question: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="nothing was opened"):
        whole_answer(bench.desk, question)


def test_the_status(bench: Bench) -> None:
    bench.installation.drain()
    body = whole_answer(bench.desk, {"op": "status"}).body
    assert body["ready"] is True
    assert body["sealed"] == {"system": bench.size("system"), "default": bench.size()}
    assert (body["open_calls"], body["problems"], body["pending_records"]) == (0, [], 0)
    assert 0 <= body["lag_s"] < 60


def test_single_values_are_disclosed_with_what_proves_them(bench: Bench) -> None:
    index = bench.leaves["llm.request"]
    meta = msgspec.structs.replace(
        access_meta((index, index + 1), view="fields"), fields=("header:model", "body:messages")
    )
    record = bench.shard.begin("system")
    record.finish(meta=encode_meta(meta))
    bench.shard.sync()
    question = {"op": "open", "shard": bench.shard.name, "record": record.number}
    reply = whole_answer(bench.desk, question)
    (row,) = reply.body["rows"]
    model, messages = row["fields"]
    assert (model["block"], model["value"]) == ("header", ["gpt-4o", None])
    assert (messages["block"], messages["value"]["bytes"] > 0) == ("body", True)
    assert (reply.parts, "wire" in row) == ((), False)
    leaf = bench.installation.opener().leaf(index, size=bench.size())
    assert leaf.header is not None
    shown = field_commitment(path="model", salt=parse_b64u(model["salt"]), value=b'["gpt-4o",null]')
    others = [parse_b64u(other) for other in model["others"]]
    assert b64u(fields_root([*others[: model["slot"]], shown, *others[model["slot"] :]])) == leaf.header.root


def test_another_desk_over_the_same_sealer_goes_on_with_what_it_keeps(bench: Bench) -> None:
    first, second = bench.desk, bench.open_desk()
    whole_answer(first, write_follow(bench.shard))
    kept = bench.installation.sealer.logs["default"].recent
    assert kept is not None
    whole_answer(second, write_follow(bench.shard))
    assert bench.installation.sealer.logs["default"].recent is kept
    assert bench.installation.sealer.logs["default"].is_pressed is False
