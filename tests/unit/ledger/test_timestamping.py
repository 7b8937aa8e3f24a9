"""Asking an authority over a real socket: what is kept holds for strangers, and what does not is not kept."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.errors import AffidavitError, CorruptionError, TimestampError
from affidavit.ledger import timestamping
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.timestamping import Authority, ask_for_timestamp, keep_timestamp, timestamp_head
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, MlDsa44Cosigner, log_vkeys, sign_checkpoint
from affidavit.tlog.merkle import EMPTY_ROOT
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.rotation import key_history
from affidavit.tlog.timestamp import TIMESTAMP_BYTES_MAX, open_timestamp
from tests.support import tsa

HEAD = b"a head"


@pytest.fixture(scope="module")
def service() -> Iterator[tsa.Service]:
    with tsa.Service(tsa.Authority()).running() as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(service: tsa.Service) -> None:
    service.answer, service.status = tsa.Answer(), 200
    service.asked.clear()


@pytest.fixture
def authority(service: tsa.Service) -> Authority:
    return Authority(service.url, parse_roots(service.authority.roots))


def test_what_comes_back_says_when_these_bytes_existed(authority: Authority, service: tsa.Service) -> None:
    service.answer = tsa.at(tsa.ago(seconds=9))
    kept, timestamp = ask_for_timestamp(HEAD, authority=authority, random=os.urandom)
    assert open_timestamp(kept, message=HEAD, roots=authority.roots) == timestamp
    assert timestamp.nonce is not None
    assert HEAD not in service.asked[0]


def test_an_unsorted_set_of_certificates_is_put_in_order(authority: Authority, service: tsa.Service) -> None:
    """OpenSSL's own authority sends one, and `rfc3161-client` refuses it as it comes."""
    by = service.authority
    service.answer = tsa.Answer(certificates=tuple(sorted((by.signer.der, by.between.der, by.root.der), reverse=True)))
    kept, _ = ask_for_timestamp(HEAD, authority=authority, random=os.urandom)
    assert by.root.der not in kept


def test_what_does_not_hold_is_refused(authority: Authority, service: tsa.Service) -> None:
    for answer, why in (
        (tsa.Answer(nonce=5), "another question"),
        (tsa.Answer(status=2), "does not hold"),
        (tsa.Answer(imprint=bytes(32)), "does not hold"),
        (b"no response", "does not hold"),
        (b"", "does not hold"),
        (bytes(TIMESTAMP_BYTES_MAX + 1), "does not hold"),
    ):
        service.answer = answer
        with pytest.raises(TimestampError, match=why):
            ask_for_timestamp(HEAD, authority=authority, random=os.urandom)


def test_what_openssl_does_not_take_is_refused() -> None:
    """It knows no RSA-PSS in a timestamp; we and the single-file verifier do."""
    by = tsa.Authority("rsa")
    authority = Authority("", parse_roots(by.roots))
    with pytest.raises(TimestampError, match="OpenSSL"):
        ask_for_timestamp(
            HEAD,
            authority=authority,
            random=os.urandom,
            post=lambda _, request: by.reply(request, tsa.Answer(scheme="pss")),
        )


def test_who_does_not_answer(authority: Authority, service: tsa.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.status = 500
    with pytest.raises(TimestampError, match="HTTPError"):
        ask_for_timestamp(HEAD, authority=authority, random=os.urandom)
    service.status = 307
    with pytest.raises(TimestampError, match="HTTPError"):
        ask_for_timestamp(HEAD, authority=authority, random=os.urandom)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://user:secret@127.0.0.1:{listening.getsockname()[1]}/"
        monkeypatch.setattr(timestamping, "ANSWER_S_MAX", 0.05)
        with pytest.raises(TimestampError, match="nothing was kept") as caught:
            ask_for_timestamp(HEAD, authority=Authority(url, authority.roots), random=os.urandom)
        assert "secret" not in str(caught.value)


def test_who_answers_by_the_drop(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole never would."""
    monkeypatch.setattr(timestamping, "ANSWER_S_MAX", 0.1)
    gone = threading.Event()

    def drip(listening: socket.socket) -> None:
        client, _ = listening.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
            while not gone.wait(0.01):
                try:
                    client.sendall(b".")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            with pytest.raises(TimestampError, match="took more than"):
                ask_for_timestamp(HEAD, authority=Authority(url, authority.roots), random=os.urandom)
        finally:
            gone.set()
            thread.join()


@pytest.fixture(scope="module")
def signed() -> tuple[LogVkeys, bytes]:
    name = "00112233445566778899aabbccddeeff.affidavit.internal/default"
    signer, cosigner = (kind.from_seed(name=name, seed=bytes(32)) for kind in (Ed25519Signer, MlDsa44Cosigner))
    head = sign_checkpoint(Checkpoint(name, 0, EMPTY_ROOT), signer=signer, cosigner=cosigner, timestamp=1)
    return log_vkeys((signer.key, cosigner.key)), head


def test_a_head_is_stamped_once(
    authority: Authority, service: tsa.Service, signed: tuple[LogVkeys, bytes], tmp_path: Path
) -> None:
    vkeys, head = signed
    layout = LogLayout(tmp_path / "default")
    layout.heads.mkdir(parents=True)
    layout.head(0).write_bytes(head)

    def stamp() -> object:
        return timestamp_head(
            layout, size=0, keys=key_history(vkeys), authority=authority, random=os.urandom, disk=Disk()
        )

    first = stamp()
    data = layout.timestamp(0).read_bytes()
    assert open_timestamp(data, message=head, roots=authority.roots) == first
    assert [path.name for path in layout.anchors.iterdir()] == ["0.tsr"]
    assert stamp() is None
    assert len(service.asked) == 1
    with pytest.raises(CorruptionError, match="published already"):
        keep_timestamp(layout, size=0, timestamp=data + b".", disk=Disk())
    assert layout.timestamp(0).read_bytes() == data


def test_what_is_no_head_of_the_log_is_not_shown_to_anybody(
    authority: Authority, service: tsa.Service, signed: tuple[LogVkeys, bytes], tmp_path: Path
) -> None:
    vkeys, head = signed
    layout = LogLayout(tmp_path / "default")
    layout.heads.mkdir(parents=True)
    layout.head(0).write_bytes(head.replace(b"default", b"another"))
    with pytest.raises(AffidavitError):
        timestamp_head(layout, size=0, keys=key_history(vkeys), authority=authority, random=os.urandom, disk=Disk())
    assert service.asked == []
    assert not layout.anchors.exists()


def test_an_error_or_a_death_at_any_write_leaves_all_or_nothing(
    authority: Authority, service: tsa.Service, signed: tuple[LogVkeys, bytes], tmp_path: Path
) -> None:
    vkeys, head = signed
    place = 0
    while True:
        layout = LogLayout(tmp_path / str(place))
        layout.heads.mkdir(parents=True)
        layout.head(0).write_bytes(head)
        seen: list[str] = []

        def fail(operation: str, path: str, *, seen: list[str] = seen, place: int = place) -> None:
            del path
            seen.append(operation)
            if len(seen) == place + 1:
                raise OSError(28, "fault")

        disk = Disk(fail)
        try:
            timestamp_head(layout, size=0, keys=key_history(vkeys), authority=authority, random=os.urandom, disk=disk)
        except OSError:
            pass
        else:
            break
        if layout.timestamp(0).exists():
            assert open_timestamp(layout.timestamp(0).read_bytes(), message=head, roots=authority.roots)
        timestamp_head(layout, size=0, keys=key_history(vkeys), authority=authority, random=os.urandom, disk=Disk())
        assert open_timestamp(layout.timestamp(0).read_bytes(), message=head, roots=authority.roots)
        assert {path.name for path in layout.anchors.iterdir()} - {"0.tsr.tmp"} == {"0.tsr"}
        place += 1
    assert {"mkdir", "create", "write", "fdatasync", "link", "fsync_directory"} <= set(seen)
