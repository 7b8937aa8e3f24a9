"""docs/operations.md lists what the code has: notices, metrics, reasons, checks and exit codes."""

import ast
import logging
import re
from pathlib import Path

import pytest

from affidavit.api.health import REASONS
from affidavit.api.metrics import SERVICE_FAMILIES
from affidavit.capture.gateway.figures import FAMILIES
from affidavit.cli.exit_codes import EXIT_CODES
from affidavit.notice import NOTICES
from affidavit.seal.figures import families
from affidavit.serve.doctor.check import CHECKS
from affidavit.witness.figures import families as anchor_families

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def rows(heading: str) -> list[str]:
    """Rows of the first table below a heading, without its two lines of head."""
    section = re.split(r"^## ", PAGE.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\|.*\|$", section, re.MULTILINE)[2:]


def listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def test_every_notice_is_listed():
    assert rows("Our own log") == [
        f"| `{notice.code}` | {logging.getLevelName(notice.level).lower()} | {listed(notice.fields)} | "
        f"{'no' if notice.is_routine else 'yes'} | {notice.text} |"
        for notice in NOTICES.values()
    ]


def test_every_metric_is_listed():
    published = [(family, (family.label,)) for family in (*FAMILIES, *families(("default",)), *anchor_families((), ()))]
    own = {"affidavit_build_info": ("version",)}
    perprocess = ("affidavit_process_up", "affidavit_process_restarts_total", "affidavit_figures_age_seconds")
    expected = [
        f"| `{family.name}` | {family.kind} | {listed(('process', *filter(None, labels)))} | {family.text} |"
        for family, labels in published
    ]
    expected += [
        f"| `{family.name}` | {family.kind} | "
        f"{listed(('process',) if family.name in perprocess else own.get(family.name, ()))} | {family.text} |"
        for family in SERVICE_FAMILIES
    ]
    assert rows("Metrics") == expected


def test_every_reason_check_and_exit_code_is_listed():
    assert rows("Health") == [f"| `{code}` | {text} |" for code, text in REASONS.items()]
    assert rows("The doctor") == [f"| `{name}` | {text} |" for name, text in CHECKS.items()]
    assert rows("Exit codes") == [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_running_service_speaks_by_notices_only(path):
    """A line without a code is one that nobody can watch for, and whose fields nobody has looked at."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    direct = [
        f"line {call.lineno}: {call.attr}"
        for call in calls
        if isinstance(call.value, ast.Name)
        and call.value.id in {"_log", "log", "logger", "logging"}
        and call.attr in {"debug", "info", "warning", "error", "critical", "exception", "log"}
    ]
    assert direct == [] or path.name == "notice.py"
