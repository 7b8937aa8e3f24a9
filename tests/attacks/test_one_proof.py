"""An inclusion proof of one entry still holds when another was altered: nothing may call that a verified log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from affidavit.prove.proof import make_proofs, verify_proof_file
from affidavit.prove.report import AXES
from affidavit.tlog.cosignature import parse_vkeys_file
from tests.attacks.ground import Ground
from tests.attacks.on_proofs import vkeys_of
from tests.attacks.on_the_tree import flip
from tests.support.running import VERIFIER, clean_environment

pytestmark = pytest.mark.timeout(300)  # whoever comes first makes the ledger

SAYS_TOO_MUCH = re.compile(
    r"verified|\bvalid\b|intact|untampered|unaltered|authentic|trustworth"
    r"|\blog (?:is|was) (?:ok|good|whole|sound|verified|consistent)|\bledger (?:is|was)\b|integrity\W+OK",
    re.IGNORECASE,
)
"""Words that would say something of the log, or that a reader would take so."""


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


class Desk:
    """The ledger with entry 0 of `default` altered, a proof of another record in it, and the commands."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.data = ground.copy()
        self.alter()
        self.place = ground.scratch()
        self.call = ground.calls[60]
        self.proof = self.place / "call.intent.tlog-proof"

    def alter(self) -> None:
        """Change one digit of entry 0, or change it back; it stays a leaf."""
        bundle = self.data / "logs/default/tree/tile/entries/000"
        flip(bundle, bundle.read_bytes().index(b'"time_us":') + 20)

    def affidavit(self, *arguments: str) -> Said:
        """One of our commands."""
        return self._run(sys.executable, "-m", "affidavit.cli", *arguments)

    def single(self, *arguments: str) -> Said:
        """The single-file verifier."""
        return self._run(sys.executable, str(VERIFIER), *arguments)

    def _run(self, *argv: str) -> Said:
        places = {"AFFIDAVIT_DATA": str(self.data), "AFFIDAVIT_KEYS": str(self.ground.keys), "HOME": str(self.place)}
        environment = clean_environment() | places | {"COLUMNS": "200"}
        done = subprocess.run(argv, env=environment, cwd=self.place, capture_output=True, text=True, check=False)
        return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def desk(ground: Ground) -> Desk:
    made = Desk(ground)
    said = made.affidavit("proof", made.call, "-o", "call")
    assert said.code == 0, said
    return made


def says_nothing_of_the_log(said: Said) -> None:
    for text in (said.out, said.err):
        without_paths = re.sub(r"\S*affidavit_verify\S*", "", text)
        found = SAYS_TOO_MUCH.search(without_paths)
        assert found is None, f"{found and found.group()}: {text}"


def test_the_log_itself_is_damaged_and_both_verifiers_say_so(desk: Desk) -> None:
    vkeys = str(desk.ground.vkeys)
    assert desk.affidavit("verify", str(desk.data), "--vkey", vkeys).code == 1
    assert desk.single(str(desk.data), "--vkey", vkeys).code == 1


def test_making_a_proof_says_nothing_of_the_log(desk: Desk) -> None:
    for arguments in (("-o", "again"), ("-o", "again", "--json")):
        said = desk.affidavit("proof", desk.call, *arguments)
        assert said.code == 0
        says_nothing_of_the_log(said)


def test_help_says_what_a_proof_does_not_do(desk: Desk) -> None:
    told = " ".join(desk.affidavit("proof", "--help").out.split())
    assert "it does not verify the rest of the log" in told


def test_checking_a_proof_says_nothing_of_the_log(desk: Desk) -> None:
    vkeys = str(vkeys_of(desk.ground))
    said = desk.single(str(desk.proof), "--vkey", vkeys)
    assert said.code == 0
    assert "It says nothing of any other entry" in said.out
    says_nothing_of_the_log(said)
    said = desk.single(str(desk.proof), "--vkey", vkeys, "--json")
    told = json.loads(said.out.splitlines()[-1])
    assert {axis: told[axis] for axis in AXES} == dict.fromkeys(AXES, "NOT ASSESSED")
    assert told["logs"] == []
    says_nothing_of_the_log(said)


def test_our_own_words_for_it_say_nothing_of_the_log(desk: Desk) -> None:
    keys = parse_vkeys_file(vkeys_of(desk.ground).read_bytes())
    for made in make_proofs(desk.data, record_id=desk.call):
        text = verify_proof_file(made.data, vkeys=keys).describe()
        assert "This says nothing of any other record" in " ".join(text.split())
        says_nothing_of_the_log(Said(0, text, ""))


@pytest.mark.parametrize("flag", ["--require-anchor", "--pin"])
def test_no_exit_code_of_a_proof_answers_a_question_about_the_log(desk: Desk, flag: str) -> None:
    more = [flag, str(desk.data / "logs/default/tree/checkpoint")] if flag == "--pin" else [flag]
    for verify in (desk.single, partial(desk.affidavit, "verify")):
        said = verify(str(desk.proof), "--vkey", str(vkeys_of(desk.ground)), *more)
        assert (said.code, said.out) == (2, "")
        assert "anchors nothing" in said.err


def test_verify_does_not_take_a_proof_for_a_log(desk: Desk) -> None:
    for arguments in ((), ("--json",)):
        said = desk.affidavit("verify", str(desk.proof), "--vkey", str(vkeys_of(desk.ground)), *arguments)
        assert said.code == 0
        says_nothing_of_the_log(said)
    told = json.loads(said.out.splitlines()[-1])
    assert {axis: told[axis] for axis in AXES} == dict.fromkeys(AXES, "NOT ASSESSED")
    assert told["logs"] == []


def test_no_proof_makes_a_directory_look_verified(ground: Ground) -> None:
    """Even a whole ledger is not called verified while nobody else kept a head of it."""
    desk = Desk(ground)
    desk.alter()  # as it was
    for said in (desk.affidavit("verify"), desk.single(str(desk.data), "--vkey", str(ground.vkeys))):
        assert said.code == 0
        assert not re.search(r"\bverified\b", re.sub(r"\S*" + os.sep + r"\S*", "", said.out))
        assert "UNANCHORED" in said.out


def test_the_words_are_looked_for(tmp_path: Path) -> None:
    for text in ("log verified", "The log is whole.", "integrity: OK", "integrity    OK", "valid"):
        with pytest.raises(AssertionError):
            says_nothing_of_the_log(Said(0, text, ""))
