"""What every benchmark here does alike: a fresh directory on a real disk, the machine in words, medians, one JSON line.

A figure without its machine says nothing, and a figure on tmpfs says nothing about durability, so tmpfs is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SYNC_SAMPLES = 500
SYNC_BYTES = 2048
RUNS = 5


def arguments(description: str) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="only the JSON object, as the last line")
    parser.add_argument("--runs", type=int, default=RUNS, help="counted runs; the median is the figure")
    parser.add_argument(
        "--directory", type=Path, default=Path.cwd() / "build", help="where the fresh directory is made"
    )
    return parser


@contextmanager
def fresh_directory(parent: Path) -> Iterator[Path]:
    """A directory of this run's own, removed afterwards; refuses memory-backed file systems."""
    parent.mkdir(parents=True, exist_ok=True)
    kind = filesystem(parent)
    if kind in {"tmpfs", "ramfs"}:
        sys.exit(f"{parent} is on {kind}, where fsync costs nothing; name a directory on a disk with --directory")
    path = Path(tempfile.mkdtemp(dir=parent, prefix="bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def filesystem(path: Path) -> str:
    """Kind of the file system that holds a path."""
    best, kind = "", "unknown"
    resolved = str(path.resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split(" ")
        if (resolved == mount or resolved.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def processor() -> str:
    """Name of the processor, and whether it hashes in hardware."""
    text = Path("/proc/cpuinfo").read_text()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    sha = "with SHA extensions" if " sha_ni" in text else "without SHA extensions"
    return f"{name}, {os.cpu_count()} cores, {sha}"


def sync_p99_ms(directory: Path) -> float:
    """p99 of writing 2 KiB and fdatasync, in milliseconds."""
    path = directory / "sync-probe"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    data = os.urandom(SYNC_BYTES)
    times = []
    try:
        for _ in range(SYNC_SAMPLES):
            began = time.perf_counter()
            os.write(fd, data)
            os.fdatasync(fd)
            times.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        path.unlink()
    return sorted(times)[int(SYNC_SAMPLES * 0.99)] * 1e3


def machine(directory: Path) -> dict[str, Any]:
    """What stands next to every figure."""
    return {
        "cpu": processor(),
        "python": sys.version,  # with its build: how an interpreter was compiled is a tenth of every figure here
        "filesystem": filesystem(directory),
        "fdatasync_p99_ms": round(sync_p99_ms(directory), 3),
    }


def median(run: Callable[[], float], *, runs: int) -> float:
    """Median of several runs."""
    return statistics.median(run() for _ in range(runs))


def report(
    *, name: str, figure: float, unit: str, ratios: Mapping[str, float], detail: Mapping[str, Any], words: Sequence[str]
) -> None:
    """Print what a person reads on stderr, and the one object as the last line of stdout."""
    for line in words:
        print(line, file=sys.stderr)
    print(
        json.dumps(
            {
                "name": name,
                "figure": round(figure, 3),
                "unit": unit,
                "ratios": {rival: round(ratio, 4) for rival, ratio in ratios.items()},
                "detail": detail,
            }
        )
    )
