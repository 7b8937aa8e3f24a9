"""Opening records: the only place where content is decrypted again, against a durable access event.

Promise: a record is opened for exactly what a sealed, fresh access event names, once. What comes out was checked
against its leaf: digest of the ciphertext, root of the header's fields, and root of the body's, which commits to the
exact bytes, cited ones included (AES-GCM does not commit to its key). Citations are opened here only to put the record
together, and their bytes leave as part of it; one that names bytes of another scope is not followed, since no reader of
this record was allowed those.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Final, Literal

import msgspec
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import ROW_BYTES, Place, SheetRow, parse_row, unseal, unwrap_key
from affidavit.crypt.commitment import SEED_BYTES
from affidavit.crypt.keyring import Keyring, Kind
from affidavit.errors import AccessRefusedError, CorruptionError, FormatError, KeyMissingError, NotFoundError
from affidavit.ledger.layout import HEADERS_MAGIC, SEGMENT_LEAVES, SHEET_MAGIC, LogLayout
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
SEGMENTS_KNOWN_MAX: Final = 8
"""Segments whose places are kept: two megabytes each, and a reading stays in a few."""
_U16_BYTES: Final = 2


class OpenedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body in clear, its citations not yet followed."""

    seed: bytes
    meta: bytes
    layout: Layout
    kind: Kind
    """Kind of the key that the record's key is wrapped by, and with `scope` whose bytes these are."""
    scope: bytes

    def may_cite(self, cited: OpenedBody) -> bool:
        """Whether bytes of `cited` may be part of this record: those of its own scope, and what an app shares."""
        return (cited.kind, cited.scope) == (self.kind, self.scope) or (
            self.kind is Kind.SUBJECT and cited.kind is Kind.APP
        )


class _Segment:
    """The files of one segment, each opened when it is first read, for the duration of one request."""

    __slots__ = ("_fds", "_layout", "_number", "version")

    def __init__(self, layout: LogLayout, number: int) -> None:
        self._layout: Final = layout
        self._number: Final = number
        self._fds: dict[str, int] = {}
        self.version: Final = layout.sheet_version(number)
        """Of the key sheet that is in force."""

    def __del__(self) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def read(self, kind: Literal["bodies", "headers", "sheet"], offset: int, length: int) -> bytes:
        """Bytes of one of its files; fewer where it ends."""
        fd = self._fds.get(kind)
        if fd is None:
            layout, number = self._layout, self._number
            path = layout.sheet(number, self.version) if kind == "sheet" else getattr(layout, kind)(number)
            fd = self._fds[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(fd, length, offset)


class Opener:
    """Opens blocks of one log.

    Owner: the sealer's thread. What was opened for one request, files included, is remembered until `forget`.
    """

    def __init__(self, *, layout: LogLayout, origin: str, ring: Keyring) -> None:
        self._layout: Final = layout
        self._reader: Final = LogReader(layout)
        self._place: Final = Place(origin)
        self._ring: Final = ring
        self._bodies: dict[int, OpenedBody] = {}
        self._segments: dict[int, _Segment] = {}
        self._ends: dict[int, list[int]] = {}  # segment → where its header blocks end, the magic first
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
        block = self._header_block(index)
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
            if opened is None or not body.may_cite(opened):
                raise self._mismatch(index, "citation")
            return opened.layout.owned

        wire = assemble(body.layout, leaf=index, owned_by=owned_by)
        values = self._values(index, leaf, body, wire)
        if values is not None and b64u(BODY_SLOTS.root(body.seed, values)) != leaf.body.root:
            raise self._mismatch(index, "content")
        return wire

    def body_values(self, index: int, leaf: Leaf, *, size: int) -> tuple[bytes, tuple[bytes, ...]] | None:
        """`(seed, values of the body slots)`, checked against the leaf; ``None`` where the leaf has no body.

        Raises:
            CorruptionError: They are not what the leaf commits to.
            FormatError: Another version of the normaliser made them, and this one would make others.
        """
        body = self.body(index, leaf)
        if body is None:
            return None
        values = self._values(index, leaf, body, self.wire(index, leaf, size=size))
        if values is None:
            raise FormatError(
                f"leaf {index} of log {self._layout.name} was normalised by another version; use that one to disclose "
                "values of its body. Nothing was disclosed"
            )
        return body.seed, values

    def _values(self, index: int, leaf: Leaf, body: OpenedBody, wire: bytes) -> tuple[bytes, ...] | None:
        """What the body slots must have been committed with; ``None`` where another version of ours made them."""
        header = self.header(index, leaf)
        capture = header[0].capture if header is not None else None
        if capture is not None and capture[3] != NORMALISER_VERSION:
            return None
        return again(leaf.type, meta=body.meta, wire=wire, dialect=None if capture is None else capture[1])

    def forget(self) -> None:
        """Drop everything in clear, and look at the files anew: a key sheet may have been written again."""
        self._bodies.clear()
        self._segments.clear()

    def _open_body(self, index: int, leaf: Leaf, digest: str) -> OpenedBody:
        row = self._row(index)
        ciphertext = self._segment(index).read("bodies", row.offset, row.length)
        if b64u(sha256(ciphertext).digest()) != digest:
            raise self._mismatch(index, "body")
        wrapping = self._ring.get(row.key_id)
        key = unwrap_key(wrapping.key, row.wrapped_key)
        plaintext = unseal(AESGCM(key), ciphertext, associated=self._place.body(leaf.id))
        if plaintext[:1] != BODY_VERSION:
            raise self._mismatch(index, "body")
        content = self._decompress(plaintext[1 + SEED_BYTES :], index)
        meta, at = _sized(content, 0)
        pieces, at = _sized(content, at)
        return OpenedBody(
            seed=plaintext[1 : 1 + SEED_BYTES],
            meta=meta,
            layout=Layout(pieces, content[at:]),
            kind=wrapping.kind,
            scope=wrapping.scope,
        )

    def _decompress(self, frame: bytes, index: int) -> bytes:
        try:
            return self._decompressor.decompress(frame, max_output_size=CONTENT_BYTES_MAX)
        except zstandard.ZstdError as error:
            raise self._mismatch(index, "body") from error

    def _segment(self, index: int) -> _Segment:
        number = index // SEGMENT_LEAVES
        found = self._segments.get(number)
        if found is None:
            found = self._segments[number] = _Segment(self._layout, number)
        return found

    def _row(self, index: int) -> SheetRow:
        segment = self._segment(index)
        version = segment.version
        at = len(SHEET_MAGIC) + index % SEGMENT_LEAVES * ROW_BYTES
        sealed = segment.read("sheet", at, ROW_BYTES)
        scope = self._ring.scope(Kind.SHEET, self._layout.called, str(index // SEGMENT_LEAVES), str(version))
        key = self._ring.find(Kind.SHEET, scope)
        row = parse_row(unseal(AESGCM(key.key), sealed, associated=self._place.row(index, version=version)))
        if row is None:
            message = f"leaf {index} of log {self._layout.name} was erased: its key is gone, its proof stands"
            raise KeyMissingError(message)
        return row

    def _header_block(self, index: int) -> bytes:
        """A block of a segment's file; places are walked once and kept, since the file only grows."""
        number, wanted = index // SEGMENT_LEAVES, index % SEGMENT_LEAVES
        ends = self._ends.get(number, [len(HEADERS_MAGIC)])
        if wanted + 1 >= len(ends):
            data = self._layout.headers(number).read_bytes()
            at = ends[-1]
            while at + _U16_BYTES <= len(data):
                at += _U16_BYTES + int.from_bytes(data[at : at + _U16_BYTES], "big")
                if at > len(data):
                    break
                ends.append(at)
            self._ends[number] = ends
            if len(self._ends) > SEGMENTS_KNOWN_MAX:
                self._ends.pop(next(iter(self._ends)))
        if wanted + 1 >= len(ends):
            raise self._mismatch(index, "header block")
        begin = ends[wanted] + _U16_BYTES
        return self._segment(index).read("headers", begin, ends[wanted + 1] - begin)

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
