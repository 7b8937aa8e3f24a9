"""What somebody with every right on the machine does to a copy of the ledger, so that the tour can show the verdict.

Promise: only copies are touched. Each change is as small as it can be, and none repairs what it breaks, since it has no
signing key; the third one needs none, because everything in an old copy was once signed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from affidavit.api.process import INDEX_NAME
from affidavit.ledger.layout import BODIES_MAGIC, SEGMENT_LEAVES, DataLayout
from affidavit.ledger.reader import head_size
from affidavit.tlog.tile import ENTRIES_LEVEL, format_tile_path, tile_at

_LENGTH_BYTES: Final = 4
PROJECT: Final = "default"


def copy_ledger(data: Path, copy: Path) -> None:
    """Copy a data directory but for the search index, which is made from the rest and proves nothing."""
    shutil.copytree(data, copy, ignore=lambda folder, _: {INDEX_NAME} if Path(folder) == data else set())


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One deed."""

    what: str
    do: Callable[[Path], None]
    """Done to a copy of the data directory."""


def change_body(data: Path, *, leaf: int) -> None:
    """Flip one bit in the middle of what was recorded for a leaf."""
    path = DataLayout(data).log(PROJECT).bodies(leaf // SEGMENT_LEAVES)
    content = bytearray(path.read_bytes())
    at = len(BODIES_MAGIC)
    for _ in range(leaf % SEGMENT_LEAVES):
        at += _LENGTH_BYTES + int.from_bytes(content[at : at + _LENGTH_BYTES], "big")
    length = int.from_bytes(content[at : at + _LENGTH_BYTES], "big")
    content[at + _LENGTH_BYTES + length // 2] ^= 1
    path.write_bytes(content)


def change_leaf(data: Path) -> None:
    """Date the newest record of the project's log nine seconds away."""
    layout = DataLayout(data).log(PROJECT)
    size = head_size(layout)
    path = layout.tree / format_tile_path(tile_at(level=ENTRIES_LEVEL, index=(size - 1) >> 8, size=size))
    content = bytearray(path.read_bytes())
    digit = content.rindex(b'"time_us":') + len(b'"time_us":') + len("1700000000") - 1
    content[digit] = ord("0") + (content[digit] - ord("0") + 9) % 10
    path.write_bytes(content)


def put_back(data: Path, *, older: Path) -> None:
    """Replace the whole directory by an older copy of itself."""
    shutil.rmtree(data)
    shutil.copytree(older, data)
