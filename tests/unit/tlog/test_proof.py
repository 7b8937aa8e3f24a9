"""Proofs: one entry, both signatures, the exact path; extra data that nobody believes."""

from __future__ import annotations

import base64
from dataclasses import replace

import msgspec
import pytest

from affidavit.errors import AffidavitError, FormatError
from affidavit.tlog import proof as module
from affidavit.tlog.cosignature import Ed25519Cosigner
from affidavit.tlog.merkle import ProofError, inclusion_proof, leaf_hash, tree_root
from affidavit.tlog.note import Note, SignatureError, format_note, format_vkey, parse_note
from affidavit.tlog.policy import parse_policy
from affidavit.tlog.proof import (
    EXTRA_SIZE_MAX,
    PATH_LENGTH_MAX,
    PROOF_SIZE_MAX,
    QuorumError,
    TlogProof,
    format_proof,
    parse_proof,
    verify_proof,
    verify_proof_by_policy,
)


def proof_of(log, index: int, extra: bytes | None = None) -> TlogProof:
    def node(level: int, at: int) -> bytes:
        return tree_root(log.entries[at << level : (at + 1) << level])

    return TlogProof(index, inclusion_proof(index=index, size=7, node=node), log.head, extra)


def test_a_proof_is_a_text_around_the_head(log):
    proof = proof_of(log, 4, b"context")
    text = format_proof(proof)
    lines = text.removesuffix(log.head).decode().split("\n")
    assert lines == [
        "c2sp.org/tlog-proof@v1",
        "extra Y29udGV4dA==",
        "index 4",
        base64.b64encode(leaf_hash(log.entries[5])).decode(),
        base64.b64encode(leaf_hash(log.entries[6])).decode(),
        base64.b64encode(tree_root(log.entries[:4])).decode(),
        "",
        "",
    ]
    assert parse_proof(text) == proof
    assert parse_proof(format_proof(proof_of(log, 4))).extra is None


@pytest.mark.parametrize("index", range(7))
def test_every_entry_is_proved(log, index: int):
    proof = parse_proof(format_proof(proof_of(log, index)))
    assert verify_proof(proof, entry=log.entries[index], vkeys=log.vkeys) == log.checkpoint


def test_a_proof_of_the_only_entry_has_no_hashes(log):
    assert parse_proof(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + log.head).hashes == ()


def test_a_proof_is_of_one_entry_at_one_index_in_one_log(log, other_log):
    proof = proof_of(log, 4)
    with pytest.raises(ProofError):
        verify_proof(proof, entry=log.entries[5], vkeys=log.vkeys)
    for changed in (
        {"index": 5},
        {"index": 7},
        {"hashes": proof.hashes[:-1]},
        {"hashes": (*proof.hashes, proof.hashes[0])},
        {"hashes": ()},
    ):
        with pytest.raises(ProofError):
            verify_proof(msgspec.structs.replace(proof, **changed), entry=log.entries[4], vkeys=log.vkeys)
    with pytest.raises(SignatureError):
        verify_proof(proof, entry=log.entries[4], vkeys=other_log.vkeys)
    forged = msgspec.structs.replace(proof, head=other_log.head)
    with pytest.raises(SignatureError):
        verify_proof(forged, entry=log.entries[4], vkeys=log.vkeys)


def test_a_head_that_others_cosigned_is_for_policies(log, witness):
    note = parse_note(log.head)
    head = format_note(Note(note.text, (*note.signatures, witness.sign(note.text, 1))))
    proof = msgspec.structs.replace(proof_of(log, 4), head=head)
    with pytest.raises(SignatureError, match="exactly two"):
        verify_proof(proof, entry=log.entries[4], vkeys=log.vkeys)
    text = f"log {format_vkey(log.vkeys.ed25519)}\nwitness w {format_vkey(witness.key)}\nquorum w\n"
    policy = parse_policy(text.encode())
    evaluation = verify_proof_by_policy(proof, entry=log.entries[4], policy=policy)
    assert (evaluation.checkpoint, evaluation.quorum_met) == (log.checkpoint, True)
    with pytest.raises(ProofError):
        verify_proof_by_policy(proof, entry=log.entries[3], policy=policy)
    with pytest.raises(QuorumError, match="do not meet the quorum"):
        verify_proof_by_policy(proof_of(log, 4), entry=log.entries[4], policy=policy)


def test_a_log_key_may_come_from_elsewhere(log):
    policy = parse_policy(b"quorum none\n")
    proof = proof_of(log, 0)
    with pytest.raises(SignatureError):
        verify_proof_by_policy(proof, entry=log.entries[0], policy=policy)
    keys = (log.vkeys.ed25519, log.vkeys.mldsa44)
    assert verify_proof_by_policy(proof, entry=log.entries[0], policy=policy, log_keys=keys).log_keys == keys


HASH = base64.b64encode(b"h" * 32).decode()


@pytest.mark.parametrize(
    "above",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "C2SP.org/tlog-proof@v1\nindex 0",
        " c2sp.org/tlog-proof@v1\nindex 0",
        "c2sp.org/tlog-proof@v1\r\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex",
        "c2sp.org/tlog-proof@v1\nindex ",
        "c2sp.org/tlog-proof@v1\nindex  0",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex -1",
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775808",
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA",
        "c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AAAA",
        "c2sp.org/tlog-proof@v1\nextra\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra \nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AAB=\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra ä\nindex 0",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-1]}",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH} ",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\n{HASH[:-2]}h=",
        "c2sp.org/tlog-proof@v1\n\nindex 0",
    ],
)
def test_another_text_is_no_proof(log, above: str):
    with pytest.raises(FormatError):
        parse_proof(above.encode() + b"\n\n" + log.head)


def test_the_checkpoint_must_be_there_and_be_one(log):
    above = b"c2sp.org/tlog-proof@v1\nindex 0"
    for below in (
        b"",
        b"\n",
        b"\n\n",
        b"\n" + log.head,
        b"\n\n\n" + log.head,
        b"\n\n" + log.head[:-1],
        b"\n\n" + log.head.replace(b"\n7\n", b"\n07\n"),
    ):
        with pytest.raises(FormatError):
            parse_proof(above + below)


def test_the_path_is_bounded(log):
    longest = TlogProof(0, (b"h" * 32,) * PATH_LENGTH_MAX, log.head)
    assert parse_proof(format_proof(longest)) == longest
    with pytest.raises(FormatError, match="64 hashes"):
        format_proof(TlogProof(0, (b"h" * 32,) * (PATH_LENGTH_MAX + 1), log.head))


def test_extra_data_and_size_are_bounded(log):
    smallest = TlogProof(0, (), log.head, b"x")
    assert parse_proof(format_proof(smallest)) == smallest
    largest = TlogProof(0, (), log.head, b"x" * EXTRA_SIZE_MAX)
    assert parse_proof(format_proof(largest)) == largest
    with pytest.raises(FormatError, match="extra data has 1 to 1048576 bytes"):
        format_proof(TlogProof(0, (), log.head, b"x" * (EXTRA_SIZE_MAX + 1)))
    with pytest.raises(FormatError, match="extra data"):
        format_proof(TlogProof(0, (), log.head, b""))
    with pytest.raises(FormatError, match=f"{PROOF_SIZE_MAX + 1} bytes is refused"):
        parse_proof(b"x" * (PROOF_SIZE_MAX + 1))
    with pytest.raises(FormatError):
        parse_proof(b"x" * PROOF_SIZE_MAX)


def test_what_would_not_be_read_back_is_not_written(log):
    for unwritable in (
        TlogProof(-1, (), log.head),
        TlogProof(0, (b"h",), log.head),
        TlogProof(0, (), b""),
        TlogProof(0, (), b"\n" + log.head),
    ):
        with pytest.raises(FormatError):
            format_proof(unwritable)


def test_no_byte_of_a_proof_without_extra_data_can_be_changed_unseen(log):
    data = format_proof(proof_of(log, 4))
    unseen = []
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        try:
            verify_proof(parse_proof(bytes(changed)), entry=log.entries[4], vkeys=log.vkeys)
        except AffidavitError:
            continue
        unseen.append(at)
    assert unseen == []


def test_an_altered_neighbour_does_not_show_in_a_proof(log):
    """A trap, stated: entry 5's proof passes with entry 0 altered on disk, so it is never "log verified"."""
    altered = replace(log, entries=(b"altered", *log.entries[1:]))
    proof = proof_of(log, 5)
    assert verify_proof(proof, entry=altered.entries[5], vkeys=log.vkeys) == log.checkpoint
    assert tree_root(altered.entries) != log.checkpoint.root


def test_a_proof_by_a_witness_of_the_same_seed_is_no_log(log):
    witness = Ed25519Cosigner.from_seed(name=log.checkpoint.origin, seed=b"\x01" * 32)
    text = parse_note(log.head).text
    head = format_note(Note(text, (witness.sign(text, 1),)))
    with pytest.raises(SignatureError):
        verify_proof(msgspec.structs.replace(proof_of(log, 0), head=head), entry=log.entries[0], vkeys=log.vkeys)


def test_the_size_of_a_proof_is_bounded_before_it_is_taken_apart(log, monkeypatch):
    data = format_proof(proof_of(log, 2))
    monkeypatch.setattr(module, "PROOF_SIZE_MAX", len(data))
    assert format_proof(parse_proof(data)) == data
    monkeypatch.setattr(module, "PROOF_SIZE_MAX", len(data) - 1)
    with pytest.raises(FormatError, match="a proof of"):
        parse_proof(data)
