"""Frames of the write-ahead log: what goes in comes out, and no changed byte passes."""

import contextlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st

from affidavit.errors import CorruptionError, FormatError
from affidavit.ledger.frame import (
    HEADER_BYTES,
    HEADER_BYTES_MAX,
    MAGIC,
    PLAINTEXT_BYTES_MAX,
    TAG_BYTES,
    FileHeader,
    Frame,
    format_content,
    format_file_header,
    format_frame,
    open_frame,
    parse_content,
    parse_file_header,
    parse_frame,
    position,
    split_position,
)

AEAD = AESGCM(bytes(32))
SHARD = b"worker0.AAAAAAAA"
U64, U32, U16 = (st.integers(0, 2**bits - 1) for bits in (64, 32, 16))
PLACES = st.fixed_dictionaries(
    {"record": U64, "number": U32, "last": st.integers(0, 1), "log": U16, "key_file": U32, "key_index": U32}
    | {"seq": U64, "synced_to": U64}
)
SMALL = format_frame(
    aead=AEAD,
    shard=SHARD,
    record=3,
    number=0,
    last=1,
    log=1,
    key_file=1,
    key_index=2,
    seq=9,
    synced_to=position(file=1, offset=77),
    plaintext=format_content(meta=b'{"a":1}', data=b"some bytes"),
)
HEADER = FileHeader(
    v=1,
    source="worker0",
    boot="AAAAAAAA",
    file=1,
    time_us=5,
    logs=("system", "default"),
    sealing_key="0000002a",
    eph="A" * 43,
)


@given(places=PLACES, plaintext=st.binary(max_size=300), before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_a_frame_comes_back_as_it_was_written(
    places: dict[str, int], plaintext: bytes, before: bytes, after: bytes
) -> None:
    raw = format_frame(aead=AEAD, shard=SHARD, plaintext=plaintext, **places)
    frame = parse_frame(before + raw + after, len(before))
    assert frame == Frame(**(places | {"last": bool(places["last"])}), raw=raw)
    assert open_frame(frame, aead=AEAD, shard=SHARD) == plaintext
    with pytest.raises(CorruptionError):
        open_frame(frame, aead=AEAD, shard=b"worker1.AAAAAAAA")
    with pytest.raises(CorruptionError):
        open_frame(frame, aead=AESGCM(b"\1" * 32), shard=SHARD)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_change_of_any_byte_is_noticed(flip: int) -> None:
    for place in range(len(SMALL)):
        changed = bytearray(SMALL)
        changed[place] ^= flip
        for data in (bytes(changed), bytes(changed) + bytes(2 * PLAINTEXT_BYTES_MAX)):
            try:
                assert parse_frame(data, 0) is None, f"byte {place}"
            except CorruptionError:
                continue
        # With more bytes behind it, no length can hide the change.
        with pytest.raises(CorruptionError):
            parse_frame(bytes(changed) + bytes(2 * PLAINTEXT_BYTES_MAX), 0)


def test_a_frame_that_is_not_all_there_is_waited_for() -> None:
    assert [parse_frame(SMALL[:length], 0) for length in range(len(SMALL))] == [None] * len(SMALL)


@given(data=st.binary(max_size=200))
def test_no_bytes_make_a_frame_by_chance(data: bytes) -> None:
    with contextlib.suppress(CorruptionError):
        assert parse_frame(data, 0) is None


def test_the_largest_frame_passes_and_the_next_does_not() -> None:
    def raw(size: int) -> bytes:
        places = {
            "record": 1,
            "number": 0,
            "last": 1,
            "log": 0,
            "key_file": 1,
            "key_index": 0,
            "seq": 1,
            "synced_to": 0,
        }
        return format_frame(aead=AEAD, shard=SHARD, plaintext=bytes(size), **places)

    assert len(raw(PLAINTEXT_BYTES_MAX)) == HEADER_BYTES + PLAINTEXT_BYTES_MAX + TAG_BYTES + 4
    assert parse_frame(raw(PLAINTEXT_BYTES_MAX), 0) is not None
    with pytest.raises(CorruptionError):
        parse_frame(raw(PLAINTEXT_BYTES_MAX + 1), 0)


@given(meta=st.binary(max_size=50), data=st.binary(max_size=50))
def test_content_comes_back(meta: bytes, data: bytes) -> None:
    assert parse_content(format_content(meta=meta, data=data)) == (meta, data)


@pytest.mark.parametrize("plaintext", [b"", b"\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xffabc"])
def test_content_that_is_shorter_than_it_says(plaintext: bytes) -> None:
    with pytest.raises(FormatError):
        parse_content(plaintext)


@given(file=st.integers(1, 2**23), offset=st.integers(0, 2**40 - 1), other=st.integers(0, 2**40 - 1))
def test_places_are_ordered_as_their_bytes(file: int, offset: int, other: int) -> None:
    assert split_position(position(file=file, offset=offset)) == (file, offset)
    assert position(file=file + 1, offset=0) > position(file=file, offset=offset)
    assert (position(file=file, offset=offset) < position(file=file, offset=other)) == (offset < other)


@given(source=st.text("abc-", max_size=9), logs=st.lists(st.text("ab", min_size=1), max_size=4), file=U32, time_us=U32)
@example(source="", logs=[], file=0, time_us=0)
def test_a_file_header_comes_back(source: str, logs: list[str], file: int, time_us: int) -> None:
    header = FileHeader(
        v=1, source=source, boot="A" * 8, file=file, time_us=time_us, logs=tuple(logs), sealing_key="k", eph="e"
    )
    data = format_file_header(header)
    assert parse_file_header(data) == (header, len(data))
    assert parse_file_header(data + b"frames") == (header, len(data))
    assert [parse_file_header(data[:length]) for length in range(len(data))] == [None] * len(data)


def test_a_changed_byte_of_a_file_header_is_noticed() -> None:
    data = format_file_header(HEADER)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x20
        with pytest.raises(CorruptionError):
            parse_file_header(bytes(changed) + bytes(HEADER_BYTES_MAX))


def test_a_header_with_a_member_that_nobody_knows() -> None:
    from zlib import crc32

    body = b'{"v":1,"later":true}'
    data = MAGIC + len(body).to_bytes(4, "big") + body
    with pytest.raises(CorruptionError, match="other members"):
        parse_file_header(data + crc32(data).to_bytes(4, "big"))
