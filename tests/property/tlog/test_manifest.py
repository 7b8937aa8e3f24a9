"""Both verifiers read the same manifests: whatever the root key signs, and whatever happens to the bytes after that."""

import json
import random

import pytest

import affidavit_verify
from affidavit.errors import AffidavitError
from affidavit.tlog.manifest import open_manifest
from affidavit.tlog.note import Ed25519Signer, Note, format_note, format_vkey

ROOT = Ed25519Signer.from_seed(name="x.example/system/root", seed=b"r" * 32)
OTHER = Ed25519Signer.from_seed(name="x.example/other", seed=b"o" * 32)
PAIRS = [{"from": 0, "vkeys": ["a", "b"]}, {"from": 7, "vkeys": ["c", "d"]}]
BASE = {
    "v": 1,
    "serial": 3,
    "logs": [
        {"log": "default", "origin": "x/default", "generations": PAIRS, "revoked": [{"generation": 1, "size": 5}]},
        {"log": "system", "origin": "x/system", "generations": PAIRS[:1], "revoked": []},
    ],
}
VALUES = (
    *(0, 1, -1, 2**53 - 1, 2**53, 1000, 1001, 1.0, 1.5, True, None),
    *("", "a", "é", "\x7f", "~", " ", "x" * 4096, "x" * 4097, "system", "Default", "a-b", "-a"),
    *([], {}, ["a", "b"], PAIRS[0], PAIRS),
)


def places(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, chance):
    """One member of a manifest is another, gone, doubled, or new."""
    value = json.loads(json.dumps(value))
    found = list(places(value))
    if not found:
        return value
    *above, last = chance.choice(found)
    target = value
    for key in above:
        target = target[key]
    act = chance.randrange(4)
    if act == 0:
        del target[last]
    elif act == 1 and isinstance(target, list):
        target.append(target[last])
    elif act == 2 and isinstance(target, dict):
        target[chance.choice(("more", "v", "log", "from"))] = chance.choice(VALUES)
    else:
        target[last] = chance.choice(VALUES)
    return value


def signed(value, chance):
    """The note, by the root key at least, in one form or another."""
    loose = chance.random() < 0.05
    body = json.dumps(value, sort_keys=not loose, separators=(",", ":"), ensure_ascii=chance.random() < 0.1)
    text = b"affidavit/manifest/v1\n" + body.encode() + b"\n"
    lines = [ROOT.sign(text)]
    if chance.random() < 0.2:
        lines.insert(chance.randrange(2), OTHER.sign(text))
    if chance.random() < 0.05:
        lines.append(lines[0])
    return format_note(Note(text, tuple(lines)))


def damaged(data, chance):
    """One byte is another, gone, or new; or the end is missing."""
    at, act = chance.randrange(len(data)), chance.randrange(4)
    if act == 0:
        return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
    return (data[:at] + data[at + 1 :], data[:at] + chance.randbytes(1) + data[at:], data[:at])[act - 1]


def ours(data):
    try:
        open_manifest(data, root=ROOT.key)
    except AffidavitError:
        return False
    return True


def theirs(data):
    try:
        affidavit_verify.open_manifest(data, format_vkey(ROOT.key))
    except affidavit_verify.Damage:
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_both_take_the_same_manifests(seed, monkeypatch):
    class Quick:
        """The verifier's own arithmetic has its own tests."""

        def __init__(self, public):
            assert public == ROOT.key.public_key

        def verify(self, message, signature):
            return ROOT.sign(message).signature == signature

    monkeypatch.setattr(affidavit_verify, "Ed25519Key", Quick)
    chance, taken = random.Random(seed), 0
    for _ in range(300):
        value = BASE
        for _ in range(chance.randrange(3)):
            value = changed(value, chance)
        data = signed(value, chance)
        data = damaged(data, chance) if chance.random() < 0.3 else data
        assert ours(data) == theirs(data), data
        taken += ours(data)
    assert 30 < taken < 270
