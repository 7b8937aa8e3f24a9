"""`affidavit backup`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.keys import backup as back_up_keys
from affidavit.cli.present import print_json, progress_bars, remark, size_text
from affidavit.errors import LayoutError
from affidavit.ledger.backup import back_up
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Places, find_places
from affidavit.prove.verify import verify_directory


def backup(
    target: Annotated[Path, Parameter(help="A new directory; nothing may be there yet.")],
    /,
    *,
    keys: Annotated[
        Path | None, Parameter(help="Also back up the keys, into this file; it may not lie in the copy.")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Copy the ledger, while the service runs or not, and verify the copy.

    ```
    affidavit backup /media/safe/ledger-2026-11-28
    affidavit backup /media/safe/ledger-2026-11-28 --keys /media/other/keys-2026-11-28.tar
    affidavit verify /media/safe/ledger-2026-11-28 --vkey system.vkeys
    ```

    The copy holds every log as of the head that it had; what was not sealed yet (a second's records, more where
    sealing is behind) is not in it. It holds no keys: `--keys`, or `affidavit keys backup`, copies those, and the two
    should not lie side by side. Whoever has the copy alone can verify it and read nothing.

    A ledger is not continued from a copy: two histories under one set of keys would be a fork, so the service refuses a
    copy that was put in the place of the original. Where that is lost, `affidavit restore` goes on from a copy, in a
    new shard that says so.

    Exit code 1: the copy was made, and its integrity is not OK. It is kept, since it may be all that there is.
    """
    places = find_places(os.environ)
    target = target.absolute()
    _require_apart(places, target)
    if keys is not None and target in (keys.absolute().resolve(), *keys.absolute().resolve().parents):
        raise LayoutError(f"{keys} would lie in the copy, and whoever has one would have both. Nothing was copied")
    # Before the copy: keys that changed meanwhile may be in it or not, and lead to both.
    vkeys = places.system_vkeys.read_bytes() if places.system_vkeys.is_file() else None
    with progress_bars() as advance:
        done = back_up(DataLayout(places.data), target, disk=Disk(), progress=advance)
    with progress_bars() as advance:
        report = verify_directory(target, vkeys=vkeys, progress=advance)
    if keys is not None:
        back_up_keys(keys, json=json)
    if json:
        print_json(
            {
                "directory": str(target),
                "logs": done.sizes,
                "files": done.files,
                "bytes": done.bytes,
                "waiting": done.waiting,
                "integrity": report.integrity,
                "holds": report.holds,
            }
        )
    else:
        leaves = sum(done.sizes.values())
        remark(f"{leaves} leaves in {len(done.sizes)} logs, {size_text(done.bytes)}, are in {target}")
        remark(f"its integrity is {report.integrity}; `affidavit verify {target}` tells more")
        if done.waiting:
            remark("what was on record and not sealed yet when it began is not in it; the next one has it")
        if keys is None:
            remark("it holds no keys: make a backup of those with `affidavit keys backup FILE`, and keep the two apart")
    return OK if report.holds else FINDING


def _require_apart(places: Places, target: Path) -> None:
    resolved = target.parent.resolve() / target.name
    for place, what in ((places.data, "data"), (places.keys, "key")):
        if resolved == place or place in resolved.parents:
            raise LayoutError(f"{target} lies in the {what} directory; a backup goes elsewhere. Nothing was copied")
