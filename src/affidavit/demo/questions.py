"""The chapters that ask: searching, who has read, what it cost, and five questions that an auditor brings.

Promise: what must be found is known from the scenario, call by call, so that a search which finds less or more is told.
Only calls of this tour are judged; a ledger that was there before may hold others that match as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from affidavit.demo.asking import Asker
from affidavit.demo.checks import Checks
from affidavit.demo.clients import Made
from affidavit.demo.display import Display
from affidavit.demo.personal import EMAIL, planted_in
from affidavit.demo.scenario import (
    BILLING,
    DRAWING,
    DRAWING_AGAIN,
    LISTING,
    PASTING,
    PAYING,
    REFUNDING,
    VERSION_4,
    WAITING_FOR,
    Step,
)
from affidavit.event import LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.masked import MaskedRow

REQUESTS: Final = f"type:{LLM_REQUEST}"
ANSWERS: Final = f"type:{LLM_RESPONSE}"
BYTES_SHOWN: Final = 160


class Questions:
    """Asks what the chapters ask, of a service that runs."""

    def __init__(self, *, asker: Asker, display: Display, checks: Checks, recorded: Sequence[Made]) -> None:
        self._asker: Final = asker
        self._display: Final = display
        self._checks: Final = checks
        self._recorded: Final = recorded
        self._found_all = True
        self._mark = ""

    # --- chapters -----------------------------------------------------------------------------------------------------

    def search(self) -> None:
        """By who, by words, by what was found in it, by version of a prompt."""
        display = self._display
        display.chapter("Search it")
        display.say(
            "What can be searched is masked: cards, accounts, addresses, numbers and secrets are replaced by marks, "
            "equal ones by equal marks. The commands print more columns than fit here."
        )
        self._find("By user:", "user:clerk-2", REQUESTS, wanted=lambda step: step.user == "clerk-2")
        self._find(
            "By team and word:",
            *("team:billing", "refund"),
            wanted=lambda step: step.team == BILLING and "refund" in str(step.parameters["messages"]),
        )
        self._find("By what masking found:", "finding:CARD", wanted=lambda step: step is PAYING)
        self._find("", "finding:SECRET", wanted=lambda step: step is PASTING)
        self._find(
            "By version of the prompt:",
            *(f"prompt:{VERSION_4}", ANSWERS),
            wanted=lambda step: step.prompt == VERSION_4,
        )
        self._checks.check("each search found exactly the calls that it had to find", holds=self._found_all)

    def show(self) -> int:
        """One call, masked, and its exact bytes; returns the leaf of its answer."""
        display, made = self._display, self._of(REFUNDING)
        display.chapter("One call, in full")
        request, response = self._asker.show(made.id)
        marks = _marks(request.row["content"]), _marks(response.row["content"])
        self._mark = next((mark for mark in marks[0] if mark.startswith("<EMAIL:")), "")
        self._checks.check(
            "account and address have marks, in the answer the same ones as in the request",
            holds=len(marks[1]) == 2 and marks[0] == marks[1],  # noqa: PLR2004 - an account and an address
        )
        display.say("The content lies encrypted beside the log. Its owner gets the exact bytes:")
        data = self._asker.request_bytes(made.id)
        display.quote(_line_with(data, EMAIL))
        self._checks.check("they are what the client had sent, byte for byte", holds=data == made.sent)
        return int(response.row["leaf"])

    def who_read(self) -> None:
        """The readings of the tour itself."""
        display, made = self._display, self._of(REFUNDING)
        display.chapter("Who has read what")
        display.say("Reading is on record before anything is shown. Who has opened that call?")
        rows = self._asker.search("type:access.read", f'"{made.id}"')
        display.say("And who has searched, for what?")
        searches = self._asker.search("type:access.search")
        asked = "\n".join(row.text for row in searches)
        self._checks.check(
            "the readings and searches of this tour are among them",
            holds={row.view for row in rows} >= {"masked", "wire"} and "finding:CARD" in asked,
        )

    def spend(self) -> None:
        """What it cost, by team and model."""
        display = self._display
        display.chapter("What it cost")
        display.say("At the list price of the day. What has no price is counted apart and never as nothing.")
        rows = self._asker.stats(ANSWERS, by="team,model")
        self._checks.check(
            "the counts by team and model are those of the calls that were made",
            holds=_is_counted(rows, self._recorded),
        )

    def questions(self) -> None:
        """Four of the five; the fifth is for the verifier."""
        display = self._display
        made = self._of(WAITING_FOR)
        self._question("The exact bytes received from the provider for answer X?")
        data = self._asker.answer_bytes(made.id)
        display.quote(data[:BYTES_SHOWN].decode(errors="replace") + " …")
        right = data == made.received
        self._question("Prompts that look for customer identifiers, by actor?")
        wanted = {self._of(step).id for step in (LISTING, DRAWING, DRAWING_AGAIN)}
        right = self._is_found(self._asker.search("identifiers", "customer", REQUESTS), wanted) and right
        display.say("Found by their words: a paraphrase that shares none of them is not found like this.", style="dim")
        self._question("All events about data subject S?")
        wanted = {made.id for made in self._recorded if EMAIL in str(made.step.parameters) + made.text}
        right = self._is_found(self._asker.search(self._mark, most=len(wanted) * 2), wanted) and right
        display.say("S is known by an address, and the address by its mark.", style="dim")
        self._question("Spend by team, app, user, model, and the part nobody owns?")
        rows = self._asker.stats(ANSWERS, by="team,app,user,model")
        right = any(row["team"] is None or row["team"] == "" for row in rows) and right
        self._checks.check("the answers are those that the scenario gives", holds=right)

    def check_masked(self) -> None:
        """That nothing planted was shown in a masked answer."""
        self._checks.check(
            "no search and no masked view showed a card, account, address, number, date of birth or key",
            holds=not any(planted_in(answer) for answer in self._asker.masked),
        )

    # --- inside -------------------------------------------------------------------------------------------------------

    def _question(self, text: str) -> None:
        self._display.say("")
        self._display.say(text, style="bold")

    def _of(self, step: Step) -> Made:
        return next(made for made in self._recorded if made.step is step)

    def _find(self, how: str, *words: str, wanted: Callable[[Step], bool]) -> None:
        if how:
            self._display.say(how)
        rows = self._asker.search(*words)
        expected = {made.id for made in self._recorded if wanted(made.step)}
        self._found_all = self._is_found(rows, expected) and self._found_all

    def _is_found(self, rows: Iterable[MaskedRow], wanted: set[str]) -> bool:
        """Whether exactly these of the tour's calls were found."""
        return {row.call for row in rows} & {made.id for made in self._recorded} == wanted


_MARK: Final = re.compile(r"<[A-Z]+:[a-z2-7]{6}>")


def _marks(content: object) -> set[str]:
    """The marks that stand for values in a masked part."""
    return set(_MARK.findall(str(content)))


def _line_with(data: bytes, value: str) -> str:
    """The surroundings of a value in a body."""
    text = data.decode(errors="replace")
    at = max(0, text.find(value) + len(value) - BYTES_SHOWN)
    return "… " + text[at : at + BYTES_SHOWN] + " …"


def _is_counted(rows: Sequence[Mapping[str, Any]], recorded: Sequence[Made]) -> bool:
    """Whether each group has at least the calls of this tour."""
    made = Counter(one.step.team for one in recorded)
    counted: Counter[str | None] = Counter()
    for row in rows:
        counted[row["team"] or None] += int(row["calls"])
    return all(counted[team] >= calls for team, calls in made.items())
