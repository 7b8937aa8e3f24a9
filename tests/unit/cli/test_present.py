"""What a hostile text may not do where it is shown: command a terminal, or run in a spreadsheet."""

from __future__ import annotations

import json
import re
import sys

import pytest

from affidavit.cli.present import print_json
from affidavit.cli.search import _flat

HOSTILE = "\x1b[31m \u009b31m \u202e \u2066 é ☃"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_json_on_a_terminal_commands_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    print_json({"text": HOSTILE})
    sys.stdout.flush()
    out = capfd.readouterr().out
    assert not COMMANDS.search(out)
    assert json.loads(out)["text"] == HOSTILE, "and it says the same"


@pytest.mark.parametrize("value", ["=1+1", " =1+1", "\n=1+1", "+1", "-1", "@a", "\t=1", "\uff1d1+1"])
def test_a_cell_that_looks_like_a_formula_is_text(value: str) -> None:
    assert _flat(value) == f"'{value}"


@pytest.mark.parametrize("value", ["", " ", "a=1", "1", "ana@example.org"])
def test_other_cells_stay(value: str) -> None:
    assert _flat(value) == value
