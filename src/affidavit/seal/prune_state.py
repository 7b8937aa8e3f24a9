"""What a `log.pruned` leaf states of the entries that it lets go: where whoever reads the rest begins to count.

Promise: it is made of the leaves alone, and is what a verifier finds that reads the same leaves; both compare it while
the entries are still here. Formats: docs/formats.md, section 24.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from affidavit.event import (
    EPOCH_CLOSE,
    EPOCH_OPEN,
    GAP,
    LLM_REQUEST,
    LLM_RESPONSE,
    SOURCE_LOST,
    SOURCE_START,
    SOURCE_STOP,
)
from affidavit.ledger.leaf import Leaf, parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.seal.log import SEALER_ID
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.source import CHAIN_START, extend_chain

Source = tuple[str, str]


class _Known:
    """Of one source: what was heard so far."""

    __slots__ = ("chain", "ended", "first", "heartbeat_s", "key", "last", "start", "time_us", "voucher")

    def __init__(self) -> None:
        self.last = 0
        self.first: int | None = None
        self.time_us = 0
        self.heartbeat_s: int | None = None
        self.ended = False
        self.key = ""
        self.voucher = ""
        self.start = 0
        self.chain = CHAIN_START


class _State:
    """Takes in leaves in their order."""

    def __init__(self) -> None:
        self._sources: Final[dict[Source, _Known]] = {}
        self._sealer: Source | None = None
        self._open: Final[dict[str, tuple[int, int]]] = {}
        self._calls = self._outcomes = 0
        self._epoch = 0
        self._opened = False
        self._closed: int | None = None
        self._newest_us = 0

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what an earlier pruning stated."""
        self._calls, self._outcomes, self._epoch = state["calls"], state["outcomes"], state["epoch"]
        self._opened, self._closed, self._newest_us = state["opened"] == 1, state["closed"], state["newest_us"]
        self._open.update((call["call"], (call["leaf"], call["time_us"])) for call in state["open"])
        for row in state["sources"]:
            known = self._sources[row["id"], row["boot"]] = _Known()
            known.last, known.first, known.time_us = row["last"], row["first"], row["time_us"]
            known.heartbeat_s, known.ended = row["heartbeat_s"], row["ended"] == 1
            if row["id"] == SEALER_ID and not known.ended:
                self._sealer = (row["id"], row["boot"])
            if row["signed"] is not None:
                known.key, known.voucher = row["signed"]["key"], row["signed"]["voucher"]
                known.start, known.chain = row["signed"]["start"], parse_b64u(row["signed"]["chain"])

    def hear(self, index: int, leaf: Leaf) -> None:
        """The next leaf."""
        source = (leaf.src.id, leaf.src.boot)
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = _Known()
            if leaf.src.id == SEALER_ID:
                self._sealer = source
        if known.first is None:
            known.first = leaf.src.seq
        known.last, known.time_us, self._newest_us = leaf.src.seq, leaf.time_us, leaf.time_us
        kind = leaf.type
        if kind == LLM_REQUEST:
            self._calls += 1
            if leaf.src.id != SEALER_ID:
                self._open[leaf.short_id] = (index, leaf.time_us)
        elif kind == LLM_RESPONSE:
            self._outcomes += 1
            self._open.pop((leaf.short_links or {}).get("call", ""), None)
        elif leaf.data is not None or kind == SOURCE_STOP:
            self._hear_of_the_log(index, leaf, known)
        if known.key:
            digest = leaf.src.digest
            plain = b"" if digest is None else a2b_base64(f"{digest.replace('-', '+').replace('_', '/')}=")
            known.chain = extend_chain(known.chain, plain)

    def _hear_of_the_log(self, index: int, leaf: Leaf, known: _Known) -> None:
        data = leaf.data or {}
        kind = leaf.type
        if kind == EPOCH_OPEN:
            self._epoch, self._opened = data["epoch"], True
            self._calls = self._outcomes = 0
            for other in self._sources.values():
                other.first = None
            known.first = leaf.src.seq
        elif kind == EPOCH_CLOSE:
            self._opened, self._closed = False, index
            for other in self._sources.values():
                other.first = None
        elif kind == SOURCE_START:
            known.heartbeat_s = data["heartbeat_s"]
            if "key" in data and leaf.src.seq == 1:
                known.key, known.voucher, known.start = data["key"], data["voucher"], index
        elif kind == SOURCE_STOP:
            known.ended = True
        elif kind == SOURCE_LOST or (kind == GAP and data["reason"] != "mark" and data["last"] is None):
            lost = self._sources.get((data["id"], data["boot"]))
            if lost is not None:
                lost.ended = True

    def stated(self) -> dict[str, Any]:
        """As the leaf has it."""
        sources = []
        for (name, boot), known in sorted(self._sources.items()):
            first = known.first if self._opened else None
            ended = (name, boot) != self._sealer if name == SEALER_ID else known.ended
            if ended and first is None:
                continue
            signed = None
            if known.key:
                chain = b64u(known.chain)
                signed = {"chain": chain, "key": known.key, "start": known.start, "voucher": known.voucher}
            row = {"id": name, "boot": boot, "last": known.last, "first": first, "time_us": known.time_us}
            sources.append(row | {"heartbeat_s": known.heartbeat_s, "ended": int(ended), "signed": signed})
        opened = sorted((leaf, call, time_us) for call, (leaf, time_us) in self._open.items())
        return {
            "calls": self._calls if self._opened else 0,
            "closed": self._closed,
            "epoch": self._epoch,
            "newest_us": self._newest_us,
            "open": [{"call": call, "leaf": leaf, "time_us": time_us} for leaf, call, time_us in opened],
            "opened": int(self._opened),
            "outcomes": self._outcomes if self._opened else 0,
            "sources": sources,
        }


def state_below(
    reader: LogReader,
    minimum: int,
    *,
    size: int,
    start: int = 0,
    state: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """The state before entry `minimum`, going on from `state` at entry `start`."""
    found = _State()
    if state is not None:
        found.restore(state)
    for index in range(start, minimum):
        found.hear(index, parse_leaf(reader.entry(index, size=size)))
        progress(index)
    return found.stated()
