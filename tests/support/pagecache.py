"""What a machine that loses its power would leave: only what was synced, or any part of the rest.

`PageCache` watches the announcements of `QuickDisk` and keeps, beside the files as processes see them, which bytes and
which names are durable. Strict reading of POSIX: a file's bytes by `fdatasync`, a name by `fsync` of its directory,
nothing by itself. Paths that no disk announced (locks, what the test itself made) count as durable.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

LOSSES = ("everything", "names", "contents", "zeros", "some")
"""What is lost of what was not synced: all; names; contents; contents, which read as zeros; a part by chance."""

SECTOR_BYTES = 512


class _File:
    """A file by identity: names come and go."""

    def __init__(self) -> None:
        self.durable = b""


class PageCache:
    """The durable half of a directory tree. Its `before` goes into a story."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._live: dict[str, _File] = {}
        self._announced: set[str] = set()
        self._names: dict[str, dict[str, _File | None]] = {}  # durable names by directory; None is a directory
        self._pending: Callable[[], None] | None = None

    def before(self, _disk: str, operation: str, path: str) -> None:
        """Take note of the operation before, which has happened by now, and of this one, which has not."""
        self.settle()
        act = getattr(self, f"_{operation}", None)
        if act is not None:
            self._pending = act(path)

    def settle(self) -> None:
        """The last announced operation has happened."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending()

    def power_cut(self, target: Path, *, loss: str, seed: int) -> None:
        """Build in `target` what is left, if the operation that was announced last never happened."""
        self._build(str(self._root), target, loss, random.Random(seed))

    # --- operations: each returns what is to be noted once it has happened ------------------------------------------

    def _create(self, path: str) -> Callable[[], None]:
        self._announced.add(path)
        is_kept = path in self._live and not path.endswith(".tmp")
        return lambda: None if is_kept else self._live.update({path: _File()})

    def _truncate(self, _descriptor: str) -> None:
        """Not durable before the next sync; `_left` cuts anywhere between both lengths."""

    def _fdatasync(self, descriptor: str) -> Callable[[], None]:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        file, content = self._live.get(path, _File()), Path(path).read_bytes()
        return lambda: setattr(file, "durable", content)

    def _fsync_directory(self, path: str) -> Callable[[], None]:
        names = {
            entry.name: None if entry.is_dir() else self._live.setdefault(str(entry), _File())
            for entry in Path(path).iterdir()
        }
        return lambda: self._names.update({path: names})

    def _link(self, path: str) -> Callable[[], None]:
        self._announced.add(path)

        def happened() -> None:
            file = self._live.pop(f"{path}.tmp")
            self._live.setdefault(path, file)

        return happened

    def _rename(self, path: str) -> Callable[[], None]:
        self._announced.add(path)
        old = f"{path}.tmp"

        def happened() -> None:
            for known in (self._live, self._names):
                for name in [name for name in known if name == old or name.startswith(f"{old}/")]:
                    known[path + name[len(old) :]] = known.pop(name)  # type: ignore[attr-defined]

        return happened

    def _unlink(self, path: str) -> Callable[[], None]:
        return lambda: self._live.pop(path, None) and None

    def _mkdir(self, path: str) -> None:
        self._announced.add(path)

    # --- afterwards -------------------------------------------------------------------------------------------------

    def _build(self, directory: str, target: Path, loss: str, chance: random.Random) -> None:
        target.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in Path(directory).iterdir()} if Path(directory).is_dir() else set()
        durable = self._names.get(directory, {})
        quiet = {name for name in present if f"{directory}/{name}" not in self._announced}
        names = set(durable) | quiet
        if loss in ("contents", "zeros"):
            names = present
        elif loss == "some":
            unsure = (set(durable) ^ present) - quiet
            names = {name for name in sorted(names | present) if name not in unsure or chance.random() < 0.5}
        for name in sorted(names):
            path = f"{directory}/{name}"
            if Path(path).is_dir() or (name in durable and durable[name] is None):
                self._build(path, target / name, loss, chance)
            elif name in quiet:
                (target / name).write_bytes(Path(path).read_bytes())
            else:
                live = self._live.get(path)
                file = durable.get(name) if loss in ("everything", "names") else (live or durable.get(name))
                assert file is not None
                seen = Path(path).read_bytes() if file is live and Path(path).exists() else file.durable
                (target / name).write_bytes(_left(file.durable, seen, loss, chance))


def _left(durable: bytes, seen: bytes, loss: str, chance: random.Random) -> bytes:
    """What is left of a file of which some bytes were synced. Sectors are written in any order, each whole or not."""
    if loss in ("everything", "contents"):
        return durable
    if loss == "zeros":
        return durable + bytes(max(len(seen) - len(durable), 0))
    length = chance.randint(*sorted((len(durable), len(seen))))
    versions = durable.ljust(length, b"\0"), seen.ljust(length, b"\0")
    sectors = range(0, length, SECTOR_BYTES)
    return b"".join([chance.choice(versions)[at : at + SECTOR_BYTES] for at in sectors])[:length]
