"""The two signature schemes: against heads made in Go, and against `cryptography`, valid and changed."""

import json
import random
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import affidavit_verify as verifier


def raw(private: Ed25519PrivateKey | MLDSA44PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def test_heads_made_by_another_implementation_are_accepted(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "vectors/signed_checkpoints.json").read_text())
    assert [v["size"] for v in vectors] == [0, 1, 7, 300]
    for vector in vectors:
        keys = verifier.parse_vkeys((vector["log_ed25519_vkey"], vector["log_mldsa44_vkey"]))
        head = verifier.parse_head(vector["checkpoint"].encode())
        assert (head.size, head.root.hex()) == (vector["size"], vector["root_hex"])
        assert head.objection(keys) is None
        signed = bytes.fromhex(vector["log_cosigned_message_hex"])
        assert keys.mldsa44.verify(signed, head.signatures[1][1][12:])
        tree = verifier.Tree([vector["size"]])
        leaves = [b'{"n":%d}' % i for i in range(vector["size"])]
        hashes = [verifier.hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
        for start in range(0, len(hashes), 256):
            tree.add_tile(b"".join(hashes[start : start + 256]))
        assert tree.roots[vector["size"]] == head.root


def test_the_witness_of_the_vectors_signs_with_the_same_scheme(shared_data: Path) -> None:
    for vector in json.loads((shared_data / "vectors/signed_checkpoints.json").read_text()):
        _, key_id, public = verifier.parse_vkey(vector["witness_mldsa44_vkey"], 0x06, 1312)
        signatures = verifier.parse_head(vector["checkpoint"].encode()).signatures
        (signature,) = [s for _, s in signatures if s[:4] == key_id]
        message = bytes.fromhex(vector["witness_cosigned_message_hex"])
        assert verifier.MlDsa44Key(public).verify(message, signature[12:])
        assert not verifier.MlDsa44Key(public).verify(message + b"\0", signature[12:])


@pytest.mark.parametrize("position", range(4))
def test_swapped_or_changed_signature_lines_are_refused(shared_data: Path, position: int) -> None:
    vector = json.loads((shared_data / "vectors/signed_checkpoints.json").read_text())[2]
    keys = verifier.parse_vkeys((vector["log_ed25519_vkey"], vector["log_mldsa44_vkey"]))
    head = verifier.parse_head(vector["checkpoint"].encode())
    one, two, *others = head.signatures
    flipped = (one[0], one[1][:-1] + bytes([one[1][-1] ^ 1]))
    stamped = (two[0], two[1][:11] + bytes([two[1][11] ^ 1]) + two[1][12:])
    changed = [[two, one], [flipped, two], [one, stamped], [one, *others]][position]
    assert head._replace(signatures=changed).objection(keys) is not None


def test_ed25519_agrees_with_cryptography_on_valid_and_changed_signatures() -> None:
    draw = random.Random(1)
    for _ in range(15):
        private = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
        key, message = verifier.Ed25519Key(raw(private)), draw.randbytes(draw.randrange(200))
        signature = private.sign(message)
        assert key.verify(message, signature)
        for _ in range(8):
            changed = bytearray(signature)
            changed[draw.randrange(64)] ^= 1 << draw.randrange(8)
            assert not key.verify(message, bytes(changed))
        assert not key.verify(message + b"x", signature)
        assert not key.verify(message, signature[:-1])


def test_ed25519_refuses_a_second_encoding_of_a_valid_signature() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signature = private.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + verifier.ORDER
    assert not verifier.Ed25519Key(raw(private)).verify(b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "encoding",
    [
        (2**255 - 19 + 3).to_bytes(32, "little"),  # y not below p
        ((1 << 255) | 1).to_bytes(32, "little"),  # x = 0 with its sign set
        (2).to_bytes(32, "little"),  # y of no point
        bytes(31),
    ],
)
def test_ed25519_refuses_keys_that_are_no_canonical_points(encoding: bytes) -> None:
    with pytest.raises(verifier.Damage):
        verifier.Ed25519Key(encoding)


def test_ed25519_agrees_with_cryptography_on_which_keys_are_points() -> None:
    draw = random.Random(2)
    for _ in range(40):
        public, signature = draw.randbytes(32), draw.randbytes(32) + bytes(32)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, b"")
            theirs = True
        except InvalidSignature:
            theirs = False
        try:
            ours = verifier.Ed25519Key(public).verify(b"", signature)
        except verifier.Damage:
            ours = False
        assert ours == theirs


def test_ml_dsa_44_agrees_with_cryptography_on_valid_and_changed_signatures() -> None:
    draw = random.Random(3)
    for _ in range(4):
        private = MLDSA44PrivateKey.generate()
        key, message = verifier.MlDsa44Key(raw(private)), draw.randbytes(draw.randrange(200))
        for _ in range(8):
            assert key.verify(message, private.sign(message))
        signature = private.sign(message)
        # Each part of a signature: commitment, response, hint positions, hint counts.
        for low, high in ((0, 32), (32, 2336), (2336, 2416), (2416, 2420)):
            for _ in range(6):
                changed = bytearray(signature)
                changed[draw.randrange(low, high)] ^= 1 << draw.randrange(8)
                with pytest.raises(InvalidSignature):
                    private.public_key().verify(bytes(changed), message)
                assert not key.verify(message, bytes(changed))
        assert not key.verify(message + b"x", signature)
        assert not key.verify(message, signature + b"\0")


def test_ml_dsa_44_hints_have_one_encoding() -> None:
    hint = bytes([3, 7, 9]) + bytes(77) + bytes([2, 2, 3, 3])
    assert verifier.unpack_hint(hint) == [[3, 7], [], [9], []]
    assert verifier.unpack_hint(bytes([7, 3, 9]) + hint[3:]) is None  # not rising
    assert verifier.unpack_hint(bytes([3, 3, 9]) + hint[3:]) is None  # twice
    assert verifier.unpack_hint(hint[:79] + b"\1" + hint[80:]) is None  # something behind the last
    assert verifier.unpack_hint(hint[:80] + bytes([2, 1, 3, 3])) is None  # counts that fall
    assert verifier.unpack_hint(hint[:80] + bytes([2, 2, 3, 81])) is None  # more than 80


def test_ml_dsa_44_refuses_a_response_that_is_too_large() -> None:
    packed = bytes(576)  # every coefficient is gamma1 - 0, the largest
    assert verifier.unpack_response(packed) is None
    just = (verifier.GAMMA1 - (verifier.GAMMA1 - verifier.BETA - 1)) * (1 + (1 << 18) + (1 << 36) + (1 << 54))
    assert verifier.unpack_response(just.to_bytes(9, "little") * 64) == [verifier.GAMMA1 - verifier.BETA - 1] * 256


def test_a_vkey_must_carry_the_id_of_its_own_name_and_key(shared_data: Path) -> None:
    vector = json.loads((shared_data / "vectors/signed_checkpoints.json").read_text())[1]
    name, key_id, key = vector["log_ed25519_vkey"].split("+", 2)
    other = "0" * 8 if key_id != "0" * 8 else "1" * 8
    for wrong in (
        f"{name}+{other}+{key}",
        f"{name}x+{key_id}+{key}",
        f"{name}+{key_id}+{key}=",
        f"{name}+{key_id}",
        "",
    ):
        with pytest.raises(verifier.Damage):
            verifier.parse_vkey(wrong, 0x01, 32)
    with pytest.raises(verifier.Damage):
        verifier.parse_vkeys((vector["log_ed25519_vkey"], vector["witness_mldsa44_vkey"]))
