"""Timestamps of RFC 3161 (with RFC 5816) as we keep them: who said, when, that some bytes existed.

Promise: `open_timestamp` returns only what a timestamp authority signed over exactly these bytes, under a certificate
that led to a given root at the time that it states. Whatever of a response its signature does not cover is taken down
to one form before it is kept (`reduce_timestamp`), and `open_timestamp` refuses any other, so that no byte of a kept
one can be changed unseen. An authority may lie about the time; it cannot have signed what it has not seen.

The form: docs/formats.md, section 16. Messages are hashed with SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha1, sha256, sha384, sha512
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from affidavit.errors import FormatError
from affidavit.tlog.certificate import Certificate, chain_of, der_of, parse_certificate, public_key, require_trust
from affidavit.tlog.der import (
    BOOLEAN,
    GENERALIZED_TIME,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    Elements,
    context,
    element,
    integer,
    moment,
    object_identifier,
    whole,
)

TIMESTAMP_BYTES_MAX: Final = 64 << 10
"""A response with its certificates has two to ten kilobytes."""
CERTIFICATES_MAX: Final = 16
ACCURACY_US_DEFAULT: Final = 1_000_000
"""Where an authority states no accuracy: it may have cut its time to the second."""

_SIGNED_DATA: Final = object_identifier("1.2.840.113549.1.7.2")
_TST_INFO: Final = object_identifier("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE: Final = object_identifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST: Final = object_identifier("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE: Final = object_identifier("1.2.840.113549.1.9.16.2.12")
_SIGNING_CERTIFICATE_V2: Final = object_identifier("1.2.840.113549.1.9.16.2.47")
_RSA: Final = object_identifier("1.2.840.113549.1.1.1")
_PSS: Final = object_identifier("1.2.840.113549.1.1.10")
_MGF1: Final = object_identifier("1.2.840.113549.1.1.8")
_GRANTED: Final = element(SEQUENCE, element(INTEGER, b"\0"))
_NULL: Final = element(NULL)
_SALT_BYTES_MAX: Final = 64


class _Hash(msgspec.Struct, frozen=True):
    """A hash function under its names."""

    identifier: bytes
    with_rsa: bytes
    with_ecdsa: bytes
    digest: Any
    algorithm: hashes.HashAlgorithm

    @property
    def algorithms(self) -> tuple[bytes, bytes]:
        """Its two AlgorithmIdentifiers, of which RFC 5754 wants the first written and both read."""
        return element(SEQUENCE, self.identifier), element(SEQUENCE, self.identifier, _NULL)


def _hash(number: int, digest: Any, algorithm: hashes.HashAlgorithm) -> _Hash:  # noqa: ANN401 - a maker of hashes
    return _Hash(
        object_identifier(f"2.16.840.1.101.3.4.2.{number}"),
        object_identifier(f"1.2.840.113549.1.1.{10 + number}"),
        object_identifier(f"1.2.840.10045.4.3.{1 + number}"),
        digest,
        algorithm,
    )


_SHA256: Final = _hash(1, sha256, hashes.SHA256())
_HASHES: Final = (_SHA256, _hash(2, sha384, hashes.SHA384()), _hash(3, sha512, hashes.SHA512()))


class Timestamp(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority said: the bytes existed at a time between `earliest_us` and `latest_us` (µs since 1970 UTC)."""

    time_us: int
    accuracy_us: int
    nonce: int | None

    @property
    def earliest_us(self) -> int:
        """The authority had the bytes at this time or later."""
        return self.time_us - self.accuracy_us

    @property
    def latest_us(self) -> int:
        """The bytes existed at this time."""
        return self.time_us + self.accuracy_us


class _Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A response taken apart; nothing of it is believed yet."""

    content: bytes
    """The TSTInfo."""
    content_info: bytes
    """`encapContentInfo`, as it was read."""
    certificates: tuple[bytes, ...]
    """DER of each, as they stand there."""
    signer_id: bytes
    """Issuer and number of the signer's certificate."""
    hash: _Hash
    attributes: bytes
    """`signedAttrs` as the SET that is signed."""
    signature_algorithm: bytes
    signature: bytes


def format_request(message: bytes, *, nonce: int) -> bytes:
    """A request for a timestamp over the SHA-256 of `message`, with the signer's certificate in the answer.

    `nonce` is a positive number that nobody could foresee: the answer repeats it, so it is none that was kept for us.
    """
    imprint = element(SEQUENCE, _SHA256.algorithms[1], element(OCTET_STRING, sha256(message).digest()))
    number = element(INTEGER, nonce.to_bytes(nonce.bit_length() // 8 + 1, "big"))
    return element(SEQUENCE, element(INTEGER, b"\1"), imprint, number, element(BOOLEAN, b"\xff"))


def open_timestamp(data: bytes, *, message: bytes, roots: Sequence[Certificate]) -> Timestamp:
    """What a kept response says of `message`.

    Raises:
        FormatError: It is not in its one form, is about other bytes, or was signed by nobody whom the roots vouch for.
    """
    signed = _parse(data)
    timestamp, chain, _ = _judge(signed, message=message, roots=roots)
    if _format(signed, list(signed.certificates)) != data or len(chain) != len(signed.certificates):
        raise FormatError("not in the form in which timestamps are kept: what is not signed was changed or added")
    return timestamp


def reduce_timestamp(data: bytes, *, message: bytes, roots: Sequence[Certificate]) -> tuple[bytes, Timestamp]:
    """A response of an authority in the form in which it is kept, and what it says.

    Of its certificates stay those between the signer and the root; anything else that nobody signed goes.

    Raises:
        FormatError: As `open_timestamp`, but for the form.
    """
    signed = _parse(data)
    timestamp, chain, needed = _judge(signed, message=message, roots=roots)
    return _format(signed, [der_of(certificate) for certificate in chain[: max(needed, 1)]]), timestamp


# --- reading ----------------------------------------------------------------------------------------------------------


def _parse(data: bytes) -> _Signed:
    if len(data) > TIMESTAMP_BYTES_MAX:
        raise FormatError(f"a response to a request for a timestamp has at most {TIMESTAMP_BYTES_MAX} bytes")
    response = whole(data, SEQUENCE)
    status = integer(Elements(response.take(SEQUENCE).content).take(INTEGER).content)
    if status != 0:
        raise FormatError(f"the authority gave no timestamp (PKIStatus {status})")
    token = Elements(response.take(SEQUENCE).content)
    response.end()
    _require(token.take(OBJECT_IDENTIFIER).raw, _SIGNED_DATA, "no signed data")
    body = whole(token.take(context(0)).content, SEQUENCE)
    token.end()
    _require(integer(body.take(INTEGER).content), 3, "another version of signed data")
    body.take(SET)  # digest algorithms: those of the signers, said once more
    content_info = body.take(SEQUENCE)
    content = Elements(content_info.content)
    _require(content.take(OBJECT_IDENTIFIER).raw, _TST_INFO, "no timestamp")
    inner = whole(content.take(context(0)).content, OCTET_STRING)
    content.end()
    certificates = Elements(found.content if (found := body.take_if(context(0))) else b"")
    ders: list[bytes] = []
    while not certificates.at_end and len(ders) < CERTIFICATES_MAX:
        ders.append(certificates.take(SEQUENCE).raw)
    certificates.end()
    body.take_if(context(1))  # revocation lists
    signers = Elements(body.take(SET).content)
    signer = Elements(signers.take(SEQUENCE).content)
    signers.end()
    body.end()
    return _parse_signer(signer, content=inner, content_info=content_info.raw, certificates=tuple(ders))


def _parse_signer(
    signer: Elements, *, content: Elements, content_info: bytes, certificates: tuple[bytes, ...]
) -> _Signed:
    tst_info = content.take(SEQUENCE)
    content.end()
    _require(integer(signer.take(INTEGER).content), 1, "its signer is not named by issuer and number")
    signer_id = signer.take(SEQUENCE)
    algorithm = signer.take(SEQUENCE).raw
    found = next((one for one in _HASHES if algorithm in one.algorithms), None)
    if found is None:
        raise FormatError("a timestamp is signed with SHA-256, SHA-384 or SHA-512")
    attributes = signer.take(context(0)).content
    signature_algorithm, signature = signer.take(SEQUENCE), signer.take(OCTET_STRING)
    signer.take_if(context(1))  # attributes that nobody signed
    signer.end()
    return _Signed(
        content=tst_info.raw,
        content_info=content_info,
        certificates=certificates,
        signer_id=signer_id.content,
        hash=found,
        attributes=element(SET, attributes),
        signature_algorithm=_one_name(signature_algorithm, found),
        signature=signature.content,
    )


def _one_name(algorithm: Element, found: _Hash) -> bytes:
    """RSA with PKCS #1 v1.5 has two names, which nobody signs either: the shorter one is kept."""
    long = (element(SEQUENCE, found.with_rsa), element(SEQUENCE, found.with_rsa, _NULL))
    return element(SEQUENCE, _RSA, _NULL) if algorithm.raw in (*long, element(SEQUENCE, _RSA)) else algorithm.raw


def _format(signed: _Signed, certificates: list[bytes]) -> bytes:
    """The one form of a response."""
    algorithm = signed.hash.algorithms[0]
    signer = element(
        SEQUENCE,
        element(INTEGER, b"\1"),
        element(SEQUENCE, signed.signer_id),
        algorithm,
        element(context(0), _content(signed.attributes)),
        signed.signature_algorithm,
        element(OCTET_STRING, signed.signature),
    )
    body = element(
        SEQUENCE,
        element(INTEGER, b"\3"),
        element(SET, algorithm),
        signed.content_info,
        element(context(0), *sorted(set(certificates))),
        element(SET, signer),
    )
    return element(SEQUENCE, _GRANTED, element(SEQUENCE, _SIGNED_DATA, element(context(0), body)))


def _content(data: bytes) -> bytes:
    """Content of the one element that `data` is."""
    return Elements(data).take_any().content


# --- judging ----------------------------------------------------------------------------------------------------------


def _judge(
    signed: _Signed, *, message: bytes, roots: Sequence[Certificate]
) -> tuple[Timestamp, list[Certificate], int]:
    """What it says, the chain above its signer, and how many certificates of that are needed."""
    timestamp = _tst_info(signed.content, message=message)
    certificates = [parse_certificate(der) for der in signed.certificates]
    signer = next((one for one in certificates if _is_named(one, signed.signer_id)), None)
    if signer is None:
        raise FormatError("the certificate of whoever signed is not in it")
    _check_attributes(signed, der_of(signer))
    _check_signature(signed, signer)
    chain = chain_of(signer, [one for one in certificates if one != signer])
    at = datetime.fromtimestamp(timestamp.time_us // 1_000_000, UTC)
    return timestamp, chain, require_trust(chain, roots, at=at)


def _tst_info(data: bytes, *, message: bytes) -> Timestamp:
    info = whole(data, SEQUENCE)
    _require(integer(info.take(INTEGER).content), 1, "another version of a timestamp")
    info.take(OBJECT_IDENTIFIER)  # the authority's policy
    imprint = Elements(info.take(SEQUENCE).content)
    if imprint.take(SEQUENCE).raw not in _SHA256.algorithms:
        raise FormatError("a timestamp is given over SHA-256")
    _require(imprint.take(OCTET_STRING).content, sha256(message).digest(), "it is over other bytes")
    imprint.end()
    integer(info.take(INTEGER).content)  # serial number
    time_us = moment(info.take(GENERALIZED_TIME))
    accuracy_us = _accuracy(found.content) if (found := info.take_if(SEQUENCE)) else ACCURACY_US_DEFAULT
    info.take_if(BOOLEAN)  # ordering
    nonce = integer(found.content) if (found := info.take_if(INTEGER)) else None
    info.take_if(context(0))  # name of the authority
    info.take_if(context(1))  # extensions
    info.end()
    return Timestamp(time_us=time_us, accuracy_us=accuracy_us, nonce=nonce)


def _accuracy(content: bytes) -> int:
    """Seconds, milliseconds and microseconds, each of which may be missing; µs."""
    parts = Elements(content)
    total = 0
    for tag, unit_us in (
        (INTEGER, 1_000_000),
        (context(0, constructed=False), 1_000),
        (context(1, constructed=False), 1),
    ):
        found = parts.take_if(tag)
        total += integer(found.content) * unit_us if found else 0
    parts.end()
    if total < 0:
        raise FormatError("an accuracy below zero")
    return total


def _is_named(certificate: Certificate, signer_id: bytes) -> bool:
    """Whether the signer is named by this certificate's issuer and number."""
    body = Elements(_content(certificate.tbs_certificate_bytes))
    body.take_if(context(0))  # version
    number = body.take(INTEGER)
    body.take(SEQUENCE)  # signature algorithm
    return signer_id == body.take(SEQUENCE).raw + number.raw


def _check_attributes(signed: _Signed, signer: bytes) -> None:
    """The signed attributes: what was signed, its digest, and whose certificate it was signed under."""
    attributes: dict[bytes, bytes] = {}
    found = whole(signed.attributes, SET)
    while not found.at_end:
        attribute = Elements(found.take(SEQUENCE).content)
        name, values = attribute.take(OBJECT_IDENTIFIER).raw, attribute.take(SET).content
        attribute.end()
        if name in attributes:
            raise FormatError("an attribute stands in it twice")
        attributes[name] = values
    _require(attributes.get(_CONTENT_TYPE), _TST_INFO, "its signature is over something else than a timestamp")
    digest = element(OCTET_STRING, signed.hash.digest(signed.content).digest())
    _require(attributes.get(_MESSAGE_DIGEST), digest, "its signature is over another timestamp")
    named = [attributes[name] for name in (_SIGNING_CERTIFICATE, _SIGNING_CERTIFICATE_V2) if name in attributes]
    if not named:
        raise FormatError("it does not name the certificate that it was signed under")
    if _SIGNING_CERTIFICATE in attributes:
        first = _first_certificate(attributes[_SIGNING_CERTIFICATE])
        _require(first.take(OCTET_STRING).content, sha1(signer).digest(), "another certificate is named")  # noqa: S324
    if _SIGNING_CERTIFICATE_V2 in attributes:
        first = _first_certificate(attributes[_SIGNING_CERTIFICATE_V2])
        stated = first.take_if(SEQUENCE)
        used = next((one for one in _HASHES if stated is not None and stated.raw in one.algorithms), None)
        used = _SHA256 if stated is None else used
        if used is None or first.take(OCTET_STRING).content != used.digest(signer).digest():
            raise FormatError("another certificate is named")


def _first_certificate(value: bytes) -> Elements:
    """The first of the certificates that an attribute names: the signer's."""
    return Elements(Elements(whole(value, SEQUENCE).take(SEQUENCE).content).take(SEQUENCE).content)


def _check_signature(signed: _Signed, signer: Certificate) -> None:
    key, used = public_key(signer), signed.hash.algorithm
    try:
        if not isinstance(key, RSAPublicKey):
            _require(
                signed.signature_algorithm,
                element(SEQUENCE, signed.hash.with_ecdsa),
                "another algorithm than its key's",
            )
            key.verify(signed.signature, signed.attributes, ECDSA(used))
        elif signed.signature_algorithm == element(SEQUENCE, _RSA, _NULL):
            key.verify(signed.signature, signed.attributes, PKCS1v15(), used)
        else:
            salt = _salt_of(signed.signature_algorithm, signed.hash)
            key.verify(signed.signature, signed.attributes, PSS(MGF1(used), salt), used)
    except (InvalidSignature, ValueError) as error:
        raise FormatError("its signature is wrong") from error


def _salt_of(algorithm: bytes, used: _Hash) -> int:
    """Length of the salt of an RSASSA-PSS signature, all of whose parameters must say the hash in use (RFC 4055)."""
    outer = whole(algorithm, SEQUENCE)
    _require(outer.take(OBJECT_IDENTIFIER).raw, _PSS, "another algorithm than its key's")
    parameters = Elements(outer.take(SEQUENCE).content)
    outer.end()
    hashing, masking = parameters.take(context(0)).content, whole(parameters.take(context(1)).content, SEQUENCE)
    _require(masking.take(OBJECT_IDENTIFIER).raw, _MGF1, "another mask generation")
    if hashing not in used.algorithms or masking.take(SEQUENCE).raw not in used.algorithms:
        raise FormatError("it mixes hash functions")
    masking.end()
    stated = Elements(parameters.take(context(2)).content)
    salt = integer(stated.take(INTEGER).content)
    stated.end()
    parameters.end()
    if not 0 <= salt <= _SALT_BYTES_MAX:
        raise FormatError("a salt of a length that nobody uses")
    return salt


def _require(found: object, expected: object, why: str) -> None:
    if found != expected:
        raise FormatError(f"not a timestamp of these bytes: {why}")
