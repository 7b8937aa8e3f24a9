"""Promises: one signature for many, a path for each, and nothing in one that could be changed."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import AffidavitError, FormatError
from affidavit.text import parse_b64u
from affidavit.tlog import promise as module
from affidavit.tlog.note import Ed25519Signer, Ed25519Verifier, Note, NoteSignature, format_note, open_note
from affidavit.tlog.promise import (
    NAME_SIZE_MAX,
    SEAL_BY_S_MAX,
    TOKEN_LENGTH_MAX,
    Promise,
    PromisedRecord,
    body_mac,
    format_promise,
    is_about,
    make_promises,
    parse_promise,
    promise_text,
    verify_promise,
)

SIGNER = Ed25519Signer.from_seed(name="a.affidavit.internal/system/promise", seed=b"s" * 32)
STRANGER = Ed25519Signer.from_seed(name="a.affidavit.internal/system/promise", seed=b"t" * 32)
BODY = b'{"model":"m"}'


def record(number: int, *, origin: str = "a.affidavit.internal/default") -> PromisedRecord:
    blind = sha256(b"blind%d" % number).digest()
    return PromisedRecord(
        origin=origin,
        id=number.to_bytes(16, "big"),
        digest=sha256(b"frames%d" % number).digest(),
        body_mac=body_mac(blind=blind, body_sha256=sha256(BODY).digest()),
        blind=blind,
    )


def promises(count: int) -> list[Promise]:
    records = [record(number) for number in range(count)]
    return make_promises(records, shard="worker0.AAAAAAAA", seal_by_s=1_800_000_000, signer=SIGNER)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 65])
def test_every_promise_of_a_group_holds_and_comes_back_the_same(count: int) -> None:
    made = promises(count)
    assert len({promise.signature for promise in made}) == 1
    for number, promise in enumerate(made):
        assert promise.record == record(number)
        read = parse_promise(format_promise(promise))
        assert read == promise
        verify_promise(read, SIGNER.key)
        assert is_about(read, BODY)
        assert not is_about(read, BODY + b" ")


def test_the_signature_is_one_of_a_signed_note() -> None:
    promise = promises(5)[3]
    line = NoteSignature(SIGNER.key.name, promise.key_id, promise.signature)
    note = format_note(Note(promise_text(promise), (line,)))
    opened = open_note(note, [Ed25519Verifier(SIGNER.key)])
    assert opened.text.split(b"\n")[:4] == [b"affidavit/promise/v1", b"worker0.AAAAAAAA", b"1800000000", b"5"]


def test_no_byte_of_a_promise_can_be_changed() -> None:
    """But those of the blind, which is no part of what is signed: with another one the body does not fit any more."""
    promise = promises(6)[4]
    data = parse_b64u(format_promise(promise))
    blind_at = data.index(promise.record.blind)
    for at in range(len(data)):
        changed = data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]
        token = msgspec.to_builtins(changed).replace("+", "-").replace("/", "_").rstrip("=")
        try:
            read = parse_promise(token)
            verify_promise(read, SIGNER.key)
        except AffidavitError:
            continue
        assert blind_at <= at < blind_at + 32
        assert not is_about(read, BODY)


def test_another_key_another_record_or_time_is_refused() -> None:
    promise = promises(3)[1]
    with pytest.raises(AffidavitError, match="another key"):
        verify_promise(promise, STRANGER.key)
    forged = msgspec.structs.replace(promise, key_id=STRANGER.key.key_id)
    with pytest.raises(AffidavitError, match="signature"):
        verify_promise(forged, STRANGER.key)
    for change in (
        {"record": record(2)},
        {"record": record(1, origin="a.affidavit.internal/other")},
        {"shard": "worker1.AAAAAAAA"},
        {"seal_by_s": 1_800_000_001},
        {"index": 0},
        {"index": 3},
        {"size": 4},
        {"size": 0},
        {"path": promise.path[:-1]},
        {"path": (*promise.path, bytes(32))},
    ):
        with pytest.raises(AffidavitError):
            verify_promise(msgspec.structs.replace(promise, **change), SIGNER.key)


def test_bounds_are_kept() -> None:
    promise = promises(1)[0]
    token = format_promise(promise)
    for length in range(0, len(token), 7):
        with pytest.raises(FormatError):
            parse_promise(token[:length])
    with pytest.raises(FormatError, match="version"):
        parse_promise("Ag" + token[2:])
    with pytest.raises(FormatError, match=str(TOKEN_LENGTH_MAX)):
        parse_promise("A" * (TOKEN_LENGTH_MAX + 1))
    late = msgspec.structs.replace(promise, seal_by_s=SEAL_BY_S_MAX)
    assert parse_promise(format_promise(late)) == late
    with pytest.raises(FormatError, match="time"):
        parse_promise(format_promise(msgspec.structs.replace(promise, seal_by_s=SEAL_BY_S_MAX + 1)))
    longest = "o" * NAME_SIZE_MAX
    for name in ("o", longest):
        assert parse_promise(format_promise(msgspec.structs.replace(promise, shard=name))).shard == name
    for name in ("", longest + "o"):
        with pytest.raises(FormatError):
            format_promise(msgspec.structs.replace(promise, shard=name))
    deepest = msgspec.structs.replace(promise, path=(bytes(32),) * 32)
    assert parse_promise(format_promise(deepest)) == deepest
    with pytest.raises(FormatError, match="path"):
        parse_promise(format_promise(msgspec.structs.replace(promise, path=(bytes(32),) * 33)))
    with pytest.raises(FormatError, match="origin"):
        parse_promise(format_promise(msgspec.structs.replace(promise, shard="a\x1b")))


@given(st.text(alphabet="ABCQRSTabz019-_", max_size=600))
def test_whatever_is_read_is_a_promise_or_refused(token: str) -> None:
    try:
        promise = parse_promise(token)
    except FormatError:
        return
    assert format_promise(promise) == token


def test_a_group_of_many_has_paths_of_no_more_than_its_height() -> None:
    made = promises(65)
    assert max(len(promise.path) for promise in made) == 7
    assert all(a.record.id < b.record.id for a, b in pairwise(made))


def test_a_promise_is_bounded_before_it_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    token = format_promise(promises(1)[0])
    monkeypatch.setattr(module, "TOKEN_LENGTH_MAX", len(token))
    assert format_promise(parse_promise(token)) == token
    monkeypatch.setattr(module, "TOKEN_LENGTH_MAX", len(token) - 1)
    with pytest.raises(FormatError, match="the limit is"):
        parse_promise(token)
