"""Leaves as a verifier reads them: 256 at a time, every member known, every value in its one spelling.

Promise: what `Leaves` holds was decoded, encoded again and compared with the bytes that the tree hashes, and every
value lies in its range. A bundle is judged as a whole, since one call for 256 leaves costs a third of 256 calls; if it
does not pass, each leaf is judged alone and named.

Why lines: a canonical leaf holds no newline, so that a list of leaves, written one a line, has one reading only. Joined
with commas, entries that are no leaves at all could add up to something that is. Formats: docs/formats.md, sections 3
and 7.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from affidavit.errors import FormatError
from affidavit.event import (
    APPROVERS_CHANGE,
    BUNDLE_EXPORT,
    CONFIG_CHANGE,
    CONTENT_SHARED,
    EPOCH_CLOSE,
    EPOCH_OPEN,
    ERASURE,
    GAP,
    HOLD_PLACE,
    HOLD_RELEASE,
    KEY_ROTATE,
    KEY_SHEET,
    LOG_RESTORED,
    NUMBER_MAX,
    PROJECT_CREATE,
    PROMISE_KEY,
    SHARD_OPEN,
    SOURCE_CLOCK,
    SOURCE_LOST,
    SOURCE_START,
    SYSTEM_LOG,
    USAGE_RECONCILED,
    ClockEstimate,
    Reconciliation,
)
from affidavit.ledger.layout import SEGMENT_LEAVES
from affidavit.ledger.shards import SHARDS_MAX
from affidavit.prove.columns import check_digests, uuid_bytes

DIGEST_CHARACTERS: Final = 43
"""32 bytes in base64url without padding."""

Digest = Annotated[str, Meta(min_length=DIGEST_CHARACTERS, max_length=DIGEST_CHARACTERS)]
Boot = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{8}\Z")]
SourceId = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
Project = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
Text = Annotated[str, Meta(pattern=r"\A[ -~]{1,4096}\Z")]
"""An origin or a vkey."""
Signature = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{85}[AQgw]\Z")]
"""64 bytes in base64url without padding: the four unused bits are zero."""
KeySignature = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,4096}\Z")]
"""Of a log's own keys, of either algorithm."""
Word = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
Sum = Annotated[str, Meta(pattern=r"\A(?:0|[1-9][0-9]{0,39})\Z")]
"""A sum in decimal; it may be larger than a number of JSON."""
Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]
Count = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Number = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """`src` of a leaf. Ids and boots recur in all leaves of a source: their form is checked once a bundle."""

    id: str
    boot: str
    seq: Number
    digest: Digest | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`header` of a leaf."""

    root: Digest
    sha256: Digest


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`body` of a leaf."""

    root: Digest
    sha256: Digest
    bucket: Annotated[int, Meta(ge=0, le=64)]


class Links(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """`links` of a leaf; at least one of them."""

    call: str | None = None
    of: str | None = None


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One leaf. Members that no range can describe are checked by `_check_values`."""

    id: str
    src: Source
    time_us: Number
    type: str
    v: Literal[1]
    header: Header | None = None
    body: Body | None = None
    links: Links | None = None
    data: dict[str, Any] | None = None


class ProjectCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log comes into being, with its keys."""

    project: Project
    origin: Text
    vkeys: tuple[Text, Text]


class ConfigChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration in force from here on."""

    sha256: Digest | None
    masking: Digest | msgspec.UnsetType = msgspec.UNSET
    """Absent in what versions wrote that masked nothing."""
    mark: Annotated[tuple[Project, ...], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    """Projects whose calls may go out counted only; absent where there is none."""


class PromiseKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Promises may be made with this key from here on."""

    vkey: Text


class KeyRotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heads of `log` with more than `after` leaves have other keys."""

    log: Project
    origin: Text
    after: Count
    vkeys: tuple[Text, Text]
    signatures: tuple[KeySignature, KeySignature, KeySignature, KeySignature]


class AnchorFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outside evidence for a head, by its file."""

    name: Annotated[str, Meta(pattern=r"\A[0-9]{1,19}(?:\.[a-z0-9-]{1,32}){1,3}\Z")]
    sha256: Digest


class Anchors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What others had said of a head when an epoch began."""

    size: Count
    files: Annotated[tuple[AnchorFile, ...], Meta(min_length=1)]


class EpochOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An epoch begins."""

    epoch: Number
    previous: Count | None
    clock: ClockEstimate | msgspec.UnsetType = msgspec.UNSET
    """Of the sealer; absent in what versions wrote that did not ask, and where the kernel does not answer."""
    anchors: Anchors | msgspec.UnsetType = msgspec.UNSET
    """Absent where there were none, or something older was still to be sealed."""


class SourceRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of one source in an epoch."""

    id: SourceId
    boot: Boot
    first: Number
    last: Number


class SheetStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the log says of the first rows of a key sheet."""

    segment: Count
    version: Number
    rows: Annotated[int, Meta(ge=0, le=SEGMENT_LEAVES)]
    sha256: Digest


class RosterRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One project log, as the system log saw it."""

    project: Project
    origin: Text
    size: Count
    root: Digest


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of an epoch by bucket."""

    input_uncached: Sum
    cache_read: Sum
    cache_write_5m: Sum
    cache_write_1h: Sum
    cache_write_other: Sum
    output_text: Sum
    reasoning: Sum
    audio_in: Sum
    audio_out: Sum
    image: Sum


class EpochSums(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the calls of an epoch come to; only who can open header blocks can add up tokens and amounts."""

    amounts: dict[Currency, Sum]
    calls: Count
    not_priced: Count
    outcomes: Count
    priced: Count
    tokens: Tokens
    usage: Count

    @property
    def is_possible(self) -> bool:
        """Whether the counts go together."""
        is_nothing = all(count == "0" for count in msgspec.structs.astuple(self.tokens))
        return (
            self.usage <= self.outcomes
            and self.priced + self.not_priced <= self.outcomes
            and (is_nothing or self.usage > 0)
            and bool(self.amounts) == (self.priced > 0)
        )


class EpochClose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An epoch ends."""

    epoch: Number
    sources: tuple[SourceRange, ...]
    sheet: SheetStatement
    open_calls: Count
    clean: Literal[0, 1]
    clock: ClockEstimate | msgspec.UnsetType = msgspec.UNSET
    through_us: Number | msgspec.UnsetType = msgspec.UNSET
    """Everything that was recorded before this time is sealed."""
    sums: EpochSums | msgspec.UnsetType = msgspec.UNSET


class SystemEpochClose(EpochClose, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An epoch of the system log ends, and it names all project logs."""

    roster: tuple[RosterRow, ...]


class Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of a source that are lost, and why."""

    id: SourceId
    boot: Boot
    first: Number
    last: Number | None
    reason: Literal["wal_damage", "mark"]
    count: Count | None


class SourceLost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source ended without saying so."""

    id: SourceId
    boot: Boot


class SourceStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source starts, and makes a promise."""

    heartbeat_s: Number
    clock: ClockEstimate | msgspec.UnsetType = msgspec.UNSET


class SourceClock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clock was stepped, or is kept no longer, or again."""

    step_us: Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
    clock: ClockEstimate | msgspec.UnsetType = msgspec.UNSET


class UsageReconciled(Reconciliation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider's usage export was compared with the record."""


FactsOfSource = SourceStart | SourceClock | SourceLost | UsageReconciled


class Approver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may approve; the name is a word for them, not their own."""

    key: Digest
    name: Project


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature over an act."""

    approver: Project
    signature: Signature


class ApproversChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may approve from here on."""

    approvals: tuple[Approval, ...]
    approvers: tuple[Approver, ...]
    expires_us: Number
    previous: Count | None


class HoldPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may not be erased, as ranges of leaves of this log."""

    hold: Project
    ranges: tuple[tuple[Count, Count], ...]


class HoldRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hold ends."""

    approvals: tuple[Approval, ...]
    approvers: Count
    expires_us: Number
    hold: Project
    placed: Count


class SheetVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version of a key sheet that is to be."""

    segment: Count
    version: Number


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of these bodies are destroyed, and who approved it."""

    approvals: tuple[Approval, ...]
    approvers: Count
    expires_us: Number
    leaves: tuple[Count, ...]
    reason: Word
    sheets: tuple[SheetVersion, ...]


class BundleExport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files left the ledger together: how many, and the digest of their manifest."""

    files: Count
    sha256: Digest


class PreviousShard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The system log that a shard follows, and the keys that signed for it last."""

    origin: Text
    vkeys: tuple[Text, Text]


class ShardOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shard begins where another ended."""

    logs: Annotated[tuple[RosterRow, ...], Meta(min_length=1)]
    number: Annotated[int, Meta(ge=2, le=SHARDS_MAX)]
    previous: PreviousShard
    reason: Word
    signatures: tuple[KeySignature, KeySignature, KeySignature, KeySignature]


class LostRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hand-over of keys whose leaf is among those that were lost."""

    after: Count
    signatures: tuple[KeySignature, KeySignature, KeySignature, KeySignature]
    vkeys: tuple[Text, Text]


class RestoredRow(RosterRow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log as it was put back, and how many leaves it is known to have had; ``None`` where nobody knows."""

    lost_to: Count | None
    rotations: Annotated[tuple[LostRotation, ...], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET


class LogRestored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shard begins where a backup ended."""

    approvals: tuple[Approval, ...]
    approvers: Count
    expires_us: Number
    logs: Annotated[tuple[RestoredRow, ...], Meta(min_length=1)]
    number: Annotated[int, Meta(ge=2, le=SHARDS_MAX)]
    previous: PreviousShard
    reason: Word
    signatures: tuple[KeySignature, KeySignature, KeySignature, KeySignature]


Beginning = ShardOpen | LogRestored
ActFacts = ApproversChange | HoldPlace | HoldRelease | Erasure | Beginning
Facts = (
    ProjectCreate
    | ConfigChange
    | PromiseKey
    | KeyRotate
    | EpochOpen
    | EpochClose
    | SheetStatement
    | Gap
    | BundleExport
    | FactsOfSource
    | ActFacts
)

_FACTS: Final[dict[str, type[Facts]]] = {
    PROJECT_CREATE: ProjectCreate,
    CONFIG_CHANGE: ConfigChange,
    PROMISE_KEY: PromiseKey,
    KEY_ROTATE: KeyRotate,
    EPOCH_OPEN: EpochOpen,
    EPOCH_CLOSE: EpochClose,
    KEY_SHEET: SheetStatement,
    GAP: Gap,
    SOURCE_START: SourceStart,
    SOURCE_CLOCK: SourceClock,
    SOURCE_LOST: SourceLost,
    APPROVERS_CHANGE: ApproversChange,
    HOLD_PLACE: HoldPlace,
    HOLD_RELEASE: HoldRelease,
    ERASURE: Erasure,
    BUNDLE_EXPORT: BundleExport,
    USAGE_RECONCILED: UsageReconciled,
    SHARD_OPEN: ShardOpen,
    LOG_RESTORED: LogRestored,
}
_OF_SOURCES: Final = frozenset((SOURCE_START, SOURCE_CLOCK, USAGE_RECONCILED))
"""Records of a capture process that have data beside a header block; the sealer speaks of its own clock without one."""
_SYSTEM_ONLY: Final = frozenset(
    (
        PROJECT_CREATE,
        CONFIG_CHANGE,
        PROMISE_KEY,
        KEY_ROTATE,
        APPROVERS_CHANGE,
        USAGE_RECONCILED,
        SHARD_OPEN,
        LOG_RESTORED,
    )
)
SPEAKING: Final = frozenset((*_FACTS, CONTENT_SHARED))
"""Types that speak of the log itself; what members they may have depends on the type."""

_decoder = msgspec.json.Decoder(Leaf)
_encoder = msgspec.json.Encoder(order="sorted")
_SOURCE_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_BOOT: Final = re.compile(r"[A-Za-z0-9_-]{8}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse_leaves(entries: list[bytes]) -> list[Leaf]:
    """All entries of a bundle as leaves.

    Raises:
        FormatError: At least one is not a leaf in its canonical form; `parse_leaf` tells which.
    """
    lines = b"\n".join(entries) + b"\n"
    try:
        leaves = _decoder.decode_lines(lines)
    except _UNDECODABLE as error:
        raise FormatError("an entry is not a leaf") from error
    if len(leaves) != len(entries) or _encoder.encode_lines(leaves) != lines or not lines.isascii():
        raise FormatError("a leaf is not in its canonical form")
    _check_values(leaves)
    return leaves


def parse_leaf(entry: bytes) -> Leaf:
    """One entry as a leaf; the error says what is wrong with it.

    Raises:
        FormatError: Not a leaf in its canonical form.
    """
    try:
        leaf = _decoder.decode(entry)
    except _UNDECODABLE as error:
        raise FormatError("not a leaf: no JSON, or a member or value that the format does not know") from error
    if _encoder.encode(leaf) != entry or not entry.isascii():
        raise FormatError("not in its canonical form")
    _check_values([leaf])
    return leaf


def parse_facts(leaf: Leaf, *, log: str) -> Facts | None:
    """What a leaf of a speaking type says, or ``None`` where it says nothing in public.

    Raises:
        FormatError: Type, `data`, `header` and `body` do not go together, or the type does not belong into this log.
    """
    kind = leaf.type
    if kind == CONTENT_SHARED:
        if leaf.data is not None or leaf.header is not None or leaf.body is None:
            raise FormatError(f"{kind} has a body, and neither header nor data")
        return None
    if kind in _SYSTEM_ONLY and log != SYSTEM_LOG:
        raise FormatError(f"{kind} belongs into the system log")
    if kind == SOURCE_START and leaf.data is None:
        return None  # from before sources made promises
    if leaf.data is None or leaf.body is not None or (leaf.header is not None and kind not in _OF_SOURCES):
        raise FormatError(f"{kind} has data, no body, and a header block only where a source speaks")
    shape = SystemEpochClose if kind == EPOCH_CLOSE and log == SYSTEM_LOG else _FACTS[kind]
    try:
        facts: Facts = msgspec.convert(leaf.data, shape)
    except msgspec.ValidationError as error:
        raise FormatError(f"the data of {kind} is not what the format says") from error
    if isinstance(facts, EpochOpen) and facts.anchors:
        names = [file.name for file in facts.anchors.files]
        if names != sorted(set(names)) or any(name.split(".")[0] != str(facts.anchors.size) for name in names):
            raise FormatError(f"the anchors of {kind} are not those of one head, in order")
    check_digests(_digests_in(facts))
    return facts


def _digests_in(facts: Facts) -> list[str]:
    if isinstance(facts, SystemEpochClose):
        return [facts.sheet.sha256, *(row.root for row in facts.roster)]
    if isinstance(facts, EpochClose):
        return [facts.sheet.sha256]
    if isinstance(facts, ShardOpen | LogRestored):
        return [row.root for row in facts.logs]
    if isinstance(facts, SheetStatement | BundleExport):
        return [facts.sha256]
    if isinstance(facts, ApproversChange):
        return [approver.key for approver in facts.approvers]
    if isinstance(facts, EpochOpen):
        return [file.sha256 for file in facts.anchors.files] if facts.anchors else []
    if isinstance(facts, UsageReconciled):
        return [facts.export]
    return [facts.sha256] if isinstance(facts, ConfigChange) and facts.sha256 else []


def _check_values(leaves: list[Leaf]) -> None:
    uuid_bytes([leaf.id for leaf in leaves])
    links = [leaf.links for leaf in leaves if leaf.links is not None]
    if links:
        uuid_bytes([link.call for link in links if link.call is not None])
        uuid_bytes([link.of for link in links if link.of is not None])
        if any(link.call is None and link.of is None for link in links):
            raise FormatError("links without a link")
    roots = [leaf.header.root for leaf in leaves if leaf.header is not None]
    roots += [leaf.header.sha256 for leaf in leaves if leaf.header is not None]
    for body in [leaf.body for leaf in leaves if leaf.body is not None]:
        roots += (body.root, body.sha256)
    roots += [leaf.src.digest for leaf in leaves if leaf.src.digest is not None]
    check_digests(roots)
    for leaf in leaves:
        if leaf.data is not None and leaf.type not in SPEAKING:
            raise FormatError("a leaf of this type has no public data")
    _check_words({leaf.type for leaf in leaves}, _TYPE)
    _check_words({leaf.src.id for leaf in leaves}, _SOURCE_ID)
    _check_words({leaf.src.boot for leaf in leaves}, _BOOT)


def _check_words(words: set[str], form: re.Pattern[str]) -> None:
    if not all(form.fullmatch(word) for word in words):
        raise FormatError("a type, or the name of a source or of its boot, that is none")
