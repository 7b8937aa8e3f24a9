"""`affidavit keys backup` and `keys rotate`; those of the root key are in `root`."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import OK
from affidavit.cli.present import answers, print_json, remark
from affidavit.cli.root import manifest, revoke, root
from affidavit.errors import LayoutError
from affidavit.ledger.backup_note import BACKUP_NOTE_NAME, BackupNote, write_backup_note
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import LOCK_NAME, Places, find_places, read_installation

app = App(name="keys", help="Back up the keys, and change or revoke those that sign a log.")
app.command(root)
app.command(manifest)
app.command(revoke)

SIGNER_STATE_NAME: Final = "state"
"""What a log's signer last signed, `signer/<log>/state`: put back, it would let the signer sign a second history."""
NOT_KEPT: Final = frozenset({"run", LOCK_NAME, BACKUP_NOTE_NAME})
_FILE_MODE: Final = 0o600
_NOTE_NAME: Final = "README"


@app.command
def backup(
    file: Annotated[
        Path | None, Parameter(help="Where to write it; without it, a dated file in the current directory.")
    ] = None,
    /,
    *,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Write all keys into one file (tar, mode 0600), so that a lost disk does not make every record unreadable.

    ```
    affidavit keys backup /media/safe/affidavit-keys.tar
    ```

    Whoever has this file and the data directory can read everything: keep the two apart. It holds no state of the
    signer, since putting that back could let it sign a second history.

    A backup outlives an erasure: what was erased after it was made can be read with it, for as long as it exists. So
    make a new one regularly, and destroy the old ones; the file's name tells its date.
    """
    places = find_places(os.environ)
    if not places.keys.is_dir() or read_installation(places.keys) is None:
        raise LayoutError(f"there are no keys at {places.keys} yet; `affidavit up` makes them at its first start")
    moment = datetime.fromtimestamp(time.time(), UTC)
    target = _target(file, places, moment)
    names = _write(target, places, moment)
    note = BackupNote(made_us=int(moment.timestamp() * 1_000_000), files=len(names))
    write_backup_note(places.keys, note, disk=Disk())
    answer: dict[str, Any] = {
        "file": str(target),
        "keys": str(places.keys),
        "files": len(names),
        "made": moment.isoformat(timespec="seconds"),
    }
    if json:
        print_json(answer)
    else:
        remark(f"{len(names)} files of {places.keys} are in {target}")
        if not (places.keys / "signer").is_dir():
            remark("the signing keys are not in it: they belong to the signer's own user (docs/operations.md)")
        remark(
            f"It opens everything that was readable on {moment:%Y-%m-%d}, also what is erased from now on, until it "
            "is destroyed. "
            "Keep it away from the data directory, and replace it by a newer one."
        )
    return OK


@app.command
def rotate(
    log: Annotated[str, Parameter(help="The log whose signing keys are changed: a project's, or `system`.")],
    /,
    *,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """Give a log new signing keys. The old ones sign what is there, the new ones what comes; the change is a leaf.

    ```
    affidavit keys rotate default
    affidavit keys rotate system
    ```

    The leaf `key.rotate` is signed by the old keys and by the new ones, and stands in the system log before any head
    has the new keys. The old seeds are destroyed with the first head of the new ones. Verifier keys of the system log
    that you gave to others stay good: from one pair follow the others. The newest lie in AFFIDAVIT_KEYS/public, those
    before them beside them under numbers, for proofs and pins of their time. Make a new backup of the keys afterwards.
    """
    places = find_places(os.environ)
    from affidavit.ledger.channel import connect
    from affidavit.serve.reading import reading_service

    with reading_service(places, environment=os.environ), connect(places.run, "sealer") as channel:
        answer = channel.call({"op": "rotate", "log": log}).body
    told = {"log": answer["log"], "after": answer["after"], "vkeys": answer["vkeys"]}
    if json:
        print_json(told)
    else:
        remark(f"heads of log {told['log']} with more than {told['after']} leaves have new keys:")
        for vkey in told["vkeys"]:
            answers().print(vkey, markup=False, soft_wrap=True)
        remark("make a new backup of the keys: `affidavit keys backup`")
    return OK


def _target(file: Path | None, places: Places, moment: datetime) -> Path:
    target = (file or Path(f"affidavit-keys-{moment:%Y-%m-%dT%H%M%SZ}.tar")).absolute()
    directory = target.parent.resolve()
    if directory == places.data or places.data in directory.parents:
        raise LayoutError(
            f"{target} lies in the data directory: whoever copies that would have the keys. Choose another place; "
            "nothing was written"
        )
    return target


def _write(target: Path, places: Places, moment: datetime) -> list[str]:
    """Write to a temporary name first, so that a backup is whole or not there."""
    temporary = target.with_name(target.name + ".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            names = []
            for path in _kept(places.keys):
                name = str(path.relative_to(places.keys))
                archive.add(path, arcname=f"affidavit-keys/{name}", recursive=False)
                names.append(name)
            _add_note(archive, places, moment)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(target)
    return names


def _kept(keys: Path) -> Iterator[Path]:
    for path in sorted(keys.rglob("*")):
        parts = path.relative_to(keys).parts
        is_state = parts[0] == "signer" and path.name == SIGNER_STATE_NAME
        if path.is_file() and parts[0] not in NOT_KEPT and not is_state and not path.name.endswith(".tmp"):
            yield path


def _add_note(archive: tarfile.TarFile, places: Places, moment: datetime) -> None:
    text = (
        f"Keys of the affidavit installation that serves {places.data}, made {moment:%Y-%m-%d %H:%M:%S} UTC.\n"
        "Whoever has these files and the data directory can read every record. The state of the signer is not among "
        "them.\n"
        "Destroy this backup when a newer one exists: it still opens what was erased after this date.\n"
    ).encode()
    entry = tarfile.TarInfo(f"affidavit-keys/{_NOTE_NAME}")
    entry.size, entry.mode, entry.mtime = len(text), _FILE_MODE, int(moment.timestamp())
    archive.addfile(entry, io.BytesIO(text))
