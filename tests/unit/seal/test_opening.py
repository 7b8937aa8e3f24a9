"""Opening: what comes out is what the leaf commits to, under the keys of its scope, or nothing comes out."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import (
    ERASED_ROW_PLAINTEXT,
    NONCE_BYTES,
    ROW_BYTES,
    Place,
    SheetRow,
    format_row,
    seal,
    wrap_key,
)
from affidavit.crypt.commitment import SEED_BYTES
from affidavit.crypt.keyring import Kind
from affidavit.errors import CorruptionError, FormatError, KeyMissingError, NotFoundError
from affidavit.ledger.layout import SHEET_MAGIC
from affidavit.ledger.leaf import Body, Header, Leaf
from affidavit.ledger.reader import head_size
from affidavit.seal import opening as module
from affidavit.seal.citation import Layout, leb128, whole
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.hand import OwnHand
from affidavit.seal.names import Names
from affidavit.seal.opening import OpenedBody, Opener
from affidavit.seal.preparer import Preparer, Result
from affidavit.seal.slots import (
    BODY_VERSION,
    HEADER_SLOTS,
    HEADER_VERSION,
    HeaderValues,
    header_values_json,
    pack_header,
)
from affidavit.text import b64u
from tests.support.installation import (
    ORIGIN_PREFIX,
    Installation,
    chat_request,
    chat_response,
    write_call,
)
from tests.support.story import QuickDisk

PROMPT = "a prompt that all share, " * 20
REQUESTS = [chat_request(PROMPT, f"question {number} " + "q" * 200) for number in range(4)]


class Bench:
    """Four calls of two people, sealed and stopped."""

    def __init__(self, root: Path) -> None:
        self.installation = Installation(root, disk=QuickDisk(), signer_disk=QuickDisk()).start()
        shard = self.installation.shard()
        for number, request in enumerate(REQUESTS):
            write_call(shard, request, chat_response(f"answer {number}"), user=("ann", "ben")[number % 2])
        shard.flush()
        shard.close()
        self.installation.drain()
        self.installation.stop()
        self.layout = self.installation.data.log("default")
        self.size = head_size(self.layout)
        self.opener = self.installation.opener()
        leaves = [self.opener.leaf(index, size=self.size) for index in range(self.size)]
        self.requests = [(index, leaf) for index, leaf in enumerate(leaves) if leaf.type == "llm.request"]

    def fresh(self) -> Opener:
        return self.installation.opener()

    def wire(self, number: int, opener: Opener | None = None) -> bytes:
        index, leaf = self.requests[number]
        return (opener or self.fresh()).wire(index, leaf, size=self.size)

    def open_all(self) -> None:
        opener = self.fresh()
        for index, leaf in self.requests:
            opener.header(index, leaf)
            opener.body(index, leaf)

    def rewrite_row(self, index: int, plaintext: bytes, *, leaf: int | None = None) -> None:
        """Put a row in the key sheet as somebody would who has the sheet key."""
        ring = self.installation.ring
        key = ring.find(Kind.SHEET, ring.scope(Kind.SHEET, "default", "0", "1"))
        place = Place(f"{ORIGIN_PREFIX}/default").row(index if leaf is None else leaf, version=1)
        sealed = seal(AESGCM(key.key), nonce=bytes(NONCE_BYTES), plaintext=plaintext, associated=place)
        path = self.layout.sheet(0, 1)
        data = bytearray(path.read_bytes())
        at = len(SHEET_MAGIC) + index * ROW_BYTES
        data[at : at + ROW_BYTES] = sealed
        path.write_bytes(data)

    def put_body(self, number: int, plaintext: bytes) -> tuple[int, Leaf]:
        """Another body for a request, by somebody who has its keys; the leaf commits to its ciphertext."""
        index, leaf = self.requests[number]
        assert leaf.body is not None
        wrapping = self.installation.ring.get(self.fresh()._row(index).key_id)
        associated = Place(f"{ORIGIN_PREFIX}/default").body(leaf.id)
        ciphertext = seal(AESGCM(b"k" * 32), nonce=bytes(NONCE_BYTES), plaintext=plaintext, associated=associated)
        path = self.layout.bodies(0)
        offset = path.stat().st_size
        with path.open("ab") as file:
            file.write(ciphertext)
        row = SheetRow(wrapping.id, wrap_key(wrapping.key, b"k" * 32), offset, len(ciphertext))
        self.rewrite_row(index, format_row(row))
        body = Body(leaf.body.root, b64u(sha256(ciphertext).digest()), leaf.body.bucket)
        return index, change(leaf, body=body)

    def put_header(self, number: int, values: HeaderValues, *, version: bytes = HEADER_VERSION) -> tuple[int, Leaf]:
        """The same for a header block of the same length."""
        index, leaf = self.requests[number]
        ring, path = self.installation.ring, self.layout.headers(0)
        key = ring.find(Kind.HEADER, ring.scope(Kind.HEADER, "default")).key
        old = self.fresh()._header_block(index)
        seed = bytes(SEED_BYTES)
        place = Place(f"{ORIGIN_PREFIX}/default").header(leaf.id, key_version=1)
        plaintext = version + seed + pack_header(values)
        block = seal(AESGCM(key), nonce=bytes(NONCE_BYTES), plaintext=plaintext, associated=place)
        assert len(block) == len(old)
        path.write_bytes(path.read_bytes().replace(old, block))
        root = b64u(HEADER_SLOTS.root(seed, header_values_json(values)))
        return index, change(leaf, header=Header(root, b64u(sha256(block).digest())))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_everything_opens(bench: Bench) -> None:
    assert [bench.wire(number) for number in range(4)] == REQUESTS
    opener = bench.fresh()
    assert [bench.wire(number, opener) for number in range(4)] == REQUESTS
    assert opener._bodies
    opener.forget()
    assert opener._bodies == {}


@pytest.mark.parametrize("index", [-1, 10**6])
def test_a_leaf_that_is_not_there(bench: Bench, index: int) -> None:
    with pytest.raises(NotFoundError):
        bench.opener.leaf(index, size=bench.size)


def test_what_a_leaf_without_blocks_gives(bench: Bench) -> None:
    leaf = bench.opener.leaf(0, size=bench.size)
    assert (leaf.type, leaf.header, leaf.body) == ("epoch.open", None, None)
    assert bench.opener.header(0, leaf) is None
    assert bench.opener.body(0, leaf) is None
    assert bench.opener.wire(0, leaf, size=bench.size) == b""


def change(leaf: Leaf, **members: object) -> Leaf:
    return msgspec.structs.replace(leaf, **members)


def test_a_leaf_that_commits_to_something_else(bench: Bench) -> None:
    index, leaf = bench.requests[0]
    assert leaf.header is not None
    assert leaf.body is not None
    other = bench.requests[1][1]
    wrong_digest = "A" * 43
    for changed in (
        change(leaf, header=Header(leaf.header.root, wrong_digest)),
        change(leaf, header=Header(wrong_digest, leaf.header.sha256)),
        change(leaf, short_id=other.short_id),
    ):
        with pytest.raises(CorruptionError):
            bench.fresh().header(index, changed)
    for changed in (
        change(leaf, body=Body(leaf.body.root, wrong_digest, leaf.body.bucket)),
        change(leaf, short_id=other.short_id),
    ):
        with pytest.raises(CorruptionError):
            bench.fresh().body(index, changed)


@pytest.mark.parametrize("kind", ["bodies", "headers"])
def test_every_changed_byte_of_a_block_is_noticed(bench: Bench, kind: str) -> None:
    path = getattr(bench.layout, kind)(0)
    whole = path.read_bytes()
    noticed = 0
    for place in range(8, len(whole), 41):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            bench.open_all()
        except CorruptionError:
            noticed += 1
    assert noticed > 5
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(CorruptionError):
        bench.open_all()


def test_an_erased_row_is_erased_for_ever(bench: Bench) -> None:
    index, _ = bench.requests[2]
    bench.rewrite_row(index, ERASED_ROW_PLAINTEXT)
    with pytest.raises(KeyMissingError, match="erased"):
        bench.wire(2)
    assert bench.wire(1) == REQUESTS[1]


def test_a_row_of_another_leaf_or_of_another_key_does_not_open(bench: Bench) -> None:
    (first, _), (second, _) = bench.requests[0], bench.requests[1]
    row = bench.fresh()._row(second)
    bench.rewrite_row(first, format_row(row))
    with pytest.raises(CorruptionError, match="not what the leaf commits to"):
        bench.wire(0)
    bench.rewrite_row(first, format_row(row), leaf=second)
    with pytest.raises(CorruptionError, match="does not open here"):
        bench.wire(0)
    own = bench.fresh()._row(bench.requests[2][0])
    bench.rewrite_row(bench.requests[2][0], format_row(SheetRow(row.key_id, own.wrapped_key, own.offset, own.length)))
    with pytest.raises(CorruptionError, match="wrapped key"):
        bench.wire(2)


def test_a_destroyed_subject_key_ends_one_person_and_nobody_else(bench: Bench) -> None:
    ring = bench.installation.ring
    ring.destroy(ring.find(Kind.SUBJECT, ring.scope(Kind.SUBJECT, "default", "ann")).id)
    for number, request in enumerate(REQUESTS):
        if number % 2 == 0:
            with pytest.raises(KeyMissingError):
                bench.wire(number)
            assert bench.fresh().header(*bench.requests[number]) is not None
        else:
            assert bench.wire(number) == request


def test_the_log_and_the_ring_belong_together(bench: Bench, tmp_path: Path) -> None:
    other = Installation(tmp_path / "other", disk=QuickDisk(), signer_disk=QuickDisk()).start()
    stranger = Opener(layout=bench.layout, origin=f"{ORIGIN_PREFIX}/default", ring=other.ring)
    index, leaf = bench.requests[0]
    with pytest.raises(CorruptionError):
        stranger.header(index, leaf)
    with pytest.raises(CorruptionError):
        stranger.body(index, leaf)
    elsewhere = Opener(layout=bench.layout, origin=f"{ORIGIN_PREFIX}/other", ring=bench.installation.ring)
    with pytest.raises(CorruptionError, match="does not open here"):
        elsewhere.header(index, leaf)


@pytest.mark.parametrize(
    ("own", "cited", "may"),
    [
        ((Kind.SUBJECT, "ann"), (Kind.SUBJECT, "ann"), True),
        ((Kind.SUBJECT, "ann"), (Kind.SUBJECT, "ben"), False),
        ((Kind.SUBJECT, "ann"), (Kind.APP, "shop"), True),
        ((Kind.APP, "shop"), (Kind.APP, "shop"), True),
        ((Kind.APP, "shop"), (Kind.APP, "bank"), False),
        ((Kind.APP, "shop"), (Kind.SUBJECT, "ann"), False),
    ],
)
def test_whose_bytes_may_be_part_of_a_record(own: tuple[Kind, str], cited: tuple[Kind, str], may: bool) -> None:  # noqa: FBT001
    def body(kind: Kind, scope: str) -> OpenedBody:
        return OpenedBody(seed=b"", meta=b"{}", layout=Layout(b"", b""), kind=kind, scope=scope.encode())

    assert body(*own).may_cite(body(*cited)) is may


def content(pieces: bytes, owned: bytes) -> bytes:
    """Plaintext of a body."""
    compressed = make_compress()(body_content(b"{}", pieces=pieces, owned=owned))
    return BODY_VERSION + bytes(SEED_BYTES) + compressed


def test_a_body_that_no_version_of_ours_writes_is_damage(bench: Bench) -> None:
    good = content(whole(b"x"), b"x")
    opened = bench.fresh().body(*bench.put_body(0, good))
    assert opened is not None
    assert opened.layout.owned == b"x", "or these bodies are about nothing"
    compress = make_compress()
    for plaintext in (
        b"\2" + good[1:],
        b"",
        good[:-1],
        BODY_VERSION + bytes(SEED_BYTES) + b"no frame",
        BODY_VERSION + bytes(SEED_BYTES) + compress(b""),
        BODY_VERSION + bytes(SEED_BYTES) + compress(b"\0\0\0\5{}"),
        BODY_VERSION + bytes(SEED_BYTES) + compress(b"\0\0\0\2{}\0\0\0\1"),
    ):
        with pytest.raises(CorruptionError):
            bench.fresh().body(*bench.put_body(0, plaintext))


def test_bytes_of_somebody_else_are_not_put_into_a_record(bench: Bench) -> None:
    """Its citation names a leaf of another person, or one that has no bytes at all."""
    (anns, _), (bens, _) = bench.requests[0], bench.requests[1]
    for cited in (anns, 0):
        pieces = leb128(5 << 1 | 1) + leb128(bens - cited) + leb128(0)
        index, leaf = bench.put_body(1, content(pieces, b""))
        with pytest.raises(CorruptionError, match="the citation of leaf"):
            bench.fresh().wire(index, leaf, size=bench.size)


def test_a_header_that_no_version_of_ours_writes_is_damage(bench: Bench) -> None:
    found = bench.fresh().header(*bench.requests[0])
    assert found is not None
    values = found[0]
    again = bench.fresh().header(*bench.put_header(0, values))
    assert again == (values, bytes(SEED_BYTES))
    with pytest.raises(CorruptionError, match="header block"):
        bench.fresh().header(*bench.put_header(0, values, version=b"\2"))


def test_what_another_version_normalised_is_shown_and_not_disclosed(bench: Bench) -> None:
    """Its commitments cannot be made again here; its bytes are still those of the ciphertext that the leaf names."""
    found = bench.fresh().header(*bench.requests[0])
    assert found is not None
    assert found[0].capture is not None
    capture = (*found[0].capture[:3], found[0].capture[3] + 1)
    index, leaf = bench.put_header(0, msgspec.structs.replace(found[0], capture=capture))
    assert bench.fresh().wire(index, leaf, size=bench.size) == REQUESTS[0]
    with pytest.raises(FormatError, match=r"normalised by another version.*Nothing was disclosed"):
        bench.fresh().body_values(index, leaf, size=bench.size)
    opening = bench.opener.leaf(0, size=bench.size)
    assert bench.fresh().body_values(0, opening, size=bench.size) is None


def test_places_of_segments_are_kept_up_to_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENTS_KNOWN_MAX", 0)
    opener = bench.fresh()
    for _ in range(2):
        assert all(opener.header(index, leaf) for index, leaf in bench.requests)
    assert opener._ends == {}


class LyingHand(OwnHand):
    """Gives other bytes to be stored than those that it committed to."""

    def collect(self) -> list[Result]:
        return [self._falsified(result) for result in super().collect()]

    def _falsified(self, result: Result) -> Result:
        if result.prepared is None or result.prepared.body is None or result.prepared.body.compressed is None:
            return result
        body, other = result.prepared.body, chat_response("another")
        compressed = make_compress()(body_content(body.meta, pieces=whole(other), owned=other))
        prepared = msgspec.structs.replace(result.prepared, body=msgspec.structs.replace(body, compressed=compressed))
        return msgspec.structs.replace(result, prepared=prepared)


def test_bytes_that_the_leaf_does_not_commit_to_are_not_shown(tmp_path: Path) -> None:
    def lying(names: Names, policy: int | None) -> OwnHand:
        return LyingHand(Preparer(names=names, policy=policy, random=os.urandom, clock_us=lambda: 1))

    installation = Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk(), make_hand=lying).start()
    shard = installation.shard()
    write_call(shard, REQUESTS[0], chat_response("the truth"), user="ann")
    shard.flush()
    shard.close()
    installation.drain()
    installation.stop()
    opener, size = installation.opener(), head_size(installation.data.log("default"))
    for index in range(size):
        leaf = opener.leaf(index, size=size)
        if leaf.type == "llm.request":
            assert opener.wire(index, leaf, size=size) == REQUESTS[0]
        elif leaf.type == "llm.response":
            with pytest.raises(CorruptionError, match="the content of leaf"):
                opener.wire(index, leaf, size=size)
