"""A stranger's witness cosigns the heads of our ledger and refuses its mutants; ours cosigns a stranger's log."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from affidavit.ledger.directory import Disk
from affidavit.prove.verify import verify_directory
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint, parse_conflict, with_cosignatures
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import sign_checkpoint
from affidavit.tlog.merkle import consistency_proof
from affidavit.tlog.note import VerifierKey, format_vkey, parse_note, parse_signature_lines, parse_vkey
from affidavit.tlog.tile import node_reader
from affidavit.witness.store import open_store, parse_log_vkeys
from affidavit.witness.witness import Witness
from tests.foreign.logs import Log
from tests.support.installation import Installation, chat_request, chat_response, write_call

pytestmark = pytest.mark.timeout(180)  # the first test that needs it waits for its download
NOW_S = 1_760_000_000


def request(log: Log, head: bytes, old_size: int) -> str:
    """What our log sends."""
    size = parse_checkpoint(parse_note(head).text).size
    node = node_reader(log.size, lambda path: (log.tree / path).read_bytes())
    proof = consistency_proof(old_size=old_size, new_size=size, node=node)
    return format_add_checkpoint(AddCheckpoint(old_size, proof, head)).decode()


@pytest.fixture
def stranger(witness_log: ModuleType) -> Any:
    return witness_log.WitnessService.new("stranger.example/w", bytes(range(32)))


def key_of(stranger: Any) -> VerifierKey:
    return parse_vkey(stranger.vkey())


def ask(stranger: Any, body: str) -> tuple[int, str, bytes]:
    status, content_type, answer = stranger.handle_add_checkpoint_http(body, NOW_S)
    return status, content_type, answer.encode()


@pytest.mark.parametrize("name", ["system", "default"])
def test_a_strangers_witness_cosigns_every_head_of_ours(stranger: Any, real: dict[str, Log], name: str) -> None:
    log = real[name]
    vkey = log.vkeys.read_text().splitlines()[0]  # it knows Ed25519 notes only
    assert stranger.add_log(parse_vkey(vkey).name, vkey)
    old_size = 0
    for path in log.heads:
        head = path.read_bytes()
        status, _, answer = ask(stranger, request(log, head, old_size))
        assert status == 200, answer
        pinned = with_cosignatures(head, parse_signature_lines(answer), [key_of(stranger)])
        assert len(parse_note(pinned).signatures) == 3
        old_size = parse_checkpoint(parse_note(head).text).size
    status, content_type, answer = ask(stranger, request(log, log.heads[-1].read_bytes(), 0))
    assert (status, content_type, parse_conflict(answer)) == (409, "text/x.tlog.size", old_size)


def test_a_strangers_witness_refuses_what_does_not_extend(stranger: Any, tmp_path: Path) -> None:
    installation = Installation(tmp_path).start()
    vkeys = [parse_vkey(vkey) for vkey in installation.sealer.vkeys["default"]]
    stranger.add_log(vkeys[0].name, format_vkey(vkeys[0]))
    opened = installation.signer._open("default")

    def head(size: int, root: bytes) -> bytes:
        checkpoint = Checkpoint(opened.state.origin, size, root)
        return sign_checkpoint(checkpoint, signer=opened.pairs[-1][0], cosigner=opened.pairs[-1][1], timestamp=NOW_S)

    def body(old: int, proof: tuple[bytes, ...], note: bytes) -> str:
        return format_add_checkpoint(AddCheckpoint(old, proof, note)).decode()

    assert ask(stranger, body(0, (), head(5, bytes(32))))[0] == 200
    assert ask(stranger, body(5, (), head(5, bytes(31) + b"\1")))[0] in {409, 422}
    assert ask(stranger, body(5, (bytes(32),) * 3, head(9, bytes(32))))[0] == 422
    assert ask(stranger, body(5, (), head(4, bytes(32))))[0] == 400
    changed = head(9, bytes(32)).replace(b"\n9\n", b"\n8\n", 1)
    assert ask(stranger, body(5, (), changed))[0] == 403


def test_a_ledger_is_anchored_by_a_stranger(stranger: Any, tmp_path: Path) -> None:
    installation = Installation(tmp_path).start()
    shard = installation.shard()
    write_call(shard, chat_request("You answer.", "question"), chat_response("answer"))
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    for name, vkeys in installation.sealer.vkeys.items():
        layout = installation.data.log(name)
        stranger.add_log(parse_vkey(vkeys[0]).name, vkeys[0])
        head = layout.checkpoint.read_bytes()
        status, _, answer = ask(stranger, format_add_checkpoint(AddCheckpoint(0, (), head)).decode())
        assert status == 200, answer
        layout.anchors.mkdir()
        size = parse_checkpoint(parse_note(head).text).size
        lines = parse_signature_lines(answer)
        layout.anchor(size, "witness").write_bytes(with_cosignatures(head, lines, [key_of(stranger)]))
    policy = f"witness stranger {stranger.vkey()}\nquorum stranger\n".encode()
    report = verify_directory(installation.data.directory, vkeys=installation.vkeys_file.read_bytes(), policy=policy)
    assert (report.integrity, report.anchor) == ("OK", "OK")


def test_our_witness_cosigns_a_strangers_log_and_the_stranger_accepts_it(
    witness_log: ModuleType, tmp_path: Path
) -> None:
    log = witness_log.WitnessLog.generate()
    origin = log.canonical_origin()
    for number in range(5):
        log.append_intent(b"%d" % number)
    with open_store(tmp_path / "witness", name="ours.example/w", random=os.urandom, disk=Disk()) as store:
        store.add_logs(parse_log_vkeys(log.c2sp_vkey(origin).encode()))
        witness = Witness(store, clock_s=lambda: NOW_S)
        ours = store.identity.vkeys[0].public_key.hex()
        for old_size in (0, 5, 8):
            answer = witness.add_checkpoint(log.add_checkpoint_body(old_size).encode())
            assert answer.status == 200, answer
            assert log.dossier_from_responses([(ours, answer.body.decode())])[1] == 1
            for number in range(3):
                log.append_intent(b"more %d" % number)
        stale = witness.add_checkpoint(log.add_checkpoint_body(5).encode())
        assert (stale.status, stale.body) == (409, b"11\n")
        forged = log.add_checkpoint_body(11).replace("old 11", "old 11\n" + "A" * 43 + "=", 1)
        assert witness.add_checkpoint(forged.encode()).status == 422
