"""Cosignatures, and heads of ours: both signatures or nothing, and no byte that could be changed unseen."""

from __future__ import annotations

import pytest

from affidavit.errors import AffidavitError, FormatError
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint
from affidavit.tlog.cosignature import (
    TIMESTAMP_MAX,
    Ed25519Cosigner,
    LogVkeys,
    MlDsa44Cosigner,
    cosignature_timestamp,
    cosigned_message,
    ed25519_message,
    format_vkeys_file,
    head_of,
    log_vkeys,
    lone_signer,
    open_cosigned_head,
    open_log_head,
    parse_vkeys_file,
    sign_checkpoint,
    verifier_for,
    verify_log_head,
)
from affidavit.tlog.merkle import EMPTY_ROOT
from affidavit.tlog.note import (
    Ed25519Signer,
    Note,
    NoteSignature,
    SignatureError,
    SignatureType,
    VerifierKey,
    format_note,
    format_vkey,
    open_note,
    parse_note,
    verifier_key,
)

TIMESTAMP = 1_763_700_000
ROOT = bytes(32)


def with_lines(head: bytes, *signatures: NoteSignature) -> bytes:
    return format_note(Note(parse_note(head).text, signatures))


def test_a_head_has_both_signatures_in_order(log):
    head = open_log_head(log.head, log.vkeys)
    assert (head.checkpoint, head.timestamp, head.others) == (log.checkpoint, TIMESTAMP, ())
    assert verify_log_head(log.head, log.vkeys) == log.checkpoint
    assert open_cosigned_head(log.head, log.vkeys) == head
    ed25519, mldsa44 = parse_note(log.head).signatures
    assert (ed25519.key_id, len(ed25519.signature)) == (log.signer.key.key_id, 64)
    assert (mldsa44.key_id, len(mldsa44.signature)) == (log.cosigner.key.key_id, 8 + 2420)
    assert log.vkeys.origin == log.checkpoint.origin


def test_one_of_the_two_signatures_is_not_enough(log, other_log):
    ed25519, mldsa44 = parse_note(log.head).signatures
    wrong_ed25519, wrong_mldsa44 = parse_note(other_log.head).signatures
    for lines in ((ed25519,), (mldsa44,), (ed25519, wrong_mldsa44), (wrong_ed25519, mldsa44)):
        data = with_lines(log.head, *lines)
        with pytest.raises(SignatureError, match="exactly two signature lines"):
            open_log_head(data, log.vkeys)
        with pytest.raises(SignatureError, match="only one of the log's two"):
            open_cosigned_head(data, log.vkeys)


def test_a_head_has_no_further_line_and_no_other_order(log, other_log, witness):
    ed25519, mldsa44 = parse_note(log.head).signatures
    text = parse_note(log.head).text
    for lines in (
        (mldsa44, ed25519),
        (ed25519, ed25519, mldsa44),
        (ed25519, mldsa44, mldsa44),
        (ed25519, mldsa44, witness.sign(text, TIMESTAMP)),
        (ed25519, mldsa44, *parse_note(other_log.head).signatures),
    ):
        data = with_lines(log.head, *lines)
        with pytest.raises(SignatureError, match="exactly two signature lines"):
            open_log_head(data, log.vkeys)
        assert open_cosigned_head(data, log.vkeys).checkpoint == log.checkpoint


def test_a_head_of_another_log_or_by_other_keys_is_refused(log, other_log):
    with pytest.raises(SignatureError):
        open_log_head(other_log.head, log.vkeys)
    foreign = Checkpoint("example.com/another", log.checkpoint.size, log.checkpoint.root)
    text = format_checkpoint(foreign)
    data = format_note(Note(text, (log.signer.sign(text), log.cosigner.sign(text, TIMESTAMP))))
    with pytest.raises(SignatureError, match="of another log"):
        open_log_head(data, log.vkeys)


def test_a_head_with_extension_lines_is_refused_even_if_both_signed_it(log):
    extended = Checkpoint(log.checkpoint.origin, log.checkpoint.size, log.checkpoint.root, ("x",))
    text = format_checkpoint(extended)
    data = format_note(Note(text, (log.signer.sign(text), log.cosigner.sign(text, TIMESTAMP))))
    with pytest.raises(FormatError, match="no extension lines"):
        open_log_head(data, log.vkeys)
    with pytest.raises(FormatError, match="no extension lines"):
        sign_checkpoint(extended, signer=log.signer, cosigner=log.cosigner, timestamp=TIMESTAMP)


def test_a_note_that_is_no_checkpoint_is_no_head(log):
    text = b"not a checkpoint\n"
    ed25519 = log.signer.sign(text)
    mldsa44 = parse_note(log.head).signatures[1]
    with pytest.raises(FormatError, match="at least three lines"):
        open_log_head(format_note(Note(text, (ed25519, mldsa44))), log.vkeys)


def test_signers_of_another_name_sign_nothing(log, witness):
    stranger = Checkpoint("example.com/another", 0, EMPTY_ROOT)
    with pytest.raises(SignatureError, match="of another log"):
        sign_checkpoint(stranger, signer=log.signer, cosigner=log.cosigner, timestamp=TIMESTAMP)
    other = MlDsa44Cosigner.from_seed(name="example.com/another", seed=b"x" * 32)
    with pytest.raises(FormatError, match="both under its origin"):
        sign_checkpoint(log.checkpoint, signer=log.signer, cosigner=other, timestamp=TIMESTAMP)


def test_an_origin_is_at_most_255_bytes():
    for length in (255, 256):
        name = "n" * length
        signer = Ed25519Signer.from_seed(name=name, seed=b"1" * 32)
        cosigner = MlDsa44Cosigner.from_seed(name=name, seed=b"2" * 32)
        checkpoint = Checkpoint(name, 0, EMPTY_ROOT)
        if length == 255:
            head = sign_checkpoint(checkpoint, signer=signer, cosigner=cosigner, timestamp=0)
            assert verify_log_head(head, log_vkeys((signer.key, cosigner.key))) == checkpoint
        else:
            with pytest.raises(FormatError, match="1 to 255 bytes, not 256"):
                sign_checkpoint(checkpoint, signer=signer, cosigner=cosigner, timestamp=0)


@pytest.mark.parametrize("timestamp", [-1, TIMESTAMP_MAX + 1])
def test_a_timestamp_has_63_bits(log, witness, timestamp: int):
    with pytest.raises(FormatError, match="no cosignature timestamp"):
        sign_checkpoint(log.checkpoint, signer=log.signer, cosigner=log.cosigner, timestamp=timestamp)
    with pytest.raises(FormatError, match="no cosignature timestamp"):
        witness.sign(format_checkpoint(log.checkpoint), timestamp)


def test_the_largest_timestamp_is_signed_and_read(log, witness):
    text = format_checkpoint(log.checkpoint)
    for cosigner in (witness, log.cosigner):
        signature = cosigner.sign(text, TIMESTAMP_MAX)
        assert verifier_for(cosigner.key).verify(text, signature.signature)
        assert cosignature_timestamp(signature) == TIMESTAMP_MAX
        beyond = b"\x80" + bytes(7) + signature.signature[8:]
        assert not verifier_for(cosigner.key).verify(text, beyond)


def test_a_cosignature_covers_time_name_origin_size_and_root(log, pq_witness, witness):
    text = format_checkpoint(log.checkpoint)
    for cosigner in (witness, pq_witness):
        signature = cosigner.sign(text, TIMESTAMP).signature
        verify = verifier_for(cosigner.key).verify
        assert verify(text, signature)
        assert not verify(text, (TIMESTAMP + 1).to_bytes(8, "big") + signature[8:])
        assert not verify(text, signature[:-1])
        assert not verify(text, signature + b"\0")
        assert not verify(text, signature[:8])
        assert not verify(text, b"")
        for other in (
            Checkpoint("o", log.checkpoint.size, log.checkpoint.root),
            Checkpoint(log.checkpoint.origin, log.checkpoint.size + 1, log.checkpoint.root),
            Checkpoint(log.checkpoint.origin, log.checkpoint.size, ROOT),
        ):
            assert not verify(format_checkpoint(other), signature)


def test_only_the_ed25519_kind_covers_extension_lines_and_only_the_other_one_the_name(log, pq_witness, witness):
    text = format_checkpoint(log.checkpoint)
    extended = text + b"extension\n"
    assert not verifier_for(witness.key).verify(extended, witness.sign(text, TIMESTAMP).signature)
    assert verifier_for(pq_witness.key).verify(extended, pq_witness.sign(text, TIMESTAMP).signature)
    for cosigner, renamed_verifies in ((witness, True), (pq_witness, False)):
        renamed = verifier_key(
            name="witness.example/renamed",
            signature_type=cosigner.key.signature_type,
            public_key=cosigner.key.public_key,
        )
        verdict = verifier_for(renamed).verify(text, cosigner.sign(text, TIMESTAMP).signature)
        assert verdict is renamed_verifies


def test_only_checkpoints_are_cosigned(witness, pq_witness):
    for cosigner in (witness, pq_witness):
        with pytest.raises(FormatError):
            cosigner.sign(b"no checkpoint\n", TIMESTAMP)
        with pytest.raises(FormatError):
            verifier_for(cosigner.key).verify(b"no checkpoint\n", b"")


def test_one_key_in_two_roles_does_not_mix_them(log):
    """A note signature is no cosignature and the other way round, even under one key and one name."""
    seed = b"1" * 32
    signer = Ed25519Signer.from_seed(name="n", seed=seed)
    cosigner = Ed25519Cosigner.from_seed(name="n", seed=seed)
    text = format_checkpoint(log.checkpoint)
    assert signer.key.public_key == cosigner.key.public_key
    assert signer.key.key_id != cosigner.key.key_id
    assert not verifier_for(signer.key).verify(text, cosigner.sign(text, TIMESTAMP).signature)
    assert not verifier_for(signer.key).verify(text, cosigner.sign(text, TIMESTAMP).signature[8:])
    assert not verifier_for(cosigner.key).verify(text, bytes(8) + signer.sign(text).signature)


def test_the_messages_are_those_of_the_specification():
    assert ed25519_message(text=b"o\n1\n...\n", timestamp=1679315147) == b"cosignature/v1\ntime 1679315147\no\n1\n...\n"
    message = cosigned_message(cosigner_name="wö", timestamp=2, log_origin="log", start=0, end=3, root=ROOT)
    assert message == (
        b"subtree/v1\n\0\x03w\xc3\xb6" + b"\0\0\0\0\0\0\0\x02" + b"\x03log" + bytes(8) + b"\0\0\0\0\0\0\0\x03" + ROOT
    )


SUBTREE = {"cosigner_name": "w", "timestamp": 0, "log_origin": "l", "start": 4, "end": 8, "root": ROOT}


def test_a_subtree_that_does_not_start_at_zero_has_no_timestamp():
    assert cosigned_message(**(SUBTREE | {"end": 2**63 - 1})).endswith(b"\x7f" + b"\xff" * 7 + ROOT)
    assert cosigned_message(**SUBTREE).endswith(b"\0" * 7 + b"\x04" + b"\0" * 7 + b"\x08" + ROOT)
    for wrong in (
        {"timestamp": 1},
        {"start": 9},
        {"start": -1},
        {"end": 2**63},
        {"root": ROOT[:31]},
        {"cosigner_name": ""},
        {"log_origin": ""},
        {"log_origin": "l" * 256},
        {"cosigner_name": "\ud800"},
    ):
        with pytest.raises(FormatError):
            cosigned_message(**(SUBTREE | wrong))


def test_an_ml_dsa_seed_has_32_bytes():
    for length in (0, 31, 33):
        with pytest.raises(FormatError, match="32 bytes"):
            MlDsa44Cosigner.from_seed(name="n", seed=b"x" * length)
    with pytest.raises(FormatError, match="32 bytes"):
        Ed25519Cosigner.from_seed(name="n", seed=b"x" * 31)


def test_a_log_has_one_key_of_each_kind_under_one_name(log, witness):
    ed25519, mldsa44 = log.vkeys.ed25519, log.vkeys.mldsa44
    elsewhere = MlDsa44Cosigner.from_seed(name="example.com/another", seed=b"x" * 32).key
    assert log_vkeys((ed25519, mldsa44)) == LogVkeys(ed25519, mldsa44)
    wrong: tuple[VerifierKey, ...]
    for wrong in (
        (),
        (ed25519,),
        (mldsa44,),
        (mldsa44, ed25519),
        (ed25519, ed25519),
        (ed25519, mldsa44, mldsa44),
        (witness.key, mldsa44),
        (ed25519, elsewhere),
    ):
        with pytest.raises(FormatError, match="a log has two keys"):
            log_vkeys(wrong)


def test_a_vkeys_file_holds_two_lines(log):
    data = format_vkeys_file(log.vkeys)
    assert data.decode().splitlines() == [format_vkey(log.vkeys.ed25519), format_vkey(log.vkeys.mldsa44)]
    assert parse_vkeys_file(data) == log.vkeys
    first, second = data.splitlines(keepends=True)
    for wrong in (
        b"",
        b"\n",
        first,
        second + first,
        data[:-1],
        data + b"\n",
        data + second,
        b"\n" + data,
        data.replace(b"\n", b"\r\n"),
        b"\xff" + data,
    ):
        with pytest.raises(FormatError):
            parse_vkeys_file(wrong)


def test_a_head_opened_with_witnesses_names_their_lines(log, witness, pq_witness):
    text = parse_note(log.head).text
    known, unknown = witness.sign(text, TIMESTAMP), pq_witness.sign(text, TIMESTAMP)
    data = with_lines(log.head, *parse_note(log.head).signatures, known, unknown)
    keys = (log.vkeys.ed25519, log.vkeys.mldsa44, witness.key)
    head = head_of(open_note(data, [verifier_for(key) for key in keys]), log.vkeys)
    assert head.others == (known, unknown)


def test_every_type_has_its_own_verifier(log, witness):
    types = {type(verifier_for(key)) for key in (log.vkeys.ed25519, log.vkeys.mldsa44, witness.key)}
    assert len(types) == len(SignatureType)


def test_a_head_that_one_key_of_the_log_signed_alone_names_that_key(log, other_log, witness):
    """It is refused like any other; but whoever made it holds one key of the log and not the other."""
    ed25519, mldsa44 = parse_note(log.head).signatures
    assert lone_signer(with_lines(log.head, ed25519), log.vkeys) == log.vkeys.ed25519
    assert lone_signer(with_lines(log.head, mldsa44), log.vkeys) == log.vkeys.mldsa44
    text = format_checkpoint(Checkpoint(log.checkpoint.origin, 3, ROOT))
    assert lone_signer(format_note(Note(text, (log.signer.sign(text),))), log.vkeys) == log.vkeys.ed25519
    renamed = NoteSignature("example.com/another", ed25519.key_id, ed25519.signature)
    extended = text + b"x\n"
    foreign = format_checkpoint(Checkpoint("example.com/another", 3, ROOT))
    for data in (
        log.head,
        with_lines(log.head, ed25519, ed25519),
        with_lines(log.head, parse_note(other_log.head).signatures[0]),
        with_lines(log.head, witness.sign(parse_note(log.head).text, TIMESTAMP)),
        with_lines(log.head, NoteSignature(ed25519.name, ed25519.key_id, ed25519.signature[:-1])),
        with_lines(log.head, NoteSignature(mldsa44.name, mldsa44.key_id, mldsa44.signature[:-1])),
        with_lines(log.head, NoteSignature(ed25519.name, mldsa44.key_id, ed25519.signature)),
        with_lines(log.head, renamed),
        format_note(Note(text, (ed25519,))),
        format_note(Note(extended, (log.signer.sign(extended),))),
        format_note(Note(foreign, (log.signer.sign(foreign),))),
        format_note(Note(b"no checkpoint\n", (log.signer.sign(b"no checkpoint\n"),))),
        b"no note",
        b"",
    ):
        assert lone_signer(data, log.vkeys) is None


# Each bit of each byte is 27,000 heads; one case for each bit keeps a single test short.
@pytest.mark.parametrize("bit", range(8))
def test_no_byte_of_a_head_can_be_changed_unseen(log, bit: int):
    unseen = []
    for at in range(len(log.head)):
        changed = bytearray(log.head)
        changed[at] ^= 1 << bit
        try:
            verify_log_head(bytes(changed), log.vkeys)
        except AffidavitError:
            continue
        unseen.append(at)
    assert unseen == []


def test_no_byte_of_a_head_can_be_removed_doubled_or_added_unseen(log):
    unseen = []
    for at in range(len(log.head)):
        for changed in (
            log.head[:at] + log.head[at + 1 :],
            log.head[: at + 1] + log.head[at:],
            log.head[:at] + b"\n" + log.head[at:],
            log.head[:at] + b"A" + log.head[at:],
            log.head[:at],
        ):
            # Doubling a byte that equals its neighbour and removing it again are the same head: compare, then judge.
            if changed == log.head:
                continue
            try:
                verify_log_head(changed, log.vkeys)
            except AffidavitError:
                continue
            unseen.append(at)
    assert unseen == []
