"""An approval is of one act, in one log, to the letter."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from affidavit.crypt.approval import approval_message, approve, is_approved_by
from affidavit.text import parse_b64u

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
ACT = {"leaves": [1, 2], "expires_us": 9, "approvers": 3}
PLACE = {"origin": "log.example/default", "kind": "erasure"}


def signature_of(data: dict[str, object]) -> bytes:
    (approval,) = data["approvals"]  # type: ignore[misc]
    assert approval["approver"] == "ada"
    return parse_b64u(approval["signature"])


def test_what_was_approved_is_approved_and_approvals_are_not_part_of_it() -> None:
    approved = approve(ACT, approvers={"ada": KEY}, **PLACE)
    message = approval_message(data=approved, **PLACE)
    assert message == approval_message(data=ACT, **PLACE)
    assert is_approved_by(PUBLIC, message=message, signature=signature_of(approved))


@pytest.mark.parametrize(
    "changed",
    [
        {"data": ACT | {"leaves": [1, 2, 3]}},
        {"data": ACT | {"expires_us": 10}},
        {"data": ACT | {"more": 1}},
        {"origin": "log.example/other"},
        {"origin": "log.example/default\0", "kind": "rasure"},
        {"kind": "hold.release"},
    ],
)
def test_anything_else_is_not(changed: dict[str, object]) -> None:
    approved = approve(ACT, approvers={"ada": KEY}, **PLACE)
    message = approval_message(**({"data": ACT} | PLACE | changed))  # type: ignore[arg-type]
    assert not is_approved_by(PUBLIC, message=message, signature=signature_of(approved))


def test_approvals_are_sorted_by_name() -> None:
    others = {name: Ed25519PrivateKey.generate() for name in ("cleo", "ada", "ben")}
    approvals = approve(ACT, approvers=others, **PLACE)["approvals"]
    assert [approval["approver"] for approval in approvals] == ["ada", "ben", "cleo"]


@pytest.mark.parametrize("key", [b"", bytes(31), b"\xff" * 32, bytes(33)])
def test_a_key_that_is_none_approves_nothing(key: bytes) -> None:
    assert not is_approved_by(key, message=b"m", signature=bytes(64))


def test_the_message_is_that_of_the_format() -> None:
    """docs/formats.md, section 18: members in order, no blank between them, and the approvals left out."""
    data = {"b": [1, "ö"], "a": {"y": 1, "x": 2}, "approvals": [{"approver": "ada", "signature": "s"}]}
    scope = rb'{"a":{"x":2,"y":1},"b":[1,"\u00f6"]}'
    expected = b"affidavit/approval/v1\0" + b"\0\x0flog.example/abc" + b"\0\7erasure" + sha256(scope).digest()
    assert approval_message(origin="log.example/abc", kind="erasure", data=data) == expected
