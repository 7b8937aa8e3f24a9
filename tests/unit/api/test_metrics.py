"""The page that Prometheus reads, read by a parser that knows the format's rules."""

import re

import msgspec
import pytest

from affidavit.api.metrics import SERVICE_FAMILIES, View, exposition
from affidavit.capture.gateway.figures import FAMILIES, WorkerFigures
from affidavit.capture.gateway.refusal import Reason
from affidavit.ledger.board import Board, ProcessNote
from affidavit.ledger.figures import Family, Figures, Header, Snapshot
from affidavit.seal.figures import families
from tests.unit.api.prometheus import parse

NOW_US = 10**12


def snapshot_of(figures: Figures, role: str, *, is_alive: bool = True, age_us: int = 250_000) -> Snapshot:
    header = Header(role=role, pid=7, started=8, service="s", families=figures.families)
    return Snapshot(header=header, written_us=NOW_US - age_us, slots=tuple(figures.slots), is_alive=is_alive)


def board_of(*roles: str, state="ready") -> Board:
    notes = tuple(ProcessNote(role=role, pid=9, state=state, restarts=2) for role in roles)
    return Board(pid=1, purpose="service", state="ready", gateway="127.0.0.1:1", since_us=0, processes=notes)


def view_of(*snapshots: Snapshot, board: Board | None = None) -> View:
    return View(
        version="9.9",
        board=board,
        snapshots=snapshots,
        now_us=NOW_US,
        sealed_through_us=NOW_US - 1_500_000,
        lag_s_max=10,
        disk_free_bytes=4096,
        disk_reserve_bytes=1024,
    )


def worker() -> WorkerFigures:
    figures = WorkerFigures()
    figures.call_ended("ok", request_bytes=100, answer_bytes=2000)
    figures.call_ended("not_sent", request_bytes=1, answer_bytes=0)
    figures.refused(Reason.STOPPING)
    for took_s in (0.00005, 0.0002, 0.003, 7.0):
        figures.synced(took_s)
    figures.wrote(12345)
    figures.look(
        in_flight=3, connections=4, held_bytes=5, waiting=6, shard_is_open=True, refusing=Reason.SEALING_BEHIND
    )
    return figures


def test_the_page_keeps_the_rules_of_the_format():
    sealer = Figures(families(("default", "system")))
    view = view_of(
        snapshot_of(worker(), "worker0"),
        snapshot_of(worker(), "worker1"),
        snapshot_of(sealer, "sealer"),
        board=board_of("sealer", "worker0", "worker1"),
    )
    metrics = parse(exposition(view))
    named = {family.name for family in (*FAMILIES, *families(("x",)), *SERVICE_FAMILIES)}
    assert metrics.keys() == named
    assert all(re.fullmatch(r"affidavit_[a-z_]+", name) for name in metrics)
    assert all(metric.text.endswith(".") for metric in metrics.values())


def test_the_numbers_are_those_that_were_counted():
    metrics = parse(exposition(view_of(snapshot_of(worker(), "worker0"), board=board_of("worker0"))))

    def value(name: str, *labels: tuple[str, str], suffix: str = "") -> float:
        return metrics[name].samples[name + suffix, (("process", "worker0"), *labels)]

    assert value("affidavit_calls_total", ("outcome", "ok")) == 1
    assert value("affidavit_calls_total", ("outcome", "error")) == 0
    assert value("affidavit_refusals_total", ("reason", "stopping")) == 1
    assert value("affidavit_request_body_bytes_total") == 101
    assert value("affidavit_answer_body_bytes_total") == 2000
    assert value("affidavit_wal_written_bytes_total") == 12345
    sync = "affidavit_wal_sync_seconds"
    buckets = [value(sync, ("le", bound), suffix="_bucket") for bound in ("5e-05", "0.00025", "0.005", "1", "+Inf")]
    assert buckets == [1, 2, 3, 3, 4]
    assert value(sync, suffix="_sum") == pytest.approx(7.00325)
    assert value("affidavit_refusing", ("reason", "sealing_behind")) == 1
    assert value("affidavit_refusing", ("reason", "disk_reserve")) == 0
    assert value("affidavit_process_restarts_total") == 2
    assert value("affidavit_figures_age_seconds") == 0.25
    assert metrics["affidavit_sealed_through_age_seconds"].samples == {
        ("affidavit_sealed_through_age_seconds", ()): 1.5
    }


def test_a_dead_process_keeps_its_counters_and_has_no_state():
    metrics = parse(exposition(view_of(snapshot_of(worker(), "worker0", is_alive=False))))
    assert "affidavit_calls_total" in metrics
    assert not {family.name for family in FAMILIES if family.kind == "gauge"} & metrics.keys()


def test_a_large_counter_loses_no_digit():
    figures = WorkerFigures()
    figures.wrote((1 << 63) + 1)
    assert f" {(1 << 63) + 1}\n" in exposition(view_of(snapshot_of(figures, "worker0")))


def test_without_anything_the_page_is_still_one():
    view = msgspec.structs.replace(view_of(), disk_free_bytes=None)
    assert "affidavit_disk_free_bytes" not in parse(exposition(view))


def test_a_strange_label_is_escaped():
    figures = Figures((Family(name="x_total", kind="counter", text='a "b"\\\n', label="y", values=('q"\\\n',)),))
    page = exposition(view_of(snapshot_of(figures, "r")))
    assert '# HELP x_total a "b"\\\\\\n\n' in page
    assert 'x_total{process="r",y="q\\"\\\\\\n"} 0\n' in page
    parse(page)


@pytest.mark.parametrize(
    "page",
    [
        "x_total 1\n",
        "# HELP x_total x.\nx_total 1\n",
        "# HELP x x.\n# TYPE x counter\nx 1\n",
        "# HELP x_total x.\n# TYPE x_total counter\nx_total 1",
        "# HELP x_total x.\n# TYPE x_total counter\nx_total 1\nx_total 1\n",
        '# HELP x_total x.\n# TYPE x_total counter\nx_total{a="1",a="2"} 1\n',
        "# HELP x_total x.\n# TYPE x_total counter\nx_total{} one\n",
        '# HELP x x.\n# TYPE x histogram\nx_bucket{le="1"} 2\nx_bucket{le="+Inf"} 1\nx_sum 1\nx_count 1\n',
        '# HELP x x.\n# TYPE x histogram\nx_bucket{le="1"} 2\nx_sum 1\nx_count 2\n',
    ],
)
def test_the_parser_can_go_red(page):
    with pytest.raises((AssertionError, KeyError)):
        parse(page)
