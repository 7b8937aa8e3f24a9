"""What lies under anchors/ is worth what the verifier's own policy says: both verifiers, on real ledgers, agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affidavit.cli import run
from affidavit.cli.exit_codes import ANCHOR, FINDING, OK, USAGE
from affidavit.ledger.layout import DataLayout
from affidavit.prove.report import Report
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner, sign_checkpoint
from affidavit.tlog.note import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    format_note,
    format_vkey,
    parse_note,
    verifier_key,
)
from tests.integration.prove.ledgers import ours, theirs, verdicts, verdicts_of_json
from tests.support.installation import Installation

pytestmark = pytest.mark.usefixtures("quick_signatures")

W1 = Ed25519Cosigner.from_seed(name="one.example/w", seed=b"1" * 32)
W1_PQ = MlDsa44Cosigner.from_seed(name="one.example/w", seed=b"2" * 32)
W2 = Ed25519Cosigner.from_seed(name="two.example/w", seed=b"3" * 32)
W3_PQ = MlDsa44Cosigner.from_seed(name="three.example/w", seed=b"4" * 32)
WITNESSES: tuple[Any, ...] = (W1, W1_PQ, W2, W3_PQ)
LOGS = ("system", "default", "other")
TIME_S = 1_700_000_000

POLICY = (
    f"witness w1 {format_vkey(W1.key)}\nwitness w1pq {format_vkey(W1_PQ.key)}\ngroup one any w1 w1pq\n"
    f"witness w2 {format_vkey(W2.key)}\nwitness w3 {format_vkey(W3_PQ.key)} https://three.example\n"
    "group others any w2 w3\ngroup both all one others\nquorum both\n"
)


def cosigned(head: bytes, *witnesses: Any) -> bytes:
    """A head with lines of witnesses behind those of its log."""
    note = parse_note(head)
    return format_note(Note(note.text, (*note.signatures, *(w.sign(note.text, TIME_S) for w in witnesses))))


def put(data: Path, log: str, head: bytes) -> Path:
    """An anchor, under the name that its size gives it."""
    layout = DataLayout(data).log(log)
    layout.anchors.mkdir(exist_ok=True)
    path = layout.anchor(parse_checkpoint(parse_note(head).text).size, "witness")
    path.write_bytes(head)
    return path


def newest(data: Path, log: str) -> bytes:
    return DataLayout(data).log(log).checkpoint.read_bytes()


def resigned(sealed: Installation, log: str, size: int, root: bytes) -> bytes:
    """What whoever owns the signing keys can make."""
    opened = sealed.signer._open(log)
    checkpoint = Checkpoint(opened.state.origin, size, root)
    return sign_checkpoint(checkpoint, signer=opened.pairs[-1][0], cosigner=opened.pairs[-1][1], timestamp=TIME_S)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_text(POLICY)
    return path


@pytest.fixture
def judge(data: Path, vkeys: Path) -> Callable[..., Report]:
    """Both verifiers' verdicts and findings on the anchor axis, which must be the same."""

    def judge(policy: Path | None = None, *, keys: Path | None = vkeys, pins: tuple[Path, ...] = ()) -> Report:
        report = ours(data, keys, policy=policy, pins=tuple(pin.read_bytes() for pin in pins))
        code, result = theirs(data, keys, policy=policy, pins=pins)
        assert verdicts_of_json(result) == verdicts(report)
        found = [(f["verdict"], f["code"], f["log"]) for f in result["findings"] if f["axis"] == "anchor"]
        assert sorted(map(str, found)) == sorted(str((v, c, log)) for v, c, log, _ in anchor(report))
        forks = [(fork["code"], fork["log"], [text for _, text in fork["heads"]]) for fork in result.get("forks", [])]
        assert forks == [(fork.code, fork.log, [text for _, text in fork.heads]) for fork in report.forks]
        assert (code == 0) == report.holds
        return report

    return judge


def anchor(report: Report) -> list[tuple[str, str, str | None, str]]:
    return [(f.verdict, f.code, f.log, f.what) for f in report.findings if f.axis == "anchor"]


# --- what counts ------------------------------------------------------------------------------------------------------


def test_a_quorum_makes_the_anchor_ok(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1_PQ, W2))
    report = judge(policy)
    assert (report.integrity, report.anchor) == ("OK", "OK")
    assert report.is_anchored
    assert report.holds
    without = judge()
    assert (without.anchor, {code for _, code, _, _ in anchor(without)}) == ("WARN", {"UNANCHORED"})
    assert all("--policy says whose count" in what for *_, what in anchor(without))
    assert without.holds


def test_a_tail_beyond_the_cosigned_head_is_unanchored(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    heads = sorted(int(path.name) for path in DataLayout(data).log("default").heads.iterdir())
    size = heads[len(heads) // 2]
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W3_PQ))
    DataLayout(data).log("default").anchor(heads[-1], "witness").unlink()
    put(data, "default", cosigned(DataLayout(data).log("default").head(size).read_bytes(), W1, W3_PQ))
    ((verdict, code, log, what),) = anchor(judge(policy))
    assert (verdict, code, log) == ("WARN", "UNANCHORED", "default")
    assert f"the last {heads[-1] - size} leaves" in what


def test_a_pin_and_an_anchor_count_together(
    data: Path, policy: Path, tmp_path: Path, judge: Callable[..., Report]
) -> None:
    put(data, "system", cosigned(newest(data, "system"), W1, W2))
    pins = []
    for log in ("default", "other"):
        pins.append(tmp_path / log)
        pins[-1].write_bytes(cosigned(newest(data, log), W2))
    assert judge(policy, pins=tuple(pins)).anchor == "OK"


@pytest.mark.parametrize(
    "witnesses",
    [(), (W1,), (W2, W3_PQ), (W1, W1_PQ)],
    ids=["nobody", "one of two", "both of the other group", "one operator twice"],
)
def test_less_than_a_quorum_is_unanchored(
    data: Path, policy: Path, judge: Callable[..., Report], witnesses: tuple[Any, ...]
) -> None:
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), *witnesses))
    report = judge(policy)
    assert {(verdict, code) for verdict, code, _, _ in anchor(report)} == {("WARN", "UNANCHORED")}
    assert all("none meets the quorum" in what for *_, what in anchor(report))
    assert not report.is_anchored


def test_one_operator_twice_is_no_quorum_of_two(data: Path, tmp_path: Path, judge: Callable[..., Report]) -> None:
    rules = tmp_path / "careless"
    keys = f"witness a {format_vkey(W1.key)}\nwitness b {format_vkey(W1_PQ.key)}\n"
    rules.write_text(keys + "group two all a b\nquorum two\n")
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W1_PQ))
    assert judge(rules).anchor == "WARN"
    rules.write_text(keys + "group two any a b\nquorum two\n")
    assert judge(rules).anchor == "OK"


def keys_of(sealed: Installation, log: str) -> tuple[VerifierKey, VerifierKey]:
    opened = sealed.signer._open(log)
    return opened.pairs[-1][0].key, opened.pairs[-1][1].key


@pytest.mark.parametrize("disguise", ["its own key", "its own key under another name", "another log's key", "its name"])
def test_a_witness_that_is_a_log_does_not_count(
    data: Path, sealed: Installation, tmp_path: Path, judge: Callable[..., Report], disguise: str
) -> None:
    opened = sealed.signer._open("default")
    seed = (sealed.keys / "signer" / "default" / "ed25519").read_bytes()
    other = sealed.signer._open("other")
    witness: Any = {
        "its own key": opened.pairs[-1][1],
        "its own key under another name": Ed25519Cosigner.from_seed(name="somebody.example/w", seed=seed),
        "another log's key": other.pairs[-1][1],
        "its name": MlDsa44Cosigner.from_seed(name=opened.state.origin, seed=b"9" * 32),
    }[disguise]
    rules = tmp_path / "disguised"
    rules.write_text(f"witness w {format_vkey(witness.key)}\nquorum w\n")
    head = newest(data, "default")
    put(data, "default", head if disguise == "its own key" else cosigned(head, witness))
    report = judge(rules)
    assert {(verdict, code) for verdict, code, _, _ in anchor(report)} == {("WARN", "UNANCHORED")}
    assert any("not counted: w, is-a-log" in what for *_, log, what in anchor(report) if log == "default")


def test_a_policy_that_came_with_the_data_is_ignored(
    data: Path, policy: Path, judge: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = f"witness w1 {format_vkey(W1.key)}\nquorum w1\n"
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1))
        (DataLayout(data).log(log).anchors / "policy").write_text(weak)
    monkeypatch.chdir(data)
    for rules in (policy, None):
        report = judge(rules)
        assert report.anchor == "WARN"
        assert {code for _, code, _, _ in anchor(report)} == {"UNANCHORED", "ANCHOR-UNREAD"}
    own = tmp_path / "own"
    own.write_text(weak)
    assert not judge(own).is_anchored  # the file that nobody knows is still one
    for log in LOGS:
        (DataLayout(data).log(log).anchors / "policy").unlink()
    assert judge(own).is_anchored


def test_a_policy_that_asks_for_nobody_shows_nobody(data: Path, tmp_path: Path, judge: Callable[..., Report]) -> None:
    rules = tmp_path / "none"
    rules.write_text("quorum none\n")
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1))
    assert judge(rules).anchor == "WARN"


def test_lines_of_strangers_do_no_harm(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    for log in LOGS:
        note = parse_note(cosigned(newest(data, log), W1, W2))
        stranger = NoteSignature("stranger.example/x", b"\1\2\3\4", bytes(72))
        put(data, log, format_note(Note(note.text, (*note.signatures[:3], stranger, *note.signatures[3:]))))
    assert judge(policy).anchor == "OK"


# --- what contradicts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["policy", "no policy"])
def test_a_head_of_another_root_is_a_fork_and_both_are_exported(
    data: Path, policy: Path, sealed: Installation, judge: Callable[..., Report], rules: str
) -> None:
    size = parse_checkpoint(parse_note(newest(data, "default")).text).size
    path = put(data, "default", cosigned(resigned(sealed, "default", size, bytes(32)), W1, W2))
    report = judge(policy if rules == "policy" else None)
    (found,) = [
        what for verdict, code, log, what in anchor(report) if (verdict, code, log) == ("FAIL", "FORK", "default")
    ]
    assert f"logs/default/anchors/{size}.witness" in found
    assert f"logs/default/heads/{size}" in found
    (fork,) = report.forks
    assert [text.encode() for _, text in fork.heads] == [path.read_bytes(), newest(data, "default")]
    assert not report.holds


def test_a_fork_at_a_size_whose_head_is_not_kept_is_exported_with_the_newest(
    data: Path, policy: Path, sealed: Installation, judge: Callable[..., Report]
) -> None:
    put(data, "default", cosigned(resigned(sealed, "default", 2, bytes(32)), W1, W2))
    (fork,) = judge(policy).forks
    assert [name for name, _ in fork.heads] == ["logs/default/anchors/2.witness", "logs/default/tree/checkpoint"]


def test_a_head_that_is_larger_than_the_log_is_a_rollback(
    data: Path, policy: Path, sealed: Installation, judge: Callable[..., Report]
) -> None:
    size = parse_checkpoint(parse_note(newest(data, "other")).text).size
    put(data, "other", cosigned(resigned(sealed, "other", size + 3, bytes(32)), W1, W2))
    report = judge(policy)
    assert ("FAIL", "ROLLBACK", "other") in {(v, c, log) for v, c, log, _ in anchor(report)}
    assert [fork.code for fork in report.forks] == ["ROLLBACK"]


def test_two_auditors_who_were_shown_two_histories_compare_their_heads(
    data: Path, sealed: Installation, tmp_path: Path, judge: Callable[..., Report]
) -> None:
    """Each head is well signed; together with the log that one of them saw, the other one is a fork."""
    first, second = tmp_path / "first", tmp_path / "second"
    size = parse_checkpoint(parse_note(newest(data, "default")).text).size
    first.write_bytes(newest(data, "default"))
    second.write_bytes(resigned(sealed, "default", size, bytes(range(32))))
    report = judge(pins=(first, second))
    assert ("FAIL", "FORK", "default") in {(v, c, log) for v, c, log, _ in anchor(report)}
    (fork,) = report.forks
    assert [text.encode() for _, text in fork.heads] == [second.read_bytes(), first.read_bytes()]


# --- what is no anchor ------------------------------------------------------------------------------------------------


def bad_line(head: bytes) -> bytes:
    note = parse_note(cosigned(head, W1, W2))
    line = note.signatures[3]
    wrong = NoteSignature(line.name, line.key_id, line.signature[:-1] + bytes((line.signature[-1] ^ 1,)))
    return format_note(Note(note.text, (*note.signatures[:3], wrong)))


def swapped(head: bytes) -> bytes:
    note = parse_note(cosigned(head, W1, W2))
    first, second, *rest = note.signatures
    return format_note(Note(note.text, (second, first, *rest)))


def behind(head: bytes) -> bytes:
    note = parse_note(cosigned(head, W1, W2))
    return format_note(Note(note.text, (*note.signatures[2:], *note.signatures[:2])))


BAD = {
    "a known witness's line that does not verify": bad_line,
    "the log's lines in the wrong order": swapped,
    "the log's lines behind the witnesses'": behind,
    "only one of the log's lines": lambda head: format_note(
        Note(parse_note(head).text, (parse_note(head).signatures[0], W1.sign(parse_note(head).text, TIME_S)))
    ),
    "no note": lambda _: b"nothing\n",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_anchor_fails_and_is_named(
    data: Path, policy: Path, judge: Callable[..., Report], name: str
) -> None:
    size = parse_checkpoint(parse_note(newest(data, "default")).text).size
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W2))
    DataLayout(data).log("default").anchor(size, "witness").write_bytes(BAD[name](newest(data, "default")))
    report = judge(policy)
    found = [what for v, c, log, what in anchor(report) if (v, c, log) == ("FAIL", "ANCHOR", "default")]
    assert len(found) == 1
    assert f"logs/default/anchors/{size}.witness" in found[0]


def test_a_head_under_the_name_of_another_size(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    path = put(data, "default", cosigned(newest(data, "default"), W1, W2))
    path.rename(path.with_name("7.witness"))
    assert ("FAIL", "ANCHOR", "default") in {(v, c, log) for v, c, log, _ in anchor(judge(policy))}


def test_a_head_of_another_log(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    size = parse_checkpoint(parse_note(newest(data, "other")).text).size
    layout = DataLayout(data).log("default")
    layout.anchors.mkdir()
    layout.anchor(size, "witness").write_bytes(cosigned(newest(data, "other"), W1, W2))
    assert ("FAIL", "ANCHOR", "default") in {(v, c, log) for v, c, log, _ in anchor(judge(policy))}


def test_without_the_logs_keys_nothing_counts(data: Path, policy: Path, judge: Callable[..., Report]) -> None:
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W2))
    report = judge(policy, keys=None)
    assert {(v, c) for v, c, _, _ in anchor(report)} == {("NOT ASSESSED", "NO-VKEY"), ("WARN", "UNANCHORED")}


def test_any_byte_of_an_anchor_that_is_changed_costs_it_its_verdict(
    data: Path, policy: Path, vkeys: Path, sealed: Installation
) -> None:
    """With a policy that names all its keys, no byte can be changed and the anchor stays OK; both verifiers agree."""
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W2))
    path = put(data, "other", cosigned(newest(data, "other"), W1, W2))
    whole = path.read_bytes()
    places = sorted({*range(0, len(whole), 149), *range(len(whole) - 4, len(whole)), *range(80, 100)})
    for at in places:
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        mine, (_, other) = ours(data, vkeys, policy=policy), theirs(data, vkeys, policy=policy)
        assert mine.anchor == other["anchor"] != "OK", at
    path.write_bytes(whole)
    assert ours(data, vkeys, policy=policy).anchor == "OK"
    del sealed


# --- at the command line ----------------------------------------------------------------------------------------------


def test_the_commands_take_a_policy(
    data: Path, policy: Path, tmp_path: Path, sealed: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", str(data), "--vkey", str(sealed.vkeys_file), "--policy", str(policy)]
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W2))
    assert run([*arguments, "--require-anchor", "--json"]) == OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["anchor"] == "OK"
    DataLayout(data).log("system").anchors.rename(tmp_path / "gone")
    assert run([*arguments, "--require-anchor"]) == ANCHOR
    put(data, "default", cosigned(resigned(sealed, "default", 5, bytes(32)), W2))
    capsys.readouterr()
    assert run(arguments) == FINDING
    said = capsys.readouterr().out
    assert "FORK [default] logs/default/anchors/5.witness:" in said
    assert said.count("— ") >= 5  # the lines of both heads
    bad = tmp_path / "bad"
    bad.write_text("quorum nobody\n")
    assert run(["verify", str(data), "--policy", str(bad)]) == USAGE
    assert theirs_code(data, bad) == 2
    assert run(["verify", str(data), "--policy", str(tmp_path / "absent")]) == USAGE


def theirs_code(data: Path, policy: Path) -> int:
    import affidavit_verify

    return affidavit_verify.main([str(data), "--policy", str(policy)])


def test_a_policy_may_name_our_log_and_others(
    data: Path, policy: Path, sealed: Installation, judge: Callable[..., Report]
) -> None:
    ed25519, mldsa44 = keys_of(sealed, "default")
    stranger = verifier_key(name="elsewhere.example/log", signature_type=SignatureType.ED25519, public_key=bytes(32))
    lines = "".join(f"log {format_vkey(key)}\n" for key in (ed25519, mldsa44, stranger))
    policy.write_text(lines + POLICY)
    for log in LOGS:
        put(data, log, cosigned(newest(data, log), W1, W2))
    assert judge(policy).anchor == "OK"
