"""`affidavit status`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.table import Table

from affidavit.api.client import sealer_status
from affidavit.cli.exit_codes import OK, SERVICE
from affidavit.cli.present import answers, cell, moment, print_json, remark, size_text
from affidavit.errors import ServiceError
from affidavit.ledger.board import Board, read_board
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Places, find_places, holder_of
from affidavit.ledger.reader import head_size
from affidavit.serve.plan import ANCHOR
from affidavit.witness.attestor import anchored_sizes
from affidavit.witness.figures import read_states

_PARTS: Final = ("tree", "heads", "bodies", "headers", "sheets", "ids", "anchors")


def status(
    *,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object; `ready` and `lag_s` among its members.")
    ] = False,
) -> int:
    """Tell whether the service runs, which processes it has, how far sealing is behind, and what lies on disk.

    It reads no record, so it is not recorded, and it starts nothing.

    ```
    affidavit status
    until affidavit status --json | jq -e .ready; do sleep 0.1; done
    ```

    `ready` is true when calls are taken and sealed. Exit code 4 says that no service answers.
    """
    places = find_places(os.environ)
    answer = _answer(places)
    if json:
        print_json(answer)
    else:
        _print(answer, places)
    return OK if answer["running"] else SERVICE


def _answer(places: Places) -> dict[str, Any]:
    holder = holder_of(places)
    board = read_board(places) if holder is not None else None
    sealer = _ask_sealer(places) if board is not None else None
    everybody_ready = (
        board is not None
        and board.state == "ready"
        and all(note.state == "ready" for note in board.processes if note.role != ANCHOR)
    )
    return {
        "ready": bool(
            everybody_ready
            and board
            and board.purpose == "service"
            and sealer is not None
            and sealer.get("ready", True)
        ),
        "lag_s": None if sealer is None else sealer.get("lag_s"),
        "running": holder is not None,
        "purpose": None if holder is None else holder.purpose,
        "pid": None if holder is None else holder.pid,
        "gateway": None if board is None else board.gateway,
        "api": None if board is None else board.api,
        "processes": _processes(board),
        "pending_records": None if sealer is None else sealer.get("pending_records"),
        "open_calls": None if sealer is None else sealer.get("open_calls"),
        "overdue_calls": None if sealer is None else sealer.get("overdue_calls"),
        "problems": [] if sealer is None else sealer.get("problems", []),
        "index": None if sealer is None else sealer.get("index"),
        "masking": None if sealer is None else sealer.get("masking"),
        "logs": _sizes_of_logs(places.data),
        "anchored": _anchored(places.data),
        "witnesses": [msgspec.to_builtins(state) for state in (read_states(places.run) if holder else ())],
        "disk": _disk(places.data),
        "data": str(places.data),
        "keys": str(places.keys),
    }


def _processes(board: Board | None) -> list[dict[str, Any]]:
    if board is None:
        return []
    return [
        {"role": note.role, "pid": note.pid, "state": note.state, "restarts": note.restarts} for note in board.processes
    ]


def _ask_sealer(places: Places) -> dict[str, Any] | None:
    try:
        return sealer_status(places)
    except ServiceError:
        return None


def _sizes_of_logs(data: Path) -> dict[str, int]:
    layout = DataLayout(data)
    names = sorted(path.name for path in layout.logs.iterdir()) if layout.logs.is_dir() else []
    return {name: head_size(layout.log(name)) for name in names}


def _anchored(data: Path) -> dict[str, int]:
    """The largest size of each log for which lines of others lie here; whether they are a quorum, `verify` judges."""
    layout = DataLayout(data)
    names = sorted(path.name for path in layout.logs.iterdir()) if layout.logs.is_dir() else []
    found = {name: next(iter(anchored_sizes(layout.log(name))), None) for name in names}
    return {name: size for name, size in found.items() if size is not None}


def _disk(data: Path) -> dict[str, int]:
    """Bytes by part, as `du --apparent-size` counts them, of all logs together."""
    layout = DataLayout(data)
    parts = {"wal": _bytes_below(layout.wal), "stage": _bytes_below(layout.stage)}
    for part in _PARTS:
        parts[part] = sum(_bytes_below(path) for path in layout.logs.glob(f"*/{part}"))
    return parts


def _bytes_below(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - a million files, and Path is slow
            except FileNotFoundError:
                continue  # sealed and deleted while we looked
    return total


def _print(answer: dict[str, Any], places: Places) -> None:
    console = answers()
    if not answer["running"]:
        remark(
            "no service runs; `affidavit up` starts one. What is recorded can be verified all the same: `affidavit "
            "verify`"
        )
    else:
        state = "ready" if answer["ready"] else "not ready"
        console.print(f"{state}: process {answer['pid']}, gateway {answer['gateway'] or 'none'}", markup=False)
        _print_processes(answer)
    if answer["lag_s"] is not None:
        console.print(f"sealing is {answer['lag_s']:.1f} s behind, {answer['pending_records']} records pending")
    if answer["overdue_calls"]:
        remark(f"{answer['overdue_calls']} calls have had no outcome for an hour; `affidavit verify` names them")
    if answer["index"] is not None:
        console.print(_index_line(answer["index"]), markup=False)
    if answer["masking"] is not None:
        console.print(answer["masking"], markup=False)
    for witness in answer["witnesses"]:
        if witness["problem"] is not None:
            remark(f"problem: witness {witness['name']}: {witness['problem']}")
    for problem in answer["problems"]:
        remark(f"problem: {problem}")
    if answer["logs"]:
        console.print(", ".join(f"log {name}: {size} leaves" for name, size in answer["logs"].items()), markup=False)
        if answer["anchored"]:
            confirmed = ", ".join(f"log {name}: {size} leaves" for name, size in answer["anchored"].items())
            console.print(f"confirmed by others: {confirmed}", markup=False)
        sizes = ", ".join(f"{part} {size_text(count)}" for part, count in answer["disk"].items() if count)
        console.print(f"on disk: {sizes}", markup=False)
    board = read_board(places)
    if answer["running"] and board is not None:
        console.print(f"since {moment(board.since_us)}", markup=False)
    console.print(f"data {places.data}\nkeys {places.keys}", markup=False, soft_wrap=True)


def _index_line(index: dict[str, Any]) -> str:
    logs = index.get("logs", {})
    missing = sum(count["sealed"] - count["indexed"] for count in logs.values())
    behind = "has every sealed leaf" if not missing else f"is {missing} leaves behind"
    state = index.get("state")
    if state in {"waiting", "opening", "stopped"}:
        return f"search index: {state}"
    return f"search index: {behind}" + (f"; {index['why']}" if state == "failing" else "")


def _print_processes(answer: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("process", "pid", "state", "restarts"):
        table.add_column(name)
    for note in answer["processes"]:
        table.add_row(cell(note["role"]), cell(note["pid"]), cell(note["state"]), cell(note["restarts"]))
    answers().print(table)
