"""A stranger's witness cosigns the heads of our ledger and refuses its mutants; ours cosigns a stranger's log."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
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
from tests.foreign.conftest import asked
from tests.foreign.logs import Log
from tests.foreign.programs import SOURCES, aics_command, aics_environment
from tests.support.installation import Installation, chat_request, chat_response, write_call
from tests.support.witness_server import Running

pytestmark = pytest.mark.timeout(180)  # the first test that needs it waits for its download
NOW_S = 1_760_000_000


def request(log: Log, head: bytes, old_size: int) -> str:
    """What our log sends."""
    size = parse_checkpoint(parse_note(head).text).size
    node = node_reader(log.size, lambda path: (log.tree / path).read_bytes())
    proof = consistency_proof(old_size=old_size, new_size=size, node=node)
    return format_add_checkpoint(AddCheckpoint(old_size, proof, head)).decode()


class Wheel:
    """The witness of `witness-log`, in this process."""

    def __init__(self, witness_log: ModuleType) -> None:
        self._service = witness_log.WitnessService.new("stranger.example/w", bytes(range(32)))
        self.key: VerifierKey = parse_vkey(self._service.vkey())

    def add_log(self, vkey: str) -> None:
        assert self._service.add_log(parse_vkey(vkey).name, vkey)

    def ask(self, body: str) -> tuple[int, str, bytes]:
        status, content_type, answer = self._service.handle_add_checkpoint_http(body, NOW_S)
        return status, content_type, answer.encode()


class Aics:
    """The witness of `aics-witness`, in a newer Python."""

    def __init__(self, directory: Path) -> None:
        arguments = [SOURCES / "aics" / "witness.py", directory, "stranger.example/w", bytes(range(32)).hex(), NOW_S]
        self._process = subprocess.Popen(
            [*aics_command(), *map(str, arguments)],
            env=aics_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.key = parse_vkey(self._heard())

    def add_log(self, vkey: str) -> None:
        assert self._say({"origin": parse_vkey(vkey).name, "vkey": vkey})["status"] == 200

    def ask(self, body: str) -> tuple[int, str, bytes]:
        answer = self._say({"body": base64.b64encode(body.encode()).decode()})
        return answer["status"], answer["content_type"], answer["body"].encode()

    def close(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def _say(self, question: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = self._heard()
        return answer

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@pytest.fixture(params=["witness-log", "aics"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wheel | Aics]:
    if request.param == "witness-log":
        yield Wheel(request.getfixturevalue("witness_log"))
        return
    asked("aics", request.node)
    (tmp_path / "stranger").mkdir()
    witness = Aics(tmp_path / "stranger")
    yield witness
    witness.close()


@pytest.mark.parametrize("name", ["system", "default"])
def test_a_strangers_witness_cosigns_every_head_of_ours(
    stranger: Wheel | Aics, real: dict[str, Log], name: str
) -> None:
    log = real[name]
    vkey = log.vkeys.read_text().splitlines()[0]  # it knows Ed25519 notes only
    stranger.add_log(vkey)
    old_size = 0
    for path in log.heads:
        head = path.read_bytes()
        status, _, answer = stranger.ask(request(log, head, old_size))
        assert status == 200, answer
        pinned = with_cosignatures(head, parse_signature_lines(answer), [stranger.key])
        assert len(parse_note(pinned).signatures) == 3
        old_size = parse_checkpoint(parse_note(head).text).size
    status, content_type, answer = stranger.ask(request(log, log.heads[-1].read_bytes(), 0))
    assert (status, content_type, parse_conflict(answer)) == (409, "text/x.tlog.size", old_size)


def test_a_strangers_witness_refuses_what_does_not_extend(stranger: Wheel | Aics, tmp_path: Path) -> None:
    installation = Installation(tmp_path).start()
    vkeys = [parse_vkey(vkey) for vkey in installation.sealer.vkeys["default"]]
    stranger.add_log(format_vkey(vkeys[0]))
    opened = installation.signer._open("default")
    [pair] = opened.pairs
    assert pair is not None

    def head(size: int, root: bytes) -> bytes:
        checkpoint = Checkpoint(opened.state.origin, size, root)
        return sign_checkpoint(checkpoint, signer=pair[0], cosigner=pair[1], timestamp=NOW_S)

    def body(old: int, proof: tuple[bytes, ...], note: bytes) -> str:
        return format_add_checkpoint(AddCheckpoint(old, proof, note)).decode()

    assert stranger.ask(body(0, (), head(5, bytes(32))))[0] == 200
    assert stranger.ask(body(5, (), head(5, bytes(31) + b"\1")))[0] in {409, 422}
    assert stranger.ask(body(5, (bytes(32),) * 3, head(9, bytes(32))))[0] == 422
    assert stranger.ask(body(5, (), head(4, bytes(32))))[0] == 400
    changed = head(9, bytes(32)).replace(b"\n9\n", b"\n8\n", 1)
    assert stranger.ask(body(5, (), changed))[0] == 403


def test_a_ledger_is_anchored_by_a_stranger(stranger: Wheel | Aics, tmp_path: Path) -> None:
    installation = Installation(tmp_path).start()
    shard = installation.shard()
    write_call(shard, chat_request("You answer.", "question"), chat_response("answer"))
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    for name, vkeys in installation.sealer.vkeys.items():
        layout = installation.data.log(name)
        stranger.add_log(vkeys[0])
        head = layout.checkpoint.read_bytes()
        status, _, answer = stranger.ask(format_add_checkpoint(AddCheckpoint(0, (), head)).decode())
        assert status == 200, answer
        layout.anchors.mkdir()
        size = parse_checkpoint(parse_note(head).text).size
        lines = parse_signature_lines(answer)
        layout.anchor(size, "witness").write_bytes(with_cosignatures(head, lines, [stranger.key]))
    policy = f"witness stranger {format_vkey(stranger.key)}\nquorum stranger\n".encode()
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


def test_our_witness_cosigns_a_log_of_another_stranger_whose_client_accepts_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    asked("aics", request.node)
    with open_store(tmp_path / "witness", name="ours.example/w", random=os.urandom, disk=Disk()) as store:
        ed25519 = next(vkey for vkey in store.identity.vkeys if vkey.signature_type == 0x04)
        with Running(Witness(store, clock_s=lambda: int(time.time()))) as (host, port):
            fed = subprocess.Popen(
                [
                    *aics_command(),
                    str(SOURCES / "aics" / "feed.py"),
                    f"http://{host}:{port}",
                    format_vkey(ed25519),
                    bytes(range(32)).hex(),
                ],
                env=aics_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert fed.stdout is not None
            store.add_logs(parse_log_vkeys(fed.stdout.readline().encode()))
            said, _ = fed.communicate("go\n", timeout=60)
    assert (fed.returncode, said) == (0, "the fork was refused with 422\n")
