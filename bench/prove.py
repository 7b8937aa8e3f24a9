"""What a long log costs: the proof of one event, the next head, and verifying what is new, at a tenth and at the whole.

The log is made in bulk (`tests/support/bulk.py`): its leaves are made by arithmetic and not by sealing, without header
blocks and bodies; leaves, tiles, heads and signatures are real. A figure is the whole size; the ratio beside it is that
of the whole to a tenth of it. In memory of the system (page cache) is what fits there, for both sizes alike.

- proof: `make_proof` of random leaves, with a reader that has just been opened.
- by id: the same, and the leaf looked up by its id before.
- head: publishing a cut of 250 leaves with the ledger's own writer: files, tiles, syncs, both signatures.
- verify: `verify_since` with the memory of an earlier verification, and as many new leaves at both sizes.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.reader import LogReader
from affidavit.ledger.stage import Part
from affidavit.ledger.writer import LogWriter
from affidavit.prove.memory import format_memory, parse_memory
from affidavit.prove.proof import make_proof
from affidavit.prove.since import verify_since
from affidavit.text import long_id
from affidavit.tlog.cosignature import log_vkeys
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.rotation import key_history
from bench._measuring import arguments, fresh_directory, machine, report
from tests.support.bulk import BulkLedger, leaf, record_id

LEAVES = 10_000_000
NEW = 20_000
CUT = 250
"""Leaves of a cut: a quarter of a second at 1,000 leaves/s."""
PROOFS, LOOKUPS, CUTS, RUNS = 300, 30, 40, 5
PROOF_MS_MAX, RATIO_MAX = 5.0, 1.3


def timed(act: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


class OpenFiles:
    """The most descriptors that this process had, sampled while something runs."""

    def __init__(self) -> None:
        self.most = 0
        self._done = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.most = max(self.most, sum(1 for _ in Path("/proc/self/fd").iterdir()))


def proofs(layout: LogLayout, size: int) -> tuple[float, float]:
    """Median milliseconds of a proof, and of one that begins with an id."""
    head, draw = layout.checkpoint.read_bytes(), random.Random(size)
    indices = [draw.randrange(size) for _ in range(PROOFS)]

    def alone(index: int) -> None:
        make_proof(layout, LogReader(layout), index=index, head=head)

    taken = [timed(lambda index=index: alone(index)) for index in indices]
    reader = LogReader(layout)
    reader.find(long_id(record_id(0)), size=size)  # what a service has read already: the unfinished segment
    for segment in range(size // 65_536):  # disposable, and made by whoever comes first
        reader.find(long_id(record_id(segment * 65_536)), size=size)

    def by_id(index: int) -> None:
        assert index in reader.find(long_id(record_id(index)), size=size)
        make_proof(layout, reader, index=index, head=head)

    found = [timed(lambda index=index: by_id(index)) for index in indices[:LOOKUPS]]
    return statistics.median(taken) * 1e3, statistics.median(found) * 1e3


def heads(ledger: BulkLedger, layout: LogLayout) -> float:
    """Median milliseconds of a cut that is published."""
    signer, vkeys = ledger.log.signer, log_vkeys(parse_vkey(text) for text in ledger.log.signer.vkeys)
    writer = LogWriter(
        layout=layout,
        origin=signer.origin,
        keys=key_history(vkeys),
        sign=lambda checkpoint, **_: signer.head(checkpoint.size, checkpoint.root),
        disk=Disk(),
    )
    taken = []
    for _ in range(CUTS):
        first = writer.size
        count = min(CUT, 65_536 - first % 65_536)  # a cut never crosses a segment
        part = Part(
            log=layout.name,
            first=first,
            header_at=writer.header_at,
            body_at=writer.body_at,
            entries=tuple(leaf(first + number) for number in range(count)),
            headers=bytes(2 * count),
            bodies=bytes(4 * count),
            rows=bytes(88 * count),
        )
        seconds = timed(lambda part=part: writer.publish(part))
        if count == CUT:
            taken.append(seconds)
    ledger.adopt(writer.size)
    return statistics.median(taken) * 1e3


def verifications(ledger: BulkLedger, new: int) -> dict[str, float]:
    """Seconds of reading everything, and of reading what is new; and the most open files."""
    keys = ledger.vkeys.read_bytes()
    with OpenFiles() as files:
        began = time.perf_counter()
        full, memory = verify_since(ledger.data, None, vkeys=keys, made_us=1)
        everything_s = time.perf_counter() - began
        assert full.holds, full.findings
        assert memory is not None
        ledger.grow(ledger.size + new)
        kept = format_memory(memory)
        taken = []
        for _ in range(RUNS):
            began = time.perf_counter()
            result, _ = verify_since(ledger.data, parse_memory(kept), vkeys=keys, made_us=2)
            taken.append(time.perf_counter() - began)
            assert result.holds, result.findings
            assert not any(finding.code == "READ-AGAIN" for finding in result.findings)
    return {
        "full_s": everything_s,
        "new_s": statistics.median(taken),
        "memory_bytes": len(kept),
        "open_files_max": files.most,
    }


def inodes(data: Path) -> dict[str, int]:
    """Files and directories of the log, by what they are."""
    found = {"bundles": 0, "tiles": 0, "other_files": 0, "directories": 0}
    for place, directories, names in os.walk(data / "logs/bulk"):
        found["directories"] += len(directories)
        kind = "bundles" if "/tree/tile/entries" in place else "tiles" if "/tree/tile/" in place else "other_files"
        found[kind] += len(names)
    return found


def require_counts(found: dict[str, int], size: int) -> None:
    """What docs/operations.md says of the number of files."""
    tiles, level = 0, size
    while level := -(-level // 256) if level > 1 else 0:
        tiles += level
    assert found["bundles"] - -(-size // 256) in range(256), found
    assert found["tiles"] - tiles in range(256 * 4), found


def measure(ledger: BulkLedger, leaves: int, new: int) -> dict[str, Any]:
    """Everything at one size."""
    making_s = timed(lambda: ledger.grow(leaves))
    layout = LogLayout(ledger.data / "logs/bulk")
    proof_ms, by_id_ms = proofs(layout, leaves)
    head_ms = heads(ledger, layout)
    verified = verifications(ledger, new)
    counted = inodes(ledger.data)
    require_counts(counted, ledger.size)
    return {
        "leaves": leaves,
        "making_s": making_s,
        "proof_ms": proof_ms,
        "by_id_ms": by_id_ms,
        "head_ms": head_ms,
        **verified,
        "inodes": counted,
    }


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--leaves", type=int, default=LEAVES, help="leaves of the log; the other size is a tenth")
    parser.add_argument("--new", type=int, default=NEW, help="leaves that are new to a verification")
    options = parser.parse_args()
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        ledger = BulkLedger(directory / "bulk")
        tenth, whole = (measure(ledger, leaves, options.new) for leaves in (options.leaves // 10, options.leaves))
        on_disk = sum(path.stat().st_blocks * 512 for path in directory.rglob("*"))
    ratios = {name: whole[name] / tenth[name] for name in ("proof_ms", "by_id_ms", "head_ms", "new_s", "full_s")}
    words = [
        f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms",
        f"a log made in bulk: {tenth['leaves']:,} and {whole['leaves']:,} leaves, {on_disk / 2**20:,.0f} MiB on disk",
        f"proof of one event  {whole['proof_ms']:8.2f} ms  {ratios['proof_ms']:5.2f} times (gate: {PROOF_MS_MAX} ms)",
        f"  found by its id   {whole['by_id_ms']:8.2f} ms  {ratios['by_id_ms']:5.2f} times",
        f"a head over {CUT} more {whole['head_ms']:8.2f} ms  {ratios['head_ms']:5.2f} times (gate: {RATIO_MAX})",
        f"verify {options.new:,} new   {whole['new_s']:8.3f} s   {ratios['new_s']:5.2f} times (gate: {RATIO_MAX})",
        f"verify everything   {whole['full_s']:8.3f} s   {ratios['full_s']:5.2f} times",
        f"open files at most  {max(tenth['open_files_max'], whole['open_files_max'])}; {whole['inodes']}",
    ]
    detail = {**where, "new": options.new, "tenth": tenth, "whole": whole, "on_disk_bytes": on_disk}
    report(name="prove", figure=whole["proof_ms"], unit="ms", ratios=ratios, detail=detail, words=words)


if __name__ == "__main__":
    main()
