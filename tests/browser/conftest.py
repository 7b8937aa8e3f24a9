"""One browser for all of these tests, and a line that says how many of them ran, or why none did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.page import Page
from tests.support import chromium

HERE = "tests/browser/"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.program() is None:
        pytest.skip(f"Chromium: none of {', '.join(chromium.PROGRAMS)} is installed")
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(browser: chromium.Browser, tmp_path: Path) -> Page:
    """The page, fresh from disk."""
    return Page(browser, tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A check that was skipped must not look like one that passed."""

    def reports(outcome: str) -> list[pytest.TestReport]:
        return [report for report in terminalreporter.stats.get(outcome, []) if report.nodeid.startswith(HERE)]

    ran, skipped = reports("passed") + reports("failed"), reports("skipped")
    terminalreporter.ensure_newline()
    terminalreporter.write_line(f"browser: {len(ran)} ran, {len(skipped)} skipped")
    for text in sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped}):
        terminalreporter.write_line(f"browser: skipped: {text}")
