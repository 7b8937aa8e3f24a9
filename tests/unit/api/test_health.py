"""Health: each reason alone, from a view in which everything else is well."""

import msgspec
import pytest

from affidavit.api.health import REASONS, SILENT_US_MAX, healthz, readyz
from affidavit.api.metrics import View
from affidavit.capture.gateway.figures import WorkerFigures
from affidavit.capture.gateway.refusal import Reason
from affidavit.ledger.figures import Figures
from affidavit.seal.figures import families
from tests.unit.api.test_metrics import NOW_US, board_of, snapshot_of, view_of

replace = msgspec.structs.replace


def worker(*, shard_is_open: bool = True, refusing: Reason | None = None) -> WorkerFigures:
    figures = WorkerFigures()
    figures.look(in_flight=0, connections=0, held_bytes=0, waiting=0, shard_is_open=shard_is_open, refusing=refusing)
    return figures


WELL = view_of(
    snapshot_of(worker(), "worker0"),
    snapshot_of(Figures(families(("system",))), "sealer"),
    board=board_of("signer", "sealer", "api", "worker0"),
)


def with_worker(figures: WorkerFigures, **how) -> View:
    return replace(WELL, snapshots=(snapshot_of(figures, "worker0", **how), WELL.snapshots[1]))


def with_board(**members) -> View:
    assert WELL.board is not None
    return replace(WELL, board=replace(WELL.board, **members))


def test_all_well():
    status, body = readyz(WELL)
    assert (status, body["status"], body["reasons"]) == (200, "ready", [])
    assert body["processes"]["worker0"] == "ready"
    assert healthz(WELL) == (200, {"status": "alive", "version": "9.9", "service": "ready"})


CASES = {
    "no_board": replace(WELL, board=None),
    "no_gateway": with_board(purpose="reading"),
    "starting": with_board(state="starting"),
    "stopping": with_board(state="stopping"),
    "process_not_ready": replace(WELL, board=board_of("sealer", "worker0", state="restarting")),
    "worker_silent": with_worker(worker(), age_us=SILENT_US_MAX + 1),
    "sealer_silent": replace(WELL, snapshots=WELL.snapshots[:1]),
    "wal_not_writable": with_worker(worker(shard_is_open=False)),
    "sealing_behind": replace(WELL, sealed_through_us=NOW_US - 10_000_001),
    "disk_reserve": replace(WELL, disk_free_bytes=1023),
    "disk_unknown": replace(WELL, disk_free_bytes=None),
}


@pytest.mark.parametrize("reason", CASES)
def test_each_reason_alone_makes_it_not_ready(reason):
    status, body = readyz(CASES[reason])
    assert (status, body["status"], body["reasons"]) == (503, "not_ready", [reason])
    assert healthz(CASES[reason])[0] == 200, "nobody restarts a service that is only not ready"
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_every_reason_is_listed_and_tested():
    assert CASES.keys() == REASONS.keys()


def test_bounds_are_still_well():
    assert readyz(with_worker(worker(), age_us=SILENT_US_MAX))[0] == 200
    assert readyz(replace(WELL, sealed_through_us=NOW_US - 10_000_000))[0] == 200
    assert readyz(replace(WELL, disk_free_bytes=1024))[0] == 200


def test_a_dead_worker_says_nothing():
    assert readyz(with_worker(worker(), is_alive=False))[1]["reasons"] == ["worker_silent"]


def test_what_a_worker_refuses_for_is_named_even_where_we_see_it_otherwise():
    assert readyz(with_worker(worker(refusing=Reason.DISK_RESERVE)))[1]["reasons"] == ["disk_reserve"]


def test_stopped_counts_as_stopping():
    assert readyz(with_board(state="stopped"))[1]["reasons"] == ["stopping"]
