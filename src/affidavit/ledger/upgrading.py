"""Which formats lie in the two directories, held against those that this version writes. It changes nothing.

Promise: formats are permanent, so a newer version either continues what is there as it is, or says what it would make
of it before it does. Today there is one format of each kind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from affidavit.errors import LayoutError
from affidavit.ledger.layout import BODIES_MAGIC, FORMAT_LINE, HEADERS_MAGIC, SHEET_MAGIC, DataLayout
from affidavit.ledger.places import Places

_RING_MAGIC: Final = b"afring1\n"
_STATED_BYTES_MAX: Final = 64


class FoundFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its format."""

    file: str
    """Its path, below the directory that it belongs to."""
    format: str
    """As it is stated there; characters that are not printable ASCII are replaced."""
    is_known: bool


def examine_formats(places: Places) -> list[FoundFormat]:
    """The formats of the ledger, of the newest segment of each log, and of the keyring.

    Raises:
        LayoutError: There is no ledger.
    """
    layout = DataLayout(places.data)
    if not layout.format_file.is_file():
        raise LayoutError(f"there is no ledger at {places.data}; `affidavit up` makes one")
    found = [_stated(layout.format_file, places.data, known=FORMAT_LINE)]
    for log in sorted(path for path in layout.logs.glob("*") if path.is_dir()):
        for kind, known in (("bodies", BODIES_MAGIC), ("headers", HEADERS_MAGIC), ("sheets", SHEET_MAGIC)):
            newest = max((path for path in (log / kind).glob("[0-9]*")), default=None)
            if newest is not None:
                found.append(_stated(newest, places.data, known=known))
    ring = places.keys / "ring" / "keys"
    if ring.is_file():
        found.append(_stated(ring, places.keys, known=_RING_MAGIC))
    return found


def _stated(path: Path, directory: Path, *, known: bytes) -> FoundFormat:
    with path.open("rb") as file:
        line = file.read(_STATED_BYTES_MAX).partition(b"\n")
    stated = line[0] + line[1]
    text = re.sub("[^ -~]", "?", line[0].decode("latin-1"))
    return FoundFormat(file=str(path.relative_to(directory)), format=text, is_known=stated == known)
