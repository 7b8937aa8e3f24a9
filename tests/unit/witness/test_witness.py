"""A witness answers as tlog-witness says, cosigns nothing that does not extend, and keeps both heads of a fork."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from affidavit.errors import CorruptionError, FormatError, LayoutError
from affidavit.ledger.directory import Disk
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint, origin_hash, with_cosignatures
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import cosignature_timestamp
from affidavit.tlog.merkle import tree_root
from affidavit.tlog.note import (
    Note,
    NoteSignature,
    format_note,
    format_vkey,
    parse_note,
    parse_signature_lines,
)
from affidavit.witness import store as store_module
from affidavit.witness.store import (
    Store,
    add_logs,
    known_origins,
    open_store,
    parse_log_vkeys,
    read_identity,
)
from affidavit.witness.witness import Answer, Witness
from tests.unit.witness.conftest import ENTRIES, FORKED, NOW_S, Owner, make_store, proof

CONFLICT = "text/x.tlog.size"


def place(directory: Path, owner: Owner) -> Path:
    return directory / "logs" / origin_hash(owner.origin)


def evidence(directory: Path, owner: Owner) -> list[str]:
    return sorted(path.suffix for path in (place(directory, owner) / "evidence").glob("*"))


# --- what is cosigned -------------------------------------------------------------------------------------------------


def test_heads_that_extend_each_other_are_cosigned_by_both_keys(witness: Witness, store: Store, owner: Owner) -> None:
    for old, new in ((0, 0), (0, 3), (3, 3), (3, 4), (4, 20), (20, 40)):
        answer = witness.add_checkpoint(owner.request(old, new))
        assert answer.status == 200, answer
        lines = parse_signature_lines(answer.body)
        assert [line.is_by(key) for line, key in zip(lines, store.identity.vkeys, strict=True)] == [True, True]
        assert {cosignature_timestamp(line) for line in lines} == {NOW_S}
        pinned = with_cosignatures(owner.head(new), lines, store.identity.vkeys)
        assert len(parse_note(pinned).signatures) == 4
        held = store.head(owner.origin)
        assert held is not None
        assert held.checkpoint == Checkpoint(owner.origin, new, tree_root(ENTRIES[:new]))


def test_a_monitor_gets_the_newest_head_with_the_lines_that_were_given(witness: Witness, owner: Owner) -> None:
    name = origin_hash(owner.origin)
    assert witness.checkpoint(name).status == 404
    answer = witness.add_checkpoint(owner.request(0, 9))
    published = witness.checkpoint(name)
    assert published.status == 200
    assert published.body.endswith(answer.body)
    assert len(parse_note(published.body).signatures) == 4
    assert witness.checkpoint("0" * 64).status == 404


def test_lines_of_strangers_are_ignored_and_not_kept(witness: Witness, owner: Owner) -> None:
    note = parse_note(owner.head(5))
    stranger = NoteSignature("stranger.example/x", b"\0\0\0\1", bytes(64))
    head = format_note(Note(note.text, (stranger, *note.signatures)))
    assert witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(0, (), head))).status == 200
    assert b"stranger" not in witness.checkpoint(origin_hash(owner.origin)).body


# --- what is refused --------------------------------------------------------------------------------------------------


def only(owner: Owner, size: int, which: int) -> bytes:
    note = parse_note(owner.head(size))
    return format_note(Note(note.text, (note.signatures[which],)))


def signed(owner: Owner, text: bytes) -> bytes:
    note = Note(text, (owner.signer.sign(text), parse_note(owner.head(9)).signatures[1]))
    return b"old 8\n\n" + format_note(note)


def edited(owner: Owner, size: int) -> bytes:
    head = owner.head(size)
    return head.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1), 1)


def empty_with_root(owner: Owner) -> bytes:
    text = b"%s\n0\n%s\n" % (owner.origin.encode(), b"A" * 43 + b"=")
    return format_note(Note(text, (owner.signer.sign(text), parse_note(owner.head(0)).signatures[1])))


REFUSED = {
    "no request": (400, lambda _: b"old 8\n"),
    "no checkpoint": (400, lambda owner: signed(owner, b"%s\n9\n" % owner.origin.encode())),
    "an unknown log": (404, lambda _: Owner("other.example/log", 7).request(0, 9)),
    "a known name, other keys": (403, lambda owner: Owner(owner.origin, 7).request(8, 9)),
    "only Ed25519": (403, lambda owner: format_add_checkpoint(AddCheckpoint(8, (), only(owner, 9, 0)))),
    "only ML-DSA-44": (403, lambda owner: format_add_checkpoint(AddCheckpoint(8, (), only(owner, 9, 1)))),
    "a changed size": (403, lambda owner: format_add_checkpoint(AddCheckpoint(8, (), edited(owner, 9)))),
    "shrinking": (400, lambda owner: format_add_checkpoint(AddCheckpoint(8, (), owner.head(7)))),
    "an old size that is too small": (409, lambda owner: owner.request(7, 9)),
    "an old size that is too large": (409, lambda owner: owner.request(9, 10)),
    "an old size of zero": (409, lambda owner: owner.request(0, 9)),
    "an empty tree with a root": (
        422,
        lambda owner: format_add_checkpoint(AddCheckpoint(8, (), empty_with_root(owner))),
    ),
    "no proof": (422, lambda owner: format_add_checkpoint(AddCheckpoint(8, (), owner.head(9)))),
    "a wrong proof": (422, lambda owner: format_add_checkpoint(AddCheckpoint(8, (bytes(32),) * 3, owner.head(9)))),
    "a proof too long": (
        422,
        lambda owner: format_add_checkpoint(AddCheckpoint(8, (*proof(8, 9), bytes(32)), owner.head(9))),
    ),
    "the same size with a proof": (
        422,
        lambda owner: format_add_checkpoint(AddCheckpoint(8, (bytes(32),), owner.head(8))),
    ),
    "the same size with another root": (422, lambda owner: owner.request(8, 8, FORKED)),
    "a fork that grew": (422, lambda owner: owner.request(8, 12, FORKED)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_refusal_has_its_status_and_changes_nothing(
    name: str, witness: Witness, directory: Path, owner: Owner
) -> None:
    status, request = REFUSED[name]
    assert witness.add_checkpoint(owner.request(0, 8)).status == 200
    before = (place(directory, owner) / "head").read_bytes()
    answer = witness.add_checkpoint(request(owner))
    assert answer.status == status
    assert (place(directory, owner) / "head").read_bytes() == before
    if status == 409:
        assert answer == Answer(409, b"8\n", CONFLICT)
    else:
        assert answer.content_type.startswith("text/plain")
    assert witness.add_checkpoint(owner.request(8, 9)).status == 200


def test_a_proof_from_nothing_is_empty(witness: Witness, owner: Owner) -> None:
    body = format_add_checkpoint(AddCheckpoint(0, (bytes(32),), owner.head(5)))
    assert witness.add_checkpoint(body).status == 422


def test_a_log_with_one_key_needs_that_one(directory: Path, owner: Owner) -> None:
    with open_store(directory, name=None, random=os.urandom, disk=Disk()) as store:
        store.add_logs({owner.origin: (owner.signer.key,)})
        witness = Witness(store, clock_s=lambda: NOW_S)
        assert store.identity.name.endswith(".affidavit.internal/witness")
        assert witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(0, (), only(owner, 5, 0)))).status == 200
        assert witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(5, (), only(owner, 5, 1)))).status == 403


# --- evidence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status"),
    [((8, 8), 422), ((0, 8), 409), ((3, 8), 409), ((8, 12), 422)],
    ids=["same size", "same size, old 0", "same size, old 3", "grown"],
)
def test_both_signed_heads_of_a_fork_are_kept(
    witness: Witness, directory: Path, owner: Owner, asked: tuple[int, int], status: int
) -> None:
    witness.add_checkpoint(owner.request(0, 8))
    forked = owner.request(*asked, FORKED)
    assert witness.add_checkpoint(forked).status == status
    assert witness.add_checkpoint(owner.request(*asked, FORKED)).status == status  # other bytes: hedged signatures
    assert evidence(directory, owner) == [".held", ".offered"]
    held, offered = sorted((place(directory, owner) / "evidence").iterdir())
    assert offered.read_bytes() == forked.partition(b"\n\n")[2]  # the first, never overwritten
    keys = [owner.signer, owner.cosigner]
    for path, entries, size in ((held, ENTRIES, 8), (offered, FORKED, asked[1])):
        stated = parse_checkpoint(parse_note(path.read_bytes()).text)
        assert (stated.size, stated.root) == (size, tree_root(entries[:size]))
        assert {line.name for line in parse_note(path.read_bytes()).signatures} >= {key.key.name for key in keys}


def test_no_evidence_is_kept_of_what_is_none(witness: Witness, directory: Path, owner: Owner) -> None:
    for request in (owner.request(0, 8), owner.request(0, 9), owner.request(8, 8), owner.request(7, 8)):
        witness.add_checkpoint(request)
    assert not (place(directory, owner) / "evidence").exists()


def test_evidence_is_bounded(witness: Witness, directory: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "EVIDENCE_MAX", 2)
    witness.add_checkpoint(owner.request(0, 8))
    for number in range(4):
        assert witness.add_checkpoint(owner.request(8, 8, [b"%d" % number, *ENTRIES[1:]])).status == 422
    assert evidence(directory, owner) == [".held", ".held", ".offered", ".offered"]


# --- what lasts -------------------------------------------------------------------------------------------------------


def test_a_restart_remembers(directory: Path, owner: Owner) -> None:
    with make_store(directory, owner) as store:
        vkeys = store.identity.vkeys
        Witness(store, clock_s=lambda: NOW_S).add_checkpoint(owner.request(0, 8))
    with make_store(directory, owner) as store:
        assert store.identity.vkeys == vkeys == read_identity(directory).vkeys
        witness = Witness(store, clock_s=lambda: NOW_S)
        assert witness.add_checkpoint(owner.request(0, 9)) == Answer(409, b"8\n", CONFLICT)
        assert witness.add_checkpoint(owner.request(8, 8, FORKED)).status == 422
    written = (directory / "witness.vkeys").read_text().split()
    assert written == [format_vkey(key) for key in vkeys]
    assert {path.stat().st_mode & 0o777 for path in (directory / "keys").iterdir()} == {0o600}


@pytest.mark.parametrize("content", [None, b"x", b"flip"])
def test_a_memory_that_is_lost_or_damaged_is_no_empty_one(
    witness: Witness, store: Store, directory: Path, owner: Owner, content: bytes | None
) -> None:
    witness.add_checkpoint(owner.request(0, 8))
    path = place(directory, owner) / "head"
    data = bytearray(path.read_bytes())
    path.unlink()
    if content == b"flip":
        data[len(owner.origin) + 1] ^= 1  # the size
        path.write_bytes(bytes(data))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CorruptionError, match="new keys"):
        store.head(owner.origin)
    for request in (owner.request(8, 9), owner.request(0, 9)):
        assert witness.add_checkpoint(request).status == 500


def test_the_head_of_another_log_is_not_taken(store: Store, witness: Witness, directory: Path, owner: Owner) -> None:
    other = Owner("log.example/other", 5)
    store.add_logs({other.origin: (other.signer.key, other.cosigner.key)})
    witness.add_checkpoint(owner.request(0, 8))
    shutil.copy(place(directory, owner) / "head", place(directory, other) / "head")
    assert witness.add_checkpoint(other.request(8, 9)).status == 500


# --- one at a time, one directory -------------------------------------------------------------------------------------


def test_a_second_witness_on_the_same_directory_is_refused(store: Store, directory: Path, owner: Owner) -> None:
    with pytest.raises(LayoutError, match="another witness runs"):
        make_store(directory, owner)


def test_a_name_cannot_be_changed_and_no_damaged_directory_becomes_a_new_witness(directory: Path, owner: Owner) -> None:
    make_store(directory, owner).__exit__()
    with pytest.raises(LayoutError, match="cannot be changed"):
        open_store(directory, name="another", random=os.urandom, disk=Disk())
    (directory / "witness.json").unlink()
    with pytest.raises(LayoutError, match="damaged"):
        open_store(directory, name=None, random=os.urandom, disk=Disk())
    with pytest.raises(LayoutError, match="no witness"):
        read_identity(directory)


def test_logs_are_added_while_it_runs(witness: Witness, directory: Path, owner: Owner) -> None:
    other = Owner("log.example/other", 5)
    assert witness.add_checkpoint(other.request(0, 3)).status == 404
    vkeys = f"{format_vkey(other.signer.key)}\n\n{format_vkey(other.cosigner.key)}\n"
    add_logs(directory, parse_log_vkeys(vkeys.encode()), disk=Disk())
    assert witness.add_checkpoint(other.request(0, 3)).status == 200
    assert set(known_origins(directory)) == {owner.origin, other.origin}
    changed = Owner(other.origin, 9)
    add_logs(directory, {other.origin: (changed.signer.key, changed.cosigner.key)}, disk=Disk())
    assert witness.add_checkpoint(other.request(3, 4)).status == 403
    assert witness.add_checkpoint(changed.request(3, 4)).status == 200


@pytest.mark.parametrize("text", ["", "\n", "x", "\xff"])
def test_files_that_hold_no_keys_of_logs(text: str, store: Store, owner: Owner) -> None:
    vkey = format_vkey(owner.signer.key)
    for data in (text.encode("latin-1"), f"{vkey}\n{vkey}\n".encode(), format_vkey(store.identity.vkeys[0]).encode()):
        with pytest.raises(FormatError):
            parse_log_vkeys(data)


# --- death and errors at each operation -------------------------------------------------------------------------------


class _DiedError(BaseException):
    """What a test dies of."""


def told(directory: Path, owner: Owner, disk: Disk, answers: list[tuple[int, list[bytes], Answer]]) -> None:
    """A witness's whole life: birth, a log, three heads, a fork, a restart and one more head."""
    with make_store(directory, owner, disk=disk) as store:
        witness = Witness(store, clock_s=lambda: NOW_S)
        for old, new, entries in ((0, 3, ENTRIES), (3, 8, ENTRIES), (8, 8, FORKED), (8, 20, ENTRIES)):
            answers.append((new, entries, witness.add_checkpoint(owner.request(old, new, entries))))
    with make_store(directory, owner, disk=disk) as store:
        witness = Witness(store, clock_s=lambda: NOW_S)
        answers.append((21, ENTRIES, witness.add_checkpoint(owner.request(20, 21))))


def operations(directory: Path, owner: Owner) -> list[str]:
    seen: list[str] = []
    told(directory, owner, Disk(lambda name, _: seen.append(name)), [])
    return seen


def require_whole(directory: Path, owner: Owner, answers: list[tuple[int, list[bytes], Answer]]) -> None:
    """Every head whose cosignature was released is part of what is remembered, and the next start goes on."""
    released = [(size, entries) for size, entries, answer in answers if answer.status == 200]
    assert all(entries is ENTRIES for _, entries in released)
    with make_store(directory, owner) as store:
        held = store.head(owner.origin)
        size = held.checkpoint.size if held is not None else 0
        assert size >= max((size for size, _ in released), default=0)
        assert held is None or held.checkpoint.root == tree_root(ENTRIES[:size])
        witness = Witness(store, clock_s=lambda: NOW_S)
        if size:
            assert witness.add_checkpoint(owner.request(size, size, FORKED)).status == 422
        assert witness.add_checkpoint(owner.request(size, 39)).status == 200
        for path in (place(directory, owner) / "evidence").glob("*.offered"):
            known = [owner.signer.key, owner.cosigner.key]
            assert all(any(line.is_by(key) for key in known) for line in parse_note(path.read_bytes()).signatures)
            assert path.with_suffix(".held").exists()


@pytest.mark.timeout(120)  # some sixty lives, each with post-quantum signatures
@pytest.mark.parametrize("how", ["death", "ENOSPC", "EIO"])
def test_a_death_or_an_error_at_each_operation(how: str, tmp_path: Path, owner: Owner) -> None:
    total = operations(tmp_path / "counted", owner)
    assert {"create", "write", "fdatasync", "rename", "fsync_directory", "link", "mkdir"} == set(total)
    for at in range(len(total)):
        count = -1

        def before(operation: str, path: str, at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise _DiedError if how == "death" else OSError(getattr(errno, how), "fault")

        answers: list[tuple[int, list[bytes], Answer]] = []
        directory = tmp_path / str(at)
        try:
            told(directory, owner, Disk(before), answers)
        except (_DiedError, OSError):
            assert count >= at
        require_whole(directory, owner, answers)
        shutil.rmtree(directory)


@pytest.mark.timeout(120)
def test_a_real_kill_at_operations(tmp_path: Path, owner: Owner) -> None:
    total = len(operations(tmp_path / "counted", owner))
    for at in range(0, total, 7):
        directory, count = tmp_path / str(at), -1
        child = os.fork()
        if child == 0:

            def before(operation: str, path: str, at: int = at) -> None:
                nonlocal count
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

            told(directory, owner, Disk(before), [])
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        require_whole(directory, owner, [])


def test_what_could_not_be_written_was_not_cosigned(directory: Path, owner: Owner) -> None:
    full = False

    def before(operation: str, path: str) -> None:
        if full:
            raise OSError(errno.ENOSPC, "no space left")

    with make_store(directory, owner, disk=Disk(before)) as store:
        witness = Witness(store, clock_s=lambda: NOW_S)
        witness.add_checkpoint(owner.request(0, 8))
        full = True
        assert witness.add_checkpoint(owner.request(8, 9)).status == 503
        assert witness.add_checkpoint(owner.request(8, 8, FORKED)).status == 422  # even where evidence finds no room
        full = False
        assert witness.add_checkpoint(owner.request(8, 9)).status == 200
