"""What becomes of a record: its class, its header of registered names only, and its body of everything else."""

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import msgspec
import pytest

from affidavit.event import (
    AccessMeta,
    CallError,
    CallTimes,
    ClockEstimate,
    HttpResponse,
    Identity,
    Reconciliation,
    ReconciliationMeta,
    SourceFacts,
    SourceMeta,
    encode_meta,
    encode_whole_response,
)
from affidavit.ledger.cut import WalRecord
from affidavit.seal.names import FINISH_REASONS, Names, registered, registered_model
from affidavit.seal.prepare import _finish_json
from affidavit.seal.preparer import Job, Preparer, Result
from affidavit.seal.prices import installed_prices, priced_models
from affidavit.seal.slots import HeaderValues, member_names, object_of, unpack_header
from affidavit.wire.meaning import read_response
from tests.support.installation import chat_request, chat_response, new_id, request_meta, response_end, response_start

NAMES = Names(
    apps=frozenset(("shop",)),
    teams=frozenset(("sales",)),
    models=frozenset(("gpt-4o", "claude-sonnet")),
    environment="test",
)
REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")
STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def record(*metas: bytes, data: bytes = b"", number: int = 1) -> WalRecord:
    return WalRecord(
        shard="worker0.AAAAAAAA",
        source="worker0",
        boot="AAAAAAAA",
        log="default",
        number=number,
        file=3,
        seq=number,
        digest=bytes(32),
        metas=metas,
        data=data,
    )


def make_preparer() -> Preparer:
    return Preparer(names=NAMES, policy=7, random=os.urandom, clock_us=lambda: 1_700_000_000_000_000)


def header_of(result: Result) -> HeaderValues:
    assert result.prepared is not None
    return unpack_header(result.prepared.header[33:])


def meta_of(result: Result) -> dict[str, Any]:
    assert result.prepared is not None
    assert result.prepared.body is not None
    return json.loads(result.prepared.body.meta)


def prepare_answer(
    body: bytes,
    *,
    status: int | None = 200,
    content_type: str = "application/json",
    unfinished: bool = False,
    path: str = "/v1/chat/completions",
    **end: Any,
) -> Result:
    """What becomes of an answer to a chat request."""
    preparer, call = make_preparer(), new_id()
    start = response_start(call, body)
    http = None if status is None else HttpResponse(status=status, reason="", version="1.1", headers=())
    start = msgspec.structs.replace(start, http=http, content_type=content_type)
    preparer.prepare([Job(record(encode_meta(request_meta(call, body=REQUEST, path=path)), data=REQUEST))])
    metas = (
        (encode_meta(start),)
        if unfinished
        else (encode_whole_response(start, msgspec.structs.replace(response_end(), **end)),)
    )
    (result,) = preparer.prepare([Job(record(*metas, data=body, number=2), unfinished=unfinished)])
    assert result.closed == call
    return result


SSE = "text/event-stream; charset=utf-8"
OUTCOMES = {
    "a whole answer": (RESPONSE, {}, ("ok", 200, "stop", 0)),
    "an error status": (b'{"error":{"message":"no","type":"x"}}', {"status": 429}, ("error", 429, None, 0)),
    "an error status with any body": (
        b"gateway down",
        {"status": 502, "content_type": "text/html"},
        ("error", 502, None, 0),
    ),
    "a whole stream": (STREAM + DONE, {"content_type": SSE}, ("ok", 200, None, 1)),
    "a stream without its end": (STREAM, {"content_type": SSE}, ("incomplete", 200, None, 1)),
    "a stream that the client left": (
        STREAM + DONE,
        {"content_type": SSE, "outcome": "client_gone"},
        ("client_gone", 200, None, 1),
    ),
    "one without its end, too": (STREAM, {"content_type": SSE, "outcome": "client_gone"}, ("incomplete", 200, None, 1)),
    "half a JSON text": (RESPONSE[:-20], {}, ("ok", 200, None, 0)),
    "what capture calls incomplete": (RESPONSE, {"outcome": "incomplete"}, ("incomplete", 200, "stop", 0)),
    "a refusal of ours": (b"", {"status": None, "outcome": "refused"}, ("refused", None, None, 0)),
    "never sent": (b"", {"status": None, "outcome": "not_sent"}, ("not_sent", None, None, 0)),
    "sent and never answered": (
        b"",
        {"status": None, "outcome": "unknown_outcome"},
        ("unknown_outcome", None, None, 0),
    ),
    "a dead writer, with a head": (STREAM, {"content_type": SSE, "unfinished": True}, ("incomplete", 200, None, 1)),
    "a dead writer, whole by chance": (RESPONSE, {"unfinished": True}, ("incomplete", 200, "stop", 0)),
    "a dead writer, without a head": (b"", {"status": None, "unfinished": True}, ("unknown_outcome", None, None, 0)),
    "an endpoint that we do not read": (
        b"anything",
        {"path": "/v1/files", "content_type": "text/plain"},
        ("ok", 200, None, 0),
    ),
    "an error within a stream": (
        b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n',
        {"content_type": SSE},
        ("error", 200, None, 1),
    ),
}


@pytest.mark.parametrize("what", OUTCOMES)
def test_the_class_of_an_outcome(what: str) -> None:
    body, facts, expected = OUTCOMES[what]
    found = header_of(prepare_answer(body, **facts)).outcome
    if what == "half a JSON text":
        # What cannot be parsed was not whole either; which of the two it is called is the wire's to say.
        assert found is not None
        assert found[0] in ("ok", "incomplete")
        return
    assert found == expected


def test_a_request_and_what_is_remembered_of_it() -> None:
    preparer, call = make_preparer(), new_id()
    meta = msgspec.structs.replace(
        request_meta(call, body=REQUEST), identity=Identity(user="ann", app="shop", team="unknown team", key="k")
    )
    (result,) = preparer.prepare([Job(record(encode_meta(meta), data=REQUEST))])
    header = header_of(result)
    assert (header.type, header.app, header.team, header.environment) == ("llm.request", "shop", "unregistered", "test")
    assert (header.provider, header.model, header.policy, header.outcome) == ("openai", ("gpt-4o", None), 7, None)
    assert header.counts == (len(REQUEST), 2, 0, 0, 1)
    assert header.capture == ("write_ahead", "openai.chat", "full", 1)
    assert meta_of(result)["identity"] == {
        "app": "shop",
        "key": "k",
        "source": "header",
        "team": "unknown team",
        "user": "ann",
    }
    assert meta_of(result)["http"]["method"] == "POST"
    assert result.opened is not None
    assert (result.opened.call, result.opened.file, result.opened.subject) == (call, 3, "ann")
    assert b"ann" not in result.prepared.header  # type: ignore[union-attr]
    assert b"unknown team" not in result.prepared.header  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("identity", "body", "subject", "source"),
    [
        (Identity(user="u", key="k"), b'{"user":"b"}', "u", "header"),
        (Identity(key="k"), b'{"user":"b","messages":[]}', "b", "body"),
        (Identity(key="k"), b'{"messages":[]}', "k", "key"),
        (Identity(), b'{"messages":[]}', None, "none"),
    ],
)
def test_who_the_subject_is(identity: Identity, body: bytes, subject: str | None, source: str) -> None:
    meta = msgspec.structs.replace(request_meta(new_id(), body=body), identity=identity)
    (result,) = make_preparer().prepare([Job(record(encode_meta(meta), data=body))])
    assert result.opened is not None
    assert result.opened.subject == subject
    assert result.prepared is not None
    assert result.prepared.body is not None
    assert result.prepared.body.subject == subject
    assert meta_of(result)["identity"]["source"] == source


def test_an_answer_carries_the_context_of_its_request() -> None:
    result = prepare_answer(RESPONSE, times=CallTimes(received=10, durable=None, forwarded=30), time_us=25, attempts=2)
    header = header_of(result)
    assert header.model == ("gpt-4o", "gpt-4o-2024-08-06")
    assert header.times == (-15, None, 5, None, None)
    assert header.counts == (len(RESPONSE), 0, 0, 0, 2)
    assert header.usage is not None
    assert (header.usage[0], header.usage[5], header.usage[-1]) == (9, 5, "reported")
    assert result.prepared is not None
    assert result.prepared.links is not None
    assert meta_of(result)["model"]["served"] == "gpt-4o-2024-08-06"


def test_why_an_answer_ended_is_kept_as_the_provider_said_it() -> None:
    def finish_of(**members: Any) -> bytes:
        body = {"type": "message", "id": "m", "role": "assistant", "model": "m", "content": []} | members
        meaning = read_response(
            dialect="anthropic.messages",
            status=200,
            content_type="application/json",
            content_encoding="",
            body=json.dumps(body).encode(),
        )
        return _finish_json(meaning)

    assert finish_of(stop_reason=None) == b"null"
    assert finish_of(stop_reason="end_turn") == b'{"reasons":["end_turn"]}'
    assert finish_of(stop_reason="stop_sequence", stop_sequence="END") == (
        b'{"reasons":["stop_sequence"],"stop_sequence":"END"}'
    )


def test_an_answer_says_what_it_cost_and_a_request_does_not() -> None:
    digest = installed_prices().digest
    # gpt-4o: $2.50 and $10 for a million. 9 · 2,500 + 5 · 10,000 nano-dollars.
    assert header_of(prepare_answer(RESPONSE)).cost == ("priced", 72_500, "USD", digest)
    assert header_of(prepare_answer(b"{}", status=500)).cost is None
    assert header_of(prepare_answer(b"", status=None, outcome="not_sent")).cost is None
    not_priced = ("not_priced", None, None, digest)
    assert header_of(prepare_answer(STREAM + DONE, content_type=SSE)).cost == not_priced
    assert header_of(prepare_answer(b"anything", path="/v1/files", content_type="text/plain")).cost == not_priced
    preparer, call = make_preparer(), new_id()
    (request,) = preparer.prepare([Job(record(encode_meta(request_meta(call, body=REQUEST)), data=REQUEST))])
    assert header_of(request).cost is None
    assert request.opened is not None
    unknown = preparer._preparing.unknown_outcome(request.opened, record_id=new_id(), time_us=1)
    assert header_of(Result(prepared=unknown)).cost == not_priced


def test_the_day_of_the_request_decides_the_price() -> None:
    answer = json.dumps(json.loads(RESPONSE) | {"model": "o3"}).encode()
    for day, nano in ((20_248, 290_000), (20_249, 58_000)):  # 9 · 10,000 + 5 · 40,000; from 2025-06-10 a fifth of it
        preparer, call = make_preparer(), new_id()
        meta = msgspec.structs.replace(request_meta(call, body=REQUEST), time_us=day * 86_400_000_000)
        jobs = [Job(record(encode_meta(meta), data=REQUEST))]
        jobs += [Job(record(encode_whole_response(response_start(call, answer), response_end()), data=answer))]
        found = header_of(preparer.prepare(jobs)[1]).cost
        assert found is not None
        assert found[:2] == ("priced", nano)


def test_strings_that_nobody_registered_stay_out_of_the_header() -> None:
    answer = json.loads(RESPONSE) | {"model": "my-secret-model"}
    answer["choices"][0]["finish_reason"] = "because ann said so"
    result = prepare_answer(json.dumps(answer).encode(), error=CallError(code="c", message="m"))
    header = header_of(result)
    assert header.model == ("gpt-4o", "unregistered")
    assert header.outcome == ("ok", 200, "other", 0)
    assert header.cost is not None
    assert header.cost[:3] == ("not_priced", None, None)
    assert meta_of(result)["finish"]["reasons"] == ["because ann said so"]
    assert meta_of(result)["error"] == {"capture": {"code": "c", "message": "m"}}


def test_an_outcome_of_a_call_that_nobody_opened_is_kept_as_unreadable() -> None:
    meta = encode_whole_response(response_start(new_id(), RESPONSE), response_end())
    (result,) = make_preparer().prepare([Job(record(meta, data=RESPONSE))])
    assert result.prepared is not None
    assert result.prepared.type == "unreadable"


def test_a_second_outcome_of_a_call_is_kept_as_unreadable() -> None:
    preparer, call = make_preparer(), new_id()
    jobs = [Job(record(encode_meta(request_meta(call, body=REQUEST)), data=REQUEST))]
    jobs += [
        Job(record(encode_whole_response(response_start(call, RESPONSE), response_end()), data=RESPONSE))
        for _ in range(2)
    ]
    kinds = [result.prepared and result.prepared.type for result in preparer.prepare(jobs)]
    assert kinds == ["llm.request", "llm.response", "unreadable"]


def test_what_is_sealed_already_is_read_for_what_it_leaves_open() -> None:
    preparer, call = make_preparer(), new_id()
    request = record(encode_meta(request_meta(call, body=REQUEST)), data=REQUEST)
    answer = record(encode_whole_response(response_start(call, RESPONSE), response_end()), data=RESPONSE)
    (opened,) = preparer.prepare([Job(request, sealed=True)])
    assert opened.prepared is None
    assert opened.opened is not None
    (closed,) = preparer.prepare([Job(answer, sealed=True)])
    assert (closed.prepared, closed.closed) == (None, call)
    access = AccessMeta(
        type="access.search",
        id=new_id(),
        time_us=5,
        mono_us=1,
        log="default",
        leaves=(),
        view="masked",
        identity=Identity(user="uid:1"),
        origin="cli",
        query="what was typed",
    )
    assert preparer.prepare([Job(record(encode_meta(access)), sealed=True)]) == [Result()]
    (fresh,) = preparer.prepare([Job(record(encode_meta(access)))])
    assert fresh.access is not None
    assert (fresh.access.type, fresh.access.query) == ("access.search", "what was typed")
    assert header_of(fresh).actor == ("human", "peer")
    assert b"typed" not in fresh.prepared.header  # type: ignore[union-attr]


def test_a_shard_that_is_finished_is_forgotten() -> None:
    preparer, call = make_preparer(), new_id()
    preparer.prepare([Job(record(encode_meta(request_meta(call, body=REQUEST)), data=REQUEST))])
    preparer.forget("worker0.AAAAAAAA")
    preparer.forget("worker0.AAAAAAAA")
    answer = record(encode_whole_response(response_start(call, RESPONSE), response_end()), data=RESPONSE)
    (result,) = preparer.prepare([Job(answer)])
    assert result.prepared is not None
    assert result.prepared.type == "unreadable"


@pytest.mark.parametrize("kind", ["source.start", "source.stop"])
def test_starts_and_stops(kind: Any) -> None:
    meta = SourceMeta(type=kind, id=new_id(), time_us=5, mono_us=1)
    (result,) = make_preparer().prepare([Job(record(encode_meta(meta)))])
    assert result.prepared is not None
    assert (result.prepared.type, result.prepared.time_us, result.prepared.id) == (kind, 5, meta.id)


FACTS = SourceFacts(clock=ClockEstimate(bound_us=5, offset_us=-1, synchronised=1), step_us=20_000)
COMPARED = Reconciliation(
    provider="openai",
    export="e" * 43,
    first_day="2026-01-01",
    last_day="2026-01-31",
    matched=1,
    missing=2,
    extra=3,
    missing_requests=4,
    missing_tokens="5",
)


@pytest.mark.parametrize(
    ("meta", "public"),
    [
        (SourceMeta(type="source.clock", id=new_id(), time_us=5, mono_us=1, data=FACTS), FACTS),
        (SourceMeta(type="source.start", id=new_id(), time_us=5, mono_us=1, data=FACTS), FACTS),
        (SourceMeta(type="source.heartbeat", id=new_id(), time_us=5, mono_us=1), None),
        (ReconciliationMeta(type="usage.reconciled", id=new_id(), time_us=5, mono_us=1, data=COMPARED), COMPARED),
    ],
)
def test_what_is_public_stands_in_the_leaf_as_it_was_said(meta: Any, public: Any) -> None:
    (result,) = make_preparer().prepare([Job(record(encode_meta(meta)))])
    assert result.prepared is not None
    assert (result.prepared.type, result.prepared.body) == (meta.type, None)
    assert result.prepared.public == (None if public is None else encode_meta(public))


def test_an_unfinished_record_that_says_nothing_leaves_nothing() -> None:
    assert make_preparer().prepare([Job(record(data=b"x"), unfinished=True)]) == [Result()]


@pytest.mark.parametrize(
    ("body", "coding", "is_json"),
    [
        (RESPONSE, "", True),
        (b" " + RESPONSE + b"\n", "", True),
        (RESPONSE.replace(b'"stop"', b"7"), "", True),
        (b"", "", False),
        (RESPONSE[:-1], "", False),
        (STREAM + DONE, "", False),
        (gzip.compress(RESPONSE)[:-9], "gzip", False),
        (RESPONSE, "br", False),
        (RESPONSE.replace(b"an answer", b"\xff"), "", False),
    ],
)
def test_strings_are_cited_only_in_a_wire_that_is_json(body: bytes, coding: str, is_json: bool) -> None:  # noqa: FBT001
    preparer, call = make_preparer(), new_id()
    start = msgspec.structs.replace(response_start(call, body), content_encoding=coding)
    answer = record(encode_whole_response(start, response_end()), data=body, number=2)
    jobs = [Job(record(encode_meta(request_meta(call, body=REQUEST)), data=REQUEST)), Job(answer)]
    _, result = preparer.prepare(jobs)
    assert result.prepared is not None
    assert result.prepared.body is not None
    assert result.prepared.body.json_wire is is_json


def test_an_object_has_the_members_that_are_not_null() -> None:
    names = member_names("a", "b", "é")
    assert object_of(names, b"1", b"null", b'"null"') == '{"a":1,"é":"null"}'.encode()
    assert object_of(names, b"null", b"null", b"null") == b"{}"
    with pytest.raises(ValueError, match="zip"):
        object_of(names, b"1")


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, None),
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("claude-sonnet-20250514", "claude-sonnet-20250514"),
        ("gpt-4o-2024-99-06", "unregistered"),
        ("gpt-4o-ann", "unregistered"),
        ("gpt-4o-2024-08-06-ann", "unregistered"),
        ("ann-2024-08-06", "unregistered"),
        ("gpt-4o-2024-08-06\n", "unregistered"),
        ("", "unregistered"),
    ],
)
def test_a_model_counts_as_registered_with_a_date_behind_it(name: str | None, found: str | None) -> None:
    assert registered_model(name, NAMES.models) == found


def test_names() -> None:
    known = frozenset(("a",))
    assert [registered(name, known) for name in ("a", "b", None)] == ["a", "unregistered", None]
    assert "stop" in FINISH_REASONS


def test_the_price_table_knows_the_models_of_the_day() -> None:
    models = priced_models()
    assert {"gpt-4o", "gpt-4o-mini"} <= models
    assert len(models) > 100
    assert all(isinstance(name, str) for name in models)
