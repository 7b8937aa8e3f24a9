"""A ledger of many leaves in little time: its one project log is made in bulk, by arithmetic and not by sealing.

Leaves, tiles, bundles, heads and their signatures are real, so every verifier takes it. What costs time and room and
says nothing of the tree is left out: leaves have neither header block nor body, so the files of a segment are zeros,
which a file system keeps as holes.
"""

from __future__ import annotations

import os
import shutil
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SEGMENT_LEAVES, SHEET_MAGIC
from affidavit.ledger.writer import ROW_BYTES
from affidavit.tlog.edge import EMPTY_EDGE, Edge, grow
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
    """A directory of two logs, `system` and the one in bulk. Owner: whoever made it."""

    def __init__(self, root: Path) -> None:
        self.data: Final = root / "data"
        self.vkeys: Final = root / "system.vkeys"
        self.log: Final = LogMaker(NAME)
        self.system: Final = start_system(self.log)
        root.mkdir(parents=True, exist_ok=True)
        Ledger({"system": self.system}).write(self.data)
        self.system.signer.write_vkeys(self.vkeys)
        self._place: Final = self.data / "logs" / NAME
        for name in ("heads", "headers", "bodies", "sheets", "tree"):
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
            self._append(end, is_last=end == size)
        for segment in range(self.size // SEGMENT_LEAVES + 1):
            leaves = min(SEGMENT_LEAVES, self.size - segment * SEGMENT_LEAVES)
            for name, magic, width in _FILES:
                path = self._place / name.format(segment)
                if leaves and (not path.exists() or path.stat().st_size != len(magic) + leaves * width):
                    with path.open("r+b" if path.exists() else "w+b") as file:
                        file.write(magic)
                        file.truncate(len(magic) + leaves * width)
        head = self.log.signer.head(self.size, self._edge.root, TIME // 1_000_000 + self.size)
        (self._place / f"heads/{self.size}").write_bytes(head)
        (self._place / "tree/checkpoint").write_bytes(head)

    def adopt(self, size: int) -> None:
        """Somebody else has appended the leaves up to `size`, with a head."""
        leaves = [leaf(index) for index in range(self.size, size)]
        self._edge = grow(self._edge, leaves).edge

    def _append(self, end: int, *, is_last: bool) -> None:
        growth = grow(self._edge, [leaf(index) for index in range(self.size, end)])
        for path, content in growth.files:
            if ".p/" in path and not is_last:
                continue  # of a size that has no head
            target = self._place / "tree" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            os.write(fd, content)
            os.close(fd)
        for tile in growth.finished:
            shutil.rmtree(self._place / "tree" / tile.partials_path, ignore_errors=True)
        self._edge = growth.edge
