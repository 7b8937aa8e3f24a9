"""Shards of a ledger: which one is written now, where the others lie, and what their logs are called.

Promise: the newest shard lies at the top of the data directory, so that whoever writes or serves it finds it where it
always was; each finished one is a whole ledger of its own under ``shards/<number>/``. Which number the newest has is
told by the key directory and by what lies there, whichever says more: a turn that was cut short is seen.
Formats: docs/formats.md, section 23.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from affidavit.event import SYSTEM_LOG

SHARDS_NAME: Final = "shards"
SHARDS_MAX: Final = 9_999


def shard_log(log: str, number: int) -> str:
    """What a log of a shard is called where logs of several shards stand side by side."""
    return log if number == 1 else f"{log}@{number}"


def log_of_shard(name: str) -> tuple[str, int]:
    """The reverse of `shard_log`: the log, and the number of its shard."""
    log, _, number = name.partition("@")
    return log, int(number) if number else 1


def system_of(name: str) -> str:
    """The system log of the shard that a log belongs to."""
    return shard_log(SYSTEM_LOG, log_of_shard(name)[1])


def shard_prefix(prefix: str, number: int) -> str:
    """What the origins of a shard begin with, before the slash."""
    return prefix if number == 1 else f"{prefix}/{number}"


def is_shard_name(name: str) -> bool:
    """Whether a directory below ``shards/`` has the name of one."""
    return name.isascii() and name.isdigit() and not name.startswith("0") and int(name) <= SHARDS_MAX


def finished_shards(data: Path) -> list[int]:
    """Numbers of the finished shards that lie in a data directory, rising."""
    try:
        return sorted(int(path.name) for path in (data / SHARDS_NAME).iterdir() if is_shard_name(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def finished_shard(data: Path, number: int) -> Path:
    """Where a finished shard lies: a ledger of its own."""
    return data / SHARDS_NAME / str(number)
