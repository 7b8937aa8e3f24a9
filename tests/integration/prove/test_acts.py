"""Who may erase, hold and approve: acts written from docs/formats.md alone, and both verifiers on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.integration.prove.test_agreement import agree
from tests.verifier.ledger_maker import TIME, LogMaker, b64u, finish, jcs, start_system
from tests.verifier.test_ledger import made

pytestmark = pytest.mark.usefixtures("quick_signatures")

OWN = ("sealer", "BBBBBBBB")
LATER = TIME + 10**12


class People:
    """Approvers with their keys, and what they sign in the log `alpha`."""

    def __init__(self) -> None:
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("ada", "ben", "cleo")}
        self.alpha = LogMaker("alpha")
        self.system = start_system(self.alpha)
        self.at = self.list("ada", "ben")
        self.alpha.time_us = self.system.time_us + 1_000_000
        self.alpha.open_epoch()
        self.alpha.calls(4)

    def listed(self, *names: str, keys: dict[str, Ed25519PrivateKey] | None = None) -> list[dict[str, str]]:
        used = keys or self.keys
        return [{"key": b64u(used[name].public_key().public_bytes_raw()), "name": name} for name in names]

    def list(self, *names: str, by: tuple[str, ...] = (), previous: int | None = None, **more: Any) -> int:
        data = {"approvers": self.listed(*names), "expires_us": LATER, "previous": previous} | more
        return self.system.add("approvers.change", src=OWN, data=self.signed("approvers.change", data, by, self.system))

    def signed(
        self, kind: str, data: dict[str, Any], by: tuple[str, ...] = ("ada", "ben"), log: LogMaker | None = None
    ) -> dict[str, Any]:
        """Section 15, letter by letter."""
        origin, parts = (log or self.alpha).signer.origin, b""
        for part in (origin.encode(), kind.encode()):
            parts += len(part).to_bytes(2, "big") + part
        message = b"affidavit/approval/v1\0" + parts + sha256(jcs(data)).digest()
        approvals = [{"approver": name, "signature": b64u(self.keys[name].sign(message))} for name in by]
        return data | {"approvals": approvals}

    def act(self, kind: str, by: tuple[str, ...] = ("ada", "ben"), **data: Any) -> int:
        scope = {"approvers": self.at, "expires_us": LATER} | data
        return self.alpha.add(kind, src=OWN, data=self.signed(kind, scope, by))

    def erase(self, by: tuple[str, ...] = ("ada", "ben"), **changes: Any) -> int:
        scope = {"leaves": [1, 3], "reason": "request", "sheets": [{"segment": 0, "version": 2}]} | changes
        return self.act("erasure", by, **scope)

    def hold(self, *ranges: list[int]) -> int:
        return self.alpha.add("hold.place", src=OWN, data={"hold": "case-7", "ranges": list(ranges)})

    def written(self, tmp_path: Path, *, version: int = 2) -> tuple[Path, Path]:
        """The ledger, with the key sheet of alpha in this version."""
        own = self.alpha.sheet
        self.alpha.sheet = lambda segment, rows, _=1: own(segment, rows, version)  # type: ignore[method-assign]
        data, vkeys = made(tmp_path, finish(self.system, self.alpha))
        if version != 1:
            sheet = data / "logs/alpha/sheets/000000.1"
            sheet.rename(sheet.with_name(f"000000.{version}"))
        return data, vkeys


FINE = ("erasure", "ERASED", "alpha")


def test_two_of_the_list_may_erase(tmp_path: Path) -> None:
    people = People()
    people.erase()
    assert agree(*people.written(tmp_path)) == {FINE}


def test_a_list_that_two_of_the_old_one_approved_is_the_next(tmp_path: Path) -> None:
    people = People()
    people.at = people.list("ben", "cleo", by=("ada", "ben"), previous=people.at)
    people.alpha.time_us = people.system.time_us + 1
    people.erase(("ben", "cleo"))
    assert agree(*people.written(tmp_path)) == {FINE}


def test_what_a_released_hold_covered_may_be_erased(tmp_path: Path) -> None:
    people = People()
    placed = people.hold([0, 2**53 - 1])
    people.act("hold.release", hold="case-7", placed=placed)
    people.erase()
    assert agree(*people.written(tmp_path)) == {FINE}


def test_an_erasure_that_is_not_carried_out_is_pending(tmp_path: Path) -> None:
    people = People()
    people.erase()
    assert agree(*people.written(tmp_path, version=1)) == {("erasure", "ERASURE-PENDING", "alpha")}


def other_log(people: People) -> None:
    """Approved for the system log, and put into alpha."""
    scope = {"approvers": people.at, "expires_us": LATER, "leaves": [1], "reason": "request"}
    scope["sheets"] = [{"segment": 0, "version": 2}]
    people.alpha.add("erasure", src=OWN, data=people.signed("erasure", scope, log=people.system))


def widened(people: People) -> None:
    people.erase()
    leaf = json.loads(people.alpha.leaves[-1])
    leaf["data"]["leaves"] = [1, 3, 5]
    people.alpha.leaves[-1] = jcs(leaf)


def new_list_alone(people: People) -> None:
    people.list("ben", "cleo", by=("ben",), previous=people.at)
    people.erase()


def after_a_new_list(people: People) -> None:
    """The old list is no longer in force."""
    people.list("ben", "cleo", by=("ada", "ben"), previous=people.at)
    people.alpha.time_us = people.system.time_us + 1
    people.erase()


def before_any_list(people: People) -> None:
    people.alpha.time_us = TIME - 2_000_000
    people.erase()


def released_alone(people: People) -> None:
    placed = people.hold([0, 100])
    people.act("hold.release", ("ada",), hold="case-7", placed=placed)


AUTHORITY: dict[str, tuple[Callable[[People], object], set[str]]] = {
    "nobody": (lambda p: p.erase(()), {"APPROVAL-MISSING"}),
    "one": (lambda p: p.erase(("ada",)), {"APPROVAL-MISSING"}),
    "one twice": (lambda p: p.erase(("ada", "ada")), {"ACT-FORM"}),
    "out of order": (lambda p: p.erase(("ben", "ada")), {"ACT-FORM"}),
    "a stranger": (lambda p: p.erase(("ada", "cleo")), {"APPROVAL-FORGED"}),
    "another log": (other_log, {"APPROVAL-FORGED"}),
    "widened": (widened, {"APPROVAL-FORGED"}),
    "expired": (lambda p: p.erase(expires_us=TIME), {"APPROVAL-EXPIRED"}),
    "no such list": (lambda p: p.erase(approvers=2), {"APPROVERS-UNKNOWN"}),
    "a list of later": (before_any_list, {"APPROVERS-UNKNOWN"}),
    "a list of before": (after_a_new_list, {"APPROVERS-UNKNOWN"}),
    "no leaves": (lambda p: p.erase(leaves=[]), {"ACT-FORM"}),
    "leaves out of order": (lambda p: p.erase(leaves=[3, 1]), {"ACT-FORM"}),
    "a leaf without a body": (lambda p: p.erase(leaves=[0, 1]), {"ERASURE-SCOPE"}),
    "a leaf to come": (lambda p: p.erase(leaves=[1, 99]), {"ERASURE-SCOPE"}),
    "another sheet": (lambda p: p.erase(sheets=[{"segment": 0, "version": 3}]), {"ACT-FORM", "SHEET-UNAUTHORISED"}),
    "no erasure at all": (lambda _: None, {"SHEET-UNAUTHORISED"}),
    "under a hold": (lambda p: (p.hold([3, 3], [7, 9]), p.erase()), {"UNDER-HOLD"}),
    "under a hold released alone": (lambda p: (released_alone(p), p.erase()), {"APPROVAL-MISSING", "UNDER-HOLD"}),
    "a hold of nobody": (lambda p: (p.act("hold.release", hold="case-7", placed=1), p.erase()), {"HOLD-UNKNOWN"}),
    "a hold without ranges": (lambda p: (p.hold(), p.erase()), {"ACT-FORM"}),
    "a hold backwards": (lambda p: (p.hold([9, 7]), p.erase()), {"ACT-FORM"}),
    "ranges that meet": (lambda p: (p.hold([5, 7], [7, 9]), p.erase()), {"ACT-FORM"}),
}


@pytest.mark.parametrize("name", AUTHORITY)
def test_whoever_has_not_the_right_is_named(tmp_path: Path, name: str) -> None:
    act, codes = AUTHORITY[name]
    people = People()
    act(people)
    found = agree(*people.written(tmp_path))
    assert {code for axis, code, log in found if (axis, log) == ("authority", "alpha")} == codes
    allowed = {FINE, ("erasure", "ERASURE-PENDING", "alpha"), ("time", "CLOCK-STEP", "alpha")}
    assert {f for f in found if f[0] != "authority"} <= allowed


LISTS: dict[str, tuple[Callable[[People], object], str]] = {
    "alone": (new_list_alone, "APPROVAL-MISSING"),
    "approved by newcomers": (
        lambda p: p.list("ben", "cleo", by=("ben", "cleo"), previous=p.at),
        "APPROVAL-FORGED",
    ),
    "a second first one": (lambda p: p.list("ben", "cleo"), "ACT-FORM"),
    "of one": (lambda p: p.list("cleo", by=("ada", "ben"), previous=p.at), "ACT-FORM"),
    "out of order": (lambda p: p.list("cleo", "ben", by=("ada", "ben"), previous=p.at), "ACT-FORM"),
    "one key for two": (
        lambda p: p.list(
            "ben",
            by=("ada", "ben"),
            previous=p.at,
            approvers=[
                {"key": p.listed("ben")[0]["key"], "name": "ben"},
                {"key": p.listed("ben")[0]["key"], "name": "ben-too"},
            ],
        ),
        "ACT-FORM",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_did_not_come_to_be_in_order_is_nobodys(tmp_path: Path, name: str) -> None:
    act, code = LISTS[name]
    people = People()
    act(people)
    found = agree(*people.written(tmp_path, version=1))
    assert ("authority", code, "system") in found


BAD_LEAVES = {
    "a list in a project": lambda p: p.alpha.add(
        "approvers.change",
        src=OWN,
        data={"approvals": [], "approvers": p.listed("ada", "ben"), "expires_us": LATER, "previous": None},
    ),
    "a short signature": lambda p: p.alpha.add(
        "hold.release",
        src=OWN,
        data={
            "approvals": [{"approver": "ada", "signature": "AAAA"}],
            "approvers": 1,
            "expires_us": LATER,
            "hold": "case-7",
            "placed": 1,
        },
    ),
    "a range of three": lambda p: p.hold([1, 2, 3]),
    "a word that is none": lambda p: p.erase(reason="Because!"),
    "a number that is none": lambda p: p.erase(leaves=[True]),
    "a member too many": lambda p: p.erase(note="x"),
}


@pytest.mark.parametrize("name", BAD_LEAVES)
def test_what_is_no_act_is_no_leaf(tmp_path: Path, name: str) -> None:
    people = People()
    BAD_LEAVES[name](people)
    assert ("integrity", "LEAF", "alpha") in agree(*people.written(tmp_path, version=1))
