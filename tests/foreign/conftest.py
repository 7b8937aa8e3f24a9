"""The strangers, the logs that they are shown, and a line that says how many of these tests ran."""

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.foreign.logs import Log, real_logs, tall_log
from tests.foreign.programs import BINARIES, PROGRAMS, WHEEL_TITLE, Program, witness_log_missing

HERE = "tests/foreign/"
SHOWN_TO = "shown to"  # the property of a test that says which program it asked


def asked(name: str, test: pytest.Item) -> Program:
    program = PROGRAMS[name]()
    if program.absent:
        pytest.skip(f"{program.title}: {program.absent}")
    test.user_properties.append((SHOWN_TO, program.title))
    return program


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    """Each of the strangers in turn."""
    return asked(request.param, request.node)


@pytest.fixture(params=["xmod", "tiles", "aics"])
def keeper(request: pytest.FixtureRequest) -> Program:
    """Each of the strangers that compare with heads that were kept."""
    return asked(request.param, request.node)


@pytest.fixture
def xmod(request: pytest.FixtureRequest) -> Program:
    return asked("xmod", request.node)


@pytest.fixture
def witness_log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the wheel, loaded in this process."""
    missing = witness_log_missing()
    if missing:
        pytest.skip(f"{WHEEL_TITLE}: {missing}")
    request.node.user_properties.append((SHOWN_TO, WHEEL_TITLE))
    monkeypatch.syspath_prepend(str(BINARIES / "witness-log"))
    return importlib.import_module("witness_log")


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

    # Only tests that asked a stranger: the others would run, and prove nothing, on a machine without Go.
    programs = {report.nodeid: dict(report.user_properties).get(SHOWN_TO) for report in reports("passed", "failed")}
    ran = Counter(program for program in programs.values() if program)
    skipped = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports("skipped"))
    terminalreporter.ensure_newline()
    terminalreporter.write_line(f"foreign: {ran.total()} ran, {skipped.total()} skipped")
    for text, count in sorted(ran.items()):
        terminalreporter.write_line(f"foreign: {count} ran: {text}")
    for text, count in sorted(skipped.items()):
        terminalreporter.write_line(f"foreign: {count} skipped: {text}")
