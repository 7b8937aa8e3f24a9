"""The sealing keys: a new pair each day, and the old private half dies when nothing needs it any more, never before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.crypt.ratchet import Ratchet, decapsulate, encapsulate
from affidavit.crypt.sealing import GRACE_S, ROTATE_S, SealingKeys
from affidavit.errors import CorruptionError, KeyMissingError
from affidavit.ledger.boot import read_sealing_key
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places


class Bench:
    """Sealing keys over a directory, and a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.now_s = 1_700_000_000
        self.places = Places(data=root / "data", keys=root / "keys")
        self.places.public.mkdir(parents=True)

    def open(self) -> SealingKeys:
        return SealingKeys(
            private=self.places.keys / "sealing",
            public=self.places.public / "sealing.json",
            files=Disk(),
            random=os.urandom,
            clock_s=lambda: self.now_s,
        )

    def ids(self) -> set[str]:
        return {path.name for path in (self.places.keys / "sealing").iterdir()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_public_half_that_writers_read_belongs_to_the_private_half(bench: Bench) -> None:
    keys = bench.open()
    public = read_sealing_key(bench.places)
    assert public.id == keys.current_id
    assert len(bytes.fromhex(public.id)) == 4
    private = X25519PrivateKey.from_private_bytes(keys.private(public.id))
    assert private.public_key().public_bytes_raw() == public.public
    assert (bench.places.keys / "sealing" / public.id).stat().st_mode & 0o777 == 0o600


def test_a_restart_keeps_the_pair(bench: Bench) -> None:
    assert bench.open().current_id == bench.open().current_id
    assert len(bench.ids()) == 1


def test_a_pair_serves_for_a_day(bench: Bench) -> None:
    keys = bench.open()
    bench.now_s += ROTATE_S - 1
    assert not keys.is_due()
    bench.now_s += 1
    assert keys.is_due()
    old = keys.current_id
    assert keys.rotate().id == keys.current_id == bench.open().current_id != old
    assert bench.ids() == {old, keys.current_id}
    assert not keys.is_due()


@pytest.mark.parametrize(
    ("age", "named", "newest", "dies"),
    [
        (GRACE_S, (), (), True),
        (GRACE_S - 1, (), (), False),  # a writer may have read the old public key just now
        (GRACE_S, ("old",), (), False),  # a file is still to be read
        (GRACE_S, ("old",), ("old",), False),
        (GRACE_S, (), ("old",), False),  # a live writer has not taken up the new key
        (GRACE_S, ("new",), ("new",), True),
        (GRACE_S, (), ("gone before",), False),
    ],
)
def test_when_an_old_private_half_dies(
    bench: Bench,
    age: int,
    named: tuple[str, ...],
    newest: tuple[str, ...],
    dies: bool,  # noqa: FBT001
) -> None:
    keys = bench.open()
    old, new = keys.current_id, keys.rotate().id
    by_name = {"old": old, "new": new}
    bench.now_s += age
    found = keys.destroy_unused(
        named=frozenset(by_name.get(name, name) for name in named),
        newest=frozenset(by_name.get(name, name) for name in newest),
    )
    assert found == ([old] if dies else [])
    assert bench.ids() == ({new} if dies else {old, new})
    if dies:
        with pytest.raises(KeyMissingError, match="not here"):
            keys.private(old)


@pytest.mark.parametrize("name", ["", ".", "..", "../sealing", "../public/sealing.json", "no such key"])
def test_a_name_of_no_key(bench: Bench, name: str) -> None:
    with pytest.raises(KeyMissingError):
        bench.open().private(name)


def test_a_missing_private_half_or_a_damaged_public_one_gives_a_new_pair_and_loses_nothing(bench: Bench) -> None:
    first = bench.open().current_id
    path = bench.places.public / "sealing.json"
    path.write_bytes(path.read_bytes()[:9])
    second = bench.open().current_id
    assert bench.ids() == {first, second}
    (bench.places.keys / "sealing" / second).unlink()
    third = bench.open().current_id
    assert bench.ids() == {first, third}


def test_a_death_between_the_halves_leaves_a_pair_that_nobody_encrypts_to(bench: Bench) -> None:
    keys = bench.open()
    before = keys.current_id

    def die(operation: str, path: str) -> None:
        if path.endswith("sealing.json"):
            raise KeyboardInterrupt

    dying = SealingKeys(
        private=bench.places.keys / "sealing",
        public=bench.places.public / "sealing.json",
        files=Disk(die),
        random=os.urandom,
        clock_s=lambda: bench.now_s,
    )
    with pytest.raises(KeyboardInterrupt):
        dying.rotate()
    assert bench.open().current_id == before
    bench.now_s += GRACE_S
    assert len(bench.open().destroy_unused(named=frozenset(), newest=frozenset())) == 1
    assert bench.ids() == {before}


# --- the ratchet ------------------------------------------------------------------------------------------------------


def test_both_ends_of_a_ratchet_draw_the_same_keys() -> None:
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    ephemeral, writer = encapsulate(public, place=b"worker0.AAAAAAAA/00000001")
    drawn = [writer.draw() for _ in range(5)]
    assert len(set(drawn)) == 5

    def reader(place: bytes = b"worker0.AAAAAAAA/00000001", raw: bytes = private.private_bytes_raw()) -> Ratchet:
        return decapsulate(raw, ephemeral_public=ephemeral, place=place)

    again = reader()
    assert [again.draw() for _ in range(5)] == drawn
    skipping = reader()
    skipping.skip_to(3)
    assert (skipping.index, skipping.draw(), skipping.index) == (3, drawn[3], 4)
    with pytest.raises(CorruptionError):
        skipping.skip_to(3)
    assert reader(place=b"worker0.AAAAAAAA/00000002").draw() != drawn[0]
    assert reader(raw=X25519PrivateKey.generate().private_bytes_raw()).draw() != drawn[0]


def test_the_ratchet_is_that_of_the_format() -> None:
    from hashlib import sha256

    ratchet = Ratchet(b"k" * 32)
    assert ratchet.draw() == sha256(b"\2" + b"k" * 32).digest()
    assert ratchet.draw() == sha256(b"\2" + sha256(b"\1" + b"k" * 32).digest()).digest()


def test_a_ratchet_begins_with_what_the_format_says() -> None:
    """docs/formats.md, section 8, with HKDF (RFC 5869) written out."""
    import hmac
    from hashlib import sha256

    sealing = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    ephemeral = X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
    eph, public = (key.public_key().public_bytes_raw() for key in (ephemeral, sealing))
    secret = ephemeral.exchange(sealing.public_key())
    pseudorandom = hmac.digest(eph + public, secret, "sha256")
    state = hmac.digest(pseudorandom, b"affidavit/wal/v1\0" + b"worker0.AAAAAAAA/00000001" + b"\1", "sha256")
    found = decapsulate(sealing.private_bytes_raw(), ephemeral_public=eph, place=b"worker0.AAAAAAAA/00000001")
    assert found.draw() == sha256(b"\2" + state).digest()


def test_a_step_to_where_the_ratchet_stands_is_none() -> None:
    ratchet, other = Ratchet(b"k" * 32), Ratchet(b"k" * 32)
    ratchet.skip_to(0)
    assert ratchet.draw() == other.draw()
    ratchet.skip_to(1)
    assert (ratchet.index, ratchet.draw()) == (1, other.draw())
