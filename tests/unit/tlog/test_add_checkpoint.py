"""Bodies of the witness protocol: the specification's examples, limits at n and n + 1, and what is kept of answers."""

from __future__ import annotations

import pytest

from affidavit.errors import FormatError
from affidavit.tlog import add_checkpoint
from affidavit.tlog.add_checkpoint import (
    AddCheckpoint,
    format_add_checkpoint,
    format_conflict,
    origin_hash,
    parse_add_checkpoint,
    parse_conflict,
    with_cosignatures,
)
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner
from affidavit.tlog.note import (
    SIGNATURES_MAX,
    NoteSignature,
    SignatureError,
    format_signature_lines,
    parse_note,
    parse_signature_lines,
)
from tests.unit.tlog.conftest import TIMESTAMP, Log

# tlog-witness, "add-checkpoint": the example request and the example response.
REQUEST = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501 - as it stands in the specification
RESPONSE = """\
— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
""".encode()  # noqa: E501 - the same


def test_the_examples_of_the_specification() -> None:
    request = parse_add_checkpoint(REQUEST)
    assert (request.old_size, len(request.proof)) == (20852014, 4)
    assert request.checkpoint.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert format_add_checkpoint(request) == REQUEST
    lines = parse_signature_lines(RESPONSE)
    assert [line.name for line in lines] == ["witness.example/w1", "witness.example/w1", "witness.example/w2"]
    assert format_signature_lines(lines) == RESPONSE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1\n\n",
        REQUEST.replace(b"old ", b"old  "),
        REQUEST.replace(b"old ", b"Old "),
        REQUEST.replace(b"old 2", b"old 02"),
        REQUEST.replace(b"old 2", b"old -2"),
        REQUEST.replace(b"old 20852014", b"old 9223372036854775808"),  # 2^63
        REQUEST.replace(b"pkaw=\n", b"pkaw=\r\n"),
        REQUEST.replace(b"pkaw=\n", b"pkax=\n"),  # bits behind the last byte
        REQUEST.replace(b"pkaw=\n", b"\n"),
        REQUEST.replace(b"\n\nexample", b"\nexample"),
        REQUEST[:-1],
        REQUEST.replace(b"old ", b"\xff"),
        b"\n" + REQUEST,
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_add_checkpoint(body)


@pytest.mark.parametrize(
    "request_",
    [
        AddCheckpoint(-1, (), b""),
        AddCheckpoint(2**63, (), b""),
        AddCheckpoint(3, (b"short",), b""),
        AddCheckpoint(3, [bytes(32)], b""),  # type: ignore[arg-type]  # a list is not read back as one
    ],
)
def test_what_would_not_be_read_back_is_not_written(log: Log, request_: AddCheckpoint) -> None:
    with pytest.raises(FormatError):
        format_add_checkpoint(AddCheckpoint(request_.old_size, request_.proof, log.head))
    with pytest.raises(FormatError):
        format_add_checkpoint(AddCheckpoint(3, (), b"no checkpoint"))


def test_the_longest_proof_and_one_hash_more(log: Log) -> None:
    longest = AddCheckpoint(1, (bytes(32),) * add_checkpoint.PROOF_LINES_MAX, log.head)
    assert parse_add_checkpoint(format_add_checkpoint(longest)) == longest
    with pytest.raises(FormatError, match="64 hashes"):
        format_add_checkpoint(AddCheckpoint(1, (bytes(32),) * 64, log.head))


def test_the_largest_checkpoint_and_request(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    request = AddCheckpoint(1, (), log.head)
    monkeypatch.setattr(add_checkpoint, "CHECKPOINT_SIZE_MAX", len(log.head))
    assert format_add_checkpoint(request)
    monkeypatch.setattr(add_checkpoint, "CHECKPOINT_SIZE_MAX", len(log.head) - 1)
    with pytest.raises(FormatError, match="limit"):
        format_add_checkpoint(request)
    with pytest.raises(FormatError, match="limit"):
        parse_add_checkpoint(b"x" * (add_checkpoint.REQUEST_SIZE_MAX + 1))


def test_a_request_says_that_its_number_is_the_old_size(log: Log) -> None:
    data = format_add_checkpoint(AddCheckpoint(3, (), log.head))
    assert data.startswith(b"old 3\n\n")
    for first in (b"3", b"Old 3", b" old 3", b"new 3", b""):
        with pytest.raises(FormatError):
            parse_add_checkpoint(data.replace(b"old 3", first, 1))


def test_the_size_of_a_request_is_bounded_before_it_is_taken_apart(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    data = format_add_checkpoint(AddCheckpoint(3, (), log.head))
    monkeypatch.setattr(add_checkpoint, "REQUEST_SIZE_MAX", len(data))
    assert parse_add_checkpoint(data).old_size == 3
    monkeypatch.setattr(add_checkpoint, "REQUEST_SIZE_MAX", len(data) - 1)
    with pytest.raises(FormatError, match="a request of"):
        parse_add_checkpoint(data)


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_a_conflict_names_the_size(size: int) -> None:
    assert parse_conflict(format_conflict(size)) == size


@pytest.mark.parametrize("body", [b"", b"7", b"7\n\n", b" 7\n", b"07\n", b"-1\n", b"9223372036854775808\n", b"\xff\n"])
def test_a_conflict_without_a_size(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_conflict(body)


def test_an_origin_is_named_by_its_hash() -> None:
    assert origin_hash("example.com/log") == "4d3203c8f35cdf600e475f55fede6081a703d3d322f208865fca2ec4f0e030f8"


# --- what a log keeps of an answer ------------------------------------------------------------------------------------


def test_lines_of_the_witness_are_appended_once_and_others_left_out(
    log: Log, witness: Ed25519Cosigner, pq_witness: MlDsa44Cosigner
) -> None:
    text = parse_note(log.head).text
    lines = (witness.sign(text, TIMESTAMP), pq_witness.sign(text, TIMESTAMP))
    once = with_cosignatures(log.head, lines, [witness.key])
    assert parse_note(once).signatures == (*parse_note(log.head).signatures, lines[0])
    both = with_cosignatures(once, lines, [pq_witness.key, witness.key])
    assert parse_note(both).signatures == (*parse_note(log.head).signatures, *lines)
    assert with_cosignatures(both, lines, [witness.key]) == both


def test_a_line_over_another_checkpoint_spoils_the_answer(log: Log, witness: Ed25519Cosigner) -> None:
    text = parse_note(log.head).text
    wrong = witness.sign(text.replace(b"\n7\n", b"\n8\n"), TIMESTAMP)
    with pytest.raises(SignatureError, match="another checkpoint"):
        with_cosignatures(log.head, (wrong,), [witness.key])


def test_an_answer_without_a_known_key(log: Log, witness: Ed25519Cosigner, pq_witness: MlDsa44Cosigner) -> None:
    line = pq_witness.sign(parse_note(log.head).text, TIMESTAMP)
    with pytest.raises(SignatureError, match="none of the known keys"):
        with_cosignatures(log.head, (line,), [witness.key])


def test_too_many_lines_are_refused() -> None:
    line = NoteSignature("w", b"\0\0\0\1", b"x")
    assert len(parse_signature_lines(format_signature_lines([line] * SIGNATURES_MAX))) == SIGNATURES_MAX
    with pytest.raises(FormatError, match="limit"):
        format_signature_lines([line] * (SIGNATURES_MAX + 1))
    for body in (b"", b"\n", "— w AAAAAXg=".encode()):
        with pytest.raises(FormatError):
            parse_signature_lines(body)
