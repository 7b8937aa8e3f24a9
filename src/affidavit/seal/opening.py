"""Opening records: the only place where content is decrypted again, against a durable access event.

Promise: a record is opened for exactly what a sealed, fresh access event names, once. What comes out was checked
against its leaf: digest of the ciphertext, root of the header's fields, and root of the body's, which commits to the
exact bytes, cited ones included (AES-GCM does not commit to its key). Citations are opened here only to put the record
together, and their bytes leave as part of it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import ROW_BYTES, Place, SheetRow, parse_row, unseal, unwrap_key
from affidavit.crypt.commitment import SEED_BYTES
from affidavit.crypt.keyring import Keyring, Kind
from affidavit.errors import AccessRefusedError, CorruptionError, KeyMissingError, NotFoundError
from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SEGMENT_LEAVES, SHEET_MAGIC, LogLayout
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.seal.body_values import again
from affidavit.seal.boilerplate import DICTIONARY_1
from affidavit.seal.citation import Layout, assemble
from affidavit.seal.log import HEADER_KEY_VERSION
from affidavit.seal.slots import (
    BODY_SLOTS,
    BODY_VERSION,
    HEADER_SLOTS,
    HEADER_VERSION,
    NORMALISER_VERSION,
    HeaderValues,
    header_values_json,
    unpack_header,
)
from affidavit.text import b64u

ACCESS_AGE_US_MAX: Final = 60_000_000
"""An access event is honoured within this time, or never."""
CONTENT_BYTES_MAX: Final = 1 << 30
"""Largest content of a body: a record's data is bounded far below, so a larger one is damage."""
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class OpenedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body in clear, its citations not yet followed."""

    seed: bytes
    meta: bytes
    layout: Layout


class Opener:
    """Opens blocks of one log.

    Owner: the sealer's thread. Bodies opened for one request are remembered until `forget`.
    """

    def __init__(self, *, layout: LogLayout, origin: str, ring: Keyring) -> None:
        self._layout: Final = layout
        self._reader: Final = LogReader(layout)
        self._place: Final = Place(origin)
        self._ring: Final = ring
        self._bodies: dict[int, OpenedBody] = {}
        self._places: dict[tuple[int, str], tuple[int, list[int]]] = {}
        dictionary = zstandard.ZstdCompressionDict(DICTIONARY_1, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self._decompressor: Final = zstandard.ZstdDecompressor(dict_data=dictionary)

    def leaf(self, index: int, *, size: int) -> Leaf:
        """A leaf of the tree of `size`."""
        if not 0 <= index < size:
            message = f"log {self._layout.name} has no leaf {index}"
            raise NotFoundError(message)
        return parse_leaf(self._reader.entry(index, size=size))

    def header(self, index: int, leaf: Leaf) -> tuple[HeaderValues, bytes] | None:
        """`(values, seed)` of a header block, checked against the leaf; ``None`` where the leaf has none.

        Raises:
            CorruptionError: The block is not what the leaf commits to.
            KeyMissingError: The header key was destroyed: the project has ended.
        """
        if leaf.header is None:
            return None
        block = self._frame(index, "headers")
        if b64u(sha256(block).digest()) != leaf.header.sha256:
            raise self._mismatch(index, "header block")
        key = self._ring.find(Kind.HEADER, self._ring.scope(Kind.HEADER, self._layout.name))
        plaintext = unseal(
            AESGCM(key.key), block, associated=self._place.header(leaf.id, key_version=HEADER_KEY_VERSION)
        )
        seed, packed = plaintext[1 : 1 + SEED_BYTES], plaintext[1 + SEED_BYTES :]
        if plaintext[:1] != HEADER_VERSION:
            raise self._mismatch(index, "header block")
        values = unpack_header(packed)
        if b64u(HEADER_SLOTS.root(seed, header_values_json(values))) != leaf.header.root:
            raise self._mismatch(index, "header values")
        return values, seed

    def body(self, index: int, leaf: Leaf) -> OpenedBody | None:
        """A body in clear; ``None`` where the leaf has none.

        Raises:
            CorruptionError: The ciphertext or its place is not what the leaf and the key sheet say.
            KeyMissingError: The key was destroyed, or the row erased.
        """
        if leaf.body is None:
            return None
        found = self._bodies.get(index)
        if found is None:
            found = self._bodies[index] = self._open_body(index, leaf, leaf.body.sha256)
        return found

    def wire(self, index: int, leaf: Leaf, *, size: int) -> bytes:
        """The exact bytes of a record, citations followed, and all that the body says checked against the leaf.

        Raises:
            CorruptionError: They are not what the leaf commits to.
        """
        body = self.body(index, leaf)
        if body is None or leaf.body is None:
            return b""

        def owned_by(cited: int) -> bytes:
            opened = self.body(cited, self.leaf(cited, size=size))
            if opened is None:
                raise self._mismatch(index, "citation")
            return opened.layout.owned

        wire = assemble(body.layout, leaf=index, owned_by=owned_by)
        header = self.header(index, leaf)
        capture = header[0].capture if header is not None else None
        if capture is None or capture[3] == NORMALISER_VERSION:
            dialect = None if capture is None else capture[1]
            values = again(leaf.type, meta=body.meta, wire=wire, dialect=dialect)
            if b64u(BODY_SLOTS.root(body.seed, values)) != leaf.body.root:
                raise self._mismatch(index, "content")
        return wire

    def forget(self) -> None:
        """Drop everything in clear."""
        self._bodies.clear()

    def _open_body(self, index: int, leaf: Leaf, digest: str) -> OpenedBody:
        row = self._row(index)
        ciphertext = self._read(self._layout.bodies(index // SEGMENT_LEAVES), row.offset, row.length)
        if b64u(sha256(ciphertext).digest()) != digest:
            raise self._mismatch(index, "body")
        key = unwrap_key(self._ring.get(row.key_id).key, row.wrapped_key)
        plaintext = unseal(AESGCM(key), ciphertext, associated=self._place.body(leaf.id))
        if plaintext[:1] != BODY_VERSION:
            raise self._mismatch(index, "body")
        content = self._decompress(plaintext[1 + SEED_BYTES :], index)
        meta, at = _sized(content, 0)
        pieces, at = _sized(content, at)
        return OpenedBody(seed=plaintext[1 : 1 + SEED_BYTES], meta=meta, layout=Layout(pieces, content[at:]))

    def _decompress(self, frame: bytes, index: int) -> bytes:
        try:
            return self._decompressor.decompress(frame, max_output_size=CONTENT_BYTES_MAX)
        except zstandard.ZstdError as error:
            raise self._mismatch(index, "body") from error

    def _row(self, index: int) -> SheetRow:
        segment = index // SEGMENT_LEAVES
        version = self._layout.sheet_version(segment)
        at = len(SHEET_MAGIC) + index % SEGMENT_LEAVES * ROW_BYTES
        sealed = self._read(self._layout.sheet(segment, version), at, ROW_BYTES)
        key = self._ring.find(Kind.SHEET, self._ring.scope(Kind.SHEET, self._layout.name, str(segment), str(version)))
        row = parse_row(unseal(AESGCM(key.key), sealed, associated=self._place.row(index, version=version)))
        if row is None:
            message = f"leaf {index} of log {self._layout.name} was erased: its key is gone, its proof stands"
            raise KeyMissingError(message)
        return row

    def _frame(self, index: int, kind: str) -> bytes:
        """A frame of a segment file; offsets are walked once and kept, since the file only grows."""
        segment = index // SEGMENT_LEAVES
        width, magic = (2, HEADERS_MAGIC) if kind == "headers" else (4, BODIES_MAGIC)
        path = self._layout.headers(segment) if kind == "headers" else self._layout.bodies(segment)
        end, offsets = self._places.get((segment, kind), (len(magic), []))
        wanted = index % SEGMENT_LEAVES
        if wanted >= len(offsets):
            with path.open("rb") as file:
                file.seek(end)
                data = file.read()
            at = 0
            while at + width <= len(data):
                length = int.from_bytes(data[at : at + width], "big")
                if at + width + length > len(data):
                    break
                offsets.append(end + at)
                at += width + length
            self._places[segment, kind] = (end + at, offsets)
            if len(self._places) > 8:  # noqa: PLR2004 - a few segments are read at a time
                self._places.pop(next(iter(self._places)))
        if wanted >= len(offsets):
            raise self._mismatch(index, kind)
        with path.open("rb") as file:
            file.seek(offsets[wanted])
            return file.read(int.from_bytes(file.read(width), "big"))

    def _read(self, path: Any, offset: int, length: int) -> bytes:  # noqa: ANN401
        with path.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(length)
        return data

    def _mismatch(self, index: int, what: str) -> CorruptionError:
        return CorruptionError(
            f"the {what} of leaf {index} of log {self._layout.name} is not what the leaf commits to; it is not shown. "
            f"Run `affidavit verify`"
        )


def require_fresh(*, sealed_us: int, now_us: int) -> None:
    """Refuse an access event that is too old, or from the future."""
    if not 0 <= now_us - sealed_us <= ACCESS_AGE_US_MAX:
        message = "the access event is older than 60 s; ask again"
        raise AccessRefusedError(message)


def _sized(content: bytes, at: int) -> tuple[bytes, int]:
    start = at + 4
    end = start + int.from_bytes(content[at:start], "big")
    if end > len(content):
        message = "a body is shorter than its own lengths say"
        raise CorruptionError(message)
    return content[start:end], end
