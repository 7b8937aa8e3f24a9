"""`openssl ts`: it accepts the timestamps that we keep and no mutant, and we take those that it gives."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from affidavit.errors import FormatError
from affidavit.ledger.timestamping import Authority, ask_for_timestamp
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import open_timestamp, reduce_timestamp
from tests.foreign.conftest import SHOWN_TO
from tests.support import tsa

HEAD = b"the bytes of a head"
TSA_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@pytest.fixture
def openssl(request: pytest.FixtureRequest) -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("openssl ts: there is no openssl on this machine")
    version = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout.split()
    request.node.user_properties.append((SHOWN_TO, f"openssl ts ({' '.join(version[:2])})"))
    return found


def accepts(openssl: str, directory: Path, *, response: bytes, message: bytes, roots: bytes) -> bool:
    files = {"response": response, "message": message, "roots": roots}
    for name, data in files.items():
        (directory / name).write_bytes(data)
    command = [openssl, "ts", "-verify", "-in", "response", "-data", "message", "-CAfile", "roots"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode == 0) == ("Verification: OK" in done.stdout)
    return done.returncode == 0


@pytest.mark.parametrize(("kind", "digest"), [("p256", "sha256"), ("p384", "sha384"), ("rsa", "sha512")])
def test_it_accepts_what_we_keep(openssl: str, tmp_path: Path, kind: str, digest: str) -> None:
    by = tsa.Authority(kind)
    many = (by.signer.der, by.root.der, by.between.der)
    raw = by.stamp(HEAD, tsa.Answer(digest=digest, certificates=many, unsigned=True))
    kept, _ = reduce_timestamp(raw, message=HEAD, roots=parse_roots(by.roots))
    assert accepts(openssl, tmp_path, response=kept, message=HEAD, roots=by.roots)
    assert not accepts(openssl, tmp_path, response=kept, message=HEAD + b".", roots=by.roots)
    assert not accepts(openssl, tmp_path, response=kept, message=HEAD, roots=tsa.Authority(kind).roots)


def test_it_is_no_stricter_than_we_are(openssl: str, tmp_path: Path) -> None:
    """Whatever it refuses of a changed timestamp we refuse; the other way round we may know better."""
    by = tsa.Authority()
    kept, _ = reduce_timestamp(by.stamp(HEAD), message=HEAD, roots=parse_roots(by.roots))
    refused = 0
    for place in range(0, len(kept), 29):
        changed = kept[:place] + bytes((kept[place] ^ 1,)) + kept[place + 1 :]
        refused += not accepts(openssl, tmp_path, response=changed, message=HEAD, roots=by.roots)
        with pytest.raises(FormatError):
            open_timestamp(changed, message=HEAD, roots=parse_roots(by.roots))
    assert refused > len(kept) // 29 // 2


def test_we_take_what_it_gives(openssl: str, tmp_path: Path) -> None:
    """Its set of certificates is in no order: `rfc3161-client` refuses it as it comes, and takes it as we keep it."""
    by = tsa.Authority("rsa")
    key = by.signer.key.private_bytes(*private())
    for name, data in {
        "key": key,
        "signer": by.signer.pem,
        "chain": by.root.pem + by.between.pem,
        "config": TSA_CONFIG.encode(),
        "serial": b"01",
    }.items():
        (tmp_path / name).write_bytes(data)

    def post(_: str, request: bytes) -> bytes:
        (tmp_path / "request").write_bytes(request)
        command = [openssl, "ts", "-reply", "-config", "config", "-queryfile", "request"]
        command += ["-inkey", "key", "-signer", "signer", "-chain", "chain", "-out", "reply"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=20)
        return (tmp_path / "reply").read_bytes()

    authority = Authority("", parse_roots(by.roots))
    kept, timestamp = ask_for_timestamp(HEAD, authority=authority, random=os.urandom, post=post)
    assert timestamp.accuracy_us == 1_000_000
    assert accepts(openssl, tmp_path, response=kept, message=HEAD, roots=by.roots)


def private() -> tuple[object, object, object]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
