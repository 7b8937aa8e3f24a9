"""Leaves in bundles: what passes together is exactly what passes one by one."""

import base64
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import FormatError
from affidavit.ledger import leaf as ledger_leaf
from affidavit.prove.columns import check_digests, uuid_bytes
from affidavit.prove.leaves import parse_facts, parse_leaf, parse_leaves
from affidavit.text import b64u, parse_b64u, short_id

LONG_ID = "01985f0e-7c1b-7aaa-8001-0123456789ab"
ID = short_id(LONG_ID)
DIGEST = b64u(bytes(range(32)))


def entry(**changes: object) -> bytes:
    value = {
        "v": 1,
        "id": ID,
        "type": "llm.request",
        "time_us": 1_763_700_000_000_000,
        "src": {"id": "worker0", "boot": "AAAAAAAA", "seq": 1, "digest": DIGEST},
        "header": {"root": DIGEST, "sha256": DIGEST},
        "body": {"root": DIGEST, "sha256": DIGEST, "bucket": 9},
    }
    value |= changes
    kept = {name: member for name, member in value.items() if member is not None}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def src(**changes: object) -> dict[str, object]:
    return {"id": "worker0", "boot": "AAAAAAAA", "seq": 1} | changes


GOOD = {
    "an intent": entry(),
    "an outcome": entry(type="llm.response", links={"call": ID}),
    "a correction": entry(links={"call": ID, "of": ID}),
    "no digest": entry(src=src()),
    "shared content": entry(type="content.shared", header=None, src=src()),
    "data": entry(type="config.change", data={"sha256": None}, header=None, body=None, src=src()),
    "more data": entry(
        type="config.change", data={"masking": DIGEST, "sha256": DIGEST}, header=None, body=None, src=src()
    ),
}
BAD = {
    "empty": b"",
    "no JSON": b"x",
    "an array": b"[]",
    "a newline behind it": entry() + b"\n",
    "a newline in it": entry().replace(b",", b",\n", 1),
    "a space": entry().replace(b":", b": ", 1),
    "another order": b'{"v":1,' + entry()[1:-7] + b"}",
    "a member twice": entry().replace(b'"v":1', b'"v":1,"v":1'),
    "an unknown member": entry(more=1),
    "an unknown member of src": entry(src=src(more=1)),
    "another version": entry(v=2),
    "a version that is no number": entry(v=True),
    "a member that is null": entry().replace(b'"v":1', b'"data":null,"v":1'),
    "an escape": entry().replace(b"llm.request", b"llm\\u002erequest"),
    "not ASCII": entry(type="llm.r\u00e9quest").replace(b"\\u00e9", "\u00e9".encode()),
    "a float": entry(time_us=1.0),
    "an exponent": entry().replace(b'"seq":1', b'"seq":1e0'),
    "zero time": entry(time_us=0),
    "a time of 2^53": entry(time_us=2**53),
    "seq 0": entry(src=src(seq=0)),
    "seq of 2^53": entry(src=src(seq=2**53)),
    "a UUID of version 4": entry(id=short_id(LONG_ID.replace("-7aaa", "-4aaa"))),
    "a UUID of another variant": entry(id=short_id(LONG_ID.replace("-8001", "-c001"))),
    "a UUID in its long form": entry(id=LONG_ID),
    "a UUID in plain base64": entry(id="+" + ID[1:]),
    "a UUID of other characters": entry(id="*" + ID[1:]),
    "a UUID with unused bits": entry(id=ID[:-1] + chr(ord(ID[-1]) + 1)),
    "a short UUID": entry(id=ID[:-1]),
    "a long UUID": entry(id=ID + "A"),
    "a link that is no UUID": entry(links={"call": "x"}),
    "a link that is null": entry().replace(b'"src"', b'"links":{"call":null},"src"'),
    "no link": entry(links={}),
    "another link": entry(links={"other": ID}),
    "a digest that is too short": entry(header={"root": DIGEST[:-1], "sha256": DIGEST}),
    "a digest with unused bits": entry(header={"root": "A" * 42 + "B", "sha256": DIGEST}),
    "a digest in plain base64": entry(header={"root": "+" * 43, "sha256": DIGEST}),
    "a digest with padding": entry(header={"root": "A" * 42 + "=", "sha256": DIGEST}),
    "a digest of other characters": entry(src=src(digest="*" * 43)),
    "a source in capitals": entry(src=src(id="Worker0")),
    "a boot that is too long": entry(src=src(boot="AAAAAAAAA")),
    "a type in capitals": entry(type="LLM.request"),
    "an empty type": entry(type=""),
    "data on an ordinary leaf": entry(data={}),
    "deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


def test_good_leaves_pass_together_and_alone() -> None:
    entries = list(GOOD.values())
    assert parse_leaves(entries) == [parse_leaf(one) for one in entries]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_leaf_fails_alone_and_in_company(name: str) -> None:
    with pytest.raises(FormatError):
        parse_leaf(BAD[name])
    for at in (0, 1, 2):
        with pytest.raises(FormatError):
            parse_leaves([*[entry()] * at, BAD[name], *[entry()] * (2 - at)])


@pytest.mark.parametrize("name", GOOD)
def test_the_reader_of_the_ledger_accepts_the_same(name: str) -> None:
    assert ledger_leaf.parse_leaf(GOOD[name]).id == LONG_ID


def test_entries_that_are_leaves_only_when_joined_are_none() -> None:
    whole = entry(type="gap", data={"a": [{"b": 1}, {"c": 2}]}, header=None, body=None, src=src())
    half = whole.index(b",{")
    first, second = whole[:half], whole[half + 1 :]
    for entries in ([first, second, entry() + b"," + entry()], [entry() + b"\n" + entry(), b""], [first, second]):
        with pytest.raises(FormatError):
            parse_leaves(entries)


@given(st.lists(st.uuids(version=4), min_size=1, max_size=300))
def test_uuids_are_read_as_the_library_reads_them(uuids: list[uuid.UUID]) -> None:
    sevens = [f"{str(one)[:14]}7{str(one)[15:]}" for one in uuids]
    assert uuid_bytes([short_id(one) for one in sevens]) == b"".join(uuid.UUID(one).bytes for one in sevens)


@given(st.lists(st.uuids(version=4), min_size=2, max_size=20), st.data())
def test_characters_may_not_move_from_one_uuid_to_the_next(uuids: list[uuid.UUID], data: st.DataObject) -> None:
    texts = [short_id(f"{str(one)[:14]}7{str(one)[15:]}") for one in uuids]
    at = data.draw(st.integers(0, len(texts) - 2))
    texts[at], texts[at + 1] = texts[at] + texts[at + 1][:1], texts[at + 1][1:]
    with pytest.raises(FormatError):
        uuid_bytes(texts)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=50))
def test_digests_in_their_one_spelling_pass(digests: list[bytes]) -> None:
    check_digests([b64u(digest) for digest in digests])


@given(st.text(alphabet="ABCDEFGHabcdefgh0189-_+/=", min_size=43, max_size=43))
def test_a_digest_passes_if_and_only_if_it_is_canonical(text: str) -> None:
    try:
        canonical = len(parse_b64u(text)) == 32 and base64.urlsafe_b64encode(parse_b64u(text)).decode()[:43] == text
    except FormatError:
        canonical = False
    try:
        check_digests([DIGEST, text, DIGEST])
    except FormatError:
        assert not canonical
    else:
        assert canonical


FACTS = {
    "a digest with unused bits": ("config.change", {"sha256": "A" * 42 + "B"}),
    "a masking that is none": ("config.change", {"masking": None, "sha256": DIGEST}),
    "an empty list of projects in mark mode": ("config.change", {"mark": [], "sha256": DIGEST}),
    "a project in mark mode that is none": ("config.change", {"mark": ["System!"], "sha256": DIGEST}),
    "masking alone": ("config.change", {"masking": DIGEST}),
    "a float": ("epoch.open", {"epoch": 1.0, "previous": None}),
    "a boolean": ("epoch.open", {"epoch": True, "previous": None}),
    "one member more": ("epoch.open", {"epoch": 1, "previous": None, "more": 1}),
    "one member less": ("epoch.open", {"epoch": 1}),
    "an epoch 0": ("epoch.open", {"epoch": 0, "previous": None}),
    "too many rows": ("key.sheet", {"segment": 0, "version": 1, "rows": 65_537, "sha256": DIGEST}),
    "another reason": (
        "gap",
        {"id": "a", "boot": "AAAAAAAA", "first": 1, "last": None, "reason": "none", "count": None},
    ),
    "one key only": ("project.create", {"project": "a", "origin": "b", "vkeys": ["c"]}),
    "a project of another form": ("project.create", {"project": "A", "origin": "b", "vkeys": ["c", "d"]}),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_the_format_does_not_know_are_refused(name: str) -> None:
    kind, data = FACTS[name]
    one = parse_leaf(entry(type=kind, data=data, header=None, body=None, src=src()))
    with pytest.raises(FormatError):
        parse_facts(one, log="system")


def test_some_types_belong_into_the_system_log() -> None:
    one = parse_leaf(GOOD["data"])
    assert parse_facts(one, log="system") is not None
    with pytest.raises(FormatError, match="system log"):
        parse_facts(one, log="default")


@pytest.mark.parametrize("kind", ["source.heartbeat", "source.stop", "unreadable", "access.read"])
def test_ordinary_records_have_no_data(kind: str) -> None:
    assert parse_leaf(entry(type=kind, body=None)).data is None
    with pytest.raises(FormatError):
        parse_leaf(entry(type=kind, data={}, header=None, body=None))
