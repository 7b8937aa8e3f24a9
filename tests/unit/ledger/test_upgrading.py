"""Which formats lie in the two directories: as they are stated, with what this version knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from affidavit.errors import LayoutError
from affidavit.ledger.layout import BODIES_MAGIC, FORMAT_LINE, HEADERS_MAGIC, SHEET_MAGIC, DataLayout
from affidavit.ledger.places import Places
from affidavit.ledger.upgrading import examine_formats


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    for directory in (places.data / "logs", places.keys):
        directory.mkdir(parents=True)
    DataLayout(places.data).format_file.write_bytes(FORMAT_LINE)
    return places


def put(places: Places, name: str, content: bytes) -> None:
    path = places.data / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def found(places: Places) -> list[tuple[str, bool]]:
    return [(each.file, each.is_known) for each in examine_formats(places)]


def test_without_a_ledger_there_is_nothing_to_look_at(places: Places) -> None:
    DataLayout(places.data).format_file.unlink()
    with pytest.raises(LayoutError, match="there is no ledger at"):
        examine_formats(places)


def test_a_ledger_of_which_parts_are_not_there_yet(places: Places) -> None:
    """A log that holds nothing has no segment, and keys may lie elsewhere."""
    (places.data / "logs" / "default").mkdir()
    (places.data / "logs" / "stray file").touch()
    assert found(places) == [("FORMAT", True)]


def test_the_newest_segment_of_each_kind_is_looked_at(places: Places) -> None:
    for kind, magic in (("bodies", BODIES_MAGIC), ("headers", HEADERS_MAGIC), ("sheets", SHEET_MAGIC)):
        put(places, f"default/{kind}/000000", b"of an old version\n")
        put(places, f"default/{kind}/000001", magic + b"content")
    put(places, "other/bodies/000000", b"afbody9\n")
    (places.keys / "ring").mkdir()
    (places.keys / "ring" / "keys").write_bytes(b"afring1\n" + bytes(80))
    assert found(places) == [
        ("FORMAT", True),
        ("logs/default/bodies/000001", True),
        ("logs/default/headers/000001", True),
        ("logs/default/sheets/000001", True),
        ("logs/other/bodies/000000", False),
        ("ring/keys", True),
    ]


def test_what_a_file_states_is_shown_as_text_whatever_it_is(places: Places) -> None:
    put(places, "default/bodies/000000", b"\x1b[31m\xff" + bytes(500))
    (_, strange) = examine_formats(places)
    assert strange.format.startswith("?[31m?")
    assert strange.format.isprintable()
    assert not strange.is_known
