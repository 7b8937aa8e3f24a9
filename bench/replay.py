"""Real conversations through the real gateway: counted on three sides, weighed on disk, and read back byte for byte.

Promise: exit code 0 means that calls sent = requests that the provider counted = calls on record, matched by id in both
directions; that every request and response came back through an authorised read with every byte as it crossed the
client's socket; that the ledger verifies; and, for the reference file, that it lies within its limits on disk.

Required order: send → clean stop → weigh → read back → verify. What is weighed was written by the calls alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import openai
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from affidavit.api.client import list_records, show_record
from affidavit.demo.leash import running_service
from affidavit.demo.settings import with_config
from affidavit.demo.simulator.running import RunningSimulator, running_simulator
from affidavit.demo.simulator.script import load_trajectories, script_of
from affidavit.errors import AffidavitError, LayoutError
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import DATA_VARIABLE, KEYS_VARIABLE, Places, find_places
from affidavit.prove.verify import verify_directory
from affidavit.serve.reading import reading_service

ROOT: Final = Path(__file__).resolve().parents[1]
MODEL: Final = "gpt-4o"
PROJECT: Final = "default"
CLIENTS: Final = 4
"""Conversations at a time; each is sent in order, as a person would."""
READERS: Final = 32
"""Readings at a time: each waits until its access event is sealed, and a cut takes in all that are waiting."""
TIMEOUT_S: Final = 60.0
REFERENCE_SHA256: Final = "e9e6c0297660c537f83d4fd9c476ce7a9a86ecd2784874b7bfc13be598e37bfa"
"""The file for which the limits on disk were stated; another one may compress otherwise, and is only weighed."""
LIMITS_PERCENT: Final = {"bodies": 9.0, "header blocks + key sheets": 5.0, "entry bundles": 8.0}
"""Of the raw request bodies."""
PARTS: Final = {
    "bodies": ("bodies",),
    "header blocks + key sheets": ("headers", "sheets"),
    "entry bundles": ("tree/tile/entries",),
    "of them partial ones": ("tree/tile/entries/**/*.p",),
    "hash tiles": ("tree/tile/0", "tree/tile/1", "tree/tile/2"),
    "map of ids": ("ids",),
    "heads kept for a day": ("heads", "tree/checkpoint"),
}
FORMAT_HELP: Final = """FILE is a JSON array of trajectories. Each is an object with the messages of one conversation
under `traj` or `messages`, in the format of OpenAI chat completions: objects with `role` and `content`, and where they
have them `tool_calls`, `tool_call_id` and `name`. For each assistant message the messages before it are sent as one
call, not streamed and with no tools added, and the simulated provider answers with that message. Each trajectory is a
user of its own."""

Message = dict[str, Any]
Advance = Callable[[], None]


class Sent(msgspec.Struct, frozen=True):
    """A call as its client saw it."""

    request: bytes
    response: bytes


class Mismatch(AffidavitError):  # noqa: N818 - it is what was found, not what went wrong
    """Something that should be equal is not."""


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make replay", description=__doc__, epilog=FORMAT_HELP)
    parser.add_argument("file", type=Path, metavar="FILE", help="conversations to send")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of output")
    parser.add_argument("--keep", action="store_true", help="keep the ledger and say where it lies")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json, highlight=False)
    try:
        with ledger_environment(os.environ, keep=arguments.keep, console=console) as environment:
            result = replay(arguments.file, environment, console)
    except AffidavitError as error:
        sys.stderr.write(f"replay: {error}\n")
        return 1
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 0 if result["ok"] else 1


@contextlib.contextmanager
def ledger_environment(environment: Mapping[str, str], *, keep: bool, console: Console) -> Iterator[dict[str, str]]:
    """Two directories that hold nothing yet: those that the environment names, else fresh ones that go afterwards."""
    if environment.get(DATA_VARIABLE):
        data = find_places(environment).data
        if DataLayout(data).format_file.exists():
            raise LayoutError(f"{data} holds a ledger already, and what is weighed must be the replay alone")
        yield dict(environment)
        return
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        if keep:
            place = tempfile.mkdtemp(prefix="replay-", dir=build)
            console.print(f"the ledger stays in {place}", markup=False)
        else:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-", dir=build))
        yield {**environment, DATA_VARIABLE: f"{place}/data", KEYS_VARIABLE: f"{place}/keys"}


def replay(file: Path, environment: Mapping[str, str], console: Console) -> dict[str, Any]:
    """All of it; what `--json` prints."""
    conversations = load_trajectories(file)
    turns = sum(message["role"] == "assistant" for conversation in conversations for message in conversation)
    console.print(f"{len(conversations)} conversations, {turns} assistant turns", markup=False)
    is_reference = sha256(file.read_bytes()).hexdigest() == REFERENCE_SHA256
    places = find_places(environment)
    timings: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="affidavit-replay-") as scratch,
        running_simulator(script=script_of(conversations), unscripted="refuse") as provider,
    ):
        configured = with_config(environment, provider_url=provider.url, path=Path(scratch) / "affidavit.toml")
        with timed(timings, "send"), running_service(configured) as service, bar("sending", turns) as advance:
            calls = send(conversations, gateway=service.gateway, advance=advance)
        require_counted(calls, turns=turns, provider=provider)
        raw = sum(len(call.request) for call in calls.values())
        weighed = weigh(places.data)
        ok = print_weighed(weighed, raw=raw, console=console, limits=LIMITS_PERCENT if is_reference else {})
        with reading_service(places, environment=configured):
            require_recorded(calls, places)
            with timed(timings, "read"), bar("reading back", turns) as advance:
                require_same_bytes(calls, places, advance)
    report = verify_directory(places.data, vkeys=places.system_vkeys.read_bytes())
    if not report.holds:
        raise Mismatch(f"the ledger does not verify: integrity {report.integrity}, {len(report.findings)} findings")
    console.print(
        f"{turns} calls sent = counted by the provider = on record, each by its id; every request and response came "
        f"back byte for byte; {report.size} leaves verify",
        markup=False,
    )
    parts = {part: {"bytes": size, "percent": round(100 * size / raw, 3)} for part, size in weighed.items()}
    return {
        "name": "replay",
        "ok": ok,
        "calls": turns,
        "raw_bytes": raw,
        "disk": parts,
        "leaves": report.size,
        "seconds": {name: round(seconds, 2) for name, seconds in timings.items()},
    }


def send(conversations: Sequence[Sequence[Message]], *, gateway: str, advance: Advance) -> dict[str, Sent]:
    """Send every assistant turn's request; the calls by their `x-affidavit-id`."""
    calls: dict[str, Sent] = {}
    with openai.OpenAI(
        api_key="sk-replay", base_url=f"{gateway}/openai/v1", max_retries=0, timeout=TIMEOUT_S
    ) as client:

        def converse(number: int) -> None:
            conversation = conversations[number]
            for index, message in enumerate(conversation):
                if message["role"] != "assistant":
                    continue
                raw = client.chat.completions.with_raw_response.create(
                    messages=conversation[:index],  # type: ignore[arg-type]  # as they were recorded
                    model=MODEL,
                    extra_headers={"x-affidavit-user": f"trajectory-{number}"},
                )
                call_id = raw.headers["x-affidavit-id"]
                if call_id in calls:
                    raise Mismatch(f"the gateway gave the id {call_id} twice")
                calls[call_id] = Sent(raw.http_response.request.content, raw.content)
                require_turn(raw.parse().choices[0].message, message, call_id)
                advance()

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(converse, range(len(conversations))))
    return calls


def require_turn(answered: Any, recorded: Message, call_id: str) -> None:  # noqa: ANN401 - the client's own type
    """The official client read the turn that was recorded."""
    calls = [(call.id, call.function.name, call.function.arguments) for call in answered.tool_calls or ()]
    expected = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in recorded.get("tool_calls") or ()
    ]
    if answered.content != recorded["content"] or calls != expected:
        raise Mismatch(f"call {call_id} was answered with another turn than the recorded one")


def require_counted(calls: Mapping[str, Sent], *, turns: int, provider: RunningSimulator) -> None:
    """The provider got every call that was sent, once, and no other."""
    counted = provider.tally.snapshot()
    if not turns == len(calls) == counted.received:
        raise Mismatch(f"{turns} turns, {len(calls)} calls sent, {counted.received} counted by the provider")
    sent = Counter(sha256(call.request).digest() for call in calls.values())
    if sent != Counter(provider.tally.bodies()):
        raise Mismatch("the provider counted other request bodies than the client sent")


def require_recorded(calls: Mapping[str, Sent], places: Places) -> None:
    """Each call has one intent and one outcome on record, and there are no others."""
    for kind in (LLM_REQUEST, LLM_RESPONSE):
        found = Counter(row["call"] for row in list_records(places, logs=(PROJECT,), types=(kind,)))
        missing, other = calls.keys() - found.keys(), found.keys() - calls.keys()
        twice = [call for call, count in found.items() if count > 1]
        if missing or other or twice:
            raise Mismatch(f"{kind}: {len(missing)} missing, {len(other)} that nobody sent, {len(twice)} twice")


def require_same_bytes(calls: Mapping[str, Sent], places: Places, advance: Advance) -> None:
    """Every request and response comes back as it crossed the client's socket."""

    def read(call_id: str) -> None:
        shown = {record.row["type"]: record.wire for record in show_record(places, record_id=call_id, view="wire")}
        call = calls[call_id]
        if shown != {LLM_REQUEST: call.request, LLM_RESPONSE: call.response}:
            raise Mismatch(f"call {call_id} did not come back byte for byte")
        advance()

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, calls))


def weigh(data: Path) -> dict[str, int]:
    """Apparent size of each part of all logs, directories included, as `du --apparent-size` counts."""
    logs = [path for path in DataLayout(data).logs.iterdir() if path.is_dir()]
    weighed = {
        part: sum(_size(path) for log in logs for place in places for path in log.glob(place))
        for part, places in PARTS.items()
    }
    weighed["everything"] = _size(data)
    return weighed


def _size(path: Path) -> int:
    return path.stat().st_size + sum(inner.lstat().st_size for inner in path.rglob("*"))


def print_weighed(weighed: Mapping[str, int], *, raw: int, console: Console, limits: Mapping[str, float]) -> bool:
    """Print every part; whether all are within their limits."""
    console.print(f"raw request bodies: {raw:,} bytes", markup=False)
    within = True
    for part, size in weighed.items():
        percent, limit = 100 * size / raw, limits.get(part)
        verdict = "" if limit is None else f"  (limit {limit:g} %: {'ok' if percent <= limit else 'TOO MUCH'})"
        within = within and (limit is None or percent <= limit)
        console.print(f"  {part:<27} {size:>11,} bytes  {percent:6.2f} %{verdict}", markup=False)
    return within


@contextlib.contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Seconds that the block takes."""
    began = time.monotonic()
    yield
    timings[name] = time.monotonic() - began


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Advance]:
    """A progress bar on standard error, while that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())
