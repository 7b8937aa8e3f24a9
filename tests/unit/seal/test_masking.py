"""What followers and readers get of a record: masked, or nothing; and of no record an exception."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from affidavit.event import ACCESS_READ, ACCESS_SEARCH, CONTENT_SHARED, LLM_REQUEST, LLM_RESPONSE
from affidavit.mask import Masker, MaskSilentError
from affidavit.mask.search import Search
from affidavit.seal import masking as module
from affidavit.seal.masked import MaskedRow
from affidavit.seal.masking import masked_content, masked_row, unread_row
from affidavit.seal.slots import HeaderValues, pack_header
from affidavit.seal.unmasked import Unmasked

ADDRESS = "ana.lamp@example.org"
MASKER = Masker(key=bytes(32))


class Silent(Search):
    """A scanner that gives no sign of life."""

    def present(self, data: bytes) -> frozenset[int]:
        raise MaskSilentError(f"silent about {len(data)} bytes")


SILENT = Masker(key=bytes(32), policy=Silent())


def header(dialect: str | None = "openai.chat", **values: Any) -> bytes:
    return pack_header(HeaderValues(type="any", capture=("write_ahead", dialect, "full", 1), **values))


def item(kind: str = LLM_REQUEST, wire: bytes | object = b"", **members: Any) -> Unmasked:
    data = wire if isinstance(wire, bytes) else json.dumps(wire).encode()
    meta = members.pop("meta", {})
    raw = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    intent = json.dumps(members.pop("intent", {})).encode()
    defaults = {"leaf": 7, "id": "i", "call": None, "type": kind, "time_us": 1_000, "body_state": "open"}
    return Unmasked(**(defaults | {"header": header(), "wire": data, "meta": raw, "intent": intent} | members))


def row(one: Unmasked, *, masker: Masker = MASKER, masking: Any = "structured") -> MaskedRow:
    return masked_row(one, log="default", masker=masker, masking=masking)


def content(one: Unmasked, *, masker: Masker = MASKER, masking: Any = "structured") -> dict[str, Any]:
    return masked_content(one, masker=masker, masking=masking)


QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"write to {ADDRESS}"}], "temperature": 1}
REPLY = {
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": f"I wrote to {ADDRESS}",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "send_mail", "arguments": "{}"}},
                    {"id": "2", "type": "function", "function": {"name": "send_mail", "arguments": "{}"}},
                ],
            },
        }
    ],
}
JSON_TYPE = ["application/json", ""]


def test_a_request_and_its_answer() -> None:
    asked = row(item(LLM_REQUEST, QUESTION))
    assert (asked.mask_state, asked.call, asked.findings) == ("structured", "i", {"EMAIL": 1})
    assert asked.text.startswith("write to <EMAIL:")
    answered = row(item(LLM_RESPONSE, REPLY, call="c", meta={"content": JSON_TYPE, "http": {"status": 200}}))
    assert (answered.mask_state, answered.call, answered.tools) == ("structured", "c", ("send_mail",))
    assert "I wrote to <EMAIL:" in answered.text
    assert ADDRESS not in repr((asked, answered))


def test_header_values_are_told_by_name() -> None:
    values = header(
        times=(0, None, 5),
        outcome=("ok", 200, "stop", 1),
        usage=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "reported"),
        cost=("priced", 11, "USD", "digest"),
        counts=(12, 13, 14, 15, 16),
        actor=("human", "asserted"),
        model=("asked", "served"),
        policy=3,
    )
    found = row(item(header=values))
    assert (found.received_us, found.durable_us, found.forwarded_us, found.first_byte_us) == (1_000, None, 1_005, None)
    assert (found.outcome, found.status, found.finish, found.stream) == ("ok", 200, "stop", True)
    assert (found.input_uncached, found.image, found.usage_source) == (1, 10, "reported")
    assert (found.cost_state, found.cost_nano, found.currency, found.price_table) == ("priced", 11, "USD", "digest")
    assert (found.wire_bytes, found.attempts, found.actor, found.identity_assurance) == (12, 16, "human", "asserted")
    assert (found.model_requested, found.model_served, found.policy) == ("asked", "served", 3)
    bare = row(item(header=pack_header(HeaderValues(type="any"))))
    assert (bare.outcome, bare.usage_source, bare.cost_state, bare.assurance, bare.actor) == (None,) * 5
    assert row(item(header=b"")).wire_bytes is None


def test_a_scanner_that_falls_silent_leaves_nothing_readable() -> None:
    """Not the text, and not the names of the caller either, which were looked at by the same scanner."""
    meta = {"identity": {"user": ADDRESS}, "content": JSON_TYPE}
    found = row(item(LLM_REQUEST, QUESTION, meta=meta), masker=SILENT)
    assert (found.mask_state, found.text, found.user, found.findings) == ("pending", "", None, {})
    assert found.assurance == "write_ahead", "registered names need no masking"
    assert content(item(LLM_REQUEST, QUESTION), masker=SILENT) == {"state": "pending"}


@pytest.mark.parametrize("state", ["none", "erased"])
def test_a_record_without_an_open_body_has_no_text(state: str) -> None:
    one = item(LLM_REQUEST, b"", body_state=state)
    assert (row(one).mask_state, row(one).text, row(one).body_state) == ("none", "", state)
    assert content(one) == {"state": "none"}


def test_what_a_project_masks_in_full_waits() -> None:
    assert row(item(LLM_REQUEST, QUESTION), masking="full").mask_state == "pending"
    assert row(item(LLM_REQUEST, b""), masking="full").mask_state == "none", "there is nothing to wait for"
    assert content(item(LLM_REQUEST, QUESTION), masking="full") == {"state": "pending"}


def test_a_record_that_is_too_large_to_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    one = item(LLM_REQUEST, QUESTION)
    monkeypatch.setattr(module, "CONTENT_BYTES_MAX", len(one.wire))
    assert content(one)["state"] == "structured"
    monkeypatch.setattr(module, "CONTENT_BYTES_MAX", len(one.wire) - 1)
    assert content(one) == {"state": "too_large"}


@pytest.mark.parametrize("kind", [LLM_REQUEST, LLM_RESPONSE, CONTENT_SHARED, "from.the.future"])
@pytest.mark.parametrize("wire", [b"no json", b'{"a":', b"\xff\xfe"])
def test_bytes_that_are_no_text_stay_unread(kind: str, wire: bytes) -> None:
    one = item(kind, wire, meta={"content": ["text/plain", ""]})
    assert (row(one).mask_state, row(one).text) == ("pending", "")
    assert content(one) == {"state": "pending"}


def test_a_coded_request_is_read_through_its_coding() -> None:
    meta = {"content": ["application/json", "gzip"]}
    found = row(item(LLM_REQUEST, gzip.compress(json.dumps(QUESTION).encode()), meta=meta))
    assert found.mask_state == "structured"
    assert "write to <EMAIL:" in found.text
    assert row(item(LLM_REQUEST, b"no gzip", meta=meta)).mask_state == "pending"


def test_an_answer_that_its_dialect_does_not_explain_is_read_as_it_stands() -> None:
    found = row(item(LLM_RESPONSE, {"said": ADDRESS}, header=header("openai.responses")))
    assert found.text.startswith("<EMAIL:")
    assert content(item(LLM_RESPONSE, {"said": "x"}, header=header(None))) == {
        "state": "structured",
        "content": {"said": "x"},
    }
    nothing = row(item(LLM_RESPONSE, b""))
    assert (nothing.mask_state, nothing.text, nothing.tools) == ("none", "", ())
    assert content(item(LLM_RESPONSE, b"")) == {"state": "structured"}


def test_a_providers_error_is_text_too() -> None:
    wire = {"error": {"message": f"no such user: {ADDRESS}", "type": "invalid_request_error"}}
    one = item(LLM_RESPONSE, wire, meta={"content": JSON_TYPE, "http": {"status": 400}})
    assert row(one).text.startswith("no such user: <EMAIL:")
    assert content(one)["error"]["message"].startswith("no such user: <EMAIL:")


def test_an_answer_whose_status_cannot_be_read_is_read_without_one() -> None:
    one = item(LLM_RESPONSE, REPLY, meta={"content": JSON_TYPE, "http": {"status": "200"}})
    assert "I wrote to <EMAIL:" in row(one).text


def test_the_parts_of_a_request() -> None:
    asked = content(item(LLM_REQUEST, QUESTION))
    assert asked["messages"][0]["content"].startswith("write to <EMAIL:")
    assert (asked["state"], asked["params"]) == ("structured", {"temperature": 1})
    assert "system" not in asked, "of this dialect it is a message like others"
    system = {"system": f"You serve {ADDRESS}", "max_tokens": 5} | QUESTION
    assert content(item(LLM_REQUEST, system, header=header("anthropic.messages")))["system"][0].startswith(
        "You serve <"
    )
    unknown = content(item(LLM_REQUEST, {"a": [ADDRESS]}, header=header(None)))
    assert unknown["content"]["a"][0].startswith("<EMAIL:")


def test_the_parts_of_other_records() -> None:
    shared = content(item(CONTENT_SHARED, ADDRESS))
    assert shared["value"].startswith("<EMAIL:")
    assert content(item("from.the.future", [1, ADDRESS]))["content"][0] == 1
    assert content(item("from.the.future", b"")) == {"state": "structured"}


@pytest.mark.parametrize("kind", [ACCESS_READ, ACCESS_SEARCH])
def test_what_was_asked_of_the_record_is_masked_as_well(kind: str) -> None:
    context = {"view": "masked", "log": "default", "leaves": [[1, 3]], "query": f"who is {ADDRESS}"}
    found = row(item(kind, b"", meta={"context": context}))
    assert (found.view, found.opened_log, found.opened) == ("masked", "default", ((1, 3),))
    assert found.text.startswith("who is <EMAIL:")
    assert content(item(kind, b"", meta={"context": context}))["query"].startswith("who is <EMAIL:")
    plain = row(item(kind, b"", meta={"context": context | {"query": None}}))
    assert (plain.mask_state, plain.text) == ("none", "")
    assert content(item(kind, b"")) == {"state": "structured"}


# --- who and where


@pytest.mark.parametrize("meta", [b"", b"\xff", b"[]", b'{"identity":5}', b"[" * 5_000])
def test_an_unreadable_record_says_nothing_of_anybody(meta: bytes) -> None:
    found = row(item(LLM_REQUEST, QUESTION, meta=meta))
    assert (found.user, found.session, found.client_ip, found.trace) == (None,) * 4
    assert found.text.startswith("write to <EMAIL:")


def test_a_caller_is_known_by_an_address_and_by_no_secret() -> None:
    def named(user: str) -> str | None:
        return row(item(meta={"identity": {"user": user, "session": user}})).user

    assert named(ADDRESS) == ADDRESS
    assert (named("4111 1111 1111 1111") or "").startswith("<CARD:")
    assert named("u" * 2_000) == "u" * module.NAME_CHARS_MAX
    session = row(item(meta={"identity": {"user": ADDRESS, "session": ADDRESS}})).session
    assert (session or "").startswith("<EMAIL:"), "only the name of the caller may be an address"


def test_names_that_are_not_registered_are_asserted_ones() -> None:
    values = header(app="shop", team="sales")
    meta = {"identity": {"app": "shop", "team": "sales"}}
    assert (row(item(header=values, meta=meta)).app_asserted, row(item(header=values, meta=meta)).team_asserted) == (
        None,
        None,
    )
    other = row(item(header=values, meta={"identity": {"app": f"of {ADDRESS}", "team": "other"}}))
    assert (other.app, (other.app_asserted or "")[:10], other.team_asserted) == ("shop", "of <EMAIL:", "other")


def test_who_called_is_told_by_the_intent_of_an_answer() -> None:
    found = row(item(LLM_RESPONSE, REPLY, meta={"identity": {"user": "no"}}, intent={"identity": {"user": "ann"}}))
    assert found.user == "ann"


TRACE = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ({"headers": [["traceparent", f"00-{TRACE}-0123456789abcdef-01"]]}, TRACE),
        ({"headers": [["a", "b"], ["Traceparent", f" 00-{TRACE}-0123456789abcdef-01-more "]]}, TRACE),
        ({"headers": [["traceparent", f"00-{TRACE}-0123456789abcdef"]]}, None),
        ({"headers": [["traceparent", ADDRESS], ["traceparent", f"00-{TRACE}-0123456789abcdef-01"]]}, None),
        ({"headers": [["x-raceparent", TRACE]]}, None),
        ({"headers": [["traceparent"]]}, None),
        ({"headers": [["accept", "*/*"]]}, None),
        (None, None),
    ],
)
def test_the_trace_that_the_client_sent(http: object, expected: str | None) -> None:
    assert row(item(meta={"http": http})).trace == expected
    assert row(item(meta={"http": http, "identity": {"trace": "named"}})).trace == "named"


def test_a_record_that_we_cannot_read_keeps_its_place() -> None:
    found = unread_row(item(LLM_REQUEST, QUESTION), log="default")
    assert msgspec.to_builtins(found) == {
        "log": "default",
        "leaf": 7,
        "id": "i",
        "type": LLM_REQUEST,
        "time_us": 1_000,
        "mask_state": "pending",
    }
