"""Attempts against whoever is outside: a witness at a real socket, two auditors, policies that demand too little."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.tlog.add_checkpoint import AddCheckpoint, format_add_checkpoint, origin_hash
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner, parse_vkeys_file
from affidavit.tlog.note import VerifierKey, format_vkey
from affidavit.witness.attestor import AnchorFiles, ContradictionError, WitnessAttestor
from affidavit.witness.client import WitnessClient
from affidavit.witness.heads import Head
from affidavit.witness.peers import Peer
from affidavit.witness.store import open_store
from affidavit.witness.witness import Witness
from tests.attacks.ground import Ground, Judgement
from tests.attacks.insider import Insider, LogFiles, LogKeys, checkpoint_of, jcs
from tests.attacks.on_heads import LOG, another_history
from tests.attacks.registry import Evidence, attempt
from tests.attacks.table import REFUSED
from tests.integration.prove.test_anchors import cosigned, put
from tests.unit.witness.test_server import Running

LOGS = ("system", "default", "support")
NAME = "witness.example/w1"
HELD_S = 1_700_000_000
ABSENT = Ed25519Cosigner.from_seed(name="second.example/w2", seed=b"2" * 32)
"""A second witness, which never gets to see anything."""


class Asking(WitnessClient):
    """The service's own client, which remembers what it was answered."""

    statuses: list[int]

    def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        status, answer = super().add_checkpoint(body)
        self.statuses.append(status)
        return status, answer


@dataclass
class Outsider:
    """A witness that runs, and knows the ledger's logs."""

    ground: Ground
    directory: Path
    address: tuple[str, int]
    keys: tuple[VerifierKey, ...]
    statuses: list[int] = field(default_factory=list)
    """All its answers to our service."""

    def show(self, data: Path, *logs: str) -> None:
        """Show it the newest heads of a ledger, as the service does, and keep what it says under anchors/."""
        peer = Peer(name="w1", url="http://{}:{}".format(*self.address), keys=self.keys)
        public = self.ground.keys / "public"
        attestor = WitnessAttestor(peer, files=AnchorFiles(Disk()), public=public, connect=self._connect)
        try:
            for log in logs:
                note = self.ground.head(log, data)
                layout, size = DataLayout(data).log(log), checkpoint_of(note).size
                attestor.attest(Head(layout=layout, size=size, note=note, closes_epoch=True))
        finally:
            attestor.rest()

    def _connect(self, url: str) -> Asking:
        client = Asking(url, timeout_s=20)
        client.statuses = self.statuses
        return client

    def offer(self, head: bytes, *, old_size: int) -> tuple[int, bytes]:
        """Offer it any head at all."""
        client = WitnessClient("http://{}:{}".format(*self.address), timeout_s=20)
        try:
            return client.add_checkpoint(format_add_checkpoint(AddCheckpoint(old_size, (), head)))
        finally:
            client.close()

    def held(self, log: str) -> bytes:
        """The head that it tells anybody who asks."""
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        connection.request("GET", f"/{origin_hash(checkpoint_of(self.ground.head(log)).origin)}/checkpoint")
        answer = connection.getresponse()
        note = answer.read()
        connection.close()
        assert answer.status == http.client.OK
        return note

    def evidence(self, log: str) -> set[tuple[bytes, bytes]]:
        """Pairs of heads that it keeps: the one that it holds, and the one that it was offered."""
        place = self.directory / "logs" / origin_hash(checkpoint_of(self.ground.head(log)).origin) / "evidence"
        return {(path.read_bytes(), path.with_suffix(".offered").read_bytes()) for path in place.glob("*.held")}


@contextlib.contextmanager
def witness(ground: Ground) -> Iterator[Outsider]:
    """A real one, behind a real socket."""
    directory = ground.scratch() / "witness"
    with open_store(directory, name=NAME, random=os.urandom, disk=Disk()) as store:
        for log in LOGS:
            vkeys = parse_vkeys_file((ground.keys / f"public/{log}.vkeys").read_bytes())
            store.add_logs({vkeys.origin: (vkeys.ed25519, vkeys.mldsa44)})
        keys = (store.identity.ed25519.key, store.identity.mldsa44.key)
        with Running(Witness(store, clock_s=lambda: HELD_S)) as address:
            yield Outsider(ground, directory, address, keys)


# --- what a witness refuses -------------------------------------------------------------------------------------------


def carried_on(ground: Ground, data: Path, size: int) -> bytes:
    """The log goes on from an older state to `size` leaves, signed with its own keys; its head."""

    def go_on(log: LogFiles) -> None:
        last = log.leaf(-1)
        while len(log.entries) < size:
            log.entries.append(jcs(last | {"time_us": last["time_us"] + len(log.entries)}))
            for part in (log.headers, log.bodies):
                part.append(b"")
            log.rows.append(log.rows[-1])

    Insider(data, ground.keys).rewrite(LOG, go_on)
    return ground.head(LOG, data)


@attempt(9)
def a_witness_remembers(ground: Ground) -> Iterator[Evidence]:
    """Last week's files, the signer's state put back as well: the witness still has this week's head."""
    now = checkpoint_of(ground.head()).size
    with witness(ground) as outsider:
        old, this_week = ground.copy(ground.first), ground.copy()
        outsider.show(old, LOG)
        shutil.copytree(old / "logs" / LOG / "anchors", this_week / "logs" / LOG / "anchors")
        outsider.show(this_week, LOG)
        assert outsider.statuses == [200, 200]
        held = outsider.held(LOG)
        for beyond, statuses in ((-3, [409]), (5, [409, 422])):
            data = ground.copy(old)
            carried_on(ground, data, now + beyond)
            outsider.statuses.clear()
            with pytest.raises(ContradictionError) as refused:
                outsider.show(data, LOG)
            assert outsider.statuses == statuses
            assert outsider.held(LOG) == held, "what it holds stays"
            if beyond < 0:
                named = f"{statuses[0]} at size {now + beyond}: {refused.value}"
        assert len(outsider.evidence(LOG)) == 1, "of what is longer than what it holds, it keeps both heads"
    yield Evidence("anchor", REFUSED, named, clause="a witness: 409", judges=("affidavit witness", "the attestor"))


@attempt(10)
def a_witness_sees_both(ground: Ground) -> Evidence:
    """Whatever old size the second head comes with."""
    size = checkpoint_of(ground.head()).size
    second = ground.insider().head_over(LOG, size, sha256(b"another tree").digest())
    statuses = []
    with witness(ground) as outsider:
        outsider.show(ground.copy(), LOG)
        held = outsider.held(LOG)
        for old_size in (size, size - 1, 0):
            statuses.append(outsider.offer(second, old_size=old_size)[0])
            assert outsider.evidence(LOG) == {(held, second)}
            shutil.rmtree(outsider.directory / "logs" / origin_hash(checkpoint_of(held).origin) / "evidence")
        assert outsider.held(LOG) == held
    assert statuses == [422, 409, 409]
    named = f"two heads of size {size}: {', '.join(map(str, statuses))}, and both are kept"
    clause = "a witness: 422 or 409, with evidence"
    return Evidence("anchor", REFUSED, named, clause=clause, judges=("affidavit witness",))


# --- whose word counts ------------------------------------------------------------------------------------------------


def policy(ground: Ground, keys: Sequence[VerifierKey], quorum: str) -> Path:
    """A verifier's own policy: witnesses w1, w2, ... by their keys; `quorum` is `any` or `all` of them."""
    names = [f"w{number}" for number, _ in enumerate(keys, 1)]
    lines = [f"witness {name} {format_vkey(key)}" for name, key in zip(names, keys, strict=True)]
    return ground.file("\n".join([*lines, f"group g {quorum} {' '.join(names)}", "quorum g", ""]).encode())


def unanchored(found: Judgement, *, named: str, clause: str) -> Evidence:
    """The evidence that no quorum is met, where nothing else is wrong."""
    assert found.report.holds
    assert not found.report.is_anchored
    return found.evidence("anchor", "UNANCHORED", named=named, clause=clause)


@attempt(11)
def a_view_that_nobody_cosigned(ground: Ground) -> Evidence:
    """The witness has signed what the first auditor sees; the second sees another history."""
    one, other = ground.copy(), another_history(ground)
    with witness(ground) as outsider:
        rules = policy(ground, outsider.keys, "any")
        outsider.show(one, *LOGS)
        for log in ("system", LOG):
            with pytest.raises(ContradictionError):
                outsider.show(other, log)
        heads = tuple(outsider.held(log) for log in LOGS)
    assert ground.judge(one, policy=rules).report.is_anchored
    unanchored(ground.judge(other, policy=rules), named="no head that somebody else kept", clause="")
    demanded = [str(other), "--vkey", str(ground.vkeys), "--policy", str(rules), "--require-anchor"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert affidavit_verify.main(demanded) == affidavit_verify.EXIT_NO_ANCHOR
    found = ground.judge(other, policy=rules, pins=heads)
    assert {fork[0] for fork in found.forks} == {"system", LOG}
    clause = "one view lacks a quorum, and the witness is asked for its head"
    return found.evidence("anchor", "FORK", named="another tree of size", clause=clause)


@attempt(35)
def its_key_is_the_logs_own(ground: Ground) -> Evidence:
    keys = LogKeys.stolen(ground.keys, LOG)
    seeds = ground.keys / "signer" / LOG
    disguises: tuple[Any, ...] = (
        keys.cosigner,
        Ed25519Cosigner.from_seed(name=NAME, seed=(seeds / "ed25519").read_bytes()),
        MlDsa44Cosigner.from_seed(name=NAME, seed=(seeds / "mldsa44").read_bytes()),
        MlDsa44Cosigner.from_seed(name=keys.signer.key.name, seed=b"9" * 32),
    )
    for cosigner in disguises:
        data = ground.copy()
        for log in LOGS:
            head = ground.head(log)
            is_there = cosigner is keys.cosigner and log == LOG
            put(data, log, head if is_there else cosigned(head, cosigner))
        found = ground.judge(data, policy=policy(ground, (cosigner.key,), "any"))
        named = "none meets the quorum of the policy ("
        evidence = unanchored(found, named=named, clause="its key is the log's own")
        assert "w1, is-a-log" in evidence.named
        shutil.rmtree(data)
    return evidence._replace(named=f"{evidence.named} ({len(disguises)} disguises)")


@attempt(35)
def one_operator_twice(ground: Ground) -> Evidence:
    """A witness signs with two keys: whoever demands two signatures has those of one operator."""
    data = ground.copy()
    with witness(ground) as outsider:
        outsider.show(data, *LOGS)
    assert ground.judge(data, policy=policy(ground, outsider.keys, "any")).report.is_anchored, "one is demanded"
    found = ground.judge(data, policy=policy(ground, outsider.keys, "all"))
    return unanchored(found, named="none meets the quorum", clause="one operator twice")


@attempt(36)
def a_policy_of_its_own(ground: Ground) -> Evidence:
    """One witness has signed; the verifier demands two, and what came with the data says that one is enough."""
    data = ground.copy()
    with witness(ground) as outsider:
        outsider.show(data, *LOGS)
    weak, strict = policy(ground, outsider.keys, "any"), policy(ground, (outsider.keys[0], ABSENT.key), "all")
    assert ground.judge(data, policy=weak).report.is_anchored, "the verifier may demand so little"
    for log in LOGS:
        (data / "logs" / log / "anchors/policy").write_bytes(weak.read_bytes())
    unanchored(ground.judge(data), named="no head that somebody else kept", clause="")
    return unanchored(ground.judge(data, policy=strict), named="none meets the quorum", clause="")
