"""What a service costs that nobody uses: memory of all its processes, and how long it takes until calls are taken.

Memory is the proportional set size (PSS), in which what processes share is counted once, a minute after the start, over
an empty index. The rival is an interpreter that does nothing, times the number of processes.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._measuring import arguments, fresh_directory, machine, report
from bench.gateway import Service

SETTLE_S = 60
RUNS = 3
_MIB = 1024


def pss_mib(pid: int) -> float:
    """Proportional set size of a process."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / _MIB if found else 0.0


def family_of(pid: int) -> list[int]:
    """A process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family_of(int(child)))]


def one_run(directory: Path) -> dict[str, Any]:
    """Memory by process, and seconds until ready: at the first start, and over what it left."""
    began = time.perf_counter()
    service = Service(directory, upstream=9)
    first_s = time.perf_counter() - began
    time.sleep(SETTLE_S)
    roles = {pid: role for role, pid in service.pids.items()}
    memory = [(roles.get(pid, "beside"), pss_mib(pid)) for pid in family_of(service.process_id)]
    service.stop()
    began = time.perf_counter()
    service.start()
    again_s = time.perf_counter() - began
    service.stop()
    return {"pss": sum(size for _, size in memory), "memory": memory, "first_s": first_s, "again_s": again_s}


def interpreter_mib() -> float:
    """An interpreter that waits."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    time.sleep(1)
    found = pss_mib(process.pid)
    process.communicate(b"\n")
    return found


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.set_defaults(runs=RUNS)
    options = parser.parse_args()
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        runs = [one_run(directory / str(number)) for number in range(options.runs)]
    figure = statistics.median(run["pss"] for run in runs)
    bare = interpreter_mib() * len(runs[0]["memory"])
    ready = {name: statistics.median(run[name] for run in runs) for name in ("first_s", "again_s")}
    report(
        name="idle",
        figure=figure,
        unit="MiB",
        ratios={"bare_interpreters": figure / bare},
        detail={
            **where,
            "processes": [[role, round(size)] for role, size in runs[-1]["memory"]],
            "ready_first_s": round(ready["first_s"], 2),
            "ready_again_s": round(ready["again_s"], 2),
        },
        words=[
            f"{where['cpu']}",
            f"idle for a minute: {figure:.0f} MiB PSS in {len(runs[0]['memory'])} processes",
            f"ready after {ready['first_s']:.2f} s at the first start, {ready['again_s']:.2f} s afterwards",
        ],
    )


if __name__ == "__main__":
    main()
