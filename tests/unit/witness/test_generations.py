"""A log changes its keys: a witness and a light witness follow it by the hand-over, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from affidavit.errors import AffidavitError, CorruptionError, FormatError
from affidavit.ledger.directory import Disk
from affidavit.tlog.note import SignatureError
from affidavit.tlog.rotation import (
    KeyHistory,
    format_keys_file,
    key_history,
    parse_keys_file,
    sign_rotation,
)
from affidavit.witness.light import InconsistentHeadError, keep_head
from affidavit.witness.store import Store, add_logs, open_store, parse_log_keys
from affidavit.witness.witness import Witness
from tests.unit.witness.conftest import FORKED, NOW_S, Owner
from tests.unit.witness.test_light import MANY, OTHER, tiles

AFTER = 10


def handed_over(old: Owner, new: Owner, *, after: int = AFTER, history: KeyHistory | None = None) -> KeyHistory:
    """The keys of a log whose owner went on to others."""
    rotation = sign_rotation(after=after, old=(old.signer, old.cosigner), new=(new.signer, new.cosigner))
    return (history or key_history(old.vkeys)).extended(rotation)


@pytest.fixture
def later(owner: Owner) -> Owner:
    return Owner(owner.origin, 11)


@pytest.fixture
def history(owner: Owner, later: Owner) -> KeyHistory:
    return handed_over(owner, later)


def add(directory: Path, history: KeyHistory) -> None:
    add_logs(directory, parse_log_keys(format_keys_file(history)), disk=Disk())


def ask(witness: Witness, owner: Owner, old: int, new: int) -> int:
    return witness.add_checkpoint(owner.request(old, new)).status


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_read_as_it_was_written(owner: Owner, later: Owner, history: KeyHistory) -> None:
    third = handed_over(later, Owner(owner.origin, 21), after=20, history=history)
    for keys in (key_history(owner.vkeys), history, third):
        assert parse_keys_file(format_keys_file(keys)) == keys
    assert [third.at(size) for size in (0, 10, 11, 20, 21)] == [
        owner.vkeys,
        owner.vkeys,
        later.vkeys,
        later.vkeys,
        third.newest,
    ]
    assert third.continues(owner.vkeys) is third
    with pytest.raises(SignatureError, match="do not follow"):
        third.continues(Owner(owner.origin, 31).vkeys)


def test_no_other_bytes_are_keys(owner: Owner, later: Owner, history: KeyHistory) -> None:
    good = format_keys_file(history)
    saved = json.loads(good)
    stranger = Owner(owner.origin, 31)

    def of(change: object) -> bytes:
        return json.dumps(change, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    assert of(saved) == good
    first, second = saved
    swapped = [second["signatures"][place] for place in (2, 1, 0, 3)]
    for data in (
        b"",
        b"[]\n",
        good[:-1],
        b" " + good,
        of([second]),
        of([first, {**second, "signatures": swapped}]),
        of([first, {**second, "from": AFTER + 2}]),
        of([first, {**second, "vkeys": first["vkeys"]}]),
        of([first, {name: value for name, value in second.items() if name != "signatures"}]),
        of([{**first, "from": 1}, second]),
        of([{**first, "vkeys": json.loads(format_keys_file(key_history(stranger.vkeys)))[0]["vkeys"]}, second]),
        b"[" * 200_000,
        b"\xff",
    ):
        with pytest.raises(AffidavitError):
            parse_keys_file(data)


def test_keys_that_somebody_else_vouches_for_have_no_such_file(owner: Owner, later: Owner) -> None:
    with pytest.raises(FormatError, match="not known"):
        format_keys_file(KeyHistory(((-1, owner.vkeys), (AFTER, later.vkeys))))


# --- a witness --------------------------------------------------------------------------------------------------------


def test_a_witness_follows_a_hand_over(
    witness: Witness, directory: Path, owner: Owner, later: Owner, history: KeyHistory
) -> None:
    assert ask(witness, owner, 0, AFTER) == 200
    assert ask(witness, later, AFTER, 12) == 403, "nobody has told it yet"
    add(directory, history)
    assert ask(witness, later, AFTER, 12) == 200
    assert ask(witness, later, 12, 20) == 200


def test_old_keys_count_for_no_head_beyond_the_hand_over(
    witness: Witness, directory: Path, owner: Owner, later: Owner, history: KeyHistory
) -> None:
    """Stolen seeds of before: they cannot have the witness cosign what the log's owner never signed."""
    add(directory, history)
    assert ask(witness, later, 0, AFTER) == 403, "new keys sign nothing that the old ones cover"
    assert ask(witness, owner, 0, AFTER) == 200
    assert ask(witness, owner, AFTER, 12) == 403
    assert witness.add_checkpoint(owner.request(AFTER, 12, FORKED)).status == 403
    assert ask(witness, later, AFTER, 12) == 200


def test_a_hand_over_that_the_known_keys_did_not_sign(directory: Path, store: Store, owner: Owner) -> None:
    one, other = Owner(owner.origin, 31), Owner(owner.origin, 41)
    with pytest.raises(SignatureError, match="do not follow"):
        add(directory, handed_over(one, other))
    assert store.keys_of(owner.origin, size=99) == (owner.signer.key, owner.cosigner.key)


def test_two_hand_overs_from_one_pair(directory: Path, store: Store, owner: Owner, history: KeyHistory) -> None:
    add(directory, history)
    with pytest.raises(SignatureError, match="evidence"):
        add(directory, handed_over(owner, Owner(owner.origin, 41), after=AFTER + 1))
    assert store.keys_of(owner.origin, size=99) == (history.newest.ed25519, history.newest.mldsa44)


def test_what_was_given_at_first_undoes_nothing(
    directory: Path, store: Store, owner: Owner, history: KeyHistory
) -> None:
    """A witness is started again and again with the file of keys that its operator was given on the first day."""
    first = {owner.origin: (owner.signer.key, owner.cosigner.key)}
    for keys in (first, history, first, key_history(owner.vkeys)):
        add_logs(directory, keys, disk=Disk())
        found = [store.keys_of(owner.origin, size=size) for size in (AFTER, AFTER + 1)]
    newest = (history.newest.ed25519, history.newest.mldsa44)
    assert found == [first[owner.origin], newest]
    stranger = Owner(owner.origin, 31)
    add_logs(directory, {owner.origin: (stranger.signer.key, stranger.cosigner.key)}, disk=Disk())
    assert store.keys_of(owner.origin, size=99) == (stranger.signer.key, stranger.cosigner.key)


def test_a_witness_that_met_the_log_after_its_change(
    directory: Path, owner: Owner, later: Owner, history: KeyHistory
) -> None:
    with open_store(directory, name="w", random=os.urandom, disk=Disk()) as store:
        add(directory, history)
        witness = Witness(store, clock_s=lambda: NOW_S)
        assert ask(witness, owner, 0, 5) == 200
        assert ask(witness, later, 5, 15) == 200


def test_damaged_generations_cosign_nothing(
    witness: Witness, store: Store, directory: Path, owner: Owner, history: KeyHistory
) -> None:
    add(directory, history)
    (path,) = (directory / "logs").glob("*/generations")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptionError, match="damaged"):
        store.keys_of(owner.origin, size=0)
    assert ask(witness, owner, 0, 5) == 500


@pytest.mark.parametrize("operation", ["create", "write", "fdatasync", "rename"])
def test_a_full_disk_leaves_old_keys_or_new_ones(
    directory: Path, store: Store, owner: Owner, history: KeyHistory, operation: str
) -> None:
    def before(name: str, _: str) -> None:
        if name == operation:
            raise OSError(28, "fault")

    with pytest.raises(OSError, match="fault"):
        add_logs(directory, history, disk=Disk(before))
    assert store.keys_of(owner.origin, size=99) == (owner.signer.key, owner.cosigner.key)
    add_logs(directory, history, disk=Disk())
    assert store.keys_of(owner.origin, size=99) == (history.newest.ed25519, history.newest.mldsa44)


# --- a light witness --------------------------------------------------------------------------------------------------


def keep(path: Path, owner: Owner, size: int, keys: KeyHistory, entries: list[bytes] = MANY) -> int:
    served = tiles(entries, size)
    return keep_head(path, owner.head(size, entries), keys=keys, read=served.__getitem__, disk=Disk()).size


def test_a_light_witness_takes_the_history(tmp_path: Path, owner: Owner, later: Owner) -> None:
    path, history = tmp_path / "head", handed_over(owner, later, after=300)
    keep(path, owner, 300, key_history(owner.vkeys))
    with pytest.raises(SignatureError):
        keep(path, later, 400, key_history(owner.vkeys))
    known = parse_keys_file(format_keys_file(history)).continues(owner.vkeys)
    assert keep(path, later, 400, known) == 400
    assert keep(path, later, 401, known) == 401
    with pytest.raises(SignatureError):
        keep(path, owner, 500, known)
    with pytest.raises(InconsistentHeadError, match="FORK"):
        keep(path, later, 500, known, OTHER)
    with pytest.raises(InconsistentHeadError, match="ROLLBACK"):
        keep(path, owner, 300, known)
