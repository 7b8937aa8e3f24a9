"""Heads and cosignatures that were made by another implementation (Go: crypto/ed25519 and circl's mldsa44)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affidavit.errors import AffidavitError
from affidavit.tlog.checkpoint import format_checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import (
    cosigned_message,
    log_vkeys,
    open_cosigned_head,
    verifier_for,
)
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import format_note, format_vkey, open_note, parse_note, parse_vkey
from affidavit.tlog.policy import evaluate, parse_policy

VKEYS = ("log_ed25519_vkey", "log_mldsa44_vkey", "witness_ed25519_vkey", "witness_mldsa44_vkey")


@pytest.fixture(scope="module", params=range(4))
def vector(request: pytest.FixtureRequest, shared_data: Path) -> dict:
    vectors = json.loads((shared_data / "vectors" / "signed_checkpoints.json").read_text())
    assert [vector["size"] for vector in vectors] == [0, 1, 7, 300]
    return vectors[request.param]


def test_the_four_signatures_verify(vector: dict):
    keys = [parse_vkey(vector[name]) for name in VKEYS]
    opened = open_note(vector["checkpoint"].encode(), [verifier_for(key) for key in keys])
    assert all(opened.signature_by(key) for key in keys)
    assert opened.unknown == ()
    checkpoint = parse_checkpoint(opened.text)
    assert (checkpoint.size, checkpoint.root.hex()) == (vector["size"], vector["root_hex"])
    assert checkpoint.root == tree_root(b'{"n":%d}' % number for number in range(vector["size"]))


def test_the_head_is_one_of_our_form_with_a_witness(vector: dict):
    vkeys = log_vkeys(parse_vkey(vector[name]) for name in VKEYS[:2])
    head = open_cosigned_head(vector["checkpoint"].encode(), vkeys)
    assert (head.timestamp, len(head.others)) == (vector["timestamp"], 2)


def test_the_signed_bytes_are_the_same(vector: dict):
    checkpoint = parse_checkpoint(parse_note(vector["checkpoint"].encode()).text)
    for who in ("log", "witness"):
        message = cosigned_message(
            cosigner_name=parse_vkey(vector[f"{who}_mldsa44_vkey"]).name,
            timestamp=vector["timestamp"],
            log_origin=checkpoint.origin,
            start=0,
            end=checkpoint.size,
            root=checkpoint.root,
        )
        assert message.hex() == vector[f"{who}_cosigned_message_hex"]


def test_what_was_read_is_written_back(vector: dict):
    data = vector["checkpoint"].encode()
    note = parse_note(data)
    assert format_note(note) == data
    assert format_checkpoint(parse_checkpoint(note.text)) == note.text
    for name in VKEYS:
        assert format_vkey(parse_vkey(vector[name])) == vector[name]


def test_a_policy_counts_the_witness_once(vector: dict):
    lines = "".join(f"log {vector[name]}\n" for name in VKEYS[:2])
    lines += "".join(f"witness {name} {vector[name]}\n" for name in VKEYS[2:])
    for threshold, met in (("any", True), ("all", False)):
        policy = parse_policy(f"{lines}group g {threshold} {VKEYS[2]} {VKEYS[3]}\nquorum g\n".encode())
        evaluation = evaluate(policy, vector["checkpoint"].encode())
        assert (len(evaluation.log_keys), len(evaluation.cosigners), evaluation.quorum_met) == (2, 1, met)
        assert evaluation.cosigners[0].timestamp == vector["timestamp"]


def test_a_changed_text_is_refused(vector: dict):
    vkeys = log_vkeys(parse_vkey(vector[name]) for name in VKEYS[:2])
    data = vector["checkpoint"].encode()
    for at in range(data.index(b"\n\n")):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(AffidavitError):
            open_cosigned_head(bytes(changed), vkeys)
