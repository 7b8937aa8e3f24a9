"""When the keys were backed up last: a note in the key directory, for `affidavit doctor`.

Promise: it says when `affidavit keys backup` succeeded, and nothing about where the copy is or whether it still exists.
File ``last-backup.json``; disposable, and not part of a backup.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from affidavit.ledger.directory import Disk

BACKUP_NOTE_NAME: Final = "last-backup.json"


class BackupNote(msgspec.Struct, frozen=True, kw_only=True):
    """The newest backup that this installation knows of."""

    made_us: int
    files: int


def write_backup_note(keys: Path, note: BackupNote, *, disk: Disk) -> None:
    """Replace the note."""
    disk.replace(keys / BACKUP_NOTE_NAME, msgspec.json.encode(note))


def read_backup_note(keys: Path) -> BackupNote | None:
    """The note, or ``None`` where no backup is known."""
    try:
        return msgspec.json.decode((keys / BACKUP_NOTE_NAME).read_bytes(), type=BackupNote)
    except (OSError, msgspec.MsgspecError):
        return None
