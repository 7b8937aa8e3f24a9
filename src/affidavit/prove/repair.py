"""Healing what redundancy can heal, and naming the rest. Formats: docs/formats.md, sections 1 and 2.

Promise: a file is written only with bytes that a signed head proves: tiles and bundles that together have the root of
the newest head, and heads that both keys of their log signed. Everything else (lost entries, ciphertexts, key rows,
signatures) is named and not touched. Nothing is ever invented, and `plan` changes nothing at all; `apply` does one
repair, and dying between two of them, or within one, leaves what the next run finishes.

What holds what: a hash tile is made of the bundles below it, an earlier partial tile is the beginning of the newest
one, `checkpoint` is the newest of `heads/`, and maps of ids are made again from the leaves. A bundle that was damaged
has no second copy but a wider one; its tile then still tells that it was, so that the rest of the tree can be proved.

Required order: whoever applies holds the lease of both directories, so that no service writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, CorruptionError, FormatError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.places import Places
from affidavit.ledger.public_keys import published_keys
from affidavit.ledger.reader import check_ids
from affidavit.ledger.shards import shard_log
from affidavit.ledger.signer import SignerState
from affidavit.prove.files import Files
from affidavit.prove.fsck import Problem
from affidavit.prove.pending import check_stages, staged_end
from affidavit.prove.report import Findings
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import verify_log_head
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import EMPTY_ROOT, HASH_SIZE, frontier_at, leaf_row, row_root
from affidavit.tlog.note import parse_note
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.tile import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    format_tile_path,
    parse_tile_path,
    tile_at,
    tiles_of,
)

CHOICES_MAX: Final = 4_096
"""Trees that are tried where bundles and tiles contradict each other: twelve contradictions, two answers each."""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """One file that can be put right."""

    path: Path
    what: str
    content: bytes | None
    """What it must hold; ``None``: it must not be there."""


def plan(places: Places) -> Iterator[Repair | Problem]:
    """Everything that can be healed, and what is damaged and cannot be, in the order in which it must be done.

    It is made as it goes: whoever applies each repair when it comes heals the same as in one step.
    """
    files, listing = Files(places.data), Findings()
    names = files.list(listing)
    files.check_leftovers(listing)
    for finding in listing.sorted():
        name = finding.what.partition(":")[0]
        if finding.code == "LEFTOVER" and name.endswith(".tmp"):
            what = "left over from an interrupted write; nothing in it counts"
            yield Repair(path=places.data / name, what=what, content=None)
    staged = check_stages(files, names[""], Findings().for_log(None))
    number = places.shard
    for log in sorted(name for name in names if name):
        layout = DataLayout(places.data).log(log)
        yield from _Log(layout, keys=places.keys, called=shard_log(log, number), staged=staged.get(log, [])).plan()
        yield from _ids(layout)


def apply(repair: Repair, disk: Disk) -> None:
    """Do one repair, durably."""
    if repair.content is None:
        # If we die here, it is still there, and the next run removes it.
        disk.unlink(repair.path)
        disk.fsync_directory(repair.path.parent)
        return
    disk.mkdir(repair.path.parent)
    # The damaged file stands until the whole one takes its name.
    disk.replace(repair.path, repair.content)


def _ids(layout: LogLayout) -> Iterator[Repair]:
    for path in sorted((layout.directory / "ids").glob("*")):
        if "." in path.name or not check_ids(path):
            yield Repair(path=path, what="disposable and not whole; it is made again from the leaves", content=None)


def _lost(where: str, what: str) -> Problem:
    return Problem(
        where=where, what=f"{what}; no other copy of it is here. Restore it from a backup", needs_a_hand=True
    )


class _Log:
    """What can be done for one log."""

    def __init__(self, layout: LogLayout, *, keys: Path, called: str, staged: list[tuple[int, int]]) -> None:
        self._layout: Final = layout
        self._place: Final = f"logs/{layout.name}"
        self._keys: Final = _keys(keys / "public", called)
        self._state: Final = _signer_state(keys / "signer" / called / "state")
        self._staged: Final = staged

    def plan(self) -> Iterator[Repair | Problem]:
        if self._keys is None:
            what = (
                "its verifier keys are not in the key directory, so that no head can be believed; nothing is repaired"
            )
            yield Problem(where=self._place, what=what, needs_a_hand=True)
            return
        kept = self._kept()
        head = yield from self._newest(kept)
        if head is not None and head.size:
            sizes = sorted(size for size in kept if size <= head.size)
            yield from _Tree(self._layout, head, kept=sizes).plan()

    def _open(self, path: Path) -> tuple[Checkpoint, bytes] | None:
        if self._keys is None:
            return None
        try:
            data = path.read_bytes()
            return verify_log_head(data, self._keys.of_head(data)), data
        except (OSError, AffidavitError):
            return None

    def _kept(self) -> dict[int, bytes]:
        """Kept heads that both keys signed, by size."""
        found = {}
        for path in self._layout.heads.glob("*"):
            opened = self._open(path) if path.name.isdigit() else None
            if opened is not None and str(opened[0].size) == path.name:
                found[opened[0].size] = opened[1]
        return found

    def _newest(self, kept: dict[int, bytes]) -> Generator[Repair | Problem, None, Checkpoint | None]:
        """Returns the head that everything else is proved by."""
        for path in sorted(self._layout.heads.glob("*"), key=lambda path: path.name):
            if path.name.isdigit() and int(path.name) not in kept and not self._is_checkpoint(int(path.name)):
                yield _lost(f"{self._place}/heads/{path.name}", "not a head that both keys of its log signed")
        opened = self._open(self._layout.checkpoint)
        if opened is not None:
            head, data = opened
            if head.size not in kept:
                what = "the newest head is not kept, or not as it was signed; the checkpoint holds it"
                yield Repair(path=self._layout.head(head.size), what=what, content=data)
            elif kept[head.size] != data:
                what = "not the same bytes as the head that is kept of its size"
                yield Repair(path=self._layout.checkpoint, what=what, content=kept[head.size])
            return head
        size = max(kept, default=-1)
        where = f"{self._place}/tree/checkpoint"
        if size < 0:
            yield _lost(where, "there is no head that both keys of this log signed")
            return None
        if self._state is not None and self._state.size > staged_end(size, self._staged):
            yield _lost(where, f"the head of size {self._state.size} was signed last, and none of that size is here")
            return None
        yield Repair(path=self._layout.checkpoint, what="the newest of the heads that are kept", content=kept[size])
        return parse_checkpoint(parse_note(kept[size]).text)  # it was verified when it was taken

    def _is_checkpoint(self, size: int) -> bool:
        opened = self._open(self._layout.checkpoint)
        return opened is not None and opened[0].size == size


class _Tree:
    """The tiles of one log, proved by its newest head."""

    def __init__(self, layout: LogLayout, head: Checkpoint, *, kept: list[int]) -> None:
        self._layout: Final = layout
        self._head: Final = head
        self._kept: Final = kept
        self._roots: list[bytes] = []
        """Of each full tile of level 0, proved."""
        self._tail = b""
        """Leaf hashes behind the last full tile, proved."""
        self._remembered: tuple[int, tuple[bytes | None, list[bytes] | None]] | None = None

    def plan(self) -> Iterator[Repair | Problem]:
        place = f"logs/{self._layout.name}/tree"
        if not self._prove():
            what = "neither its bundles nor its tiles have the root of the newest head, so that nothing can be proved"
            yield _lost(place, what)
            return
        seen: set[Tile] = set()
        for tiles in (tiles_of(self._head.size), self._partials_of_kept_heads()):
            for tile in tiles:
                if tile not in seen:
                    seen.add(tile)
                    yield from self._one(tile)
        for tile in self._partials_on_disk():
            if tile not in seen:
                yield from self._superseded(tile)

    def _one(self, tile: Tile) -> Iterator[Repair | Problem]:
        path = self._layout.tree / format_tile_path(tile)
        content, found = self._content(tile), _read(path)
        if content is None and not self._is_beginning(tile, found):
            what = "it does not hold what the newest head was signed over"
            yield _lost(f"logs/{self._layout.name}/tree/{format_tile_path(tile)}", what)
        elif content is not None and found != content:
            what = "missing" if found is None else "damaged"
            yield Repair(path=path, what=f"{what}; what it must hold is proved by the newest head", content=content)

    def _superseded(self, tile: Tile) -> Iterator[Repair]:
        """A partial tile that no kept head needs."""
        path = self._layout.tree / format_tile_path(tile)
        content = self._content(tile)
        if self._is_finished(tile):
            if self._content(Tile(tile.level, tile.index)) is not None:
                yield Repair(path=path, what="its tile is full, which holds it", content=None)
        elif content is not None and _read(path) != content:
            yield Repair(path=path, what="damaged; the newest tile begins with what it must hold", content=content)

    def _is_beginning(self, tile: Tile, found: bytes | None) -> bool:
        """Whether a partial bundle is right where the newest one at its place is not."""
        row = self._proved(tile.index)[0]
        try:
            entries = parse_bundle(found or b"", tile.width)
        except FormatError:
            return False
        return row is not None and leaf_row(entries) == row[: tile.width * HASH_SIZE]

    # --- proof ---------------------------------------------------------------------------------------------------

    def _prove(self) -> bool:
        """Find, among what bundles, tiles and the level above say of each tile, that which has the head's root."""
        full, width = divmod(self._head.size, TILE_WIDTH)
        said = [self._said(index) for index in range(full)]
        above = self._level_above(full)
        candidates = [
            list(dict.fromkeys(one for one in (*said[index], above[index]) if one is not None)) for index in range(full)
        ]
        tails = list(dict.fromkeys(row for row in self._rows(full, width) if row is not None)) if width else [b""]
        if not tails or not all(candidates):
            return False
        for roots in self._choices(candidates, said, above):
            for tail in tails:
                if self._root_of(roots, tail) == self._head.root:
                    self._roots, self._tail = roots, tail
                    return True
        return False

    def _choices(
        self, candidates: list[list[bytes]], said: list[tuple[bytes | None, bytes | None]], above: list[bytes | None]
    ) -> Iterator[list[bytes]]:
        """Bundles first, since they hold what tiles only hash; then the level above; then every combination."""
        yield [one[0] for one in candidates]
        yield [seen or one[0] for seen, one in zip(above, candidates, strict=True)]
        yield [tile or one[0] for (_, tile), one in zip(said, candidates, strict=True)]
        open_to_doubt = [index for index, one in enumerate(candidates) if len(one) > 1]
        count = 1
        for index in open_to_doubt:
            count *= len(candidates[index])
        if count > CHOICES_MAX:
            return
        for chosen in product(*(candidates[index] for index in open_to_doubt)):
            roots = [one[0] for one in candidates]
            for index, root in zip(open_to_doubt, chosen, strict=True):
                roots[index] = root
            yield roots

    def _said(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Roots of a full tile: by its bundle, and by its hashes."""
        by_bundle, by_tile = self._rows(index, TILE_WIDTH)
        return (row_root(by_bundle) if by_bundle else None, row_root(by_tile) if by_tile else None)

    def _rows(self, index: int, width: int) -> tuple[bytes | None, bytes | None]:
        """Leaf hashes of a tile: by its bundle, and by itself."""
        entries = self._entries(index, width)
        row = _read(self._layout.tree / format_tile_path(Tile(0, index, width)))
        whole = row is not None and len(row) == width * HASH_SIZE
        return (leaf_row(entries) if entries is not None else None, row if whole else None)

    def _entries(self, index: int, width: int) -> list[bytes] | None:
        try:
            return parse_bundle(
                (self._layout.tree / format_tile_path(Tile(ENTRIES_LEVEL, index, width))).read_bytes(), width
            )
        except (OSError, FormatError):
            return None

    def _level_above(self, full: int) -> list[bytes | None]:
        """What the tiles of level 1 say of each full tile."""
        found: list[bytes | None] = []
        for index in range(-(-full // TILE_WIDTH)):
            width = min(TILE_WIDTH, full - index * TILE_WIDTH)
            row = _read(self._layout.tree / format_tile_path(Tile(1, index, width)))
            whole = row is not None and len(row) == width * HASH_SIZE
            found += [row[at * HASH_SIZE :][:HASH_SIZE] if row and whole else None for at in range(width)]
        return found

    def _root_of(self, roots: list[bytes], tail: bytes) -> bytes:
        full = len(roots) * TILE_WIDTH

        def node(level: int, index: int) -> bytes:
            if level >= TILE_HEIGHT:
                count = 1 << level - TILE_HEIGHT
                return row_root(b"".join(roots[index * count : (index + 1) * count]))
            start = (index << level) - full
            return row_root(tail[start * HASH_SIZE : (start + (1 << level)) * HASH_SIZE])

        return frontier_at(self._head.size, node).root if self._head.size else EMPTY_ROOT

    # --- content -------------------------------------------------------------------------------------------------

    def _content(self, tile: Tile) -> bytes | None:
        """What a tile or bundle must hold; ``None`` where that is proved to be lost."""
        if tile.level > 0:
            return self._higher(tile)
        row, entries = self._proved(tile.index)
        if tile.level == 0:
            return row[: tile.width * HASH_SIZE] if row is not None else None
        return format_bundle(entries[: tile.width]) if entries is not None else None

    def _proved(self, index: int) -> tuple[bytes | None, list[bytes] | None]:
        """Leaf hashes and entries of a tile as the newest head has them, each only if it is what was proved."""
        if self._remembered is None or self._remembered[0] != index:
            self._remembered = index, self._look(index)
        return self._remembered[1]

    def _look(self, index: int) -> tuple[bytes | None, list[bytes] | None]:
        full = index < len(self._roots)
        width = TILE_WIDTH if full else self._head.size % TILE_WIDTH
        by_bundle, by_tile = self._rows(index, width)

        def is_right(row: bytes | None) -> bool:
            return row is not None and (row_root(row) == self._roots[index] if full else row == self._tail)

        row = by_bundle if is_right(by_bundle) else by_tile if is_right(by_tile) else None
        return row, self._entries(index, width) if is_right(by_bundle) else None

    def _higher(self, tile: Tile) -> bytes:
        """A tile above level 0, from the proved roots below it."""
        span = TILE_WIDTH ** (tile.level - 1)
        first = tile.index * TILE_WIDTH
        return b"".join(
            row_root(b"".join(self._roots[at * span : (at + 1) * span])) for at in range(first, first + tile.width)
        )

    # --- partial tiles -------------------------------------------------------------------------------------------

    def _is_finished(self, tile: Tile) -> bool:
        return (self._head.size >> TILE_HEIGHT * max(tile.level, 0)) >= (tile.index + 1) * TILE_WIDTH

    def _partials_of_kept_heads(self) -> Iterator[Tile]:
        for size in self._kept:
            for tile in tiles_of(size):
                if not tile.is_full and not self._is_finished(tile) and size != self._head.size:
                    yield tile

    def _partials_on_disk(self) -> Iterator[Tile]:
        for path in sorted((self._layout.tree / "tile").rglob("*.p/*")):
            try:
                tile = parse_tile_path(str(path.relative_to(self._layout.tree)))
                newest = tile_at(level=tile.level, index=tile.index, size=self._head.size)
            except AffidavitError:
                continue  # a stranger, or past the newest head: not for us to judge
            if tile.width <= newest.width:
                yield tile


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _keys(public: Path, log: str) -> KeyHistory | None:
    """All keys that the log ever had, or ``None`` where they cannot be read."""
    try:
        return published_keys(public, log)
    except (OSError, AffidavitError):
        return None


def _signer_state(path: Path) -> SignerState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=SignerState)
    except (OSError, msgspec.MsgspecError, CorruptionError):
        return None
