"""A ledger of many leaves in little time: its one project log is made in bulk, by arithmetic and not by sealing.

Leaves, tiles, bundles, heads and their signatures are real, so every verifier takes it. What costs time and room and
says nothing of the tree is left out: leaves have neither header block nor body, so the files of a segment are zeros,
which a file system keeps as holes.
"""

from __future__ import annotations

import shutil
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.ledger.writer import ROW_BYTES
from affidavit.tlog.edge import EMPTY_EDGE, Edge, grow
from affidavit.tlog.merkle import HASH_SIZE
from affidavit.tlog.tile import ENTRIES_LEVEL, TILE_HEIGHT, TILE_WIDTH, Tile, format_tile_path
from tests.verifier.ledger_maker import TIME, Ledger, LogMaker, jcs, start_system

NAME: Final = "bulk"
_DIGEST: Final = "A" * 43
_FILES: Final = (
    ("headers/{:06d}", HEADERS_MAGIC, 2),
    ("bodies/{:06d}", BODIES_MAGIC, 4),
    ("sheets/{:06d}.1", SHEET_MAGIC, ROW_BYTES),
)
"""Files of a segment, and the zero bytes of each leaf in them."""


def record_id(index: int) -> str:
    """Id of a leaf, as it stands there: a millisecond for each."""
    moment = TIME // 1_000 + index
    data = moment.to_bytes(6, "big") + b"\x70\x00" + (1 << 63 | index).to_bytes(8, "big")
    return urlsafe_b64encode(data)[:22].decode()


def leaf(index: int) -> bytes:
    """Leaf `index`: an intent where it is odd, its outcome behind it; the first opens the epoch."""
    if index == 0:
        return jcs(
            {
                "data": {"epoch": 1, "previous": None},
                "id": record_id(0),
                "src": {"boot": "BBBBBBBB", "id": "sealer", "seq": 1},
                "time_us": TIME,
                "type": "epoch.open",
                "v": 1,
            }
        )
    kind, links = (
        ("llm.request", "") if index & 1 else ("llm.response", f'"links":{{"call":"{record_id(index - 1)}"}},')
    )
    return (
        f'{{"id":"{record_id(index)}",{links}"src":{{"boot":"AAAAAAAA","digest":"{_DIGEST}","id":"worker0","seq":{index}}},'
        f'"time_us":{TIME + index * 1_000},"type":"{kind}","v":1}}'
    ).encode()


class BulkLedger:
    """A directory of two logs, `system` and the one in bulk. Owner: whoever made it.

    `instead` are leaves in the place of those that bulk would have, and `bodies` ciphertexts that leaves name.
    """

    def __init__(
        self, root: Path, *, instead: dict[int, bytes] | None = None, bodies: dict[int, bytes] | None = None
    ) -> None:
        self._instead: Final = instead or {}
        self._bodies: Final = bodies or {}
        self.data: Final = root / "data"
        self.vkeys: Final = root / "system.vkeys"
        self.log: Final = LogMaker(NAME)
        self.system: Final = start_system(self.log)
        root.mkdir(parents=True, exist_ok=True)
        Ledger({"system": self.system}).write(self.data)
        self.system.signer.write_vkeys(self.vkeys)
        self._place: Final = self.data / "logs" / NAME
        for name in ("heads", "headers", "bodies", "sheets", "tree", "ids"):
            (self._place / name).mkdir(parents=True)
        shutil.rmtree(self.data / "logs/alpha", ignore_errors=True)
        self._edge: Edge = EMPTY_EDGE

    @property
    def size(self) -> int:
        """Leaves of the log."""
        return self._edge.size

    def grow(self, size: int) -> None:
        """Have `size` leaves, and one head more, of that size."""
        while self.size < size:
            end = min(size, (self.size // SEGMENT_LEAVES + 1) * SEGMENT_LEAVES)
            self._append(end)
        self._write_partials()
        for segment in range(self.size // SEGMENT_LEAVES + 1):
            leaves = min(SEGMENT_LEAVES, self.size - segment * SEGMENT_LEAVES)
            for name, magic, width in _FILES:
                path = self._place / name.format(segment)
                if leaves and (not path.exists() or path.stat().st_size != len(magic) + leaves * width):
                    with path.open("r+b" if path.exists() else "w+b") as file:
                        file.write(magic)
                        file.truncate(len(magic) + leaves * width)
            self._write_bodies(segment)
        head = self.log.signer.head(self.size, self._edge.root, TIME // 1_000_000 + self.size)
        (self._place / f"heads/{self.size}").write_bytes(head)
        (self._place / "tree/checkpoint").write_bytes(head)

    def _write_bodies(self, segment: int) -> None:
        """A segment in which leaves have bodies: frames of all, and a row for each that has one."""
        first, end = segment * SEGMENT_LEAVES, min((segment + 1) * SEGMENT_LEAVES, self.size)
        if not self._bodies.keys() & {*range(first, end)}:
            return
        found = [self._bodies.get(index, b"") for index in range(first, end)]
        frames = b"".join(len(body).to_bytes(4, "big") + body for body in found)
        rows = b"".join(b"r" * ROW_BYTES if body else bytes(ROW_BYTES) for body in found)
        (self._place / f"bodies/{segment:06d}").write_bytes(BODIES_MAGIC + frames)
        (self._place / f"sheets/{segment:06d}.1").write_bytes(SHEET_MAGIC + rows)

    def adopt(self, size: int) -> None:
        """Somebody else has appended the leaves up to `size`, with a head."""
        leaves = [leaf(index) for index in range(self.size, size)]
        self._edge = grow(self._edge, leaves).edge

    def _append(self, end: int) -> None:
        growth = grow(self._edge, [self._instead.get(index) or leaf(index) for index in range(self.size, end)])
        for path, content in growth.files:
            if ".p/" not in path:
                self._write(path, content)
        for tile in growth.finished:
            shutil.rmtree(self._place / "tree" / tile.partials_path, ignore_errors=True)
        self._edge = growth.edge

    def _write_partials(self) -> None:
        """The unfinished tiles of a size that gets a head."""
        for level, tail in enumerate(self._edge.tails):
            if tail:
                index = (self.size >> TILE_HEIGHT * level) // TILE_WIDTH
                self._write(format_tile_path(Tile(level, index, len(tail) // HASH_SIZE)), tail)
        if self._edge.bundle_tail:
            tile = Tile(ENTRIES_LEVEL, self.size // TILE_WIDTH, self.size % TILE_WIDTH)
            self._write(format_tile_path(tile), self._edge.bundle_tail)

    def _write(self, path: str, content: bytes) -> None:
        target = self._place / "tree" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
