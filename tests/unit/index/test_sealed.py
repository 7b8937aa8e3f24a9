"""No clear text on a disk: not in the directory, not among temporary files, not while the process runs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CANARY = "zqxcanaryzqx"


def holding(directory: Path, needle: bytes) -> list[str]:
    """Files below a directory whose bytes or names have a needle, in either case."""
    return [
        str(path)
        for path in directory.rglob("*")
        if needle in str(path).lower().encode() or (path.is_file() and needle in path.read_bytes().lower())
    ]


def open_files(process: int) -> set[str]:
    """Files that a process has open, by name; what has none is in memory."""
    names = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            names.add(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return names


@pytest.mark.timeout(120)  # an engine to start, to fill and to merge
def test_nothing_of_a_row_is_on_a_disk_in_clear(tmp_path: Path) -> None:
    directory, temporary = tmp_path / "index", tmp_path / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("watched.py")), str(directory), CANARY],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TMPDIR": str(temporary)},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # and not the file that pytest has open for it
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # The canary of names: proof that the search below looks where the engine writes.
        assert holding(directory, b"storage_policy")
        assert any(path.name == "data.bin" for path in directory.rglob("*"))
        for needle in (CANARY.encode(), bytes(range(32)), bytes(range(32)).hex().encode()):
            assert holding(tmp_path, needle) == []
        deleted = {name for name in open_files(process.pid) if name.endswith("(deleted)") and "memfd:" not in name}
        assert deleted == set()
        process.stdin.close()
    assert process.returncode == 0
    assert list(temporary.iterdir()) == []
    assert holding(tmp_path, CANARY.encode()) == []
