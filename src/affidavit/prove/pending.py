"""What is durable and not published: write-ahead files and stages. Formats: docs/formats.md, sections 8 and 9.

Promise: both are only looked at: whole frames by their checksums, a stage by its digest; no key is needed, and nothing
is opened. Bytes that were durable and have changed are `FAIL`; a torn tail, which a crash leaves, is none.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

from affidavit.errors import CorruptionError
from affidavit.ledger.cut import highest_synced_to
from affidavit.ledger.frame import file_name, parse_file_header, parse_frame, position
from affidavit.ledger.stage import parse_stage
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.report import LogFindings

WAL_FILE_BYTES_MAX: Final = (64 << 20) + (32 << 20)
"""A file is rolled when it is full; what was queued with the last frame may lie beyond."""
STAGE_BYTES_MAX: Final = 1 << 30
"""A cut is 16 MiB of content and whatever the last record had; far below this."""

Staged = dict[str, list[tuple[int, int]]]
"""By log: the leaves `[first, end)` that pending stages hold, in the order of their cuts."""


def check_stages(files: Files, names: set[str], findings: LogFindings) -> Staged:
    """Every pending stage; returns what they will bring into the logs."""
    staged: Staged = {}
    for name in sorted(name for name in names if name.startswith("stage/")):
        try:
            added = read_stage(files, name)
        except UnusableFileError as error:
            if error.code != "MISSING":  # a running service removes a stage as soon as it is published
                findings.fail(error.code, str(error))
            continue
        except CorruptionError as error:
            findings.fail("STAGE", f"{name}: {error}")
            continue
        leaves = sum(end - first for _, first, end in added)
        what = f"{name}: {leaves} leaves are sealed and not published yet"
        findings.warn("PENDING", what, axis="completeness")
        for log, first, end in added:
            staged.setdefault(log, []).append((first, end))
    return staged


def read_stage(files: Files, name: str) -> list[tuple[str, int, int]]:
    """The leaves that a stage holds, `(log, first, end)`.

    Raises:
        CorruptionError: It is not as it was written.
    """
    cut, parts = parse_stage(files.read(name, bytes_max=STAGE_BYTES_MAX))
    if name != f"stage/{cut:08d}":
        raise CorruptionError("it is the stage of another cut")
    return [(part.log, part.first, part.first + len(part.entries)) for part in parts]


def staged_end(size: int, staged: list[tuple[int, int]]) -> int:
    """Leaves that a log of `size` will have when its stages are published; one that does not follow adds nothing."""
    for first, end in staged:
        if first <= size:
            size = max(size, end)
    return size


def check_write_ahead(files: Files, names: set[str], findings: LogFindings) -> None:
    """Every shard of the write-ahead log that holds a file."""
    shards: dict[str, list[int]] = {}
    for name in sorted(name for name in names if name.startswith("wal/")):
        _, shard, file = name.split("/")
        shards.setdefault(shard, []).append(int(file))
    for shard, numbers in shards.items():
        directory = files.directory / "wal" / shard
        for number in numbers:
            _check_file(files, shard, number, findings)
        for before, after in pairwise(numbers):
            if after != before + 1 and _synced_to(directory, file=before + 1) > position(file=before + 1, offset=0):
                what = f"wal/{shard}/{file_name(before + 1)}: missing, and what follows says that it was durable"
                findings.fail("WAL-DAMAGE", what)
        what = f"wal/{shard}: {len(numbers)} write-ahead files; what they hold may not be sealed yet"
        findings.warn("PENDING", what, axis="completeness")


def _check_file(files: Files, shard: str, number: int, findings: LogFindings) -> None:
    name = f"wal/{shard}/{file_name(number)}"
    try:
        data = files.read(name, bytes_max=WAL_FILE_BYTES_MAX)
    except UnusableFileError as error:
        if error.code != "MISSING":  # a running service removes what is sealed
            findings.fail(error.code, str(error))
        return
    whole = whole_bytes(data, shard=shard, number=number)
    if whole < len(data):
        durable = _synced_to(files.directory / "wal" / shard, file=number, offset=whole)
        if durable > position(file=number, offset=whole):
            findings.fail("WAL-DAMAGE", f"{name}: damaged at byte {whole}, where everything was durable once")


def whole_bytes(data: bytes, *, shard: str, number: int) -> int:
    """How far a write-ahead file consists of whole, undamaged frames."""
    at = 0
    try:
        parsed = parse_file_header(data)
        if parsed is None:
            return 0
        header, start = parsed
        if (f"{header.source}.{header.boot}", header.file) != (shard, number):
            return 0
        at = start
        while (frame := parse_frame(data, at)) is not None:
            at += len(frame.raw)
    except CorruptionError:
        pass
    return at


def _synced_to(directory: Path, *, file: int, offset: int = 0) -> int:
    try:
        return highest_synced_to(directory, file=file, offset=offset)
    except FileNotFoundError:
        return 0  # the shard is being sealed and removed
