"""The strangers, the logs that they are shown, and a line that says how many of these tests ran."""

from pathlib import Path

import pytest

from tests.foreign.logs import Log, real_logs, tall_log
from tests.foreign.programs import PROGRAMS, Program

HERE = "tests/foreign/"


def asked(name: str) -> Program:
    program = PROGRAMS[name]()
    if program.absent:
        pytest.skip(f"{program.title}: {program.absent}")
    return program


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    """Each of the strangers in turn."""
    return asked(request.param)


@pytest.fixture
def xmod() -> Program:
    return asked("xmod")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Log]:
    return real_logs(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tall_log(tmp_path_factory.mktemp("tall"))


@pytest.fixture
def copies(real: dict[str, Log], tmp_path: Path) -> dict[str, Log]:
    """Copies of the real logs that a test may damage."""
    return {name: log.copy(tmp_path / name) for name, log in real.items()}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran and what did not, and why: a check that was skipped must not look like one that passed."""

    def reports(*outcomes: str) -> list[pytest.TestReport]:
        found = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, [])]
        return [report for report in found if report.nodeid.startswith(HERE)]

    skipped = reports("skipped")
    ran = {report.nodeid for report in reports("passed", "failed", "error")}
    terminalreporter.write_line(f"foreign: {len(ran)} ran, {len(skipped)} skipped")
    reasons = [str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)]
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(f"foreign: {reasons.count(reason)} skipped: {reason.removeprefix('Skipped: ')}")
