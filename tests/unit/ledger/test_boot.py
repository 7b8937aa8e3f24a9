"""A shard begins with the public sealing key, or says that there is none and records nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affidavit.errors import FormatError, LayoutError
from affidavit.ledger.boot import open_shard, read_sealing_key
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.text import b64u


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    places.public.mkdir(parents=True)
    return places


def test_the_sealing_key_is_the_one_that_the_sealer_put_there(places: Places) -> None:
    (places.public / "sealing.json").write_text(f'{{"id":"01ab","public":"{b64u(bytes(range(32)))}","created_s":1}}')
    key = read_sealing_key(places)
    assert (key.id, key.public) == ("01ab", bytes(range(32)))


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"id":"01ab"}', b'{"id":1,"public":"AA"}', b"\xff"])
def test_without_a_key_that_can_be_read_nothing_is_recorded(places: Places, content: bytes | None) -> None:
    if content is not None:
        (places.public / "sealing.json").write_bytes(content)
    with pytest.raises(LayoutError, match=r"the sealer makes it when it starts\. Nothing was recorded"):
        read_sealing_key(places)
    with pytest.raises(LayoutError, match="Nothing was recorded"):
        open_shard(
            places=places, source="worker0", logs=("system",), clock_us=lambda: 1, random=os.urandom, disk=Disk()
        ).sync()


def test_a_key_in_another_spelling_is_refused(places: Places) -> None:
    (places.public / "sealing.json").write_text('{"id":"01ab","public":"+/+="}')
    with pytest.raises(FormatError):
        read_sealing_key(places)
