"""The ledger that all attempts are played on, and its judges.

It is made once, by a whole service: a gateway takes calls for two projects, the sealer seals them, the signer signs,
twice up and down, with a copy of the first state kept as a thief or a backup would. Attempts get copies, of the data
and of the keys. Judges are both verifiers, who must agree on every axis of every log, and, for what no verifier can
see, whoever opens records with the keys.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affidavit.crypt.keyring import FileKms, Keyring
from affidavit.errors import AffidavitError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.reader import head_size
from affidavit.prove.report import AXES, Report
from affidavit.seal.opening import Opener
from tests.attacks.insider import Insider, LogFiles, checkpoint_of
from tests.attacks.registry import Evidence
from tests.integration.prove.ledgers import (
    NOTHING_OF_TIME,
    OfTime,
    copy_of,
    ours,
    theirs,
    verdicts,
    verdicts_of_json,
)
from tests.support.running import Provider, Service, clean_environment, wait_until

BOTH = ("affidavit verify", "verifier/affidavit_verify.py")
OPENING = ("opening with the keys",)
PERSON = "carla.weiss@mail.example"
"""Somebody who is looked for in what is public."""
CALLS = 140
"""Two leaves each, so that `default` has a full tile and a partial one."""
LATER_CALLS = 20
PROMISED = CALLS + LATER_CALLS - 2
"""The last call of `default`: one that asks for a promise."""


@dataclass
class Judgement:
    """What both verifiers say of one directory; they agree, or this is not made."""

    report: Report
    single: dict[str, Any]

    def evidence(self, axis: str, code: str, *, named: str, clause: str = "", also: tuple[str, ...] = ()) -> Evidence:
        """The finding of `code` on `axis` that speaks of `named`; both must have made one, and no other axis fails.

        `also` are axes that may fail beside it.
        """
        failed = {one for one in AXES if getattr(self.report, one) == "FAIL"} - {axis, *also}
        assert not failed, f"fails on {failed} as well: {self.report.findings}"
        verdict = getattr(self.report, axis)
        own = [f.what for f in self.report.findings if (f.axis, f.verdict, f.code) == (axis, verdict, code)]
        foreign = [f["what"] for f in self.single["findings"] if (f["axis"], f["verdict"]) == (axis, verdict)]
        for judge, said in zip(BOTH, (own, foreign), strict=True):
            assert any(named in what for what in said), f"{judge} does not name {named}: {said or self.report.findings}"
        what = next(what for what in own if named in what)
        return Evidence(axis, verdict, what, code=code, clause=clause, judges=BOTH)

    def verdict(self, axis: str, *, named: str, clause: str = "") -> Evidence:
        """The verdict on an axis of which nothing bad is to be found; `named` says on what it was given."""
        return Evidence(axis, getattr(self.report, axis), named, clause=clause, judges=BOTH)

    @property
    def forks(self) -> list[tuple[str, str, str]]:
        """Evidence that was handed out: log, pinned head, head here; the same by both."""
        own = [(fork.log, *(text for _, text in fork.heads)) for fork in self.report.forks]
        assert own == [(fork["log"], *(text for _, text in fork["heads"])) for fork in self.single["forks"]]
        return [(log, *heads, "")[:3] for log, *heads in own]


@dataclass
class Ground:
    """The ledger, and everything that an attempt may copy."""

    root: Path
    service: Service
    data: Path = field(init=False)
    keys: Path = field(init=False)
    first: Path = field(init=False)
    """The data directory after the first clean stop."""
    calls: list[str] = field(default_factory=list)
    """Ids of the calls of `default`."""
    promise: str = ""
    """What the gateway promised of the last of them, which is younger than `first`."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.data, self.keys, self.first = (self.root / name for name in ("made", "made-keys", "made-first"))

    @property
    def vkeys(self) -> Path:
        """The system log's vkeys, as a verifier got them."""
        return self.keys / "public/system.vkeys"

    def scratch(self) -> Path:
        """A new directory."""
        path = self.root / f"scratch-{next(self._numbers):03d}"
        path.mkdir()
        return path

    def copy(self, of: Path | None = None) -> Path:
        """A copy of the data directory that may be changed."""
        return copy_of(of or self.data, self.scratch() / "data")

    def insider(self) -> Insider:
        """Somebody with a copy of everything."""
        return Insider(self.copy(), self.keys)

    def log(self, name: str = "default", data: Path | None = None) -> LogFiles:
        """A log of the ledger as it was made."""
        return LogFiles.read(data or self.data, name)

    def head(self, log: str = "default", data: Path | None = None) -> bytes:
        """A log's newest signed head."""
        return (data or self.data).joinpath("logs", log, "tree/checkpoint").read_bytes()

    def file(self, content: bytes) -> Path:
        """A new file outside of every ledger."""
        path = self.scratch() / "file"
        path.write_bytes(content)
        return path

    def judge(
        self,
        data: Path,
        *,
        pins: tuple[bytes, ...] = (),
        policy: Path | None = None,
        promises: tuple[bytes, ...] = (),
        of_time: OfTime = NOTHING_OF_TIME,
        vkeys: Path | None = None,
    ) -> Judgement:
        """Both verifiers on a directory."""
        vkeys = vkeys or self.vkeys
        report = ours(data, vkeys, pins=pins, policy=policy, promises=promises, of_time=of_time)
        code, single = theirs(
            data,
            vkeys,
            pins=tuple(map(self.file, pins)),
            policy=policy,
            promises=tuple(map(self.file, promises)),
            of_time=of_time,
        )
        own, foreign = verdicts(report), verdicts_of_json(single)
        differing = {name for name in own if own[name] != foreign.get(name)}
        assert own == foreign, f"the two do not agree on {differing}: {report.findings} / {single['findings']}"
        assert (code == 0) == report.holds
        return Judgement(report, single)

    def ring(self) -> Keyring:
        """The keyring, in a copy of its own."""
        keys = copy_of(self.keys, self.scratch() / "keys")
        kms = FileKms.open_or_create(keys / "kms.key", random=os.urandom, files=Disk())
        return Keyring(path=keys / "ring/keys", kms=kms, files=Disk(), random=os.urandom, clock_s=lambda: 0)

    def opener(self, data: Path, log: str = "default", *, ring: Keyring | None = None) -> Opener:
        """Whoever may read this log, with all keys."""
        origin = checkpoint_of(self.head(log)).origin
        return Opener(layout=LogLayout(data / "logs" / log), origin=origin, ring=ring or self.ring())

    def refusal(self, data: Path, leaf: int, *, ring: Keyring, log: str = "default") -> str:
        """What is said instead of showing a record; all others of the log must be readable."""
        opener = self.opener(data, log, ring=ring)
        size = head_size(LogLayout(data / "logs" / log))
        refused: dict[int, str] = {}
        for index in range(size):
            try:
                opener.wire(index, opener.leaf(index, size=size), size=size)
            except AffidavitError as error:
                refused[index] = str(error)
        assert refused.keys() == {leaf}, f"refused: {refused}"
        return refused[leaf]


def make(root: Path, provider: Provider) -> Ground:
    """Run the service twice; whoever takes what is made closes it."""
    service = Service(root / "house", upstream=provider.url, gateway="[projects.support]")
    ground = Ground(root, service)
    try:
        service.start()
        _talk(ground, calls=CALLS, first=0)
        service.stop()
        copy_of(service.data, ground.first)
        service.start()
        _talk(ground, calls=LATER_CALLS, first=CALLS)
        # The index keeps up by itself; one attempt changes what stands in it.
        wait_until(lambda: service.run("search", f"call:{ground.calls[-1]}", "--json").stdout, what="index", seconds=30)
        service.stop()
    except BaseException:
        service.close()
        raise
    copy_of(service.data, ground.data)
    shutil.copytree(service.keys, ground.keys, ignore=shutil.ignore_patterns("run", "lock"))
    return ground


def _talk(ground: Ground, *, calls: int, first: int) -> None:
    """Chats that resend what was said before, so that records cite each other; every tenth call is for `support`."""
    connection = http.client.HTTPConnection("127.0.0.1", ground.service.port, timeout=20)
    history: dict[int, list[dict[str, str]]] = {}
    for number in range(first, first + calls):
        user = number % 7
        said = history.setdefault(user, [{"role": "system", "content": "You answer about parcels, kindly. " * 10}])
        said.append({"role": "user", "content": f"Question {number}: where is the parcel of {PERSON}? " * 4})
        prefix = "/p/support" if number % 10 == 9 else ""
        body = json.dumps({"model": "gpt-4o", "messages": said}).encode()
        headers = {"content-type": "application/json", "authorization": "Bearer k", "x-affidavit-user": f"user-{user}"}
        headers |= {"x-affidavit-promise": "1"} if number == PROMISED else {}
        connection.request("POST", f"{prefix}/openai/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        assert answer.status == http.HTTPStatus.OK
        said.append({"role": "assistant", "content": content["choices"][0]["message"]["content"] or "(a tool)"})
        if not prefix:
            ground.calls.append(str(answer.headers["x-affidavit-id"]))
        ground.promise = answer.headers["x-affidavit-promise"] or ground.promise
    connection.close()


def provider() -> Provider:
    """The simulated provider, in a process of its own."""
    return Provider(clean_environment())
