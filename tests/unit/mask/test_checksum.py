import pytest

from affidavit.mask.checksum import bits_a_character, classes, issued, luhn, mod97, social_security, taxpayer


@pytest.mark.parametrize(
    ("digits", "good"),
    [
        (b"79927398713", True),  # the example of the standard's annex
        (b"79927398710", False),
        (b"4111111111111111", True),
        (b"4111111111111112", False),
        (b"378282246310005", True),
        (b"0000000000000000", False),
    ],
)
def test_luhn(digits, good):
    assert luhn(digits) is good


@pytest.mark.parametrize(
    ("digits", "good"),
    [
        (b"4" + b"0" * 15, True),
        (b"4" + b"0" * 14, False),
        (b"37" + b"0" * 13, True),
        (b"37" + b"0" * 14, False),
        (b"2221" + b"0" * 12, True),
        (b"2721" + b"0" * 12, False),
        (b"1700000000000000", False),
        (b"9" * 16, False),
    ],
)
def test_prefix_and_length_belong_together(digits, good):
    assert issued(digits) is good


@pytest.mark.parametrize(
    ("iban", "good"),
    [
        (b"GB82WEST12345698765432", True),  # the example of the standard
        (b"DE89370400440532013000", True),
        (b"DE89370400440532013001", False),
        (b"DE8937040044053201300", False),
        (b"XX89370400440532013000", False),
        (b"GB82WEST1234569876543\xc3", False),
    ],
)
def test_mod97(iban, good):
    assert mod97(iban) is good


def test_areas_groups_and_serials_that_were_never_given_out():
    assert social_security(b"078", b"05", b"1120")
    for parts in (
        (b"000", b"05", b"1120"),
        (b"666", b"05", b"1120"),
        (b"078", b"00", b"1120"),
        (b"078", b"05", b"0000"),
    ):
        assert not social_security(*parts)
        assert not taxpayer(*parts)
    assert not social_security(b"900", b"70", b"1120")
    assert taxpayer(b"900", b"70", b"1120")


def test_entropy_and_classes():
    assert bits_a_character(b"aaaa") == 0
    assert bits_a_character(b"abcd") == 2
    assert classes(b"aB3-") == 4
    assert classes(b"abc") == 1
