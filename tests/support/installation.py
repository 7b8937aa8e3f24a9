"""A whole installation in one process, without sockets: write-ahead shards, sealer and signer over two directories.

It uses the real parts only. Tests of processes and sockets are under tests/integration.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.crypt.keyring import FileKms, Keyring
from affidavit.event import (
    CallTimes,
    ClockEstimate,
    Context,
    Credential,
    HttpRequest,
    HttpResponse,
    Identity,
    RequestMeta,
    ResponseEnd,
    ResponseStart,
    encode_meta,
    encode_whole_response,
)
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.shards import shard_log, shard_prefix
from affidavit.ledger.signer import Signer
from affidavit.ledger.wal import SealingKey, Shard
from affidavit.seal.hand import Hand, OwnHand
from affidavit.seal.names import Names
from affidavit.seal.opening import Opener
from affidavit.seal.preparer import Preparer
from affidavit.seal.sealer import Sealer
from affidavit.seal.settings import SealerSettings, SigningService
from affidavit.seal.timekeeping import Timekeeping
from affidavit.text import b64u, uuid7

ORIGIN_PREFIX = "00112233445566778899aabbccddeeff.affidavit.internal"
KEPT = ClockEstimate(bound_us=500, offset_us=0, synchronised=1)
"""What a kernel says whose clock somebody keeps; that of the machine under the tests may be anything."""
SDK_HEADERS = (
    ("host", "127.0.0.1:8321"),
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python 3.54.0"),
    ("x-stainless-lang", "python"),
)


def clock_us() -> int:
    """Wall clock, microseconds."""
    return time.time_ns() // 1000


def mono_us() -> int:
    """Monotonic clock, microseconds."""
    return time.monotonic_ns() // 1000


def own_hand(names: Names, policy: int | None) -> Hand:
    """Prepare records in this process."""
    return OwnHand(Preparer(names=names, policy=policy, random=os.urandom, clock_us=clock_us))


@dataclass
class Installation:
    """Two directories and the processes' objects over them; `restart` makes new objects over the same directories."""

    root: Path
    projects: tuple[str, ...] = ("default",)
    disk: Disk = field(default_factory=Disk)
    signer_disk: Disk = field(default_factory=Disk)
    sealing_private: bytes = field(default_factory=lambda: X25519PrivateKey.generate().private_bytes_raw())
    number: int = 1
    """Of the shard that is written."""
    data_name: str = "data"

    make_hand: Callable[[Names, int | None], Hand] = field(default_factory=lambda: own_hand)

    def __post_init__(self) -> None:
        self.data = DataLayout(self.root / self.data_name, shard=self.number)
        self.keys = self.root / "keys"
        (self.keys / "ring").mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self) -> None:
        """Make the signer, the ring and the sealer anew from what lies on disk."""
        self.signer = Signer(
            directory=self.keys / "signer", disk=self.signer_disk, clock_s=lambda: int(time.time()), random=os.urandom
        )
        kms = FileKms.open_or_create(self.keys / "kms", random=os.urandom, files=Disk())
        self.ring = Keyring(
            path=self.keys / "ring" / "keys",
            kms=kms,
            files=self.disk,
            random=os.urandom,
            clock_s=lambda: int(time.time()),
        )
        self.sealer = Sealer(
            data=self.data,
            ring=self.ring,
            signing=SigningService(
                create=lambda log, origin: self.signer.create(log=self.called(log), origin=origin),
                sign=lambda log, checkpoint, old, proof: self.signer.sign(
                    log=self.called(log), checkpoint=checkpoint, old_size=old, proof=proof
                ),
                rotate=lambda log, after: self.signer.rotate(log=self.called(log), after=after),
                rotations=lambda log: self.signer.rotations(self.called(log)),
                beginning=lambda: self.signer.beginning(self.called("system")),
            ),
            private_key=lambda _: self.sealing_private,
            settings=SealerSettings(
                origin_prefix=shard_prefix(ORIGIN_PREFIX, self.number),
                projects=self.projects,
                names=Names(models=frozenset(("gpt-4o", "gpt-4o-2024-08-06"))),
                heads_kept_s=86_400,
                config_sha256=None,
            ),
            clock_us=clock_us,
            random=os.urandom,
            disk=self.disk,
            make_hand=self.make_hand,
            timekeeping=Timekeeping(clock_us=clock_us, mono_us=mono_us, estimate=lambda: KEPT),
        )

    def start(self) -> Installation:
        """Start the sealer; writes the public vkeys file as the service does."""
        self.sealer.start()
        public = self.keys / "public"
        public.mkdir(exist_ok=True)
        self.vkeys_file.write_text("".join(f"{vkey}\n" for vkey in self.sealer.vkeys["system"]))
        return self

    def called(self, log: str) -> str:
        """What the signer calls a log of this shard."""
        return shard_log(log, self.number)

    @property
    def vkeys_file(self) -> Path:
        """The system log's vkeys."""
        return self.keys / "public" / f"{self.called('system')}.vkeys"

    def shard(self, *, source: str = "worker0", disk: Disk | None = None, has_marks: bool = False) -> Shard:
        """A new write-ahead shard."""
        public = X25519PrivateKey.from_private_bytes(self.sealing_private).public_key().public_bytes_raw()
        return Shard(
            wal_directory=self.data.wal,
            source=source,
            boot=b64u(os.urandom(6)),
            logs=("system", *self.projects),
            sealing_key=lambda: SealingKey(id="00000001", public=public),
            clock_us=clock_us,
            disk=disk or Disk(),
            has_marks=has_marks,
        )

    def drain(self) -> None:
        """Seal until nothing is left to seal."""
        while self.sealer.step():
            pass

    def stop(self) -> None:
        """A clean stop."""
        self.sealer.stop()

    def opener(self, log: str = "default") -> Opener:
        """Opens records of a log."""
        origin = f"{shard_prefix(ORIGIN_PREFIX, self.number)}/{log}"
        return Opener(layout=self.data.log(log), origin=origin, ring=self.ring)


def request_meta(call: str, *, body: bytes, user: str | None = None, path: str = "/v1/chat/completions") -> RequestMeta:
    """What the gateway records of a request."""
    key = "AAAAAAAAAAAAAAAAAAAAAA"
    return RequestMeta(
        type="llm.request",
        id=call,
        time_us=clock_us(),
        mono_us=1,
        provider="openai",
        path=path,
        content_type="application/json",
        content_encoding="",
        http=HttpRequest(
            method="POST",
            target=path,
            version="1.1",
            headers=(*SDK_HEADERS, ("content-length", str(len(body)))),
            credentials=(Credential(name="authorization", scheme="Bearer", fingerprint=key),),
        ),
        identity=Identity(user=user, key=key),
        context=Context(client_ip="127.0.0.1", client_port=40_000),
    )


def new_id() -> str:
    """A record id of now."""
    return uuid7(time_us=clock_us(), random=os.urandom(10))


def write_request(shard: Shard, body: bytes, *, user: str | None = None, log: str = "default") -> str:
    """Queue an intent; returns the call id."""
    call = new_id()
    shard.begin(log).finish(meta=encode_meta(request_meta(call, body=body, user=user)), data=body)
    return call


def response_start(call: str, body: bytes) -> ResponseStart:
    """The head of an answer."""
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    return ResponseStart(
        type="llm.response",
        id=new_id(),
        call=call,
        http=HttpResponse(status=200, reason="OK", version="1.1", headers=headers),
        content_type="application/json",
    )


def response_end() -> ResponseEnd:
    """The end of an answer that came whole."""
    now = clock_us()
    times = CallTimes(received=now - 900, durable=now - 700, forwarded=now - 690, first_byte=now - 50, last_byte=now)
    return ResponseEnd(time_us=now, mono_us=2, outcome="ok", times=times)


def write_response(shard: Shard, call: str, body: bytes, *, log: str = "default") -> None:
    """Queue an outcome."""
    shard.begin(log).finish(meta=encode_whole_response(response_start(call, body), response_end()), data=body)


def write_call(shard: Shard, request: bytes, response: bytes, *, user: str | None = None, log: str = "default") -> str:
    """Queue a whole call; returns its id."""
    call = write_request(shard, request, user=user, log=log)
    write_response(shard, call, response, log=log)
    return call


def chat_request(*contents: str, model: str = "gpt-4o") -> bytes:
    """A chat completion request as the official client writes it."""
    import json

    roles = ("system", "user", "assistant")
    messages = [
        {"role": roles[min(index, 1 + (index + 1) % 2)], "content": text} for index, text in enumerate(contents)
    ]
    return json.dumps({"messages": messages, "model": model}, ensure_ascii=False, separators=(",", ":")).encode()


def chat_response(text: str, *, model: str = "gpt-4o-2024-08-06") -> bytes:
    """A whole chat completion."""
    import json

    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
        },
        separators=(",", ":"),
    ).encode()
