"""Logs for strangers: those of a real ledger, a tall one, and copies in which something was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import MlDsa44Cosigner, sign_checkpoint
from affidavit.tlog.edge import EMPTY_EDGE, grow
from affidavit.tlog.entry import parse_bundle
from affidavit.tlog.note import Ed25519Signer, format_vkey
from tests.support.installation import Installation, chat_request, chat_response, write_call

CALLS = 370
"""Two leaves each, so that `default` has two full bundles and a partial one."""
CALLS_A_CUT = 60
"""Several cuts, so that several heads are kept and several widths of a partial tile."""
TALL_SIZES = (65_535, 65_536, 65_537, 256_000, 256_300)
"""Around the first hash of the level-2 tile, and past the first tile whose number has four digits (`x001/000`)."""


class Log(NamedTuple):
    """A log as an outsider has it: the servable tree, its vkeys, the heads that were kept, and its size."""

    tree: Path
    vkeys: Path
    heads: tuple[Path, ...]
    size: int

    def copy(self, directory: Path) -> Log:
        """A copy that may be changed."""
        tree = Path(shutil.copytree(self.tree, directory / "tree"))
        vkeys = Path(shutil.copy(self.vkeys, directory))
        (directory / "heads").mkdir()
        return Log(tree, vkeys, tuple(Path(shutil.copy(head, directory / "heads")) for head in self.heads), self.size)

    def tile(self, level: str, number: int) -> Path:
        """A tile of level `0`, `1`, … or a bundle (`entries`), as the newest head has it. Small trees only."""
        count = self.size if level == "entries" else self.size >> 8 * int(level)
        width = min(count - 256 * number, 256)
        name = f"{number:03d}" if width == 256 else f"{number:03d}.p/{width}"
        return self.tree / "tile" / level / name

    def entries(self) -> Iterator[bytes]:
        """All entries, in order."""
        for first in range(0, self.size, 256):
            data = self.tile("entries", first // 256).read_bytes()
            yield from parse_bundle(data, min(self.size - first, 256))


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def put_tree(tree: Path, entries: Sequence[bytes]) -> None:
    """Overwrite bundles and tiles with those of other entries."""
    for name, content in grow(EMPTY_EDGE, entries).files:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def real_logs(root: Path) -> dict[str, Log]:
    """The logs of a ledger that was filled by calls and stopped cleanly."""
    installation = Installation(root).start()
    shard = installation.shard()
    for call in range(CALLS):
        write_call(shard, chat_request("You answer.", f"question {call}"), chat_response(f"answer {call}"))
        if call % CALLS_A_CUT == 0:
            shard.flush()
            installation.drain()
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    vkeys = {"system": installation.vkeys_file}
    system = real_log(installation, "system", vkeys["system"])
    # The system log, and nothing else, tells an outsider the keys of a project's log.
    leaves = [json.loads(entry) for entry in system.entries()]
    for facts in (leaf["data"] for leaf in leaves if leaf["type"] == "project.create"):
        if facts["project"] not in vkeys:
            vkeys[facts["project"]] = root / f"{facts['project']}.vkeys"
            vkeys[facts["project"]].write_text("".join(f"{vkey}\n" for vkey in facts["vkeys"]))
    return {"system": system, "default": real_log(installation, "default", vkeys["default"])}


def real_log(installation: Installation, name: str, vkeys: Path) -> Log:
    layout = installation.data.log(name)
    size = int(layout.checkpoint.read_text().split("\n")[1])
    return Log(layout.tree, vkeys, tuple(sorted(layout.heads.iterdir(), key=lambda head: int(head.name))), size)


def tall_log(root: Path) -> Log:
    """A log of short entries, high enough for a third level of tiles and for the longer spelling of a tile's number."""
    signer = Ed25519Signer.from_seed(name="affidavit.internal/tall", seed=bytes(32))
    cosigner = MlDsa44Cosigner.from_seed(name="affidavit.internal/tall", seed=bytes(32))
    tree, heads, edge = root / "tree", root / "heads", EMPTY_EDGE
    heads.mkdir()
    for size in TALL_SIZES:
        growth = grow(edge, [b"%d" % index for index in range(edge.size, size)])
        for name, content in growth.files:
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for tile in growth.finished:
            shutil.rmtree(tree / tile.partials_path, ignore_errors=True)
        edge = growth.edge
        checkpoint = Checkpoint(signer.key.name, edge.size, edge.root)
        head = sign_checkpoint(checkpoint, signer=signer, cosigner=cosigner, timestamp=1_700_000_000)
        (heads / str(size)).write_bytes(head)
        (tree / "checkpoint").write_bytes(head)
    vkeys = root / "tall.vkeys"
    vkeys.write_text(f"{format_vkey(signer.key)}\n{format_vkey(cosigner.key)}\n")
    return Log(tree, vkeys, tuple(heads / str(size) for size in TALL_SIZES), edge.size)
