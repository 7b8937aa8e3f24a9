"""`affidavit log prune`: what it asks of the sealer, and what it says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from affidavit import cli
from affidavit.ledger import channel
from affidavit.ledger.channel import Reply
from affidavit.serve import reading

PLAN = {
    "log": "default",
    "size": 200_000,
    "below": 0,
    "minimum": 65_536,
    "days": 30,
    "policy": 2,
    "newest_us": 1,
    "unfinished": 0,
    "bytes": 4096,
    "plan": "abc",
}


class Sealer:
    """Answers as one that has this plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.asked: list[dict[str, Any]] = []

    def call(self, body: dict[str, Any]) -> Reply:
        self.asked.append(body)
        return Reply(self.plan if body["op"] == "prune" else {"leaf": 199_999, "minimum": 65_536, "files": 517})


@pytest.fixture
def sealer(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Sealer:
    made = Sealer(dict(PLAN))

    @contextlib.contextmanager
    def service(*_: Any, **__: Any) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def connected(*_: Any, **__: Any) -> Iterator[Sealer]:
        yield made

    monkeypatch.setattr(reading, "reading_service", service)
    monkeypatch.setattr(channel, "connect", connected)
    monkeypatch.setenv("AFFIDAVIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(tmp_path / "keys"))
    return made


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.run(["log", "prune", "default", "--before", "2026-01-02", *arguments])
    return code, capfd.readouterr().out


def test_without_apply_nothing_is_asked_for_but_a_plan(sealer: Sealer, capfd: pytest.CaptureFixture[str]) -> None:
    code, out = run(capfd)
    assert code == 0
    assert sealer.asked == [{"op": "prune", "log": "default", "before_us": 1_767_312_000_000_000}]
    assert "entries 0 to 65535 would go, 4096 bytes; nothing was changed" in out


def test_with_apply_the_plan_is_carried_out(sealer: Sealer, capfd: pytest.CaptureFixture[str]) -> None:
    code, out = run(capfd, "--apply", "--json")
    told = json.loads(out)
    assert (code, told["applied"], told["leaf"], told["files"]) == (0, True, 199_999, 517)
    assert sealer.asked[1:] == [{"op": "prune_now", "plan": "abc"}]
    assert "entries 0 to 65535 are gone (517 files); entry 199999 says so" in run(capfd, "--apply")[1]


def test_what_an_earlier_run_left_is_taken_away(sealer: Sealer, capfd: pytest.CaptureFixture[str]) -> None:
    sealer.plan |= {"below": 65_536, "unfinished": 1}
    assert "what is left of entries below 65536 would go" in run(capfd)[1]
    assert len(sealer.asked) == 1
    run(capfd, "--apply")
    assert sealer.asked[-1] == {"op": "prune_now", "plan": "abc"}


def test_where_nothing_may_go_nothing_is_done(sealer: Sealer, capfd: pytest.CaptureFixture[str]) -> None:
    sealer.plan |= {"minimum": 0}
    assert "nothing may go" in run(capfd, "--apply")[1]
    assert [body["op"] for body in sealer.asked] == ["prune"]
