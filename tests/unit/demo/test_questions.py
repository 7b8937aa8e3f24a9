"""A search that finds less or more than it must is told; what a ledger held before is not judged."""

import io
from typing import Any, cast

import pytest

from affidavit.demo.asking import Asker
from affidavit.demo.checks import Checks
from affidavit.demo.clients import Made
from affidavit.demo.display import Display
from affidavit.demo.personal import CARD
from affidavit.demo.questions import Questions
from affidavit.demo.scenario import AFTERNOON, MORNING, Step
from affidavit.event import LLM_REQUEST
from affidavit.seal.masked import MaskedRow

STEPS = tuple(step for step in (*MORNING, *AFTERNOON) if step.outcome is not None)
RECORDED = tuple(Made(step=step, id=f"call-{number}") for number, step in enumerate(STEPS))
RIGHT = {
    "user:clerk-2": lambda step: step.user == "clerk-2",
    "team:billing": lambda step: step.team == "billing" and "refund" in str(step.parameters),
    "finding:CARD": lambda step: CARD in str(step.parameters),
    "finding:SECRET": lambda step: step.what == "pastes a provider's key",
    "prompt:support-rules@4": lambda step: step.prompt == "support-rules@4",
}


class Answering:
    """Answers as an index would, but for what it leaves out or adds."""

    def __init__(self, *, without: str = "", beside: str = "") -> None:
        self.masked: list[bytes] = []
        self._without = without
        self._beside = beside

    def search(self, *words: str) -> list[MaskedRow]:
        found = [made.id for made in RECORDED if RIGHT[words[0]](made.step)]
        found = [call for call in found if call != self._without] + ([self._beside] if self._beside else [])
        return [
            MaskedRow(log="default", leaf=leaf, id=call, call=call, type=LLM_REQUEST, time_us=leaf)
            for leaf, call in enumerate(found)
        ]


def id_of(wanted: Any) -> str:
    return next(made.id for made in RECORDED if wanted(made.step))


def is_a_script(step: Step) -> bool:
    return step.user == "script-1"


def checked(asker: Answering) -> tuple[Checks, Questions]:
    display = Display(io.StringIO())
    checks = Checks(display)
    return checks, Questions(asker=cast("Asker", asker), display=display, checks=checks, recorded=RECORDED)


@pytest.mark.parametrize(
    ("asker", "holds"),
    [
        (Answering(), True),
        (Answering(beside="a call of yesterday"), True),
        (Answering(without=id_of(RIGHT["finding:CARD"])), False),
        (Answering(beside=id_of(is_a_script)), False),
    ],
)
def test_a_search_must_find_exactly_what_it_has_to(asker: Answering, holds: bool) -> None:  # noqa: FBT001 - a verdict
    checks, questions = checked(asker)
    questions.search()
    assert [check.ok for check in checks.all] == [holds]


def test_a_planted_value_in_a_masked_answer_is_told() -> None:
    asker = Answering()
    asker.masked = [b"the mark <CARD:abc234>"]
    checks, questions = checked(asker)
    questions.check_masked()
    asker.masked.append(f"the card {CARD.replace(' ', '')}".encode())
    questions.check_masked()
    assert [check.ok for check in checks.all] == [True, False]
