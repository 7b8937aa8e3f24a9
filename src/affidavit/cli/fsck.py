"""`affidavit fsck`."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import FINDING, OK, USAGE
from affidavit.cli.present import answers, print_json, progress_bars, remark
from affidavit.config import load_config
from affidavit.errors import ConfigError
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places, find_config, find_places, take_lease
from affidavit.prove.fsck import Problem, check_places
from affidavit.prove.repair import Repair, plan
from affidavit.prove.repair import apply as apply_repair
from affidavit.serve.reading import reading_service


def fsck(
    *,
    repair: Annotated[
        bool, Parameter(negative="", help="Say what can be healed from what is here, and what cannot. Changes nothing.")
    ] = False,
    apply: Annotated[bool, Parameter(name="--apply", negative="", help="With --repair: do it.")] = False,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object a problem, then a summary.")
    ] = False,
) -> int:
    """Check that the files of both directories fit together, and say what the next start will repair by itself.

    `verify` judges the history, as a stranger can; this looks at the house: leftovers of interrupted writes, what waits
    in the write-ahead log and in the stage, keys that records need, the signer's state against the heads. It changes
    nothing.

    ```
    affidavit fsck
    ```

    With `--repair` it says what redundancy can heal: tiles from bundles, earlier partial tiles from newer ones, the
    checkpoint from the kept heads, maps of ids, leftovers; each only with bytes that a signed head proves. With
    `--repair --apply` it heals them, and then lets a start do what it does by itself: publish a stage, seal what waits.
    What has no second copy is named. Stop the service first.

    ```
    affidavit fsck --repair
    affidavit fsck --repair --apply
    ```

    Exit code 1 says that something needs a hand, or could be healed and was not.
    """
    places = find_places(os.environ)
    if apply and not repair:
        remark("affidavit: --apply belongs to --repair; nothing was changed")
        return USAGE
    if repair:
        return _repair(places, does_it=apply, json=json)
    with progress_bars() as advance:
        problems = check_places(places, signer_user=_signer_user(places), progress=advance)
    needed = [problem for problem in problems if problem.needs_a_hand]
    for problem in problems:
        _print(problem, json=json)
    if json:
        print_json({"problems": len(needed), "notes": len(problems) - len(needed)})
    else:
        answers().print("nothing needs a hand" if not needed else f"{len(needed)} problems need a hand")
    return FINDING if needed else OK


def _signer_user(places: Places) -> str | None:
    """Of a configuration that cannot be read `affidavit config check` tells; the files are looked at all the same."""
    with contextlib.suppress(ConfigError):
        return load_config(find_config(os.environ, places)).config.signer.user
    return None


def _repair(places: Places, *, does_it: bool, json: bool) -> int:
    """Plan, or do, all repairs; then let a start publish and seal what it finds."""
    if not does_it:
        healed, lost = _walk(places, disk=None, json=json)
        _sum_up("could be healed (--apply heals)", healed, lost=lost, json=json)
        return FINDING if healed or lost else OK
    lease = take_lease(places, purpose="reading", clock_us=_clock_us, random=os.urandom, sleep=time.sleep)
    try:
        healed, lost = _walk(places, disk=Disk(), json=json)
    finally:
        lease.close()
    if not lost and _waits_for_a_start(places):
        with reading_service(places, environment=os.environ):
            pass  # its sealer has published and sealed when it is ready, and closes the epoch when it goes
        remark("a start published and sealed what was waiting")
    _sum_up("healed", healed, lost=lost, json=json)
    return FINDING if lost else OK


def _walk(places: Places, *, disk: Disk | None, json: bool) -> tuple[int, int]:
    healed = lost = 0
    for step in plan(places):
        if isinstance(step, Problem):
            lost += 1
            _print(step, json=json)
            continue
        healed += 1
        if disk is not None:
            apply_repair(step, disk)
        _print_repair(step, places, done=disk is not None, json=json)
    return healed, lost


def _waits_for_a_start(places: Places) -> bool:
    return any((places.data / "stage").glob("[0-9]*")) or any((places.data / "wal").glob("*/[0-9]*"))


def _print(problem: Problem, *, json: bool) -> None:
    if json:
        print_json(problem)
    else:
        word = "PROBLEM" if problem.needs_a_hand else "note"
        answers().print(f"{word}: {problem.where}: {problem.what}", markup=False, soft_wrap=True)


def _print_repair(repair: Repair, places: Places, *, done: bool, json: bool) -> None:
    where = str(repair.path.relative_to(places.data))
    act = "remove" if repair.content is None else "write"
    if json:
        print_json({"where": where, "what": repair.what, "repair": act, "done": done})
    else:
        word = {"remove": "removed", "write": "wrote"}[act] if done else f"would {act}"
        answers().print(f"{word}: {where}: {repair.what}", markup=False, soft_wrap=True)


def _sum_up(word: str, healed: int, *, lost: int, json: bool) -> None:
    if json:
        print_json({"repairs": healed, "problems": lost})
    else:
        more = f", {lost} are damaged and have no other copy here" if lost else ""
        answers().print(f"{healed} files {word}{more}" if healed or lost else "there is nothing to repair")


def _clock_us() -> int:
    return time.time_ns() // 1000
