"""Attempts with proofs of single records, which both verifiers refuse."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import affidavit_verify
from affidavit.errors import AffidavitError
from affidavit.prove.proof import make_proofs, verify_proof_file
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.merkle import EMPTY_ROOT
from affidavit.tlog.note import encode_base64
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof
from tests.attacks.ground import BOTH, Ground
from tests.attacks.insider import LogKeys, jcs
from tests.attacks.registry import Evidence, attempt


def vkeys_of(ground: Ground) -> Path:
    """The vkeys file of `default`."""
    return ground.keys / "public/default.vkeys"


def proof_of(ground: Ground, call: int = 70) -> bytes:
    """The proof of a call's intent."""
    return make_proofs(ground.data, record_id=ground.calls[call])[0].data


def judged(ground: Ground, proof: bytes) -> tuple[str, str, dict[str, Any]]:
    """Verdict of both, what ours objected, and the single-file verifier's JSON."""
    path = ground.scratch() / "one.tlog-proof"
    path.write_bytes(proof)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = affidavit_verify.main([str(path), "--vkey", str(vkeys_of(ground)), "--json"])
    said = json.loads(out.getvalue().splitlines()[-1])
    try:
        verify_proof_file(proof, vkeys=parse_vkeys_file(vkeys_of(ground).read_bytes()))
    except AffidavitError as error:
        objection = str(error)
    else:
        objection = ""
    assert bool(objection) == (code != 0) == (said["proof"]["verdict"] == "FAIL"), "the two do not agree"
    return said["proof"]["verdict"], objection, said


def refused(ground: Ground, proofs: list[bytes], *, clause: str = "") -> Evidence:
    """Evidence that all of these are refused."""
    assert judged(ground, proof_of(ground))[0] == "OK", "the untouched proof holds"
    verdict = objection = ""
    for proof in proofs:
        verdict, objection, _ = judged(ground, proof)
        assert verdict == "FAIL", proof[:400]
    return Evidence("integrity", verdict, objection, clause=clause, judges=BOTH)


def with_extra(proof: bytes, **changes: Any) -> bytes:
    """The same proof with other words beside it."""
    lines = proof.split(b"\n")
    extra = json.loads(base64.b64decode(lines[1].removeprefix(b"extra "))) | changes
    lines[1] = b"extra " + encode_base64(jcs(extra)).encode()
    return b"\n".join(lines)


@attempt(33)
def extra_says_something_else(ground: Ground) -> Evidence:
    proof, other = proof_of(ground), proof_of(ground, 71)
    leaf = json.loads(base64.b64decode(proof.split(b"\n")[1].removeprefix(b"extra ")))["leaf"]
    other_leaf = json.loads(base64.b64decode(other.split(b"\n")[1].removeprefix(b"extra ")))["leaf"]
    field = {"block": "header", "slot": 0, "value": "llm.request", "salt": "A" * 43, "others": ["A" * 43] * 15}
    return refused(
        ground,
        [
            with_extra(proof, leaf=other_leaf),
            with_extra(proof, leaf=leaf.replace("llm.request", "llm.response")),
            with_extra(proof, leaf=leaf + " "),
            with_extra(proof, note="believe me"),
            with_extra(proof, fields=[field]),
        ],
    )


@attempt(34)
def wrong_shapes(ground: Ground) -> Iterator[Evidence]:
    proof = parse_proof(proof_of(ground))

    def made(**changes: Any) -> bytes:
        return format_proof(TlogProof(**({name: getattr(proof, name) for name in proof.__struct_fields__} | changes)))

    hashes = proof.hashes
    longer = [made(hashes=(*hashes, hashes[0])), made(hashes=(hashes[0], *hashes)), made(hashes=hashes * 6)]
    yield refused(ground, longer, clause="too long")
    yield refused(ground, [made(hashes=hashes[:-1]), made(hashes=hashes[1:]), made(hashes=())], clause="too short")
    size = int(ground.head().split(b"\n")[1])
    beyond = [made(index=index) for index in (size, size + 1, size * 2, 2**62)]
    yield refused(ground, beyond, clause="index not below the size")
    empty = LogKeys.stolen(ground.keys, "default").sign(0, EMPTY_ROOT)
    yield refused(ground, [made(head=empty, index=0, hashes=())], clause="size 0")
