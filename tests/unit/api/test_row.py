"""Rows: flat names, and every one of them always there."""

import msgspec

from affidavit.api.row import BASE_FIELDS, FIELDS, HEADER_FIELDS, INPUT_BUCKETS, OUTPUT_BUCKETS, OWN_FIELDS, flatten
from affidavit.seal.slots import HEADER_SLOTS, HeaderValues

LEAF = {"log": "default", "leaf": 7, "id": "r", "call": "c", "type": "llm.response", "time_us": 1_000_000}


def opened(values: HeaderValues, **members) -> dict:
    """As it arrives from the sealer: through JSON."""
    header = {name: getattr(values, name) for name in HEADER_SLOTS.names}
    return msgspec.json.decode(msgspec.json.encode({**LEAF, "header": header, "mask_pending": ["output"], **members}))


FULL = HeaderValues(
    type="llm.response",
    times=(-900, -800, -700, -600, 0),
    app="shop",
    team="web",
    environment="production",
    provider="openai",
    model=("gpt-4o", "gpt-4o-2024-08-06"),
    outcome=("ok", 200, "stop", 1),
    policy=2,
    usage=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, "reported"),
    cost=("priced", 1_234_000, "USD", "d" * 43),
    counts=(11, 12, 13, 14, 15),
    capture=("write_ahead", "openai.chat", "full", 1),
    actor=("human", "asserted"),
)


def test_every_value_has_its_name():
    row = flatten(opened(FULL))
    assert row == {
        "id": "r",
        "call": "c",
        "type": "llm.response",
        "time_us": 1_000_000,
        "log": "default",
        "leaf": 7,
        "app": "shop",
        "team": "web",
        "environment": "production",
        "provider": "openai",
        "model_requested": "gpt-4o",
        "model_served": "gpt-4o-2024-08-06",
        "prompt": None,
        "data_class": None,
        "outcome": "ok",
        "status": 200,
        "finish": "stop",
        "stream": True,
        "policy": 2,
        "received_us": 999_100,
        "durable_us": 999_200,
        "forwarded_us": 999_300,
        "first_byte_us": 999_400,
        "last_byte_us": 1_000_000,
        "input_tokens": 1 + 2 + 4 + 8 + 16 + 128 + 512,
        "output_tokens": 32 + 64 + 256,
        "input_uncached": 1,
        "cache_read": 2,
        "cache_write_5m": 4,
        "cache_write_1h": 8,
        "cache_write_other": 16,
        "output_text": 32,
        "reasoning": 64,
        "audio_in": 128,
        "audio_out": 256,
        "image": 512,
        "usage_source": "reported",
        "cost_nano": 1_234_000,
        "currency": "USD",
        "cost_state": "priced",
        "price_table": "d" * 43,
        "wire_bytes": 11,
        "messages": 12,
        "tools_offered": 13,
        "tool_calls": 14,
        "attempts": 15,
        "assurance": "write_ahead",
        "dialect": "openai.chat",
        "normalisation": "full",
        "normaliser": 1,
        "actor": "human",
        "identity_assurance": "asserted",
        "mask_pending": ["output"],
    }


def test_no_slot_of_a_header_block_is_left_out():
    named = {"type", "times", "model", "outcome", "usage", "cost", "counts", "capture", "actor"}
    assert set(HEADER_SLOTS.names) == named | {
        "app",
        "team",
        "environment",
        "provider",
        "prompt",
        "data_class",
        "policy",
    }


def test_what_is_absent_is_null_and_its_name_is_there():
    row = flatten(opened(HeaderValues(type="source.start"), mask_pending=[]))
    assert set(row) == {*BASE_FIELDS, *HEADER_FIELDS}
    assert row["outcome"] is None
    assert row["stream"] is None
    assert row["input_tokens"] is None
    assert row["mask_pending"] == []


def test_buckets_that_were_not_reported_do_not_count_as_nothing():
    usage = (5, None, None, None, None, None, None, None, None, None, "reported")
    row = flatten(opened(msgspec.structs.replace(FULL, usage=usage)))
    assert (row["input_tokens"], row["output_tokens"]) == (5, None)


def test_no_price_is_no_amount():
    row = flatten(opened(msgspec.structs.replace(FULL, cost=("not_priced", None, None, "d" * 43))))
    names = ("cost_state", "cost_nano", "currency", "price_table")
    assert [row[name] for name in names] == ["not_priced", None, None, "d" * 43]
    row = flatten(opened(msgspec.structs.replace(FULL, cost=None)))
    assert [row[name] for name in names] == [None] * 4


def test_a_record_without_a_header_block_has_its_leaf_only():
    assert flatten({**LEAF, "header": None, "mask_pending": []}) == LEAF
    assert flatten({**LEAF, "header": None, "data": {"epoch": 1}}) == LEAF | {"data": {"epoch": 1}}


def test_every_member_is_documented_once():
    assert set(FIELDS) == {*BASE_FIELDS, *OWN_FIELDS, *HEADER_FIELDS}
    assert all(FIELDS.values())
    assert set(INPUT_BUCKETS) & set(OUTPUT_BUCKETS) == set()
