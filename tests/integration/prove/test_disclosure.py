"""One field of a record, disclosed with its proof: opened for a recorded reading, believed only as far as it hashes.

Attack 33: a proof's `extra` says something else than the leaf.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

import affidavit_verify
from affidavit.errors import AccessRefusedError, AffidavitError, FormatError, KeyMissingError
from affidavit.ledger.reader import head_size
from affidavit.prove.proof import SLOTS, MadeProof, make_proofs, verify_proof_file, with_fields
from affidavit.seal.disclosure import FIELDS_MAX, parse_field_names
from affidavit.text import b64u
from affidavit.tlog.cosignature import log_vkeys
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.proof import format_proof, parse_proof
from tests.support.accesses import access_meta
from tests.support.installation import encode_meta
from tests.unit.seal.test_desk import REQUEST, RESPONSE, Bench

ALL = tuple(f"{block}:{slot}" for block, slots in SLOTS.items() for slot in slots)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


def ask(bench: Bench, leaf: int, *fields: str, **changes: Any) -> list[dict[str, Any]]:
    """What the desk gives for a recorded reading of these fields, as JSON, which it travels as."""
    meta = msgspec.structs.replace(access_meta((leaf, leaf + 1), view="fields"), fields=fields, **changes)
    record = bench.shard.begin("system")
    record.finish(meta=encode_meta(meta))
    bench.shard.sync()
    reply = bench.desk.answer({"op": "open", "shard": bench.shard.name, "record": record.number})
    assert not callable(reply)
    assert reply.parts == ()
    (row,) = msgspec.json.decode(msgspec.json.encode(reply.body["rows"]))
    return list(row["fields"])


def proofs(bench: Bench, *fields: str) -> list[MadeProof]:
    made = make_proofs(bench.installation.data.directory, record_id=bench.call)
    return [with_fields(proof, ask(bench, proof.leaf, *fields)) for proof in made]


@pytest.fixture
def vkeys(bench: Bench, tmp_path: Path) -> Path:
    path = tmp_path / "default.vkeys"
    path.write_text("".join(f"{vkey}\n" for vkey in bench.installation.sealer.vkeys["default"]))
    return path


def ours(data: bytes, vkeys: Path) -> dict[str, Any]:
    keys = log_vkeys(parse_vkey(text) for text in vkeys.read_text().split())
    return {f"{field.block}:{field.name}": field.value for field in verify_proof_file(data, vkeys=keys).fields}


def theirs(data: bytes, vkeys: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    path = vkeys.with_name("one.tlog-proof")
    path.write_bytes(data)
    code = affidavit_verify.main([str(path), "--vkey", str(vkeys), "--json"])
    said = capsys.readouterr().out
    return code, json.loads(said.splitlines()[-1]), said


def test_every_field_of_a_call_can_be_disclosed(bench: Bench, vkeys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    intent, outcome = proofs(bench, *ALL)
    for made, wire in ((intent, REQUEST), (outcome, RESPONSE)):
        shown = ours(made.data, vkeys)
        assert set(shown) == set(ALL)
        code, result, said = theirs(made.data, vkeys, capsys)
        assert code == 0
        assert {f"{f['block']}:{f['slot']}": f["value"] for f in result["proof"]["fields"]} == shown
        assert shown["body:wire"] == {"bytes": len(wire), "sha256": b64u(sha256(wire).digest())}
        assert "says nothing of any other entry" in said
        assert "verified" not in said.split("\nleaf")[0]
    assert ours(intent.data, vkeys)["header:model"] == ["gpt-4o", None]
    assert ours(intent.data, vkeys)["body:identity"]["user"] == "ann"
    assert ours(outcome.data, vkeys)["body:output"]["bytes"] > 0


def test_what_is_not_asked_for_stays_closed(bench: Bench) -> None:
    (field,) = ask(bench, bench.leaves["llm.request"], "header:model")
    assert set(field) == {"block", "slot", "value", "salt", "others"}
    made = proofs(bench, "header:model")[0]
    extra = parse_proof(made.data).extra or b""
    assert b"parcel" not in extra
    assert b"127.0.0.1" not in extra


def test_extra_that_says_something_else_than_the_leaf_is_refused_by_both(
    bench: Bench, vkeys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack 33: another value, slot, salt or neighbour; the leaf of another record; a field of another record."""
    intent, outcome = proofs(bench, "header:model", "body:messages")
    good, other = parse_proof(intent.data), parse_proof(outcome.data)
    extra, foreign = json.loads(good.extra or b""), json.loads(other.extra or b"")
    assert theirs(intent.data, vkeys, capsys)[0] == 0

    def with_extra(change: Any) -> bytes:
        changed = json.loads(json.dumps(extra))
        change(changed)
        text = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return format_proof(msgspec.structs.replace(good, extra=text))

    changes = {
        "value": lambda e: e["fields"][0].update(value=["gpt-5", None]),
        "digest of the messages": lambda e: e["fields"][1]["value"].update(bytes=1),
        "slot": lambda e: e["fields"][0].update(slot=7),
        "block": lambda e: e["fields"][0].update(block="body"),
        "salt": lambda e: e["fields"][0].update(salt=e["fields"][1]["salt"]),
        "order of the others": lambda e: e["fields"][0]["others"].reverse(),
        "one of the others missing": lambda e: e["fields"][0]["others"].pop(),
        "field of another record": lambda e: e["fields"].append(foreign["fields"][0]),
        "leaf of another record": lambda e: e.update(leaf=foreign["leaf"]),
        "edited leaf": lambda e: e.update(leaf=e["leaf"].replace("llm.request", "llm.reqvest")),
    }
    for name, change in changes.items():
        data = with_extra(change)
        with pytest.raises(AffidavitError):
            ours(data, vkeys)
        code, result, _ = theirs(data, vkeys, capsys)
        assert (code, result["integrity"], result["proof"]["verdict"]) == (1, "FAIL", "FAIL"), name
    code, result, _ = theirs(with_extra(changes["value"]), vkeys, capsys)
    assert [finding["code"] for finding in result["findings"]] == ["COMMITMENT"]


def test_a_proof_that_would_not_hold_is_not_made(bench: Bench) -> None:
    intent, outcome = make_proofs(bench.installation.data.directory, record_id=bench.call)
    fields = ask(bench, intent.leaf, "header:model")
    with pytest.raises(FormatError, match="committed"):
        with_fields(outcome, fields)
    with pytest.raises(FormatError, match="format"):
        with_fields(intent, [{"block": "header"}])


def test_the_reading_is_on_record_with_its_fields(bench: Bench) -> None:
    before = bench.size("system")
    ask(bench, bench.leaves["llm.request"], "header:model", "body:messages")
    opener = bench.installation.opener("system")
    leaf = opener.leaf(before, size=bench.size("system"))
    opened = opener.body(before, leaf)
    assert opened is not None
    assert json.loads(opened.meta)["context"]["fields"] == ["header:model", "body:messages"]
    assert json.loads(opened.meta)["context"]["view"] == "fields"
    opener.wire(before, leaf, size=head_size(bench.installation.data.log("system")))  # its own root holds


def test_other_readings_say_nothing_of_fields(bench: Bench) -> None:
    before = bench.size("system")
    bench.ask()
    opener = bench.installation.opener("system")
    opened = opener.body(before, opener.leaf(before, size=bench.size("system")))
    assert opened is not None
    assert "fields" not in json.loads(opened.meta)["context"]


@pytest.mark.parametrize("fields", [(), ("header:none",), ("wire",), ("body:model", "body:model"), ("header:",)])
def test_what_is_no_field_opens_nothing(bench: Bench, fields: tuple[str, ...]) -> None:
    with pytest.raises(FormatError, match="nothing was opened"):
        ask(bench, bench.leaves["llm.request"], *fields)


def test_the_number_of_fields_is_bounded() -> None:
    assert len(parse_field_names(ALL)) == FIELDS_MAX
    with pytest.raises(FormatError):
        parse_field_names((*ALL, "header:model"))


def test_a_leaf_without_the_block_and_one_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(FormatError, match="has no body"):
        ask(bench, 0, "body:wire")  # its epoch.open
    with pytest.raises(AffidavitError):
        ask(bench, 10_000, "header:model")


def test_an_old_reading_discloses_nothing(bench: Bench) -> None:
    bench.late_us = 61_000_000
    with pytest.raises(AccessRefusedError, match="60 s"):
        ask(bench, bench.leaves["llm.request"], "header:model")


def test_an_erased_record_discloses_its_header_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is gone: the population stays countable, the content cannot be shown."""
    from affidavit.seal.opening import Opener

    def erased(*_: object) -> None:
        raise KeyMissingError("erased")

    monkeypatch.setattr(Opener, "_open_body", erased)
    assert ask(bench, bench.leaves["llm.request"], "header:model")[0]["value"] == ["gpt-4o", None]
    with pytest.raises(KeyMissingError):
        ask(bench, bench.leaves["llm.request"], "body:messages")
