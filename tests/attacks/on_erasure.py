"""Attempts on erasure: with the right to it, without, under a hold, and against keys that were kept.

Played on the record formats and library functions: the leaves are added by somebody with the log's keys, as the sealer
will once erasure has a door.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from affidavit.crypt.approval import approve
from affidavit.crypt.block import SheetRow, seal, wrap_key
from affidavit.crypt.keyring import Kind
from affidavit.errors import KeyMissingError
from affidavit.ledger.layout import SHEET_MAGIC, LogLayout
from affidavit.ledger.reader import head_size
from affidavit.ledger.writer import ROW_BYTES
from affidavit.seal.body_values import again
from affidavit.seal.citation import leb128
from affidavit.seal.compression import body_content, make_compress
from affidavit.seal.erasing import readable_erased, rewritten_sheet
from affidavit.seal.slots import BODY_SLOTS, BODY_VERSION
from affidavit.text import b64u, long_id
from tests.attacks.ground import OPENING, Ground
from tests.attacks.insider import LogFiles, checkpoint_of
from tests.attacks.on_content import Owner, an_intent, owned_only
from tests.attacks.registry import Evidence, attempt
from tests.foreign.programs import BINARIES, PROGRAMS
from tests.verifier.ledger_maker import tree_hash

NEVER = 2**53 - 1
LOG = "default"


class Office:
    """Two approvers, on the list of the system log; and somebody who erases."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.owner = Owner(ground)
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("owner-1", "privacy-1")}
        self.list_at = 0
        self.owner.insider.rewrite("system", self._list)
        self.origin = checkpoint_of(ground.head(LOG)).origin

    def _list(self, system: LogFiles) -> None:
        listed = [
            {"key": b64u(key.public_key().public_bytes_raw()), "name": name} for name, key in sorted(self.keys.items())
        ]
        data = {"approvals": [], "approvers": listed, "expires_us": NEVER, "previous": None}
        # Projects close first, so the last leaf but one of the system log is older than what is added to them.
        earlier = system.leaf(len(system.entries) - 2)["time_us"]
        (self.list_at,) = system.insert_before_close([("approvers.change", data)], time_us=earlier)

    def act(self, kind: str, data: dict[str, Any], *, by: dict[str, Ed25519PrivateKey] | None = None) -> dict[str, Any]:
        """An act with the approvals of both, or of `by`."""
        scope = data | {"approvers": self.list_at, "expires_us": NEVER}
        return approve(scope, origin=self.origin, kind=kind, approvers=self.keys if by is None else by)

    def erasure(self, leaves: list[int], *, by: dict[str, Ed25519PrivateKey] | None = None) -> dict[str, Any]:
        """The act of erasing leaves of the first segment."""
        scope = {"leaves": leaves, "reason": "request", "sheets": [{"segment": 0, "version": 2}]}
        return self.act("erasure", scope, by=by)

    def erase(self, data: dict[str, Any], *, before: tuple[tuple[str, dict[str, Any]], ...] = ()) -> None:
        """Carry an act out, whatever approvals it has; `before` are leaves that come before it."""

        def carry_out(files: LogFiles) -> None:
            ring, place = self.owner.ring, self.owner.place(LOG)
            new = ring.key_for(Kind.SHEET, ring.scope(Kind.SHEET, LOG, "0", "2"))
            sheet = rewritten_sheet(
                SHEET_MAGIC + b"".join(files.rows),
                0,
                1,
                old=self.owner.sheet(LOG),
                new=AESGCM(new.key),
                place=place,
                erased=set(data["leaves"]),
                random=os.urandom,
            )[len(SHEET_MAGIC) :]
            files.rows = [sheet[at : at + ROW_BYTES] for at in range(0, len(sheet), ROW_BYTES)]
            files.version = 2
            files.insert_before_close([*before, ("erasure", data)])

        self.owner.insider.rewrite(LOG, carry_out)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.owner.data


@attempt(26)
def with_the_right_to_it(ground: Ground) -> Iterator[Evidence]:
    office = Office(ground)
    leaf = owned_only(office.owner, ground.log().find("llm.request"))[-1]
    untouched = ground.log()
    office.erase(office.erasure([leaf]))
    found = ground.judge(office.data)
    assert found.report.holds
    yield found.evidence("erasure", "ERASED", named=f"1 leaves, the first is {leaf}")
    said = ground.refusal(office.data, leaf, ring=office.owner.ring)
    assert "was erased" in said
    files = LogFiles.read(office.data, LOG)
    assert files.entries[: len(untouched.entries) - 1] == untouched.entries[:-1], "no leaf has changed"
    assert files.bodies[leaf] == untouched.bodies[leaf], "no ciphertext has changed"
    yield Evidence("integrity", "OK", *_strangers(ground, office.data, files))


def _strangers(ground: Ground, data: Path, files: LogFiles) -> tuple[str, str, str, tuple[str, ...]]:
    """Foreign verifiers on the log: the definition of the tree hash, and Go's where `make foreign` has built it."""
    hashes = [sha256(b"\0" + entry).digest() for entry in files.entries]
    assert tree_hash(hashes) == checkpoint_of(ground.head(data=data)).root
    judges = ["the recursion of RFC 6962"]
    program = PROGRAMS["xmod"]() if (BINARIES / "xmod").exists() else None
    if program is not None and program.absent is None:
        vkeys = ground.scratch() / "vkeys"
        vkeys.write_bytes((ground.keys / f"public/{LOG}.vkeys").read_bytes())
        verdict = program.judge(data / "logs" / LOG / "tree", vkeys, ())
        assert verdict.accepted, verdict.said
        judges.append(program.title)
    return f"{len(hashes)} leaves", "", "foreign verifiers too", tuple(judges)


@attempt(27)
def without_the_right_to_it(ground: Ground) -> Iterator[Evidence]:
    leaf = an_intent(ground, 40)
    strangers = {name: Ed25519PrivateKey.generate() for name in ("owner-1", "privacy-1")}
    other_scope = Office(ground)
    forged: list[Callable[[Office], dict[str, Any]]] = [
        lambda office: office.erasure([leaf], by=strangers),
        lambda office: office.erasure([leaf]) | {"leaves": [leaf, an_intent(ground, 41)]},  # widened
        lambda office: office.erasure([leaf]) | {"expires_us": NEVER - 1},
        lambda office: office.act("hold.release", other_scope.erasure([leaf])) | {"approvers": office.list_at},
    ]
    for make in forged:
        office = Office(ground)
        office.erase(make(office))
        evidence = ground.judge(office.data).evidence(
            "authority", "APPROVAL-FORGED", named="did not approve", clause="leaf forged"
        )
    yield evidence._replace(named=f"{evidence.named} ({len(forged)} variants)")

    office = Office(ground)
    office.erase(office.erasure([leaf], by={"owner-1": office.keys["owner-1"]}))
    found = ground.judge(office.data)
    yield found.evidence("authority", "APPROVAL-MISSING", named="erasure: ", clause="single approver")
    office = Office(ground)
    alone = office.erasure([leaf], by={"owner-1": office.keys["owner-1"]})
    office.erase(alone | {"approvals": alone["approvals"] * 2})
    found = ground.judge(office.data)
    assert found.evidence("authority", "ACT-FORM", named="stands twice").verdict == "FAIL"

    office = Office(ground)
    hold = ("hold.place", {"hold": "case-7", "ranges": [[leaf - 3, leaf + 3]]})
    office.erase(office.erasure([leaf]), before=(hold,))
    found = ground.judge(office.data)
    yield found.evidence("authority", "UNDER-HOLD", named=f"leaf {leaf}", clause="under legal hold")
    _sheets_without_an_erasure(ground)
    _a_hold_that_two_persons_released(ground, leaf)


def _sheets_without_an_erasure(ground: Ground) -> None:
    """A later version of a key sheet that leaves name, and no erasure: somebody blanks rows by themselves."""
    insider = ground.insider()

    def write_again(files: LogFiles) -> None:
        files.version = 2
        files.insert_before_close([])

    insider.rewrite(LOG, write_again)
    found = ground.judge(insider.data)
    assert found.evidence("authority", "SHEET-UNAUTHORISED", named="version 2").verdict == "FAIL"


def _a_hold_that_two_persons_released(ground: Ground, leaf: int) -> None:
    office = Office(ground)
    place = ("hold.place", {"hold": "case-7", "ranges": [[0, NEVER]]})
    placed_at = len(ground.log().entries) - 1
    release = office.act("hold.release", {"hold": "case-7", "placed": placed_at})
    office.erase(office.erasure([leaf]), before=(place, ("hold.release", release)))
    assert ground.judge(office.data).report.authority == "OK"
    office = Office(ground)
    alone = office.act("hold.release", {"hold": "case-7", "placed": placed_at}, by={"owner-1": office.keys["owner-1"]})
    office.erase(office.erasure([leaf]), before=(place, ("hold.release", alone)))
    found = {f.code for f in ground.judge(office.data).report.findings if f.axis == "authority"}
    assert found == {"APPROVAL-MISSING", "UNDER-HOLD"}


@attempt(28)
def a_key_that_was_kept(ground: Ground) -> Evidence:
    office = Office(ground)
    leaf = owned_only(office.owner, ground.log().find("llm.request"))[-1]
    office.erase(office.erasure([leaf]))
    layout = LogLayout(office.data / "logs" / LOG)
    size = head_size(layout)
    backup = {0: (ground.data / f"logs/{LOG}/sheets/000000.1").read_bytes()}
    now = {0: layout.sheet(0, 2).read_bytes()}
    probe = {"size": size, "origin": office.origin}
    assert readable_erased(layout, ring=ground.ring(), sheets=now, **probe) == [], "what is here opens nothing"
    kept = ground.ring()
    found = readable_erased(layout, ring=kept, sheets=backup, **probe)
    assert found == [leaf]
    kept.destroy(kept.find(Kind.SHEET, kept.scope(Kind.SHEET, LOG, "0", "1")).id)
    assert readable_erased(layout, ring=kept, sheets=backup, **probe) == [], "without the old sheet key neither"
    named = f"leaf {leaf} opens with a key sheet and a ring of before"
    return Evidence("erasure", "FAIL", named, clause="a probe decrypts", judges=("a probe with a backup of the keys",))


@attempt(43)
def an_older_sheet(ground: Ground) -> Evidence:
    """After an erasure, the sheet of before is put back, with the keys that were to be gone."""
    office, name = Office(ground), f"logs/{LOG}/sheets/000000.1"
    office.erase(office.erasure([an_intent(ground, 40)]))
    assert ground.judge(office.data).report.holds
    (office.data / f"logs/{LOG}/sheets/000000.2").unlink()
    rows = len(LogFiles.read(ground.data, LOG).rows)
    blank = bytes(ROW_BYTES) * (head_size(LogLayout(office.data / "logs" / LOG)) - rows)
    (office.data / name).write_bytes((ground.data / name).read_bytes() + blank)
    found = ground.judge(office.data)
    return found.evidence("erasure", "SHEET-CHANGED", named=name, clause="put an older sheet back")


@attempt(44)
def bytes_that_were_erased(ground: Ground) -> Evidence:
    """A record is made of bytes of a record of its own scope that was erased meanwhile."""
    office = Office(ground)
    owner, files = office.owner, ground.log()
    opener, size = ground.opener(owner.data, ring=owner.ring), len(files.entries)
    alone = owned_only(owner, files.find("llm.request"))
    citing = alone[-1]
    body, header = (look(citing, opener.leaf(citing, size=size)) for look in (opener.body, opener.header))
    assert body is not None
    assert header is not None
    erased, owned = next(
        (index, other.layout.owned)
        for index in files.find("llm.response")
        if index < citing
        for other in (opener.body(index, opener.leaf(index, size=size)),)
        if other is not None and other.scope == body.scope and other.layout.owned
    )
    seed = os.urandom(32)
    values = again("llm.request", meta=body.meta, wire=owned, dialect=header[0].capture[1])

    def cite(files: LogFiles) -> None:
        pieces = leb128(len(owned) << 1 | 1) + leb128(citing - erased) + leb128(0)
        row, key = owner.row(files, citing), os.urandom(32)
        associated = owner.place(LOG).body(long_id(files.leaf(citing)["id"]))
        content = make_compress()(body_content(body.meta, pieces=pieces, owned=b""))
        sealed = seal(AESGCM(key), nonce=os.urandom(12), plaintext=BODY_VERSION + seed + content, associated=associated)
        leaf = files.leaf(citing)
        leaf["body"]["root"] = b64u(BODY_SLOTS.root(seed, values))
        files.put_leaf(citing, leaf)
        owner.put(files, citing, sealed, SheetRow(row.key_id, wrap_key(owner.ring.get(row.key_id).key, key), 0, 0))

    owner.rewrite(cite)
    opener = ground.opener(owner.data, ring=owner.ring)
    assert opener.wire(citing, opener.leaf(citing, size=size), size=size) == owned, "before it was erased"
    office.erase(office.erasure([erased]))
    opener, said = ground.opener(owner.data, ring=owner.ring), ""
    size = head_size(LogLayout(owner.data / "logs" / LOG))
    try:
        opener.wire(citing, opener.leaf(citing, size=size), size=size)
    except KeyMissingError as error:
        said = str(error)
    assert f"leaf {erased} of log {LOG} was erased" in said
    clause = "bytes of a record that was erased"
    return Evidence("erasure", "FAIL", f"leaf {citing}: {said}", clause=clause, judges=OPENING)
