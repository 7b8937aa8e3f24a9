"""Real ledgers for the tests of both verifiers: sealed by the sealer, signed by the signer, in one process."""

import contextlib
import functools
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import affidavit_verify
from affidavit.event import SourceMeta, encode_meta
from affidavit.ledger.wal import Shard
from affidavit.prove.report import AXES, Report
from affidavit.prove.times import TimeRules
from affidavit.prove.verify import verify_directory
from affidavit.text import b64u
from affidavit.tlog.certificate import parse_roots
from tests.support.installation import Installation, chat_request, chat_response, clock_us, new_id, write_call

CONFIG = b'[gateway]\nlisten = "127.0.0.1:8321"\n'
SYSTEM_PROMPT = "You answer questions about orders, politely and in one paragraph. " * 8
EXPECTED = {("anchor", "UNANCHORED"), ("time", "NO-TIMESTAMP")}
"""What an untouched ledger after a clean stop says of every log: nobody could know better."""


def start(installation: Installation) -> Installation:
    """Start with a configuration file that is on record."""
    path = installation.data.directory / "affidavit.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONFIG)
    sealer: Any = installation.sealer
    digest = b64u(hashlib.sha256(CONFIG).digest())
    sealer.settings = msgspec.structs.replace(sealer.settings, config_sha256=digest)
    return installation.start()


def announce(shard: Shard, *, log: str = "system") -> None:
    """What a capture process says when it starts."""
    now = clock_us()
    meta = SourceMeta(type="source.start", id=new_id(), time_us=now, mono_us=1)
    shard.begin(log).finish(meta=encode_meta(meta))


def talk(shard: Shard, *, log: str, users: int, turns: int, first: int = 0) -> list[str]:
    """Chats that resend their history under a common system prompt; returns the call ids."""
    calls = []
    for user in range(first, first + users):
        history = [SYSTEM_PROMPT, f"user {user} asks a question that is long enough to be cited later, " * 3]
        for turn in range(turns):
            answer = f"answer {turn} to {user}: " + "lorem ipsum dolor " * 8
            calls.append(write_call(shard, chat_request(*history), chat_response(answer), user=f"user-{user}", log=log))
            history += [answer, f"follow-up {turn} of {user}, also a sentence of some length"]
    return calls


def build(root: Path) -> Installation:
    """The system log and two projects, more than 300 leaves, two epochs, several heads, and a clean stop."""
    installation = Installation(root, projects=("default", "other"))
    start(installation)
    shard = installation.shard()
    for first in (0, 5, 10):
        talk(shard, log="default", users=5, turns=9, first=first)
        shard.flush()
        installation.drain()
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    installation.open()
    start(installation)
    shard = installation.shard(source="worker1")
    talk(shard, log="other", users=4, turns=4)
    talk(shard, log="default", users=2, turns=4, first=20)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    return installation


@dataclass(frozen=True)
class OfTime:
    """What is demanded of time, and the clock of whoever verifies."""

    roots: Path | None = None
    age_s_max: int | None = None
    now_us: int | None = None
    """Else the machine's."""

    @property
    def rules(self) -> TimeRules:
        """For our verifier."""
        return TimeRules(
            roots=None if self.roots is None else parse_roots(self.roots.read_bytes()),
            now_us=clock_us() if self.now_us is None else self.now_us,
            age_us_max=None if self.age_s_max is None else self.age_s_max * 1_000_000,
        )

    @property
    def arguments(self) -> list[str]:
        """For the single-file one."""
        told = [] if self.roots is None else ["--tsa-roots", str(self.roots)]
        return told if self.age_s_max is None else [*told, "--max-age", f"{self.age_s_max}s"]


NOTHING_OF_TIME = OfTime()


def ours(
    data: Path,
    vkeys: Path | None,
    *,
    pins: tuple[bytes, ...] = (),
    policy: Path | None = None,
    promises: tuple[bytes, ...] = (),
    of_time: OfTime = NOTHING_OF_TIME,
) -> Report:
    """Verdicts of our verifier."""
    known = vkeys.read_bytes() if vkeys is not None else None
    quorum = policy.read_bytes() if policy is not None else None
    return verify_directory(data, vkeys=known, pins=pins, policy=quorum, promises=promises, rules=of_time.rules)


def theirs(
    data: Path,
    vkeys: Path | None,
    *,
    pins: tuple[Path, ...] = (),
    policy: Path | None = None,
    promises: tuple[Path, ...] = (),
    of_time: OfTime = NOTHING_OF_TIME,
) -> tuple[int, dict[str, Any]]:
    """Verdicts of the single-file verifier: exit code and JSON, as a caller gets them."""
    arguments = of_time.arguments
    arguments += ["--vkey", str(vkeys)] if vkeys is not None else []
    arguments += ["--policy", str(policy)] if policy is not None else []
    for pin in pins:
        arguments += ["--pin", str(pin)]
    for promise in promises:
        arguments += ["--promise", str(promise)]
    out, now_us = io.StringIO(), of_time.now_us
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        if now_us is not None:
            patch.setattr(affidavit_verify.time, "time_ns", lambda: now_us * 1_000)
        code = affidavit_verify.main([str(data), *arguments, "--json"])
    return code, json.loads(out.getvalue().splitlines()[-1])


def verdicts(report: Report) -> dict[str, str]:
    """Overall, and of each log."""
    told = {axis: getattr(report, axis) for axis in AXES}
    for log in report.logs:
        told |= {f"{log.log} {axis}": getattr(log, axis) for axis in AXES}
    return told


def verdicts_of_json(result: dict[str, Any]) -> dict[str, str]:
    """The same of the single-file verifier's JSON."""
    told = {axis: result[axis] for axis in AXES}
    for log in result["logs"]:
        told |= {f"{log['log']} {axis}": log[axis] for axis in AXES}
    return told


def unexpected(report: Report) -> set[tuple[str, str, str | None]]:
    """Findings beyond those of an untouched ledger."""
    return {(f.axis, f.code, f.log) for f in report.findings if (f.axis, f.code) not in EXPECTED}


def all_files(data: Path) -> list[Path]:
    """Every file that is not disposable."""
    return sorted(p for p in data.rglob("*") if p.is_file() and p.name != "lock" and p.parent.name != "ids")


def copy_of(data: Path, target: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(data, target)
    return target


def remember(function: Callable[..., Any]) -> Callable[..., Any]:
    """Verification is a function of its bytes: a suite that asks a thousand times may ask once for each signature."""
    return functools.lru_cache(maxsize=4096)(function)
