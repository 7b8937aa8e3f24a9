"""A new shard for a capture process: one for each of its boots, and one more whenever the last has failed.

Promise: the public sealing key is read anew for each write-ahead file, from the key directory and never from the data
directory, so that a key that was changed is taken up within a file's age, and whoever can write the data directory
cannot slip in a key of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from affidavit.errors import LayoutError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Places
from affidavit.ledger.spare import Spare
from affidavit.ledger.wal import SealingKey, Shard
from affidavit.text import b64u, parse_b64u
from affidavit.tlog.note import Ed25519Signer

SEALING_KEY_NAME: Final = "sealing.json"
BOOT_BYTES: Final = 6


class _SealingKeyFile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    public: str


def read_sealing_key(places: Places) -> SealingKey:
    """The sealing key in force; raises `LayoutError` where the sealer has not made one."""
    path = places.public / SEALING_KEY_NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_SealingKeyFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise LayoutError(f"{path} cannot be read; the sealer makes it when it starts. Nothing was recorded") from error
    return SealingKey(id=found.id, public=parse_b64u(found.public))


def open_shard(
    *,
    places: Places,
    source: str,
    logs: tuple[str, ...],
    clock_us: Callable[[], int],
    random: Callable[[int], bytes],
    disk: Disk,
    has_marks: bool = False,
    voucher: Ed25519Signer | None = None,
) -> Shard:
    """A shard of a new boot. With a `voucher`, it signs what it says of its records under a key of its own.

    Raises:
        AffidavitError: There is no sealing key, or the disk cannot be written; nothing was recorded.
    """
    return Shard(
        wal_directory=DataLayout(places.data).wal,
        source=source,
        boot=b64u(random(BOOT_BYTES)),
        logs=logs,
        sealing_key=lambda: read_sealing_key(places),
        clock_us=clock_us,
        disk=disk,
        spare=lambda directory: Spare(directory, disk=disk),
        has_marks=has_marks,
        voucher=voucher,
    )
