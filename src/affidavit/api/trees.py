"""The heads and tiles of a log over HTTP, so that whoever holds the token can see that each head extends the last.

Promise: hashes and signed heads only. Bundles of entries are not served here: what a record is stays behind the doors
that record who read it. The paths are those of tlog-tiles, so any client of theirs reads them.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import PathParameter

from affidavit.errors import FormatError, NotFoundError
from affidavit.ledger.layout import DataLayout
from affidavit.tlog.tile import ENTRIES_LEVEL, format_tile_path, parse_tile_path

_LOG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TYPE: Final = "application/octet-stream"


class Trees:
    """The trees of a data directory."""

    def __init__(self, data: DataLayout) -> None:
        self._data: Final = data

    def read(self, log: str, path: str) -> bytes:
        """The file at a path of tlog-tiles.

        Raises:
            NotFoundError: There is none.
        """
        if _LOG.fullmatch(log):
            try:
                return (self._data.log(log).tree / _name(path)).read_bytes()
            except (FormatError, FileNotFoundError, NotADirectoryError):
                pass
        raise NotFoundError("there is no head or tile of this path")


def _name(path: str) -> str:
    if path == "checkpoint":
        return path
    tile = parse_tile_path(path)
    if tile.level == ENTRIES_LEVEL:
        raise FormatError("entries are not served here")
    return format_tile_path(tile)


@get("/v1/logs/{log:str}/{place:path}", sync_to_thread=True, summary="A log's checkpoint and tiles", tags=["trees"])
def tree(
    state: State,
    log: Annotated[str, PathParameter(description="`system`, or a project.")],
    place: Annotated[str, PathParameter(description="`checkpoint`, or `tile/…` as tlog-tiles has it; no entries.")],
) -> Response[bytes]:
    """A file of a log's tree."""
    trees: Trees = state.trees
    return Response(trees.read(log, str(place).removeprefix("/")), media_type=_TYPE)
