"""The files of a data directory, as a verifier meets them. Formats: docs/formats.md, section 1.

Promise: every name below the directory is either one that the format knows, or disposable, or a finding; nothing is
skipped in silence. Only regular files are opened, since a planted link or pipe could lead out of the directory or never
end. Nothing here writes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from affidavit.errors import CorruptionError, FormatError
from affidavit.ledger.shards import SHARDS_NAME
from affidavit.prove.report import Findings
from affidavit.tlog.tile import TILE_HEIGHT, TILE_WIDTH, parse_tile_path

READ_BYTES: Final = 1 << 20
"""Bytes taken at a time from a file of any length."""

_LOG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHARD: Final = re.compile(r"[a-z][a-z0-9-]{0,31}\.[A-Za-z0-9_-]{8}")
_NUMBERED: Final = re.compile(r"[0-9]{8}")
_SEGMENT: Final = re.compile(r"[0-9]{6,15}")
_SHEET: Final = re.compile(r"[0-9]{6,15}\.[1-9][0-9]{0,8}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_TILES_A_DIRECTORY: Final = 1_000
_TILES_AT: Final = 5
"""Parts of a name before the number of a tile: logs, its name, tree, tile, level."""
_IN_TILES: Final = re.compile(r"tree/tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6})(x?[0-9]{3})(\.p)?")
_TILE_DIRECTORY: Final = re.compile(r"entries|[0-9]{1,2}|x[0-9]{3}|[0-9]{3}\.p")


class UnusableFileError(CorruptionError):
    """A file of the ledger is missing, or cannot be what it should be; `code` is the code of the finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Files:
    """The directory under examination."""

    __slots__ = ("_is_shard", "_leftovers", "_settled", "directory")

    def __init__(self, directory: Path, *, settled: Mapping[str, int] | None = None, is_shard: bool = False) -> None:
        """`settled` says for a log how many of its leaves were verified before: their tiles are not listed.

        `is_shard`: whether it is a finished shard, which holds no others.
        """
        self.directory = directory
        self._settled = settled or {}
        self._is_shard = is_shard
        self._leftovers: list[tuple[str, tuple[int, int] | None]] = []

    def open(self, name: str) -> BinaryIO:
        """Open a file by its name below the directory, unbuffered.

        Raises:
            UnusableFileError: It is not there, is no regular file, or cannot be opened.
        """
        try:
            fd = os.open(self.directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise UnusableFileError("MISSING", f"{name}: missing") from None
        except OSError as error:
            raise UnusableFileError(
                "UNREADABLE", f"{name}: cannot be opened ({os.strerror(error.errno or 0)})"
            ) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise UnusableFileError("UNKNOWN-FILE", f"{name}: not a regular file")
        return os.fdopen(fd, "rb", buffering=0)

    def read(self, name: str, *, bytes_max: int) -> bytes:
        """All of a file; a longer one is refused before it is read.

        Raises:
            UnusableFileError: It is not there, is longer than it may be, or cannot be read.
        """
        with self.open(name) as file:
            try:
                size = os.fstat(file.fileno()).st_size
                data = file.read(min(size, bytes_max) + 1)
                while 0 < len(data) < size and len(data) <= bytes_max and (more := file.read(READ_BYTES)):
                    data += more
            except OSError as error:
                raise UnusableFileError(
                    "UNREADABLE", f"{name}: cannot be read ({os.strerror(error.errno or 0)})"
                ) from error
        if len(data) > bytes_max:
            raise UnusableFileError("SIZE", f"{name}: longer than the {bytes_max} bytes that it may have")
        return data

    def exists(self, name: str) -> bool:
        """Whether there is something of this name now."""
        return os.path.lexists(self.directory / name)

    def list(self, findings: Findings) -> dict[str, set[str]]:
        """Every file that the format names, by log.

        Names are those below ``logs/<log>/``; what belongs to no log is listed under an empty name. Everything else is
        a finding on the way, and is neither opened nor entered.
        """
        found: dict[str, set[str]] = {"": set()}
        for name in self._walk(findings):
            if name.startswith("logs/"):
                _, log, below = name.split("/", 2)
                found.setdefault(log, set()).add(below)
            else:
                found[""].add(name)
        return found

    def suspect(self, name: str) -> None:
        """Remember a file that looks like a leftover; `check_leftovers` judges it."""
        self._leftovers.append((name, self._identity(name)))

    def check_leftovers(self, findings: Findings) -> None:
        """Files of interrupted writes: seen once, and still the same, since a running service makes some too."""
        for name, identity in self._leftovers:
            if identity is not None and self._identity(name) == identity:
                what = f"{name}: left over from an interrupted write; nothing in it counts"
                findings.for_log(log_of(name)).warn("LEFTOVER", what)

    def _identity(self, name: str) -> tuple[int, int] | None:
        try:
            state = os.lstat(self.directory / name)
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns

    def _walk(self, findings: Findings) -> Iterator[str]:
        waiting = [""]
        while waiting:
            place = waiting.pop()
            try:
                with os.scandir(self.directory / place) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # a directory of partial tiles that were finished since it was listed
            except OSError as error:
                what = f"{place or '.'}: cannot be listed ({os.strerror(error.errno or 0)})"
                findings.for_log(log_of(place)).fail("UNREADABLE", what)
                continue
            for entry in listed:
                name = place + entry.name
                parts = name.split("/")
                if _is_disposable(parts) or (parts == [SHARDS_NAME] and not self._is_shard):
                    continue  # finished shards are ledgers of their own
                if entry.name.endswith(".tmp"):
                    self.suspect(name)
                elif entry.is_dir(follow_symlinks=False) and _is_directory(parts):
                    if not self._is_settled(parts):
                        waiting.append(name + "/")
                elif entry.is_file(follow_symlinks=False) and self._is_settled(parts):
                    continue
                elif entry.is_file(follow_symlinks=False) and _is_file(parts):
                    yield name
                else:
                    what = f"{name}: the format knows no such file or directory"
                    findings.for_log(log_of(name)).fail("UNKNOWN-FILE", what)

    def _is_settled(self, parts: Sequence[str]) -> bool:
        """Whether a name is that of a tile that was finished when its log was verified before, or holds only such."""
        if len(parts) <= _TILES_AT or parts[1] not in self._settled:
            return False
        match = _IN_TILES.fullmatch("/".join(parts[2:]))
        if match is None:
            return False
        level, above, number, partials = match.groups()
        height = TILE_HEIGHT * (0 if level == "entries" else int(level))
        finished = (self._settled[parts[1]] >> height) // TILE_WIDTH
        index = int((above + number).replace("x", "").replace("/", ""))
        if not number.startswith("x"):
            return index < finished
        # A directory of one group more holds tiles a thousand times as far on, too.
        deeper: int = _TILES_A_DIRECTORY ** (above.count("/") + 2)
        return not partials and (index + 1) * _TILES_A_DIRECTORY <= finished < deeper


def log_of(name: str) -> str | None:
    """The log that a name below the data directory belongs to."""
    parts = name.split("/")
    return parts[1] if parts[0] == "logs" and len(parts) > 2 else None  # noqa: PLR2004 - logs, its name, and below


def _is_disposable(parts: list[str]) -> bool:
    match parts:
        case ["lock" | "index" | "lost+found"] | ["wal", _, "lock" | "spare" | "marks"] | ["logs", _, "ids"]:
            return True
    return False


def _is_directory(parts: list[str]) -> bool:
    match parts:
        case ["wal" | "stage" | "logs" | "damaged"]:
            return True
        case ["wal" | "damaged", shard]:
            return _SHARD.fullmatch(shard) is not None
        case ["logs", log] | ["logs", log, "heads" | "bodies" | "headers" | "sheets" | "anchors" | "tree"]:
            return _LOG.fullmatch(log) is not None
        case ["logs", _, "tree", "tile", *below]:
            return all(_TILE_DIRECTORY.fullmatch(part) for part in below)
    return False


def _is_file(parts: list[str]) -> bool:
    match parts:
        case (
            ["FORMAT" | "affidavit.toml"]
            | ["damaged", _, _]
            | ["logs", _, "tree", "checkpoint"]
            | ["logs", _, "anchors", _]
        ):
            return True
        case ["wal", _, name] | ["stage", name]:
            return _NUMBERED.fullmatch(name) is not None
        case ["logs", _, "heads", name]:
            return _SIZE.fullmatch(name) is not None
        case ["logs", _, "bodies" | "headers", name]:
            return _SEGMENT.fullmatch(name) is not None
        case ["logs", _, "sheets", name]:
            return _SHEET.fullmatch(name) is not None
        case ["logs", _, "tree", *below]:
            return is_tile_path("/".join(below))
    return False


def is_tile_path(path: str) -> bool:
    """Whether tlog-tiles has a tile of this path."""
    try:
        parse_tile_path(path)
    except FormatError:
        return False
    return True
