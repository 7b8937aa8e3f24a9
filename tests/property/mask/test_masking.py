"""No planted value survives, in no view; masking again finds nothing; nothing that anybody writes makes it raise."""

import itertools
import time
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affidavit.mask import Masker
from affidavit.mask.finding import TYPES, Finding, resolved
from affidavit.mask.view import unescaped
from tests.support import pii

MASKER = Masker(key=b"k" * 32)
OTHER = Masker(key=b"o" * 32)
SEEDS = st.integers(min_value=0, max_value=2**32)
# Pieces that hostile texts are made of: heads without tails, values, look-alikes, encodings.
PIECES = st.sampled_from(
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "a@example.com",
        "@",
        "078-05-1120",
        "+49 30 901820",
        "<CARD:abc234>",
        "<=CARD:abc234>",
        "<ACCOUNT:234567>",
        "<",
        ">",
        "born ",
        "1980-01-02",
        "account ",
        "12345678",
        "password=",
        "hunter2x",
        "Bearer ",
        "Authorization: ",
        "\\u0034",
        "%34",
        "&#52;",
        "\u200b",
        "\uff14",
        "://u:p",
        "://",
        ":",
        "GB82WEST12345698765432",
        "10.2.3.4",
        "::",
        "2001:db8::1",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "c2VuZCB0byBqb2VAZXhhbXBsZS5jb20=",
        " ",
        "\n",
        "-",
        ".",
        '"',
        "\\",
        "\0",
        "\ud800",
        "ssn ",
        "call ",
        "AK" + "IA",
        "x",
        "1",
        "é",
    ]
)
HOSTILE = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


@given(SEEDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_planted_value_survives(seed):
    kinds = pii.STRUCTURED + pii.SECRET_TYPES
    for sample in pii.samples(seed, 4, kinds=kinds):
        masked = MASKER.mask(sample.text)
        assert not [value for _, value in sample.planted if value in masked.text]
        assert bool(masked.findings) >= bool(sample.planted)


@given(SEEDS, st.sampled_from(sorted(pii.VIEWS)), st.sampled_from(pii.STRUCTURED))
@settings(max_examples=200, deadline=None)
def test_no_planted_value_survives_in_a_view(seed, view, kind):
    text, planted = pii.sentence(Random(seed), kind)
    if view == "full_width" and kind == "ACCOUNT":
        return  # letters in front stay plain there, which is another number
    hidden = pii.VIEWS[view](text)
    masked = MASKER.mask(hidden)
    assert masked.findings
    for kind_planted, value in planted:
        assert pii.VIEWS[view](value) not in masked.text, kind_planted
        assert value not in unescaped(masked.text.encode()).data.decode("utf-8", "replace")


@given(HOSTILE)
@settings(max_examples=600, deadline=None)
def test_masking_again_finds_nothing_and_the_third_time_changes_nothing(text):
    first = MASKER.mask(text)
    second = MASKER.mask(first.text)
    assert second.findings == {}
    assert second.text.replace("<=", "<") == first.text.replace("<=", "<")
    assert MASKER.mask(second.text).text == second.text


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_placeholders_depend_on_the_key_and_on_nothing_else(text):
    first, again, other = MASKER.mask(text), Masker(key=b"k" * 32).mask(text), OTHER.mask(text)
    assert first == again
    if first.findings:
        assert first.text != other.text


@given(
    st.recursive(
        HOSTILE | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    )
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_json_keeps_its_shape(value):
    masked = MASKER.mask_json(value).value

    def alike(one, two):
        if isinstance(one, dict):
            return isinstance(two, dict) and len(one) == len(two) and all(map(alike, one.values(), two.values()))
        if isinstance(one, list):
            return isinstance(two, list) and len(one) == len(two) and all(map(alike, one, two))
        return isinstance(two, type(one) | str)

    assert alike(value, masked)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from(TYPES)), max_size=12))
def test_resolved_findings_are_in_order_apart_and_cover_the_same(spans):
    findings = [Finding(start, start + length, kind, b"") for start, length, kind in spans]
    held = resolved(findings)
    assert held == resolved(findings[::-1])
    assert all(one.end <= two.start for one, two in itertools.pairwise(held))
    assert {at for one in held for at in range(one.start, one.end)} == {
        at for one in findings for at in range(one.start, one.end)
    }


@pytest.mark.parametrize(
    "piece",
    [
        "4111 1111 1111 1112 ",
        "1 ",
        "1",
        "a@",
        "@a.",
        "+1",
        "0 1 ",
        "://u:p",
        "password=",
        "born ",
        "account ",
        "\\",
        "%4",
        "&#",
        "<A:",
        "eyJaaaaaaaa.",
        "AKIA",
        "-----BEGIN PRIVATE KEY-----",
        "call 1",
        "aGVsbG8gd29ybGQhISEh ",
        ":a:",
        "1.1.",
        "GB82",
        "\u200b1",
        "078-05-1120 ",
        "token: a",
    ],
)
@pytest.mark.timeout(120)
def test_time_is_linear(piece):
    """Twice the text, about twice the time; a square would give four. The bound leaves room for a busy machine."""

    def seconds(size):
        text = piece * (size // len(piece))
        began = time.perf_counter()
        MASKER.mask(text)
        return time.perf_counter() - began

    seconds(20_000)
    assert min(seconds(200_000) for _ in range(2)) < 20 * max(min(seconds(50_000) for _ in range(2)), 0.02)
