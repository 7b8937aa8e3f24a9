"""Strangers' programs: built from locked sources, run on a log, and asked for one verdict.

Promise: a program that cannot be had (no Go, no Rust, too old a Python, no way to its modules) is a reason to skip,
told in its own words; a module that is not the locked one, or a source that does not build, is a failure. Binaries land
in ``build/foreign/``. Where modules come from is the environment's business.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent
BINARIES = ROOT / "build" / "foreign"
# As it was when this module was imported: the fixture that hides the user's ledger from the tests moves
# XDG_CONFIG_HOME, and with it the file in which Go keeps its settings. Without cgo, no C compiler is asked for.
ENVIRONMENT = {**os.environ, "CGO_ENABLED": "0"}

FETCH_SECONDS_MAX = 90
"""Tessera's 35 modules took 6 s into an empty cache; much longer is as good as not at all."""
BUILD_SECONDS_MAX = 240
"""fsck and Go's own library took 100 s into an empty cache, on two cores with a load of eleven."""
XMOD_SECONDS_MAX = 30
"""It takes 2 to 5 s for 256,000 entries and five heads."""
FSCK_SECONDS_MAX = 15
"""It takes a second for 256,000 entries, and where its workers give up on damage it may hang instead of ending."""

FORGED_CRATE = re.compile(r"checksum .* could not be|failed to verify the checksum|checksum for `.*` changed")
FORGED_MODULE = re.compile(r"SECURITY ERROR|checksum mismatch|missing go\.sum entry")


class Verdict(NamedTuple):
    """What a program made of a log, and what it said."""

    accepted: bool
    said: str


class Program(NamedTuple):
    """A stranger: `judge` takes a tree, a vkeys file and any kept heads; `absent` says why it cannot be had."""

    title: str
    judge: Callable[[Path, Path, Sequence[Path]], Verdict]
    absent: str | None


def go(*arguments: str, source: str, seconds_max: int) -> subprocess.CompletedProcess[str]:
    """Run a go command in the directory of one of the locks."""
    return subprocess.run(
        ["go", *arguments],
        cwd=SOURCES / source,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds_max,
    )


@functools.cache
def modules_missing(source: str) -> str | None:
    """Fetch the locked modules of a source; tells why they cannot be had, or nothing.

    Raises:
        AssertionError: What came is not what the lock names.
    """
    if shutil.which("go", path=ENVIRONMENT.get("PATH")) is None:
        return "Go is not installed"
    try:
        fetched = go("mod", "download", source=source, seconds_max=FETCH_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return f"its modules did not arrive within {FETCH_SECONDS_MAX} s"
    if fetched.returncode == 0:
        return None
    assert not FORGED_MODULE.search(fetched.stderr), fetched.stderr
    return fetched.stderr.strip().splitlines()[-1]


@functools.cache
def build(source: str, package: str) -> Path:
    """Build a program whose modules are there."""
    binary = BINARIES / source
    built = go(
        "build", "-mod=readonly", "-buildvcs=false", "-o", str(binary), package,
        source=source, seconds_max=BUILD_SECONDS_MAX,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return binary


def xmod() -> Program:
    """Our own few lines around the library that checks Go's checksum database."""

    def judge(tree: Path, vkeys: Path, heads: Sequence[Path]) -> Verdict:
        binary = build("xmod", ".")
        ended = subprocess.run(
            [binary, tree, vkeys, *heads], capture_output=True, text=True, check=False, timeout=XMOD_SECONDS_MAX
        )
        # Go ends with 2 where a program panics or is called wrongly, and neither is a verdict.
        assert ended.returncode in {0, 1}, ended.stderr
        return Verdict(accepted=ended.returncode == 0, said=ended.stdout + ended.stderr)

    return Program("golang.org/x/mod sumdb/tlog and sumdb/note v0.40.0", judge, modules_missing("xmod"))


def fsck() -> Program:
    """Tessera's own checker, as released. It takes no kept heads, exits 0 on failure, and hangs with one worker."""

    def judge(tree: Path, vkeys: Path, heads: Sequence[Path]) -> Verdict:
        assert not heads, "fsck knows the newest head only"
        binary = build("fsck", "github.com/transparency-dev/tessera/cmd/fsck")
        key = vkeys.with_suffix(".ed25519")
        key.write_text(vkeys.read_text().splitlines()[0] + "\n")
        try:
            ended = subprocess.run(
                [binary, f"--storage_url=file://{tree}", f"--public_key={key}", "--ui=false", "--N=2"],
                capture_output=True,
                text=True,
                check=False,
                timeout=FSCK_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as hung:
            said = (hung.stderr or b"").decode(errors="replace")
            return Verdict(accepted=False, said=f"{said}still running after {FSCK_SECONDS_MAX} s")
        # A rejection must be of the log, so that a flag that fsck does not know is no verdict.
        assert re.search(r"fsck failed: |Fsck: checking log of size ", ended.stderr), ended.stderr
        return Verdict(accepted="Successfully fsck'd log with size " in ended.stderr, said=ended.stderr)

    return Program("Tessera fsck v1.0.4", judge, modules_missing("fsck"))


def tiles() -> Program:
    """Our own few lines around two crates that a log of certificates is built with."""

    def judge(tree: Path, vkeys: Path, heads: Sequence[Path]) -> Verdict:
        binary = build_crate("tiles")
        ended = subprocess.run(
            [binary, tree, vkeys, *heads], capture_output=True, text=True, check=False, timeout=XMOD_SECONDS_MAX
        )
        # Some of what the crates demand is a panic (101), which is a no as well.
        assert ended.returncode in {0, 1, 101}, ended.stderr
        return Verdict(accepted=ended.returncode == 0, said=ended.stdout + ended.stderr)

    return Program("the crates tlog_tiles and signed_note v0.2.0", judge, crates_missing("tiles"))


@functools.cache
def crates_missing(source: str) -> str | None:
    """Fetch the locked crates of a source; tells why they cannot be had, or nothing.

    The lock is kept without the address that crates come from, which is cargo's own to know: it is put back in.

    Raises:
        AssertionError: What came is not what the lock names.
    """
    if shutil.which("cargo", path=ENVIRONMENT.get("PATH")) is None:
        return "Rust's cargo is not installed"
    place = BINARIES / f"{source}-crate"
    shutil.rmtree(place / "src", ignore_errors=True)
    shutil.copytree(SOURCES / source, place, dirs_exist_ok=True)
    lock = place / "Cargo.lock"
    lock.unlink(missing_ok=True)
    try:
        made = cargo("generate-lockfile", place=place, seconds_max=FETCH_SECONDS_MAX)
        if made.returncode != 0:
            return made.stderr.strip().splitlines()[-1]
        [origin] = set(re.findall(r"^source = .*$", lock.read_text(), re.MULTILINE))
        text = (place / "Cargo.lock.in").read_text()
        lock.write_text(re.sub(r"^(?=checksum = )", origin + "\n", text, flags=re.MULTILINE))
        fetched = cargo("fetch", "--locked", place=place, seconds_max=FETCH_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return f"its crates did not arrive within {FETCH_SECONDS_MAX} s"
    if fetched.returncode == 0:
        return None
    assert not FORGED_CRATE.search(fetched.stderr), fetched.stderr
    return fetched.stderr.strip().splitlines()[-1]


@functools.cache
def build_crate(source: str) -> Path:
    """Build a program whose crates are there."""
    place = BINARIES / f"{source}-crate"
    built = cargo("build", "--release", "--locked", "--offline", place=place, seconds_max=BUILD_SECONDS_MAX)
    assert built.returncode == 0, built.stderr
    return place / "target" / "release" / source


def cargo(*arguments: str, place: Path, seconds_max: int) -> subprocess.CompletedProcess[str]:
    """Run a cargo command in a directory of `BINARIES`."""
    return subprocess.run(
        ["cargo", *arguments],
        cwd=place,
        env={**ENVIRONMENT, "CARGO_TARGET_DIR": str(place / "target")},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds_max,
    )


# --- wheels -----------------------------------------------------------------------------------------------------------

WHEEL_TITLE = "the wheel witness-log v0.6.1"
AICS_TITLE = "the wheels aics-tlog v0.2.1 and aics-witness v0.1.0"
FORGED_WHEEL = re.compile(r"DO NOT MATCH THE HASHES")
AICS_PYTHON = (3, 12)
AICS_SECONDS_MAX = 60
"""It is Python: ten seconds for a tree of a hundred thousand entries."""


def aics() -> Program:
    """A verifier in pure Python, by another hand. It takes no partial tiles of a head that is not the newest."""

    def judge(tree: Path, vkeys: Path, heads: Sequence[Path]) -> Verdict:
        ended = subprocess.run(
            [*aics_command(), SOURCES / "aics" / "judge.py", tree, vkeys, *heads],
            env=aics_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=AICS_SECONDS_MAX,
        )
        assert ended.returncode in {0, 1}, ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
        return Verdict(accepted=ended.returncode == 0, said=ended.stdout + ended.stderr)

    return Program(AICS_TITLE, judge, aics_missing())


def aics_command() -> list[str]:
    """A Python that is new enough."""
    python = newer_python()
    assert python is not None
    return [python, "-P"]


def aics_environment() -> dict[str, str]:
    """In which that Python finds the wheels, and nothing of ours."""
    return {**ENVIRONMENT, "PYTHONPATH": str(BINARIES / "aics")}


@functools.cache
def newer_python() -> str | None:
    """A Python of at least `AICS_PYTHON` on the path, or one that pyenv keeps."""
    minor = range(AICS_PYTHON[1], AICS_PYTHON[1] + 8)
    path = ENVIRONMENT.get("PATH")
    kept = Path(ENVIRONMENT.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin/python3")
    named = (shutil.which(f"python3.{number}", path=path) for number in minor)
    for python in (sys.executable, *filter(None, named), *map(str, sorted(kept))):
        if (version := _version(python)) is not None and version >= AICS_PYTHON:
            return python
    return None


def _version(python: str) -> tuple[int, int] | None:
    try:
        asked = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except OSError:
        return None
    words = asked.stdout.split()
    return (int(words[0]), int(words[1])) if asked.returncode == 0 and len(words) == 2 else None


@functools.cache
def aics_missing() -> str | None:
    """Fetch the locked wheels into ``build/foreign/aics``; tells why they cannot be had, or nothing."""
    python = newer_python()
    if python is None:
        return f"there is no Python {AICS_PYTHON[0]}.{AICS_PYTHON[1]} or newer"
    version = _version(python)
    assert version is not None
    wanted = ["--python-version", f"{version[0]}.{version[1]}", "--implementation", "cp", "--ignore-requires-python"]
    return _wheels_missing(SOURCES / "aics" / "aics.txt", "aics", *wanted)


@functools.cache
def witness_log_missing() -> str | None:
    """Fetch the locked wheel into ``build/foreign/witness-log``; tells why it cannot be had, or nothing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "its lock is for Linux on x86-64"
    return _wheels_missing(SOURCES / "witness-log.txt", "witness-log")


def _wheels_missing(lock: Path, directory: str, *wanted: str) -> str | None:
    """Fetch the wheels of a lock into a directory of `BINARIES`; tells why they cannot be had, or nothing.

    Raises:
        AssertionError: What came is not what the lock names.
    """
    pip = next((python for python in (sys.executable, "python3") if _has_pip(python)), None)
    if pip is None:
        return "there is no pip to fetch it with"
    arguments = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    where = ["--upgrade", "--target", str(BINARIES / directory), "-r", str(lock)]
    try:
        fetched = subprocess.run(
            [pip, "-m", "pip", "install", *arguments, *wanted, *where],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        return f"it did not arrive within {FETCH_SECONDS_MAX} s"
    if fetched.returncode == 0:
        return None
    assert not FORGED_WHEEL.search(fetched.stderr), fetched.stderr
    return fetched.stderr.strip().splitlines()[-1]


def _has_pip(python: str) -> bool:
    try:
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False, timeout=30)
    except OSError:
        return False
    return asked.returncode == 0


PROGRAMS: dict[str, Callable[[], Program]] = {"xmod": xmod, "fsck": fsck, "tiles": tiles, "aics": aics}
