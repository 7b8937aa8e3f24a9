"""Manifests of bundles have one spelling, and names that stay below the bundle."""

import json

import pytest

import affidavit_verify
from affidavit.errors import FormatError
from affidavit.prove.bundle import bundle_data, format_manifest, parse_manifest

FILES = {"report.csv": b"a,b\n", "proofs/one.tlog-proof": b"x", "Report-2.pdf": b""}


def test_a_manifest_names_every_file_in_order() -> None:
    manifest = parse_manifest(format_manifest(FILES))
    assert [file.name for file in manifest.files] == sorted(FILES)
    assert bundle_data(format_manifest(FILES))["files"] == 3


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/x", "a/../b", "a//b", "a/", ".hidden", "a\0b", "a b", "manifest.json", "a/" * 8 + "b"],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        format_manifest({name: b""})


def changed(**members: object) -> bytes:
    content = json.loads(format_manifest({"a": b"1", "b": b"2"}))
    content["files"][0] |= members
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


BAD = [
    b"",
    b"[]",
    b'{"files":[],"v":2}',
    b'{"files":[],"v":true}',
    b'{"v":1,"files":[]}',
    b'{"files":[], "v":1}',
    b'{"files":[],"v":1}\n',
    b'{"files":[],"more":1,"v":1}',
    changed(name="b"),
    changed(name="c"),
    changed(name="../a"),
    changed(bytes=-1),
    changed(bytes=1.5),
    changed(bytes=2**53),
    changed(sha256="A" * 42 + "B"),
    changed(sha256="A" * 42),
    changed(more=1),
    b"\xff",
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_is_no_manifest_is_none_for_both(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_manifest(data)
    try:
        value = affidavit_verify.parse_canonical(data)
    except affidavit_verify.Damage:
        return
    names = [file["name"] for file in value["files"]] if affidavit_verify._manifest(value) else [2, 1]
    assert names != sorted(set(names))
