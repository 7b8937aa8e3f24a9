"""`affidavit restore`."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from affidavit.cli.approvers import read_private_keys
from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, print_json, remark
from affidavit.errors import ConfigError, LayoutError
from affidavit.ledger.directory import FILE_MODE, Disk
from affidavit.ledger.places import LOCK_NAME, Places, find_places
from affidavit.ledger.signer import Signer
from affidavit.ledger.signing import DIRECTORY as SIGNER_DIRECTORY
from affidavit.prove.restore import Loss, RestorePlan, Restoring, confirmed, plan_restore


def restore(
    backup: Annotated[Path, Parameter(help="What `affidavit backup` made.")],
    /,
    *,
    approve: Annotated[
        tuple[Path, ...], Parameter(negative="", help="Key of an approver who confirms this; two are needed.")
    ] = (),
    reason: Annotated[str, Parameter(help="One word for the record, such as `disk_lost`.")] = "disaster",
    pin: Annotated[
        tuple[Path, ...], Parameter(negative="", help="A signed head that somebody else kept; may be repeated.")
    ] = (),
    dry_run: Annotated[bool, Parameter(negative="", help="Tell what would be lost; change nothing.")] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Go on from a backup after the data directory was lost, in a new shard that says so.

    ```
    affidavit restore /media/safe/ledger-2026-11-28 --dry-run
    affidavit restore /media/safe/ledger-2026-11-28 --approve alice.pem --approve bob.pem --reason disk_lost
    ```

    AFFIDAVIT_DATA names the new, empty data directory, AFFIDAVIT_KEYS the keys that the ledger had. What was recorded
    after the backup is gone; the signer, and heads that others kept (`--pin`), tell how much that is. Two approvers
    (`affidavit approvers`) must confirm it with their keys. Then the backup is put back as a finished shard, which is
    never written again, and a new one begins with the leaf `log.restored`: what was restored, what was lost, who
    confirmed it, signed by the old keys and the new ones. Verifiers that have a head of the lost range say RESTORED,
    not ROLLBACK.

    Exit code 1: nothing was changed, since two approvals are missing; it says what to do.
    """
    places = find_places(os.environ)
    pins = tuple(_bytes_of(path) for path in pin)
    with _keys_held(places):
        signer = Signer(
            directory=places.keys / SIGNER_DIRECTORY,
            disk=Disk(),
            clock_s=lambda: int(time.time()),
            random=os.urandom,
        )
        plan = plan_restore(backup.absolute(), places, signer, pins=pins)
        keys = read_private_keys(approve)
        if dry_run or (not keys and plan.begun is None):
            _tell(plan, as_json=json)
            return OK if dry_run else FINDING
        now_us = time.time_ns() // 1_000
        data = None if plan.begun is not None else confirmed(plan, keys, reason=reason, now_us=now_us)
        Restoring(plan, places, signer, Disk()).run(data)
    from affidavit.serve.reading import reading_service

    with reading_service(places, environment=os.environ):
        pass  # its start writes the first leaves of the new shard
    if json:
        print_json(_answer(plan) | {"directory": str(places.data), "shard": plan.number + 1})
    else:
        remark(f"{places.data} goes on as shard {plan.number + 1}; what was restored lies there as shard {plan.number}")
        remark("`affidavit verify` checks both; make a new backup of the keys, and pin the new heads")
    return OK


@contextmanager
def _keys_held(places: Places) -> Iterator[None]:
    """Nobody else may sign meanwhile."""
    if not places.keys.is_dir():
        raise LayoutError(
            f"there are no keys at {places.keys}, and without them a ledger cannot go on. Name their place with "
            "AFFIDAVIT_KEYS; nothing was changed"
        )
    fd = os.open(places.keys / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LayoutError(f"a service holds {places.keys}: stop it first. Nothing was changed") from None
        yield
    finally:
        os.close(fd)


def _answer(plan: RestorePlan) -> dict[str, Any]:
    return {
        "backup": str(plan.backup),
        "logs": [
            {"log": loss.log, "size": loss.size, "lost_to": loss.lost_to, "lost": loss.lost} for loss in plan.losses
        ],
        "approvers": sorted(plan.approvers.keys) if plan.approvers is not None else [],
    }


def _tell(plan: RestorePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(_answer(plan))
        return
    for loss in plan.losses:
        answers().print(f"{loss.log}: {_told(loss)}", markup=False, soft_wrap=True)
    if plan.approvers is None:
        remark("this ledger names no approvers (`affidavit approvers set`), so nobody can confirm a restore")
    else:
        names = ", ".join(sorted(plan.approvers.keys))
        remark(f"nothing was changed. Two of {names} must confirm it: --approve FILE, once for each key")


def _told(loss: Loss) -> str:
    if loss.lost is None:
        return f"{loss.size} leaves come back; how many were lost nobody here knows"
    return f"{loss.size} leaves come back, {loss.lost} are lost"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); nothing was changed") from error
