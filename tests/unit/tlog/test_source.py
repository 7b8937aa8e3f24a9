"""Chains over records, and who signed them."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from affidavit.ledger.source_chain import SourceChain, chain_of
from affidavit.tlog.note import Ed25519Signer
from affidavit.tlog.source import CHAIN_START, extend_chain, is_source_signature, statement_text, voucher_text

SIGNER = Ed25519Signer.from_seed(name="a/system/promise", seed=bytes(32))


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6))
def test_a_chain_is_what_the_format_says(digests: list[bytes]) -> None:
    chain = SourceChain(shard="worker0.AAAAAAAA", logs=("system", "default"), vouch=SIGNER.private_key.sign)
    expected = bytes(32)
    for digest in digests:
        chain.add(1, digest)
        expected = sha256(expected + digest).digest()
    text = statement_text(shard="worker0.AAAAAAAA", log="default", records=len(digests), chain=expected)
    assert text.startswith(b"affidavit/source/v1\nworker0.AAAAAAAA\ndefault\n%d\n" % len(digests))
    assert is_source_signature(chain.key, text, chain.sign("default"))
    assert not is_source_signature(chain.key, text, chain.sign("system"))
    empty = statement_text(shard="worker0.AAAAAAAA", log="system", records=0, chain=CHAIN_START)
    assert is_source_signature(chain.key, empty, chain.sign("system"))


def test_a_key_is_vouched_for_once_and_no_two_are_the_same() -> None:
    one, other = (chain_of(SIGNER, shard="worker0.AAAAAAAA", logs=("system",)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.key != other.key
    text = voucher_text(shard="worker0.AAAAAAAA", key=one.key)
    assert is_source_signature(SIGNER.key.public_key, text, one.voucher)
    assert not is_source_signature(SIGNER.key.public_key, text, other.voucher)
    assert chain_of(None, shard="worker0.AAAAAAAA", logs=("system",)) is None


def test_a_key_that_is_none_signed_nothing() -> None:
    assert not is_source_signature(b"short", b"text\n", bytes(64))
    assert not is_source_signature(bytes(32), b"text\n", b"short")
    assert extend_chain(CHAIN_START, b"") == sha256(bytes(32)).digest()
