"""How the tour looks: at most a hundred columns, plain text where there is no terminal.

Promise: text that was recorded is never interpreted as markup, and its control characters do not reach a terminal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from affidavit.demo.clients import Made
from affidavit.event import ACCESS_READ
from affidavit.prove.report import AXES, Report
from affidavit.seal.masked import MaskedRow
from affidavit.wire.texts import NAME, STRUCTURAL

WIDTH: Final = 100
"""Columns; wider terminals get no wider lines, since nobody reads those."""
TEXT_CHARACTERS: Final = 400
"""How much of an answer is shown."""
AHEAD_CHARACTERS: Final = 16
"""What is shown of a text before the word that was looked for."""
ID_CHARACTERS: Final = 36
_ROW_WIDTHS: Final = (("call or record", ID_CHARACTERS), ("what", 13), ("user", 8))
_GAP: Final = 2
_GROUP_NAMES: Final = {
    "calls": "calls",
    "input_tokens": "in",
    "output_tokens": "out",
    "cost_nano": "cost",
    "not_priced": "unpriced",
}
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
        for width in (10, 9, 46, 8):
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

    def calls(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """What is on record of each call."""
        table = _table("call", "outcome", "model that answered", "in", "out", "cost", right=("in", "out", "cost"))
        for row in rows:
            outcome = str(row["outcome"])
            table.add_row(
                _cell(row["call"]),
                _cell(outcome, style=_STYLES.get(outcome, "")),
                *(_cell(row[name]) for name in ("model_served", "input_tokens", "output_tokens")),
                _cell(_cost(row)),
            )
        self._console.print(table)

    def command(self, *words: str) -> None:
        """A command, as somebody pastes it into a shell; what follows is its answer."""
        self._console.print(Text(shlex.join(("affidavit", *words)), style="bold"), soft_wrap=True)

    def rows(self, rows: Sequence[MaskedRow], *, most: int, about: str) -> None:
        """What a search found, newest first; of a text, the surroundings of `about`."""
        table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, _GAP, 0, 0))
        rest = self._console.width - sum(width + _GAP for _, width in _ROW_WIDTHS)
        for name, width in (*_ROW_WIDTHS, ("text", max(rest, AHEAD_CHARACTERS))):
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        for row in rows[:most]:
            text = _cell(_surroundings(row.text, about))
            said = text if row.type != ACCESS_READ else Text.assemble((f"{row.view}: ", "bold"), text)
            table.add_row(_cell(row.call or row.id), _cell(row.outcome or row.type), _cell(row.user), said)
        self._console.print(table)
        if len(rows) > most:
            self._console.print(Text(f"  … and {len(rows) - most} more", style="dim"))

    def content(self, row: Mapping[str, Any]) -> None:
        """What was said, masked, a line for each part."""
        content = row.get("content") or {}
        said = [*(content.get("messages") or ()), *(content.get("output") or ())]
        self._console.print()
        for part in said:
            who = str(part.get("role") or part.get("type") or "")
            text = " ".join(" ".join(said_in(part)).split())
            if text:
                self._console.print(Text.assemble((f"  {who:<10}", "dim"), _cell(text)))

    def groups(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Counts by groups."""
        if not rows:
            self._console.print(_cell(None))
            return
        names = [name for name in rows[0] if name != "records"]
        table = _table(*(_GROUP_NAMES.get(name, name) for name in names), right=_GROUP_NAMES.values())
        for row in rows:
            table.add_row(*(_cell(_amounts(row[name]) if name == "cost_nano" else row[name]) for name in names))
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


def said_in(part: object, member: str = "") -> Iterator[str]:
    """Strings of a masked part that somebody said, in order."""
    if isinstance(part, str):
        if member not in STRUCTURAL:
            yield part
    elif isinstance(part, list):
        for one in part:
            yield from said_in(one, member)
    elif isinstance(part, dict):
        for name, one in sorted(part.items(), key=lambda member: member[0] != NAME):  # a tool before its arguments
            yield from said_in(one, name)


def _cost(row: Mapping[str, Any]) -> str | None:
    """What a call cost, exactly; ``None`` where nothing is billed."""
    nano = row["cost_nano"]
    if nano is None:
        return None if row["cost_state"] is None else "not priced"
    return _amounts({row["currency"]: nano})


def _amounts(nano: Mapping[str, int]) -> str | None:
    """Money by currency, exactly; ``None`` where there is none."""
    return ", ".join(f"{_decimal(amount)} {currency}" for currency, amount in nano.items()) or None


def _decimal(nano: int) -> str:
    """As the commands write it: six digits behind the point, more where there are more."""
    whole, rest = divmod(nano, 10**9)
    digits = f"{rest:09d}"
    return f"{whole}.{digits[:6]}{digits[6:].rstrip('0')}"


def _surroundings(text: str, about: str) -> str:
    """A text on one line, from shortly before a word on: where it stands last, for what is new stands last."""
    line = " ".join(text.split())
    found = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(about)}(?!\w)", line, re.IGNORECASE)]
    at = found[-1] if about and found else 0
    if at <= AHEAD_CHARACTERS:
        return line
    ahead = line[at - AHEAD_CHARACTERS : at]
    return f"…{ahead.partition(' ')[2] or ahead.lstrip()}{line[at:]}"  # no word is cut, where there is a choice


def _table(*names: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 1, 0, 0))
    numbers = frozenset(right)
    for name in names:
        width = ID_CHARACTERS if name == "call" else None  # somebody will copy it
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True, min_width=width)
    return table


def _cell(value: object, *, style: str = "") -> Text:
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in str(value))
    return Text(shown, style=style)
