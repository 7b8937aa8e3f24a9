"""One log: heads, leaves with their ciphertexts and tiles, higher tiles, key sheets, and whatever else lies there.

Promise: every byte below ``logs/<log>/`` that is not disposable is held against the newest head, or is a finding. Files
are read once, front to back; memory is bounded by a bundle, a window of each segment file, one key sheet, and some 40
bytes a leaf for what can only be compared at the end. Formats: docs/formats.md, sections 2 to 7.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, FormatError
from affidavit.ledger.layout import BODIES_MAGIC, HEADERS_MAGIC, SEGMENT_LEAVES
from affidavit.prove.account import Account
from affidavit.prove.blocks import BlockReader, Blocks
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.heads import CHECKPOINT, Heads, open_head, read_heads
from affidavit.prove.heard import Heard
from affidavit.prove.leaves import parse_leaf, parse_leaves
from affidavit.prove.memory import LogMemory
from affidavit.prove.pending import read_stage, staged_end
from affidavit.prove.pruning import FIRST_BUNDLE, Beginning, beginning_of, below_minimum
from affidavit.prove.recall import Doubt, Recalled
from affidavit.prove.report import LogFindings
from affidavit.prove.sheets import check_sheets
from affidavit.prove.times import TimeRules, Times
from affidavit.prove.tree import EMPTY_START, Regrowth, TileFiles
from affidavit.text import b64u, long_id
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.merkle import HASH_SIZE
from affidavit.tlog.note import NOTE_SIZE_MAX, encode_base64, parse_note
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.tile import TILE_WIDTH, tile_at

_BUNDLES_OF_A_SEGMENT: Final = SEGMENT_LEAVES // TILE_WIDTH
_BUNDLES_MISSING_MAX: Final = 1_000
"""More than this and half of them missing, and the rest is not looked at: an unsigned head could state any size."""
_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")

Progress = Callable[[int, int], None]
"""`(leaves read, leaves of the log)`."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What the rest of the directory needs to know of a log."""

    name: str
    origin: str | None
    size: int
    root: bytes | None
    roots: dict[int, bytes]
    """Roots of the tree as it lies there, at the sizes that were asked for and those of kept heads."""
    account: Account
    minimum: int = 0
    """Entries below it were pruned; of the roots below, only those of whole segments are known."""
    digests: frozenset[str] = frozenset()
    """Of those that were looked for: what leaves have as `src.digest`."""


class LogExamination:
    """The examination of one log. `names` are its files; each step takes away those that it accounts for.

    `wanted` are digests of write-ahead frames that somebody was promised a leaf for.
    """

    def __init__(
        self,
        files: Files,
        *,
        names: set[str],
        keys: KeyHistory | None,
        staged: list[tuple[int, int]],
        rules: TimeRules,
        findings: LogFindings,
        progress: Progress,
        wanted: frozenset[str] = frozenset(),
        memory: LogMemory | None = None,
    ) -> None:
        """With a `memory`, `names` are the files that may say anything new (`recall.is_unsettled`)."""
        self.log: Final = findings.log or ""
        self._files: Final = files
        self._place: Final = f"logs/{self.log}/"
        self._names: Final = names
        self._keys: Final = keys
        self._staged: Final = staged
        self._findings: Final = findings
        self._progress: Final = progress
        self._account: Final = Account(findings)
        self._wanted: Final = wanted
        self._digests: Final[set[str]] = set()
        self._memory: Final = memory
        self._recalled: Recalled | None = None
        self._heard: Final = Heard(self.log)
        self._times: Final = Times(
            files,
            place=self._place,
            names=names,
            keys=keys,
            rules=rules,
            findings=findings,
            before=memory.times if memory is not None else None,
        )
        self._size = self._start = 0
        self._header_at = self._body_at = 0  # where to go on in the unfinished segment
        self._uncovered: list[int] = []
        self._explained = 0
        """Leaves that heads or pending stages account for, beyond the newest head."""

    def run(self, more_sizes: Iterable[int]) -> Examined:
        """Examine everything; `more_sizes` are those at which a pin, an anchor or a roster states a root."""
        heads = read_heads(self._files, place=self._place, names=self._names, keys=self._keys, findings=self._findings)
        if heads is None:
            self._times.give_up()
            return Examined(name=self.log, origin=None, size=0, root=None, roots={}, account=self._account)
        newest = heads.newest
        begins = Beginning()
        if newest.size > SEGMENT_LEAVES and not self._files.exists(self._place + FIRST_BUNDLE):
            if self._memory is not None:
                raise Doubt(f"{self.log}: it does not begin at its beginning any more; what is left is read")
            begins = beginning_of(self._files, names=self._names, size=newest.size, findings=self._findings)
        if self._memory is not None:
            self._recall(self._memory, newest)
        bundles = sum(name.startswith("tree/tile/entries/") for name in self._names)
        if (newest.size - max(self._start, begins.minimum)) // TILE_WIDTH > bundles * 2 + _BUNDLES_MISSING_MAX:
            what = f"{self._place}: the newest head has {newest.size} leaves, and there are {bundles} bundles"
            self._findings.fail("MISSING", what)
            self._findings.not_assessed("UNREADABLE", what, axis="completeness")
            self._findings.not_assessed("UNREADABLE", what, axis="erasure")
            self._times.give_up()
            return Examined(
                name=self.log, origin=newest.origin, size=newest.size, root=None, roots={}, account=self._account
            )
        self._size = newest.size
        self._explained = staged_end(newest.size, self._staged)
        for size in heads.kept:
            if size > newest.size:
                self._beyond(size, f"{self._place}heads/{size}: newer than the checkpoint")
        sizes = {*heads.kept, newest.size, *more_sizes}
        tree, tiles = self._read_leaves(newest, sizes - below_minimum(sizes, begins.minimum), begins)
        self._check_roots(heads, tree)
        self._check_sheets()
        tiles.check_kept_partials(heads.kept, self._names)
        self._check_left_over(tiles)
        self._account.conclude()
        self._times.conclude(newest.size)
        self._check_ids(tiles)
        return Examined(
            name=self.log,
            origin=newest.origin,
            size=newest.size,
            root=newest.root,
            roots=tree.roots,
            account=self._account,
            minimum=begins.minimum,
            digests=frozenset(self._digests),
        )

    def judge_times_beyond(self, is_lost: Callable[[int], bool]) -> None:
        """Timestamps of heads that are not here; `is_lost`: whether a size was lost with two persons' consent."""
        self._times.judge_beyond(self._size, is_lost)

    # --- from one verification to the next -----------------------------------------------------------------------

    def _recall(self, memory: LogMemory, newest: Checkpoint) -> None:
        """Go on where the last verification ended; raises `Doubt` where that cannot be."""
        self._recalled = Recalled(self._files, log=self.log, memory=memory, newest=newest)
        self._start = memory.size
        self._header_at, self._body_at = memory.header_at, memory.body_at
        self._account.recall(memory.size, memory.account)
        if self._times.contradicts_old_leaves:
            raise Doubt(f"{self.log}: a timestamp that came since speaks of old leaves as well")
        self._heard.recall(memory.heard, self._findings.of_all)

    def remember(self, head: str, *, anchors_seen: list[int], anchored: int | None) -> LogMemory:
        """What the next verification needs of this one, in which nothing failed; `head` is the signed note."""
        checkpoint = parse_checkpoint(parse_note(head.encode()).text)
        return LogMemory(
            head=head,
            size=checkpoint.size,
            root=encode_base64(checkpoint.root),
            header_at=self._header_at,
            body_at=self._body_at,
            account=self._account.remember(),
            times=self._times.remember(checkpoint.size),
            heard=self._heard.remember(),
            uncovered=self._uncovered,
            anchors_seen=anchors_seen,
            anchored=anchored,
        )

    def _read_leaves(self, newest: Checkpoint, sizes: set[int], begins: Beginning) -> tuple[Regrowth, TileFiles]:
        """Read all leaves, or those behind the remembered or pruned ones, and the tiles above them."""
        start = self._recalled.start if self._recalled is not None else EMPTY_START
        if begins.minimum:
            below = TileFiles(self._files, log=self.log, size=newest.size, findings=self._findings)
            start = below.start_behind(begins.minimum)
            self._account.begin_at(begins.minimum, begins.state)
        tree = Regrowth({size for size in sizes if size <= newest.size}, start=start)
        tiles = TileFiles(self._files, log=self.log, size=newest.size, findings=self._findings, start=start)
        if begins.minimum:
            # What was pruned is not in these tiles; those that stay are accounted for by the root that they give.
            tree.roots.update(tiles.roots_of_segments({size for size in sizes if size < begins.minimum}))
            self._names.difference_update(below.own_names())
        if self._recalled is not None:
            tree.roots.update(self._recalled.roots(sizes))
            self._account.has_body.older = self._recalled.bodies_of(tiles)
        self._names.difference_update(tiles.own_names())
        with self._findings.heard_by(self._heard.note):
            for segment in range(start.size // SEGMENT_LEAVES, -(-newest.size // SEGMENT_LEAVES)):
                self._read_segment(segment, tree=tree, tiles=tiles)
        tiles.check_higher(bytes(tree.full_tiles))
        return tree, tiles

    def _check_sheets(self) -> None:
        more = {} if self._recalled is None else {"settled": self._recalled.is_settled(self._account)}
        self._uncovered = check_sheets(
            self._files,
            size=self._size,
            names=self._names,
            account=self._account,
            findings=self._findings,
            goes_on=self._goes_on,
            **more,
        )

    def _check_roots(self, heads: Heads, tree: Regrowth) -> None:
        for size, root in {**heads.kept, heads.newest.size: heads.newest.root}.items():
            if size <= self._size and tree.roots.get(size, root) != root:  # none below the minimum index
                what = f"the head of size {size} was signed over another root than the tree has at that size"
                self._findings.fail("ROOT", what)

    # --- leaves and ciphertexts ----------------------------------------------------------------------------------

    def _read_segment(self, segment: int, *, tree: Regrowth, tiles: TileFiles) -> None:
        lacking: list[UnusableFileError] = []
        is_resumed = self._start % SEGMENT_LEAVES > 0 and segment == self._start // SEGMENT_LEAVES
        header_at, body_at = (self._header_at, self._body_at) if is_resumed else (0, 0)
        headers = self._open(f"headers/{segment:06d}", magic=HEADERS_MAGIC, width=2, start=header_at)
        bodies = self._open(f"bodies/{segment:06d}", magic=BODIES_MAGIC, width=4, start=body_at, lacking=lacking)
        end = min(self._size, (segment + 1) * SEGMENT_LEAVES)
        first_bundle = max(segment * _BUNDLES_OF_A_SEGMENT, self._start // TILE_WIDTH)
        for index in range(first_bundle, -(-end // TILE_WIDTH)):
            row, entries = tiles.read_leaves(index)
            known = max(0, self._start - index * TILE_WIDTH)  # leaves of this bundle that were heard before
            tree.add(row[known * HASH_SIZE :])
            width = tile_at(level=0, index=index, size=self._size).width - known
            self._take_bundle(
                index * TILE_WIDTH + known,
                None if entries is None else entries[known:],
                headers=self._blocks(headers, width),
                bodies=self._blocks(bodies, width),
                width=width,
            )
            self._progress(index * TILE_WIDTH + known + width - self._start, self._size - self._start)
        if headers is not None and bodies is not None:
            self._header_at, self._body_at = headers.position, bodies.position
        for reader in (headers, bodies):
            if reader is not None:
                if not reader.has_failed and not reader.at_end():
                    self._goes_on(segment, reader.name)
                reader.close()
        # Only now it is known whether anybody's content went with the file.
        has_lost_content = 1 in self._account.has_body.of_segment(segment)
        for error in lacking:
            self._findings.fail(error.code, str(error), axis="erasure" if has_lost_content else "integrity")

    def _open(
        self, name: str, *, magic: bytes, width: int, start: int, lacking: list[UnusableFileError] | None = None
    ) -> BlockReader | None:
        """A segment file, or ``None`` with a finding; one that is not there at all goes to `lacking`, where given."""
        self._names.discard(name)
        try:
            return BlockReader(self._files, self._place + name, magic=magic, width=width, start=start)
        except UnusableFileError as error:
            if lacking is not None and error.code == "MISSING":
                lacking.append(error)
            else:
                self._findings.fail(error.code, str(error))
            return None

    def _blocks(self, reader: BlockReader | None, count: int) -> Blocks | None:
        if reader is None or reader.has_failed:
            return None
        blocks = reader.read(count)
        if reader.failure is not None:
            self._findings.fail(reader.failure.code, str(reader.failure))
        return blocks

    def _take_bundle(
        self, first: int, entries: list[bytes] | None, *, headers: Blocks | None, bodies: Blocks | None, width: int
    ) -> None:
        if entries is None:
            self._account.miss(width)
            return
        if not entries:
            return
        try:
            leaves = parse_leaves(entries)
        except FormatError:
            self._take_one_by_one(first, entries, headers=headers, bodies=bodies)
            return
        said = len(self._account.anchors)
        self._account.hear(first, leaves)
        if self._wanted:
            self._digests.update(leaf.src.digest for leaf in leaves if leaf.src.digest in self._wanted)
        self._times.hear(first, leaves, self._account.anchors[said:])
        if headers is not None:
            stated = [leaf.header.sha256 if leaf.header is not None else None for leaf in leaves]
            self._compare("HEADER", "header block", first, stated, headers)
        if bodies is not None:
            stated = [leaf.body.sha256 if leaf.body is not None else None for leaf in leaves]
            self._compare("BODY", "body", first, stated, bodies)
            buckets = [leaf.body.bucket if leaf.body is not None else 0 for leaf in leaves]
            self._compare_buckets(first, buckets, bodies.lengths)

    def _take_one_by_one(
        self, first: int, entries: list[bytes], *, headers: Blocks | None, bodies: Blocks | None
    ) -> None:
        """The same for a bundle in which something is no leaf: slower, and by name."""
        header_of, body_of = _one_by_one(headers), _one_by_one(bodies)
        for index, entry in enumerate(entries, first):
            header, body = next(header_of, None), next(body_of, None)
            try:
                parse_leaf(entry)
            except FormatError as error:
                self._findings.fail("LEAF", f"entry {index}: {error}")
                self._account.miss(1)
            else:
                self._take_bundle(index, [entry], headers=header, bodies=body, width=1)

    def _compare(
        self,
        code: str,
        what: str,
        first: int,
        stated: list[str | None],
        found: Blocks,
    ) -> None:
        """Digests that leaves state, against those of the ciphertexts: all at once, by name only where they differ."""
        digests, lengths = found
        stated = stated[: len(lengths)]
        texts = [text for text in stated if text is not None]
        if _texts(digests) == "A".join(texts) and [text is not None for text in stated] == [n > 0 for n in lengths]:
            return
        remaining = iter(digests)
        for leaf, (text, length) in enumerate(zip(stated, lengths, strict=True), first):
            digest = next(remaining) if length else b""
            if code == "BODY" and text is not None and not length:
                missing = f"entry {leaf}: its body is not there, and no leaf says that it was erased"
                self._findings.fail("MISSING", missing, axis="erasure")
            elif (text is None) != (length == 0) or (text is not None and text != b64u(digest)):
                self._findings.fail(code, f"entry {leaf}: its {what} is not the one that the leaf names")

    def _compare_buckets(self, first: int, buckets: list[int], lengths: list[int]) -> None:
        buckets = buckets[: len(lengths)]
        if buckets == [(length - 1).bit_length() if length else 0 for length in lengths]:
            return
        for leaf, (bucket, length) in enumerate(zip(buckets, lengths, strict=True), first):
            if length and bucket != (length - 1).bit_length():
                self._findings.fail("BODY", f"entry {leaf}: its body has not the size that the leaf names")

    def _check_ids(self, tiles: TileFiles) -> None:
        if self._recalled is not None:
            self._recalled.require_new_ids(self._account)
        doubled = self._account.doubled_ids()
        if not doubled:
            return
        seen: dict[str, int] = {}
        for index in range(self._account.minimum // TILE_WIDTH, -(-self._size // TILE_WIDTH)):
            for number, entry in enumerate(tiles.read_leaves(index)[1] or ()):
                self._note_id(index * TILE_WIDTH + number, entry, doubled, seen)

    def _note_id(self, index: int, entry: bytes, doubled: set[int], seen: dict[str, int]) -> None:
        try:
            leaf_id = long_id(parse_leaf(entry).id)
        except FormatError:
            return
        # The same half as `Account` keeps, in the byte order of this machine.
        if memoryview(bytes.fromhex(leaf_id.replace("-", ""))).cast("Q")[1] not in doubled:
            return
        if leaf_id in seen:
            what = f"entry {index}: has the id of entry {seen[leaf_id]}, {leaf_id}"
            self._findings.fail("DUPLICATE-ID", what)
        seen.setdefault(leaf_id, index)

    # --- beyond the newest head ----------------------------------------------------------------------------------

    def _goes_on(self, segment: int, name: str) -> None:
        """A segment file is longer than the head says: only an unfinished segment may grow."""
        what = f"{name}: goes on behind what belongs to its last leaf"
        if (segment + 1) * SEGMENT_LEAVES <= self._size:
            self._findings.fail("SIZE", what)
        else:
            self._beyond(self._size + 1, what)

    def _beyond(self, size: int, what: str) -> None:
        """Something of a log of at least `size` leaves, expected where a stage, or by now a head, accounts for it."""
        if size > self._explained:
            self._explained = max(self._explained, self._explained_now())
        if size > self._explained:
            self._findings.fail("BEYOND-HEAD", f"{what}; no head and no pending stage accounts for it")

    def _explained_now(self) -> int:
        """The same, looked at again, since a service may run; stages first, since their heads come after them."""
        staged: list[tuple[int, int]] = []
        directory = self._files.directory / "stage"
        for path in sorted(directory.glob("[0-9]" * 8)):
            try:
                added = read_stage(self._files, f"stage/{path.name}")
            except FormatError:
                continue
            staged += [(first, end) for log, first, end in added if log == self.log]
        try:
            data = self._files.read(self._place + CHECKPOINT, bytes_max=NOTE_SIZE_MAX)
            size = open_head(data, self._keys).size
        except AffidavitError:
            size = self._size
        return staged_end(max(size, self._size), staged)

    def _check_left_over(self, tiles: TileFiles) -> None:
        """The rest: partial tiles of earlier heads, the beginnings of a coming one, and strangers."""
        for name in sorted(self._names):
            kind, _, below = name.partition("/")
            if kind == "anchors":
                what = f"{self._place}{name}: this version knows no such evidence, and did not read it"
                self._findings.warn("ANCHOR-UNREAD", what, axis="anchor")
            elif kind == "tree":
                size = tiles.leaves_beyond(name)
                if size:
                    self._beyond(size, f"{self._place}{name}: a tile past the newest head")
            elif below.partition(".")[0] == f"{self._size // SEGMENT_LEAVES:06d}":
                self._beyond(self._size + 1, f"{self._place}{name}: belongs to a segment without leaves")
            else:
                self._findings.fail("UNKNOWN-FILE", f"{self._place}{name}: no leaf of this log accounts for it")


def _texts(digests: list[bytes]) -> str:
    """Digests in base64url, an `A` between each two: with a zero byte behind it, a digest is 44 whole characters."""
    if not digests:
        return ""
    return b2a_base64(b"\0".join(digests) + b"\0", newline=False).translate(_TO_BASE64URL)[:-1].decode("ascii")


def _one_by_one(blocks: Blocks | None) -> Iterator[Blocks]:
    """The blocks of many leaves as those of one each."""
    if blocks is None:
        return
    digests = iter(blocks.digests)
    for length in blocks.lengths:
        yield Blocks([next(digests)] if length else [], [length])
