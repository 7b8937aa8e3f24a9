"""A timestamp authority for tests: real certificates, real responses, any wrong thing on request, and a real socket.

It is written with `cryptography` and our DER writer, since `openssl ts` is not on every machine; where it is, tests
hold this authority's answers against it.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from affidavit.tlog.der import (
    GENERALIZED_TIME,
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Elements,
    context,
    element,
    integer,
    object_identifier,
    whole,
)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
HASHES = {"sha256": (hashes.SHA256(), 1), "sha384": (hashes.SHA384(), 2), "sha512": (hashes.SHA512(), 3)}
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2040, 1, 1, tzinfo=UTC)


def make_key(kind: str) -> Key:
    """`rsa` (with its size behind it, else 2,048 bits), `p256` or `p384`; other curves by name."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:] or 2048))
    curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
    return ec.generate_private_key(curve)


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Holder:
    """A key and its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def certify(
    name: str,
    *,
    by: Holder | None,
    kind: str = "p256",
    ca: bool = True,
    key: Key | None = None,
    begin: datetime = BEGIN,
    end: datetime = END,
    path_length: int | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
    purposes_critical: bool = True,
    usage: str | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: hashes.HashAlgorithm | None = None,
) -> Holder:
    """A key with a certificate by somebody, or by itself."""
    key = key or make_key(kind)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(by.certificate.subject if by else name_of(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    elif purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=purposes_critical)
    usage = usage or ("key_cert_sign" if ca else "digital_signature")
    builder = builder.add_extension(x509.KeyUsage(**{each: each == usage for each in USAGES}), critical=True)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(by.key if by else key, digest or hashes.SHA256())
    return Holder(key, certificate)


@dataclass(frozen=True)
class Answer:
    """How an authority answers; each field is something that it can do wrong, or in another of the right ways."""

    digest: str = "sha256"
    scheme: str = "default"
    """`default` for the key, `pss`, or `long`: PKCS #1 under the name that has the hash in it."""
    moment: datetime | None = None
    """Else now."""
    accuracy: tuple[int, int, int] | None = (0, 500, 0)
    """Seconds, milliseconds, microseconds."""
    certificates: tuple[bytes, ...] | None = None
    """Else the signer's and those between it and the root, sorted."""
    imprint: bytes | None = None
    """Else the digest that was asked for."""
    nonce: int | None = None
    """Else the one that was asked with."""
    status: int = 0
    essential: str = "v2"
    """Which attribute names the signer's certificate: `v1`, `v2`, `v2-sha512`, `none`, or `other` for a wrong one."""
    unsigned: bool = False
    """Whether something stands behind the signature that nobody signed."""
    null_parameters: bool = True
    imprint_digest: str = "sha256"
    """Under which name the digest goes."""
    salted: int | None = None
    """Length of the salt of a PSS signature; else that of the digest."""
    salt: int | None = None
    """What a PSS signature states as the length of its salt; else the truth."""
    mask: str | None = None
    """The hash function that it states for its mask; else the truth."""


@dataclass
class Authority:
    """A root, one certificate between, and a signer."""

    kind: str = "p256"
    root: Holder = field(init=False)
    between: Holder = field(init=False)
    signer: Holder = field(init=False)
    serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.root = certify("root of the test", by=None, kind=self.kind)
        self.between = certify("between", by=self.root, kind=self.kind)
        self.signer = certify("authority", by=self.between, kind=self.kind, ca=False)

    @property
    def roots(self) -> bytes:
        """What a verifier is given."""
        return self.root.pem

    def stamp(self, message: bytes, answer: Answer | None = None) -> bytes:
        """A response about `message` without having been asked."""
        return self.respond(hashlib.sha256(message).digest(), nonce=None, answer=answer or Answer())

    def reply(self, request: bytes, answer: Answer) -> bytes:
        """A response to a request as it came."""
        asked = whole(request, SEQUENCE)
        asked.take(INTEGER)
        imprint = Elements(asked.take(SEQUENCE).content)
        imprint.take(SEQUENCE)
        digest = imprint.take(OCTET_STRING).content
        nonce = asked.take_if(INTEGER)
        return self.respond(digest, nonce=integer(nonce.content) if nonce else None, answer=answer)

    def respond(self, digest: bytes, *, nonce: int | None, answer: Answer) -> bytes:
        if answer.status:
            return element(SEQUENCE, element(SEQUENCE, number(answer.status)))
        nonce = nonce if answer.nonce is None else answer.nonce
        content = self._content(answer.imprint or digest, nonce, answer)
        status = element(SEQUENCE, number(0))
        signed = self._signed_data(content, answer)
        token = element(SEQUENCE, object_identifier("1.2.840.113549.1.7.2"), element(context(0), signed))
        return element(SEQUENCE, status, token)

    def _content(self, digest: bytes, nonce: int | None, answer: Answer) -> bytes:
        moment = answer.moment or datetime.now(UTC)
        fraction = f"{moment.microsecond:06d}".rstrip("0")
        text = f"{moment:%Y%m%d%H%M%S}" + (f".{fraction}" if fraction else "") + "Z"
        parts = [
            number(1),
            object_identifier("1.2.3.4.1"),
            element(
                SEQUENCE, algorithm(answer.imprint_digest, null=answer.null_parameters), element(OCTET_STRING, digest)
            ),
            number(next(self.serial)),
            element(GENERALIZED_TIME, text.encode()),
        ]
        if answer.accuracy is not None:
            seconds, millis, micros = answer.accuracy
            inner = [number(seconds)] if seconds else []
            inner += [element(context(0, constructed=False), number(millis)[2:])] if millis else []
            inner += [element(context(1, constructed=False), number(micros)[2:])] if micros else []
            parts.append(element(SEQUENCE, *inner))
        if nonce is not None:
            parts.append(number(nonce))
        return element(SEQUENCE, *parts)

    def _signed_data(self, content: bytes, answer: Answer) -> bytes:
        signer = self.signer.certificate
        content_type = object_identifier("1.2.840.113549.1.9.16.1.4")
        digest = hashlib.new(answer.digest, content).digest()
        attributes = [
            attribute("1.2.840.113549.1.9.3", content_type),
            attribute("1.2.840.113549.1.9.4", element(OCTET_STRING, digest)),
            *essential(self.signer.der, answer),
        ]
        signed = element(SET, *sorted(attributes))
        scheme, signature = self._sign(signed, answer)
        issuer = signer.issuer.public_bytes()
        info = element(
            SEQUENCE,
            number(1),
            element(SEQUENCE, issuer, number(signer.serial_number)),
            algorithm(answer.digest, null=answer.null_parameters),
            element(context(0), *sorted(attributes)),
            scheme,
            element(OCTET_STRING, signature),
            *([element(context(1), attribute("1.2.3.4.5", element(NULL)))] if answer.unsigned else []),
        )
        certificates = answer.certificates
        if certificates is None:
            certificates = tuple(sorted((self.signer.der, self.between.der)))
        return element(
            SEQUENCE,
            number(3),
            element(SET, algorithm(answer.digest, null=answer.null_parameters)),
            element(SEQUENCE, content_type, element(context(0), element(OCTET_STRING, content))),
            *([element(context(0), *certificates)] if certificates else []),
            element(SET, info),
        )

    def _sign(self, signed: bytes, answer: Answer) -> tuple[bytes, bytes]:
        used, index = HASHES[answer.digest]
        key = self.signer.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            scheme = element(SEQUENCE, object_identifier(f"1.2.840.10045.4.3.{1 + index}"))
            return scheme, key.sign(signed, ec.ECDSA(used))
        if answer.scheme == "pss":
            salted = used.digest_size if answer.salted is None else answer.salted
            name = algorithm(answer.digest, null=answer.null_parameters)
            mask = algorithm(answer.mask or answer.digest, null=answer.null_parameters)
            parameters = element(
                SEQUENCE,
                element(context(0), name),
                element(context(1), element(SEQUENCE, object_identifier("1.2.840.113549.1.1.8"), mask)),
                element(context(2), number(salted if answer.salt is None else answer.salt)),
            )
            scheme = element(SEQUENCE, object_identifier("1.2.840.113549.1.1.10"), parameters)
            return scheme, key.sign(signed, padding.PSS(padding.MGF1(used), salted), used)
        name = f"1.2.840.113549.1.1.{10 + index}" if answer.scheme == "long" else "1.2.840.113549.1.1.1"
        scheme = element(SEQUENCE, object_identifier(name), element(NULL))
        return scheme, key.sign(signed, padding.PKCS1v15(), used)


def essential(der: bytes, answer: Answer) -> list[bytes]:
    """The attribute that names the certificate of the signer."""
    if answer.essential == "none":
        return []
    if answer.essential == "v1":
        named = element(SEQUENCE, element(OCTET_STRING, hashlib.sha1(der).digest()))  # noqa: S324 - the attribute's own
        return [attribute("1.2.840.113549.1.9.16.2.12", element(SEQUENCE, element(SEQUENCE, named)))]
    if answer.essential == "v2-sha512":
        named = element(SEQUENCE, algorithm("sha512", null=False), element(OCTET_STRING, hashlib.sha512(der).digest()))
    else:
        der = der if answer.essential == "v2" else der + b"."
        named = element(SEQUENCE, element(OCTET_STRING, hashlib.sha256(der).digest()))
    return [attribute("1.2.840.113549.1.9.16.2.47", element(SEQUENCE, element(SEQUENCE, named)))]


def attribute(name: str, value: bytes) -> bytes:
    return element(SEQUENCE, object_identifier(name), element(SET, value))


def algorithm(digest: str, *, null: bool) -> bytes:
    identifier = object_identifier(f"2.16.840.1.101.3.4.2.{HASHES[digest][1]}")
    return element(SEQUENCE, identifier, element(NULL)) if null else element(SEQUENCE, identifier)


def number(value: int) -> bytes:
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


class Service:
    """An authority behind a socket. `answer` is how it answers from now on, or the bytes that it sends instead."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.answer: Answer | bytes = Answer()
        self.status = 200
        self.asked: list[bytes] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Service]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/timestamp-query"
                service.asked.append(request)
                answer = service.answer
                body = answer if isinstance(answer, bytes) else service.authority.reply(request, answer)
                self.send_response(service.status)
                self.send_header("content-type", "application/timestamp-reply")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/tsr"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def at(moment: datetime, **options: object) -> Answer:
    """An answer that states a time."""
    return replace(Answer(moment=moment), **options)  # type: ignore[arg-type]


def ago(**parts: float) -> datetime:
    return datetime.now(UTC) - timedelta(**parts)
