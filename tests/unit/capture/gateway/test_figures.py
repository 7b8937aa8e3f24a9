"""What a worker counts of real calls, over connections without sockets; and when it says that it refuses much."""

import logging

import pytest

from affidavit.capture.gateway.burst import BURST_PAUSE_S, BURST_REFUSALS_MIN, BurstWatch
from affidavit.capture.gateway.figures import FAMILIES, WorkerFigures
from affidavit.capture.gateway.refusal import Reason
from tests.unit.capture.gateway.desk import Desk

BODY = b'{"model":"m"}'
REQUEST = b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def counted(figures: WorkerFigures) -> dict[str, int]:
    """All that is not zero, by family and label."""
    found = {}
    for family in FAMILIES:
        for index, value in enumerate(family.values or ("",) * family.size):
            slot = figures.slots[figures.at[family.name] + index]
            if slot:
                name = family.name.removeprefix("affidavit_").removesuffix("_total")
                found[f"{name} {value}".strip()] = slot
    return found


def test_a_call_counts_when_its_outcome_is_durable():
    desk = Desk()
    desk.receive(REQUEST)
    assert counted(desk.state.figures) == {}
    desk.upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    assert counted(desk.state.figures) == {}, "the outcome is queued, and not durable yet"
    desk.commit.settle()
    assert counted(desk.state.figures) == {
        "calls ok": 1,
        "request_body_bytes": len(BODY),
        "answer_body_bytes": 5,
    }


def test_an_answer_that_breaks_off_is_another_class():
    desk = Desk()
    desk.receive(REQUEST)
    desk.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
    desk.upstream.connection_lost(None)
    desk.commit.settle()
    assert counted(desk.state.figures)["calls incomplete"] == 1


def test_a_call_without_an_answer_counts_its_outcome_and_our_answer():
    desk = Desk()
    desk.receive(REQUEST)
    desk.upstream.connection_lost(None)
    desk.commit.settle()
    assert counted(desk.state.figures) == {
        "calls unknown_outcome": 1,
        "refusals unknown_outcome": 1,
        "request_body_bytes": len(BODY),
    }


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"nonsense\r\n\r\n", "malformed_request"), (REQUEST.replace(b"openai", b"nobody"), "unknown_provider")],
)
def test_a_refusal_counts_by_its_reason(sent, code):
    desk = Desk()
    desk.receive(sent)
    assert counted(desk.state.figures) == {f"refusals {code}": 1}


def test_a_call_that_is_refused_at_its_turn_counts_once():
    desk = Desk()
    desk.state.refusing = Reason.SEALING_BEHIND
    desk.receive(REQUEST)
    assert counted(desk.state.figures) == {"refusals sealing_behind": 1}


# --- bursts


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.fields for record in caplog.records if record.notice.code == "refusals.burst"]


def test_a_burst_is_one_line_a_minute(said):
    figures = WorkerFigures()
    watch = BurstWatch(figures)
    for second in range(int(BURST_PAUSE_S)):
        for _ in range(BURST_REFUSALS_MIN):
            figures.refused(Reason.MALFORMED)
        watch.look(float(second))
    assert said() == [{"count": BURST_REFUSALS_MIN, "reasons": {"malformed_request": BURST_REFUSALS_MIN}}]
    watch.look(BURST_PAUSE_S)
    assert [fields["count"] for fields in said()] == [
        BURST_REFUSALS_MIN,
        BURST_REFUSALS_MIN * (int(BURST_PAUSE_S) - 1),
    ]


def test_one_less_is_no_burst_and_a_quiet_minute_begins_anew(said):
    figures = WorkerFigures()
    watch = BurstWatch(figures)
    watch.look(0.0)
    for _ in range(BURST_REFUSALS_MIN - 1):
        figures.refused(Reason.MALFORMED)
    watch.look(1.0)
    watch.look(BURST_PAUSE_S)
    figures.refused(Reason.MALFORMED)
    watch.look(BURST_PAUSE_S + 1)
    assert said() == []
    for _ in range(BURST_REFUSALS_MIN - 1):
        figures.refused(Reason.STOPPING)
    watch.look(BURST_PAUSE_S + 2)
    assert said() == [
        {
            "count": BURST_REFUSALS_MIN,
            "reasons": {"malformed_request": 1, "stopping": BURST_REFUSALS_MIN - 1},
        }
    ]
