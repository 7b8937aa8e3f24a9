"""Certificates of timestamp authorities: whether a chain leads to one that the verifier trusts (part of RFC 5280).

Promise: a signer is trusted at a moment only if each certificate from it up to a given root was valid then, is signed
with SHA-2 under RSA of 2,048 bits or more, P-256 or P-384, may do what it does there, and has no critical extension
that is not understood here. Roots come from whoever verifies. Revocation is not looked at: that needs the network and
an answer of the day. Rules, one by one: docs/formats.md, section 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from affidavit.errors import FormatError
from affidavit.tlog.der import BIT_STRING, INTEGER, SEQUENCE, Elements, context, integer, whole

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192
"""Beyond this a signature would be checked for seconds; no authority has such a key."""
CHAIN_MAX: Final = 8
"""Certificates from a signer to its root."""
ROOTS_MAX: Final = 1_000
"""Certificates in a file of roots; a system's whole store has some hundred."""

Certificate = x509.Certificate
PublicKey = RSAPublicKey | EllipticCurvePublicKey

_UNDERSTOOD: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.CertificatePolicies)
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


def parse_certificate(der: bytes) -> Certificate:
    """A certificate from its DER.

    Raises:
        FormatError: It is none.
    """
    outer = whole(der, SEQUENCE)
    body = Elements(outer.take(SEQUENCE).content)
    outer.take(SEQUENCE)
    body.take_if(context(0))  # version
    # `cryptography` looks neither at the bits that a signature leaves unused, nor away from numbers below 1.
    if outer.take(BIT_STRING).content[:1] != b"\0" or integer(body.take(INTEGER).content) <= 0:
        raise FormatError("not a certificate: its signature is not whole bytes, or its number is not positive")
    try:
        return _readable(x509.load_der_x509_certificate(der))
    except _UNREADABLE as error:
        raise FormatError("not a certificate") from error


def parse_roots(pem: bytes) -> tuple[Certificate, ...]:
    """The certificates of a PEM file, at least one.

    Raises:
        FormatError: There is none in it, or one that cannot be read.
    """
    try:
        found = tuple(map(_readable, x509.load_pem_x509_certificates(pem)))
    except _UNREADABLE as error:
        raise FormatError("not a file of certificates in PEM form") from error
    if len(found) > ROOTS_MAX:
        raise FormatError(f"more than {ROOTS_MAX} certificates")
    return found


def _readable(certificate: Certificate) -> Certificate:
    """The same, once the parts that are read late in `cryptography` were read."""
    _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def der_of(certificate: Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


def public_key(certificate: Certificate) -> PublicKey:
    """Its key, of a kind and size that counts.

    Raises:
        FormatError: Another kind, or too small or too large.
    """
    try:
        key = certificate.public_key()
    except _UNREADABLE as error:
        raise FormatError("a certificate with a key that cannot be read") from error
    if isinstance(key, RSAPublicKey) and RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    raise FormatError("a certificate whose key is neither RSA of 2,048 to 8,192 bits nor of P-256 or P-384")


def chain_of(signer: Certificate, others: Sequence[Certificate]) -> list[Certificate]:
    """`signer`, who signed its certificate, who signed that one, and so on as far as `others` has them."""
    chain, left = [signer], sorted(others, key=der_of)
    while len(chain) < CHAIN_MAX:
        above = next((one for one in left if one != chain[-1] and _issued(one, chain[-1])), None)
        if above is None:
            break
        chain.append(above)
        left.remove(above)
    return chain


def require_trust(chain: Sequence[Certificate], roots: Sequence[Certificate], *, at: datetime) -> int:
    """How much of a chain is needed to reach a given root: the number of certificates below that root.

    It is 0 where the signer's own certificate was given as a root.

    Raises:
        FormatError: None is reached, or a certificate on the way may not be where it is.
    """
    for below, certificate in enumerate(chain):
        _require_role(certificate, below=below, at=at)
        if certificate in roots:
            return below
        root = next((root for root in roots if _issued(root, certificate)), None)
        if root is not None:
            _require_role(root, below=below + 1, at=at)
            return below + 1
    raise FormatError("the certificate of whoever signed does not lead to a root that was given")


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    """Whether one signed the other, with means that count."""
    if issuer.subject.public_bytes() != certificate.issuer.public_bytes():
        return False
    try:
        public_key(issuer)
        if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
            return False
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, FormatError, InvalidSignature):
        return False
    return True


def _require_role(certificate: Certificate, *, below: int, at: datetime) -> None:
    """`below` certificates hang from this one; 0 is the signer's own."""
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise FormatError("a certificate was not valid at the stated time")
    public_key(certificate)
    extensions = _extensions(certificate)
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise FormatError("a certificate has a critical extension that is not understood")
    usage = _value(extensions, x509.KeyUsage)
    purposes = _value(extensions, x509.ExtendedKeyUsage)
    if below == 0:
        _require_signer(extensions, usage, purposes)
        return
    constraints = _value(extensions, x509.BasicConstraints)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise FormatError("a certificate signed another one and may not")
    if constraints.path_length is not None and constraints.path_length < below - 1:
        raise FormatError("a certificate has more certificates below it than it may have")
    allowed = {ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and allowed.isdisjoint(purposes):
        raise FormatError("a certificate signed one for timestamps and may not")


def _require_signer(
    extensions: x509.Extensions, usage: x509.KeyUsage | None, purposes: x509.ExtendedKeyUsage | None
) -> None:
    """RFC 3161, section 2.3: a key for timestamps and for nothing else."""
    is_critical = any(one.critical for one in extensions if isinstance(one.value, x509.ExtendedKeyUsage))
    if purposes is None or not is_critical or list(purposes) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise FormatError("the signer's certificate is not, critically and exclusively, for timestamps")
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise FormatError("the signer's certificate is not for signatures")


def _extensions(certificate: Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (*_UNREADABLE, x509.UnsupportedGeneralNameType) as error:
        raise FormatError("a certificate has extensions that cannot be read") from error


_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


def _value(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    return next((one.value for one in extensions if isinstance(one.value, kind)), None)
