"""Readings: nothing comes out before its event is durable, and nothing that the event does not name."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Self

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.api.lookup import Lookup
from affidavit.api.reading import Reading
from affidavit.api.recorder import Access, AccessRecorder
from affidavit.api.settling import SETTLE_S_MAX
from affidavit.errors import AccessRefusedError, FormatError, LayoutError, NotDurableError, NotFoundError, ServiceError
from affidavit.event import AccessMeta, SourceMeta
from affidavit.ledger.channel import Message, Peer
from affidavit.ledger.cut import ShardReader
from affidavit.ledger.directory import Disk
from affidavit.ledger.wal import SealingKey, Shard
from affidavit.seal.masked import MaskedRow
from affidavit.text import uuid7
from tests.unit.api.test_lookup import CALL, leaf, write_log

PRIVATE = X25519PrivateKey.generate()
KEY = SealingKey(id="00000000", public=PRIVATE.public_key().public_bytes_raw())
PEER = Peer(pid=1, uid=1000)


class NoIndex:
    """What a door without an index has in its place."""

    def compare(self, row: MaskedRow) -> list[str] | None:
        """Nothing to compare with."""

    def status(self) -> dict:
        return {"state": "waiting"}

    def note(self) -> str:
        return "what is not covered"


class Wal:
    """The api's write-ahead log, whose disk can be made to fail."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fails: str | None = None
        self.durable = 0
        self._boots = count(1)

    def open_shard(self) -> Shard:
        return Shard(
            wal_directory=self.directory,
            source="api",
            boot=f"BOOT{next(self._boots):04d}",
            logs=("system", "default"),
            sealing_key=lambda: KEY,
            clock_us=lambda: 1_700_000_000_000_000,
            disk=Disk(self._before),
        )

    def _before(self, operation: str, _: str) -> None:
        if operation == self.fails:
            raise OSError(28, os.strerror(28))
        if operation == "fdatasync":
            self.durable += 1

    def records(self) -> dict[str, list]:
        """`(log, meta)` of each whole record, by shard."""
        found = {}
        for shard in sorted(self.directory.iterdir()):
            reader = ShardReader(shard, private_key=lambda _: PRIVATE.private_bytes_raw())
            found[shard.name] = [
                (
                    record.log,
                    msgspec.json.decode(
                        record.metas[0], type=AccessMeta if b'"leaves"' in record.metas[0] else SourceMeta
                    ),
                )
                for record in reader.read(dead=False)
            ]
        return found

    def accesses(self) -> list[tuple[str, AccessMeta]]:
        return [(log, meta) for shard in self.records().values() for log, meta in shard if isinstance(meta, AccessMeta)]


class Sealer:
    """Opens whatever an access event names; can be told to cheat."""

    def __init__(self, wal: Wal) -> None:
        self.wal = wal
        self.pending = 0
        self.asked: list[dict] = []
        self.durable_when_asked: list[int] = []
        self.cheat: Callable[[list[dict]], object] = lambda rows: rows
        self.wire: dict[int, bytes | str] = {}

    def connect(self) -> "Sealer":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A connection for one question."""

    def call(self, body: dict) -> Message:
        if body["op"] == "status":
            self.pending = max(0, self.pending - 1)
            return Message({"ready": True, "lag_s": 0.5, "pending_records": self.pending + 0})
        self.asked.append(body)
        self.durable_when_asked.append(self.wal.durable)
        shard = self.wal.records()[body["shard"]]
        meta = shard[body["record"] - 1][1]
        rows, parts = [], []
        for start, end in meta.leaves:
            for number in range(start, end):
                row = {
                    "log": meta.log,
                    "leaf": number,
                    "id": CALL.format(number),
                    "call": None,
                    "type": "t",
                    "time_us": 1,
                }
                if meta.view == "wire" and number in self.wire:
                    found = self.wire[number]
                    row["wire"] = len(parts) if isinstance(found, bytes) else found
                    parts += [found] if isinstance(found, bytes) else []
                rows.append(row)
        return Message({"rows": self.cheat(rows)}, tuple(parts))


@pytest.fixture
def wal(tmp_path: Path) -> Wal:
    (tmp_path / "wal").mkdir()
    return Wal(tmp_path / "wal")


@pytest.fixture
def sealer(wal: Wal) -> Sealer:
    return Sealer(wal)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def recorder(wal: Wal) -> AccessRecorder:
    ids = count()
    return AccessRecorder(
        open_shard=wal.open_shard,
        clock_us=lambda: 1_700_000_000_000_000,
        mono_us=lambda: 5,
        new_id=lambda time_us: uuid7(time_us=time_us, random=next(ids).to_bytes(10, "big")),
    )


@pytest.fixture
def reading(tmp_path: Path, recorder: AccessRecorder, sealer: Sealer, slept: list[float]) -> Reading:
    write_log(
        tmp_path,
        "default",
        [
            leaf(0),
            leaf(1, kind="llm.response", call=CALL.format(0)),
            leaf(2),
            leaf(3, kind="llm.response", call=CALL.format(2)),
        ],
    )
    write_log(tmp_path, "system", [leaf(100, kind="epoch.open")])
    write_log(tmp_path, "retired", [leaf(200)])
    return Reading(
        lookup=Lookup(tmp_path),
        recorder=recorder,
        sealer=sealer.connect,
        searching=NoIndex(),
        keeper=NoIndex(),
        sleep=slept.append,
    )


def answers(reading: Reading, **request) -> list[dict]:
    return [reply.body for reply in reading.handle(request, PEER, ())]


def test_every_page_has_an_event_that_was_durable_before_the_sealer_was_asked(reading, wal, sealer):
    found = answers(reading, op="list")
    assert [(row["log"], row["leaf"]) for answer in found for row in answer.get("rows", ())] == [
        ("system", 0),
        *[("default", number) for number in range(4)],
        ("retired", 0),
    ]
    assert found[-1] == {"others": 0, "end": True}
    assert [meta.leaves for _, meta in wal.accesses()] == [((0, 1),), ((0, 4),), ((0, 1),)]
    assert {(meta.view, meta.identity.user, meta.origin, meta.query) for _, meta in wal.accesses()} == {
        ("header", "uid:1000", "cli", "list")
    }
    assert sealer.durable_when_asked == [2, 3, 4], (
        "one sync for the start of the source, then one a page, each before its question"
    )


def test_a_reading_is_recorded_in_the_log_that_it_reads_else_in_the_system_log(reading, wal):
    answers(reading, op="list")
    assert [(log, meta.log) for log, meta in wal.accesses()] == [
        ("system", "system"),
        ("default", "default"),
        ("system", "retired"),
    ]


def test_a_limit_opens_exactly_the_newest(reading, wal):
    found = answers(reading, op="list", logs=["default"], types=["llm.response"], limit=1)
    assert [row["leaf"] for row in found[0]["rows"]] == [3]
    assert found[-1] == {"others": 3, "end": True}
    assert [(meta.leaves, meta.query) for _, meta in wal.accesses()] == [
        (((3, 4),), 'list {"logs":["default"],"types":["llm.response"],"limit":1}')
    ]


def test_a_limit_of_nothing_reads_nothing(reading, wal):
    assert answers(reading, op="list", limit=0)[0] == {"rows": []}
    assert wal.accesses() == []


def test_both_halves_of_a_call_are_shown_one_by_one(reading, wal, sealer):
    sealer.wire = {2: b"request", 3: "erased"}
    replies = list(reading.handle({"op": "show", "id": CALL.format(3), "view": "wire"}, PEER, ()))
    assert [reply.parts for reply in replies] == [(b"request",), (), ()]
    assert [reply.body["rows"][0]["wire_state"] for reply in replies[:2]] == ["whole", "erased"]
    assert [(meta.leaves, meta.view) for _, meta in wal.accesses()] == [(((2, 3),), "wire"), (((3, 4),), "wire")]


def test_a_header_view_has_no_word_of_the_wire(reading):
    found = answers(reading, op="show", id=CALL.format(0))
    assert "wire_state" not in found[0]["rows"][0]


@pytest.mark.parametrize("operation", ["fdatasync", "write", "create", "mkdir"])
def test_nothing_is_read_while_the_event_cannot_be_made_durable(reading, wal, sealer, operation):
    wal.fails = operation
    for _ in range(2):
        with pytest.raises(NotDurableError, match="nothing was shown"):
            answers(reading, op="show", id=CALL.format(0), view="wire")
    assert sealer.asked == []
    wal.fails = None
    assert len(answers(reading, op="show", id=CALL.format(0))) == 3, "it mends itself in a new shard"


def test_a_shard_that_failed_is_never_written_to_again(reading, wal):
    answers(reading, op="show", id=CALL.format(0))
    wal.fails = "fdatasync"
    with pytest.raises(NotDurableError):
        answers(reading, op="show", id=CALL.format(0))
    wal.fails = None
    answers(reading, op="show", id=CALL.format(0))
    assert len(wal.records()) == 2


@pytest.mark.parametrize(
    "cheat",
    [
        lambda rows: [{**rows[0], "leaf": 1}],
        lambda rows: [{**rows[0], "log": "system"}],
        lambda rows: [*rows, {**rows[0], "leaf": 3}],
    ],
)
def test_what_the_event_does_not_name_does_not_go_out(reading, sealer, cheat):
    sealer.cheat = cheat
    with pytest.raises(AccessRefusedError, match="nothing was shown"):
        answers(reading, op="show", id=CALL.format(0))


def test_an_answer_of_another_shape_is_none(reading, sealer):
    sealer.cheat = lambda _: None
    with pytest.raises(FormatError):
        answers(reading, op="show", id=CALL.format(0))


def test_a_question_waits_for_what_is_pending_but_not_for_ever(reading, sealer, slept):
    sealer.pending = 5
    answers(reading, op="list", limit=1)
    assert 0 < sum(slept) < SETTLE_S_MAX
    slept.clear()
    sealer.pending = 10_000
    answers(reading, op="list", limit=1)
    assert SETTLE_S_MAX <= sum(slept) < SETTLE_S_MAX + 0.1


def test_who_looks_for_a_call_just_made_waits_for_its_sealing(reading, sealer, slept, tmp_path):
    sealer.pending = 3
    with pytest.raises(NotFoundError):
        answers(reading, op="show", id="01985f0e-7c1b-7aaa-8001-ffffffffffff")
    assert slept


def test_status_passes_on_what_the_sealer_says(reading):
    status = {"ready": True, "lag_s": 0.5, "pending_records": 0, "end": True}
    status |= {"index": {"state": "waiting"}, "masking": "what is not covered"}
    assert answers(reading, op="status") == [status]


@pytest.mark.parametrize(
    "request_body",
    [{}, {"op": "nope"}, {"op": "show"}, {"op": "list", "limit": "x"}, {"op": "show", "id": "a", "view": "all"}],
)
def test_a_question_that_nobody_knows(reading, request_body):
    with pytest.raises(FormatError, match="does not know this question"):
        list(reading.handle(request_body, PEER, ()))


# --- the recorder alone


def test_a_source_says_that_it_starts_and_stops_in_each_log(recorder, wal):
    recorder.start()
    access = recorder.record(log="default", leaves=[(0, 1)], view="header", user="uid:1", origin="cli", query="list")
    recorder.stop()
    ((name, records),) = wal.records().items()
    assert access == Access(name, 3)
    assert [(log, meta.type) for log, meta in records] == [
        ("system", "source.start"),
        ("default", "source.start"),
        ("default", "access.read"),
        ("system", "source.stop"),
        ("default", "source.stop"),
    ]
    recorder.stop()


def test_without_a_sealing_key_nothing_is_read(wal):
    def no_key() -> Shard:
        raise LayoutError("no key")

    recorder = AccessRecorder(open_shard=no_key, clock_us=lambda: 1, mono_us=lambda: 1, new_id=lambda _: "x")
    with pytest.raises(NotDurableError, match="could not be recorded"):
        recorder.start()


def test_a_sealer_that_is_away_is_told(tmp_path, recorder):
    def nobody():
        raise ServiceError("the sealer process does not answer")

    reading = Reading(
        lookup=Lookup(tmp_path),
        recorder=recorder,
        sealer=nobody,
        searching=NoIndex(),
        keeper=NoIndex(),
        sleep=lambda _: None,
    )
    with pytest.raises(ServiceError):
        list(reading.handle({"op": "list"}, PEER, ()))
