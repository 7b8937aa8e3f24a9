"""What somebody can do who has the disk, and more than the disk: the signing keys of every log, or all keys.

Only files are changed here, and only in copies. An insider is thorough: whatever one forgery would contradict is
rewritten with it, so that an attempt fails for its own reason and for no other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SHEET_MAGIC, LogLayout
from affidavit.ledger.reader import LogReader, head_size
from affidavit.ledger.writer import ROW_BYTES
from affidavit.text import b64u
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import MlDsa44Cosigner, sign_checkpoint
from affidavit.tlog.edge import EMPTY_EDGE, grow
from affidavit.tlog.note import Ed25519Signer, parse_note

SEGMENT_0 = "000000"


def jcs(value: Any) -> bytes:
    """RFC 8785 for what leaves hold: ASCII, and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def checkpoint_of(note: bytes) -> Checkpoint:
    """What a head states."""
    return parse_checkpoint(parse_note(note).text)


@dataclass
class LogFiles:
    """One log of less than a segment, as lists that can be changed and written again."""

    layout: LogLayout
    entries: list[bytes]
    headers: list[bytes]
    bodies: list[bytes]
    rows: list[bytes]
    version: int = 1
    """Of the key sheet."""

    @classmethod
    def read(cls, data: Path, log: str) -> LogFiles:
        """All of a log."""
        layout = LogLayout(data / "logs" / log)
        size = head_size(layout)
        version = layout.sheet_version(0)
        sheet = layout.sheet(0, version).read_bytes()[len(SHEET_MAGIC) :]
        return cls(
            layout=layout,
            entries=list(LogReader(layout).entries(0, size, size=size)),
            headers=_frames(layout.headers(0).read_bytes(), width=2),
            bodies=_frames(layout.bodies(0).read_bytes(), width=4),
            rows=[sheet[at : at + ROW_BYTES] for at in range(0, len(sheet), ROW_BYTES)],
            version=version,
        )

    def leaf(self, index: int) -> dict[str, Any]:
        """A leaf as JSON."""
        return dict(json.loads(self.entries[index]))

    def put_leaf(self, index: int, leaf: dict[str, Any]) -> None:
        """Put a leaf in place of another."""
        self.entries[index] = jcs(leaf)

    def find(self, kind: str) -> list[int]:
        """Leaves of one type."""
        return [index for index in range(len(self.entries)) if self.leaf(index)["type"] == kind]

    def body_at(self, index: int) -> int:
        """Offset of a ciphertext in its file."""
        return len(BODIES_MAGIC) + sum(4 + len(body) for body in self.bodies[:index]) + 4

    def cut(self, size: int) -> None:
        """Forget everything from leaf `size` on."""
        for parts in (self.entries, self.headers, self.bodies, self.rows):
            del parts[size:]

    def state_sheets_again(self) -> None:
        """Make each `epoch.close` state the key rows as they are now."""
        for index in self.find("epoch.close"):
            leaf = self.leaf(index)
            rows = leaf["data"]["sheet"]["rows"]
            leaf["data"]["sheet"] |= {
                "sha256": b64u(sha256(SHEET_MAGIC + b"".join(self.rows[:rows])).digest()),
                "version": self.version,
            }
            self.put_leaf(index, leaf)

    def insert_before_close(self, leaves: list[tuple[str, dict[str, Any]]], *, time_us: int | None = None) -> list[int]:
        """Put leaves of the sealer's own before the last `epoch.close`, which counts them and states the sheet.

        They are of the time of that leaf, unless `time_us` says otherwise. Returns their places.
        """
        close = self.leaf(-1)
        assert close["type"] == "epoch.close"
        source, places = close["src"], []
        end = [part.pop() for part in (self.entries, self.headers, self.bodies, self.rows)]
        for kind, data in leaves:
            places.append(len(self.entries))
            leaf = close | {"type": kind, "data": data, "id": _new_id(), "src": dict(source)}
            leaf["time_us"] = time_us or close["time_us"]
            self.entries.append(jcs(leaf))
            for part in (self.headers, self.bodies):
                part.append(b"")
            self.rows.append(bytes(ROW_BYTES))
            source["seq"] += 1
        own = next(
            one for one in close["data"]["sources"] if one["boot"] == source["boot"] and one["id"] == source["id"]
        )
        own["last"] = source["seq"]
        close["data"]["sheet"] |= {
            "rows": len(self.rows),
            "sha256": b64u(sha256(SHEET_MAGIC + b"".join(self.rows)).digest()),
            "version": self.version,
        }
        for part, last in zip((self.entries, self.headers, self.bodies, self.rows), end, strict=True):
            part.append(last)
        self.put_leaf(-1, close)
        return places

    @property
    def root(self) -> bytes:
        """Root of the tree over the entries."""
        return grow(EMPTY_EDGE, self.entries).edge.root

    def write(self, *heads: bytes) -> None:
        """Write every file of the log anew; `heads` are those that are kept, the newest last."""
        directory = self.layout.directory
        for place in ("tree", "heads", "headers", "bodies", "sheets", "ids"):
            shutil.rmtree(directory / place)
            (directory / place).mkdir()
        for size in (*(checkpoint_of(head).size for head in heads[:-1]), len(self.entries)):
            for name, content in grow(EMPTY_EDGE, self.entries[:size]).files:
                path = self.layout.tree / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        self.layout.headers(0).write_bytes(HEADERS_MAGIC + b"".join(len(b).to_bytes(2) + b for b in self.headers))
        self.layout.bodies(0).write_bytes(BODIES_MAGIC + b"".join(len(b).to_bytes(4) + b for b in self.bodies))
        self.layout.sheet(0, self.version).write_bytes(SHEET_MAGIC + b"".join(self.rows))
        for head in heads:
            self.layout.head(checkpoint_of(head).size).write_bytes(head)
            self.layout.checkpoint.write_bytes(head)


def _new_id() -> str:
    """A record's id, UUID version 7 in its short form."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return b64u(bytes(raw))


def _frames(data: bytes, *, width: int) -> list[bytes]:
    frames, at = [], 8
    while at < len(data):
        start = at + width
        at = start + int.from_bytes(data[at:start], "big")
        frames.append(data[start:at])
    return frames


@dataclass
class LogKeys:
    """Both signing keys of a log, stolen or made up."""

    signer: Ed25519Signer
    cosigner: MlDsa44Cosigner

    @classmethod
    def stolen(cls, keys: Path, log: str) -> LogKeys:
        """Those of the key directory."""
        directory = keys / "signer" / log
        origin = json.loads((directory / "state").read_bytes())["origin"]
        return cls.of(origin, (directory / "ed25519").read_bytes(), (directory / "mldsa44").read_bytes())

    @classmethod
    def made_up(cls, origin: str) -> LogKeys:
        """New ones under the same name."""
        return cls.of(origin, os.urandom(32), os.urandom(32))

    @classmethod
    def of(cls, origin: str, ed25519: bytes, mldsa44: bytes) -> LogKeys:
        """From seeds."""
        signer = Ed25519Signer.from_seed(name=origin, seed=ed25519)
        return cls(signer, MlDsa44Cosigner.from_seed(name=origin, seed=mldsa44))

    def sign(self, size: int, root: bytes, *, time_s: int = 1_700_000_000) -> bytes:
        """A head with both signatures; `time_s`, since 1970 UTC, stands beside the second."""
        checkpoint = Checkpoint(self.signer.key.name, size, root)
        return sign_checkpoint(checkpoint, signer=self.signer, cosigner=self.cosigner, timestamp=time_s)


class Insider:
    """Holds a copy of the data directory and the signing keys of all its logs."""

    def __init__(self, data: Path, keys: Path) -> None:
        self.data = data
        self.keys = keys

    def rewrite(self, log: str, change: Callable[[LogFiles], None], *, kept: tuple[bytes, ...] = ()) -> None:
        """Change a log, sign it again as its only head but those `kept`, and make the system log agree."""
        files = LogFiles.read(self.data, log)
        change(files)
        self._sign(log, files, kept)
        if log != "system":
            self._state_roster_again()

    def head_over(self, log: str, size: int, root: bytes) -> bytes:
        """Any head at all."""
        return LogKeys.stolen(self.keys, log).sign(size, root)

    def _sign(self, log: str, files: LogFiles, kept: tuple[bytes, ...] = ()) -> None:
        files.write(*kept, self.head_over(log, len(files.entries), files.root))

    def _state_roster_again(self) -> None:
        system = LogFiles.read(self.data, "system")
        index = system.find("epoch.close")[-1]
        leaf = system.leaf(index)
        for row in leaf["data"]["roster"]:
            files = LogFiles.read(self.data, row["project"])
            row |= {"size": len(files.entries), "root": b64u(files.root)}
        system.put_leaf(index, leaf)
        self._sign("system", system)
