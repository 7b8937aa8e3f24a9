"""`affidavit keys root`, `keys manifest` and `keys revoke`: what only the root key may say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import print_json, remark
from affidavit.ledger.directory import Disk
from affidavit.ledger.key_manifest import handed_over_at, make_root, open_root, renew_manifest
from affidavit.ledger.places import Places, find_places
from affidavit.tlog.manifest import Manifest, Revoked

RootKey = Annotated[Path, Parameter(help="The file that `affidavit keys root` made.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")]


def root(
    file: Annotated[Path, Parameter(help="Where to write the root key: outside of both directories.")],
    /,
    *,
    json: Json = False,
) -> int:
    """Make the root key of this installation, and the key manifest that it signs.

    ```
    affidavit keys root /media/safe/affidavit-root.key
    affidavit verify --root root.vkey
    ```

    Keep the file away from this machine; no process of the service needs it. Give AFFIDAVIT_KEYS/public/root.vkey to
    whoever verifies: with it they learn the keys of all logs from the manifest, and which are revoked.
    """
    places = find_places(os.environ)
    _tell(make_root(file.absolute(), places, disk=Disk(), random=os.urandom), places, as_json=json)
    remark(f"the root key is in {file}; keep it away from this machine, and a copy of it somewhere else")
    return OK


def manifest(*, root_key: RootKey, json: Json = False) -> int:
    """Sign the key manifest again, after a rotation or a new project.

    ```
    affidavit keys manifest --root-key /media/safe/affidavit-root.key
    ```
    """
    places = find_places(os.environ)
    _tell(renew_manifest(places, root=open_root(root_key, places), disk=Disk()), places, as_json=json)
    return OK


def revoke(
    log: Annotated[str, Parameter(help="The log whose old keys are revoked.")],
    /,
    *,
    root_key: RootKey,
    generation: Annotated[int, Parameter(help="Which pair of its keys, from 1; it must have been rotated out.")],
    size: Annotated[
        int | None,
        Parameter(help="Heads of more leaves than this do not count; without it, all after the rotation."),
    ] = None,
    json: Json = False,
) -> int:
    """Revoke old keys of a log by tree size: heads that they signed beyond it are authority FAIL for `verify --root`.

    ```
    affidavit keys rotate default
    affidavit keys revoke default --generation 1 --root-key /media/safe/affidavit-root.key
    ```
    """
    places = find_places(os.environ)
    through = handed_over_at(places, log, generation) if size is None else size
    signer = open_root(root_key, places)
    told = renew_manifest(places, root=signer, disk=Disk(), revoke=(log, Revoked(generation, through)))
    _tell(told, places, as_json=json)
    return OK


def _tell(manifest: Manifest, places: Places, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "file": str(places.manifest),
                "serial": manifest.serial,
                "logs": [
                    {"log": entry.log, "generations": len(entry.generations), "revoked": len(entry.revoked)}
                    for entry in manifest.logs
                ],
            }
        )
    else:
        remark(f"manifest {manifest.serial} names {len(manifest.logs)} logs: {places.manifest}")
