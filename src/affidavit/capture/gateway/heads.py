"""The newest published head of a call's log, told to clients that ask: for who keeps the last head that they saw.

Promise: a client that does not send ``x-affidavit-head: 1`` costs nothing here. One that does gets size, root and
origin of the newest head in a header of the answer; the head's signatures and the tiles that prove how it grew are
served with the log (`affidavit.witness.light` fetches both, and demands that each head extends the last).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from affidavit.errors import FormatError
from affidavit.ledger.layout import DataLayout
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import NOTE_SIZE_MAX, encode_base64, parse_note


class PublishedHeads:
    """The checkpoints of all projects, read when somebody asks. Owner: the loop's thread."""

    def __init__(self, data: DataLayout) -> None:
        self._data: Final = data
        self._known: Final[dict[str, tuple[tuple[int, int], bytes]]] = {}

    def header(self, project: str) -> bytes:
        """The header line for an answer; nothing where the log has no head that can be read yet."""
        path = self._data.log(project).checkpoint
        try:
            state = path.stat()
            key = (state.st_ino, state.st_mtime_ns)
            known = self._known.get(project)
            if known is None or known[0] != key:
                known = self._known[project] = (key, _line(path))
        except (OSError, FormatError):
            return b""
        return known[1]


def _line(path: Path) -> bytes:
    with path.open("rb") as file:
        head = parse_checkpoint(parse_note(file.read(NOTE_SIZE_MAX)).text)
    return f"x-affidavit-head: {head.size} {encode_base64(head.root)} {head.origin}\r\n".encode()
