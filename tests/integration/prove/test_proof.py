"""Proofs of records of a real ledger: for strangers, about one leaf, and never about a log."""

import base64
import json
import shutil
from pathlib import Path

import pytest

import affidavit_verify
from affidavit.errors import AffidavitError, CorruptionError, NotFoundError
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.reader import LogReader, head_size
from affidavit.prove.proof import SLOTS, make_proofs, verify_proof_file, write_proofs
from affidavit.seal.slots import BODY_SLOTS, HEADER_SLOTS
from affidavit.text import short_id
from affidavit.tlog.cosignature import LogVkeys, log_vkeys
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof
from tests.support.installation import Installation
from tests.verifier.ledger_maker import LogMaker, small_ledger


@pytest.fixture(scope="module")
def calls(sealed: Installation) -> list[str]:
    """Call ids of the default project."""
    layout = sealed.data.log("default")
    size = head_size(layout)
    leaves = [parse_leaf(entry) for entry in LogReader(layout).entries(0, size, size=size)]
    return [leaf.id for leaf in leaves if leaf.type == "llm.request"]


@pytest.fixture(scope="module")
def keys(sealed: Installation) -> LogVkeys:
    return log_vkeys(parse_vkey(text) for text in sealed.sealer.vkeys["default"])


def test_a_call_has_two_proofs_that_strangers_accept(
    sealed: Installation, calls: list[str], keys: LogVkeys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "default.vkeys").write_text("".join(f"{vkey}\n" for vkey in sealed.sealer.vkeys["default"]))
    for call in (calls[0], calls[len(calls) // 2], calls[-1]):
        made = make_proofs(sealed.data.directory, record_id=call)
        assert [proof.suffix for proof in made] == [".intent", ".outcome"]
        proved = [verify_proof_file(proof.data, vkeys=keys) for proof in made]
        assert [(one.leaf.type, one.leaf.call) for one in proved] == [("llm.request", call), ("llm.response", call)]
        assert [(one.index, one.size) for one in proved] == [(proof.leaf, proof.size) for proof in made]
        for path in write_proofs(made, tmp_path / "call"):
            code = affidavit_verify.main([str(path), "--vkey", str(tmp_path / "default.vkeys"), "--json"])
            assert code == 0
            assert json.loads(capsys.readouterr().out.splitlines()[-1])["proof"]["verdict"] == "OK"


def test_an_outcome_by_its_own_id_is_one_file(sealed: Installation, calls: list[str], keys: LogVkeys) -> None:
    outcome = verify_proof_file(make_proofs(sealed.data.directory, record_id=calls[3])[1].data, vkeys=keys).leaf
    made = make_proofs(sealed.data.directory, record_id=outcome.id)
    assert [proof.suffix for proof in made] == [""]
    assert verify_proof_file(made[0].data, vkeys=keys).leaf == outcome


@pytest.mark.parametrize("name", ["F", "F.tlog-proof"])
def test_files_are_named_after_the_output(sealed: Installation, calls: list[str], tmp_path: Path, name: str) -> None:
    written = write_proofs(make_proofs(sealed.data.directory, record_id=calls[0]), tmp_path / name)
    assert [path.name for path in written] == ["F.intent.tlog-proof", "F.outcome.tlog-proof"]
    system = LogReader(sealed.data.log("system"))
    record = parse_leaf(system.entry(0, size=head_size(system.layout))).id
    (single,) = write_proofs(make_proofs(sealed.data.directory, record_id=record), tmp_path / name)
    assert single.name == "F.tlog-proof"


@pytest.mark.parametrize("record_id", ["01985f0e-7c1b-7aaa-8001-0123456789ab", "x", ""])
def test_an_unknown_id_is_not_found(sealed: Installation, record_id: str) -> None:
    with pytest.raises(NotFoundError):
        make_proofs(sealed.data.directory, record_id=record_id)


def test_without_a_ledger_nothing_is_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no ledger"):
        make_proofs(tmp_path, record_id="x")


def test_the_words_say_what_is_not_shown(sealed: Installation, calls: list[str], keys: LogVkeys) -> None:
    proved = verify_proof_file(make_proofs(sealed.data.directory, record_id=calls[0])[0].data, vkeys=keys)
    said = proved.describe()
    assert "nothing of any other record" in said
    assert "verified" not in said


def test_no_proof_is_made_of_what_does_not_lead_to_the_root(data: Path, calls: list[str]) -> None:
    bundle = data / "logs/default/tree/tile/entries/000"
    content = bundle.read_bytes()
    at = content.index(b'"time_us":', content.index(short_id(calls[0]).encode()))
    bundle.write_bytes(content[: at + 12] + bytes([content[at + 12] ^ 1]) + content[at + 13 :])
    shutil.rmtree(data / "logs/default/ids")
    (data / "logs/default/ids").mkdir()
    with pytest.raises(CorruptionError, match="affidavit verify"):
        make_proofs(data, record_id=calls[0])


def changed(data: bytes, **changes: object) -> bytes:
    """A proof with another extra, index, path or head."""
    proof = parse_proof(data)
    members = {"index": proof.index, "hashes": proof.hashes, "head": proof.head, "extra": proof.extra} | changes
    return format_proof(TlogProof(**members))  # type: ignore[arg-type]


def test_a_changed_proof_does_not_hold(sealed: Installation, calls: list[str], keys: LogVkeys) -> None:
    intent, outcome = (proof.data for proof in make_proofs(sealed.data.directory, record_id=calls[5]))
    proof = parse_proof(intent)
    assert proof.extra is not None
    for change in (
        {"index": proof.index + 1},
        {"hashes": proof.hashes[:-1]},
        {"hashes": (*proof.hashes, bytes(32))},
        {"hashes": (bytes(32), *proof.hashes[1:])},
        {"extra": parse_proof(outcome).extra},
        {"extra": proof.extra.replace(b"llm.request", b"llm.bequest")},
        {"extra": proof.extra.replace(b'{"leaf"', b'{ "leaf"')},
        {"extra": proof.extra.replace(b'"v":1', b'"v":2')},
        {"extra": b'{"v":1}'},
        {"extra": None},
    ):
        with pytest.raises(AffidavitError):
            verify_proof_file(changed(intent, **change), vkeys=keys)
    stranger = log_vkeys(parse_vkey(text) for text in LogMaker("default").signer.vkeys)
    with pytest.raises(AffidavitError):
        verify_proof_file(intent, vkeys=stranger)


def test_slots_are_those_that_are_sealed() -> None:
    assert {"header": HEADER_SLOTS.names, "body": BODY_SLOTS.names} == SLOTS


def test_a_disclosed_field_is_held_against_the_leaf() -> None:
    """The proof and its commitments are made by code that shares nothing with ours."""
    alpha = small_ledger().logs["alpha"]
    vkeys = log_vkeys(parse_vkey(text) for text in alpha.signer.vkeys)
    index = next(index for index in alpha.disclosed if b'"type":"llm.request"' in alpha.leaves[index])
    good = alpha.proof(index, slots=(0, 6))
    proved = verify_proof_file(good, vkeys=vkeys)
    assert [(field.name, field.value) for field in proved.fields] == [
        ("type", "llm.request"),
        ("model", ["gpt-4o", "gpt-4o-2024-08-06"]),
    ]
    assert 'header model = ["gpt-4o","gpt-4o-2024-08-06"]' in proved.describe()
    line = next(line for line in good.split(b"\n") if line.startswith(b"extra "))
    extra = base64.b64decode(line[6:])
    for old, new in (
        (b"gpt-4o-2024-08-06", b"gpt-4o-2024-08-07"),
        (b'"slot":6', b'"slot":7'),
        (b'"slot":6', b'"slot":16'),
    ):
        with pytest.raises(AffidavitError):
            verify_proof_file(changed(good, extra=extra.replace(old, new)), vkeys=vkeys)
