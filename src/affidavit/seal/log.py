"""One log while it is being sealed: prepared records go in, the part of a stage comes out.

Promise: a record gets its leaf, its header block, its body under a key of its own, and its row in the key sheet, all
for the same index; every key that
wraps something is in the ring before the part is taken. Randomness is drawn once: a part that was taken is published as
it is, or never.

Required order: `add`, `add_own` … → `take` (ring saved, then staged by the caller) → `publish`. Owner: the sealer's
thread.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.block import (
    ABSENT_ROW,
    KEY_BYTES,
    NONCE_BYTES,
    Place,
    SheetRow,
    format_row,
    seal,
    uuid_bytes,
    wrap_key,
)
from affidavit.crypt.commitment import SEED_BYTES
from affidavit.crypt.keyring import Keyring, Kind, RingKey
from affidavit.event import CONTENT_SHARED, EPOCH_CLOSE, EPOCH_OPEN, KEY_SHEET, LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.cut import WalRecord
from affidavit.ledger.layout import SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.ledger.leaf import Body, Leaf, Source, bucket, format_leaf, format_record_leaf
from affidavit.ledger.stage import Part
from affidavit.ledger.writer import LogWriter
from affidavit.seal.body_values import of_bytes
from affidavit.seal.citation import NO_BEGINNING, Citation, Citations, Layout, whole
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.prepare import Prepared, PreparedBody
from affidavit.seal.randomness import Randomness
from affidavit.seal.recent import RecentRecords
from affidavit.seal.slots import BODY_SLOTS, BODY_VERSION
from affidavit.seal.sums import EpochSums
from affidavit.seal.unmasked import Unmasked
from affidavit.text import b64u, uuid7

HEADER_KEY_VERSION = 1
SHARED_BYTES_MIN = 256
"""A shorter system prompt is cheaper to store with each subject than to share."""
SHARED_SUBJECTS_MIN = 3
"""A value becomes the app's own only when this many subjects sent it: before that it may be about one of them."""
SHARED_CANDIDATES_MAX = 50_000
_BODY_RANDOM_BYTES = KEY_BYTES + 2 * NONCE_BYTES
SEALER_ID = "sealer"


class _SealedBody(msgspec.Struct, frozen=True, gc=False):
    """An encrypted body and its row in the key sheet."""

    root: bytes
    sha256: bytes
    """That of the ciphertext."""
    ciphertext: bytes
    row: bytes
    added: tuple[tuple[int, int], ...] | None = None
    """Ranges of the wire that no earlier record owns; ``None`` where that is all of it, or nobody asks."""
    cites: tuple[int, ...] = ()
    """Leaves that own the others."""


class SourceRange:
    """Sequence numbers of one source since the epoch began."""

    __slots__ = ("first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last


class SealedLog:
    """State of one log between the write-ahead log and its stage."""

    def __init__(
        self,
        *,
        writer: LogWriter,
        ring: Keyring,
        randomness: Randomness,
        boot: str,
        clock_us: Callable[[], int],
        before_boundary: Callable[[], None],
    ) -> None:
        self.writer: Final = writer
        self.name: Final = writer.layout.name
        self.sources: dict[tuple[str, str], SourceRange] = {}
        """Sequences of the running epoch, by (source, boot)."""
        self.sums: EpochSums | None = EpochSums()
        """What the calls of the running epoch come to; ``None`` where it could not be counted again at the start."""
        self._ring: Final = ring
        self._take_random: Final = randomness.take
        self._boot: Final = boot
        self._clock_us: Final = clock_us
        self._before_boundary: Final = before_boundary
        self._place: Final = Place(writer.origin)
        self._header_aead: Final = AESGCM(ring.key_for(Kind.HEADER, ring.scope(Kind.HEADER, self.name)).key)
        self._citations: Final = Citations(key=ring.digest_key(f"citations/{self.name}"))
        self._compress: Final = make_compress()
        self._subjects: dict[bytes, set[bytes]] = {}  # keyed digest of a shareable value → scopes that sent it
        self._own_seq = 0
        self._entries: list[bytes] = []
        self._headers: list[bytes] = []
        self._bodies: list[bytes] = []
        self._rows: list[bytes] = []
        self._body_end = 0
        self._sheet_aead: AESGCM
        self._sheet_hash = sha256()
        self.next_leaf = 0
        """Index of the next leaf."""
        self.recent: RecentRecords | None = None
        """Where new records are kept in clear, once somebody follows the log."""
        self._open_segment()

    def add(self, prepared: Prepared, record: WalRecord) -> None:
        """Seal a record under its number at its source."""
        self._add(prepared, record, Source(id=record.source, boot=record.boot, seq=record.seq))

    def add_closed(self, prepared: Prepared, *, record: WalRecord | None) -> None:
        """Seal what the sealer closes, under its own source: the frames found of a record, or a call without any."""
        self._add(prepared, record, None)

    def _add(self, prepared: Prepared, record: WalRecord | None, source: Source | None) -> None:
        self._make_room()
        record_id = uuid_bytes(prepared.id)
        header_block = self._header(prepared, record_id)
        body, wire = None, b""
        if prepared.body is not None:
            wire = record.data if record is not None and prepared.body.has_wire else b""
            body = self._body(prepared, prepared.body, wire, record_id)
        # Drawn last: room and shared values take leaves of the sealer's own, and numbers rise with the leaves.
        if source is None:
            source = self._own_source()
        entry = format_record_leaf(
            record_id,
            source=source,
            digest=None if record is None else record.digest,
            time_us=prepared.time_us,
            type=prepared.type,
            header=(prepared.header_root, sha256(header_block).digest()),
            body=None if body is None else (body.root, body.sha256, bucket(len(body.ciphertext))),
            links=prepared.links,
            data=prepared.public,
        )
        if self.recent is not None:
            self.recent.note(_recent(prepared, self.next_leaf, body, wire))
        if self.sums is not None:
            if prepared.type == LLM_RESPONSE:
                self.sums.add_prepared_outcome(prepared.header)
            elif prepared.type == LLM_REQUEST:
                self.sums.add_call()
        self._append(entry, source, header_block=header_block, body=body)

    def add_own(self, event_type: str, data: dict[str, Any], *, links: dict[str, str] | None = None) -> int:
        """Seal a leaf that speaks of the log itself; returns its index."""
        self._make_room()
        return self._add_own(event_type, data, links)

    def open_epoch(self, facts: dict[str, Any]) -> int:
        """Seal the `epoch.open` leaf, from which on numbers are counted."""
        self._make_room()  # before counting begins: it may add a leaf
        self.sources.clear()
        self.sums = EpochSums()
        return self._add_own(EPOCH_OPEN, facts, None)

    def close_epoch(self, facts: dict[str, Any]) -> int:
        """Seal the `epoch.close` leaf: `facts`, the counts of every source (its own included) and the sheet so far."""
        self._make_room()
        source = self._own_source()
        self.count(source)
        sources = [
            {"id": name, "boot": boot, "first": known.first, "last": known.last}
            for (name, boot), known in sorted(self.sources.items())
        ]
        sums = {} if self.sums is None else {"sums": self.sums.facts()}
        return self._append_own(
            EPOCH_CLOSE,
            {**facts, "sources": sources, "sheet": self.sheet_statement(), **sums},
            source=source,
            links=None,
        )

    def reopen(self) -> None:
        """Read back the state that belongs to the log's end, after a stage was replayed."""
        self._open_segment()

    def _own_source(self) -> Source:
        """The next number of the sealer as a source of this log; drawn when its leaf is next."""
        self._own_seq += 1
        return Source(id=SEALER_ID, boot=self._boot, seq=self._own_seq)

    def sheet_statement(self) -> dict[str, Any]:
        """What the log says of the open key sheet: every row up to now."""
        return {
            "segment": self.next_leaf // SEGMENT_LEAVES,
            "version": self.writer.sheet_version,
            "rows": self.next_leaf % SEGMENT_LEAVES,
            "sha256": b64u(self._sheet_hash.digest()),
        }

    @property
    def is_pressed(self) -> bool:
        """Whether a follower is about to lose sight of what is kept in memory for it."""
        return self.recent is not None and self.recent.is_pressed

    @property
    def pending_bytes(self) -> int:
        """Ciphertext of bodies that was added since the last part."""
        return self._body_end - self.writer.body_at

    def take(self) -> Part | None:
        """Everything added since the last part, to be staged."""
        if not self._entries:
            return None
        return Part(
            log=self.name,
            first=self.writer.size,
            header_at=self.writer.header_at,
            body_at=self.writer.body_at,
            entries=tuple(self._entries),
            headers=b"".join(self._headers),
            bodies=b"".join(self._bodies),
            rows=b"".join(self._rows),
        )

    def publish(self, part: Part) -> None:
        """Bring the log to the end of a staged part."""
        self.writer.publish(part)
        for pending in (self._entries, self._headers, self._bodies, self._rows):
            pending.clear()
        if self.recent is not None:
            self.recent.published()
        if self.writer.size % SEGMENT_LEAVES == 0:
            self._open_segment()

    def count(self, source: Source) -> None:
        """Take note of a sealed sequence number; also used when the running epoch is read back."""
        known = self.sources.get((source.id, source.boot))
        if known is None:
            self.sources[source.id, source.boot] = SourceRange(source.seq, source.seq)
        else:
            known.last = source.seq

    def make_room(self) -> None:
        """Seal what a new segment begins with, if the next leaf begins one: the next leaf is then the caller's own."""
        self._make_room()

    def _make_room(self) -> None:
        if self.next_leaf % SEGMENT_LEAVES or not self.next_leaf:
            return
        if self._entries:
            # One part never crosses a segment: what is pending is staged and published first.
            self._before_boundary()
        closed = self.writer.segment - 1
        version = self.writer.layout.sheet_version(closed)
        digest = sha256(self.writer.layout.sheet(closed, version).read_bytes()).digest()
        self._add_own(
            KEY_SHEET, {"segment": closed, "version": version, "rows": SEGMENT_LEAVES, "sha256": b64u(digest)}, None
        )

    def _add_own(self, event_type: str, data: dict[str, Any], links: dict[str, str] | None) -> int:
        return self._append_own(event_type, data, source=self._own_source(), links=links)

    def _append_own(
        self, event_type: str, data: dict[str, Any], *, source: Source, links: dict[str, str] | None
    ) -> int:
        leaf = self.next_leaf
        now = self._clock_us()
        record_id = uuid7(time_us=now, random=self._take_random(10))
        entry = format_leaf(Leaf.of(id=record_id, src=source, time_us=now, type=event_type, data=data, links=links))
        self._append(entry, source, header_block=b"", body=None)
        return leaf

    def _open_segment(self) -> None:
        """State that belongs to the segment of the next leaf."""
        self.next_leaf = self.writer.size
        segment, version = self.writer.segment, self.writer.sheet_version
        called = self.writer.layout.called  # two shards have the same segments, and no sheet key in common
        key = self._ring.key_for(Kind.SHEET, self._ring.scope(Kind.SHEET, called, str(segment), str(version)))
        self._sheet_aead = AESGCM(key.key)
        self._body_end = self.writer.body_at
        rows = self.writer.size % SEGMENT_LEAVES
        prefix = (
            self.writer.sheet_path().read_bytes()[: len(SHEET_MAGIC) + rows * len(ABSENT_ROW)] if rows else SHEET_MAGIC
        )
        self._sheet_hash = sha256(prefix)

    def _append(self, entry: bytes, source: Source, *, header_block: bytes, body: _SealedBody | None) -> None:
        ciphertext, row = (b"", ABSENT_ROW) if body is None else (body.ciphertext, body.row)
        self.next_leaf += 1
        self._entries.append(entry)
        self._headers += (len(header_block).to_bytes(2, "big"), header_block)
        self._bodies += (len(ciphertext).to_bytes(4, "big"), ciphertext)
        self._body_end += 4 + len(ciphertext)
        self._rows.append(row)
        self._sheet_hash.update(row)
        self.count(source)

    def _header(self, prepared: Prepared, record_id: bytes) -> bytes:
        """The encrypted header block."""
        return seal(
            self._header_aead,
            nonce=self._take_random(NONCE_BYTES),
            plaintext=prepared.header,
            associated=self._place.header_of(record_id, key_version=HEADER_KEY_VERSION),
        )

    def _body(self, prepared: Prepared, body: PreparedBody, wire: bytes, record_id: bytes) -> _SealedBody:
        wrapping = self._scope_key(body)
        now_s = prepared.time_us // 1_000_000
        scope = wrapping.scope
        is_request = prepared.type == LLM_REQUEST and body.json_wire
        beginning = self._citations.beginning(scope, wire, now_s=now_s) if is_request else NO_BEGINNING
        # Sharing a value adds a leaf of its own, so the index of this record is known only after it.
        shared = self._shared(body, wire, wrapping, start=beginning.length, now_s=now_s) if body.shared else {}
        leaf = self.next_leaf
        layout = self._citations.lay_out(
            wire,
            scope=scope,
            beginning=beginning,
            shared=shared,
            json=wire if body.json_wire else None,
            leaf=leaf,
            now_s=now_s,
        )
        if is_request:
            self._citations.remember_request(scope, wire, layout, beginning=beginning, now_s=now_s)
        compressed = body.compressed
        if compressed is None or len(layout.owned) != len(wire):  # Not all of the bytes are its own: it cites.
            compressed = self._compressed(body.meta, layout)
        sealed = self._seal_body(record_id, body, compressed, wrapping=wrapping)
        if self.recent is None:
            return sealed
        cites = tuple(dict.fromkeys(piece.leaf for piece in layout.citable if piece.leaf != leaf))
        return msgspec.structs.replace(sealed, added=_own_ranges(layout, leaf) if cites else None, cites=cites)

    def _compressed(self, meta: bytes, layout: Layout) -> bytes:
        return self._compress(body_content(meta, pieces=layout.pieces, owned=layout.owned))

    def _seal_body(self, record_id: bytes, body: PreparedBody, compressed: bytes, *, wrapping: RingKey) -> _SealedBody:
        """The body for the next leaf."""
        random = self._take_random(_BODY_RANDOM_BYTES)
        key, nonce, row_nonce = random[:KEY_BYTES], random[KEY_BYTES:-NONCE_BYTES], random[-NONCE_BYTES:]
        ciphertext = seal(
            AESGCM(key),
            nonce=nonce,
            plaintext=BODY_VERSION + body.seed + compressed,
            associated=self._place.body_of(record_id),
        )
        row = format_row(SheetRow(wrapping.id, wrap_key(wrapping.key, key), self._body_end + 4, len(ciphertext)))
        sealed_row = seal(
            self._sheet_aead,
            nonce=row_nonce,
            plaintext=row,
            associated=self._place.row(self.next_leaf, version=self.writer.sheet_version),
        )
        return _SealedBody(body.root, sha256(ciphertext).digest(), ciphertext, sealed_row)

    def _scope_key(self, body: PreparedBody) -> RingKey:
        if body.subject is not None:
            return self._ring.key_of(Kind.SUBJECT, self.name, body.subject)
        return self._ring.key_of(Kind.APP, self.name, body.scope_app)

    def _shared(
        self, body: PreparedBody, wire: bytes, subject: RingKey, *, start: int, now_s: int
    ) -> dict[int, Citation]:
        """Citations of system prompts and tool definitions that the app owns, by their offset in the wire bytes.

        Those that begin before `start` are part of the beginning, which is cited already.
        """
        app_scope = self._ring.scope(Kind.APP, self.name, body.scope_app)
        cited = {}
        for offset, length in body.shared:
            if offset < start or length < SHARED_BYTES_MIN:
                continue
            value = wire[offset : offset + length]
            citation = self._citations.recall_whole(app_scope, value, now_s=now_s)
            if citation is None and self._is_common(app_scope, value, subject):
                citation = self._add_shared(value, app_scope, now_s)
            if citation is not None:
                cited[offset] = citation
        return cited

    def _is_common(self, app_scope: bytes, value: bytes, subject: RingKey) -> bool:
        digest = self._citations.digest(app_scope, value)
        subjects = self._subjects.setdefault(digest, set())
        if subject.kind is Kind.SUBJECT:
            subjects.add(subject.scope)
        if len(self._subjects) > SHARED_CANDIDATES_MAX:
            self._subjects.pop(next(iter(self._subjects)))
        return len(subjects) >= SHARED_SUBJECTS_MIN

    def _add_shared(self, value: bytes, app_scope: bytes, now_s: int) -> Citation:
        self._make_room()
        leaf = self.next_leaf
        now = self._clock_us()
        record_id = uuid7(time_us=now, random=self._take_random(10))
        seed = self._take_random(SEED_BYTES)
        body = PreparedBody(seed=seed, root=BODY_SLOTS.root(seed, of_bytes(value)), meta=b"{}")
        compressed = self._compressed(body.meta, Layout(whole(value), value))
        wrapping = self._ring.key_for(Kind.APP, app_scope)
        sealed = self._seal_body(uuid_bytes(record_id), body, compressed, wrapping=wrapping)
        source = self._own_source()
        member = Body(b64u(sealed.root), b64u(sealed.sha256), bucket(len(sealed.ciphertext)))
        entry = format_leaf(Leaf.of(id=record_id, src=source, time_us=now, type=CONTENT_SHARED, body=member))
        self._append(entry, source, header_block=b"", body=sealed)
        self._citations.remember_whole(app_scope, value, leaf=leaf, now_s=now_s)
        self._make_room()
        return Citation(leaf, 0, len(value), now_s)


def _own_ranges(layout: Layout, leaf: int) -> tuple[tuple[int, int], ...]:
    """Where in the wire the bytes lie that a record at `leaf` owns."""
    ranges, at = [], 0
    for piece in layout.citable:
        if piece.leaf == leaf:
            ranges.append((at, at + piece.length))
        at += piece.length
    return tuple(ranges)


def _recent(prepared: Prepared, leaf: int, body: _SealedBody | None, wire: bytes) -> Unmasked:
    """A record as followers get it before it is masked."""
    return Unmasked(
        leaf=leaf,
        id=prepared.id,
        call=None if prepared.links is None else prepared.links.get("call"),
        type=prepared.type,
        time_us=prepared.time_us,
        header=prepared.header[1 + SEED_BYTES :],
        meta=b"{}" if prepared.body is None else prepared.body.meta,
        wire=wire,
        added=None if body is None else body.added,
        cites=() if body is None else body.cites,
        body_state="none" if body is None else "open",
    )
