from hashlib import sha256

import pytest

from affidavit.demo.simulator import tally as module
from affidavit.demo.simulator.tally import OTHER_PATHS, Tally


def test_requests_are_counted_by_path_and_body() -> None:
    tally = Tally()
    assert tally.count(path="/a", body=b"x") == (sha256(b"x").digest(), 1)
    assert tally.count(path="/b", body=b"x") == (sha256(b"x").digest(), 2)
    tally.count_status(200)
    snapshot = tally.snapshot()
    assert (snapshot.received, snapshot.paths, snapshot.statuses) == (2, {"/a": 1, "/b": 1}, {"200": 1})
    assert tally.bodies() == {sha256(b"x").digest(): 2}


def test_counts_stay_right_when_there_are_too_many_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATHS_MAX", 2)
    monkeypatch.setattr(module, "BODIES_MAX", 2)
    tally = Tally()
    for number in range(4):
        tally.count(path=f"/{number}", body=b"%d" % number)
    tally.count(path="/0", body=b"0")
    snapshot = tally.snapshot()
    assert snapshot.paths == {"/0": 2, "/1": 1, OTHER_PATHS: 2}
    assert (snapshot.received, snapshot.bodies, snapshot.bodies_uncounted) == (5, 2, 2)
