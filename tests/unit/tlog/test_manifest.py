"""The key manifest: only what the root key signed, in its one form, and never less than was said before."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from affidavit.errors import AffidavitError, FormatError
from affidavit.tlog.cosignature import MlDsa44Cosigner
from affidavit.tlog.manifest import (
    Generation,
    LogEntry,
    Manifest,
    Revoked,
    open_manifest,
    parse_root_vkey,
    sign_manifest,
)
from affidavit.tlog.note import Ed25519Signer, Note, SignatureError, format_note, format_vkey
from tests.unit.tlog.test_rotation import A, B, C, Pair, pair, texts

ROOT = Ed25519Signer.from_seed(name="00.affidavit.internal/system/root", seed=b"r" * 32)
STRANGER = Ed25519Signer.from_seed(name="00.affidavit.internal/system/root", seed=b"t" * 32)
ORIGIN = A[0].key.name


def generation(from_size: int, keys: Pair) -> Generation:
    ed25519, mldsa44 = texts(keys)
    return Generation(from_size, (ed25519, mldsa44))


def entry(log: str = "default", **members: Any) -> LogEntry:
    defaults: dict[str, Any] = {"origin": ORIGIN, "generations": (generation(0, A), generation(8, B)), "revoked": ()}
    return LogEntry(**(defaults | {"log": log} | members))


def manifest(*logs: LogEntry, serial: int = 1) -> Manifest:
    return Manifest(v=1, serial=serial, logs=logs or (entry(),))


def test_the_note_is_that_of_the_format() -> None:
    """docs/formats.md, section 22."""
    made = manifest(entry(revoked=(Revoked(1, 5),)), serial=3)
    (first, second), (third, fourth) = texts(A), texts(B)
    text = (
        "affidavit/manifest/v1\n"
        f'{{"logs":[{{"generations":[{{"from":0,"vkeys":["{first}","{second}"]}},'
        f'{{"from":8,"vkeys":["{third}","{fourth}"]}}],"log":"default","origin":"{ORIGIN}",'
        '"revoked":[{"generation":1,"size":5}]}],"serial":3,"v":1}\n'
    ).encode()
    assert sign_manifest(made, root=ROOT) == format_note(Note(text, (ROOT.sign(text),)))
    assert open_manifest(sign_manifest(made, root=ROOT), root=ROOT.key) == made
    (log,) = made.logs
    history = log.history()
    assert [after for after, _ in history.generations] == [-1, 7]
    assert (history.origin, history.revoked, history.hand_overs) == (ORIGIN, ((1, 5),), ())
    assert [history.generation_at(size) for size in (0, 7, 8, 9)] == [1, 1, 2, 2]
    assert [history.is_revoked(size) for size in (0, 5, 6, 7, 8)] == [False, False, True, True, False]


def test_what_another_key_signed_is_no_manifest() -> None:
    data = sign_manifest(manifest(), root=ROOT)
    for root in (STRANGER.key, A[0].key):
        with pytest.raises(SignatureError):
            open_manifest(data, root=root)
    for at in range(0, len(data), 37):
        with pytest.raises(AffidavitError):
            open_manifest(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], root=ROOT.key)


def signed(text: bytes) -> bytes:
    return format_note(Note(text, (ROOT.sign(text),)))


def body_of(made: Manifest) -> bytes:
    return msgspec.json.Encoder(order="sorted").encode(made)


def test_what_the_root_key_signed_in_another_form_is_refused() -> None:
    title, body = b"affidavit/manifest/v1\n", body_of(manifest())
    assert open_manifest(signed(title + body + b"\n"), root=ROOT.key) == manifest()
    for text in (
        body + b"\n",
        title + body + b"\n\n",
        title + b" " + body + b"\n",
        title + body.replace(b'"v":1', b'"v":2') + b"\n",
        title + body.replace(b'"v":1', b'"v":1,"w":1') + b"\n",
        title + body.replace(b'"serial":1', b'"serial":0') + b"\n",
        title + body.replace(b'"from":8', b'"from":0') + b"\n",
        title + body.replace(b'"from":0', b'"from":9') + b"\n",
        title + body.replace(b'"from":0', b'"from":1') + b"\n",
        title + body.replace(b'"default"', b'"Default"') + b"\n",
        title + body_of(manifest(entry("b"), entry("a"))) + b"\n",
        title + body_of(manifest(entry("a"), entry("a"))) + b"\n",
        title + body_of(manifest(entry(generations=()))) + b"\n",
        title + b"\n",
    ):
        with pytest.raises(FormatError):
            open_manifest(signed(text), root=ROOT.key)
    with pytest.raises(FormatError, match="not sorted"):
        sign_manifest(manifest(entry("b"), entry("a")), root=ROOT)


def test_a_log_is_found_by_its_name_and_by_its_origin() -> None:
    elsewhere = entry("other", origin="00.affidavit.internal/other")
    made = manifest(entry(), elsewhere)
    assert (made.of("default"), made.of("other"), made.of("none")) == (entry(), elsewhere, None)
    assert (made.of_origin(ORIGIN), made.of_origin(elsewhere.origin), made.of_origin("x")) == (entry(), elsewhere, None)


def test_keys_of_another_log_are_no_history() -> None:
    with pytest.raises(FormatError, match="not under the origin"):
        entry(origin="00.affidavit.internal/other").history()
    stranger = pair(b"s", "00.affidavit.internal/other")
    with pytest.raises(FormatError, match="not under the origin"):
        entry(generations=(generation(0, A), generation(8, stranger))).history()


@pytest.mark.parametrize(
    ("later", "taken_back"),
    [
        ((entry("a"), entry("b")), None),
        ((entry("a", revoked=(Revoked(1, 5), Revoked(1, 3))), entry("b"), entry("c")), None),
        ((entry("a", generations=(generation(0, A), generation(8, B), generation(9, C))), entry("b")), None),
        ((entry("a"),), "b"),
        ((entry("b"),), "a"),
        ((entry("a", origin="o"), entry("b")), "a"),
        ((entry("a"), entry("b", generations=(generation(0, A),))), "b"),
        ((entry("a"), entry("b", generations=(generation(0, A), generation(9, B)))), "b"),
        ((entry("a"), entry("b", generations=(generation(0, C), generation(8, B)))), "b"),
    ],
)
def test_a_later_manifest_takes_nothing_back(later: tuple[LogEntry, ...], taken_back: str | None) -> None:
    assert manifest(*later).takes_back(manifest(entry("a"), entry("b"))) == taken_back


def test_a_revocation_is_never_taken_back() -> None:
    before = manifest(entry(revoked=(Revoked(1, 5),)))
    assert manifest(entry(revoked=(Revoked(1, 4),))).takes_back(before) == "default"
    assert manifest(entry(revoked=(Revoked(1, 4), Revoked(1, 5)))).takes_back(before) is None


def test_a_root_key_is_one_line_of_one_kind() -> None:
    line = format_vkey(ROOT.key)
    for data in (line, f"{line}\n"):
        assert parse_root_vkey(data.encode()) == ROOT.key
    other = MlDsa44Cosigner.from_seed(name=ROOT.key.name, seed=b"r" * 32)
    for data in (b"", b"\n", f"{line}\n\n".encode(), f"{line}\n{line}\n".encode(), b"\xff" + line.encode()):
        with pytest.raises(FormatError):
            parse_root_vkey(data)
    with pytest.raises(FormatError, match="type 0x01"):
        parse_root_vkey(format_vkey(other.key).encode())
