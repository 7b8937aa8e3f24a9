"""What a body says of itself is read as it was written, or it is damage."""

from __future__ import annotations

import pytest

from affidavit.errors import CorruptionError
from affidavit.event import ACCESS_READ, CONTENT_SHARED, LLM_REQUEST, LLM_RESPONSE
from affidavit.seal.body_values import again
from affidavit.seal.slots import BODY_SLOTS, span


def slots(values: tuple[bytes, ...]) -> dict[str, bytes]:
    """Those that are there."""
    return {name: value for name, value in zip(BODY_SLOTS.names, values, strict=True) if value != b"null"}


@pytest.mark.parametrize(
    ("meta", "dialect"),
    [
        (b"", "openai.chat"),
        (b"[]", "openai.chat"),
        (b"\xff", "openai.chat"),
        (b"[" * 100_000, "openai.chat"),
        (b'{"content":5}', "openai.chat"),
        (b'{"content":["a"]}', "openai.chat"),
        (b'{"http":{"status":1000}}', "openai.chat"),
        (b'{"http":{"status":"200"}}', "openai.chat"),
        (b"{}", "from.the.future"),
    ],
)
def test_what_no_version_of_ours_writes_is_damage(meta: bytes, dialect: str) -> None:
    with pytest.raises(CorruptionError, match="no version of ours writes"):
        again(LLM_RESPONSE, meta=meta, wire=b"", dialect=dialect)


def test_the_slots_of_each_kind() -> None:
    meta = b'{"content":["application/json",""],"http":{"status":200},"identity":{"user":"a"},"context":{"q":1}}'
    asked = slots(again(LLM_REQUEST, meta=meta, wire=b'{"messages":[]}', dialect="openai.chat"))
    assert asked["wire"] == span(b'{"messages":[]}')
    assert asked["messages"] == span(b"[]")
    assert (asked["http"], asked["identity"], asked["context"]) == (b'{"status":200}', b'{"user":"a"}', b'{"q":1}')
    answered = slots(again(LLM_RESPONSE, meta=meta, wire=b"noise", dialect=None))
    assert answered == {"wire": span(b"noise"), "http": b'{"status":200}', "logprobs": b'"not_provided"'}
    opened = slots(again(ACCESS_READ, meta=meta, wire=b"", dialect=None))
    assert opened == {"wire": span(b""), "identity": b'{"user":"a"}', "context": b'{"q":1}'}
    assert slots(again(CONTENT_SHARED, meta=b"{}", wire=b"x", dialect=None)) == {"wire": span(b"x")}
