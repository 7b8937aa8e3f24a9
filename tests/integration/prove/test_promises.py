"""Promises against a real ledger: kept, open, broken by an insider with the disk, and forged by a client.

Attack 20: a client holds a signed promise, and the leaf never came.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

import affidavit_verify
from affidavit.cli import run
from affidavit.event import Context, encode_meta
from affidavit.ledger.wal import Shard
from affidavit.prove.promise_check import check_promise
from affidavit.prove.promises import tokens_in
from affidavit.prove.proof import verify_proof_file
from affidavit.prove.report import Report
from affidavit.text import b64u, uuid_text
from affidavit.tlog.cosignature import log_vkeys, parse_vkeys_file
from affidavit.tlog.note import Ed25519Signer, format_vkey, parse_vkey
from affidavit.tlog.promise import (
    PromisedRecord,
    body_mac,
    format_promise,
    is_about,
    make_promises,
    parse_promise,
)
from tests.integration.prove.ledgers import ours, start, theirs, verdicts, verdicts_of_json
from tests.support.installation import (
    ORIGIN_PREFIX,
    Installation,
    chat_request,
    chat_response,
    new_id,
    request_meta,
    write_response,
)

SIGNER = Ed25519Signer.from_seed(name=f"{ORIGIN_PREFIX}/system/promise", seed=b"p" * 32)
STRANGER = Ed25519Signer.from_seed(name=f"{ORIGIN_PREFIX}/system/promise", seed=b"q" * 32)
BODY = chat_request("be brief", "what is promised?")
BLIND = bytes(range(32))


def begin(root: Path) -> Installation:
    """An installation whose system log names the promise key."""
    installation = Installation(root)
    sealer: Any = installation.sealer
    sealer.settings = msgspec.structs.replace(sealer.settings, promise_vkey=format_vkey(SIGNER.key))
    return start(installation)


def promised_call(shard: Shard, *, seal_by_s: int, signer: Ed25519Signer = SIGNER, **changes: Any) -> str:
    """A call with a promise of its intent, as a worker makes it; returns the promise."""
    call = new_id()
    record = shard.begin_digested("default")
    meta = msgspec.structs.replace(
        request_meta(call, body=BODY), context=Context(client_ip="127.0.0.1", promise=b64u(BLIND))
    )
    record.finish(meta=encode_meta(meta), data=BODY)
    promised = PromisedRecord(
        origin=f"{ORIGIN_PREFIX}/default",
        id=bytes.fromhex(call.replace("-", "")),
        digest=record.digest,
        body_mac=body_mac(blind=BLIND, body_sha256=sha256(BODY).digest()),
        blind=BLIND,
    )
    promised = msgspec.structs.replace(promised, **changes)
    shard.sync()
    write_response(shard, call, chat_response("this"))
    (promise,) = make_promises([promised], shard=shard.name, seal_by_s=seal_by_s, signer=signer)
    return format_promise(promise)


def finish(installation: Installation, shard: Shard) -> Installation:
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    return installation


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, str]:
    installation = begin(tmp_path_factory.mktemp("kept"))
    shard = installation.shard()
    token = promised_call(shard, seal_by_s=int(time.time()) - 1)
    return finish(installation, shard), token


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, str]:
    """An insider removes the write-ahead shard before it is sealed; the log goes on, and nothing in it shows a hole."""
    installation = begin(tmp_path_factory.mktemp("broken"))
    shard = installation.shard()
    token = promised_call(shard, seal_by_s=int(time.time()) - 1)
    shard.close()
    shutil.rmtree(installation.data.wal / shard.name)
    other = installation.shard(source="worker1")
    promised_call(other, seal_by_s=int(time.time()) - 1)
    return finish(installation, other), token


Agreed = Callable[..., tuple[Report, set[tuple[str, str, str | None]]]]


@pytest.fixture
def agreed(tmp_path: Path) -> Agreed:
    """Both verifiers on a directory and a file of promises; they must say the same."""

    def verify(
        installation: Installation, content: str, *, vkeys: bool = True
    ) -> tuple[Report, set[tuple[str, str, str | None]]]:
        path = tmp_path / "promises"
        path.write_text(content)
        keys = installation.vkeys_file if vkeys else None
        report = ours(installation.data.directory, keys, promises=(content.encode(),))
        code, result = theirs(installation.data.directory, keys, promises=(path,))
        assert verdicts(report) == verdicts_of_json(result)
        assert code == (0 if report.holds else 1)
        found = {(f.verdict, f.code, f.log) for f in report.findings if f.axis == "completeness"}
        assert found == {(f["verdict"], f["code"], f["log"]) for f in result["findings"] if f["axis"] == "completeness"}
        return report, found

    return verify


def check(installation: Installation, token: str, *, now_s: int | None = None) -> Any:
    return check_promise(
        installation.data.directory,
        parse_promise(token),
        system_vkeys=parse_vkeys_file(installation.vkeys_file.read_bytes()),
        now_s=int(time.time()) if now_s is None else now_s,
    )


def test_a_kept_promise_is_no_finding(kept: tuple[Installation, str], agreed: Agreed) -> None:
    installation, token = kept
    for content in (token, f"HTTP/1.1 200 OK\r\nX-Affidavit-Promise: {token}\r\n", f"\n{token}\n{token}\n"):
        report, found = agreed(installation, content)
        assert (report.completeness, found) == ("OK", set())


def test_a_broken_promise_fails_completeness_and_nothing_else(broken: tuple[Installation, str], agreed: Agreed) -> None:
    """Without the promise nobody can tell: the numbers of a source of which no leaf tells have no hole."""
    installation, token = broken
    without = ours(installation.data.directory, installation.vkeys_file)
    assert without.holds
    report, found = agreed(installation, token)
    assert found == {("FAIL", "BROKEN-PROMISE", "default")}
    assert (report.integrity, report.authority, report.erasure) == ("OK", "OK", "OK")
    what = next(f.what for f in report.findings if f.code == "BROKEN-PROMISE")
    assert uuid_text(parse_promise(token).record.id) in what


def test_a_promise_that_is_not_due_is_open(broken: tuple[Installation, str], agreed: Agreed) -> None:
    installation, token = broken
    promise = parse_promise(token)
    (later,) = make_promises([promise.record], shard=promise.shard, seal_by_s=int(time.time()) + 600, signer=SIGNER)
    report, found = agreed(installation, format_promise(later))
    assert (report.completeness, found) == ("WARN", {("WARN", "PROMISE-OPEN", "default")})


def test_the_time_of_the_newest_head_decides(broken: tuple[Installation, str], agreed: Agreed) -> None:
    installation, token = broken
    promise = parse_promise(token)
    head_s = check(installation, token).head.timestamp
    for seal_by_s, code in ((head_s - 1, "BROKEN-PROMISE"), (head_s, "PROMISE-OPEN")):
        (due,) = make_promises([promise.record], shard=promise.shard, seal_by_s=seal_by_s, signer=SIGNER)
        _, found = agreed(installation, format_promise(due))
        assert {code for _, code, _ in found} == {code}


def test_nobody_can_forge_a_broken_promise(kept: tuple[Installation, str], agreed: Agreed) -> None:
    """A client who wants the log to look bad changes what was promised, or signs with a key of their own."""
    installation, token = kept
    promise = parse_promise(token)
    other = msgspec.structs.replace(promise.record, digest=bytes(32))
    (forged,) = make_promises([other], shard=promise.shard, seal_by_s=1, signer=STRANGER)
    same_id = msgspec.structs.replace(forged, key_id=promise.key_id)
    elsewhere = msgspec.structs.replace(promise.record, origin="other.example/default")
    (foreign,) = make_promises([elsewhere], shard=promise.shard, seal_by_s=1, signer=SIGNER)
    for wrong, log in (
        (msgspec.structs.replace(promise, record=other), "default"),
        (msgspec.structs.replace(promise, seal_by_s=1), "default"),
        (forged, "default"),
        (same_id, "default"),
        (foreign, None),
    ):
        _, found = agreed(installation, format_promise(wrong))
        assert found == {("FAIL", "PROMISE", log)}
    for content in (
        "",
        "hello\n",
        "x-affidavit-promise: hello\n",
        "{}",
        '{"promise":1}',
        '{"promise":"x"}',
        token + "A",
    ):
        _, found = agreed(installation, content)
        assert found == {("FAIL", "PROMISE", None)}, content


def test_without_keys_nothing_is_said(kept: tuple[Installation, str], agreed: Agreed) -> None:
    installation, token = kept
    report, found = agreed(installation, token, vkeys=False)
    assert report.completeness == "NOT ASSESSED"
    assert ("NOT ASSESSED", "NO-VKEY", "default") in found


def test_a_leaf_that_names_a_broken_key_is_one_that_names_none(tmp_path: Path, agreed: Agreed) -> None:
    installation = Installation(tmp_path / "ledger")
    sealer: Any = installation.sealer
    sealer.settings = msgspec.structs.replace(sealer.settings, promise_vkey="not a key")
    start(installation)
    shard = installation.shard()
    token = promised_call(shard, seal_by_s=1)
    _, found = agreed(finish(installation, shard), token)
    assert found == {("FAIL", "PROMISE", "default")}


# --- affidavit promise check ------------------------------------------------------------------------------------------


def test_a_kept_promise_becomes_a_proof(kept: tuple[Installation, str]) -> None:
    installation, token = kept
    checked = check(installation, token)
    assert (checked.state, checked.log, checked.evidence) == ("kept", "default", None)
    vkeys = log_vkeys(parse_vkey(text) for text in installation.sealer.vkeys["default"])
    proved = verify_proof_file(checked.proof.data, vkeys=vkeys)
    assert (proved.leaf.id, proved.leaf.type) == (uuid_text(parse_promise(token).record.id), "llm.request")
    assert proved.leaf.src.digest == b64u(parse_promise(token).record.digest)


def test_the_blind_lies_in_the_record(kept: tuple[Installation, str]) -> None:
    installation, token = kept
    opener = installation.opener()
    size = installation.sealer.logs["default"].writer.size
    index = check(installation, token).proof.leaf
    leaf = opener.leaf(index, size=size)
    assert opener.wire(index, leaf, size=size) == BODY  # the root is checked on the way
    body = opener.body(index, leaf)
    assert body is not None
    assert msgspec.json.decode(body.meta)["context"]["promise"] == b64u(BLIND)
    assert is_about(parse_promise(token), BODY)


def test_a_broken_promise_becomes_evidence(broken: tuple[Installation, str], agreed: Agreed) -> None:
    installation, token = broken
    assert check(installation, token, now_s=1).state == "broken"  # by the head alone
    checked = check(installation, token)
    assert (checked.state, checked.proof) == ("broken", None)
    _, found = agreed(installation, checked.evidence.decode())
    assert found == {("FAIL", "BROKEN-PROMISE", "default")}
    evidence = msgspec.json.decode(checked.evidence)
    system = parse_vkeys_file(installation.vkeys_file.read_bytes())
    named = verify_proof_file(evidence["key"].encode(), vkeys=system)
    assert named.leaf.data == {"vkey": format_vkey(SIGNER.key)}
    assert verify_proof_file(evidence["creation"].encode(), vkeys=system).leaf.data is not None
    assert tokens_in(checked.evidence) == [token]


def test_evidence_convinces_a_stranger_who_has_no_ledger(
    broken: tuple[Installation, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installation, token = broken
    good = json.loads(check(installation, token).evidence)
    path, vkeys = tmp_path / "it.broken-promise.json", str(installation.vkeys_file)

    def judge(evidence: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        path.write_bytes(json.dumps(evidence, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        code = affidavit_verify.main([str(path), "--vkey", vkeys, "--json"])
        said = capsys.readouterr().out
        return code, json.loads(said.splitlines()[-1]), said

    code, result, said = judge(good)
    assert (code, result["evidence"]["verdict"], result["evidence"]["was_due"]) == (0, "OK", True)
    assert "can refute this" in said
    assert result["completeness"] == "NOT ASSESSED"
    promise = parse_promise(token)
    (by_stranger,) = make_promises([promise.record], shard=promise.shard, seal_by_s=1, signer=STRANGER)
    for change in (
        {"promise": format_promise(by_stranger)},
        {"promise": format_promise(msgspec.structs.replace(promise, seal_by_s=promise.seal_by_s - 1))},
        {"key": good["creation"]},
        {"creation": good["key"]},
        {"head": good["head"].replace("default", "defauld")},
        {"head": good["head"][:-9]},
        {"key": "nothing"},
        {"more": 1},
    ):
        code, result, _ = judge({**good, **change})
        assert (code, result["evidence"]["verdict"]) == (1, "FAIL"), change


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`affidavit promise check` on an installation: exit code and what it said."""

    def call(installation: Installation, *arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("AFFIDAVIT_DATA", str(installation.data.directory))
        monkeypatch.setenv("AFFIDAVIT_KEYS", str(installation.keys))
        capfd.readouterr()
        code = run(["promise", "check", *arguments])
        return code, capfd.readouterr().out

    return call


def test_the_command(
    kept: tuple[Installation, str], broken: tuple[Installation, str], tmp_path: Path, command: Command
) -> None:
    held, body, wrong = tmp_path / "headers", tmp_path / "body", tmp_path / "wrong"
    body.write_bytes(BODY)
    wrong.write_bytes(BODY + b" ")
    held.write_text(f"x-affidavit-promise: {kept[1]}\n")
    options = ("-o", str(tmp_path / "call"), "--json", "--body")
    code, said = command(kept[0], str(held), *options, str(body))
    assert code == 0
    answer = json.loads(said)
    assert (answer["state"], answer["body"], answer["file"]) == ("kept", True, str(tmp_path / "call.tlog-proof"))
    vkeys = tmp_path / "default.vkeys"
    vkeys.write_text("".join(f"{vkey}\n" for vkey in kept[0].sealer.vkeys["default"]))
    assert affidavit_verify.main([answer["file"], "--vkey", str(vkeys)]) == 0
    assert command(kept[0], str(held), *options, str(wrong))[0] == 1

    held.write_text(broken[1])
    code, said = command(broken[0], str(held), "-o", str(tmp_path / "call"))
    assert code == 1
    assert "FAIL completeness BROKEN-PROMISE [default]" in said
    assert (tmp_path / "call.broken-promise.json").exists()

    promise = parse_promise(broken[1])
    (later,) = make_promises([promise.record], shard=promise.shard, seal_by_s=int(time.time()) + 600, signer=SIGNER)
    held.write_text(format_promise(later))
    code, said = command(broken[0], str(held))
    assert (code, said.startswith("pending:")) == (5, True)
    assert command(broken[0], os.devnull)[0] == 1
    held.write_text(f"{broken[1]}\n{broken[1]}\n")
    assert command(broken[0], str(held))[0] == 2
