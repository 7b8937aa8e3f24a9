"""Going on where an earlier verification of one log ended.

Promise: what is taken from the memory is tied to the newest head before a leaf is read: the tiles that lie there now
give the remembered root, and the newest tree extends it. Where that does not hold, or where only old leaves could
answer a question that new ones raise, `Doubt` is raised: then everything is read again, and that names what is wrong.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable
from typing import Final

from affidavit.errors import AffidavitError, FormatError
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.prove.account import Account
from affidavit.prove.bodies import UNREADABLE
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.leaves import parse_leaves
from affidavit.prove.memory import LogMemory
from affidavit.prove.tree import BUNDLE_BYTES_MAX, Start, TileFiles
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.entry import parse_bundle
from affidavit.tlog.merkle import (
    HASH_SIZE,
    NodeReader,
    consistency_proof,
    frontier_at,
    verify_consistency,
)
from affidavit.tlog.note import encode_base64
from affidavit.tlog.tile import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    format_tile_path,
    node_reader,
    parse_tile,
    parse_tile_path,
    tile_at,
)

_ID: Final = re.compile(rb'"id":"([A-Za-z0-9_-]{22})"')
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


class Doubt(Exception):  # noqa: N818 - it is a reason to read everything, not an error
    """What the memory says is not enough, or does not fit what lies there."""


class Recalled:
    """What is taken from the memory of one log, once it is tied to the newest head.

    Raises:
        Doubt: It cannot be.
    """

    def __init__(self, files: Files, *, log: str, memory: LogMemory, newest: Checkpoint) -> None:
        self._files: Final = files
        self._place: Final = f"logs/{log}/tree/"
        self._memory: Final = memory
        if newest.size < memory.size:
            raise Doubt(f"{log}: {newest.size} leaves are here, and {memory.size} were verified before")
        self._newest: Final = newest
        try:
            self._node: Final = node_reader(newest.size, self._read)
            self.start: Final = self._start()
        except AffidavitError as error:
            raise Doubt(f"{log}: its tiles do not give the tree that was verified before: {error}") from error
        if encode_base64(self.start.frontier.root) != memory.root:
            raise Doubt(f"{log}: its first {memory.size} leaves are not those that were verified before")

    @property
    def size(self) -> int:
        """Leaves that are not read again."""
        return self._memory.size

    def _read(self, path: str) -> bytes:
        return self._files.read(self._place + path, bytes_max=BUNDLE_BYTES_MAX)

    def _start(self) -> Start:
        size, level, tails = self._memory.size, 0, []
        while count := size >> TILE_HEIGHT * level:
            index, width = divmod(count, TILE_WIDTH)
            tail = b""
            if width:
                tile = tile_at(level=level, index=index, size=self._newest.size)
                tail = parse_tile(tile, self._read(format_tile_path(tile)))[: width * HASH_SIZE]
            tails.append(tail)
            level += 1
        start = Start(frontier_at(size, self._node), tuple(tails))
        _require_growth(size, start.frontier.root, self._newest, self._node)
        return start

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """Roots at sizes below the remembered one, each tied to the newest head by a proof.

        Raises:
            Doubt: The tiles do not give them.
        """
        found = {}
        for size in sorted({size for size in sizes if 0 < size < self._memory.size}):
            try:
                root = frontier_at(size, self._node).root
                _require_growth(size, root, self._newest, self._node)
            except AffidavitError as error:
                raise Doubt(f"{self._place}: its tiles do not give the tree of {size} leaves: {error}") from error
            found[size] = root
        return found

    def is_settled(self, account: Account) -> Callable[[int, list[int]], bool]:
        """Whether a key sheet of a segment need not be read: all was said of it before, and nothing since."""
        before = {sheet.segment: sheet for sheet in self._memory.account.sheets}
        first_new, uncovered = self._memory.size // SEGMENT_LEAVES, {*self._memory.uncovered}

        def is_settled(segment: int, versions: list[int]) -> bool:
            stated = account.sheets.get(segment)
            version = stated.version if stated else 1
            return (
                segment < first_new
                and segment not in uncovered
                and stated == before.get(segment)
                and versions == [version]
            )

        return is_settled

    def require_new_ids(self, account: Account) -> None:
        """No leaf that was heard may have the id of one that was not read.

        Raises:
            Doubt: One has.
        """
        near = account.id_times.near()
        if not near:
            return
        new = account.ids
        bundles = {at for run in near for at in range(run.first // TILE_WIDTH, (run.end - 1) // TILE_WIDTH + 1)}
        for bundle in sorted(bundles):
            tile = tile_at(level=ENTRIES_LEVEL, index=bundle, size=self._newest.size)
            try:
                data = self._read(format_tile_path(tile))
            except UnusableFileError as error:
                raise Doubt(str(error)) from error
            first, last = bundle * TILE_WIDTH, min((bundle + 1) * TILE_WIDTH, self._memory.size)
            if any(a2b_base64(text.translate(_FROM_URL) + b"==") in new for text in _ids_in(data, last - first)):
                raise Doubt(f"{self._place}: a new leaf may have the id of one below {last}")

    def bodies_of(self, tiles: TileFiles) -> Callable[[int], bytes]:
        """Reads again which leaves of an earlier segment have a body."""

        def of_segment(segment: int) -> bytes:
            flags = bytearray()
            bundles = SEGMENT_LEAVES // TILE_WIDTH
            for index in range(segment * bundles, (segment + 1) * bundles):
                entries = tiles.read_leaves(index)[1]
                try:
                    leaves = parse_leaves(entries or [])
                except FormatError:
                    leaves = []
                flags += bytes([leaf.body is not None for leaf in leaves]) or bytes([UNREADABLE]) * TILE_WIDTH
            return bytes(flags)

        return of_segment


def _ids_in(bundle: bytes, count: int) -> list[bytes]:
    """What may be ids in the first `count` entries of a bundle."""
    try:
        width = _entries_in(bundle)
        entries = parse_bundle(bundle, width)
    except FormatError:
        return _ID.findall(bundle)
    return [text for entry in entries[:count] for text in _ID.findall(entry)]


def _entries_in(bundle: bytes) -> int:
    count = at = 0
    while at + 2 <= len(bundle):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
        count += 1
    return count


def _require_growth(size: int, root: bytes, newest: Checkpoint, node: NodeReader) -> None:
    proof = consistency_proof(old_size=size, new_size=newest.size, node=node)
    verify_consistency(old_size=size, old_root=root, new_size=newest.size, new_root=newest.root, proof=proof)


def is_unsettled(name: str, *, size: int) -> bool:
    """Whether a file of a log of which `size` leaves were verified may say anything new: heads, tiles and blocks."""
    kind, _, below = name.partition("/")
    if kind == "heads":
        return int(below) > size
    if kind in {"bodies", "headers"}:
        return int(below) >= size // SEGMENT_LEAVES
    if kind == "tree" and below != "checkpoint":
        tile = parse_tile_path(below)
        return tile.index >= (size >> TILE_HEIGHT * max(tile.level, 0)) // TILE_WIDTH
    return True
