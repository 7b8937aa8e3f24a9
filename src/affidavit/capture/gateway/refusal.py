"""The answers that are ours: one table from what happened to a status, a code and a sentence.

Promise: each says what happened, what was not lost, and what to do next; none repeats a byte of what the client sent.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

import msgspec

from affidavit.errors import AffidavitError


class Reason(Enum):
    """Why the gateway answers itself: `(status, code, message)`."""

    MALFORMED = (
        400,
        "malformed_request",
        (
            "The bytes received are not an HTTP/1.1 request. Nothing was sent to a model. Check the client or the "
            "proxy in front of it."
        ),
    )
    AMBIGUOUS_LENGTH = (
        400,
        "ambiguous_length",
        (
            "The request states the length of its body more than once or in two ways, which two servers could "
            "read differently. Nothing was sent to a model. Send either one Content-Length or Transfer-Encoding: "
            "chunked."
        ),
    )
    BAD_HOST = (
        400,
        "bad_host",
        (
            "An HTTP/1.1 request carries exactly one valid Host header, and this one does not. Nothing was sent "
            "to a model. Send one Host header."
        ),
    )
    BAD_TARGET = (
        400,
        "bad_target",
        (
            "The request target is not a plain path (it has dot segments, user information or another form). "
            "Nothing was sent to a model. Send an absolute path such as /openai/v1/chat/completions."
        ),
    )
    BAD_IDENTITY = (
        400,
        "bad_identity",
        (
            "An x-affidavit-* header is repeated or longer than 1,024 bytes. Nothing was sent to a model. Send "
            "each at most once, with a name."
        ),
    )
    BAD_PROMISE = (
        400,
        "bad_promise",
        (
            "x-affidavit-promise is sent once, with the value 1, or not at all. Nothing was sent to a model. Send it "
            "so, or leave it out."
        ),
    )
    BAD_HEAD_WISH = (
        400,
        "bad_head_wish",
        (
            "x-affidavit-head is sent once, with the value 1, or not at all. Nothing was sent to a model. Send it so, "
            "or leave it out."
        ),
    )
    UNKNOWN_PROVIDER = (
        404,
        "unknown_provider",
        "No provider of this name is configured. Nothing was sent to a model.",
    )
    UNKNOWN_PROJECT = (
        404,
        "unknown_project",
        "No project of this name is configured. Nothing was sent to a model.",
    )
    METHOD = (
        405,
        "method_not_allowed",
        (
            "CONNECT and TRACE are not relayed: no record of what they carry could be whole. Nothing was sent to "
            "a model. Use another method."
        ),
    )
    TIMEOUT = (
        408,
        "request_timeout",
        "The request did not arrive whole in time. Nothing was sent to a model. Send it again.",
    )
    BODY_TOO_LARGE = (
        413,
        "body_too_large",
        (
            "The request body is larger than this gateway takes. Nothing was sent to a model. Send less, or raise "
            "body_bytes_max."
        ),
    )
    EXPECTATION = (
        417,
        "expectation_failed",
        (
            "The only expectation that this gateway meets is 100-continue. Nothing was sent to a model. Send the "
            "request without it."
        ),
    )
    HEAD_TOO_LARGE = (
        431,
        "head_too_large",
        (
            "The request line and headers are larger or more than this gateway takes. Nothing was sent to a "
            "model. Send fewer or shorter headers."
        ),
    )
    TRANSFER_CODING = (
        501,
        "unsupported_transfer_coding",
        (
            "The only transfer coding that this gateway takes is chunked. Nothing was sent to a model. Use "
            "Content-Encoding for compression."
        ),
    )
    UPSTREAM_UNREACHABLE = (
        502,
        "upstream_unreachable",
        (
            "The provider could not be reached. The request is on record as not sent: no byte of it left. Check "
            "base_url and the network, then send it again."
        ),
    )
    UPSTREAM_TLS = (
        502,
        "upstream_tls",
        (
            "The provider's certificate or TLS handshake was not accepted. The request is on record as not sent: "
            "no byte of it left. Check base_url, the clock and ca_file, then send it again."
        ),
    )
    UPSTREAM_CONNECT_TIMEOUT = (
        502,
        "upstream_connect_timeout",
        (
            "The provider did not accept a connection in time. The request is on record as not sent: no byte of "
            "it left. Send it again later."
        ),
    )
    UNKNOWN_OUTCOME = (
        502,
        "unknown_outcome",
        (
            "The provider closed the connection after the request was sent and before it answered. The request is "
            "on record; whether the provider served it is unknown, so it was not sent again. Decide whether a "
            "repeat does harm, then send it again."
        ),
    )
    UPSTREAM_PROTOCOL = (
        502,
        "upstream_protocol",
        (
            "The provider's answer is not HTTP that can be relayed. The request and what came are on record. "
            "Check that base_url points to the provider's API."
        ),
    )
    OUTCOME_NOT_DURABLE = (
        502,
        "outcome_not_durable",
        (
            "The request was sent, but its answer could not be written to the write-ahead log, so it is withheld. "
            "The request is on record with an unknown outcome. Free space or mend the disk; the log opens again "
            "by itself."
        ),
    )
    NOT_DURABLE = (
        503,
        "not_durable",
        (
            "The write-ahead log cannot be written, so the call was refused: nothing was sent to a model, and "
            "what was acknowledged before is safe. Free space or mend the disk; the log opens again by itself."
        ),
    )
    DISK_RESERVE = (
        503,
        "disk_reserve",
        (
            "The disk of the write-ahead log has only its reserve left, which is kept for sealing what is on record. "
            "The call was refused: nothing was sent to a model. Free space; calls are taken again within a second."
        ),
    )
    SEALING_BEHIND = (
        503,
        "sealing_behind",
        (
            "Sealing is further behind than the configuration allows, so the call was refused: nothing was sent to a "
            "model, and what is on record is safe. See `affidavit status`; calls are taken again by themselves."
        ),
    )
    OVERLOADED = (
        503,
        "overloaded",
        (
            "This worker holds as many connections or request bytes as it may. Nothing was sent to a model. Send "
            "the request again later."
        ),
    )
    STOPPING = (
        503,
        "stopping",
        "The gateway is stopping. Nothing was sent to a model. Send the request again in a moment.",
    )
    ANSWER_TIMEOUT = (
        504,
        "answer_timeout",
        (
            "The provider sent nothing for too long after the request was sent. The request is on record with an "
            "unknown outcome and was not sent again. Decide whether a repeat does harm, then send it again."
        ),
    )
    VERSION = (
        505,
        "unsupported_version",
        "The gateway speaks HTTP/1.1 and HTTP/1.0. Nothing was sent to a model. Send the request as HTTP/1.1.",
    )

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.value[0]

    @property
    def code(self) -> str:
        """What a program reads."""
        return self.value[1]

    @property
    def message(self) -> str:
        """What a person reads."""
        return self.value[2]


class Refused(AffidavitError):  # noqa: N818 - a refusal is an answer to a client; it never leaves the connection that it is for
    """Raised while a request is read; the connection answers with it and closes."""

    def __init__(self, reason: Reason, *, detail: str = "") -> None:
        super().__init__(reason.code)
        self.reason = reason
        self.detail = detail
        """Appended to the message: names from our own configuration only."""


class _Error(msgspec.Struct, frozen=True):
    type: str
    code: str
    message: str


class _Body(msgspec.Struct, frozen=True):
    error: _Error


def format_refusal(*, reason: Reason, call_id: str, connection: bytes, detail: str = "") -> bytes:
    """A whole HTTP response; `connection` is the value of its Connection header."""
    message = f"{reason.message} {detail}".rstrip()
    body = msgspec.json.encode(_Body(_Error("affidavit_error", reason.code, message)))
    retry = b"retry-after: 1\r\n" if reason.status == HTTPStatus.SERVICE_UNAVAILABLE else b""
    head = (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"%bx-affidavit-id: %b\r\nconnection: %b\r\n\r\n"
        % (reason.status, HTTPStatus(reason.status).phrase.encode(), len(body), retry, call_id.encode(), connection)
    )
    return head + body
