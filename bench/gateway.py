"""What recording costs: calls a second and latency, beside a bare relay and the direct way, in one run.

* burst: as many calls as 64 connections get done, 2 workers, sealer running, upstream and load on the same processors.
  Load by ``wrk`` where it is installed, else by a client of ours (named in the detail). The rival is `bench/_relay.py`:
  the same work without recording. Both by turns.
* drained: after each burst the sealer seals all that is left; peak lag is printed.
* latency: an open loop with intended start times; direct, through the bare relay and through the gateway by turns.
  Floors beside it: direct, the relay, and fdatasync p99.
* sustained: an open loop for minutes; lag from durable to head, and memory of the sealer early and at the end.
* LiteLLM, where it is installed (`--litellm`): the same burst, and latency at a rate that it can follow.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._litellm import litellm
from bench._load import BODY, request, run_closed, run_open
from bench._measuring import arguments, fresh_directory, machine, report

HERE = Path(__file__).resolve().parent
CONNECTIONS = 64
WORKERS = 2
BURST_S = 30
SUSTAINED_RATE = 3000
SUSTAINED_S = 300
LATENCY_RATE = 2000
LATENCY_S = 10
STREAM_RATE = 100
RIVAL_RATE = 50
RIVAL_S = 10
DRAIN_S_MAX = 600
PATH = b"/openai/v1/chat/completions"
DIRECT = b"/v1/chat/completions"
TICKS = os.sysconf("SC_CLK_TCK")
WRK = """wrk.method = "POST"
wrk.body = '%s'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench"
wrk.headers["User-Agent"] = "OpenAI/Python 3.54.0"
"""


class Service:
    """`affidavit up` over a fresh directory."""

    def __init__(self, directory: Path, *, upstream: int) -> None:
        directory.mkdir()
        config = directory / "affidavit.toml"
        config.write_text(
            f'[gateway]\nlisten = "127.0.0.1:0"\nworkers = {WORKERS}\n[upstreams.openai]\nbase_url = "http://127.0.0.1:{upstream}"\n'
        )
        self.data = directory / "data"
        self._environment = {
            **os.environ,
            "AFFIDAVIT_DATA": str(self.data),
            "AFFIDAVIT_KEYS": str(directory / "keys"),
            "AFFIDAVIT_CONFIG": str(config),
        }
        self._messages = directory / "log"
        self.start()
        status = self.status()
        self.port = int(status["gateway"].rsplit(":", 1)[1])
        self.pids = {process["role"]: process["pid"] for process in status["processes"]}

    @property
    def process_id(self) -> int:
        """Of the supervisor."""
        return self._process.pid

    def start(self) -> None:
        """Run it; returns when it says that it is ready."""
        self._log = self._messages.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "affidavit.cli", "up", "--json"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        if b'"ready"' not in self._process.stdout.readline():
            sys.exit(self._messages.read_text())

    def status(self) -> dict[str, Any]:
        """What `affidavit status --json` says."""
        done = subprocess.run(
            [sys.executable, "-m", "affidavit.cli", "status", "--json"],
            env=self._environment,
            capture_output=True,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"ready": False}
        return found

    def worker_cpu_s(self) -> float:
        """Processor time of all workers so far."""
        return sum(cpu_s(pid) for role, pid in self.pids.items() if role.startswith("worker"))

    def leaves(self) -> int:
        """Leaves of the project's log."""
        checkpoint = (self.data / "logs/default/tree/checkpoint").read_bytes()
        return int(checkpoint.split(b"\n")[1])

    def wal_bytes(self) -> int:
        """What lies in the write-ahead log."""
        total = 0
        for path in (self.data / "wal").rglob("0*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def drain(self, leaves: int) -> float:
        """Wait until so many leaves are there; returns the seconds it took."""
        began = time.perf_counter()
        while self.leaves() < leaves:
            time.sleep(0.1)
            if time.perf_counter() - began > DRAIN_S_MAX:
                sys.exit("the backlog was not drained within ten minutes")
        return time.perf_counter() - began

    def sealer_rss_mib(self) -> float:
        """Resident memory of the sealer."""
        text = Path(f"/proc/{self.pids['sealer']}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else 0.0

    def stop(self) -> None:
        """A clean stop."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=600)
        self._log.close()


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def upstream() -> Iterator[int]:
    """The upstream; yields its port."""
    process = subprocess.Popen([sys.executable, str(HERE / "_upstream.py")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def bare_relay(upstream_port: int) -> Iterator[int]:
    """As many bare relays as there are workers, on one port."""
    # Bound and never listening: it only keeps the port for the relays.
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind(("127.0.0.1", 0))
    port = keeper.getsockname()[1]
    relays = [
        subprocess.Popen(
            [sys.executable, str(HERE / "_relay.py"), str(port), str(upstream_port)], stdout=subprocess.PIPE
        )
        for _ in range(WORKERS)
    ]
    try:
        for relay in relays:
            assert relay.stdout is not None
            relay.stdout.readline()
        yield port
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()
        keeper.close()


def saturate(port: int, *, seconds: int, directory: Path, path: bytes = PATH) -> float:
    """Calls a second at saturation."""
    if shutil.which("wrk") is None:
        return run_closed(port=port, data=request(path), connections=CONNECTIONS, seconds=seconds)
    script = directory / "calls.lua"
    script.write_text(WRK % BODY.decode())
    url = f"http://127.0.0.1:{port}{path.decode()}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout:
        sys.exit(done.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    return float(found[1]) if found else 0.0


class LagWatch:
    """Samples how far sealing is behind, once a second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self.lags: list[float] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            lag = self._service.status().get("lag_s")
            if lag is not None:
                self.lags.append(lag)

    def end(self) -> list[float]:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()
        return sorted(self.lags) or [0.0]


def burst(directory: Path, *, runs: int, seconds: int) -> dict[str, Any]:
    """Bursts through the gateway and through the bare relay, by turns."""
    ours, bare, cpu, drains, lags = [], [], [], [], []
    with upstream() as port:
        service = Service(directory / "burst", upstream=port)
        rate = saturate(service.port, seconds=2, directory=directory)
        service.drain(int(2 * rate * 2 * 0.99))  # the rival has the machine to itself
        for _ in range(runs):
            with bare_relay(port) as relay:
                saturate(relay, seconds=1, directory=directory)
                bare.append(saturate(relay, seconds=max(seconds // 3, 3), directory=directory))
            leaves = service.leaves()
            before = service.worker_cpu_s()
            watch = LagWatch(service)
            rate = saturate(service.port, seconds=seconds, directory=directory)
            cpu.append((service.worker_cpu_s() - before) / (rate * seconds) * 1e6)
            ours.append(rate)
            drains.append(service.drain(leaves + int(2 * rate * seconds * 0.999)))
            lags.append(watch.end()[-1])
        service.stop()
    return {
        "calls_per_s": statistics.median(ours),
        "bare_relay_per_s": statistics.median(bare),
        "ratio": statistics.median(one / other for one, other in zip(ours, bare, strict=True)),
        "cpu_us": statistics.median(cpu),
        "drain_s": statistics.median(drains),
        "peak_lag_s": max(lags),
    }


def p99(times: list[float]) -> float:
    """p99 in milliseconds."""
    return sorted(times)[int(len(times) * 0.99)] * 1e3


def latency(directory: Path, *, runs: int) -> dict[str, Any]:
    """Added p99 and added time to first token, direct and proxied by turns."""
    added, direct_p99, relay_p99, proxied_p99, added_ttft = [], [], [], [], []
    with upstream() as port, bare_relay(port) as relay:
        service = Service(directory / "latency", upstream=port)
        run_open(port=service.port, data=request(PATH), rate=LATENCY_RATE, seconds=2)
        for _ in range(runs):
            _, direct = run_open(port=port, data=request(DIRECT), rate=LATENCY_RATE, seconds=LATENCY_S)
            _, relayed = run_open(port=relay, data=request(PATH), rate=LATENCY_RATE, seconds=LATENCY_S)
            _, proxied = run_open(port=service.port, data=request(PATH), rate=LATENCY_RATE, seconds=LATENCY_S)
            relay_p99.append(p99(relayed))
            direct_p99.append(p99(direct))
            proxied_p99.append(p99(proxied))
            added.append(proxied_p99[-1] - direct_p99[-1])
            stream = b"text/event-stream"
            first, _ = run_open(port=port, data=request(DIRECT, accept=stream), rate=STREAM_RATE, seconds=5)
            through, _ = run_open(port=service.port, data=request(PATH, accept=stream), rate=STREAM_RATE, seconds=5)
            added_ttft.append((statistics.median(through) - statistics.median(first)) * 1e3)
        service.stop()
    return {
        "added_p99_ms": statistics.median(added),
        "direct_p99_ms": statistics.median(direct_p99),
        "relay_p99_ms": statistics.median(relay_p99),
        "proxied_p99_ms": statistics.median(proxied_p99),
        "added_ttft_ms": statistics.median(added_ttft),
    }


def sustained(directory: Path, *, seconds: int) -> dict[str, Any]:
    """A steady load: lag from durable to head, memory."""
    with upstream() as port:
        service = Service(directory / "sustained", upstream=port)
        run_open(port=service.port, data=request(PATH), rate=SUSTAINED_RATE, seconds=min(20, seconds))
        settled: list[float] = []
        threading.Timer(seconds / 5, lambda: settled.append(service.sealer_rss_mib())).start()
        watch = LagWatch(service)
        began = time.perf_counter()
        firsts, _ = run_open(port=service.port, data=request(PATH), rate=SUSTAINED_RATE, seconds=seconds)
        took = time.perf_counter() - began
        lags = watch.end()
        after = service.sealer_rss_mib()
        service.stop()
    return {
        "sustained": len(firsts) / took,
        "seal_p99_s": lags[int(len(lags) * 0.99)],
        "sealer_rss_mib": [round(settled[0]), round(after)],
    }


def rival(program: Path, directory: Path, *, runs: int) -> dict[str, Any]:
    """The same through LiteLLM: calls a second at saturation, and latency at a rate that it can follow."""
    bursts, direct_p99, through_p99 = [], [], []
    with upstream() as port, litellm(program, directory=directory, upstream=port, workers=WORKERS) as proxy:
        saturate(proxy, path=DIRECT, seconds=3, directory=directory)
        for _ in range(runs):
            bursts.append(saturate(proxy, path=DIRECT, seconds=RIVAL_S, directory=directory))
            _, direct = run_open(port=port, data=request(DIRECT), rate=RIVAL_RATE, seconds=RIVAL_S)
            _, through = run_open(port=proxy, data=request(DIRECT), rate=RIVAL_RATE, seconds=RIVAL_S)
            direct_p99.append(p99(direct))
            through_p99.append(p99(through))
    return {
        "calls_per_s": round(statistics.median(bursts)),
        "at_calls_per_s": RIVAL_RATE,
        "added_p99_ms": round(statistics.median(through_p99) - statistics.median(direct_p99), 3),
    }


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--burst-s", type=int, default=BURST_S, help="seconds of one burst")
    parser.add_argument("--sustained-s", type=int, default=SUSTAINED_S, help="seconds of the steady load")
    parser.add_argument("--litellm", type=Path, help="LiteLLM's program, in an environment of its own")
    options = parser.parse_args()
    with fresh_directory(options.directory) as directory:
        where = machine(directory)
        bursts = burst(directory, runs=options.runs, seconds=options.burst_s)
        added = latency(directory, runs=options.runs)
        steady = sustained(directory, seconds=options.sustained_s)
        other = rival(options.litellm, directory, runs=options.runs) if options.litellm else None
    load = "wrk" if shutil.which("wrk") else "bench/_load.py"
    detail = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in (bursts | added | steady).items()
    }
    report(
        name="gateway",
        figure=bursts["calls_per_s"],
        unit="calls/s",
        ratios={"bare_relay": bursts["ratio"]},
        detail={**where, "load": load, **detail, "litellm": other},
        words=[
            f"{where['cpu']}; {where['filesystem']}, fdatasync p99 {where['fdatasync_p99_ms']} ms; load by {load}",
            f"burst {bursts['calls_per_s']:,.0f} calls/s, {bursts['ratio']:.2f} of a bare relay",
            f"worker {bursts['cpu_us']:.0f} us a call; peak lag {bursts['peak_lag_s']:.1f} s",
            f"added p99 {added['added_p99_ms']:.2f} ms",
            f"beside it p99: direct {added['direct_p99_ms']:.2f} ms, bare relay {added['relay_p99_ms']:.2f} ms",
            f"added time to first token {added['added_ttft_ms']:.2f} ms",
            f"sustained {steady['sustained']:,.0f} calls/s, p99 to the head {steady['seal_p99_s']:.1f} s",
            f"sealer {steady['sealer_rss_mib']} MiB after a fifth of it and at the end",
            "LiteLLM not measured: --litellm names its program"
            if other is None
            else f"LiteLLM {other['calls_per_s']} calls/s, added p99 {other['added_p99_ms']:.1f} ms at {RIVAL_RATE}/s",
        ],
    )


if __name__ == "__main__":
    main()
