"""What an epoch says its calls come to, held against the header blocks of a real ledger."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import CorruptionError
from affidavit.seal.calls import OVERDUE_US
from affidavit.seal.recount import disagreements, recount
from affidavit.seal.slots import HeaderValues
from affidavit.seal.sums import BUCKETS, EpochSums
from tests.support.installation import Installation, chat_request, chat_response, write_call, write_request
from tests.support.story import QuickDisk, leaves_of, quicken_verifier, verify

REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")
NOTHING = dict.fromkeys(BUCKETS, "0")
TOKENS = NOTHING | {"input_uncached": "18", "output_text": "10", "reasoning": "0"}


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    quicken_verifier(monkeypatch)
    return Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()


def stated(installation: Installation, log: str = "default") -> list[dict[str, Any]]:
    leaves = leaves_of(installation, log)
    return [leaf.data["sums"] for leaf in leaves if leaf.type == "epoch.close" and leaf.data and "sums" in leaf.data]


def test_each_epoch_sums_up_its_own_calls(installation: Installation) -> None:
    shard = installation.shard()
    for _ in range(2):
        write_call(shard, REQUEST, RESPONSE)
    write_request(shard, REQUEST)
    shard.sync()
    installation.drain()
    installation.sealer.close_epoch()
    shard.close()
    installation.drain()
    installation.stop()
    first, second = stated(installation)
    assert int(first["amounts"]["USD"]) > 0
    assert first | {"amounts": {}} == {
        "amounts": {},
        "calls": 3,
        "outcomes": 2,
        "usage": 2,
        "priced": 2,
        "not_priced": 0,
        "tokens": TOKENS,
    }
    assert second == {
        "amounts": {},
        "calls": 0,
        "outcomes": 1,
        "usage": 0,
        "priced": 0,
        "not_priced": 1,
        "tokens": NOTHING,
    }
    assert [sums["calls"] for sums in stated(installation, "system")] == [0, 0]
    size = len(leaves_of(installation, "default"))
    assert disagreements(installation.opener(), size=size) == []
    assert verify(installation)[0] == 0


def test_a_start_within_an_epoch_goes_on_with_its_sums(installation: Installation) -> None:
    shard = installation.shard()
    for _ in range(3):
        write_call(shard, REQUEST, RESPONSE)
        shard.sync()
        installation.drain()
        installation.open()
        installation.start()
    shard.close()
    installation.drain()
    installation.stop()
    (sums,) = stated(installation)
    assert (sums["calls"], sums["outcomes"], sums["priced"]) == (3, 3, 3)
    assert disagreements(installation.opener(), size=len(leaves_of(installation, "default"))) == []


def test_an_epoch_that_cannot_be_recounted_closes_without_sums(installation: Installation) -> None:
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    installation.drain()
    path = installation.data.log("default").headers(0)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    installation.open()
    installation.start()
    assert "without sums" in installation.sealer.problems[0]
    shard.close()
    installation.drain()
    installation.sealer.close_epoch()
    assert stated(installation) == []
    installation.stop()
    assert len(stated(installation)) == 1  # the next epoch knows its own again
    with pytest.raises(CorruptionError):
        recount(installation.opener(), first=0, end=4)


def test_sums_that_were_made_up_are_told(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = installation.shard()
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shard.close()
    installation.drain()
    honest = EpochSums.facts
    lie = {"amounts": {"USD": "1"}}
    monkeypatch.setattr(EpochSums, "facts", lambda sums: honest(sums) | lie if honest(sums)["priced"] else honest(sums))
    installation.stop()
    monkeypatch.undo()
    size = len(leaves_of(installation, "default"))
    ((leaf, said, counted),) = disagreements(installation.opener(), size=size)
    assert (leaf, said["amounts"]) == (size - 1, {"USD": "1"})
    assert counted["amounts"] != said["amounts"]


def test_calls_that_are_overdue_are_counted(installation: Installation) -> None:
    shard = installation.shard()
    write_request(shard, REQUEST)
    shard.sync()
    installation.drain()
    assert (installation.sealer.open_calls, installation.sealer.overdue_calls()) == (1, 0)
    now = installation.sealer._clock_us()
    installation.sealer._clock_us = lambda: now + OVERDUE_US + 60_000_000  # type: ignore[method-assign]
    assert installation.sealer.overdue_calls() == 1
    shard.close()


COUNTS = st.one_of(st.none(), st.integers(0, 2**53 - 1))


@given(st.lists(st.tuples(st.tuples(*[COUNTS] * len(BUCKETS)), st.integers(0, 2**53 - 1)), max_size=20))
def test_sums_are_exact_however_large(outcomes: list[tuple[tuple[int | None, ...], int]]) -> None:
    sums = EpochSums()
    for usage, amount in outcomes:
        cost = ("priced", amount, "USD", "table")
        sums.add_outcome(HeaderValues(type="llm.response", usage=(*usage, "reported"), cost=cost))  # type: ignore[arg-type]
    facts = json.loads(json.dumps(sums.facts()))
    for bucket, name in enumerate(BUCKETS):
        assert int(facts["tokens"][name]) == sum(usage[bucket] or 0 for usage, _ in outcomes)
    assert facts["amounts"] == ({"USD": str(sum(amount for _, amount in outcomes))} if outcomes else {})
    assert facts["outcomes"] == facts["usage"] == facts["priced"] == len(outcomes)


def test_an_outcome_of_before_costs_were_recorded_is_counted_without_one() -> None:
    sums = EpochSums()
    sums.add_outcome(HeaderValues(type="llm.response"))
    facts = sums.facts()
    assert (facts["outcomes"], facts["priced"], facts["not_priced"], facts["usage"]) == (1, 0, 0, 0)


def test_an_outcome_without_a_header_is_no_outcome_that_could_be_summed_up() -> None:
    """No version of ours seals one; who counts again does not fall over it, and the sums will differ."""
    opener: Any = SimpleNamespace(
        leaf=lambda *_, **__: SimpleNamespace(type="llm.response"), header=lambda *_: None, forget=lambda: None
    )
    assert recount(opener, first=0, end=3).facts()["outcomes"] == 0
