"""The door of the verifier: what cannot be started is an error, and whoever waits is told how far it is."""

from pathlib import Path

import pytest

from affidavit.errors import FormatError, LayoutError
from affidavit.prove import log as log_module
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.report import Findings
from affidavit.prove.verify import verify_directory
from tests.verifier.ledger_maker import small_ledger


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, bytes]:
    ledger = small_ledger()
    vkeys = ledger.logs["system"].signer.write_vkeys(tmp_path / "system.vkeys")
    return ledger.write(tmp_path / "data"), vkeys.read_bytes()


def test_no_directory_and_no_vkeys_file_are_errors(small: tuple[Path, bytes], tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="not a directory"):
        verify_directory(tmp_path / "none", vkeys=None)
    for vkeys in (b"", b"x", small[1][:-1], small[1] + small[1]):
        with pytest.raises(FormatError):
            verify_directory(small[0], vkeys=vkeys)


def test_an_empty_directory_holds_no_ledger(tmp_path: Path) -> None:
    report = verify_directory(tmp_path, vkeys=None)
    assert not report.holds
    assert {f.code for f in report.findings if f.verdict == "FAIL"} == {"MISSING", "HEAD"}


def test_progress_is_told_log_by_log_and_reaches_the_end(small: tuple[Path, bytes]) -> None:
    steps: list[tuple[str, int, int]] = []
    report = verify_directory(
        small[0], vkeys=small[1], progress=lambda log, done, total: steps.append((log, done, total))
    )
    assert {(log.log, log.size, log.size) for log in report.logs} <= set(steps)
    assert steps == sorted(steps, key=lambda step: ([log.log for log in report.logs].index(step[0]), step[1]))


def test_a_head_without_signatures_cannot_keep_the_verifier_busy(small: tuple[Path, bytes]) -> None:
    """Without keys anybody can state a size; the rest is not looked for when most of it is missing."""
    data = small[0]
    checkpoint = data / "logs/alpha/tree/checkpoint"
    lines = checkpoint.read_bytes().split(b"\n")
    lines[1] = str(2**62).encode()
    checkpoint.write_bytes(b"\n".join(lines))
    report = verify_directory(data, vkeys=None)
    assert {f.code for f in report.findings if f.log == "alpha" and f.verdict == "FAIL"} == {"MISSING"}
    assert log_module._BUNDLES_MISSING_MAX < 10_000


def test_only_regular_files_of_bounded_length_are_read(tmp_path: Path) -> None:
    files = Files(tmp_path)
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()
    assert files.read("file", bytes_max=5) == b"12345"
    for name, code in (("file", "SIZE"), ("link", "UNREADABLE"), ("directory", "UNKNOWN-FILE"), ("none", "MISSING")):
        with pytest.raises(UnusableFileError) as caught:
            files.read(name, bytes_max=4)
        assert caught.value.code == code


def test_a_leftover_that_goes_away_meanwhile_is_none(tmp_path: Path) -> None:
    files, findings = Files(tmp_path), Findings()
    for name in ("gone.tmp", "replaced.tmp", "stays.tmp"):
        (tmp_path / name).write_bytes(b"")
    files.list(findings)
    (tmp_path / "gone.tmp").unlink()
    (tmp_path / "new").write_bytes(b"")
    (tmp_path / "new").replace(tmp_path / "replaced.tmp")
    files.check_leftovers(findings)
    assert [finding.what.split(":")[0] for finding in findings.sorted()] == ["stays.tmp"]
