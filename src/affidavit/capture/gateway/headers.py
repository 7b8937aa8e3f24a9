"""Heads of messages: what is recorded, what goes on, and what stays here.

Promise: functions over parsed header lists. Whatever goes on keeps its bytes, order and spelling. The value of a
credential is in nothing that a head offers for recording; it comes back apart, to be fingerprinted.

Hop-by-hop headers are those of RFC 9110, section 7.6.1, and every one that Connection names. Trailers are dropped with
them (section 6.5.1 allows it), since a trailer would come after the head that is recorded.

This is the hot path, so the module remembers for each header *name* what it means, and for a plain one the last value
with its two forms: clients repeat themselves. No credential is ever remembered.
"""

from __future__ import annotations

import re
from typing import Final

from affidavit.capture.gateway.refusal import Reason, Refused
from affidavit.capture.gateway.settings import IDENTITY_BYTES_MAX
from affidavit.capture.gateway.target import Target
from affidavit.event import HttpResponse, Identity

Headers = list[tuple[bytes, bytes]]

NAMES_MAX: Final = 4096
"""Header names remembered; clients choose them, so the memory is emptied when it is full."""
REMEMBERED_BYTES_MAX: Final = 256
"""Longest name, and longest value, that is remembered: 2 MiB in all."""
_HOST = re.compile(rb"\A(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")
_SCHEMES: Final = {
    scheme.lower().encode(): scheme
    for scheme in (
        "Bearer",
        "Basic",
        "Digest",
        "Negotiate",
        "DPoP",
        "Token",
        "ApiKey",
        "Api-Key",
        "Key",
        "OAuth",
        "AWS4-HMAC-SHA256",
    )
}
"""Schemes that are written down. An unknown first word may be half of a secret, so it counts as part of the value."""
_OWS: Final = b" \t"
_HIDDEN: Final = "…"

# What a header means here. Plain integers, because comparing members of an enumeration costs more than all the rest.
_PLAIN: Final = 0
_CONTENT_TYPE: Final = 1
_CONTENT_ENCODING: Final = 2
_CONTENT_LENGTH: Final = 3
_HOST_NAME: Final = 4
_CONNECTION: Final = 5
_HOP: Final = 6
_TRANSFER_ENCODING: Final = 7
_EXPECT: Final = 8
_CREDENTIAL: Final = 9
_CREDENTIAL_HOP: Final = 10
_IDENTITY: Final = 11
_OURS: Final = 12
_USER_AGENT: Final = 13
_SET_COOKIE: Final = 14
_UPGRADE: Final = 15
_PROMISE: Final = 16
_HEAD: Final = 17

_KINDS: Final = {
    "content-type": _CONTENT_TYPE,
    "content-encoding": _CONTENT_ENCODING,
    "content-length": _CONTENT_LENGTH,
    "host": _HOST_NAME,
    "connection": _CONNECTION,
    "keep-alive": _HOP,
    "proxy-connection": _HOP,
    "proxy-authenticate": _HOP,
    "te": _HOP,
    "trailer": _HOP,
    "http2-settings": _HOP,
    "upgrade": _UPGRADE,
    "transfer-encoding": _TRANSFER_ENCODING,
    "expect": _EXPECT,
    "user-agent": _USER_AGENT,
    "set-cookie": _SET_COOKIE,
    "set-cookie2": _SET_COOKIE,
    "authorization": _CREDENTIAL,
    "proxy-authorization": _CREDENTIAL_HOP,
    "x-api-key": _CREDENTIAL,
    "api-key": _CREDENTIAL,
    "x-goog-api-key": _CREDENTIAL,
    "cookie": _CREDENTIAL,
    "cookie2": _CREDENTIAL,
    # Not in the invariant's list, but credentials of providers and clouds all the same.
    "x-auth-token": _CREDENTIAL,
    "x-access-token": _CREDENTIAL,
    "x-amz-security-token": _CREDENTIAL,
    "ocp-apim-subscription-key": _CREDENTIAL,
    "x-affidavit-user": _IDENTITY,
    "x-affidavit-team": _IDENTITY,
    "x-affidavit-app": _IDENTITY,
    "x-affidavit-session": _IDENTITY,
    "x-affidavit-prompt": _IDENTITY,
    "x-affidavit-workflow": _IDENTITY,
    "x-affidavit-trace": _IDENTITY,
    "x-affidavit-promise": _PROMISE,
    "x-affidavit-head": _HEAD,
}
_REQUEST_STAYS: Final = frozenset(
    {
        _HOST_NAME,
        _CONNECTION,
        _HOP,
        _UPGRADE,
        _TRANSFER_ENCODING,
        _EXPECT,
        _CREDENTIAL_HOP,
        _IDENTITY,
        _OURS,
        _PROMISE,
        _HEAD,
    }
)
"""Kinds of request headers that do not go on."""
_WISHES: Final = frozenset({_PROMISE, _HEAD})
_SECRET: Final = frozenset({_CREDENTIAL, _CREDENTIAL_HOP})
_REQUEST_UNRECORDED: Final = frozenset({_CREDENTIAL, _CREDENTIAL_HOP, _IDENTITY, _OURS, _PROMISE, _HEAD})
_ANSWER_STAYS: Final = frozenset({_CONNECTION, _HOP, _UPGRADE, _TRANSFER_ENCODING, _IDENTITY, _OURS, _PROMISE, _HEAD})
"""Kinds of answer headers that do not go on."""
_KEPT_WHEN_NAMED: Final = frozenset({b"close", b"keep-alive", b"", b"host", b"content-length", b"transfer-encoding"})
"""Options of Connection that take no end-to-end header away: the framing is ours to decide."""


class _Name:
    """What is known of a header name."""

    __slots__ = ("kind", "line", "lower", "prefix", "recorded", "text", "value")

    def __init__(self, raw: bytes) -> None:
        self.text = raw.decode("latin-1")
        self.lower = self.text.lower()
        self.kind = _KINDS.get(self.lower, _OURS if self.lower.startswith("x-affidavit-") else _PLAIN)
        self.prefix = raw + b": "
        # The last value of a plain header, and its forms.
        self.value = b""
        self.line = self.prefix + b"\r\n"
        self.recorded = (self.text, "")

    def remember(self, value: bytes) -> None:
        """Make the forms of a value of a plain header."""
        self.value = value
        self.line = self.prefix + value + b"\r\n"
        self.recorded = (self.text, value.decode("latin-1"))


_names: dict[bytes, _Name] = {}


def _learn(raw: bytes) -> _Name:
    name = _Name(raw)
    if len(raw) <= REMEMBERED_BYTES_MAX:
        if len(_names) >= NAMES_MAX:
            _names.clear()
        _names[raw] = name
    return name


class RequestHead:
    """The head of one request, read; raises `Refused` where it may not go on."""

    __slots__ = (
        "asks_head",
        "asks_promise",
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "credentials",
        "expects_continue",
        "http_1_1",
        "identity",
        "keep",
        "lines",
        "method",
        "recorded",
        "target",
        "upgrade",
        "user_agent",
        "version",
    )

    def __init__(self, *, method: str, version: str, target: Target, headers: Headers) -> None:
        self.method = method
        self.version = version
        self.http_1_1 = version == "1.1"
        self.target = target
        self.content_type = ""
        self.content_encoding = ""
        self.content_length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.asks_head = False
        """The newest head of the log is to come with the answer."""
        self.asks_promise = False
        """A signed promise that the record will be sealed is to come with the answer."""
        self.upgrade = False
        """Another protocol is offered; the offer is ignored (RFC 9110, section 7.8)."""
        self.keep = self.http_1_1
        """The client's connection stays open after the answer."""
        self.user_agent: str | None = None
        self.credentials: list[tuple[str, str, bytes]] = []
        """Name, scheme and the secret itself: to be fingerprinted and forgotten."""
        self.identity: dict[str, str] | None = None
        self.recorded: list[tuple[str, str]]
        """Names and values that may be written down, in order."""
        self.lines: list[bytes]
        """Header lines for the provider, without Host and what stays here."""
        self._read(headers)

    def _read(self, headers: Headers) -> None:
        self.lines = lines = []
        self.recorded = recorded = []
        hosts = 0
        connection = None
        for raw, value in headers:
            name = _names.get(raw) or _learn(raw)
            kind = name.kind
            if kind == _PLAIN:
                if value != name.value:
                    if len(value) > REMEMBERED_BYTES_MAX:
                        lines.append(name.prefix + value + b"\r\n")
                        recorded.append((name.text, value.decode("latin-1")))
                        continue
                    name.remember(value)
                lines.append(name.line)
                recorded.append(name.recorded)
                continue
            if kind not in _REQUEST_STAYS:
                lines.append(name.prefix + value + b"\r\n")
            if kind not in _REQUEST_UNRECORDED:
                recorded.append((name.text, value.decode("latin-1")))
            if kind == _HOST_NAME:
                hosts += 1
                if not _HOST.match(value.rstrip(_OWS)):
                    raise Refused(Reason.BAD_HOST)
            elif kind == _CONNECTION:
                connection = value if connection is None else connection + b"," + value
            else:
                self._read_special(name, value)
        if hosts != 1 and (hosts > 1 or self.http_1_1):
            raise Refused(Reason.BAD_HOST)
        if connection is not None:
            self._read_connection(connection)

    def _read_special(self, name: _Name, value: bytes) -> None:
        kind = name.kind
        if kind == _CONTENT_LENGTH:
            self.content_length = int(value)
        elif kind == _CONTENT_TYPE:
            self.content_type = self.content_type or value.decode("latin-1").strip()
        elif kind == _USER_AGENT:
            self.user_agent = value.decode("latin-1")
        elif kind in _SECRET:
            scheme, secret = _scheme(value) if name.lower.endswith("authorization") else ("", value.strip(_OWS))
            self.credentials.append((name.lower, scheme, secret))
        elif kind == _IDENTITY:
            self._read_identity(name.lower.removeprefix("x-affidavit-"), value)
        elif kind == _CONTENT_ENCODING:
            coding = value.decode("latin-1").strip()
            self.content_encoding = f"{self.content_encoding}, {coding}" if self.content_encoding else coding
        elif kind == _TRANSFER_ENCODING:
            if value.strip(_OWS).lower() != b"chunked" or not self.http_1_1 or self.chunked:
                raise Refused(Reason.TRANSFER_CODING)
            self.chunked = True
        elif kind == _EXPECT:
            if value.strip(_OWS).lower() != b"100-continue":
                raise Refused(Reason.EXPECTATION)
            self.expects_continue = self.http_1_1
        elif kind == _UPGRADE:
            self.upgrade = True
        elif kind in _WISHES:
            self._read_wish(kind, value)

    def _read_wish(self, kind: int, value: bytes) -> None:
        """Something is to come with the answer."""
        is_promise = kind == _PROMISE
        if (self.asks_promise if is_promise else self.asks_head) or value.strip(_OWS) != b"1":
            raise Refused(Reason.BAD_PROMISE if is_promise else Reason.BAD_HEAD_WISH)
        if is_promise:
            self.asks_promise = True
        else:
            self.asks_head = True

    def _read_identity(self, member: str, value: bytes) -> None:
        if self.identity is None:
            self.identity = {}
        if member in self.identity or len(value) > IDENTITY_BYTES_MAX:
            raise Refused(Reason.BAD_IDENTITY)
        self.identity[member] = _text(value.strip(_OWS))

    def _read_connection(self, value: bytes) -> None:
        options = _options(value)
        if b"close" in options:
            self.keep = False
        elif b"keep-alive" in options:
            self.keep = True
        self.lines = _without(self.lines, options)


class AnswerHead:
    """The head of an answer, read."""

    __slots__ = (
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "lines",
        "other_coding",
        "recorded",
        "status",
    )

    def __init__(self, *, status: int, reason: bytes, version: str, headers: Headers) -> None:
        self.status = status
        self.content_type = ""
        self.content_encoding = ""
        self.content_length: int | None = None
        self.chunked = False
        self.other_coding = False
        """A transfer coding that is not chunked: the body cannot be told from it."""
        self.lines: list[bytes]
        """Header lines for the client, without those of this hop."""
        recorded = self._read(headers)
        self.recorded = HttpResponse(
            status=status, reason=reason.decode("latin-1"), version=version, headers=tuple(recorded)
        )

    def _read(self, headers: Headers) -> list[tuple[str, str]]:
        self.lines = lines = []
        recorded: list[tuple[str, str]] = []
        connection = None
        for raw, value in headers:
            name = _names.get(raw) or _learn(raw)
            kind = name.kind
            if kind == _PLAIN:
                if value != name.value:
                    if len(value) > REMEMBERED_BYTES_MAX:
                        lines.append(name.prefix + value + b"\r\n")
                        recorded.append((name.text, value.decode("latin-1")))
                        continue
                    name.remember(value)
                lines.append(name.line)
                recorded.append(name.recorded)
                continue
            text = value.decode("latin-1")
            recorded.append((name.text, _HIDDEN if kind == _SET_COOKIE else text))
            if kind not in _ANSWER_STAYS:
                lines.append(name.prefix + value + b"\r\n")
            if kind == _CONTENT_TYPE:
                self.content_type = self.content_type or text.strip()
            elif kind == _CONTENT_LENGTH:
                self.content_length = int(value)
            elif kind == _CONTENT_ENCODING:
                self.content_encoding = (
                    f"{self.content_encoding}, {text.strip()}" if self.content_encoding else text.strip()
                )
            elif kind == _TRANSFER_ENCODING:
                self.chunked = True
                self.other_coding = self.other_coding or text.strip().lower() != "chunked"
            elif kind == _CONNECTION:
                connection = value if connection is None else connection + b"," + value
        if connection is not None:
            self.lines = _without(lines, _options(connection))
        return recorded


def identity_of(head: RequestHead, *, key: str | None) -> Identity:
    """Who calls, as the headers assert it."""
    if head.identity is None:
        return Identity(key=key)
    return Identity(key=key, **head.identity)


def _options(value: bytes) -> set[bytes]:
    return {option.strip(_OWS).lower() for option in value.split(b",")}


def _without(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    """Header lines but for those that Connection names."""
    named = options - _KEPT_WHEN_NAMED
    if not named:
        return lines
    return [line for line in lines if line[: line.index(b":")].lower() not in named]


def _scheme(value: bytes) -> tuple[str, bytes]:
    """Scheme and secret of an Authorization value; equal keys get equal secrets whatever header carries them."""
    first, space, rest = value.strip(_OWS).partition(b" ")
    scheme = _SCHEMES.get(first.lower())
    if scheme is None or not space:
        return "", value.strip(_OWS)
    return scheme, rest.strip(_OWS)


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
