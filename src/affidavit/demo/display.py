"""How the tour looks: at most a hundred columns, plain text where there is no terminal.

Promise: text that was recorded is never interpreted as markup, and its control characters do not reach a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from affidavit.demo.clients import Made
from affidavit.demo.scenario import Step
from affidavit.prove.report import AXES, Report

WIDTH: Final = 100
"""Columns; wider terminals get no wider lines, since nobody reads those."""
TEXT_CHARACTERS: Final = 400
"""How much of an answer is shown."""
_SHOWN: Final = (
    ("record", "id"),
    ("leaf", "leaf"),
    ("provider", "provider"),
    ("app", "app"),
    ("team", "team"),
    ("model asked for", "model_requested"),
    ("model that answered", "model_served"),
    ("outcome", "outcome"),
    ("status", "status"),
    ("why it stopped", "finish"),
    ("input tokens", "input_tokens"),
    ("output tokens", "output_tokens"),
    ("bytes on the wire", "wire_bytes"),
    ("messages", "messages"),
    ("tools offered", "tools_offered"),
    ("tool calls", "tool_calls"),
    ("awaits masking", "mask_pending"),
)
_STYLES: Final = {
    "OK": "green",
    "WARN": "yellow",
    "FAIL": "bold red",
    "NOT ASSESSED": "dim",
    "ok": "green",
    "error": "red",
    "incomplete": "yellow",
}


class Display:
    """Writes the tour to a stream."""

    def __init__(self, stream: IO[str]) -> None:
        console = Console(file=stream, highlight=False)
        self._console: Final = Console(
            file=stream, highlight=False, width=min(console.width, WIDTH) if console.is_terminal else WIDTH
        )
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self._console.print()
        self._console.print(Rule(Text(f" {self._chapters}  {title} ", style="bold"), align="left", style="cyan"))

    def say(self, text: str, *, style: str = "") -> None:
        """A paragraph."""
        self._console.print(Text(text, style=style))

    def places(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and what they stand for."""
        for name, value in rows:
            self._console.print(Text.assemble((f"  {name:<10}", "dim"), value), soft_wrap=True)

    def made(self, made: Made) -> None:
        """One line for a call that a client has made."""
        said = f"HTTP {made.status}" if made.status else ""
        style = "green" if not made.error else "yellow"
        line = Table.grid(padding=(0, 2))
        for width in (9, 9, 46, 8):
            line.add_column(width=width, no_wrap=True, overflow="ellipsis")
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(
            Text(f"  {made.step.user}", style="dim"),
            Text(made.step.api),
            Text(made.step.what),
            Text(said, style=style),
            Text(made.error, style=style),
        )
        self._console.print(line)

    def calls(self, rows: Sequence[Mapping[str, Any]], steps: Mapping[str, Step]) -> None:
        """What is on record of each call."""
        table = Table(box=None, pad_edge=False, header_style="bold dim")
        for name in ("call", "outcome", "HTTP", "model that answered", "in", "out", "leaf"):
            table.add_column(name, justify="right" if name in {"in", "out", "leaf"} else "left", no_wrap=True)
        for row in rows:
            if row["call"] not in steps:
                continue
            outcome = str(row["outcome"])
            table.add_row(
                _cell(row["call"]),
                _cell(outcome, style=_STYLES.get(outcome, "")),
                *(_cell(row[name]) for name in ("status", "model_served", "input_tokens", "output_tokens")),
                _cell(row["leaf"]),
            )
        self._console.print(table)

    def call(self, request: Mapping[str, Any], response: Mapping[str, Any]) -> None:
        """Both leaves of one call."""
        table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 2, 0, 0))
        for name in ("", "request", "response"):
            table.add_column(name, overflow="fold")
        for label, name in _SHOWN:
            values = [request.get(name), response.get(name)]
            if any(value not in (None, []) for value in values):
                table.add_row(Text(label, style="dim"), *map(_cell, values))
        self._console.print(table)

    def quote(self, text: str) -> None:
        """Recorded text."""
        shown = text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"
        self._console.print(_cell(shown, style="italic"))

    def verdicts(self, rows: Iterable[tuple[str, Report]]) -> None:
        """Verdicts on each axis."""
        table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 2, 0, 0))
        for name in ("", *AXES):
            table.add_column(name, no_wrap=bool(name))
        for name, report in rows:
            values = [str(getattr(report, axis)) for axis in AXES]
            table.add_row(Text(name), *(_cell(value, style=_STYLES.get(value, "")) for value in values))
        self._console.print(table)

    def findings(self, report: Report, *, most: int) -> None:
        """The first findings that are FAIL."""
        for finding in [finding for finding in report.findings if finding.verdict == "FAIL"][:most]:
            line = f"  {finding.verdict} {finding.axis} {finding.code} [{finding.log or '-'}]: {finding.what}"
            self._console.print(_cell(line, style="red"))

    def check(self, what: str, *, holds: int) -> None:
        """One thing that the tour has checked about itself."""
        mark, style = ("ok  ", "green") if holds else ("FAIL", "bold red")
        self._console.print(Text.assemble(("  " + mark + "  ", style), what))

    def commands(self, rows: Iterable[tuple[str, str]]) -> None:
        """Commands to copy, each with what it does."""
        for command, what in rows:
            if what:
                self._console.print(Text(f"  # {what}", style="dim"))
            self._console.print(Text(f"  {command}", style="bold"), soft_wrap=True)


def short(path: Path, *, home: str) -> str:
    """A path below the home directory with `~`."""
    text = str(path)
    return "~" + text[len(home) :] if home and text.startswith(home + "/") else text


def _cell(value: object, *, style: str = "") -> Text:
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in str(value))
    return Text(shown, style=style)
