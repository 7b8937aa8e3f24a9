"""Timestamps: what an authority signed over these bytes is believed, and nothing that looks like it.

Each question goes to both verifiers, which share no code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

import affidavit_verify
from affidavit.errors import FormatError
from affidavit.tlog import certificate as certificate_module
from affidavit.tlog import timestamp as module
from affidavit.tlog.certificate import CHAIN_MAX, ROOTS_MAX, parse_certificate, parse_roots
from affidavit.tlog.der import SEQUENCE, Elements, context, element
from affidavit.tlog.timestamp import (
    ACCURACY_US_DEFAULT,
    TIMESTAMP_BYTES_MAX,
    Timestamp,
    format_request,
    open_timestamp,
    reduce_timestamp,
)
from tests.support.tsa import BEGIN, END, Answer, Authority, Holder, certify

HEAD = b"the bytes of a head"
MOMENT = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)
MOMENT_US = 1_772_600_767_250_000


@functools.lru_cache
def authority(kind: str = "p256") -> Authority:
    """Keys take their time, and nobody changes an authority."""
    return Authority(kind)


def theirs(data: bytes, *, message: bytes, roots: bytes) -> affidavit_verify.Timestamp:
    """The same question to the single-file verifier."""
    return affidavit_verify.verify_timestamp(data, message, affidavit_verify.read_roots(roots))


def ours(data: bytes, *, roots: bytes, message: bytes = HEAD) -> Timestamp:
    """Both verifiers' answer."""
    found = open_timestamp(data, message=message, roots=parse_roots(roots))
    assert theirs(data, message=message, roots=roots) == (found.earliest_us, found.latest_us)
    return found


def in_form(data: bytes) -> bytes:
    """In the one form, whatever is wrong with it, so that the form is not all that is refused."""
    try:
        signed = module._parse(data)
        return module._format(signed, list(signed.certificates))
    except FormatError:
        return data


def kept(answer: Answer | None = None, *, by: Authority | None = None) -> bytes:
    by = by or authority()
    return reduce_timestamp(by.stamp(HEAD, answer), message=HEAD, roots=parse_roots(by.roots))[0]


def refusal(data: bytes, *, by: Authority | None = None, roots: bytes | None = None, message: bytes = HEAD) -> str:
    with pytest.raises(FormatError) as caught:
        open_timestamp(data, message=message, roots=parse_roots(roots or (by or authority()).roots))
    with pytest.raises(FormatError):
        reduce_timestamp(data, message=message, roots=parse_roots(roots or (by or authority()).roots))
    for form in (data, in_form(data)):
        with pytest.raises(affidavit_verify.Damage):
            theirs(form, message=message, roots=roots or (by or authority()).roots)
    return str(caught.value)


# --- what holds


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    ("kind", "scheme"), [("p256", "default"), ("p384", "default"), ("rsa", "default"), ("rsa", "long"), ("rsa", "pss")]
)
@pytest.mark.parametrize("essential", ["v1", "v2", "v2-sha512"])
def test_every_algorithm_that_counts(digest: str, kind: str, scheme: str, essential: str) -> None:
    answer = Answer(digest=digest, scheme=scheme, essential=essential, moment=MOMENT)
    data = kept(answer, by=authority(kind))
    found = ours(data, roots=authority(kind).roots)
    assert (found.time_us, found.accuracy_us, found.nonce) == (MOMENT_US, 500_000, None)
    assert (found.earliest_us, found.latest_us) == (MOMENT_US - 500_000, MOMENT_US + 500_000)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (None, ACCURACY_US_DEFAULT),
        ((2, 0, 0), 2_000_000),
        ((0, 3, 0), 3_000),
        ((0, 0, 4), 4),
        ((1, 2, 3), 1_002_003),
        ((0, 0, 0), 0),
    ],
)
def test_accuracy(accuracy: tuple[int, int, int] | None, expected: int) -> None:
    data = kept(Answer(accuracy=accuracy))
    assert ours(data, roots=authority().roots).accuracy_us == expected


def test_a_response_is_taken_down_to_one_form() -> None:
    """Certificates in no order, more of them than are needed, attributes that nobody signed, algorithms by any name."""
    by = authority("rsa")
    stranger = authority().root.der
    many = (by.signer.der, stranger, by.root.der, by.between.der)
    answer = Answer(certificates=many, unsigned=True, scheme="long", moment=MOMENT, null_parameters=False)
    data = by.stamp(HEAD, answer)
    roots = parse_roots(by.roots)
    with pytest.raises(FormatError, match="not in the form"):
        open_timestamp(data, message=HEAD, roots=roots)
    reduced, found = reduce_timestamp(data, message=HEAD, roots=roots)
    assert ours(reduced, roots=by.roots) == found
    with pytest.raises(affidavit_verify.Damage):
        theirs(data, message=HEAD, roots=by.roots)
    assert reduce_timestamp(reduced, message=HEAD, roots=roots) == (reduced, found)
    assert by.signer.der in reduced
    assert by.between.der in reduced
    assert by.root.der not in reduced
    assert stranger not in reduced


def test_any_certificate_on_the_way_may_be_the_verifiers_root() -> None:
    by = authority()
    data = kept()
    for holder in (by.root, by.between, by.signer):
        assert ours(data, roots=authority("p384").roots + holder.pem)
    alone, _ = reduce_timestamp(by.stamp(HEAD), message=HEAD, roots=parse_roots(by.signer.pem))
    assert by.between.der not in alone
    assert ours(alone, roots=by.signer.pem)


# --- what does not


def test_not_one_byte_can_be_changed() -> None:
    for by in (authority(), authority("rsa")):
        data = kept(by=by)
        unused = data.index(parse_certificate(by.between.der).signature) - 1
        padded = data[:unused] + b"\1" + data[unused + 1 :]  # where a bit could hide: those that a signature lacks
        assert refusal(padded, by=by)
        roots = parse_roots(by.roots)
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= random.Random(place).randrange(1, 256)
            with pytest.raises(FormatError):
                open_timestamp(bytes(changed), message=HEAD, roots=roots)
            if by is authority("rsa") or place % 16 == 0:  # curves take their time in pure Python
                with pytest.raises(affidavit_verify.Damage):
                    theirs(bytes(changed), message=HEAD, roots=by.roots)
        for length in range(0, len(data), 29):
            assert refusal(data[:length], by=by)
        assert refusal(data + b"\0", by=by)


def test_another_message_another_authority_and_no_timestamp() -> None:
    assert "other bytes" in refusal(kept(), message=b"another head")
    assert "does not lead to a root" in refusal(kept(), roots=authority("p384").roots)
    assert "PKIStatus 2" in refusal(authority().stamp(HEAD, Answer(status=2)))
    assert "at most" in refusal(bytes(TIMESTAMP_BYTES_MAX + 1))
    refusal(b"")
    # Somebody who calls itself the same, with certificates of its own.
    assert "does not lead to a root" in refusal(kept(by=Authority()), roots=authority().roots)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(essential="none"), "does not name the certificate"),
        (Answer(essential="other"), "another certificate is named"),
        (Answer(imprint=hashlib.sha256(b"other").digest()), "other bytes"),
        (Answer(certificates=()), "is not in it"),
        (Answer(moment=BEGIN - timedelta(seconds=1)), "not valid"),
        (Answer(moment=END + timedelta(seconds=1)), "not valid"),
    ],
)
def test_answers_that_say_something_else(answer: Answer, why: str) -> None:
    assert why in refusal(authority().stamp(HEAD, answer))


def test_the_moments_at_which_certificates_begin_and_end_count() -> None:
    for moment in (BEGIN, END):
        assert ours(kept(Answer(moment=moment)), roots=authority().roots)


def with_signer(**options: object) -> Authority:
    by = Authority()
    by.signer = certify("authority", by=by.between, ca=False, **options)  # type: ignore[arg-type]
    return by


def with_between(**options: object) -> Authority:
    by = Authority()
    by.between = certify("between", by=by.root, **options)  # type: ignore[arg-type]
    by.signer = certify("authority", by=by.between, ca=False)
    return by


def with_root(**options: object) -> Authority:
    by = Authority()
    by.root = certify("root of the test", by=None, **options)  # type: ignore[arg-type]
    by.between = certify("between", by=by.root)
    by.signer = certify("authority", by=by.between, ca=False)
    return by


TIME, CODE = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: with_signer(purposes=()), "exclusively, for timestamps"),
        (lambda: with_signer(purposes=(CODE,)), "exclusively, for timestamps"),
        (lambda: with_signer(purposes=(TIME, CODE)), "exclusively, for timestamps"),
        (lambda: with_signer(purposes_critical=False), "exclusively, for timestamps"),
        (lambda: with_signer(usage="key_agreement"), "not for signatures"),
        (lambda: with_signer(extra=((STRANGE, True),)), "not understood"),
        (lambda: with_signer(kind="p521"), "neither RSA"),
        (lambda: with_signer(kind="rsa1024"), "neither RSA"),
        (lambda: with_signer(end=MOMENT), "not valid"),
        (lambda: with_between(ca=False), "may not"),
        (lambda: with_between(usage="digital_signature"), "may not"),
        (lambda: with_between(extra=((x509.ExtendedKeyUsage((CODE,)), False),)), "may not"),
        (lambda: with_between(extra=((STRANGE, True),)), "not understood"),
        (lambda: with_between(kind="rsa1024"), "does not lead"),
        (lambda: with_between(kind="p521"), "does not lead"),
        (lambda: with_between(digest=hashes.SHA224()), "does not lead"),
        (lambda: with_between(begin=MOMENT + timedelta(days=1)), "not valid"),
        (lambda: with_root(path_length=0), "more certificates below"),
        (lambda: with_root(end=MOMENT), "not valid"),
        (lambda: with_root(usage="crl_sign"), "may not"),
    ],
)
def test_certificates_that_may_not_be_where_they_are(make: Callable[[], Authority], why: str) -> None:
    by = make()
    data = by.stamp(HEAD, Answer(moment=MOMENT + timedelta(seconds=1)))
    assert why in refusal(data, by=by)


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_signer(usage="content_commitment"),
        lambda: with_signer(extra=((STRANGE, False),)),
        lambda: with_between(extra=((x509.ExtendedKeyUsage((CODE, TIME)), False),)),
        lambda: with_between(digest=hashes.SHA512()),
        lambda: with_root(path_length=1),
    ],
)
def test_certificates_that_may(make: Callable[[], Authority]) -> None:
    by = make()
    assert ours(kept(by=by), roots=by.roots)


def test_a_certificate_of_the_right_name_and_another_key_issued_nothing() -> None:
    by = Authority()
    other = certify("root of the test", by=None)
    assert "does not lead to a root" in refusal(by.stamp(HEAD), roots=other.pem)


@pytest.mark.parametrize(("between", "reaches"), [(CHAIN_MAX - 1, True), (CHAIN_MAX, False), (CHAIN_MAX + 1, False)])
def test_chains_are_followed_no_further_than_their_limit(between: int, *, reaches: bool) -> None:
    by = Authority()
    chain: list[Holder] = [by.root]
    for number in range(between):
        chain.append(certify(f"between {number}", by=chain[-1]))
    by.signer = certify("authority", by=chain[-1], ca=False)
    answer = Answer(certificates=tuple(sorted(holder.der for holder in (*chain[1:], by.signer))))
    if reaches:
        assert ours(kept(answer, by=by), roots=by.roots)
    else:
        assert "does not lead to a root" in refusal(by.stamp(HEAD, answer), by=by)


def test_more_certificates_than_anybody_needs() -> None:
    by = authority()
    pair, roots = (by.signer.der, by.between.der), parse_roots(by.roots)
    most = by.stamp(HEAD, Answer(certificates=pair * (module.CERTIFICATES_MAX // 2)))
    assert ours(reduce_timestamp(most, message=HEAD, roots=roots)[0], roots=by.roots)
    more = Answer(certificates=(*pair * (module.CERTIFICATES_MAX // 2), by.signer.der))
    assert "something follows" in refusal(by.stamp(HEAD, more))


def test_parts_of_the_form_that_no_authority_leaves_out() -> None:
    """Each piece of the outer form, taken away or doubled, is refused; nothing is guessed."""
    data = kept()
    status, token = (Elements(Elements(data).take(SEQUENCE).content) for _ in range(2))
    status_raw = status.take(SEQUENCE).raw
    token.take(SEQUENCE)
    token_raw = token.take(SEQUENCE).raw
    for parts in ((status_raw,), (token_raw,), (status_raw, token_raw, token_raw), (token_raw, status_raw)):
        refusal(element(SEQUENCE, *parts))


# --- what is asked, and roots


def test_the_request_is_what_rfc_3161_says() -> None:
    import rfc3161_client
    from rfc3161_client._rust import parse_timestamp_request

    request = parse_timestamp_request(format_request(HEAD, nonce=2**63 + 5))
    assert (request.version, request.nonce, request.cert_req, request.policy) == (1, 2**63 + 5, True, None)
    assert request.message_imprint.message == hashlib.sha256(HEAD).digest()
    by = authority()
    response = by.reply(format_request(HEAD, nonce=7), Answer())
    assert rfc3161_client.decode_timestamp_response(response).tst_info.nonce == 7


def test_roots_are_pem_and_at_least_one() -> None:
    roots = parse_roots(authority().roots + authority("p384").roots)
    assert len(roots) == 2
    for wrong in (b"", b"nothing", authority().root.der, authority().roots.replace(b"M", b"!")):
        with pytest.raises(FormatError):
            parse_roots(wrong)
        with pytest.raises(affidavit_verify.Damage):
            affidavit_verify.read_roots(wrong)
    assert len(parse_roots(authority().roots * ROOTS_MAX)) == ROOTS_MAX
    with pytest.raises(FormatError):
        parse_roots(authority().roots * (ROOTS_MAX + 1))
    with pytest.raises(affidavit_verify.Damage):
        affidavit_verify.read_roots(authority().roots * (ROOTS_MAX + 1))
    with pytest.raises(FormatError):
        parse_certificate(b"\x30\0")


def test_parts_that_only_an_authority_could_sign_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands under a good signature is read as strictly."""
    from tests.support import tsa

    for wrong in ((-1, 0, 0), (0, 0, -1)):
        assert "accuracy below zero" in refusal(authority().stamp(HEAD, Answer(accuracy=wrong)))
    assert "SHA-256" in refusal(authority().stamp(HEAD, Answer(imprint_digest="sha384")))
    for salt, mask in ((65, "sha256"), (-1, "sha256"), (32, "sha512")):
        assert refusal(authority("rsa").stamp(HEAD, Answer(scheme="pss", salt=salt, mask=mask)), by=authority("rsa"))
    monkeypatch.setitem(tsa.HASHES, "sha224", (hashes.SHA224(), 4))
    assert "SHA-256, SHA-384" in refusal(authority().stamp(HEAD, Answer(digest="sha224")))


@pytest.mark.parametrize("salted", [0, 1, 64])
def test_a_signature_may_have_any_salt_that_it_states(salted: int) -> None:
    by = authority("rsa")
    assert ours(kept(Answer(scheme="pss", salted=salted), by=by), roots=by.roots)
    assert refusal(by.stamp(HEAD, Answer(scheme="pss", salted=salted, salt=salted ^ 1)), by=by)


def test_an_attribute_stands_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubled attributes would let two programs read two digests."""
    from tests.support import tsa

    original = tsa.essential
    monkeypatch.setattr(tsa, "essential", lambda der, answer: original(der, answer) * 2)
    assert "twice" in refusal(authority().stamp(HEAD))
    assert module.CERTIFICATES_MAX == 16


def test_hash_functions_have_the_names_of_their_standards() -> None:
    """RFC 5754 for the digests and for RSA, RFC 5758 for ECDSA."""
    made = module._hash(2, hashlib.sha384, hashes.SHA384())
    assert made.identifier.hex() == "0609608648016503040202"
    assert made.with_rsa.hex() == "06092a864886f70d01010c"
    assert made.with_ecdsa.hex() == "06082a8648ce3d040303"
    assert (made.digest, made.algorithm.name) == (hashlib.sha384, "sha384")
    assert [each.identifier.hex()[-1] for each in module._HASHES] == ["1", "2", "3"]


@pytest.mark.parametrize(("low", "high", "counts"), [(2048, 2048, True), (2049, 4096, False), (1024, 2047, False)])
def test_sizes_of_rsa_keys_at_their_bounds(
    monkeypatch: pytest.MonkeyPatch, low: int, high: int, *, counts: bool
) -> None:
    monkeypatch.setattr(certificate_module, "RSA_BITS_MIN", low)
    monkeypatch.setattr(certificate_module, "RSA_BITS_MAX", high)
    with contextlib.nullcontext() if counts else pytest.raises(FormatError, match="neither RSA of"):
        certificate_module.public_key(authority("rsa").signer.certificate)


@pytest.mark.parametrize("scheme", ["bare", "long-bare", "long", "default"])
def test_rsa_by_any_of_its_names_is_kept_under_one(scheme: str) -> None:
    by = authority("rsa")
    data = kept(Answer(scheme=scheme), by=by)
    assert ours(data, roots=by.roots)
    assert data.count(bytes.fromhex("06092a864886f70d0101010500")) == 1 + data.count(
        bytes.fromhex("300d06092a864886f70d010101050003")
    ), "beside the keys of the certificates"


def test_the_answer_to_a_request_repeats_its_nonce() -> None:
    by = authority()
    for nonce in (1, 127, 128, 2**63 + 5):
        data = by.reply(format_request(HEAD, nonce=nonce), Answer())
        reduced, found = reduce_timestamp(data, message=HEAD, roots=parse_roots(by.roots))
        assert found.nonce == nonce
        assert ours(reduced, roots=by.roots).nonce == nonce
    assert ours(kept(), roots=by.roots).nonce is None


def test_the_authoritys_name_and_extensions_may_stand_at_the_end() -> None:
    name, extensions = (element(context(number), element(SEQUENCE)) for number in (0, 1))
    for behind in (name, extensions, name + extensions):
        assert ours(kept(Answer(behind=behind)), roots=authority().roots)
    for behind in (extensions + name, name + name, element(context(2), element(SEQUENCE)), b"\5\0"):
        assert refusal(authority().stamp(HEAD, Answer(behind=behind)))


def test_a_response_is_bounded_before_it_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    data, roots = kept(), parse_roots(authority().roots)
    monkeypatch.setattr(module, "TIMESTAMP_BYTES_MAX", len(data))
    assert open_timestamp(data, message=HEAD, roots=roots)
    monkeypatch.setattr(module, "TIMESTAMP_BYTES_MAX", len(data) - 1)
    with pytest.raises(FormatError, match="has at most"):
        open_timestamp(data, message=HEAD, roots=roots)


def test_the_last_second_of_a_certificate_is_whole() -> None:
    assert ours(kept(Answer(moment=END + timedelta(microseconds=999_999))), roots=authority().roots)


def test_a_certificate_that_is_not_needed_is_refused_also_in_form() -> None:
    by, stranger = authority(), authority("p384").root.der
    data = in_form(by.stamp(HEAD, Answer(certificates=(by.signer.der, by.between.der, stranger))))
    roots = parse_roots(by.roots)
    with pytest.raises(FormatError, match="not in the form in which timestamps are kept"):
        open_timestamp(data, message=HEAD, roots=roots)
    with pytest.raises(affidavit_verify.Damage):
        theirs(data, message=HEAD, roots=by.roots)
    unsorted = by.stamp(HEAD, Answer(certificates=tuple(sorted((by.signer.der, by.between.der), reverse=True))))
    with pytest.raises(FormatError, match="not in the form"):
        open_timestamp(unsorted, message=HEAD, roots=roots)


def test_revocation_lists_are_left_out() -> None:
    reduced = kept(Answer(revocations=True, moment=MOMENT))
    assert ours(reduced, roots=authority().roots).time_us == MOMENT_US
    with pytest.raises(FormatError, match="not in the form"):
        open_timestamp(
            authority().stamp(HEAD, Answer(revocations=True)), message=HEAD, roots=parse_roots(authority().roots)
        )


def test_a_certificate_has_a_whole_signature_and_a_positive_number() -> None:
    signer = authority().signer
    unused = signer.der.index(signer.certificate.signature) - 1
    number = signer.der.index(signer.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0"))
    assert parse_certificate(signer.der) == signer.certificate
    for at, value in ((unused, 1), (number, signer.der[number] | 0x80)):
        with pytest.raises(FormatError):
            parse_certificate(signer.der[:at] + bytes((value,)) + signer.der[at + 1 :])


def test_the_smallest_number_of_a_certificate_is_one() -> None:
    key = authority().signer.key
    name = authority().signer.certificate.subject
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGIN, END)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert parse_certificate(der).serial_number == 1
    at = der.index(b"\x02\x01\x01")
    with pytest.raises(FormatError, match="not positive"):
        parse_certificate(der[: at + 2] + b"\0" + der[at + 3 :])


def test_a_certificate_whose_name_is_no_text_is_none() -> None:
    """`cryptography` reads names only when they are asked for; a verifier must not fall over one then."""
    der = authority().signer.der
    at = der.index(b"authority")
    with pytest.raises(FormatError, match="not a certificate"):
        parse_certificate(der[:at] + b"\xff" + der[at + 1 :])
