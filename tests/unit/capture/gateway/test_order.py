"""The order between record, flush, sync and socket, step by step."""

import gc

from affidavit.capture.gateway.answer import Answer
from affidavit.capture.gateway.call import Call
from tests.unit.capture.gateway.desk import Desk

REQUEST = b"POST /openai/v1/x HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\nhi"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def test_the_request_waits_for_the_sync():
    desk = Desk()
    desk.client.data_received(REQUEST)
    [intent] = desk.commit.records
    assert (intent.data, intent.whole) == (b"hi", True)
    assert desk.to_provider.written == b""
    desk.commit.settle()
    assert desk.to_provider.written.endswith(b"hi")


def test_relayed_bytes_wait_for_the_flush_and_the_last_for_the_sync():
    desk = Desk()
    desk.receive(REQUEST)
    desk.upstream.data_received(HEAD + b"ab")
    assert desk.commit.records[1].data == b"ab"
    assert desk.to_client.written == b""
    desk.commit.settle()
    assert desk.to_client.written.endswith(b"\r\n\r\nab")
    desk.upstream.data_received(b"cd")
    assert (desk.commit.records[1].data, desk.commit.records[1].whole) == (b"abcd", True)
    assert desk.to_client.written.endswith(b"ab")
    desk.commit.settle()
    assert desk.to_client.written.endswith(b"abcd")


def test_pieces_of_one_tick_leave_together():
    desk = Desk()
    desk.receive(REQUEST)
    desk.upstream.data_received(HEAD + b"a")
    desk.upstream.data_received(b"b")
    assert len(desk.commit.waiting) == 1
    desk.commit.settle()
    assert desk.to_client.written.endswith(b"\r\n\r\nab")


def test_a_client_that_left_before_the_sync_costs_the_provider_nothing():
    desk = Desk()
    desk.client.data_received(REQUEST)
    desk.client.connection_lost(None)
    desk.commit.settle()
    assert desk.to_provider.written == b""
    outcome = desk.commit.records[1]
    assert (outcome.meta["outcome"], outcome.meta["error"]["code"]) == ("not_sent", "client_gone")
    assert not desk.state.active


def test_a_pipelined_request_waits_for_its_turn():
    desk = Desk()
    desk.receive(REQUEST + REQUEST)
    assert len(desk.commit.records) == 1


def test_a_call_frees_itself_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        desk = Desk()
        for _ in range(5):
            desk.receive(REQUEST)
            desk.answer(HEAD + b"abcd")
        assert desk.to_client.written.count(b"abcd") == 5
        assert not [found for found in gc.get_objects() if isinstance(found, Call | Answer)]
    finally:
        gc.enable()
