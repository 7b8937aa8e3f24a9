"""The guided tour, chapter by chapter: real calls through the real gateway, and then an editor of records.

Promise: it checks what it shows. Whatever does not hold is marked and makes the exit code 1. It leaves a sealed ledger,
no process and no file of its own in the data directory.

Required order: places → morning's calls → stop, old copy → afternoon's calls → reading → stop → the
user's own configuration back in force → verify → damage copies → what to try. On a terminal, and not with `once`,
gateway and simulated provider then stay up.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any, Final

import msgspec

from affidavit.api.client import Shown, list_records, show_record
from affidavit.demo.clients import KEY, Made, official_clients
from affidavit.demo.damage import PROJECT, Damage, change_body, change_leaf, put_back
from affidavit.demo.display import Display, short
from affidavit.demo.leash import running_service
from affidavit.demo.scenario import AFTERNOON, CONVERSATIONS, MORNING, Step
from affidavit.demo.settings import Form, Mode, tour_environment, with_config
from affidavit.demo.simulator.running import RunningSimulator, running_simulator
from affidavit.demo.simulator.script import script_of
from affidavit.errors import LayoutError, NotFoundError
from affidavit.event import LLM_RESPONSE
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import DATA_VARIABLE, KEYS_VARIABLE, Places, find_config, find_places
from affidavit.prove.report import Report
from affidavit.prove.verify import verify_directory
from affidavit.serve.reading import reading_service

LEDGER_BYTES_MAX: Final = 1 << 30
"""The tour copies the ledger that it uses, to damage the copies."""
SHOWN: Final = 1
"""Which of the calls is shown whole: the answer that was streamed."""
LOOK_S: Final = 0.5
"""How often the last chapter looks whether its service still runs."""
_CURL: Final = (
    "-H 'authorization: Bearer any' -H 'content-type: application/json' "
    """-d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello?"}]}'"""
)


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold."""

    what: str
    ok: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The tour as `--json` tells it."""

    ok: bool
    calls: int
    data: str
    keys: str
    checks: tuple[Check, ...]


def take_tour(*, environment: Mapping[str, str], mode: Mode, form: Form) -> int:
    """Take the tour; returns the exit code.

    `stay` keeps the service up at the end if there is a terminal on both sides, since a script would wait for ever.
    """
    display = Display(sys.stdout if form == "text" else sys.stderr)
    own = tour_environment(environment)
    _require_small(find_places(own).data)
    stays = mode == "stay" and form == "text" and sys.stdin.isatty() and sys.stdout.isatty()
    with (
        tempfile.TemporaryDirectory(prefix="affidavit-demo-") as scratch,
        running_simulator(script=script_of(CONVERSATIONS)) as provider,
    ):
        tour = _Tour(
            display=display,
            own=own,
            environment=with_config(own, provider_url=provider.url, path=Path(scratch) / "affidavit.toml"),
            scratch=Path(scratch),
            provider=provider,
        )
        tour.take()
        tour.hints(named=environment)
        if stays:
            tour.stay()
        else:
            display.say("Nothing is left running.")
    if form == "json":
        sys.stdout.write(msgspec.json.encode(tour.summary()).decode() + "\n")
    return 0 if tour.summary().ok else 1


def _require_small(data: Path) -> None:
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) if data.is_dir() else 0
    if size > LEDGER_BYTES_MAX:
        raise LayoutError(
            f"{data} holds {size >> 20} MiB, and the tour would copy it to damage the copy. Name another directory "
            f"with {DATA_VARIABLE}, or none; nothing was started"
        )


class _Tour:
    """One tour, chapter by chapter."""

    def __init__(
        self,
        *,
        display: Display,
        own: Mapping[str, str],
        environment: Mapping[str, str],
        scratch: Path,
        provider: RunningSimulator,
    ) -> None:
        self._display: Final = display
        self._own: Final = own
        self._environment: Final = environment
        self._scratch: Final = scratch
        self._provider: Final = provider
        self._places: Final[Places] = find_places(own)
        self._made: list[Made] = []
        self._checks: list[Check] = []
        self._leaf_of_answer = 0
        self._began_s = time.monotonic()

    @property
    def _recorded(self) -> list[Made]:
        """Calls that must be on record."""
        return [made for made in self._made if made.step.outcome is not None]

    def take(self) -> None:
        """All chapters."""
        display = self._display
        display.chapter("Calls go through the gateway")
        display.say(
            "A simulated provider and a gateway start on this machine. A support desk's program uses the official "
            "openai and anthropic packages; only their base_url is changed."
        )
        self._send(MORNING, first=True)
        older = self._scratch / "older"
        copytree(self._places.data, older)
        self._send(AFTERNOON, first=False)
        self._restore_config()
        self._verify()
        self._damage(older)

    def summary(self) -> Summary:
        """What `--json` prints."""
        return Summary(
            ok=all(check.ok for check in self._checks),
            calls=len(self._recorded),
            data=str(self._places.data),
            keys=str(self._places.keys),
            checks=tuple(self._checks),
        )

    # --- chapters -----------------------------------------------------------------------------------------------------

    def _send(self, steps: tuple[Step, ...], *, first: bool) -> None:
        with running_service(self._environment) as service:
            if first:
                self._display.places(
                    (
                        ("provider", self._provider.url),
                        ("gateway", service.gateway),
                        ("records", str(self._places.data)),
                        ("keys", str(self._places.keys) + (" (new)" if service.first_start else "")),
                    )
                )
                self._display.say("")
            with official_clients(service.gateway) as clients:
                for step in steps:
                    made = clients.make(step)
                    self._made.append(made)
                    self._display.made(made)
            if not first:
                self._read()
        self._check_quietly("the service stopped cleanly", service.clean)

    def _read(self) -> None:
        display, recorded = self._display, self._recorded
        steps = {made.id: made.step for made in recorded}
        display.chapter("What is on record")
        display.say("Header values only, and never content: this is what `affidavit list` reads.")
        rows = [
            row
            for row in list_records(self._places, logs=(PROJECT,), types=(LLM_RESPONSE,), limit=2 * len(self._made))
            if row["call"] in steps
        ]
        display.calls(rows, steps)
        outcomes = {row["call"]: row["outcome"] for row in rows}
        self._check(
            f"each of the {len(recorded)} calls is on record once, with the outcome that its client saw",
            len(rows) == len(recorded) and all(outcomes.get(made.id) == made.step.outcome for made in recorded),
        )
        self._check(
            "the provider counted the same calls and no others; the call to nowhere was refused and not sent",
            self._provider.tally.received == len(recorded) and all(map(self._was_refused, self._made)),
        )
        self._show(recorded[SHOWN])
        self._check_bytes()

    def _show(self, made: Made) -> None:
        display = self._display
        display.chapter("One call, in full")
        display.say(f"affidavit show {made.id}", style="bold")
        request, response = self._shown(made)
        display.call(request.row, response.row)
        display.say("")
        display.say(
            "The content lies encrypted beside the log. Its owner gets the exact bytes with `--wire`, and that reading "
            "is itself on record. The client had put them together to:"
        )
        display.quote(made.text)
        self._leaf_of_answer = int(response.row["leaf"])

    def _check_bytes(self) -> None:
        bodies = self._provider.tally.bodies()
        sent = received = True
        for made in self._recorded:
            request, response = self._shown(made)
            sent = sent and request.wire == made.sent and sha256(made.sent).digest() in bodies
            received = received and (made.received is None or response.wire == made.received)
        self._check("every request comes back byte for byte as the client sent it and the provider got it", sent)
        self._check("every whole answer comes back byte for byte as the client received it", received)
        secrets = (KEY.encode(), b"brass lamp", b"banker lamp")
        files = [path for root in (self._places.data, self._places.keys) for path in root.rglob("*") if path.is_file()]
        self._check(
            "neither the API key nor a word of the conversations is in any file in clear",
            not any(secret in path.read_bytes() for path in files for secret in secrets),
        )

    def _verify(self) -> None:
        display = self._display
        display.chapter("Is it intact?")
        display.say("affidavit verify", style="bold")
        report = self._verdict(self._places.data)
        display.verdicts((f"{report.size} leaves", report) for _ in range(1))
        display.say(
            "The anchor is WARN, because nobody else has seen this history yet: its owner could have made another one. "
            "Somebody else keeps a copy of the newest head, and with that pin:"
        )
        display.say("affidavit verify --pin HEAD", style="bold")
        pinned = self._verdict(self._places.data, pins=self._heads())
        display.verdicts((f"{report.size} leaves", pinned) for _ in range(1))
        self._check("the ledger is intact, and with a pin it is anchored", report.holds and pinned.is_anchored)

    def _damage(self, older: Path) -> None:
        display = self._display
        display.chapter("Somebody edits a copy")
        display.say("With every right on the machine, but without what others have seen:")
        deeds = (
            Damage(what="One bit of a recorded answer is changed.", do=partial(change_body, leaf=self._leaf_of_answer)),
            Damage(what="One call is dated some seconds away.", do=change_leaf),
            Damage(
                what="Everything since noon vanishes: an old copy, signatures and all, is put back.",
                do=partial(put_back, older=older),
            ),
        )
        pins, found = self._heads(), True
        for number, deed in enumerate(deeds):
            copy = self._scratch / f"copy-{number}"
            copytree(self._places.data, copy)
            deed.do(copy)
            report = self._verdict(copy, pins=pins)
            display.say("")
            display.say(deed.what, style="bold")
            display.verdicts((f"{report.size} leaves", report) for _ in range(1))
            display.findings(report, most=2)
            found = found and not report.holds and any(finding.verdict == "FAIL" for finding in report.findings)
        display.say("")
        self._check("each of the three is found out", found)

    def hints(self, *, named: Mapping[str, str]) -> None:
        """What to try next."""
        display, places = self._display, self._places
        display.chapter("What to try next")
        made = self._recorded[SHOWN]
        rows = [
            (f"affidavit show {made.id} --wire", "the exact bytes of one call"),
            (f"affidavit proof {made.id} -o call", "a proof for a stranger, who needs none of our code"),
            ("affidavit list", "everything on record: your readings, too"),
            ("affidavit verify", "the whole check again"),
        ]
        settings = [
            f"{name}={shlex.quote(str(path))}"
            for name, path in ((DATA_VARIABLE, places.data), (KEYS_VARIABLE, places.keys))
            if named.get(name) != str(path)
        ]
        if settings:
            rows.insert(0, ("export " + " ".join(settings), "this ledger, and not your own"))
        display.commands(rows)
        display.say("")
        display.say(
            "For real: `affidavit up` in a fresh shell, then any program with a real key and "
            "OPENAI_BASE_URL=http://127.0.0.1:8321/openai/v1."
        )
        seconds = time.monotonic() - self._began_s
        failed = [check.what for check in self._checks if not check.ok]
        display.say("")
        if failed:
            display.say(f"{len(failed)} of {len(self._checks)} checks failed.", style="bold red")
        else:
            display.say(f"All {len(self._checks)} checks held, in {seconds:.0f} s.", style="green")
        display.places((("ledger", short(places.data, home=named.get("HOME", ""))),))

    def stay(self) -> None:
        """Keep gateway and provider up until Ctrl-C."""
        display = self._display
        display.chapter("Try it yourself")
        try:
            with running_service(self._environment) as service:
                display.say("Gateway and simulated provider are up again, until Ctrl-C. Any key will do:")
                display.commands(
                    (
                        (f"export OPENAI_BASE_URL={service.gateway}/openai/v1 OPENAI_API_KEY=any", ""),
                        (f"export ANTHROPIC_BASE_URL={service.gateway}/anthropic ANTHROPIC_API_KEY=any", ""),
                        (f"curl {service.gateway}/openai/v1/chat/completions {_CURL}", "or without any package"),
                    )
                )
                while service.is_up():
                    time.sleep(LOOK_S)
        except KeyboardInterrupt:
            display.say("")
            display.say("Stopped: everything is sealed.")
        finally:
            self._restore_config()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _restore_config(self) -> None:
        """Put the user's own configuration back into force, on record, where the ledger has one."""
        if find_config(self._own, self._places) is not None:
            with reading_service(self._places, environment=self._own):
                pass

    def _shown(self, made: Made) -> tuple[Shown, Shown]:
        request, response = show_record(self._places, record_id=made.id, view="wire")
        return request, response

    def _was_refused(self, made: Made) -> bool:
        """Whether a call that must not be sent was not: there is no record of it, or one that says so."""
        if made.step.outcome is not None:
            return True
        try:
            rows: list[dict[str, Any]] = [
                shown.row for shown in show_record(self._places, record_id=made.id, view="header")
            ]
        except NotFoundError:
            return made.status >= 400  # noqa: PLR2004 - the client was told
        return {row.get("outcome") for row in rows} <= {None, "refused"}

    def _heads(self) -> tuple[bytes, ...]:
        """The newest head of each log, as somebody else would keep them."""
        logs = sorted(path for path in DataLayout(self._places.data).logs.iterdir() if path.is_dir())
        return tuple((log / "tree" / "checkpoint").read_bytes() for log in logs)

    def _verdict(self, data: Path, *, pins: tuple[bytes, ...] = ()) -> Report:
        return verify_directory(data, vkeys=self._places.system_vkeys.read_bytes(), pins=pins)

    def _check(self, what: str, holds: bool) -> None:  # noqa: FBT001 - a verdict, not a switch
        self._check_quietly(what, holds)
        self._display.check(what, holds=int(holds))

    def _check_quietly(self, what: str, holds: bool) -> None:  # noqa: FBT001 - the same
        self._checks.append(Check(what, holds))
