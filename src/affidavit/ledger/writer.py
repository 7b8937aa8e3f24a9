"""Publishing: from a durable stage to a signed head, by the same code for an ordinary cut and after a crash.

Promise: a head is signed only when everything that it speaks of is durable under its final name; a published file never
changes; replaying
a part that is published, whole or half, ends in the same bytes.

Required order, each step durable before the next: segment files → bundles and tiles → signature → ``heads/<size>`` →
``checkpoint``.
Then the partial tiles of finished tiles are unlinked. Formats: docs/formats.md, sections 2 and 4 to 6.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from affidavit.errors import CorruptionError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SEGMENT_LEAVES, SHEET_MAGIC, LogLayout
from affidavit.ledger.stage import Part
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import verify_log_head
from affidavit.tlog.edge import EMPTY_EDGE, Edge, Growth, edge_at, grow
from affidavit.tlog.merkle import consistency_proof
from affidavit.tlog.note import parse_note
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.tile import Tile, finished_tiles, node_reader

ROW_BYTES = 88


class Sign(Protocol):
    """Whoever holds the log's signing keys."""

    def __call__(self, checkpoint: Checkpoint, *, old_size: int, proof: tuple[bytes, ...]) -> bytes:
        """The signed head; raises `SignerRefusedError` unless the head extends the last one that was signed."""
        ...


class LogWriter:
    """The one writer of one log. Owner: the sealer's thread; the directory lock keeps others out."""

    def __init__(self, *, layout: LogLayout, origin: str, keys: KeyHistory, sign: Sign, disk: Disk) -> None:
        self.layout: Final = layout
        self.origin: Final = origin
        self.keys = keys
        """Which pair signs heads of which size; it grows with a rotation."""
        self._sign: Final = sign
        self._disk: Final = disk
        for directory in ("tree", "heads", "bodies", "headers", "sheets", "ids"):
            disk.mkdir(layout.directory / directory)
        self._edge = self._load()
        self._sheet_version = layout.sheet_version(self.segment)
        self._header_at, self._body_at = self._segment_ends()

    @property
    def size(self) -> int:
        """Leaves that the newest head covers."""
        return self._edge.size

    @property
    def root(self) -> bytes:
        """Root of the newest head."""
        return self._edge.root

    @property
    def segment(self) -> int:
        """Segment of the next leaf."""
        return self._edge.size // SEGMENT_LEAVES

    @property
    def header_at(self) -> int:
        """Where the next header block goes."""
        return self._header_at

    @property
    def body_at(self) -> int:
        """Where the next body goes."""
        return self._body_at

    def sheet_path(self) -> Path:
        """The key sheet that the next row goes to."""
        return self.layout.sheet(self.segment, self._sheet_version)

    @property
    def sheet_version(self) -> int:
        """Version of that sheet."""
        return self._sheet_version

    def start(self) -> None:
        """Publish the head of the empty log, if there is none."""
        if not self.layout.checkpoint.exists():
            self._publish_head(EMPTY_EDGE, old=EMPTY_EDGE)

    def publish(self, part: Part) -> None:
        """Bring the log to the end of `part`; a part that is published already changes nothing.

        Raises:
            CorruptionError: The part does not follow the log's end, or what is published already differs from it.
        """
        end = part.first + len(part.entries)
        if self.size >= end:
            # A crash between the head and the unlinking left partials behind; the stage was there until now.
            self._unlink_partials(tuple(finished_tiles(part.first, end)))
            return
        if self.size != part.first:
            message = (
                f"log {self.layout.name} has {self.size} leaves and the stage begins at {part.first}; nothing was "
                f"published"
            )
            raise CorruptionError(message)
        self._append_segment(part)
        growth = grow(self._edge, part.entries)
        self._publish_tiles(growth)
        self._publish_head(growth.edge, old=self._edge)
        self._edge = growth.edge
        self._unlink_partials(growth.finished)
        if end % SEGMENT_LEAVES == 0:
            self._sheet_version = 1
            self._header_at, self._body_at = len(HEADERS_MAGIC), len(BODIES_MAGIC)
        else:
            self._header_at, self._body_at = part.header_at + len(part.headers), part.body_at + len(part.bodies)

    def thin_heads(self, *, now_s: int, kept_s: int) -> int:
        """Unlink heads older than `kept_s` but for the last of each minute, those with anchors, and the newest.

        Returns how many went.

        A head's age is that of its file: it decides what is kept, never what is believed.
        """
        last_of_minute: dict[int, int] = {}
        old: list[tuple[int, int]] = []
        for path in self.layout.heads.iterdir():
            written_s = int(path.stat().st_mtime)
            size, minute = int(path.name), written_s // 60
            last_of_minute[minute] = max(size, last_of_minute.get(minute, 0))
            if now_s - written_s > kept_s and size != self.size:
                old.append((size, minute))
        anchored = {path.name.partition(".")[0] for path in self.layout.anchors.glob("*")}
        gone = [size for size, minute in old if last_of_minute[minute] != size and str(size) not in anchored]
        for size in gone:
            self._disk.unlink(self.layout.head(size))
        return len(gone)

    def _append_segment(self, part: Part) -> None:
        segment = part.first // SEGMENT_LEAVES
        rows_at = len(SHEET_MAGIC) + part.first % SEGMENT_LEAVES * ROW_BYTES
        self._append(self.layout.bodies(segment), at=part.body_at, data=part.bodies, magic=BODIES_MAGIC)
        self._append(self.layout.headers(segment), at=part.header_at, data=part.headers, magic=HEADERS_MAGIC)
        self._append(self.sheet_path(), at=rows_at, data=part.rows, magic=SHEET_MAGIC)

    def _append(self, path: Path, *, at: int, data: bytes, magic: bytes) -> None:
        """Make the file end with `data` at `at`.

        If we die within it, some of `data` is there; the replay cuts the file back to `at` and writes all of it again.
        The part that begins a file writes its magic, too: what a power cut left of an earlier try may be zeros. It also
        makes the name durable, which an earlier try may not have come to.
        """
        begins = at == len(magic)
        fd = self._disk.open_append(path)
        try:
            length = os.fstat(fd).st_size
            if not begins and length < at:
                message = f"{path.name} ends before the place where the stage continues it; restore it from a backup"
                raise CorruptionError(message)
            keep = 0 if begins else at
            if length > keep:
                self._disk.truncate(fd, keep)
            self._disk.write(fd, magic + data if begins else data)
            self._disk.fdatasync(fd)
        finally:
            os.close(fd)
        if begins:
            self._disk.fsync_directory(path.parent)

    def _publish_tiles(self, growth: Growth) -> None:
        directories = set()
        for name, content in growth.files:
            path = self.layout.tree / name
            if path.parent not in directories:
                self._disk.mkdir(path.parent)
                directories.add(path.parent)
            self._disk.publish(path, content)
        # If we die before the names are durable, the head is not signed yet, and the replay publishes the same files.
        for directory in sorted(directories):
            self._disk.fsync_directory(directory)

    def _publish_head(self, edge: Edge, *, old: Edge) -> None:
        proof = (
            consistency_proof(old_size=old.size, new_size=edge.size, node=node_reader(edge.size, self.layout.read_tree))
            if old.size
            else ()
        )
        head = self._sign(Checkpoint(self.origin, edge.size, edge.root), old_size=old.size, proof=proof)
        path = self.layout.head(edge.size)
        # If we die here, the signer knows this head and will sign the same (size, root) again, with another timestamp;
        # a valid
        # head of that size that is there already is kept, so that there are never two of one size.
        if path.exists():
            head = self._kept_head(path, edge)
        else:
            self._disk.publish(path, head)
        self._disk.fsync_directory(path.parent)
        self._disk.replace(self.layout.checkpoint, head)

    def _kept_head(self, path: Path, edge: Edge) -> bytes:
        head = path.read_bytes()
        kept = verify_log_head(head, self.keys.at(edge.size))
        if (kept.size, kept.root) != (edge.size, edge.root):
            message = (
                f"log {self.layout.name} has a head of size {edge.size} with another root; it is kept as evidence, "
                f"nothing was written"
            )
            raise CorruptionError(message)
        return head

    def _unlink_partials(self, finished: tuple[Tile, ...]) -> None:
        for tile in finished:
            directory = self.layout.tree / tile.partials_path
            if directory.is_dir():
                for partial in directory.iterdir():
                    self._disk.unlink(partial)
                self._disk.rmdir(directory)

    def _load(self) -> Edge:
        for leftover in self.layout.directory.rglob("*.tmp"):
            self._disk.unlink(leftover)
        if not self.layout.checkpoint.exists():
            return EMPTY_EDGE
        head = self.layout.checkpoint.read_bytes()
        # Its own size names the keys that must have signed it: another size would need other keys' signatures.
        checkpoint = verify_log_head(head, self.keys.at(parse_checkpoint(parse_note(head).text).size))
        edge = edge_at(checkpoint.size, self.layout.read_tree) if checkpoint.size else EMPTY_EDGE
        if checkpoint.origin != self.origin or edge.root != checkpoint.root:
            message = (
                f"the files of log {self.layout.name} do not agree with its head; run `affidavit verify`, nothing was "
                f"written"
            )
            raise CorruptionError(message)
        return edge

    def _segment_ends(self) -> tuple[int, int]:
        """Ends of the segment files as the newest head has them: found by walking their frames."""
        rows = self.size % SEGMENT_LEAVES
        return (
            _walk(self.layout.headers(self.segment), magic=HEADERS_MAGIC, width=2, frames=rows),
            _walk(self.layout.bodies(self.segment), magic=BODIES_MAGIC, width=4, frames=rows),
        )


def _walk(path: Path, *, magic: bytes, width: int, frames: int) -> int:
    """Offset behind the first `frames` frames of a segment file, each a length of `width` bytes and that many bytes."""
    at = len(magic)
    if not frames:
        return at
    data = path.read_bytes()
    for _ in range(frames):
        at += width + int.from_bytes(data[at : at + width], "big")
    if at > len(data):
        message = f"{path.name} is shorter than the head of its log says; run `affidavit verify`, nothing was written"
        raise CorruptionError(message)
    return at


def frame_places(
    path: Path, *, magic: bytes, width: int, frames: int, read: Callable[[Path], bytes] = Path.read_bytes
) -> list[tuple[int, int]]:
    """`(offset, length)` of the first frames of a segment file."""
    if not frames:
        return []
    data = read(path)
    at = len(magic)
    places = []
    for _ in range(frames):
        length = int.from_bytes(data[at : at + width], "big")
        places.append((at + width, length))
        at += width + length
    return places
