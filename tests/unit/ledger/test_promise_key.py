"""The key for promises: made once, published under its name, and refused where its halves do not belong together."""

from pathlib import Path

import pytest

from affidavit.errors import LayoutError
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.ledger.promise_key import open_promise_signer, publish_promise_key, read_promise_vkey
from affidavit.tlog.note import format_vkey


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    places.public.mkdir(parents=True)
    (places.keys / "promise.key").write_bytes(b"k" * 32)
    return places


def test_what_is_published_is_what_signs(places: Places) -> None:
    assert read_promise_vkey(places) is None
    publish_promise_key(places, prefix="a.example", disk=Disk())
    signer = open_promise_signer(places)
    assert signer.key.name == "a.example/system/promise"
    assert format_vkey(signer.key) == read_promise_vkey(places)


def test_publishing_again_writes_nothing(places: Places) -> None:
    publish_promise_key(places, prefix="a.example", disk=Disk())
    state = (places.public / "promise.vkey").stat()
    publish_promise_key(places, prefix="a.example", disk=Disk())
    assert (places.public / "promise.vkey").stat() == state
    (places.keys / "promise.key").write_bytes(b"n" * 32)
    publish_promise_key(places, prefix="a.example", disk=Disk())
    assert format_vkey(open_promise_signer(places).key) == read_promise_vkey(places)


@pytest.mark.parametrize("damage", ["unpublished", "no seed", "short seed", "another seed", "no vkey"])
def test_halves_that_do_not_belong_together_promise_nothing(places: Places, damage: str) -> None:
    seed, vkey = places.keys / "promise.key", places.public / "promise.vkey"
    if damage != "unpublished":
        publish_promise_key(places, prefix="a.example", disk=Disk())
    if damage == "no seed":
        seed.unlink()
    elif damage == "short seed":
        seed.write_bytes(b"k" * 31)
    elif damage == "another seed":
        seed.write_bytes(b"n" * 32)
    elif damage == "no vkey":
        vkey.write_text("hello\n")
    with pytest.raises(LayoutError, match="affidavit up"):
        open_promise_signer(places)
