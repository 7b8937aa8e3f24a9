"""The machine: versions, instructions, limits. Nothing here can be wrong; some of it is slow or small."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from affidavit.config import Config
from affidavit.serve.doctor.check import Check, not_assessed, ok, warn

HASHED_BYTES: Final = 1 << 20
ROUNDS: Final = 5
FILES_BESIDE: Final = 64
"""Descriptors of a worker that belong to no call."""
SHA_FLAGS: Final = frozenset({"sha_ni", "sha2"})
"""As x86 and ARM name them in `/proc/cpuinfo`."""


def python_check() -> Check:
    """Which Python runs this."""
    return ok("machine.python", f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}")


def openssl_check() -> Check:
    """Which OpenSSL encrypts; the one of the `cryptography` wheel, not Python's."""
    try:
        from cryptography.hazmat.backends.openssl.backend import backend
    except ImportError:
        return not_assessed("machine.openssl", "the package cryptography cannot be loaded", "install affidavit again")
    return ok("machine.openssl", backend.openssl_version_text())


def hash_speed() -> float:
    """Bytes of SHA-256 in a second, in the best of a few short rounds."""
    data, best = bytes(HASHED_BYTES), float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        sha256(data).digest()
        best = min(best, time.perf_counter() - began)
    return HASHED_BYTES / best


def judge_sha(cpuinfo: str, *, speed: float) -> Check:
    """SHA instructions, and the speed that says whether they are used."""
    name, measured = "machine.sha", f"SHA-256 at {speed / 1e6:.0f} MB/s"
    flags = {
        flag
        for line in cpuinfo.splitlines()
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }
    if not flags:
        return not_assessed(name, f"the processor does not list its instructions; {measured}")
    if flags & SHA_FLAGS:
        return ok(name, f"the processor has SHA instructions; {measured}")
    do = "nothing is wrong; sealing takes more processor time than docs/ states, so watch the lag under load"
    return warn(name, f"the processor has no SHA instructions; {measured}", do)


def judge_files(hard: int, *, config: Config) -> Check:
    """Descriptors: each call needs two."""
    name = "machine.files"
    wanted = 2 * config.gateway.connections_max + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        what = (
            f"a process may have {hard} descriptors; connections_max = {config.gateway.connections_max} wants {wanted}"
        )
        return warn(
            name, what, f"raise the limit (LimitNOFILE={wanted} in a unit, ulimit -Hn), or connections_max less"
        )
    return ok(name, f"a process may have {'any number of' if hard == resource.RLIM_INFINITY else hard} descriptors")


def judge_cores(count: int) -> Check:
    """Processors that we may use."""
    if count < 2:  # noqa: PLR2004 - one for calls, one for what comes after them
        do = "nothing is wrong; calls go first, so watch the lag under load"
        return warn("machine.cores", "one processor: calls and sealing share it", do)
    return ok("machine.cores", f"{count} processors")


def machine_checks(config: Config) -> list[Check]:
    """All of them."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = ""
    return [
        python_check(),
        openssl_check(),
        judge_sha(cpuinfo, speed=hash_speed()),
        judge_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], config=config),
        judge_cores(len(os.sched_getaffinity(0))),
    ]
