"""Promises, hand-overs and the key manifest made from docs/formats.md alone: neither verifier shares code with these.

What is made here uses hashes and signatures only; if a verifier and our own makers agreed on something that the page
does not say, this would be red.
"""

import base64
import contextlib
import hashlib
import hmac
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import affidavit_verify
from affidavit.prove.manifest import RootKey
from affidavit.prove.verify import verify_directory
from tests.integration.prove.ledgers import ours, theirs, verdicts, verdicts_of_json
from tests.verifier.ledger_maker import LogMaker, Signer, b64u, finish, jcs, sha256, start_system, tree_hash, tree_path

OWN = ("sealer", "BBBBBBBB")
ROOT_NAME = "0123456789abcdef0123456789abcdef.affidavit.internal/system/root"
PROMISE_NAME = "0123456789abcdef0123456789abcdef.affidavit.internal/system/promise"


class Ed25519:
    """An Ed25519 key as signed-note has it."""

    def __init__(self, name: str) -> None:
        self.name, self.key = name, Ed25519PrivateKey.generate()
        material = b"\1" + self.key.public_key().public_bytes_raw()
        self.id = sha256(name.encode() + b"\n" + material)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(material).decode()}"

    def note(self, text: bytes) -> bytes:
        line = f"\u2014 {self.name} {base64.b64encode(self.id + self.key.sign(text)).decode()}\n"
        return text + b"\n" + line.encode()


def promise(key: Ed25519, *, leaf: dict[str, Any], origin: str, seal_by: int, others: int = 2) -> str:
    """Section 15, by its words, as the last of several records of one group commit."""
    blind = b"\7" * 32
    mac = hmac.digest(blind, sha256(b"the body"), "sha256")
    identifier = base64.urlsafe_b64decode(leaf["id"] + "==")
    digest = base64.urlsafe_b64decode(leaf["src"]["digest"] + "=")
    named = bytes((len(origin),)) + origin.encode()
    entry = b"affidavit/promise/entry/v1\0" + named + identifier + digest + mac
    hashes = [sha256(b"\0another %d" % number) for number in range(others)] + [sha256(b"\0" + entry)]
    shard = f"{leaf['src']['id']}.{leaf['src']['boot']}"
    root = base64.b64encode(tree_hash(hashes)).decode()
    text = f"affidavit/promise/v1\n{shard}\n{seal_by}\n{len(hashes)}\n{root}\n".encode()
    return b64u(
        b"\1"
        + named
        + bytes((len(shard),))
        + shard.encode()
        + identifier
        + digest
        + mac
        + blind
        + key.id
        + seal_by.to_bytes(8, "big")
        + others.to_bytes(4, "big")
        + len(hashes).to_bytes(4, "big")
        + b"".join(tree_path(others, hashes))
        + key.key.sign(text)
    )


def rotation(log: LogMaker, new: Signer, after: int) -> dict[str, Any]:
    """Section 21, by its words."""
    old, origin = log.signer, log.signer.origin
    text = "".join(f"{x}\n" for x in ("affidavit/rotate/v1", origin, after, *old.vkeys, *new.vkeys)).encode()
    signatures = [key.sign(text) for pair in (old, new) for key in (pair.ed25519, pair.mldsa44)]
    return {
        "log": log.name,
        "origin": origin,
        "after": after,
        "vkeys": new.vkeys,
        "signatures": [b64u(signature) for signature in signatures],
    }


class World:
    """A ledger in which the keys of both logs were changed, and that names a promise key."""

    def __init__(self, root: Path) -> None:
        self.promise_key, self.root_key = Ed25519(PROMISE_NAME), Ed25519(ROOT_NAME)
        self.alpha = alpha = LogMaker("alpha")
        self.system = system = start_system(alpha)
        self.given = system.signer.write_vkeys(root / "given.vkeys")
        self.generations = {log.name: [{"from": 0, "vkeys": log.signer.vkeys}] for log in (alpha, system)}
        system.add("promise.key", src=OWN, data={"vkey": self.promise_key.vkey})
        alpha.open_epoch()
        alpha.calls(5)
        alpha.publish()
        self.change(alpha, len(alpha.leaves))
        alpha.calls(3)
        alpha.publish()
        system.publish()
        self.change(system, len(system.leaves) + 1)
        self.data = finish(system, alpha).write(root / "data")
        self.root = root

    def change(self, log: LogMaker, after: int) -> None:
        new = Signer(log.signer.origin)
        self.system.add("key.rotate", src=OWN, data=rotation(log, new, after))
        if log is not self.system:
            log.signer = new
        self.system.publish()  # the last head of the system log's old keys, where they are its own
        log.signer = new
        self.generations[log.name].append({"from": after + 1, "vkeys": new.vkeys})

    def manifest(self, **revoked: list[dict[str, int]]) -> bytes:
        """Section 22, by its words."""
        logs = [
            {
                "log": log.name,
                "origin": log.signer.origin,
                "generations": self.generations[log.name],
                "revoked": revoked.get(log.name, []),
            }
            for log in (self.alpha, self.system)
        ]
        return self.root_key.note(b"affidavit/manifest/v1\n" + jcs({"v": 1, "serial": 1, "logs": logs}) + b"\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("page"))


def findings(world: World, *promises: str) -> set[tuple[str, str, str]]:
    """What both say beyond what any ledger of the maker has; they must agree."""
    path = world.root / "promises"
    path.write_text("".join(f"{one}\n" for one in promises))
    held = ((path.read_bytes(),), (path,)) if promises else ((), ())
    report = ours(world.data, world.given, promises=held[0])
    _, result = theirs(world.data, world.given, promises=held[1])
    assert verdicts(report) == verdicts_of_json(result)
    return {(f.axis, f.verdict, f.code) for f in report.findings if f.code not in {"UNANCHORED", "NO-TIMESTAMP"}}


def test_keys_that_changed_by_the_page(world: World) -> None:
    assert findings(world) == set()


def test_promises_by_the_page(world: World) -> None:
    kept = json.loads(world.alpha.leaves[3])
    origin = world.alpha.signer.origin
    broken = {**kept, "src": {**kept["src"], "digest": b64u(hashlib.sha256(b"never").digest())}}
    key = world.promise_key
    assert findings(world, promise(key, leaf=kept, origin=origin, seal_by=1)) == set()
    assert findings(world, promise(key, leaf=broken, origin=origin, seal_by=1)) == {
        ("completeness", "FAIL", "BROKEN-PROMISE")
    }
    assert findings(world, promise(key, leaf=broken, origin=origin, seal_by=4_000_000_000, others=6)) == {
        ("completeness", "WARN", "PROMISE-OPEN")
    }
    assert findings(world, promise(Ed25519(PROMISE_NAME), leaf=kept, origin=origin, seal_by=1)) == {
        ("completeness", "FAIL", "PROMISE")
    }


@pytest.mark.parametrize(
    ("revoked", "expected"),
    [([], set()), ([{"generation": 1, "size": 11}], set()), ([{"generation": 1, "size": 3}], {"KEY-REVOKED"})],
)
def test_a_manifest_by_the_page(world: World, revoked: list[dict[str, int]], expected: set[str]) -> None:
    root, manifest = world.root / "root.vkey", world.root / "manifest"
    root.write_text(world.root_key.vkey + "\n")
    manifest.write_bytes(world.manifest(alpha=revoked))
    root_key = RootKey(root.read_bytes(), (manifest.read_bytes(),))
    report = verify_directory(world.data, vkeys=None, root_key=root_key)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        affidavit_verify.main([str(world.data), "--root", str(root), "--manifest", str(manifest), "--json"])
    result = json.loads(out.getvalue().splitlines()[-1])
    assert verdicts(report) == verdicts_of_json(result)
    assert report.integrity == "OK"
    assert {f.code for f in report.findings if f.axis == "authority"} == expected
