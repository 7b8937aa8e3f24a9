"""Each pair of parse and format: what is written is read back, and what is read has no second spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from affidavit.errors import FormatError
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint, parse_add_checkpoint
from affidavit.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import EMPTY_ROOT, TREE_SIZE_MAX
from affidavit.tlog.note import (
    PUBLIC_KEY_SIZES,
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    decode_base64,
    encode_base64,
    format_note,
    format_signature_lines,
    format_vkey,
    parse_note,
    parse_signature_lines,
    parse_vkey,
    verifier_key,
)
from affidavit.tlog.policy import Policy, PolicyGroup, PolicyLog, PolicyWitness, format_policy, parse_policy
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof
from affidavit.tlog.tile import Tile, format_tile_path, parse_tile_path

lines = st.text(st.characters(codec="utf-8", min_codepoint=0x20), min_size=1, max_size=40)
# No category of spaces (Z*), no C1 control that is a space, no plus; and no DEL, which a note may hold but no policy.
names = st.text(
    st.characters(codec="utf-8", min_codepoint=0x21, exclude_categories=["Z"], exclude_characters="+\x7f\x85"),
    min_size=1,
    max_size=20,
)
hashes = st.binary(min_size=32, max_size=32)
tiles = st.builds(Tile, st.integers(-1, 63), st.integers(0, TREE_SIZE_MAX), st.integers(1, 256))
signatures = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
notes = st.builds(
    lambda text, signed: Note("".join(f"{line}\n" for line in text).encode(), tuple(signed)),
    st.lists(st.one_of(lines, st.just("")), min_size=1, max_size=5),
    st.lists(signatures, min_size=1, max_size=5),
)
checkpoints = st.one_of(
    st.builds(Checkpoint, lines, st.integers(1, TREE_SIZE_MAX), hashes, st.lists(lines, max_size=3).map(tuple)),
    st.builds(Checkpoint, lines, st.just(0), st.just(EMPTY_ROOT)),
)
proofs = st.builds(
    lambda index, path, checkpoint, signed, extra: TlogProof(
        index, tuple(path), format_note(Note(format_checkpoint(checkpoint), tuple(signed))), extra
    ),
    st.integers(0, TREE_SIZE_MAX),
    st.lists(hashes, max_size=63),
    checkpoints,
    st.lists(signatures, min_size=1, max_size=3),
    st.one_of(st.none(), st.binary(min_size=1, max_size=100)),
)
requests = st.builds(
    lambda old_size, path, checkpoint, signed: AddCheckpoint(
        old_size, tuple(path), format_note(Note(format_checkpoint(checkpoint), tuple(signed)))
    ),
    st.integers(0, TREE_SIZE_MAX),
    st.lists(hashes, max_size=63),
    checkpoints,
    st.lists(signatures, min_size=1, max_size=3),
)


@st.composite
def verifier_keys(draw: st.DrawFn, types: tuple[SignatureType, ...] = tuple(SignatureType)) -> VerifierKey:
    signature_type = draw(st.sampled_from(types))
    # The first bytes tell keys apart; drawing all 1,312 would only be slow.
    start = draw(st.binary(min_size=8, max_size=8))
    public_key = start + bytes(PUBLIC_KEY_SIZES[signature_type] - len(start))
    return verifier_key(name=draw(names), signature_type=signature_type, public_key=public_key)


LOG_KEYS = verifier_keys((SignatureType.ED25519, SignatureType.MLDSA44_COSIGNATURE))
WITNESS_KEYS = verifier_keys((SignatureType.ED25519_COSIGNATURE, SignatureType.MLDSA44_COSIGNATURE))
words = st.binary(min_size=1, max_size=8).map(
    lambda octets: bytes(octet for octet in octets if octet > 0x20 and octet != 0x7F).decode("utf-8", "surrogateescape")
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    def distinct(key: Any) -> Any:
        return key.public_key

    logs = [PolicyLog(key, draw(st.none())) for key in draw(st.lists(LOG_KEYS, max_size=3, unique_by=distinct))]
    keys = draw(st.lists(WITNESS_KEYS, max_size=5, unique_by=distinct))
    names_drawn = draw(
        st.lists(words.filter(lambda word: word not in ("", "none")), min_size=len(keys) + 3, max_size=12, unique=True)
    )
    witnesses = [
        PolicyWitness(name, key, draw(st.one_of(st.none(), st.just("https://w.example/"))))
        for name, key in zip(names_drawn, keys, strict=False)
    ]
    free = [witness.name for witness in witnesses]
    groups = []
    for name in names_drawn[len(keys) : len(keys) + 3]:
        if not free:
            break
        count = draw(st.integers(1, len(free)))
        members, free = tuple(free[:count]), [*free[count:], name]
        groups.append(PolicyGroup(name, draw(st.integers(1, count)), members))
    quorum = draw(st.sampled_from(["none", *names_drawn[: len(keys)], *(group.name for group in groups)]))
    return Policy(tuple(logs), tuple(witnesses), tuple(groups), quorum)


CODECS = {
    "note": (notes, format_note, parse_note),
    "checkpoint": (checkpoints, format_checkpoint, parse_checkpoint),
    "vkey": (verifier_keys(), format_vkey, parse_vkey),
    "tile path": (tiles, format_tile_path, parse_tile_path),
    "proof": (proofs, format_proof, parse_proof),
    "request to a witness": (requests, format_add_checkpoint, parse_add_checkpoint),
    "signature lines": (
        st.lists(signatures, min_size=1, max_size=5).map(tuple),
        format_signature_lines,
        parse_signature_lines,
    ),
    "policy": (policies(), format_policy, parse_policy),
    "base64": (st.binary(max_size=80), encode_base64, decode_base64),
}


@pytest.mark.parametrize("name", CODECS)
def test_what_is_written_is_read_back(name: str):
    strategy, write, read = CODECS[name]

    @given(strategy)
    def check(value: Any) -> None:
        assert read(write(value)) == value

    check()


def spellings(data: st.DataObject, written: Any) -> Any:
    """Change one place of what was written: replace, remove, double or add there."""
    text = isinstance(written, str)
    raw = written.encode() if text else written
    at = data.draw(st.integers(0, len(raw)))
    added = data.draw(st.one_of(st.sampled_from([b"\n", b" ", b"=", b"0", b"A", b"+", b"\r"]), st.binary(max_size=2)))
    changed = raw[:at] + added + raw[at + data.draw(st.integers(0, 2)) :]
    return changed.decode("utf-8", "replace") if text else changed


@pytest.mark.parametrize("name", [name for name in CODECS if name != "policy"])
def test_what_is_read_has_no_second_spelling(name: str):
    strategy, write, read = CODECS[name]

    @given(strategy, st.data())
    def check(value: Any, data: st.DataObject) -> None:
        changed = spellings(data, write(value))
        try:
            found = read(changed)
        except FormatError:
            return
        assert write(found) == changed

    check()


@given(policies(), st.data())
def test_a_policy_that_is_read_means_what_it_is_written_as(value: Policy, data: st.DataObject):
    try:
        found = parse_policy(spellings(data, format_policy(value)))
    except FormatError:
        return
    assert parse_policy(format_policy(found)) == found


PARSERS: list[Callable[[bytes], object]] = [
    parse_note,
    parse_checkpoint,
    parse_proof,
    parse_policy,
    parse_add_checkpoint,
    parse_signature_lines,
    lambda data: parse_bundle(data, 3),
    lambda data: parse_vkey(data.decode("latin-1")),
    lambda data: parse_tile_path(data.decode("latin-1")),
    lambda data: decode_base64(data.decode("latin-1")),
]


@given(st.binary(max_size=300))
@example(b"\n\n")
@example(b"\xff")
def test_any_bytes_are_read_or_refused(data: bytes):
    for parse in PARSERS:
        try:
            parse(data)
        except FormatError:
            continue


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_are_read_back(entries: list[bytes]):
    data = format_bundle(entries)
    assert parse_bundle(data, len(entries)) == entries
    if len(entries) < 256:
        with pytest.raises(FormatError):
            parse_bundle(data, len(entries) + 1)
    if len(entries) > 1:
        with pytest.raises(FormatError):
            parse_bundle(data, len(entries) - 1)


@given(st.binary(max_size=600), st.integers(1, 256))
def test_a_bundle_that_is_read_has_no_second_spelling(data: bytes, width: int):
    try:
        entries = parse_bundle(data, width)
    except FormatError:
        assume(condition=True)
        return
    assert len(entries) == width
    assert format_bundle(entries) == data
