"""The single-file verifier accepts the same policies as ours, and reads the same out of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import affidavit_verify
from affidavit.errors import FormatError
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.policy import Policy, format_policy, parse_policy
from tests.property.tlog.test_codecs import policies, spellings


def read_by_stranger(data: bytes) -> affidavit_verify.Policy | None:
    try:
        return affidavit_verify.parse_policy(data)
    except affidavit_verify.Damage:
        return None


@given(policies(), st.data())
def test_both_read_the_same_policies(value: Policy, data: st.DataObject):
    written = format_policy(value)
    for text in (written, spellings(data, written)):
        try:
            ours = parse_policy(text)
        except FormatError:
            ours = None
        theirs = read_by_stranger(text)
        assert (ours is None) == (theirs is None), text
        if ours is not None and theirs is not None:
            assert [(log.key.name, log.key.public_key) for log in ours.logs] == [
                (k.name, k.public) for k in theirs.logs
            ]
            assert [(w.name, w.key.key_id) for w in ours.witnesses] == [(name, k.id) for name, k in theirs.witnesses]
            assert [(g.name, g.threshold, list(g.members)) for g in ours.groups] == theirs.groups
            assert ours.quorum == theirs.quorum


def test_a_key_with_plus_signs_in_its_base64_is_read():
    key = parse_vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert (
        affidavit_verify.parse_key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", (1,)).public
        == key.public_key
    )
