"""Attempts on content and its keys, by an insider who has every key: what no signature can show, opening shows.

Here signatures, digests and sheets are made to agree first, so that both verifiers are content; what is left to refuse
is the binding of each ciphertext to its place (AAD), to its key (commitments), and to its scope.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import Place, SheetRow, format_row, parse_row, seal, unseal, unwrap_key, wrap_key
from affidavit.crypt.keyring import Keyring, Kind
from affidavit.ledger.writer import ROW_BYTES
from affidavit.seal.body_values import again
from affidavit.seal.citation import Citation, Layout, leb128, parse_layout, whole
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.slots import BODY_SLOTS, BODY_VERSION
from affidavit.text import b64u, long_id
from tests.attacks.ground import OPENING, PERSON, Ground
from tests.attacks.insider import Insider, LogFiles, checkpoint_of
from tests.attacks.registry import Evidence, attempt

NONCE = bytes(12)


class Owner:
    """An insider who also holds the keyring: seals what they like, where they like."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.insider: Insider = ground.insider()
        self.ring: Keyring = ground.ring()

    @property
    def data(self) -> Path:
        """The copy that is changed."""
        return self.insider.data

    def place(self, log: str) -> Place:
        """What binds blocks to a log."""
        return Place(checkpoint_of(self.ground.head(log)).origin)

    def sheet(self, log: str) -> AESGCM:
        """The key of the log's only key sheet."""
        return AESGCM(self.ring.find(Kind.SHEET, self.ring.scope(Kind.SHEET, log, "0", "1")).key)

    def row(self, files: LogFiles, index: int, *, log: str = "default") -> SheetRow:
        """A row in clear."""
        row = parse_row(
            unseal(self.sheet(log), files.rows[index], associated=self.place(log).row(index, version=files.version))
        )
        assert row is not None
        return row

    def put(self, files: LogFiles, index: int, ciphertext: bytes, row: SheetRow) -> None:
        """Put a ciphertext with its key row at a leaf of `default`, and rewrite the leaf to name it."""
        files.bodies[index] = ciphertext
        leaf = files.leaf(index)
        leaf["body"] |= {"sha256": b64u(sha256(ciphertext).digest()), "bucket": (len(ciphertext) - 1).bit_length()}
        files.put_leaf(index, leaf)
        self.rows[index] = row

    def rewrite(self, change: Callable[[LogFiles], None]) -> None:
        """Change `default`; rows follow the places of their bodies, and everything is stated and signed again."""

        def thoroughly(files: LogFiles) -> None:
            self.rows: dict[int, SheetRow] = {
                index: self.row(files, index) for index, sealed in enumerate(files.rows) if sealed != bytes(ROW_BYTES)
            }
            change(files)
            for index, row in self.rows.items():
                moved = SheetRow(row.key_id, row.wrapped_key, files.body_at(index), len(files.bodies[index]))
                files.rows[index] = seal(
                    self.sheet("default"),
                    nonce=os.urandom(12),
                    plaintext=format_row(moved),
                    associated=self.place("default").row(index, version=1),
                )
            files.state_sheets_again()

        self.insider.rewrite("default", thoroughly)

    def refused(self, index: int, *, clause: str = "", because: str) -> Evidence:
        """Both verifiers are content, and the record is refused to whoever opens it; all others are shown."""
        found = self.ground.judge(self.data)
        assert found.report.holds, found.report.findings
        said = self.ground.refusal(self.data, index, ring=self.ring)
        assert because in said, said
        return Evidence("erasure", "FAIL", f"leaf {index}: {said}", clause=clause, judges=OPENING)


def an_intent(ground: Ground, number: int) -> int:
    """A request somewhere in `default`."""
    return ground.log().find("llm.request")[number]


def owned_only(owner: Owner, indices: list[int]) -> list[int]:
    """Those of the records that no other record cites, so that only they are refused when they are changed."""
    opener = owner.ground.opener(owner.data, ring=owner.ring)
    size = len(owner.ground.log().entries)
    cited: set[int] = set()
    for index in range(size):
        body = opener.body(index, opener.leaf(index, size=size))
        if body is not None:
            cited |= {piece.leaf for piece in parse_layout(body.layout, leaf=index) if isinstance(piece, Citation)}
    return [index for index in indices if index not in cited]


@attempt(23)
def swapped_ciphertexts(ground: Ground) -> Iterator[Evidence]:
    owner = Owner(ground)
    files = ground.log()
    one, other = owned_only(owner, files.find("llm.response"))[10:12]

    def between_events(files: LogFiles) -> None:
        owner.put(files, one, files.bodies[other], owner.rows[other])

    owner.rewrite(between_events)
    clause = "between events, leaves rewritten to fit"
    yield owner.refused(one, clause=clause, because="does not open here")

    owner = Owner(ground)
    support = ground.log("support")
    foreign = support.find("llm.response")[2]

    def between_projects(files: LogFiles) -> None:
        leaf = files.leaf(one) | {"id": support.leaf(foreign)["id"]}  # the record moves with its id
        files.put_leaf(one, leaf)
        owner.put(files, one, support.bodies[foreign], owner.row(support, foreign, log="support"))

    owner.rewrite(between_projects)
    clause = "between projects, leaves rewritten to fit"
    yield owner.refused(one, clause=clause, because="does not open here")


# --- one ciphertext, two keys -----------------------------------------------------------------------------------------


def _times(x: int, y: int) -> int:
    """Multiplication in the field of GCM (NIST SP 800-38D, 6.3): bit 0 is the most significant."""
    product = 0
    for bit in range(127, -1, -1):
        if y >> bit & 1:
            product ^= x
        x = x >> 1 ^ (0xE1 << 120 if x & 1 else 0)
    return product


def _inverse(x: int) -> int:
    """x^(2^128 - 2)."""
    result, power = 1 << 127, x
    for _ in range(127):
        power = _times(power, power)
        result = _times(result, power)
    return result


class _Gcm:
    """GCM taken apart, for one key and a nonce of 12 zero bytes."""

    def __init__(self, key: bytes) -> None:
        self._block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - GCM's own building block
        self.h = int.from_bytes(self._block.update(bytes(16)))
        self.mask = int.from_bytes(self._block.update(NONCE + b"\0\0\0\1"))

    def hash(self, associated: bytes, ciphertext: bytes) -> int:
        lengths = (8 * len(associated)).to_bytes(8) + (8 * len(ciphertext)).to_bytes(8)
        padded = b"".join(part + bytes(-len(part) % 16) for part in (associated, ciphertext)) + lengths
        total = 0
        for at in range(0, len(padded), 16):
            total = _times(total ^ int.from_bytes(padded[at : at + 16]), self.h)
        return total


def for_two_keys(plaintext: bytes, keys: tuple[bytes, bytes], associated: bytes) -> bytes:
    """A ciphertext that GCM opens under both keys: `plaintext` and a block behind it under the first.

    Its last block is free, and enters either tag multiplied by H²: one equation for one unknown.
    """
    padded = plaintext + bytes(-len(plaintext) % 16)
    ciphertext = AESGCM(keys[0]).encrypt(NONCE, padded, None)[:-16] + bytes(16)
    one, other = (_Gcm(key) for key in keys)
    tags = [gcm.hash(associated, ciphertext) ^ gcm.mask for gcm in (one, other)]
    squares = _times(one.h, one.h) ^ _times(other.h, other.h)
    free = _times(tags[0] ^ tags[1], _inverse(squares))
    ciphertext = ciphertext[:-16] + free.to_bytes(16)
    tag = one.hash(associated, ciphertext) ^ one.mask
    assert tag == other.hash(associated, ciphertext) ^ other.mask
    return NONCE + ciphertext + tag.to_bytes(16)


@attempt(24)
def two_plaintexts(ground: Ground) -> Iterator[Evidence]:
    index = owned_only(Owner(ground), ground.log().find("llm.response"))[20]
    keys = os.urandom(32), os.urandom(32)
    said = {}
    for number, key in enumerate(keys):
        owner = Owner(ground)

        def commit(files: LogFiles, owner: Owner = owner, key: bytes = key) -> None:
            row = owner.row(files, index)
            wrapping = owner.ring.get(row.key_id).key
            associated = owner.place("default").body(long_id(files.leaf(index)["id"]))
            plaintext = unseal(
                AESGCM(unwrap_key(wrapping, row.wrapped_key)), files.bodies[index], associated=associated
            )
            ciphertext = for_two_keys(plaintext, keys, associated)
            owner.put(files, index, ciphertext, SheetRow(row.key_id, wrap_key(wrapping, key), 0, 0))

        owner.rewrite(commit)
        if number == 0:
            opener = ground.opener(owner.data, ring=owner.ring)
            size = len(ground.log().entries)
            said[number] = opener.wire(index, opener.leaf(index, size=size), size=size)
            assert said[number], "under the first key it is the record"
    yield owner.refused(index, clause="it opens under a second key", because="is not what the leaf commits to")
    yield _another_body(ground, index)


def _another_body(ground: Ground, index: int) -> Evidence:
    """A body that is well made in every way, of bytes that the leaf never committed to."""
    owner = Owner(ground)

    def replace(files: LogFiles) -> None:
        row, key = owner.row(files, index), os.urandom(32)
        wire = b'{"choices":[{"message":{"content":"another answer"}}]}'
        content = body_content(b"{}", pieces=whole(wire), owned=wire)
        plaintext = BODY_VERSION + os.urandom(32) + make_compress()(content)
        associated = owner.place("default").body(long_id(files.leaf(index)["id"]))
        ciphertext = seal(AESGCM(key), nonce=os.urandom(12), plaintext=plaintext, associated=associated)
        wrapping = owner.ring.get(row.key_id).key
        owner.put(files, index, ciphertext, SheetRow(row.key_id, wrap_key(wrapping, key), 0, 0))

    owner.rewrite(replace)
    return owner.refused(index, clause="a well-made body of other content", because="the content of leaf")


# --- content that is gone, or is guessed ------------------------------------------------------------------------------


@attempt(25)
def a_body_is_gone(ground: Ground) -> Iterator[Evidence]:
    data, index = ground.copy(), an_intent(ground, 40)
    files = ground.log()
    files.bodies[index] = b""
    path = data / "logs/default/bodies/000000"
    path.write_bytes(b"afbody1\n" + b"".join(len(body).to_bytes(4) + body for body in files.bodies))
    yield ground.judge(data).evidence("erasure", "MISSING", named=f"entry {index}:", clause="one body")
    path.unlink()
    named = "logs/default/bodies/000000"
    yield ground.judge(data).evidence("erasure", "MISSING", named=named, clause="the file of bodies")


@attempt(29)
def a_guess(ground: Ground) -> Evidence:
    """Somebody knows the value, its slot, and everything that is public; they lack 32 bytes of salt."""
    index = an_intent(ground, 40)
    opener, size = ground.opener(ground.data), len(ground.log().entries)
    leaf = opener.leaf(index, size=size)
    body, header = opener.body(index, leaf), opener.header(index, leaf)
    assert body is not None
    assert header is not None
    assert leaf.body is not None
    wire = opener.wire(index, leaf, size=size)
    assert PERSON.encode() in wire
    values = again(leaf.type, meta=body.meta, wire=wire, dialect=header[0].capture[1])
    assert b64u(BODY_SLOTS.root(body.seed, values)) == leaf.body.root, "with the salts, the right guess is confirmed"
    public = b"".join(
        path.read_bytes() for path in sorted(ground.data.joinpath("logs").rglob("tree/**/*")) if path.is_file()
    )
    known = [bytes(32), bytes(range(32)), *(sha256(salt).digest() for salt in (b"", leaf.id.encode(), PERSON.encode()))]
    known += [bytes.fromhex(text) for text in {sha256(entry).hexdigest() for entry in ground.log().entries[:50]}]
    guesses = {sha256(value).digest() for value in (PERSON.encode(), wire, json.dumps(PERSON).encode())}
    guesses |= {BODY_SLOTS.root(seed, values) for seed in known}
    for guess in guesses:
        for form in (guess, guess.hex().encode(), b64u(guess).encode()):
            assert form not in public
    assert PERSON.encode() not in public
    named = f"{len(guesses)} guesses of a right value against {len(public)} public bytes"
    return Evidence("erasure", "OK", named, clause="no match without the salt", judges=("a reader of the tree",))


# --- key sheets -------------------------------------------------------------------------------------------------------


@attempt(43)
def sheets(ground: Ground) -> Iterator[Evidence]:
    name, index = "logs/default/sheets/000000.1", an_intent(ground, 40)
    at = 8 + ROW_BYTES * index
    sheet = (ground.data / name).read_bytes()
    flipped = bytes([sheet[at + 30] ^ 1])
    for content, code, clause in (
        (sheet[:at] + bytes(ROW_BYTES) + sheet[at + ROW_BYTES :], "SHEET-ROW", "blank a row"),
        (sheet[: at + 30] + flipped + sheet[at + 31 :], "SHEET-CHANGED", "flip a row"),
    ):
        data = ground.copy()
        (data / name).write_bytes(content)
        named = f"row {index} " if code == "SHEET-ROW" else name
        yield ground.judge(data).evidence("erasure", code, named=named, clause=clause)


@attempt(44)
def bytes_of_another_scope(ground: Ground) -> Evidence:
    """A record of one person is made of bytes that belong to another; lengths, digests and commitments all hold."""
    owner, files = Owner(ground), ground.log()
    opener, size = ground.opener(owner.data, ring=owner.ring), len(files.entries)
    alone = owned_only(owner, files.find("llm.request"))
    bodies = {index: opener.body(index, opener.leaf(index, size=size)) for index in files.find("llm.request")}
    citing = alone[-1]
    body = bodies[citing]
    assert body is not None
    cited, owned = next(
        (index, other.layout.owned)
        for index, other in bodies.items()
        if other is not None and index < citing and other.scope != body.scope and len(other.layout.owned) > 100
    )
    header = opener.header(citing, opener.leaf(citing, size=size))
    assert header is not None
    seed = os.urandom(32)
    values = again("llm.request", meta=body.meta, wire=owned, dialect=header[0].capture[1])

    def cite(files: LogFiles) -> None:
        pieces = leb128(len(owned) << 1 | 1) + leb128(citing - cited) + leb128(0)
        assert parse_layout(Layout(pieces, b""), leaf=citing) == [Citation(cited, 0, len(owned))]
        content = body_content(body.meta, pieces=pieces, owned=b"")
        row, key = owner.row(files, citing), os.urandom(32)
        associated = owner.place("default").body(long_id(files.leaf(citing)["id"]))
        plaintext = BODY_VERSION + seed + make_compress()(content)
        ciphertext = seal(AESGCM(key), nonce=os.urandom(12), plaintext=plaintext, associated=associated)
        leaf = files.leaf(citing)
        leaf["body"]["root"] = b64u(BODY_SLOTS.root(seed, values))
        files.put_leaf(citing, leaf)
        owner.put(files, citing, ciphertext, SheetRow(row.key_id, wrap_key(owner.ring.get(row.key_id).key, key), 0, 0))

    owner.rewrite(cite)
    return owner.refused(citing, clause="bytes of another scope", because="the citation of leaf")
