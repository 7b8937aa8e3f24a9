"""How long `affidavit verify` takes, as whole processes, beside a loop that only hashes the same bytes.

The ledger is made here, by the sealer, in a fresh directory: calls of about 1 KB, half of them requests and half
answers. Then three programs are timed in turn, from their start to their end: the floor (`_hash_only.py`), `affidavit
verify`, and the single-file verifier.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

LEAVES = 200_000
CALLS_A_CUT = 2_000


def make_ledger(directory: Path, leaves: int) -> None:
    """A ledger of at least that many leaves, stopped cleanly.

    A process of its own does this, so that the memory of the one that measures stays small: Linux counts it as the
    peak of every program that is started from it.
    """
    from bench.seal import calls
    from tests.support.installation import Installation, write_call

    installation = Installation(directory)
    installation.start()
    shard = installation.shard()
    for index, (user, request, answer) in enumerate(calls(leaves // 2), 1):
        write_call(shard, request, answer, user=user)
        if index % CALLS_A_CUT == 0:
            shard.sync()
            installation.drain()
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()


class Program:
    """One of the programs, and what its runs took."""

    def __init__(self, name: str, *command: str) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.memory_mib = 0.0
        self._command = command

    def run(self) -> str:
        """Run it once, to the end; returns the last line of its output."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *self._command], stdout=subprocess.PIPE, env=environment, text=True
        ) as process:
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds.append(time.perf_counter() - began)
        self.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
        self.memory_mib = max(self.memory_mib, usage.ru_maxrss / 1024)
        assert process.returncode == 0, f"{self.name}: exit code {process.returncode}"
        return output.splitlines()[-1]

    def told(self) -> dict[str, Any]:
        """Medians of the counted runs."""
        return {
            "seconds": round(statistics.median(self.seconds), 3),
            "cpu_seconds": round(statistics.median(self.cpu_seconds), 3),
            "memory_mib": round(self.memory_mib, 1),
        }


def main() -> None:
    """Measure and report."""
    sys.path.insert(0, str(ROOT))
    from bench._measuring import arguments, fresh_directory, machine, report

    parser = arguments(__doc__ or "")
    parser.add_argument("--leaves", type=int, default=LEAVES, help="leaves of the ledger, 100,000 or more for a figure")
    parser.add_argument("--make", type=Path, help="only make the ledger, there")
    options = parser.parse_args()
    if options.make is not None:
        make_ledger(options.make, options.leaves)
        return
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        ledger = directory / "ledger"
        make = [str(Path(__file__).resolve()), "--make", str(ledger), "--leaves", str(options.leaves)]
        subprocess.run([sys.executable, *make], check=True)
        data, vkeys = str(ledger / "data"), str(ledger / "keys/public/system.vkeys")
        floor = Program("hash_only", str(ROOT / "bench/_hash_only.py"), data)
        ours = Program("verify", "-m", "affidavit.cli", "verify", data, "--vkey", vkeys, "--json")
        single = Program("single_file", str(ROOT / "verifier/affidavit_verify.py"), data, "--vkey", vkeys, "--json")
        leaves = int(floor.run())
        for program in (ours, single):  # the first run of each also fills the caches, and is not counted
            told = json.loads(program.run())
            assert (told["integrity"], told["size"]) == ("OK", leaves), program.name
        for program in (floor, ours, single):
            program.seconds.clear()
            program.cpu_seconds.clear()
        for _ in range(options.runs):
            for program in (floor, ours, single):
                program.run()
        size = sum(path.stat().st_size for path in (ledger / "data").rglob("*") if path.is_file())
    seconds = {program.name: statistics.median(program.seconds) for program in (floor, ours, single)}
    ratios = {
        "hash_only": seconds["verify"] / seconds["hash_only"],
        "single_file_hash_only": seconds["single_file"] / seconds["hash_only"],
    }
    report(
        name="verify",
        figure=leaves / seconds["verify"],
        unit="leaves/s",
        ratios=ratios,
        detail={
            **where,
            "leaves": leaves,
            "ledger_mib": round(size / 2**20, 1),
            "runs": options.runs,
            **{program.name: program.told() for program in (floor, ours, single)},
        },
        words=[
            f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms",
            f"{leaves:,} leaves, {size / 2**20:,.0f} MiB; whole processes, medians of {options.runs}",
            f"hash only      {seconds['hash_only']:7.3f} s",
            f"verify         {seconds['verify']:7.3f} s  {ratios['hash_only']:5.2f} times the floor (gate: 4)",
            f"single file    {seconds['single_file']:7.3f} s  {ratios['single_file_hash_only']:5.2f} times (gate: 16)",
        ],
    )


if __name__ == "__main__":
    main()
