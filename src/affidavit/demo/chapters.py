"""The guided tour, chapter by chapter: real calls through the real gateway, and then an editor of records.

Promise: it checks what it shows. Whatever does not hold is marked and makes the exit code 1. It leaves a sealed ledger,
no process and no file of its own in the data directory.

Required order: places → morning's calls → stop, old copy → afternoon's calls → reading and searching → stop → the
user's own configuration back in force, since `verify` compares it with what is on record → verify → damage copies →
five questions → what to try. On a terminal, and not with `once`, gateway and simulated provider then stay up.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from affidavit.api.client import Shown, list_records, show_record
from affidavit.demo.asking import Asker
from affidavit.demo.checks import Checks, Summary
from affidavit.demo.clients import KEY, Made, official_clients
from affidavit.demo.conversations import CONVERSATIONS
from affidavit.demo.damage import PROJECT, Damage, change_body, change_leaf, copy_ledger, put_back
from affidavit.demo.display import Display, short
from affidavit.demo.leash import running_service
from affidavit.demo.personal import planted_in
from affidavit.demo.questions import Questions
from affidavit.demo.scenario import AFTERNOON, MORNING, WAITING_FOR, Step
from affidavit.demo.settings import Form, Mode, tour_environment, with_config
from affidavit.demo.simulator.running import RunningSimulator, running_simulator
from affidavit.demo.simulator.script import script_of
from affidavit.demo.witness import RunningWitness, running_witness
from affidavit.errors import LayoutError, NotFoundError
from affidavit.event import LLM_RESPONSE
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import DATA_VARIABLE, KEYS_VARIABLE, Places, find_config, find_places
from affidavit.prove.report import Report
from affidavit.prove.verify import verify_directory
from affidavit.serve.reading import reading_service

LEDGER_BYTES_MAX: Final = 1 << 30
"""The tour copies the ledger that it uses, to damage the copies."""
LISTED: Final = 8
"""How many of the calls are listed; the rest is counted."""
LOOK_S: Final = 0.5
"""How often the last chapter looks whether its service still runs."""
_CURL: Final = (
    "-H 'authorization: Bearer any' -H 'content-type: application/json' "
    """-d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello?"}]}'"""
)


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
        running_witness(Path(scratch) / "witness") as witness,
    ):
        tour = _Tour(
            display=display,
            own=own,
            environment=with_config(
                own, provider_url=provider.url, path=Path(scratch) / "affidavit.toml", witness=witness.settings
            ),
            scratch=Path(scratch),
            provider=provider,
            witness=witness,
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


def _contents(*roots: Path) -> Iterator[bytes]:
    """What each file below some directories holds; one that is sealed away or merged meanwhile is left out."""
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in names:
                path = Path(directory, name)
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file():
                        yield path.read_bytes()


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
        witness: RunningWitness,
    ) -> None:
        self._display: Final = display
        self._own: Final = own
        self._environment: Final = environment
        self._scratch: Final = scratch
        self._provider: Final = provider
        self._witness: Final = witness
        self._places: Final[Places] = find_places(own)
        self._made: list[Made] = []
        self._checks: Final = Checks(display)
        self._leaf_of_answer = 0
        self._asking: Questions | None = None  # when all calls are made
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
            "A simulated provider and a gateway start on this machine. A support desk's programs use the official "
            "openai and anthropic packages; only their base_url is changed. Two teams ask, some with documents in the "
            "prompt and some with personal data; somebody tries to get data out, and the prompt is changed for that."
        )
        self._send(MORNING, first=True)
        older = self._scratch / "older"
        copy_ledger(self._places.data, older)
        self._send(AFTERNOON, first=False)
        self._restore_config()
        self._verify()
        self._damage(older)
        self._answer()

    def summary(self) -> Summary:
        """What `--json` prints."""
        return Summary(
            ok=not self._checks.failed,
            calls=len(self._recorded),
            data=str(self._places.data),
            keys=str(self._places.keys),
            checks=self._checks.all,
        )

    # --- chapters -----------------------------------------------------------------------------------------------------

    def _send(self, steps: tuple[Step, ...], *, first: bool) -> None:
        self._witness.meet(self._places.public)
        with running_service(self._environment) as service:
            self._witness.meet(self._places.public)  # its logs are born at the first start
            if first:
                self._display.places(
                    (
                        ("provider", self._provider.url),
                        ("gateway", service.gateway),
                        ("witness", self._witness.url),
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
        self._checks.quietly("the service stopped cleanly", holds=service.clean)

    def _read(self) -> None:
        display, recorded = self._display, self._recorded
        ids = {made.id for made in recorded}
        display.chapter("What is on record")
        display.say("Header values only, and never content: this is what `affidavit list` reads.")
        rows = [
            row
            for row in list_records(self._places, logs=(PROJECT,), types=(LLM_RESPONSE,), limit=2 * len(self._made))
            if row["call"] in ids
        ]
        display.calls(rows[-LISTED:])
        outcomes = {row["call"]: row["outcome"] for row in rows}
        self._checks.check(
            f"each of the {len(recorded)} calls is on record once, with the outcome that its client saw",
            holds=len(rows) == len(recorded) and all(outcomes.get(made.id) == made.step.outcome for made in recorded),
        )
        self._checks.check(
            "the provider counted the same calls and no others; the call to nowhere was not sent",
            holds=self._provider.tally.received == len(recorded) and all(map(self._was_refused, self._made)),
        )
        questions = self._questions()
        questions.search()
        self._leaf_of_answer = questions.show()
        questions.who_read()
        questions.spend()
        self._check_bytes()

    def _check_bytes(self) -> None:
        self._display.say("")
        bodies = self._provider.tally.bodies()
        sent = received = True
        for made in self._recorded:
            request, response = self._shown(made)
            sent = sent and request.wire == made.sent and sha256(made.sent).digest() in bodies
            received = received and (made.received is None or response.wire == made.received)
        self._checks.check(
            "every request comes back byte for byte as the client sent it and the provider got it", holds=sent
        )
        self._checks.check("every whole answer comes back byte for byte as the client received it", holds=received)
        self._check_files()

    def _check_files(self) -> None:
        secrets = (KEY.encode(), b"brass lamp", b"banker lamp")
        contents = list(_contents(self._places.data, self._places.keys))
        self._checks.check(
            "no file holds the API key, a word of the conversations or a planted value in clear",
            holds=bool(contents)
            and not any(planted_in(content) or any(map(content.__contains__, secrets)) for content in contents),
        )

    def _verify(self) -> None:
        display = self._display
        display.chapter("Is it intact?")
        display.command("verify")
        report = self._verdict(self._places.data)
        display.verdicts((f"{report.size} leaves", report) for _ in range(1))
        display.say(
            "The anchor is WARN, because nothing says whose word counts: the owner of this history could have made "
            "another one. A witness ran beside the tour and cosigned its newest heads; with a policy that names it:"
        )
        witnessed = self._verdict(self._places.data, policy=self._witness.policy)
        display.verdicts((f"{report.size} leaves", witnessed) for _ in range(1))
        display.say(
            "It is a witness of one's own, which proves less: whoever owns this machine owns both, and could start "
            "over with both. Somebody else keeps a copy of the newest head, and with that pin:"
        )
        display.command("verify", "--pin", "HEAD")
        pinned = self._verdict(self._places.data, pins=self._heads())
        display.verdicts((f"{report.size} leaves", pinned) for _ in range(1))
        # Where the user's own configuration was put back into force, that is on record behind the last cosigned head.
        anchored = witnessed.is_anchored or find_config(self._own, self._places) is not None
        self._checks.check(
            "the ledger is intact, its own witness anchors it, and so does a pin",
            holds=report.holds and anchored and witnessed.holds and pinned.is_anchored,
        )

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
            copy_ledger(self._places.data, copy)
            deed.do(copy)
            report = self._verdict(copy, pins=pins)
            display.say("")
            display.say(deed.what, style="bold")
            display.verdicts((f"{report.size} leaves", report) for _ in range(1))
            display.findings(report, most=2)
            found = found and not report.holds and any(finding.verdict == "FAIL" for finding in report.findings)
        display.say("")
        self._checks.check("each of the three is found out", holds=found)

    def _answer(self) -> None:
        """Five questions, each with the command that answers it."""
        display = self._display
        display.chapter("Five questions")
        display.say("As an auditor would ask them. Below each is the command that answers it, and what it says.")
        with reading_service(self._places, environment=self._own):
            self._questions().questions()
        self._questions().check_masked()
        display.say("")
        display.say("Missing sequence numbers, late events?", style="bold")
        display.command("verify")
        report = self._verdict(self._places.data)
        display.verdicts((f"{report.size} leaves", report) for _ in range(1))
        self._checks.check("no number is missing", holds=report.completeness == "OK")

    def hints(self, *, named: Mapping[str, str]) -> None:
        """What to try next."""
        display, places = self._display, self._places
        display.chapter("What to try next")
        made = next(made for made in self._recorded if made.step is WAITING_FOR)
        rows = [
            (f"affidavit show {made.id} --wire", "the exact bytes of one call"),
            (f"affidavit proof {made.id} -o call", "a proof for a stranger, who needs none of our code"),
            ("affidavit search finding:EMAIL since:1h", "what was said, masked"),
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
        failed = self._checks.failed
        display.say("")
        if failed:
            display.say(f"{len(failed)} of {len(self._checks.all)} checks failed.", style="bold red")
        else:
            display.say(f"All {len(self._checks.all)} checks held, in {seconds:.0f} s.", style="green")
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

    def _verdict(self, data: Path, *, pins: tuple[bytes, ...] = (), policy: bytes | None = None) -> Report:
        return verify_directory(data, vkeys=self._places.system_vkeys.read_bytes(), pins=pins, policy=policy)

    def _questions(self) -> Questions:
        if self._asking is None:
            asker = Asker(places=self._places, display=self._display)
            self._asking = Questions(
                asker=asker, display=self._display, checks=self._checks, recorded=tuple(self._recorded)
            )
        return self._asking
