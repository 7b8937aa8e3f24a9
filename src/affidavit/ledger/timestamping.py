"""Asking a timestamp authority (RFC 3161) about a head, and keeping its answer. Formats: docs/formats.md, section 16.

Promise: what is kept was checked twice, by our own reader and by OpenSSL (through `rfc3161-client`), against roots that
the operator named, and it repeats our nonce; an answer that fails either way is not kept. The authority learns the
SHA-256 of a signed head, and nothing else.

The message is the whole signed head, the very bytes of ``heads/<size>``, and not only the note's text: so the time is
also that of the log's *signatures*, which tells a head that was signed before a key was stolen from one that was signed
after; and anybody can hold the two files against each other with `openssl ts -verify` and no program of ours. There is
never more than one file of a size, and one that has a timestamp is kept for good.

Required order: head durable → `ask_for_timestamp` → `keep_timestamp`. Nothing here is a process or a loop: who calls
decides when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import msgspec
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from affidavit.errors import FormatError, TimestampError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.tlog.certificate import Certificate
from affidavit.tlog.cosignature import verify_log_head
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.timestamp import TIMESTAMP_BYTES_MAX, Timestamp, format_request, reduce_timestamp

NONCE_BYTES: Final = 8
ANSWER_S_MAX: Final = 30.0
"""From the first byte to the last; who asks for a timestamp holds nobody up, but should try again some time."""
_READ_BYTES: Final = 16 << 10

Post = Callable[[str, bytes], bytes]
"""`(url, request)` → the body of the answer."""


class Authority(msgspec.Struct, frozen=True):
    """Whom to ask, and which roots vouch for them."""

    url: str
    roots: Sequence[Certificate]


def ask_for_timestamp(
    head: bytes, *, authority: Authority, random: Callable[[int], bytes], post: Post | None = None
) -> tuple[bytes, Timestamp]:
    """A timestamp over `head`, in the form in which it is kept, and what it says.

    Raises:
        TimestampError: The authority does not answer, refuses, or what it sends does not hold.
    """
    nonce = int.from_bytes(random(NONCE_BYTES), "big")
    answer = (post or send)(authority.url, format_request(head, nonce=nonce))
    try:
        kept, timestamp = reduce_timestamp(answer, message=head, roots=authority.roots)
    except FormatError as error:
        raise TimestampError(
            f"the answer of the timestamp authority does not hold: {error}; nothing was kept"
        ) from error
    if timestamp.nonce != nonce:
        raise TimestampError("the timestamp authority answered another question than ours; nothing was kept")
    _require_second_opinion(kept, head=head, nonce=nonce, roots=authority.roots)
    return kept, timestamp


def keep_timestamp(layout: LogLayout, *, size: int, timestamp: bytes, disk: Disk) -> None:
    """Put a timestamp beside the head of `size`, durably; one that is there already is never replaced.

    If we die within it, there is a `.tmp` or no file at all, and the head may be stamped again.

    Raises:
        CorruptionError: That head has another timestamp already.
    """
    disk.mkdir(layout.anchors)
    disk.publish(layout.timestamp(size), timestamp)
    disk.fsync_directory(layout.anchors)


def timestamp_head(
    layout: LogLayout,
    *,
    size: int,
    keys: KeyHistory,
    authority: Authority,
    random: Callable[[int], bytes],
    disk: Disk,
    post: Post | None = None,
) -> Timestamp | None:
    """Have the head of `size` stamped and keep the timestamp; ``None`` where it has one.

    `keys` are those of the log: the size of the head tells which pair must have signed it.

    Raises:
        TimestampError: As `ask_for_timestamp`.
        AffidavitError: The head is not one that the log's keys signed; nobody was asked.
    """
    if layout.timestamp(size).exists():
        return None
    head = layout.head(size).read_bytes()
    verify_log_head(head, keys.at(size))
    kept, timestamp = ask_for_timestamp(head, authority=authority, random=random, post=post)
    keep_timestamp(layout, size=size, timestamp=kept, disk=disk)
    return timestamp


def _require_second_opinion(kept: bytes, *, head: bytes, nonce: int, roots: Sequence[Certificate]) -> None:
    """What strangers' programs would refuse is no evidence for strangers."""
    try:
        response = decode_timestamp_response(kept)
        VerifierBuilder(roots=list(roots), nonce=nonce).build().verify_message(response, head)
    except (VerificationError, ValueError) as error:
        raise TimestampError(
            "OpenSSL does not accept what the timestamp authority sent, though we do; it would convince nobody, and "
            "nothing was kept"
        ) from error


def send(url: str, request: bytes) -> bytes:
    """The body of the authority's answer over HTTP, of bounded size and within bounded time.

    Raises:
        TimestampError: There is none.
    """
    opener = OpenerDirector()  # without handlers of files and of redirects, which a default one has
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    question = Request(url, data=request, headers={"Content-Type": "application/timestamp-query"}, method="POST")  # noqa: S310 - no handler but those above
    until = time.monotonic() + ANSWER_S_MAX
    received = b""
    try:
        with opener.open(question, timeout=ANSWER_S_MAX) as answer:
            while (more := answer.read1(_READ_BYTES)) and len(received) <= TIMESTAMP_BYTES_MAX:
                received += more
                if time.monotonic() > until:
                    raise TimestampError(
                        f"the timestamp authority took more than {ANSWER_S_MAX:.0f} s; nothing was kept"
                    )
    except (OSError, HTTPException) as error:  # every error of urllib is an OSError; its text may hold the address
        if isinstance(error, HTTPError):
            error.close()  # it is an open answer, too
        raise TimestampError(
            f"the timestamp authority does not answer as it should ({type(error).__name__}); nothing was kept, ask "
            "again"
        ) from error
    return received
