"""The stage: all that a cut adds to the logs, made once and durable before any log shows it.

Promise: sealing contains randomness, so it is never done twice. Once a stage is durable, publishing it is a replay that
can be cut short
and begun again any number of times with the same bytes as result.

Required order: new keys durable in the ring → `save` → publish each log → `remove`. Formats: docs/formats.md, section
9.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from affidavit.errors import CorruptionError
from affidavit.ledger.directory import Disk
from affidavit.ledger.leaf import Leaf, parse_leaf

MAGIC = b"afstage\n"
_DIGEST_BYTES = 32


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one cut adds to one log: exactly the bytes to be appended to the files of one segment."""

    log: str
    first: int
    """Index of the first leaf."""
    header_at: int
    """Offset in the file of header blocks at which `headers` begins."""
    body_at: int
    """Offset in the file of bodies at which `bodies` begins."""
    entries: tuple[bytes, ...]
    headers: bytes
    bodies: bytes
    rows: bytes

    def leaves(self) -> list[Leaf]:
        """The entries, parsed."""
        return [parse_leaf(entry) for entry in self.entries]


class _PartHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    log: str
    first: int
    count: int
    header_at: int
    body_at: int
    entries: int
    headers: int
    bodies: int
    rows: int


class _StageHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int
    cut: int
    logs: tuple[_PartHeader, ...]


def format_stage(*, cut: int, parts: tuple[Part, ...]) -> bytes:
    """Bytes of a stage."""
    headers = []
    pieces = []
    for part in parts:
        entries = b"".join(len(entry).to_bytes(2, "big") + entry for entry in part.entries)
        headers.append(
            _PartHeader(
                log=part.log,
                first=part.first,
                count=len(part.entries),
                header_at=part.header_at,
                body_at=part.body_at,
                entries=len(entries),
                headers=len(part.headers),
                bodies=len(part.bodies),
                rows=len(part.rows),
            )
        )
        pieces += [entries, part.headers, part.bodies, part.rows]
    head = msgspec.json.encode(_StageHeader(v=1, cut=cut, logs=tuple(headers)), order="sorted")
    pieces[:0] = [MAGIC, len(head).to_bytes(4, "big"), head]
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return b"".join([*pieces, digest.digest()])


def parse_stage(data: bytes) -> tuple[int, tuple[Part, ...]]:
    """`(cut, parts)`.

    Raises:
        CorruptionError: The bytes are not those that were made durable.
    """
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not data.startswith(MAGIC) or sha256(body).digest() != digest:
        message = (
            "a stage is not as it was written; nothing of it was published from now on, and its records are still in "
            "the write-ahead log"
        )
        raise CorruptionError(message)
    at = len(MAGIC) + 4
    end = at + int.from_bytes(body[len(MAGIC) : at], "big")
    try:
        header = msgspec.json.decode(body[at:end], type=_StageHeader)
    except msgspec.MsgspecError as error:
        message = "a stage has a header that this version does not know"
        raise CorruptionError(message) from error
    parts = []
    at = end
    for part in header.logs:
        entries, at = _entries(body[at : at + part.entries], part.count), at + part.entries
        headers, at = body[at : at + part.headers], at + part.headers
        bodies, at = body[at : at + part.bodies], at + part.bodies
        rows, at = body[at : at + part.rows], at + part.rows
        parts.append(
            Part(
                log=part.log,
                first=part.first,
                header_at=part.header_at,
                body_at=part.body_at,
                entries=entries,
                headers=headers,
                bodies=bodies,
                rows=rows,
            )
        )
    return header.cut, tuple(parts)


def _entries(data: bytes, count: int) -> tuple[bytes, ...]:
    entries = []
    at = 0
    for _ in range(count):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : end])
        at = end
    return tuple(entries)


class StageDirectory:
    """The stages that lie on disk, oldest first; normally none, and one while a cut is published."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        disk.mkdir(directory)

    def pending(self) -> list[Path]:
        """Durable stages in the order of their cuts.

        Leftovers of a write that died are removed: their records are in the write-ahead log.
        """
        for leftover in self._directory.glob("*.tmp"):
            self._disk.unlink(leftover)
        return sorted(path for path in self._directory.iterdir() if path.name.isdigit())

    def save(self, *, cut: int, parts: tuple[Part, ...]) -> Path:
        """Make a stage durable.

        If we die before the rename, the cut is made again from the write-ahead log; after it, this stage is published.
        """
        path = self._directory / f"{cut:08d}"
        self._disk.replace(path, format_stage(cut=cut, parts=parts))
        return path

    def remove(self, path: Path) -> None:
        """Every log of the cut has its head. If we die before it, the stage is replayed and changes nothing."""
        self._disk.unlink(path)
        self._disk.fsync_directory(self._directory)
