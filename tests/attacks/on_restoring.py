"""Attempts on a ledger that went on from a backup: with two persons' consent, and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.crypt.approval import approve
from affidavit.event import LOG_RESTORED
from tests.attacks.ground import Ground, Judgement
from tests.attacks.insider import checkpoint_of
from tests.attacks.registry import Evidence, attempt
from tests.support.restored import Lost

Change = Callable[[Lost, dict[str, Any]], dict[str, Any]]


def restored(ground: Ground, change: Change) -> tuple[Judgement, str]:
    """A ledger that was lost, restored, and written on; the last head of what was lost is a pin, named by its size."""
    lost = Lost(ground.scratch() / "lost")
    lost.restore(change=lambda data: change(lost, data))
    lost.go_on()
    pin = lost.pins["default"]
    judged = ground.judge(lost.places.data, vkeys=lost.old.vkeys_file, pins=(pin,))
    return judged, f"size {checkpoint_of(pin).size}"


def approved(lost: Lost, data: dict[str, Any], keys: dict[str, Ed25519PrivateKey]) -> dict[str, Any]:
    unsigned = {name: value for name, value in data.items() if name != "approvals"}
    return approve(unsigned, origin=lost.plan().new_origin, kind=LOG_RESTORED, approvers=keys)


@attempt(9)
def with_consent(ground: Ground) -> Evidence:
    """Nothing fails, and the loss is named."""
    judged, pin = restored(ground, lambda _, data: data)
    clause = "restored with two persons' consent, in a new shard"
    return judged.evidence("anchor", "RESTORED", named=pin, clause=clause)


@attempt(9)
def without_consent(ground: Ground) -> Iterator[Evidence]:
    """Whoever has every key of the installation, and not those of two approvers."""

    def twice(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
        alone = approved(lost, data, {"ada": lost.people["ada"]})
        return alone | {"approvals": alone["approvals"] * 2}

    def stranger(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
        return approved(lost, data, {"ada": lost.people["ada"], "dora": Ed25519PrivateKey.generate()})

    for change, code, clause in (
        (twice, "ACT-FORM", "restored, and one person confirmed it twice"),
        (stranger, "APPROVAL-FORGED", "restored, and somebody confirmed it whom the ledger never named"),
    ):
        judged, _ = restored(ground, change)
        assert judged.report.anchor == "FAIL", "and the pin is a rollback"
        yield judged.evidence("authority", code, named="entry 1", clause=clause, also=("anchor",))


@attempt(9)
def consent_to_less(ground: Ground) -> Evidence:
    """Two persons were told that one leaf is lost; somebody has the head of many more."""

    def less(lost: Lost, data: dict[str, Any]) -> dict[str, Any]:
        rows = [row | {"lost_to": row["size"] + 1} for row in data["logs"]]
        return approved(lost, data | {"logs": rows}, {name: lost.people[name] for name in ("ada", "ben")})

    judged, pin = restored(ground, less)
    return judged.evidence("anchor", "ROLLBACK", named=pin, clause="restored with consent to a smaller loss")
