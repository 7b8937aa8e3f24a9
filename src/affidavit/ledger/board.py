"""The notice board: what the supervisor writes down for `affidavit status` and for health, in the key directory.

Promise: the file is replaced whole; it says what was true when it was written, and the lease says whether its writer
still lives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places, Purpose

NAME: Final = "processes.json"

State = Literal["starting", "ready", "restarting", "stopping", "stopped"]


class ProcessNote(msgspec.Struct, frozen=True, kw_only=True):
    """One process."""

    role: str
    pid: int | None
    state: State
    restarts: int


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The whole service."""

    pid: int
    purpose: Purpose
    state: State
    gateway: str | None
    """`HOST:PORT`, where there is one."""
    api: str | None = None
    """The same of the door for readers."""
    since_us: int
    processes: tuple[ProcessNote, ...]


def write_board(places: Places, board: Board, *, disk: Disk) -> None:
    """Replace the board. It is a convenience: whoever cannot write it goes on without."""
    disk.replace(_path(places), msgspec.json.encode(board))


def read_board(places: Places) -> Board | None:
    """The board as it was last written, or ``None``."""
    try:
        return msgspec.json.decode(_path(places).read_bytes(), type=Board)
    except (OSError, msgspec.MsgspecError):
        return None


def _path(places: Places) -> Path:
    return places.run / NAME
