"""What sources sign about their own records, held against the leaves that are here.

Promise: for a source that began with a key, each later word of its own is signed over all its records before that word,
as the leaves have their digests; so whoever dropped, changed or added one in between is found out, and the leaf that
shows it is named. The key must be vouched for by one that the system log names. A source without a key that begins
where others have one is named, too. What a source recorded after its last word is covered by nothing.

Leaves that cannot be read silence the signatures, since the chain is then ours to blame. Formats: docs/formats.md,
section 25.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Sequence
from typing import Final

from affidavit.errors import FormatError
from affidavit.prove.leaves import SourceStart, SourceWord
from affidavit.prove.liveness import Source
from affidavit.prove.prune_facts import SignedSource
from affidavit.prove.report import LogFindings
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.note import SignatureType, parse_vkey
from affidavit.tlog.source import (
    CHAIN_START,
    extend_chain,
    is_source_signature,
    statement_text,
    voucher_text,
)

CODE: Final = "SOURCE-KEY"


class SourceRecord:
    """One source with a key: the chain over its records so far. Takes part in the loop over all leaves."""

    __slots__ = ("chain", "is_refuted", "key", "start", "voucher", "word")

    def __init__(self, *, key: bytes, voucher: bytes, start: int) -> None:
        self.key: Final = key
        self.voucher: Final = voucher
        self.start: Final = start
        self.word = start
        """The newest leaf up to which its records are right."""
        self.chain = CHAIN_START
        self.is_refuted = False
        """Said once."""

    def add(self, digest: str | None) -> None:
        """The next record of the source, by its leaf's `src.digest`."""
        plain = "" if digest is None else f"{digest.replace('-', '+').replace('_', '/')}="
        self.chain = extend_chain(self.chain, a2b_base64(plain))  # its spelling was checked with the leaf


KeyedSource = tuple[str, str, str, str, str, int, int, bool]
"""Id, boot, chain, key, voucher, leaf of its start, newest leaf that held, and whether one did not."""


class SourceKeys:
    """Sources of one log and their keys. Owner: the account of that log."""

    def __init__(self, findings: LogFindings) -> None:
        self.records: Final[dict[Source, SourceRecord]] = {}
        """Of the sources that have a key."""
        self._log: Final = findings.log or ""
        self._findings: Final = findings
        self._unsigned: Final[dict[Source, int]] = {}  # began after the first key, and showed none; their first leaf

    def appear(self, index: int, source: Source) -> None:
        """The first leaf of a capture point; whether it has a key is heard next."""
        if self.records:
            self._unsigned[source] = index

    def start(self, index: int, source: Source, facts: SourceStart, *, seq: int) -> None:
        """A source begins."""
        if not facts.key or not facts.voucher:
            return
        self._unsigned.pop(source, None)
        if source in self.records or seq != 1:
            self._fail(index, source, "gives a key, and has begun before")
            return
        self.records[source] = SourceRecord(key=parse_b64u(facts.key), voucher=parse_b64u(facts.voucher), start=index)

    def speak(self, index: int, source: Source, word: SourceWord | None, *, seq: int) -> None:
        """A source says that it lives, or stops."""
        record = self.records.get(source)
        if record is None:
            if word is not None:
                self._fail(index, source, "signs its records, and began without a key")
            return
        if record.is_refuted:
            return
        if word is None:
            record.is_refuted = True
            self._fail(index, source, "has a key, and does not sign its records")
            return
        text = statement_text(shard=_shown(source), log=self._log, records=seq - 1, chain=record.chain)
        if is_source_signature(record.key, text, parse_b64u(word.signature)):
            record.word = index
        else:
            record.is_refuted = True
            self._fail(
                index,
                source,
                f"did not sign the records that are here under its name, after those up to entry {record.word}",
            )

    def state(self, source: Source) -> SignedSource | None:
        """What a source that goes on has signed so far, to go on from; ``None`` where it has no key."""
        record = self.records.get(source)
        if record is None:
            return None
        return SignedSource(
            chain=b64u(record.chain), key=b64u(record.key), start=record.start, voucher=b64u(record.voucher)
        )

    def remember(self) -> list[KeyedSource]:
        """All that judging needs to go on behind the last leaf."""
        return [
            (*key, b64u(one.chain), b64u(one.key), b64u(one.voucher), one.start, one.word, one.is_refuted)
            for key, one in self.records.items()
        ]

    def remember_unsigned(self) -> list[tuple[str, str, int]]:
        """Sources without a key, where others had one."""
        return [(*key, index) for key, index in self._unsigned.items()]

    def recall(self, keyed: Sequence[KeyedSource], unsigned: Sequence[tuple[str, str, int]]) -> None:
        """Go on as if what was remembered had been heard just now."""
        for name, boot, chain, key, voucher, start, word, is_refuted in keyed:
            record = SourceRecord(key=parse_b64u(key), voucher=parse_b64u(voucher), start=start)
            record.chain, record.word, record.is_refuted = parse_b64u(chain), word, is_refuted
            self.records[name, boot] = record
        self._unsigned.update({(name, boot): index for name, boot, index in unsigned})

    def restore(self, source: Source, signed: SignedSource | None) -> None:
        """Go on from where a log that was pruned begins."""
        if signed is not None:
            record = self.records[source] = SourceRecord(
                key=parse_b64u(signed.key), voucher=parse_b64u(signed.voucher), start=signed.start
            )
            record.chain = parse_b64u(signed.chain)

    def conclude(self, vkeys: Sequence[str], *, is_heard: bool) -> None:
        """What can be said once the system log was read; `vkeys` are the keys that it names for promises.

        `is_heard`: all its entries could be read.
        """
        keys = [key for text in dict.fromkeys(vkeys) if (key := _public(text)) is not None]
        for source, record in self.records.items():
            text = voucher_text(shard=_shown(source), key=record.key)
            if any(is_source_signature(key, text, record.voucher) for key in keys):
                continue
            what = "begins with a key that no key of the system log vouches for"
            if is_heard:
                self._fail(record.start, source, what)
            else:
                said = f"entry {record.start}: {_shown(source)} {what}; entries of it cannot be read"
                self._findings.not_assessed("UNREADABLE", said, axis="authority")
        for source, index in self._unsigned.items():
            what = f"entry {index}: {_shown(source)} has no key, and sources of this log had one before"
            self._findings.warn("SOURCE-UNSIGNED", what, axis="authority")

    def _fail(self, index: int, source: Source, what: str) -> None:
        self._findings.fail(CODE, f"entry {index}: {_shown(source)} {what}", axis="authority")


def _public(vkey: str) -> bytes | None:
    try:
        key = parse_vkey(vkey)
    except FormatError:
        return None
    return key.public_key if key.signature_type is SignatureType.ED25519 else None


def _shown(source: Source) -> str:
    return f"{source[0]}.{source[1]}"
