"""One proof: what it shows, and that it shows nothing else."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify as verifier
from tests.verifier.conftest import Judge
from tests.verifier.ledger_maker import Ledger, jcs


@pytest.fixture
def alpha_vkeys(ledger: Ledger, tmp_path: Path) -> Path:
    return ledger.logs["alpha"].signer.write_vkeys(tmp_path / "alpha.vkeys")


def write(tmp_path: Path, proof: bytes) -> Path:
    path = tmp_path / "one.tlog-proof"
    path.write_bytes(proof)
    return path


def with_extra(proof: bytes, **changes: Any) -> bytes:
    lines = proof.split(b"\n")
    extra = {**json.loads(base64.b64decode(lines[1][6:])), **changes}
    lines[1] = b"extra " + base64.b64encode(jcs(extra))
    return b"\n".join(lines)


@pytest.mark.parametrize("index", [0, 1, 5, 255, 256, 283])
def test_a_proof_holds(ledger: Ledger, tmp_path: Path, judge: Judge, alpha_vkeys: Path, index: int) -> None:
    log = ledger.logs["alpha"]
    code, result = judge(write(tmp_path, log.proof(index)), keys=alpha_vkeys)
    assert (code, result["proof"]["verdict"], result["proof"]["index"]) == (0, "OK", index)
    assert result["proof"]["leaf"].encode() == log.leaves[index]
    assert result["integrity"] == "NOT ASSESSED"
    assert result["logs"] == result["findings"] == []


def test_a_proof_never_says_that_a_log_is_verified(
    ledger: Ledger, tmp_path: Path, alpha_vkeys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, ledger.logs["alpha"].proof(5))
    assert verifier.main([path.name, "--vkey", str(alpha_vkeys)]) == 2  # not here
    assert verifier.main([str(path), "--vkey", str(alpha_vkeys)]) == 0
    said = capsys.readouterr().out.replace(str(path), "")
    assert "this entry is included in the head of size 284 of " in said
    assert "verified" not in said
    assert verifier.main([str(path)]) == 2


def test_disclosed_fields_are_shown_after_they_were_hashed(
    ledger: Ledger, tmp_path: Path, judge: Judge, alpha_vkeys: Path
) -> None:
    proof = ledger.logs["alpha"].proof(5, (0, 6))
    code, result = judge(write(tmp_path, proof), keys=alpha_vkeys)
    assert code == 0
    assert [(f["block"], f["slot"]) for f in result["proof"]["fields"]] == [("header", "type"), ("header", "model")]
    assert result["proof"]["fields"][1]["value"] == ["gpt-4o", "gpt-4o-2024-08-06"]


def test_fields_that_say_something_else_are_refused(
    ledger: Ledger, tmp_path: Path, judge: Judge, alpha_vkeys: Path
) -> None:
    proof = ledger.logs["alpha"].proof(5, (6,))
    (fields,) = (json.loads(base64.b64decode(proof.split(b"\n")[1][6:]))["fields"],)
    for change in (
        {"value": ["gpt-5", None]},
        {"slot": 5},
        {"slot": 99},
        {"block": "body"},
        {"salt": "A" * 43},
        {"others": fields[0]["others"][:-1]},
        {"others": fields[0]["others"][::-1]},
        {"more": 1},
    ):
        path = write(tmp_path, with_extra(proof, fields=[{**fields[0], **change}]))
        code, result = judge(path, keys=alpha_vkeys)
        assert (code, result["proof"]["verdict"]) == (1, "FAIL"), change


def test_a_proof_about_another_leaf_is_refused(ledger: Ledger, tmp_path: Path, judge: Judge, alpha_vkeys: Path) -> None:
    log = ledger.logs["alpha"]
    for changed in (
        with_extra(log.proof(5), leaf=log.leaves[6].decode()),
        with_extra(log.proof(5), leaf=""),
        with_extra(log.proof(5), v=2),
        with_extra(log.proof(5), v=True),
        with_extra(log.proof(5), note="more"),
        with_extra(log.proof(5), fields=[]),
        log.proof(5).replace(b"index 5", b"index 4"),
        log.proof(5).replace(b"index 5", b"index 05"),
        log.proof(5).replace(b"index 5", b"index 284"),
        log.proof(5).replace(b"index 5", b"index 9999999999999999999999"),
        log.proof(5).replace(b"@v1", b"@v2"),
        b"\n".join([line for line in log.proof(5).split(b"\n") if not line.startswith(b"extra")]),
        b"\n".join(log.proof(5).split(b"\n")[:4] + log.proof(5).split(b"\n")[5:]),
        log.proof(5) + b"\n",
        log.proof(5) + "\u2014 witness.example/w AAAAAAAA\n".encode(),
        b"",
        b"\xff" * 1000,
        b"c2sp.org/tlog-proof@v1\nextra " + base64.b64encode(b"[" * 500_000) + b"\nindex 0\n\n",
    ):
        code, result = judge(write(tmp_path, changed), keys=alpha_vkeys)
        assert (code, result["proof"]) == (1, {"verdict": "FAIL"})


def test_keys_of_another_log_are_refused(ledger: Ledger, tmp_path: Path, judge: Judge, vkeys: Path) -> None:
    code, _ = judge(write(tmp_path, ledger.logs["alpha"].proof(5)), keys=vkeys)
    assert code == 1


def test_any_one_byte_of_a_proof_counts(ledger: Ledger, tmp_path: Path, judge: Judge, alpha_vkeys: Path) -> None:
    proof, draw = ledger.logs["alpha"].proof(5, (6,)), random.Random(4)
    for _ in range(400):
        at, mask = draw.randrange(len(proof)), draw.randrange(1, 256)
        path = write(tmp_path, proof[:at] + bytes([proof[at] ^ mask]) + proof[at + 1 :])
        assert judge(path, keys=alpha_vkeys)[0] == 1, f"byte {at} ^ {mask:#x}"


def test_canonical_json_sorts_names_as_utf_16_and_refuses_the_rest() -> None:
    text = '{"\U0001f600":1,"\ue000":2}'.encode()  # the first is a surrogate pair, so it comes first
    assert verifier.parse_canonical(text) == {"\U0001f600": 1, "\ue000": 2}
    for wrong in (
        '{"\ue000":2,"\U0001f600":1}'.encode(),
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b"[1.0]",
        b"[1e2]",
        b"[-0]",
        b"[NaN]",
        b"[9007199254740992]",
        rb'["\u0041"]',
        rb'["\u001F"]',
        rb'["\/"]',
        rb'["\ud800"]',
        b"[ ]",
        b"\xef\xbb\xbf[]",
        b"",
    ):
        with pytest.raises(verifier.Damage):
            verifier.parse_canonical(wrong)
    right = rb'["\u001f\b\n\"\\/",-9007199254740991,true,null]'
    assert verifier.parse_canonical(right) == ['\x1f\b\n"\\/', -9007199254740991, True, None]
