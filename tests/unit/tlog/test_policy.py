"""Trust policies: the grammar line by line, groups, and two checks that only make a quorum harder to meet."""

from __future__ import annotations

import contextlib

import pytest

from affidavit.errors import FormatError
from affidavit.tlog import policy as policy_module
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner
from affidavit.tlog.note import Ed25519Signer, Note, NoteSignature, SignatureError, format_note, format_vkey, parse_note
from affidavit.tlog.policy import (
    DEFINITIONS_MAX,
    POLICY_SIZE_MAX,
    Cosigner,
    NotCounted,
    Policy,
    PolicyGroup,
    PolicyLog,
    PolicyWitness,
    evaluate,
    format_policy,
    parse_policy,
    witnesses_that_are_logs,
)

TIMESTAMP = 1_763_700_000
WITNESSES = {
    name: Ed25519Cosigner.from_seed(name=f"{name}.example", seed=name.encode() * 16)
    for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")
}
VKEY = {name: format_vkey(witness.key) for name, witness in WITNESSES.items()}
LOG_VKEY = format_vkey(Ed25519Signer.from_seed(name="log.example", seed=b"l" * 32).key)
TWO_LEVELS = "".join(f"witness {name} {vkey}\n" for name, vkey in VKEY.items()) + (
    "group X-witnesses 2 X1 X2 X3\n"
    "group Y-witnesses any Y1 Y2 Y3\n"
    "group X-and-Y all X-witnesses Y-witnesses\n"
    "quorum X-and-Y\n"
)


def policy(text: str) -> Policy:
    return parse_policy(text.encode())


def cosigned(log, *cosigners) -> bytes:
    note = parse_note(log.head)
    lines = tuple(cosigner.sign(note.text, TIMESTAMP) for cosigner in cosigners)
    return format_note(Note(note.text, note.signatures + lines))


def test_a_policy_is_logs_witnesses_groups_and_a_quorum():
    text = (
        "# a comment\n"
        "\t # another\n"
        "\n"
        " \t\n"
        f"log {LOG_VKEY}\n"
        f"\twitness\t X1  {VKEY['X1']} https://x1.example/ \t\n"
        f"witness #1 {VKEY['X2']}\n"
        "group g all X1 #1\n"
        "quorum g\n"
        f"witness late {VKEY['Y1']}\n"
    )
    assert policy(text) == Policy(
        (PolicyLog(policy_module.parse_vkey(LOG_VKEY)),),
        (
            PolicyWitness("X1", WITNESSES["X1"].key, "https://x1.example/"),
            PolicyWitness("#1", WITNESSES["X2"].key),
            PolicyWitness("late", WITNESSES["Y1"].key),
        ),
        (PolicyGroup("g", 2, ("X1", "#1")),),
        "g",
    )
    assert format_policy(policy(text)).decode() == (
        f"log {LOG_VKEY}\nwitness X1 {VKEY['X1']} https://x1.example/\nwitness #1 {VKEY['X2']}\n"
        f"witness late {VKEY['Y1']}\ngroup g all X1 #1\nquorum g\n"
    )


def test_a_log_may_have_a_url():
    text = f"log {LOG_VKEY} https://log.example/\nquorum none\n"
    assert policy(text).logs[0].url == "https://log.example/"
    assert format_policy(policy(text)) == text.encode()


def test_a_policy_may_need_nobody():
    assert policy("quorum none\n") == Policy((), (), (), "none")


def test_thresholds_are_words_or_numbers():
    text = "".join(f"witness {name} {VKEY[name]}\n" for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3"))
    text += "group a any X1 X2\ngroup b all X3 Y1\ngroup c 1 a\ngroup d 2 b c Y2\nquorum d\n"
    read = policy(text)
    assert [group.threshold for group in read.groups] == [1, 2, 1, 2]
    assert format_policy(read) == text.replace("group c 1 a", "group c any a").encode()


W = f"witness w {VKEY['X1']}\n"
V = f"witness v {VKEY['X2']}\n"
PQ = MlDsa44Cosigner.from_seed(name="pq.example", seed=b"q" * 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends in a newline"),
        ("quorum none", "ends in a newline"),
        ("quorum none\r\n", "no control characters"),
        ("quorum\x00none\n", "no control characters"),
        ("quorum\x7fnone\n", "no control characters"),
        ("\n", "no quorum line"),
        (W, "no quorum line"),
        ("quorum none\nquorum none\n", "line 2 .* exactly one quorum"),
        ("quorum w\n" + W, "line 1 .* exactly one quorum"),
        ("quorum\n", "no such line"),
        ("quorum none none\n", "no such line"),
        ("Quorum none\n", "no such line"),
        ("quorum none # comment\n", "no such line"),
        ("include x\n", "no such line"),
        ("log\n", "no such line"),
        (f"log {LOG_VKEY} url url\n", "no such line"),
        (f"witness {VKEY['X1']}\n", "no such line"),
        (f"witness w {VKEY['X1']} url url\n", "no such line"),
        ("witness w nonsense\n", "line 1 .* not a verifier key"),
        (f"witness w {LOG_VKEY}\n", "witnesses with 0x04 or 0x06"),
        (f"log {VKEY['X1']}\n", "logs sign with type 0x01 or 0x06"),
        (f"log {LOG_VKEY}\nlog {LOG_VKEY}\n", "line 2 .* same public key"),
        (W + f"witness v {VKEY['X1']}\n", "same public key"),
        (W + f"witness w {VKEY['X2']}\n", "already taken"),
        (f"witness none {VKEY['X1']}\n", "already taken"),
        (W + "group w any w\n", "already taken"),
        (W + "group none any w\n", "already taken"),
        (W + "group g any\n", "no such line"),
        (W + "group g\n", "no such line"),
        (W + "group g any v\n" + V, "not defined above"),
        (W + "group g any g\n", "not defined above"),
        (W + "group g any none\n", "not defined above"),
        (W + "group g any w w\n", "a member already"),
        (W + V + "group g any w\ngroup h any v w\n", "a member already"),
        (W + "group g 0 w\n", "between 1 and the number"),
        (W + "group g 2 w\n", "between 1 and the number"),
        (W + "group g 01 w\n", "decimal"),
        (W + "group g -1 w\n", "decimal"),
        (W + "group g ANY w\n", "decimal"),
        (W + "group g 1\N{NO-BREAK SPACE}w\n", "no such line"),
    ],
)
def test_what_the_grammar_does_not_have_is_refused(text: str, message: str):
    with pytest.raises(FormatError, match=message):
        policy(text)


def test_the_same_key_under_another_name_or_type_is_a_duplicate():
    renamed = Ed25519Cosigner.from_seed(name="renamed.example", seed=b"X1" * 16)
    assert renamed.key.key_id != WITNESSES["X1"].key.key_id
    with pytest.raises(FormatError, match="same public key"):
        policy(W + f"witness v {format_vkey(renamed.key)}\nquorum none\n")


def test_octets_above_ascii_are_opaque():
    data = b"witness \xff\xc3\x28 " + VKEY["X1"].encode() + b" \xf0\nquorum \xff\xc3\x28\n#\xfe\n"
    read = parse_policy(data)
    assert format_policy(read) == data.removesuffix(b"#\xfe\n")
    kelvin = f"witness K {VKEY['X1']}\nwitness \N{KELVIN SIGN} {VKEY['X2']}\nquorum K\n"
    assert [witness.name for witness in policy(kelvin).witnesses] == ["K", "\N{KELVIN SIGN}"]


@pytest.mark.parametrize(
    "unwritable",
    [
        Policy((), (), (), "w"),
        Policy((), (PolicyWitness("a b", WITNESSES["X1"].key),), (), "none"),
        Policy((), (PolicyWitness("\ud800", WITNESSES["X1"].key),), (), "none"),
        Policy((), (PolicyWitness("w", WITNESSES["X1"].key, ""),), (), "none"),
        Policy((), (PolicyWitness("w", WITNESSES["X1"].key),), (PolicyGroup("g", 2, ("w",)),), "none"),
    ],
)
def test_what_would_not_be_read_back_is_not_written(unwritable: Policy):
    with pytest.raises(FormatError):
        format_policy(unwritable)


def test_the_size_is_bounded():
    filler = b"#" * (POLICY_SIZE_MAX - len(b"quorum none\n") - 1) + b"\n"
    assert parse_policy(filler + b"quorum none\n").quorum == "none"
    with pytest.raises(FormatError, match="1048577 bytes is refused"):
        parse_policy(b"#" + filler + b"quorum none\n")


def test_the_number_of_definitions_is_bounded():
    assert DEFINITIONS_MAX >= 32, "the specification recommends at least 32"
    lines = [
        f"log {format_vkey(Ed25519Signer.from_seed(name=f'{number}.example', seed=number.to_bytes(32, 'big')).key)}\n"
        for number in range(DEFINITIONS_MAX + 1)
    ]
    assert len(policy("".join(lines[:-1]) + "quorum none\n").logs) == DEFINITIONS_MAX
    with pytest.raises(FormatError, match="more than 256"):
        policy("".join(lines) + "quorum none\n")


@pytest.mark.parametrize(
    ("cosigners", "met"),
    [
        ((), False),
        (("X1", "X2"), False),
        (("Y1",), False),
        (("X1", "Y1", "Y2", "Y3"), False),
        (("X1", "X2", "Y3"), True),
        (("X1", "X3", "Y1"), True),
        (("X1", "X2", "X3", "Y1", "Y2", "Y3"), True),
    ],
)
def test_groups_count_their_members(log, cosigners: tuple[str, ...], met: object):
    data = cosigned(log, *(WITNESSES[name] for name in cosigners))
    evaluation = evaluate(policy(TWO_LEVELS), data, log_keys=(log.vkeys.ed25519, log.vkeys.mldsa44))
    assert evaluation.quorum_met is met
    assert evaluation.checkpoint == log.checkpoint
    assert evaluation.log_keys == (log.vkeys.ed25519, log.vkeys.mldsa44)
    assert evaluation.cosigners == tuple(Cosigner(name, TIMESTAMP) for name in cosigners)
    assert evaluation.not_counted == ()


def test_a_quorum_may_be_one_witness_or_none(log):
    keys = (log.vkeys.ed25519,)
    one = policy(W + V + "quorum w\n")
    assert evaluate(one, cosigned(log, WITNESSES["X1"]), log_keys=keys).quorum_met
    assert not evaluate(one, cosigned(log, WITNESSES["X2"]), log_keys=keys).quorum_met
    assert evaluate(policy("quorum none\n"), log.head, log_keys=keys).quorum_met


def test_without_a_known_log_nothing_is_accepted(log, other_log):
    with pytest.raises(SignatureError, match="none of the known keys"):
        evaluate(policy("quorum none\n"), log.head)
    with pytest.raises(SignatureError, match="none of the known keys"):
        evaluate(policy("quorum none\n"), log.head, log_keys=(other_log.vkeys.ed25519,))
    with pytest.raises(SignatureError, match="lacks a signature of its log"):
        evaluate(policy(W + "quorum w\n"), cosigned(log, WITNESSES["X1"]))


def test_any_listed_log_is_accepted_under_its_own_origin_only(log):
    signer = Ed25519Signer.from_seed(name="log.example", seed=b"l" * 32)
    listed = policy(f"log {LOG_VKEY}\nlog {format_vkey(log.vkeys.ed25519)}\nquorum none\n")
    assert evaluate(listed, log.head).log_keys == (log.vkeys.ed25519,)
    text = format_checkpoint(Checkpoint("log.example", 7, log.checkpoint.root))
    assert evaluate(listed, format_note(Note(text, (signer.sign(text),)))).log_keys == (signer.key,)
    text = parse_note(log.head).text
    with pytest.raises(SignatureError, match="lacks a signature of its log"):
        evaluate(listed, format_note(Note(text, (signer.sign(text),))))


def test_any_of_does_not_weaken_a_log_that_signs_twice(log):
    listed = policy(f"log {format_vkey(log.vkeys.ed25519)}\nlog {format_vkey(log.vkeys.mldsa44)}\nquorum none\n")
    note = parse_note(log.head)
    assert len(evaluate(listed, log.head).log_keys) == 2
    for line in note.signatures:
        with pytest.raises(SignatureError, match="lacks a signature of its log"):
            evaluate(listed, format_note(Note(note.text, (line,))))


def test_of_two_keys_of_one_type_either_may_sign(log, other_log):
    both = (log.vkeys.ed25519, other_log.vkeys.ed25519)
    for signed in (log, other_log):
        assert evaluate(policy("quorum none\n"), signed.head, log_keys=both).log_keys == (signed.vkeys.ed25519,)


def test_a_wrong_line_of_a_known_witness_rejects_the_whole_note(log):
    note = parse_note(log.head)
    right = WITNESSES["X1"].sign(note.text, TIMESTAMP)
    wrong = NoteSignature(right.name, right.key_id, bytes(72))
    with pytest.raises(SignatureError, match="does not verify"):
        evaluate(
            policy(W + "quorum none\n"),
            format_note(Note(note.text, (*note.signatures, wrong))),
            log_keys=(log.vkeys.ed25519,),
        )


def test_a_witness_whose_key_or_name_is_a_logs_does_not_count(log):
    same_key = Ed25519Cosigner.from_seed(name="witness.example/friend", seed=b"\x01" * 32)
    same_name = Ed25519Cosigner.from_seed(name=log.checkpoint.origin, seed=b"n" * 32)
    own_cosigner = log.cosigner
    assert same_key.key.public_key == log.vkeys.ed25519.public_key
    for witness in (same_key, same_name, own_cosigner):
        read = policy(f"witness w {format_vkey(witness.key)}\nquorum w\n")
        data = log.head if witness is own_cosigner else cosigned(log, witness)
        keys = (log.vkeys.ed25519, log.vkeys.mldsa44)
        evaluation = evaluate(read, data, log_keys=keys)
        assert not evaluation.quorum_met
        assert evaluation.cosigners == ()
        assert evaluation.not_counted == (("w", NotCounted.IS_A_LOG),)
        assert witnesses_that_are_logs(read, keys) == read.witnesses
        assert witnesses_that_are_logs(read) == ()
    listed = policy(f"log {format_vkey(log.vkeys.ed25519)}\nwitness w {format_vkey(same_key.key)}\nquorum w\n")
    assert witnesses_that_are_logs(listed) == listed.witnesses


def test_one_operator_counts_once(log):
    ed25519 = WITNESSES["X1"]
    mldsa44 = MlDsa44Cosigner.from_seed(name=ed25519.key.name, seed=b"m" * 32)
    keys = (log.vkeys.ed25519,)
    lines = W + f"witness w-pq {format_vkey(mldsa44.key)}\n"
    data = cosigned(log, ed25519, mldsa44)
    strict = evaluate(policy(lines + "group g all w w-pq\nquorum g\n"), data, log_keys=keys)
    assert not strict.quorum_met
    assert strict.cosigners == (Cosigner("w", TIMESTAMP),)
    assert strict.not_counted == (("w-pq", NotCounted.SAME_OPERATOR),)
    lenient = policy(lines + "group g any w w-pq\nquorum g\n")
    assert evaluate(lenient, data, log_keys=keys).quorum_met
    assert evaluate(lenient, cosigned(log, mldsa44), log_keys=keys).cosigners == (Cosigner("w-pq", TIMESTAMP),)


@pytest.mark.parametrize("name", ["wX", "X", "w\u00a0", "w\u3000", "none.", "\udc85"])
def test_names_are_written_to_their_last_octet(name: str):
    """They are opaque: what looks like a blank elsewhere is none here."""
    witness = PolicyWitness(name, Ed25519Cosigner.from_seed(name="n", seed=b"n" * 32).key)
    policy = Policy((), (witness,), (PolicyGroup(f"g{name}", 1, (name,)),), f"g{name}")
    assert parse_policy(format_policy(policy)) == policy


@pytest.mark.parametrize("kind", ["log", "witness", "group"])
def test_each_kind_of_definition_has_its_own_bound(kind: str, monkeypatch: pytest.MonkeyPatch):
    names = ("X1", "X2", "X3")
    lines = {
        "log": [f"log {format_vkey(Ed25519Signer.from_seed(name=n, seed=n.encode() * 16).key)}" for n in names],
        "witness": [f"witness {name} {VKEY[name]}" for name in names],
        "group": ["group a any X1", "group b any a", "group c any b"],
    }[kind]
    before = [f"witness X1 {VKEY['X1']}"] if kind == "group" else []
    monkeypatch.setattr(policy_module, "DEFINITIONS_MAX", 2)
    for count, refused in ((2, False), (3, True)):
        text = "".join(f"{line}\n" for line in (*before, *lines[:count], "quorum none"))
        with pytest.raises(FormatError, match="more than 2 logs") if refused else contextlib.nullcontext():
            policy(text)


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\x85"])
def test_only_spaces_and_tabs_stand_around_a_line(blank: str):
    policy(" \t quorum none\t \n")
    for text in (f"{blank}quorum none\n", f"{blank}# no comment\nquorum none\n", f"{blank}\nquorum none\n"):
        with pytest.raises(FormatError, match="no such line"):
            policy(text)
    with pytest.raises(FormatError, match="names what is defined"):
        policy(f"quorum none{blank}\n")
