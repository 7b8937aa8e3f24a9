"""Keys of a log over time: a hand-over holds with all four signatures, in its place, for its log."""

from __future__ import annotations

import functools

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

import affidavit_verify
from affidavit.errors import AffidavitError, FormatError
from affidavit.text import b64u
from affidavit.tlog import rotation as module
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys, sign_checkpoint
from affidavit.tlog.merkle import TREE_SIZE_MAX
from affidavit.tlog.note import Ed25519Signer, SignatureError, format_vkey
from affidavit.tlog.rotation import (
    KeyHistory,
    Rotation,
    format_keys_file,
    key_history,
    parse_keys_file,
    rotation_of,
    rotation_text,
    sign_rotation,
    verify_rotation,
)
from tests.unit.tlog.conftest import ORIGIN

Pair = tuple[Ed25519Signer, MlDsa44Cosigner]


def pair(letter: bytes, name: str = ORIGIN) -> Pair:
    seed = letter * 32
    return Ed25519Signer.from_seed(name=name, seed=seed), MlDsa44Cosigner.from_seed(name=name, seed=seed)


def vkeys_of(keys: Pair) -> LogVkeys:
    return log_vkeys(key.key for key in keys)


A, B, C = pair(b"a"), pair(b"b"), pair(b"c")


def texts(keys: Pair) -> list[str]:
    return [format_vkey(key.key) for key in keys]


def test_the_text_and_the_signatures_are_those_of_the_format() -> None:
    """docs/formats.md, section 21."""
    vkeys = "\n".join((*texts(A), *texts(B)))
    text = f"affidavit/rotate/v1\n{ORIGIN}\n41\n{vkeys}\n".encode()
    assert rotation_text(after=41, old=vkeys_of(A), new=vkeys_of(B)) == text
    rotation = sign_rotation(after=41, old=A, new=B)
    assert (rotation.after, rotation.vkeys) == (41, vkeys_of(B))
    for keys, (first, second) in ((A, rotation.signatures[:2]), (B, rotation.signatures[2:])):
        Ed25519PublicKey.from_public_bytes(keys[0].key.public_key).verify(first, text)
        MLDSA44PublicKey.from_public_bytes(keys[1].key.public_key).verify(second, text)


@pytest.mark.parametrize("said", [A, C])
def test_new_keys_vouch_for_the_old_ones_and_for_no_others(said: Pair) -> None:
    """Else whoever saw a hand-over could put a past of their own before it, and sign that themselves."""
    real = sign_rotation(after=3, old=A, new=B)
    text = rotation_text(after=3, old=vkeys_of(said), new=vkeys_of(B))
    forged = tuple(key.private_key.sign(text) for key in C)
    rotation = Rotation(after=3, vkeys=vkeys_of(B), signatures=(*forged, *real.signatures[2:]))
    with pytest.raises(SignatureError):
        verify_rotation(rotation, old=vkeys_of(C))
    theirs = affidavit_verify.KeyHistory([(-1, affidavit_verify.parse_vkeys(tuple(texts(C))))])
    stated = {"after": 3, "origin": ORIGIN, "vkeys": texts(B), "signatures": [*map(b64u, rotation.signatures)]}
    with pytest.raises(affidavit_verify.Damage):
        theirs.extended(stated)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", ["changed", "cut", "empty", "another's"])
def test_each_of_the_four_signatures_is_demanded(place: int, wrong: str) -> None:
    rotation = sign_rotation(after=3, old=A, new=B)
    verify_rotation(rotation, old=vkeys_of(A))
    signature = rotation.signatures[place]
    instead = {
        "changed": bytes((signature[0] ^ 1,)) + signature[1:],
        "cut": signature[:-1],
        "empty": b"",
        "another's": sign_rotation(after=3, old=C, new=C).signatures[place],
    }[wrong]
    signatures = (*rotation.signatures[:place], instead, *rotation.signatures[place + 1 :])
    name = ("old Ed25519", "old ML-DSA-44", "new Ed25519", "new ML-DSA-44")[place]
    with pytest.raises(SignatureError, match=f"not signed by the {name} key"):
        verify_rotation(msgspec.structs.replace(rotation, signatures=signatures), old=vkeys_of(A))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_no_signature_is_left_out_or_added(count: int) -> None:
    """`rotation_of` refuses it before; whoever makes one by hand gets no further."""
    rotation = sign_rotation(after=3, old=A, new=B)
    signatures = (*rotation.signatures, rotation.signatures[0])[:count]
    with pytest.raises(ValueError, match="zip"):
        verify_rotation(msgspec.structs.replace(rotation, signatures=signatures), old=vkeys_of(A))


def test_a_hand_over_is_to_other_keys_of_the_same_log() -> None:
    rotation = sign_rotation(after=3, old=A, new=B)
    for change in ({"after": 4}, {"vkeys": vkeys_of(C)}):
        with pytest.raises(SignatureError, match="not signed by the old Ed25519"):
            verify_rotation(msgspec.structs.replace(rotation, **change), old=vkeys_of(A))
    with pytest.raises(SignatureError, match="not signed by the old Ed25519"):
        verify_rotation(rotation, old=vkeys_of(C))
    with pytest.raises(SignatureError, match="or the old ones"):
        verify_rotation(sign_rotation(after=3, old=A, new=A), old=vkeys_of(A))
    elsewhere = pair(b"b", "00.affidavit.internal/other")
    with pytest.raises(SignatureError, match="another log's"):
        verify_rotation(sign_rotation(after=3, old=A, new=elsewhere), old=vkeys_of(A))


def test_the_size_of_a_head_tells_its_keys() -> None:
    first = key_history(vkeys_of(A))
    assert (first.origin, first.first, first.newest) == (ORIGIN, vkeys_of(A), vkeys_of(A))
    keys = first.extended(sign_rotation(after=3, old=A, new=B)).extended(sign_rotation(after=4, old=B, new=C))
    assert [keys.at(size) for size in (0, 3, 4, 5, TREE_SIZE_MAX)] == [vkeys_of(each) for each in (A, A, B, C, C)]
    assert (keys.first, keys.newest, len(keys.generations)) == (vkeys_of(A), vkeys_of(C), 3)
    assert first.at(5) == vkeys_of(A), "the shorter history is not changed"


def test_a_hand_over_is_by_the_newest_keys_and_after_the_one_before() -> None:
    keys = key_history(vkeys_of(A)).extended(sign_rotation(after=0, old=A, new=B))
    with pytest.raises(SignatureError):
        keys.extended(sign_rotation(after=5, old=A, new=C))
    with pytest.raises(FormatError, match="after the one before"):
        keys.extended(sign_rotation(after=0, old=B, new=C))
    keys = keys.extended(sign_rotation(after=5, old=B, new=C))
    assert keys.at(6) == vkeys_of(C)
    for after in (0, 4, 5):
        with pytest.raises(FormatError, match="after the one before"):
            keys.extended(sign_rotation(after=after, old=C, new=A))
    assert keys.extended(sign_rotation(after=6, old=C, new=A)).at(7) == vkeys_of(A)


def test_generations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GENERATIONS_MAX", 2)
    keys = key_history(vkeys_of(A)).extended(sign_rotation(after=0, old=A, new=B))
    with pytest.raises(FormatError, match="more than 2 pairs"):
        keys.extended(sign_rotation(after=1, old=B, new=C))


def test_a_hand_over_is_made_of_its_members() -> None:
    made = sign_rotation(after=7, old=A, new=B)
    for after in (0, 7, TREE_SIZE_MAX):
        assert rotation_of(after=after, vkeys=texts(B), signatures=made.signatures) == Rotation(
            after=after, vkeys=vkeys_of(B), signatures=made.signatures
        )
    for after, signatures in (
        (-1, made.signatures),
        (TREE_SIZE_MAX + 1, made.signatures),
        (7, made.signatures[:3]),
        (7, (*made.signatures, b"")),
        (7, ()),
    ):
        with pytest.raises(FormatError, match="four signatures and the size of a tree"):
            rotation_of(after=after, vkeys=texts(B), signatures=signatures)
    with pytest.raises(FormatError, match="a log has two keys"):
        rotation_of(after=7, vkeys=texts(B)[::-1], signatures=made.signatures)


# --- a file of all generations


@functools.cache
def three() -> KeyHistory:
    """Three pairs of keys, each handed over to by the one before; made once, since signing has chance in it."""
    keys = key_history(vkeys_of(A)).extended(sign_rotation(after=3, old=A, new=B))
    return keys.extended(sign_rotation(after=9, old=B, new=C))


def test_a_file_of_keys_is_that_of_the_format() -> None:
    """docs/formats.md, section 21."""
    history = key_history(vkeys_of(A)).extended(rotation := sign_rotation(after=3, old=A, new=B))
    (first, second), (third, fourth) = texts(A), texts(B)
    signatures = ",".join(f'"{b64u(signature)}"' for signature in rotation.signatures)
    expected = (
        f'[{{"from":0,"vkeys":["{first}","{second}"]}},'
        f'{{"from":4,"signatures":[{signatures}],"vkeys":["{third}","{fourth}"]}}]\n'
    )
    assert format_keys_file(history) == expected.encode()
    assert parse_keys_file(expected.encode()) == history
    assert parse_keys_file(format_keys_file(three())) == three()
    assert parse_keys_file(format_keys_file(key_history(vkeys_of(A)))) == key_history(vkeys_of(A))


def test_a_file_of_keys_in_another_form_is_refused() -> None:
    data = format_keys_file(three())
    for wrong in (
        b"",
        b"[]\n",
        b"{}\n",
        b"\xff",
        b"[" * 5_000,
        data[:-1],
        data + b"\n",
        b" " + data,
        data.replace(b'"from":0', b'"from":1', 1),
        data.replace(b'"from":0', b'"from":-1', 1),
        data.replace(b'"from":4', b'"from":5', 1),
        data.replace(b'"from":10', b'"from":4', 1),
        data.replace(b'"from":4,', b'"from":4,"more":1,', 1),
        data.replace(b'"signatures":[', b'"signatures":["AA",', 1),
    ):
        with pytest.raises(AffidavitError):
            parse_keys_file(wrong)


def test_a_file_of_keys_is_bounded_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = format_keys_file(three())
    monkeypatch.setattr(module, "KEYS_FILE_BYTES_MAX", len(data))
    assert parse_keys_file(data) == three()
    monkeypatch.setattr(module, "KEYS_FILE_BYTES_MAX", len(data) - 1)
    with pytest.raises(FormatError, match="the limit is"):
        parse_keys_file(data)


def test_a_hand_over_without_its_signatures_is_not_written_and_not_read() -> None:
    unknown = KeyHistory(three().generations)
    with pytest.raises(FormatError, match="hand-overs of these keys are not known"):
        format_keys_file(unknown)
    objects = msgspec.json.decode(format_keys_file(three()))
    del objects[1]["signatures"]
    with pytest.raises(FormatError, match="four signatures"):
        parse_keys_file(msgspec.json.encode(objects))


def test_keys_that_do_not_lead_to_what_is_known_say_nothing() -> None:
    for known in (A, B, C):
        assert three().continues(vkeys_of(known)) == three()
    with pytest.raises(SignatureError, match="do not follow"):
        three().continues(vkeys_of(pair(b"d")))


def test_the_size_that_a_head_states_tells_its_keys_and_whether_they_are_believed() -> None:
    history = three().with_revoked(((2, 6),))
    assert history.hand_overs == three().hand_overs
    for size, keys, generation, revoked in (
        (3, A, 1, False),
        (4, B, 2, False),
        (6, B, 2, False),
        (7, B, 2, True),
        (9, B, 2, True),
        (10, C, 3, False),
    ):
        signer, cosigner = keys
        head = sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), signer=signer, cosigner=cosigner, timestamp=0)
        assert history.of_head(head) == vkeys_of(keys) == history.at(size)
        assert (history.generation_at(size), history.is_revoked(size)) == (generation, revoked)
    assert history.extended(sign_rotation(after=20, old=C, new=A)).revoked == ((2, 6),)
    with pytest.raises(FormatError):
        history.of_head(b"no note")
