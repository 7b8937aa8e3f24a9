"""The sealer over restarts: epochs, gaps, dead writers, damaged shards, and the edge of a segment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import affidavit_verify
from affidavit.crypt.keyring import Kind
from affidavit.errors import CorruptionError, LayoutError
from affidavit.event import encode_meta
from affidavit.ledger import cut, reader, writer
from affidavit.ledger.leaf import Leaf
from affidavit.ledger.wal import FILE_AGE_US_MAX, SealingKey, Shard
from affidavit.seal import log as sealed_log
from affidavit.seal import opening, recount, sealer
from affidavit.text import b64u
from tests.support.installation import (
    Installation,
    chat_request,
    chat_response,
    new_id,
    request_meta,
    response_end,
    response_start,
    write_call,
    write_request,
    write_response,
)
from tests.support.shards import frames_of
from tests.support.story import QuickDisk, leaves_of, quicken_verifier, verify

LONG = chat_request("be brief", "a long question " * 400_000)
DAMAGED = {("WARN", "GAP", "system"), ("WARN", "GAP", "default"), ("WARN", "DAMAGED-WAL", None)}
REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")


@pytest.fixture(autouse=True)
def _quick_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken_verifier(monkeypatch)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()


def restart(installation: Installation) -> None:
    installation.open()
    installation.start()


def types(installation: Installation, log: str = "default") -> list[str]:
    return [leaf.type for leaf in leaves_of(installation, log)]


def data_of(leaf: Leaf) -> dict[str, Any]:
    assert leaf.data is not None
    return leaf.data


def codes(installation: Installation, *verdicts: str) -> set[tuple[str, str, str | None]]:
    """Findings of the single-file verifier, but for what every young ledger has."""
    found = verify(installation)[1]["findings"]
    return {
        (finding["verdict"], finding["code"], finding["log"])
        for finding in found
        if finding["code"] not in ("UNANCHORED", "NO-TIMESTAMP") and (not verdicts or finding["verdict"] in verdicts)
    }


def outcomes(installation: Installation, call: str) -> list[tuple[str, bytes]]:
    """`(class, bytes)` of every outcome of a call."""
    opener = installation.opener()
    leaves = leaves_of(installation, "default")
    found = []
    for index, leaf in enumerate(leaves):
        if leaf.links and leaf.links["call"] == call:
            header = opener.header(index, leaf)
            assert header is not None
            assert header[0].outcome is not None
            found.append((header[0].outcome[0], opener.wire(index, leaf, size=len(leaves))))
    return found


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_epochs_follow_each_other_over_restarts_and_clean_stops(installation: Installation) -> None:
    for _ in range(2):
        shard = installation.shard()
        write_call(shard, REQUEST, RESPONSE)
        shard.flush()
        installation.drain()
        installation.sealer.close_epoch()
        shard.close()
        installation.drain()
        installation.stop()
        assert codes(installation) == set()
        restart(installation)
    for log in ("system", "default"):
        leaves = leaves_of(installation, log)
        opened = [(index, data_of(leaf)) for index, leaf in enumerate(leaves) if leaf.type == "epoch.open"]
        closed = [(index, data_of(leaf)) for index, leaf in enumerate(leaves) if leaf.type == "epoch.close"]
        assert [data["epoch"] for _, data in opened] == [1, 2, 3, 4, 5]
        assert [data["epoch"] for _, data in closed] == [1, 2, 3, 4]
        assert [data["previous"] for _, data in opened] == [None, *(index for index, _ in closed)]
        assert [data["clean"] for _, data in closed] == [0, 1, 0, 1]


def test_a_restart_within_an_epoch_goes_on_counting_in_it(installation: Installation) -> None:
    shard = installation.shard()
    for _ in range(3):
        write_call(shard, REQUEST, RESPONSE)
        shard.flush()
        installation.drain()
        restart(installation)
    shard.close()
    installation.drain()
    installation.stop()
    assert codes(installation) == set()
    assert types(installation).count("epoch.open") == 1
    (close,) = [data_of(leaf) for leaf in leaves_of(installation, "default") if leaf.type == "epoch.close"]
    assert {(source["id"], source["boot"]): (source["first"], source["last"]) for source in close["sources"]}[
        "worker0", shard.boot
    ] == (1, 6)
    assert leaves_of(installation, "system")[-1].data["roster"] == [  # type: ignore[index]
        {
            "project": "default",
            "origin": installation.sealer.logs["default"].writer.origin,
            "size": installation.sealer.logs["default"].writer.size,
            "root": b64u(installation.sealer.logs["default"].writer.root),
        }
    ]


def test_an_epoch_that_is_open_at_the_end_is_said_to_be(installation: Installation) -> None:
    assert codes(installation) == {("WARN", "OPEN-EPOCH", "system"), ("WARN", "OPEN-EPOCH", "default")}


def test_a_stop_with_a_living_writer_is_not_called_clean(installation: Installation) -> None:
    shard = installation.shard()
    write_request(shard, REQUEST)
    shard.flush()
    installation.stop()
    assert data_of(leaves_of(installation, "default")[-1])["clean"] == 0
    assert data_of(leaves_of(installation, "default")[-1])["open_calls"] == 1
    assert ("WARN", "OPEN-EPOCH", "default") in codes(installation)
    shard.close()
    restart(installation)
    installation.drain()
    installation.stop()
    assert codes(installation) == set()


def test_a_project_that_is_added_later_gets_its_own_log(installation: Installation, tmp_path: Path) -> None:
    installation.stop()
    again = Installation(
        tmp_path,
        projects=("default", "second"),
        disk=QuickDisk(),
        signer_disk=QuickDisk(),
        sealing_private=installation.sealing_private,
    ).start()
    shard = again.shard()
    write_call(shard, REQUEST, RESPONSE, log="second")
    shard.sync()
    shard.close()
    again.drain()
    again.stop()
    assert types(again, "second") == ["epoch.open", "llm.request", "llm.response", "source.lost", "epoch.close"]
    assert codes(again) == set()
    # A project that the configuration no longer names keeps its log and its epochs.
    fewer = Installation(
        tmp_path, disk=QuickDisk(), signer_disk=QuickDisk(), sealing_private=installation.sealing_private
    )
    fewer.start().stop()
    assert types(fewer, "second")[-2:] == ["epoch.open", "epoch.close"]
    assert codes(fewer) == set()


# --- the edge of a segment --------------------------------------------------------------------------------------------


@pytest.fixture
def segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Segments of one bundle: what matters is their edges."""
    size = 256
    for module in (reader, writer, sealed_log, opening):
        monkeypatch.setattr(module, "SEGMENT_LEAVES", size)
    monkeypatch.setattr(affidavit_verify, "SEGMENT", size)
    return size


@pytest.mark.parametrize("leaves_before", range(249, 257))
def test_an_epoch_that_ends_at_any_place_before_the_edge_of_a_segment(
    segments: int, tmp_path: Path, leaves_before: int
) -> None:
    """The key sheet's leaf may come between the two epochs, or within a shared value, and no count suffers."""
    installation = Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()
    shard = installation.shard()
    written = {write_request(shard, REQUEST): REQUEST for _ in range(245)}
    while installation.sealer.logs["default"].writer.size < leaves_before - 1:
        user = f"user {len(written)}"
        request = chat_request("a prompt that all of them share, " * 20, f"{user} asks")
        written[write_request(shard, request, user=user)] = request
        shard.flush()
        installation.drain()
    installation.sealer.close_epoch()
    for _ in range(5):
        request = chat_request("a prompt that all of them share, " * 20, "once more")
        written[write_request(shard, request, user="one more")] = request
    shard.sync()
    restart(installation)
    shard.close()
    installation.drain()
    installation.stop()
    leaves = leaves_of(installation, "default")
    assert len(leaves) > segments
    assert {index for index, leaf in enumerate(leaves) if leaf.type == "key.sheet"} == set(
        range(segments, len(leaves), segments)
    )
    opener = installation.opener()
    for index, leaf in enumerate(leaves):
        if leaf.type == "llm.request":
            assert opener.wire(index, leaf, size=len(leaves)) == written.pop(leaf.id)
    assert written == {}
    assert codes(installation, "FAIL") == set()


def test_a_restart_exactly_at_the_edge_of_a_segment(segments: int, tmp_path: Path) -> None:
    installation = Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()
    shard = installation.shard()
    for _ in range(250):
        write_request(shard, REQUEST)
    while installation.sealer.logs["default"].writer.size < segments:
        write_request(shard, REQUEST)
        shard.flush()
        installation.drain()
    assert installation.sealer.logs["default"].writer.size == segments
    restart(installation)
    assert not (installation.data.log("default").bodies(1)).exists()
    shard.close()
    installation.drain()
    installation.stop()
    assert types(installation)[segments] == "key.sheet"
    assert codes(installation, "FAIL") == set()


# --- writers that died ------------------------------------------------------------------------------------------------


def broken_stream(shard: Shard, *parts: bytes) -> str:
    """A call whose answer breaks off after some parts; returns its id."""
    call = write_request(shard, REQUEST, user="ann")
    record = shard.begin("default")
    record.write(meta=encode_meta(response_start(call, b"".join(parts))))
    for part in parts:
        record.write(data=part)
    shard.sync()
    return call


def test_what_a_dead_writer_left_open_is_closed_with_every_byte_that_was_relayed(installation: Installation) -> None:
    shard = installation.shard()
    call = broken_stream(shard, b'data: {"choices"', b":[]}\n\n", b"data: {")
    installation.drain()
    assert outcomes(installation, call) == []
    shard.close()
    installation.drain()
    assert outcomes(installation, call) == [("incomplete", b'data: {"choices":[]}\n\ndata: {')]
    leaf = next(leaf for leaf in leaves_of(installation, "default") if leaf.type == "llm.response")
    assert leaf.src.id == "sealer"
    assert leaf.src.digest is not None
    installation.stop()
    assert codes(installation) == set()


def test_an_answer_of_which_only_our_own_words_came_is_an_unknown_outcome(installation: Installation) -> None:
    shard = installation.shard()
    call = write_request(shard, REQUEST)
    start = msgspec.structs.replace(response_start(call, b""), http=None)
    shard.begin("default").write(meta=encode_meta(start))
    other = shard.begin("default")
    other.write(data=b"a record whose meta never came")
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert outcomes(installation, call) == [("unknown_outcome", b"")]
    assert codes(installation) == set()


def test_an_unfinished_intent_is_kept_and_called_incomplete(installation: Installation) -> None:
    shard = installation.shard()
    call = new_id()
    shard.begin("default").write(meta=encode_meta(request_meta(call, body=REQUEST)), data=REQUEST[:50])
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    opener = installation.opener()
    leaves = leaves_of(installation, "default")
    ((index, leaf),) = [(index, leaf) for index, leaf in enumerate(leaves) if leaf.id == call]
    header = opener.header(index, leaf)
    assert header is not None
    assert header[0].outcome == ("incomplete", None, None, 0)
    assert opener.wire(index, leaf, size=len(leaves)) == REQUEST[:50]
    assert types(installation).count("llm.response") == 0


def resurrect(installation: Installation, kept: Path) -> None:
    """Put write-ahead files back that were deleted: a deletion that did not outlive the machine."""
    for shard in kept.iterdir():
        shutil.copytree(shard, installation.data.wal / shard.name, dirs_exist_ok=True)


@pytest.mark.parametrize("starts", [1, 2, 3])
def test_files_that_outlive_their_deletion_are_sealed_once(
    installation: Installation, tmp_path: Path, starts: int
) -> None:
    """Finished records, streams that broke off, unknown outcomes, what nobody can read: each has one leaf."""
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    broken_stream(shard, b"some ", b"bytes")
    write_request(shard, REQUEST)
    shard.begin("default").finish(meta=b"no meta of ours", data=b"kept as it stands")
    shard.begin("default").write(meta=b"nor this, and unfinished", data=b"this, too")
    write_response(shard, new_id(), b"the outcome of nobody")
    shard.begin("default").write(meta=encode_meta(response_start(new_id(), b"")), data=b"and one unfinished")
    shard.sync()
    kept = tmp_path / "kept"
    shutil.copytree(installation.data.wal, kept)
    shard.close()
    installation.drain()
    before = types(installation)
    assert before.count("unreadable") == 4
    for _ in range(starts):
        resurrect(installation, kept)
        restart(installation)
        installation.drain()
        assert types(installation) == before
    installation.stop()
    assert codes(installation) == set()
    assert list(installation.data.wal.iterdir()) == []


def aging_shard(installation: Installation) -> tuple[Shard, list[int]]:
    """A shard, and the moment that its clock shows."""
    now = [1_700_000_000_000_000]
    public = X25519PrivateKey.from_private_bytes(installation.sealing_private).public_key().public_bytes_raw()
    shard = Shard(
        wal_directory=installation.data.wal,
        source="worker0",
        boot="AAAAAAAA",
        logs=("system", "default"),
        sealing_key=lambda: SealingKey(id="00000001", public=public),
        clock_us=lambda: now[0],
        disk=QuickDisk(),
    )
    return shard, now


def test_the_file_of_an_intent_stays_until_its_outcome_is_sealed(installation: Installation) -> None:
    """Else a restart would not know the call any more, and nobody would ever close it."""
    shard, now = aging_shard(installation)
    call = write_request(shard, REQUEST)
    shard.sync()
    for _ in range(2):
        now[0] += FILE_AGE_US_MAX
        write_call(shard, REQUEST, RESPONSE)
        shard.sync()
        installation.drain()
    assert (installation.data.wal / shard.name / "00000001").exists()
    restart(installation)
    installation.drain()
    shard.close()
    installation.drain()
    installation.stop()
    assert outcomes(installation, call) == [("unknown_outcome", b"")]
    assert codes(installation) == set()


def test_a_record_that_spans_files_over_a_restart_of_the_sealer(installation: Installation) -> None:
    """The file in which it began is deleted once it is sealed; its last frames stay in one that is still written to."""
    shard, now = aging_shard(installation)
    call = write_request(shard, REQUEST)
    record = shard.begin("default")
    record.write(meta=encode_meta(response_start(call, RESPONSE)), data=RESPONSE[:50])
    shard.sync()
    now[0] += FILE_AGE_US_MAX
    late = write_request(shard, REQUEST)
    record.finish(meta=encode_meta(response_end()), data=RESPONSE[50:])
    shard.sync()
    installation.drain()
    assert [path.name for path in (installation.data.wal / shard.name).iterdir() if path.name != "lock"] == ["00000002"]
    restart(installation)
    write_response(shard, late, RESPONSE)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert outcomes(installation, call) == outcomes(installation, late) == [("ok", RESPONSE)]
    assert types(installation).count("gap") == 0
    assert codes(installation) == set()


# --- damage -----------------------------------------------------------------------------------------------------------


def damage(installation: Installation, shard: Shard, record: int) -> None:
    """Change a byte in the first frame of a record, with synced frames behind it."""
    directory = installation.data.wal / shard.name
    file, at, _ = next(place for place in frames_of(directory) if place[2].record == record)
    path = directory / f"{file:08d}"
    data = bytearray(path.read_bytes())
    data[at + 60] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("living", [False, True], ids=["dead", "living"])
def test_a_damaged_shard_is_read_up_to_the_damage_then_kept_as_evidence(
    installation: Installation,
    living: bool,  # noqa: FBT001
) -> None:
    shard = installation.shard()
    whole = write_call(shard, REQUEST, RESPONSE, user="ann")
    stream = broken_stream(shard, b"relayed ", b"bytes")
    write_call(shard, REQUEST, RESPONSE, user="ben")
    shard.sync()
    write_request(shard, REQUEST)
    shard.sync()
    damage(installation, shard, 5)
    if not living:
        shard.close()
    before = {path.name: path.read_bytes() for path in (installation.data.wal / shard.name).iterdir()}
    for _ in range(200 if living else 1):
        installation.drain()
    assert outcomes(installation, whole) == [("ok", RESPONSE)]
    assert outcomes(installation, stream) == [("incomplete", b"relayed bytes")]
    for log, first in (("default", 4), ("system", 1)):
        (gap,) = [data_of(leaf) for leaf in leaves_of(installation, log) if leaf.type == "gap"]
        assert gap == {
            "id": "worker0",
            "boot": shard.boot,
            "first": first,
            "last": None,
            "reason": "wal_damage",
            "count": None,
        }
    kept = installation.data.directory / "damaged" / shard.name
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert not (installation.data.wal / shard.name).exists()
    assert "Bytes that were durable have changed" in installation.sealer.problems[0]
    shard.close()
    other = installation.shard()
    after = write_call(other, REQUEST, RESPONSE)
    other.sync()
    other.close()
    installation.drain()
    installation.stop()
    assert outcomes(installation, after) == [("ok", RESPONSE)]
    assert codes(installation) == DAMAGED
    code, verdict = verify(installation)
    assert (code, verdict["integrity"], verdict["completeness"]) == (1, "WARN", "WARN")


def test_a_damaged_shard_survives_a_death_before_it_is_moved_away(installation: Installation, tmp_path: Path) -> None:
    """Its gap is on record already: it is not recorded again, and the evidence is moved, not deleted."""
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    broken_stream(shard, b"x")
    for _ in range(2):
        write_request(shard, REQUEST)
        shard.sync()
    damage(installation, shard, 5)
    shard.close()
    kept = tmp_path / "kept"
    shutil.copytree(installation.data.wal, kept)
    installation.drain()
    before = types(installation), types(installation, "system")
    shutil.rmtree(installation.data.directory / "damaged")
    resurrect(installation, kept)
    restart(installation)
    installation.drain()
    assert (types(installation), types(installation, "system")[: len(before[1])]) == before
    assert types(installation, "system").count("gap") == 1
    assert (installation.data.directory / "damaged" / shard.name / "00000001").exists()
    assert installation.sealer.is_drained
    assert len(installation.sealer.problems) == 1
    installation.stop()
    assert codes(installation) == DAMAGED


def test_a_stage_that_was_changed_is_not_published(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = installation.shard()
    call = write_call(shard, REQUEST, RESPONSE)
    shard.sync()

    def die(self: object, part: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealed_log.SealedLog, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            installation.drain()
    (stage,) = installation.data.stage.iterdir()
    whole = stage.read_bytes()
    assert ("WARN", "PENDING", None) in codes(installation)
    stage.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    assert any(verdict == "FAIL" for verdict, _, _ in codes(installation))
    with pytest.raises(CorruptionError, match="not as it was written"):
        restart(installation)
    stage.write_bytes(whole)
    restart(installation)
    shard.close()
    installation.drain()
    installation.stop()
    assert outcomes(installation, call) == [("ok", RESPONSE)]
    assert codes(installation) == set()


def test_a_stage_that_names_a_log_that_nobody_created(installation: Installation) -> None:
    from affidavit.ledger.stage import Part, format_stage

    part = Part(log="stranger", first=0, header_at=8, body_at=8, entries=(b"x",), headers=b"", bodies=b"", rows=b"")
    (installation.data.stage / "00000009").write_bytes(format_stage(cut=9, parts=(part,)))
    with pytest.raises(CorruptionError, match="does not know"):
        restart(installation)


def test_a_directory_of_another_format_is_not_touched(installation: Installation) -> None:
    installation.stop()
    installation.data.format_file.write_bytes(b"affidavit-ledger v2\n")
    with pytest.raises(LayoutError, match="version that wrote it"):
        installation.open()


def test_a_shard_that_names_a_log_that_does_not_exist_stops_the_sealer_and_loses_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    wide = Installation.__new__(Installation)
    wide.__dict__.update(installation.__dict__ | {"projects": ("default", "later")})
    shard = wide.shard()
    call = write_call(shard, REQUEST, RESPONSE, log="later")
    shard.sync()
    shard.close()
    with pytest.raises(CorruptionError, match="does not exist"):
        installation.drain()
    again = Installation(
        tmp_path,
        projects=("default", "later"),
        disk=QuickDisk(),
        signer_disk=QuickDisk(),
        sealing_private=installation.sealing_private,
    ).start()
    again.drain()
    again.stop()
    assert [leaf.call for leaf in leaves_of(again, "later") if leaf.call] == [call, call]
    assert codes(again) == set()


def test_strange_things_in_the_write_ahead_directory_disturb_nobody(installation: Installation) -> None:
    (installation.data.wal / "lost+found").mkdir()
    (installation.data.wal / "worker7.AAAAAAAA.tmp").mkdir()
    (installation.data.wal / "worker8.AAAAAAAA").mkdir()
    (installation.data.wal / "a file").touch()
    restart(installation)
    installation.drain()
    assert {path.name for path in installation.data.wal.iterdir()} == {"lost+found", "a file"}
    assert installation.sealer.is_drained
    installation.stop()


def test_much_is_sealed_in_cuts(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "CUT_RECORDS_MAX", 5)
    shards = [installation.shard(source=f"worker{number}") for number in range(4)]
    calls = [write_call(shard, REQUEST, RESPONSE) for shard in shards for _ in range(4)]
    for shard in shards:
        shard.sync()
        shard.close()
    assert installation.sealer.step() < 32
    installation.drain()
    installation.stop()
    assert sorted(leaf.id for leaf in leaves_of(installation, "default") if leaf.type == "llm.request") == sorted(calls)
    assert codes(installation) == set()
    assert list(installation.data.stage.iterdir()) == []


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_beats_of_a_backlog_are_published_together(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    dies: bool,  # noqa: FBT001
) -> None:
    """A death between beats costs only work: what was sealed and not published is sealed anew, once."""
    monkeypatch.setattr(cut, "READ_BYTES_MAX", 2000)
    shard = installation.shard()
    calls = [write_call(shard, REQUEST, RESPONSE) for _ in range(60)]
    shard.sync()
    heads = len(list(installation.data.log("default").heads.iterdir()))
    beats = [installation.sealer.step()]
    while installation.sealer.is_behind:
        if dies and len(beats) == 5:
            assert installation.sealer.logs["default"].pending_bytes > 0
            restart(installation)
        beats.append(installation.sealer.step())
    assert len(beats) > 8
    assert len(list(installation.data.log("default").heads.iterdir())) - heads <= 2 + dies
    shard.close()
    installation.drain()
    installation.stop()
    assert [leaf.id for leaf in leaves_of(installation, "default") if leaf.type == "llm.request"] == calls
    assert codes(installation) == set()
    assert list(installation.data.wal.iterdir()) == []


def test_accesses_that_nobody_comes_for_are_forgotten(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.accesses import write_access

    monkeypatch.setattr(sealer, "ACCESS_KEPT_MAX", 3)
    shard = installation.shard(source="api")
    questions = [write_access(shard, (0, 1)) for _ in range(5)]
    installation.drain()
    assert list(installation.sealer.accesses) == [(shard.name, question["record"]) for question in questions[2:]]
    shard.close()


def test_a_record_that_is_longer_than_several_reads_is_sealed_before_the_sealer_rests(tmp_path: Path) -> None:
    """Who waits for a record asks for steps until nothing is left; a step within a record is not the last one."""
    assert len(LONG) > 2 * cut.READ_BYTES_MAX
    installation = Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()
    shard = installation.shard()
    write_call(shard, LONG, RESPONSE, user="ann")
    shard.flush()
    installation.drain()
    assert [leaf.type for leaf in leaves_of(installation, "default")][-2:] == ["llm.request", "llm.response"]
    shard.close()
    installation.stop()


def test_a_stop_seals_a_backlog_with_heads_on_the_way(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a head is safe, whatever happens to a stop that takes long."""
    monkeypatch.setattr(cut, "READ_BYTES_MAX", 2000)
    shard = installation.shard()
    calls = [write_call(shard, REQUEST, RESPONSE) for _ in range(30)]
    shard.sync()
    shard.close()
    heads = len(list(installation.data.log("default").heads.iterdir()))
    installation.stop()
    assert len(list(installation.data.log("default").heads.iterdir())) > heads + 3
    assert [leaf.id for leaf in leaves_of(installation, "default") if leaf.type == "llm.request"] == calls
    assert types(installation)[-1] == "epoch.close"
    assert list(installation.data.wal.iterdir()) == []
    assert codes(installation) == set()


def test_a_step_of_the_sealers_own_clock_is_on_record_in_every_log(installation: Installation) -> None:
    watch = installation.sealer._timekeeping._watch
    watch._apart_us = 5
    for apart_us in (5, 8_000_005, 8_000_005):
        watch._measure = lambda apart_us=apart_us: apart_us  # type: ignore[method-assign,misc]
        installation.sealer.look_at_clock()
    installation.sealer.settle()
    for log in ("system", "default"):
        stated = [data_of(leaf) for leaf in leaves_of(installation, log) if leaf.type == "source.clock"]
        assert [data["step_us"] for data in stated] == [8_000_000]
    installation.stop()


def test_a_long_epoch_is_not_counted_again_at_a_start(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shard.close()
    installation.drain()
    monkeypatch.setattr(recount, "RECOUNT_LEAVES_MAX", 2)
    restart(installation)
    (problem,) = [text for text in installation.sealer.problems if "of log default" in text]
    assert "will close without sums: a start counts at most 2 leaves again" in problem
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    close = leaves_of(installation, "default")[-1]
    assert (close.type, "sums" in data_of(close)) == ("epoch.close", False)


def test_candidates_to_be_shared_are_remembered_up_to_a_bound(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that fell out of memory has to be seen by as many people anew; nothing is shared too early."""
    monkeypatch.setattr(sealed_log, "SHARED_CANDIDATES_MAX", 1)
    one, other = "a prompt that many share. " * 40, "another prompt altogether. " * 40
    shard = installation.shard()
    shared = []
    for user, prompt in (("ann", one), ("ann", other), ("ben", one), ("cleo", one), ("dan", one)):
        write_call(shard, chat_request(prompt, f"{user} asks"), RESPONSE, user=user)
        shard.sync()
        installation.drain()
        installation.sealer.settle()
        shared.append(types(installation).count("content.shared"))
    assert shared == [0, 0, 0, 0, 1]
    shard.close()


def test_what_nobody_in_particular_sent_is_shared_with_nobody(installation: Installation) -> None:
    """A value without a subject counts for no person, however often it comes."""
    log, ring = installation.sealer.logs["default"], installation.ring
    app = ring.key_of(Kind.APP, "default", "shop")
    assert not any(log._is_common(app.scope, b"value", app) for _ in range(5))
    people = [ring.key_of(Kind.SUBJECT, "default", name) for name in ("ann", "ben", "ben", "cleo")]
    assert [log._is_common(app.scope, b"value", person) for person in people] == [False, False, False, True]


def test_a_first_start_that_dies_behind_its_stage_is_finished_by_the_next(tmp_path: Path) -> None:
    """The stage that creates a project is published by whoever finds it; the project is created once."""
    staged = False

    def die(operation: str, path: str) -> None:
        nonlocal staged
        if staged:
            raise KeyboardInterrupt
        staged = operation == "rename" and "/stage/" in path

    with pytest.raises(KeyboardInterrupt):
        Installation(tmp_path, disk=QuickDisk(die), signer_disk=QuickDisk()).start()
    assert not (tmp_path / "data" / "logs" / "default").exists()
    again = Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()
    created = [data_of(leaf)["project"] for leaf in leaves_of(again, "system") if leaf.type == "project.create"]
    assert created == ["system", "default"]
    assert types(again) == ["epoch.open"]
    again.stop()
    assert codes(again) == set()
