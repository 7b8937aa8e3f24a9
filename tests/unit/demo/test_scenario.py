"""The scenario: what it plants is what masking finds, and every call has its answer in the script."""

import json
from collections import Counter
from pathlib import Path

import pytest

from affidavit.config import Config
from affidavit.demo import conversations
from affidavit.demo.conversations import CONVERSATIONS, RULES_3, RULES_4
from affidavit.demo.personal import BORN, CARD, EMAIL, IBAN, PHONE, PLANTED, SECRET, planted_in
from affidavit.demo.scenario import AFTERNOON, APPS, MORNING, TEAMS, VERSION_3, VERSION_4, Step
from affidavit.demo.settings import simulated
from affidavit.demo.simulator.script import script_of
from affidavit.mask import Masker

STEPS = (*MORNING, *AFTERNOON)
MASKER = Masker(key=b"a key of thirty-two bytes or more")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (EMAIL, "EMAIL"),
        (CARD, "CARD"),
        (IBAN, "IBAN"),
        (PHONE, "PHONE"),
        (f"born on {BORN}", "DOB"),
        (SECRET, "SECRET"),
    ],
)
def test_what_is_planted_is_what_masking_finds(value: str, kind: str) -> None:
    masked = MASKER.mask(value)
    assert masked.findings == {kind: 1}
    assert planted_in(masked.text.encode()) == []


def test_what_is_planted_is_seen_with_and_without_its_spaces() -> None:
    assert planted_in(" ".join(PLANTED).encode()) == list(PLANTED)
    assert planted_in(f"in a file {IBAN.replace(' ', '')}\n".encode()) == [IBAN]
    assert planted_in(CARD.replace(" ", "-").encode()) == []


def test_no_key_stands_whole_in_the_source() -> None:
    sources = list(Path(conversations.__file__).parent.rglob("*.py"))
    assert sources
    assert not any(SECRET in file.read_text() for file in sources)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_a_masked_conversation_shows_nothing_that_was_planted(conversation: list[dict[str, object]]) -> None:
    assert planted_in(json.dumps(MASKER.mask_json(conversation).value).encode()) == []


def test_every_value_is_said_and_an_address_gets_out_once() -> None:
    said = [json.dumps(conversation) for conversation in CONVERSATIONS]
    assert all(any(value in text for text in said) for value in PLANTED)
    leaks = [
        message
        for conversation in CONVERSATIONS
        for message in conversation
        if message["role"] == "assistant" and "](https://" in str(message["content"])
    ]
    assert len(leaks) == 1
    assert EMAIL in leaks[0]["content"]
    assert ".example.net/" in leaks[0]["content"], "a domain that is reserved for examples"


def test_every_call_has_its_answer_in_the_script_and_none_is_left_over() -> None:
    script = script_of(CONVERSATIONS)
    for step in STEPS:
        assert script.turn_after(json.dumps(step.parameters["messages"]).encode()) is not None, step.what
    assert len({json.dumps(step.parameters["messages"]) for step in STEPS}) == len(script)


def system_of(step: Step) -> str:
    messages = step.parameters["messages"]
    return str(step.parameters.get("system") or messages[0]["content"])


def test_the_prompt_changes_at_noon_and_is_sent_as_the_header_says() -> None:
    rules = {VERSION_3: RULES_3, VERSION_4: RULES_4}
    for step in STEPS:
        if step.prompt in rules:
            assert system_of(step) == rules[step.prompt], step.what
    assert VERSION_4 not in {step.prompt for step in MORNING}
    assert VERSION_3 not in {step.prompt for step in AFTERNOON}


def test_teams_and_apps_are_registered_by_the_tour_and_one_call_has_none() -> None:
    names = simulated(Config(), provider_url="http://127.0.0.1:9").names
    assert {step.team for step in STEPS} == {*TEAMS, None}
    assert {step.app for step in STEPS} == {*APPS, None}
    assert set(TEAMS) <= set(names.teams)
    assert set(APPS) <= set(names.apps)
    assert Counter(step.team is None for step in STEPS)[True] == 1


def test_a_step_says_in_headers_what_it_has_and_nothing_else() -> None:
    (unowned,) = [step for step in STEPS if step.team is None]
    assert unowned.headers == {"x-affidavit-user": "script-1"}
    refund = next(step for step in STEPS if step.workflow == "refunds")
    assert refund.headers == {
        "x-affidavit-user": "clerk-2",
        "x-affidavit-team": "billing",
        "x-affidavit-app": "support-desk",
        "x-affidavit-session": "case-310",
        "x-affidavit-prompt": "refunds@2",
        "x-affidavit-workflow": "refunds",
    }
