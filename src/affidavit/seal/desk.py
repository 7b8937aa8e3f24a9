"""The sealer's desk: what other processes may ask of the only holder of content keys.

Promise: a record is opened only for an access event that is sealed, at most 60 s old, and not honoured before; exactly
the leaves and the view that it names come out. A follower's event is honoured once, too, for everything from its leaf
on, masked, while both processes live. There is no other way to content. Everything here runs on the sealer's thread but
masking, which whoever asks waits for in a thread of their own (`Later`), and `quick`, which needs nothing of the
sealer's but records that it keeps in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from affidavit.config import Masking
from affidavit.crypt.commitment import NULL
from affidavit.crypt.keyring import Keyring
from affidavit.errors import AccessRefusedError, FormatError, KeyMissingError, NotFoundError
from affidavit.event import APPROVERS_CHANGE, FOLLOW, SYSTEM_LOG, AccessMeta
from affidavit.ledger.channel import Reply
from affidavit.ledger.leaf import Leaf
from affidavit.ledger.reader import LogReader
from affidavit.ledger.shards import log_of_shard
from affidavit.seal.approving import approvers_in_force, require_in_order
from affidavit.seal.disclosure import disclose, parse_field_names
from affidavit.seal.finished import FinishedLog, open_finished
from affidavit.seal.following import GATHER_BYTES_MAX, GATHER_LEAVES_MAX, Gatherer, opened
from affidavit.seal.log import SealedLog
from affidavit.seal.mask_hand import MaskHand, MaskQuestion, Wanted
from affidavit.seal.opening import Opener, require_fresh
from affidavit.seal.recent import RecentRecords
from affidavit.seal.sealer import Sealer
from affidavit.seal.slots import HEADER_SLOTS, HeaderValues
from affidavit.seal.unmasked import Unmasked
from affidavit.text import b64u

LEAVES_MAX: Final = 1_000
"""Leaves that one access event may open: bounds the memory of an answer."""
FOLLOWERS_MAX: Final = 64
"""An installation has an index and a few others; a follower that was forgotten follows again."""
FOLLOWER_BYTES: Final = 16
MASKED_ROWS_MAX: Final = 1_000
"""Rows that are masked at a time: a twentieth of a second."""
TEXTS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 4_096
"""Of a question: a person types less."""
TEXT_OF_TYPE: Final = {
    "llm.request": ("messages", "system", "tools"),
    "llm.response": ("output", "reasoning"),
    "content.shared": ("value",),
}
"""Parts of a record that hold free text; not readable as text before it is masked."""


class _Open(msgspec.Struct, frozen=True, tag_field="op", tag="open"):
    shard: str
    record: int


class _Follow(msgspec.Struct, frozen=True, tag_field="op", tag="follow"):
    shard: str
    record: int


class _Rows(msgspec.Struct, frozen=True, tag_field="op", tag="rows"):
    follower: str
    start: int


class _Spell(msgspec.Struct, frozen=True, tag_field="op", tag="spell"):
    log: str
    texts: list[Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]]


class _Rotate(msgspec.Struct, frozen=True, tag_field="op", tag="rotate"):
    log: str


class _Approvers(msgspec.Struct, frozen=True, tag_field="op", tag="approvers"):
    """Who may approve; with `data`, who may from here on (`approvers.change`)."""

    data: dict[str, Any] | None = None


class _Status(msgspec.Struct, frozen=True, tag_field="op", tag="status"):
    pass


class _Follower(msgspec.Struct, frozen=True):
    """What a follower's access event names."""

    log: str
    start: int


Later = Callable[[], Reply]
"""The rest of an answer, which needs no sealer: to be called in another thread."""


class Desk:
    """Answers requests for one sealer."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        ring: Keyring,
        mask_hand: MaskHand,
        clock_us: Callable[[], int],
        random: Callable[[int], bytes],
        keys_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._sealer: Final = sealer
        self._keys_changed: Final = keys_changed
        self._ring: Final = ring
        self._mask_hand: Final = mask_hand
        self._clock_us: Final = clock_us
        self._random: Final = random
        self._openers: dict[str, Opener] = {}
        self._gatherers: dict[str, Gatherer] = {}
        self._followers: dict[str, _Follower] = {}
        self._finished: Final = open_finished(sealer.data.directory)

    @property
    def must_end(self) -> bool:
        """Whether sealing itself failed while a question waited for it; then the error is not only the asker's."""
        return self._sealer.is_broken

    def answer(self, body: dict[str, Any]) -> Reply | Later:
        """Answer one request; errors are `AffidavitError`."""
        try:
            request = msgspec.convert(body, _Open | _Follow | _Rows | _Spell | _Rotate | _Approvers | _Status)
        except msgspec.ValidationError as error:
            message = "the sealer does not know this question; nothing was opened"
            raise FormatError(message) from error
        if isinstance(request, _Status):
            return self._status()
        if isinstance(request, _Spell):
            return self._spell(request)
        if isinstance(request, _Rotate):
            return self._rotate(request)
        if isinstance(request, _Approvers):
            return self._approvers(request)
        if isinstance(request, _Follow):
            return self._follow(request)
        if isinstance(request, _Rows):
            return self._rows(request)
        return self._open(request)

    def quick(self, body: dict[str, Any]) -> Reply | Later | None:
        """Rows for a follower that keeps up, without waiting for the cut under way; ``None`` where that cannot be.

        Any thread may ask: what it reads is a number, dicts that only grow by whole entries, and `RecentRecords`.
        """
        try:
            request = msgspec.convert(body, _Rows | _Spell)
        except msgspec.ValidationError:
            return None
        if isinstance(request, _Spell):
            return self._spell(request)
        follower = self._followers.get(request.follower)
        if follower is None or request.start < follower.start:
            return None
        log = self._logs(follower.log)
        if log is None:
            return None
        size = log.writer.size
        end = min(size, request.start + GATHER_LEAVES_MAX)
        recent = self._gatherers[follower.log].recent  # that of a log is there before its first follower
        items = recent.run(request.start, end=end, bytes_max=GATHER_BYTES_MAX)
        return self._followed(follower.log, items, size=size) if items else None

    def _spell(self, request: _Spell) -> Later:
        """How the masked text of a log has what somebody looks for; it opens nothing, and tells only who knows it."""
        if self._logs(request.log) is None or len(request.texts) > TEXTS_MAX:
            message = f"at most {TEXTS_MAX} texts of one log that exists are masked at once; nothing was"
            raise AccessRefusedError(message)
        key, masking = self._key(request.log), self._masking(request.log)
        question = MaskQuestion("texts", request.log, key, masking, [], request.texts)
        return lambda: Reply({}, (self._mask_hand.mask(question),))

    def _key(self, log: str) -> bytes:
        """That of the placeholders of a log, the same in all its shards."""
        return self._ring.digest_key(f"mask/{log_of_shard(log)[0]}")

    def _masking(self, log: str) -> Masking:
        return self._sealer.settings.masking_of(log_of_shard(log)[0])

    def _logs(self, name: str) -> SealedLog | FinishedLog | None:
        """A log by the name that it has among those of all shards."""
        log, number = log_of_shard(name)
        if number == self._sealer.data.shard:
            return self._sealer.logs.get(log)
        return self._finished.get(name)

    def _log(self, name: str) -> SealedLog | FinishedLog:
        log = self._logs(name)
        if log is None:
            raise NotFoundError(f"there is no log {name!r}; nothing was opened")
        return log

    def _status(self) -> Reply:
        sealer = self._sealer
        sealer.step()
        sealer.settle()
        pending = int(sealer.is_behind)
        return Reply(
            {
                "ready": True,
                "lag_s": sealer.lag_us / 1e6,
                "sealed": {name: log.writer.size for name, log in sealer.logs.items()},
                "pending_records": pending,
                "open_calls": sealer.open_calls,
                "overdue_calls": sealer.overdue_calls(),
                "problems": sealer.problems[-5:],
            }
        )

    def _rotate(self, request: _Rotate) -> Reply:
        """New signing keys for a log; the leaf that names them is published before this is answered."""
        if request.log not in self._sealer.logs:
            raise NotFoundError("there is no such log; nothing was changed. `affidavit log paths` lists them")
        rotation = self._sealer.rotate_keys(request.log)
        self._keys_changed()
        return Reply({"log": request.log, "after": rotation.after, "vkeys": list(rotation.vkeys)})

    def _approvers(self, request: _Approvers) -> Reply:
        """The list in force; a new one is published before this is answered."""
        sealer = self._sealer
        system = sealer.logs[SYSTEM_LOG]
        if request.data is not None:
            sealer.settle()  # what is read below is published
            require_in_order(request.data, system=system, now_us=self._clock_us())
            system.add_own(APPROVERS_CHANGE, request.data)
            sealer.settle()
        found = approvers_in_force(system)
        shown = {} if found is None else {"index": found.index, "approvers": found.approvers}
        return Reply({"origin": system.writer.origin} | shown)

    def _open(self, request: _Open) -> Reply | Later:
        return self._opened(self._access(request.shard, request.record))

    def _access(self, shard: str, record: int) -> AccessMeta:
        """The access event of a number, honoured by this."""
        key = (shard, record)
        # The event is read from the write-ahead log by us, and sealed, before anything is opened for it.
        while key not in self._sealer.accesses and self._sealer.step():
            pass
        access = self._sealer.accesses.pop(key, None)
        if access is None:
            message = "there is no sealed access event of this number, or it was honoured already; nothing was opened"
            raise AccessRefusedError(message)
        require_fresh(sealed_us=access.sealed_us, now_us=self._clock_us())
        return access.meta

    def _follow(self, request: _Follow) -> Reply:
        meta = self._access(request.shard, request.record)
        log = self._logs(meta.log)
        if log is None or meta.view != "masked" or meta.query != FOLLOW or len(meta.leaves) != 1:
            message = "this access event is no follower's; nothing was opened"
            raise AccessRefusedError(message)
        self._gatherer(meta.log)  # from here on new records are kept for it
        while len(self._followers) >= FOLLOWERS_MAX:
            self._followers.pop(next(iter(self._followers)))
        name = b64u(self._random(FOLLOWER_BYTES))
        self._followers[name] = _Follower(meta.log, meta.leaves[0][0])
        return Reply({"follower": name})

    def _rows(self, request: _Rows) -> Reply | Later:
        follower = self._followers.get(request.follower)
        if follower is None or request.start < follower.start:
            message = "no sealed access event covers these rows; nothing was opened. Follow again"
            raise AccessRefusedError(message)
        size = self._log(follower.log).writer.size
        return self._followed(follower.log, self._gatherer(follower.log).gather(request.start, size=size), size=size)

    def _followed(self, log: str, items: Sequence[Unmasked], *, size: int) -> Reply | Later:
        """Rows for a follower, masked with what others leave over.

        They come in parts: between two of them, somebody who waits for a record has his turn.
        """
        questions = [
            self._question("rows", log, items[first : first + MASKED_ROWS_MAX], calm=True)
            for first in range(0, len(items), MASKED_ROWS_MAX)
        ]
        return self._masked({"count": len(items), "size": size}, questions)

    def _question(self, wanted: Wanted, log: str, items: Sequence[Unmasked], *, calm: bool = False) -> MaskQuestion:
        key, masking = self._key(log), self._masking(log)
        return MaskQuestion(wanted, log, key, masking, list(items), calm=calm)

    def _masked(self, body: dict[str, Any], questions: Sequence[MaskQuestion]) -> Reply | Later:
        """An answer with a part for each question, in this order."""
        if not questions:
            return Reply(body)
        return lambda: Reply(body, tuple(self._mask_hand.mask(question) for question in questions))

    def _gatherer(self, name: str) -> Gatherer:
        gatherer = self._gatherers.get(name)
        if gatherer is None:
            log = self._log(name)
            if log.recent is None:
                log.recent = RecentRecords()
            gatherer = self._gatherers[name] = Gatherer(
                opener=self._opener(name), reader=LogReader(log.writer.layout), recent=log.recent
            )
        return gatherer

    def _opener(self, name: str) -> Opener:
        opener = self._openers.get(name)
        if opener is None:
            log = self._log(name)
            opener = self._openers[name] = Opener(layout=log.writer.layout, origin=log.writer.origin, ring=self._ring)
        return opener

    def _opened(self, meta: AccessMeta) -> Reply | Later:
        log = self._logs(meta.log)
        # Counted while it grows: a list of ranges is short, and what it names may not be.
        leaves = list(islice(chain.from_iterable(range(start, end) for start, end in meta.leaves), LEAVES_MAX + 1))
        if log is None or len(leaves) > LEAVES_MAX:
            message = f"an access event opens at most {LEAVES_MAX} leaves of one log that exists; nothing was opened"
            raise AccessRefusedError(message)
        names = parse_field_names(meta.fields or ()) if meta.view == "fields" else None
        size = log.writer.size
        opener = self._opener(meta.log)
        rows: list[dict[str, Any]] = []
        parts: list[bytes] = []
        contents: list[Unmasked] = []
        masked: list[Unmasked] = []
        try:
            for index in leaves:
                leaf = opener.leaf(index, size=size)
                row = _row(meta.log, index, leaf, opener.header(index, leaf))
                if names is not None:
                    row["fields"] = disclose(opener, names, index=index, leaf=leaf, size=size)
                elif meta.view == "wire":
                    _add_wire(row, parts, opener, index, leaf, size=size)
                elif meta.view == "masked":
                    opener.wire(index, leaf, size=size)  # checks what is shown against the leaf
                    contents.append(opened(opener, index, size=size))
                    masked.append(self._gatherer(meta.log).one(index, size=size))
                rows.append(row)
        finally:
            opener.forget()
        if meta.view == "masked":
            asked: tuple[tuple[Wanted, list[Unmasked]], ...] = (("content", contents), ("rows", masked))
            return self._masked(
                {"rows": rows}, [self._question(wanted, meta.log, items) for wanted, items in asked if items]
            )
        return Reply({"rows": rows}, tuple(parts))


def _row(log: str, index: int, leaf: Leaf, header: tuple[HeaderValues, bytes] | None) -> dict[str, Any]:
    values = None if header is None else {name: getattr(header[0], name) for name in HEADER_SLOTS.names}
    return {
        "log": log,
        "leaf": index,
        "id": leaf.id,
        "call": leaf.call,
        "type": leaf.type,
        "time_us": leaf.time_us,
        "data": leaf.data,
        "header": values,
        "mask_pending": list(TEXT_OF_TYPE.get(leaf.type, ())) if leaf.body is not None else [],
    }


def _add_wire(row: dict[str, Any], parts: list[bytes], opener: Opener, index: int, leaf: Leaf, *, size: int) -> None:
    """The exact bytes, and what the body says of the exchange around them."""
    if leaf.body is None:
        return
    try:
        wire = opener.wire(index, leaf, size=size)
        opened = opener.body(index, leaf)
    except KeyMissingError as error:
        row["wire"] = "erased"
        row["why"] = str(error)
        return
    row["wire"] = len(parts)
    row["meta"] = msgspec.json.decode(opened.meta) if opened is not None and opened.meta != NULL else None
    parts.append(wire)
