"""Attempts on bundles, tiles and whole logs, by somebody who can write the data directory."""

from __future__ import annotations

import functools
import http.client
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from affidavit.ledger.directory import Disk
from affidavit.tlog.entry import format_bundle, parse_bundle
from affidavit.tlog.merkle import leaf_hash
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles, LogKeys
from tests.attacks.registry import Evidence, attempt
from tests.attacks.table import REFUSED
from tests.support.installation import Installation, chat_request, chat_response, write_call

BUNDLE = "logs/default/tree/tile/entries/000"
TILE = "logs/default/tree/tile/0/000"
WIDTH = 256
MIDDLE = 130


def flip(path: Path, at: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def change_entries(data: Path, change: object) -> None:
    """Change the list of entries in the full bundle."""
    entries = parse_bundle((data / BUNDLE).read_bytes(), WIDTH)
    change(entries)  # type: ignore[operator]
    (data / BUNDLE).write_bytes(format_bundle(entries))


@attempt(1)
def one_byte(ground: Ground) -> Evidence:
    data = ground.copy()
    entries = parse_bundle((data / BUNDLE).read_bytes(), WIDTH)
    before = sum(2 + len(entry) for entry in entries[:MIDDLE])
    flip(data / BUNDLE, before + 2 + entries[MIDDLE].index(b'"time_us":') + 20)
    return ground.judge(data).evidence("integrity", "ENTRY", named=f"entry {MIDDLE}:")


@attempt(2)
def an_entry_with_its_leaf_hash(ground: Ground) -> Evidence:
    data = ground.copy()
    log = ground.log()
    last = len(log.entries) - 2
    width = len(log.entries) - WIDTH
    leaf = log.leaf(last) | {"time_us": log.leaf(last)["time_us"] + 1}
    log.put_leaf(last, leaf)
    tree = data / "logs/default/tree/tile"
    (tree / f"entries/001.p/{width}").write_bytes(format_bundle(log.entries[WIDTH:]))
    row = b"".join(leaf_hash(entry) for entry in log.entries[WIDTH:])
    (tree / f"0/001.p/{width}").write_bytes(row)
    named = f"the head of size {len(log.entries)}"
    return ground.judge(data).evidence("integrity", "ROOT", named=named)


@attempt(3)
def every_tile_without_the_key(ground: Ground) -> Evidence:
    data = ground.copy()
    log = LogFiles.read(data, "default")
    log.put_leaf(MIDDLE, log.leaf(MIDDLE) | {"time_us": log.leaf(MIDDLE)["time_us"] + 1})
    made_up = LogKeys.made_up(LogKeys.stolen(ground.keys, "default").signer.key.name)
    log.write(made_up.sign(len(log.entries), log.root))
    return ground.judge(data).evidence("integrity", "SIGNATURE", named="logs/default/tree/checkpoint")


@attempt(5)
def from_the_middle(ground: Ground) -> Iterator[Evidence]:
    data = ground.copy()
    entries = parse_bundle((data / BUNDLE).read_bytes(), WIDTH)
    # One is gone, those behind it move up, and the last is given twice so that the bundle has its width.
    (data / BUNDLE).write_bytes(format_bundle([*entries[:MIDDLE], *entries[MIDDLE + 1 :], entries[-1]]))
    named = f"entry {MIDDLE}:"
    also = ("authority", "completeness", "erasure")
    yield ground.judge(data).evidence("integrity", "ENTRY", named=named, clause="an entry", also=also)
    for name, clause in ((BUNDLE, "a bundle"), (TILE, "a tile")):
        data = ground.copy()
        (data / name).unlink()
        yield ground.judge(data).evidence("integrity", "MISSING", named=name, clause=clause)


@attempt(6)
def swapped_and_doubled(ground: Ground) -> Iterator[Evidence]:
    def swap(entries: list[bytes]) -> None:
        entries[MIDDLE], entries[MIDDLE + 1] = entries[MIDDLE + 1], entries[MIDDLE]

    def double(entries: list[bytes]) -> None:
        entries[MIDDLE + 1] = entries[MIDDLE]

    for change, clause, entry in ((swap, "swapped", MIDDLE), (double, "doubled", MIDDLE + 1)):
        data = ground.copy()
        change_entries(data, change)
        found = ground.judge(data)
        # Numbers are out of order as well, rows of keys stand beside other leaves, and the source signed another order.
        also = ("authority", "completeness", "erasure")
        yield found.evidence("integrity", "ENTRY", named=f"entry {entry}:", clause=clause, also=also)


@attempt(8)
def a_whole_project(ground: Ground) -> Evidence:
    data = ground.copy()
    shutil.rmtree(data / "logs/support")
    return ground.judge(data).evidence("completeness", "LOG-MISSING", named="logs/support")


# --- a tile before it is full -----------------------------------------------------------------------------------------


@attempt(39)
def full_tiles(ground: Ground) -> Iterator[Evidence]:
    data = ground.copy()
    number = len(ground.log().entries) // WIDTH
    path = f"tile/entries/{number:03d}"
    yield Evidence(
        "integrity",
        REFUSED,
        f"{path}: {_status(data / 'logs/default/tree', path)}",
        clause="404 until it is full",
        judges=("a server of the tree",),
    )
    planted = f"logs/default/tree/{path}"
    log = ground.log()
    (data / planted).write_bytes(format_bundle([*log.entries[number * WIDTH :], *log.entries[:WIDTH]][:WIDTH]))
    yield ground.judge(data).evidence("integrity", "BEYOND-HEAD", named=planted, clause="planted early")
    yield _watched(ground.scratch())


def _status(tree: Path, path: str) -> int:
    handler = functools.partial(_Quiet, directory=str(tree))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        statuses = []
        for asked in ("checkpoint", path):
            connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
            connection.request("GET", f"/{asked}")
            statuses.append(connection.getresponse().status)
            connection.close()
    finally:
        server.shutdown()
        server.server_close()
    assert statuses == [http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND]
    return statuses[1]


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _watched(root: Path) -> Evidence:
    """Watch the tree before each file operation while it grows past a full tile: what a reader could fetch."""
    seen: dict[Path, bytes] = {}
    watching = False
    looks = 0

    def look(_operation: str, _path: str) -> None:
        nonlocal looks
        if not watching:
            return
        looks += 1
        tree = root / "data/logs/default/tree"
        files = [path for path in tree.rglob("*") if path.is_file() and path.suffix != ".tmp"]
        for path in files:
            content = path.read_bytes()
            assert path.name == "checkpoint" or seen.setdefault(path, content) == content, f"{path} changed"
        size = int((tree / "checkpoint").read_text().split("\n")[1])
        for number in range(-(-size // WIDTH)):
            width = min(WIDTH, size - number * WIDTH)
            names = [f"tile/{kind}/{number:03d}" for kind in ("entries", "0")]
            for name in names:
                partial = tree / f"{name}.p/{width}"
                assert (tree / name).exists() or (width < WIDTH and partial.exists()), f"{name} is missing at {size}"

    installation = Installation(root, disk=Disk(look)).start()
    shard = installation.shard()
    for first in (0, 60, 120, 135):
        watching = False
        for number in range(first, first + 30):
            write_call(shard, chat_request("s", f"question {number}"), chat_response("answer"))
        shard.flush()
        watching = True
        installation.drain()
    watching = False
    shard.close()
    clause = "no byte of a published file ever changes, and none is missing while partial tiles go"
    named = f"{len(seen)} files, looked at before {looks} operations"
    return Evidence("integrity", "OK", named, clause=clause, judges=("a reader of the tree",))
