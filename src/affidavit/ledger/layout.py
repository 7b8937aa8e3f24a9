"""Names of everything in the data directory, in one place. Formats: docs/formats.md, section 1."""

from __future__ import annotations

from pathlib import Path

from affidavit.ledger.shards import shard_log

SEGMENT_LEAVES = 65_536
"""Leaves of a segment: one file of bodies, one of header blocks, one key sheet, one hash in the level-2 tile."""
FORMAT_LINE = b"affidavit-ledger v1\n"
BODIES_MAGIC = b"afbody1\n"
HEADERS_MAGIC = b"afhead1\n"
SHEET_MAGIC = b"afkeys1\n"


class LogLayout:
    """Paths of one log."""

    __slots__ = ("called", "directory")

    def __init__(self, directory: Path, *, shard: int = 1) -> None:
        self.directory = directory
        self.called = shard_log(directory.name, shard)
        """What the log is called among those of all shards."""

    @property
    def name(self) -> str:
        """Name of the log: `system`, or its project's."""
        return self.directory.name

    @property
    def tree(self) -> Path:
        """The servable tlog-tiles tree."""
        return self.directory / "tree"

    @property
    def checkpoint(self) -> Path:
        """The newest head."""
        return self.tree / "checkpoint"

    @property
    def heads(self) -> Path:
        """Heads that are kept."""
        return self.directory / "heads"

    def head(self, size: int) -> Path:
        """The head of one size."""
        return self.heads / str(size)

    @property
    def anchors(self) -> Path:
        """Outside evidence for heads: files called `<size>.<kind>`."""
        return self.directory / "anchors"

    def anchor(self, size: int, kind: str) -> Path:
        """Evidence of one kind (`witness`: the head with lines of others) for the head of one size."""
        return self.anchors / f"{size}.{kind}"

    def timestamp(self, size: int) -> Path:
        """The timestamp of the head of one size."""
        return self.anchor(size, "tsr")

    def bodies(self, segment: int) -> Path:
        """Bodies of a segment."""
        return self.directory / "bodies" / f"{segment:06d}"

    def headers(self, segment: int) -> Path:
        """Header blocks of a segment."""
        return self.directory / "headers" / f"{segment:06d}"

    def sheet(self, segment: int, version: int) -> Path:
        """A version of a segment's key sheet."""
        return self.directory / "sheets" / f"{segment:06d}.{version}"

    def sheet_version(self, segment: int) -> int:
        """The version in force: the highest that lies there, or 1."""
        versions = [
            int(path.suffix[1:])
            for path in self.sheet(segment, 1).parent.glob(f"{segment:06d}.*")
            if path.suffix[1:].isdigit()
        ]
        return max(versions, default=1)

    def ids(self, segment: int) -> Path:
        """Map from ids to leaves of a full segment; disposable."""
        return self.directory / "ids" / f"{segment:06d}"

    def read_tree(self, path: str) -> bytes:
        """A file of the tree by its tlog-tiles path."""
        return (self.tree / path).read_bytes()


class DataLayout:
    """Paths of the data directory."""

    __slots__ = ("directory", "shard")

    def __init__(self, directory: Path, *, shard: int = 1) -> None:
        self.directory = directory
        self.shard = shard
        """Number of the shard that lies there; it matters to whoever opens or signs, and to nobody who only reads."""

    @property
    def format_file(self) -> Path:
        """The file that names the format of everything else."""
        return self.directory / "FORMAT"

    @property
    def wal(self) -> Path:
        """The write-ahead log."""
        return self.directory / "wal"

    @property
    def stage(self) -> Path:
        """Sealed and not yet published."""
        return self.directory / "stage"

    @property
    def logs(self) -> Path:
        """All logs."""
        return self.directory / "logs"

    def log(self, name: str) -> LogLayout:
        """One log."""
        return LogLayout(self.logs / name, shard=self.shard)
