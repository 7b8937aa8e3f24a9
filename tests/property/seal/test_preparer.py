"""Whatever a record says, something comes out that can be sealed, and canonical JSON is what RFC 8785 says it is."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import msgspec
import rfc8785
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.crypt.block import Place
from affidavit.event import NUMBER_MAX, encode_meta, encode_whole_response
from affidavit.ledger.cut import WalRecord
from affidavit.ledger.leaf import Header, Leaf, Source, format_leaf
from affidavit.seal.names import Names
from affidavit.seal.preparer import Job, Preparer, Result
from affidavit.seal.slots import HEADER_SLOTS, canonical, header_values_json, unpack_header
from tests.support.installation import chat_request, chat_response, new_id, request_meta, response_end, response_start

BODY = chat_request("s", "q")
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from((2**53 - 1, 2**53, 2**63, 2**64, -(2**80), 10**30)))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-NUMBER_MAX, NUMBER_MAX), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abcXYZ_.-", max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)
PLACE = Place("origin/log")


def record(metas: tuple[bytes, ...], data: bytes = BODY, *, number: int = 1) -> WalRecord:
    return WalRecord(
        shard="worker0.AAAAAAAA",
        source="worker0",
        boot="AAAAAAAA",
        log="default",
        number=number,
        file=1,
        seq=number,
        digest=bytes(32),
        metas=metas,
        data=data,
    )


def make_preparer() -> Preparer:
    names = Names(apps=frozenset(("shop",)), models=frozenset(("gpt-4o",)), environment="test")
    return Preparer(names=names, policy=7, random=os.urandom, clock_us=lambda: 1_700_000_000_000_000)


def require_sealable(result: Result) -> None:
    """What the sealer does with it works: a leaf, associated data, a header that reads back as committed."""
    prepared = result.prepared
    assert prepared is not None
    header = Header("A" * 43, "B" * 43)
    source = Source(id="worker0", boot="AAAAAAAA", seq=1)
    leaf = Leaf.of(
        id=prepared.id,
        src=source,
        time_us=prepared.time_us,
        type=prepared.type,
        header=header,
        links=prepared.links,
    )
    assert format_leaf(leaf)
    AESGCM(bytes(32)).encrypt(
        bytes(12), prepared.header, PLACE.header(prepared.id, key_version=1) + PLACE.body(prepared.id)
    )
    values = unpack_header(prepared.header[33:])
    slots = header_values_json(values)
    assert HEADER_SLOTS.root(prepared.header[1:33], slots) == prepared.header_root
    for slot in slots:
        assert rfc8785.dumps(json.loads(slot)) == slot
    if prepared.body is not None:
        assert json.loads(prepared.body.meta) is not None
        msgspec.msgpack.encode(prepared)


def changed(meta: bytes, member: str, value: object) -> bytes:
    return json.dumps(json.loads(meta) | {member: value}).encode()


MEMBERS = {
    "llm.request": (
        "id",
        "time_us",
        "provider",
        "path",
        "content_type",
        "content_encoding",
        "http",
        "identity",
        "context",
    ),
    "llm.response": ("id", "call", "time_us", "http", "content_type", "outcome", "times", "attempts", "error", "type"),
}


@settings(max_examples=200)
@given(member=st.sampled_from(MEMBERS["llm.request"]), value=JSON)
def test_a_request_whose_meta_is_not_what_we_write(member: str, value: object) -> None:
    meta = changed(encode_meta(request_meta(new_id(), body=BODY)), member, value)
    require_sealable(make_preparer().prepare([Job(record((meta,)))])[0])


@settings(max_examples=200)
@given(member=st.sampled_from(MEMBERS["llm.response"]), value=JSON)
def test_a_response_whose_meta_is_not_what_we_write(member: str, value: object) -> None:
    call = new_id()
    request = encode_meta(request_meta(call, body=BODY))
    body = chat_response("x")
    response = changed(encode_whole_response(response_start(call, body), response_end()), member, value)
    jobs = [Job(record((request,))), Job(record((response,), body, number=2))]
    for result in make_preparer().prepare(jobs):
        require_sealable(result)


@settings(max_examples=200)
@given(value=JSON, member=st.sampled_from(("usage", "choices", "model", "id", "error", "service_tier", "created")))
def test_a_provider_may_answer_anything(member: str, value: object) -> None:
    call = new_id()
    body = changed(chat_response("x"), member, value)
    response = encode_whole_response(response_start(call, body), response_end())
    jobs = [Job(record((encode_meta(request_meta(call, body=BODY)),))), Job(record((response,), body, number=2))]
    results = make_preparer().prepare(jobs)
    assert [result.prepared and result.prepared.type for result in results] == ["llm.request", "llm.response"]
    for result in results:
        require_sealable(result)


@settings(max_examples=200)
@given(
    body=st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())), kind=st.integers(0, 3)
)
def test_a_client_may_send_anything(body: bytes, kind: int) -> None:
    path = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/unknown?x=1")[kind]
    result = make_preparer().prepare([Job(record((encode_meta(request_meta(new_id(), body=body, path=path)),), body))])[
        0
    ]
    require_sealable(result)
    assert result.prepared is not None
    assert result.prepared.type == "llm.request"
    assert result.prepared.body is not None
    assert result.prepared.body.has_wire


@settings(max_examples=200)
@given(metas=st.lists(st.binary(max_size=40), max_size=3).map(tuple), data=st.binary(max_size=20))
def test_noise_is_kept_as_unreadable(metas: tuple[bytes, ...], data: bytes) -> None:
    preparer = make_preparer()
    result = preparer.prepare([Job(record(metas, data))])[0]
    require_sealable(result)
    assert result.prepared is not None
    assert result.prepared.type == "unreadable"
    assert result.prepared.body is not None
    assert result.prepared.body.has_wire
    assert preparer.prepare([Job(record(metas, data), sealed=True)]) == [Result()]


def test_what_would_overflow_a_decoder_or_an_encoder() -> None:
    request = encode_meta(request_meta(new_id(), body=BODY))
    hostile = [
        b'{"type":"llm.request","zzz":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"type":"llm.request","id":"\xff\xfe"}',
        changed(request, "identity", {"user": "\ud800"}),
        changed(request, "id", "../../etc/passwd"),
        changed(request, "id", new_id().upper()),
        changed(request, "id", new_id() + "\n"),
        changed(request, "time_us", 0),
        changed(request, "time_us", 2**53),
        b"[]",
        b"",
        b"null",
    ]
    for meta in hostile:
        result = make_preparer().prepare([Job(record((meta,)))])[0]
        require_sealable(result)
        assert result.prepared is not None
        assert result.prepared.type == "unreadable", meta[:60]


@given(value=PLAIN)
def test_our_canonical_json_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_every_control_character_is_escaped_as_rfc_8785_says() -> None:
    text = "".join(map(chr, range(0x200))) + "\u2028\u2029\ufeff\uffff\U0001f600"
    assert canonical(text) == rfc8785.dumps(text)
    chance, letters = random.Random(1), (*range(0xD800), *range(0xE000, 0x11000))
    for _ in range(200):
        text = "".join(map(chr, chance.choices(letters, k=20)))
        assert canonical(text) == rfc8785.dumps(text)
