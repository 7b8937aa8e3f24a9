"""How things look: lines of JSON for scripts, tables for people, bars for whoever waits.

Promise: standard output carries the answer and nothing else; everything that only accompanies it goes to standard
error. Text that came from outside is never interpreted as markup, and its control characters do not reach a terminal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

WIDTH_WITHOUT_TERMINAL: Final = 160
"""Columns of a table that goes into a file or a pipe."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_COMMANDING: Final = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls of eight bits and marks of direction, which JSON takes as they are and a terminal may obey."""
_STEP: Final = 1024.0
_NANO: Final = 10**9
_DECIMALS_MIN: Final = 6
"""Digits behind the point of an amount of money; more where there are more, so that nothing is rounded."""


def answers() -> Console:
    """Standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)


def print_json(value: dict[str, Any] | msgspec.Struct) -> None:
    """One object on one line, in which no character commands a terminal."""
    text = _COMMANDING.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(value).decode())
    sys.stdout.buffer.write(text.encode() + b"\n")


def remark(text: str) -> None:
    """One line on standard error."""
    remarks().print(Text(text), soft_wrap=True)


def cell(value: object, *, style: str = "") -> Text:
    """A value in a table: absent ones are a dash, control characters are shown and not obeyed."""
    if value is None or value == "":
        return Text("–", style="dim")
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in str(value))
    return Text(shown, style=style)


def moment(time_us: int | None) -> str | None:
    """A time, in UTC, to the millisecond."""
    if time_us is None:
        return None
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def size_text(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"


def cost_text(row: Mapping[str, Any]) -> str | None:
    """What a record says that its call cost, exactly; ``None`` where it says nothing."""
    state, nano = row.get("cost_state"), row.get("cost_nano")
    if state is None:
        return None
    if state != "priced" or not isinstance(nano, int):
        return str(state).replace("_", " ")
    decimals = f"{nano % _NANO:09d}"
    kept = decimals[:_DECIMALS_MIN] + decimals[_DECIMALS_MIN:].rstrip("0")
    return f"{nano // _NANO}.{kept} {row.get('currency')}"


class Advance(Protocol):
    """Told how far a long work is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` is being worked on; `done` of `total` of it is ready."""
        ...


@contextmanager
def progress_bars() -> Iterator[Advance]:
    """One bar for each thing that is worked on, on standard error, while it is a terminal; gone afterwards."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = remarks()
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance
