"""What is found, what is left alone, and what stands in its place."""

import base64
import hashlib
import hmac
import re
from decimal import Decimal

import pytest

from affidavit.errors import ConfigError
from affidavit.mask import POLICY_VERSION, TYPES, Masker, policy_digest
from affidavit.mask.masker import JSON_DEPTH_MAX, KEY_BYTES_MIN
from affidavit.mask.search import CHECKS_MAX
from tests.support import pii

MASKER = Masker(key=b"k" * 32)
PLACEHOLDER = re.compile(r"<([A-Z_]+):[a-z2-7]{6}>")
VISA = "4111" + "1" * 12


def shown(text: str) -> str:
    """The masked text with the type alone where a value was."""
    return PLACEHOLDER.sub(r"<\1>", MASKER.mask(text).text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"{VISA}", "<CARD>"),
        ("pay with 4111 1111 1111 1111, exp 12/27", "pay with <CARD>, exp 12/27"),
        ("3782-822463-10005", "<CARD>"),
        ("Karte 5018 0000 0009", "Karte <CARD>"),
        (f"card{VISA}.", "card<CARD>."),
        ("IBAN GB82 WEST 1234 5698 7654 32 please", "IBAN <IBAN> please"),
        ("de89370400440532013000", "<IBAN>"),
        ("078-05-1120", "<SSN>"),
        ("my ssn is 078051120", "my ssn is <SSN>"),
        ("ITIN: 900-70-1120", "ITIN: <SSN>"),
        ("(415) 555-0132 ext. 12", "<PHONE>"),
        ("+49 30 901820 or +44 20 7946 0958", "<PHONE> or <PHONE>"),
        ("1641604819404 702-879-6375 is mine", "1641604819404 <PHONE> is mine"),
        ("978-1-41-590455-1 (404) 830-2872", "978-1-41-590455-1 <PHONE>"),
        ("+49 30 901820 415-555-0132", "<PHONE> <PHONE>"),
        ("Telefon: 030 901820", "Telefon: <PHONE>"),
        ("(Jo.Do+x@Example.co.uk)", "(<EMAIL>)"),
        ("from 203.0.113.9:443, 2001:db8::1", "from <IP>:443, <IP>"),
        ("ip:2001:db8::1 fe80::1%eth0 [2001:db8::1]:443 ::ffff:192.0.2.1", "ip:<IP> <IP>%eth0 [<IP>]:443 <IP>"),
        ("geboren am 2. März 1980 in Ulm", "geboren am <DOB> in Ulm"),
        ("fecha de nacimiento: 2 de marzo de 1980", "fecha de nacimiento: <DOB>"),
        ('{"dob": "1980-03-02"}', '{"dob": "<DOB>"}'),
        ("account number 12345678", "account number <ACCOUNT>"),
        ("Kundennummer: 98-76543", "Kundennummer: <ACCOUNT>"),
        ("numéro de client: 976 251 173", "numéro de client: <ACCOUNT>"),
        ("postgres://bob:hunter2@db/x", "postgres://bob:<SECRET>@db/x"),
        ("Authorization: Basic Ym9iOmh1bnRlcjI=", "Authorization: Basic <SECRET>"),
        ("DB_PASSWORD=correct-horse", "DB_PASSWORD=<SECRET>"),
        ("Passwort: „Sommer23“, ja", "Passwort: „<SECRET>“, ja"),
        ("“token: aB3dE5gH7jK9”", "“token: <SECRET>”"),
        ("(089-31-8091)", "(<SSN>)"),
        ("numéro de client: 067 062 595", "numéro de client: <ACCOUNT>"),
        ("password: '$ecret!9x', pwd=\"correct.horse\"", "password: '<SECRET>', pwd=\"<SECRET>\""),
        ("PASSWORD=sunshine", "PASSWORD=<SECRET>"),
        ('{"password": "sunshine"}', '{"password": "<SECRET>"}'),
        ("Phone: 12345678", "Phone: <PHONE>"),
        ("089 726 34 11 office", "<PHONE> office"),
        ("Account number:\n12345678", "Account number:\n<ACCOUNT>"),
        ("Kennwort lautet Sommer23", "Kennwort lautet <SECRET>"),
    ],
)
def test_found_and_masked(text, masked):
    assert shown(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # Luhn's check
        "1" * 20,
        f"0.{VISA}",
        f"a{VISA}",
        "DE89370400440532013001",
        "000-05-1120 666-05-1120 900-70-1120 078-00-1120",
        "978051120",
        "123-456-7890",
        "version 1.2.3.4, lib==1.2.3.4, Chrome/90.0.4430.212, 1.2.3.4.5, 256.1.1.1, 127.0.0.1",
        "std::vector a::b 12:34:56 00:1a:2b:3c:4d:5e",
        "icon@2x.png @app.route git@github.com:org/repo.git",
        "born in 1980, on 99/99/1980",
        "account 1234, policy 2.10.33, member since 2024-01-02",
        "password = os.environ['X'], api_key: ${KEY}, the password is required, token: 1234567890",
        "pwd='$PASSWORD', password: '{{ vault.secret }}', password='%PASSWORD%'",
        "card balance 0.1265943261197031",
        "def f(password: SecretStr, cookie: Cookie): password = password or enforce_bytes",
        "2000/09/07 22:29:26, y - 1.1085450346420322 + 1.70900692840646",
        "sk-" + "x" * 30,
        "eyJub3RoaW5nIjoxfQ.eyJhIjoxfQ.c2ln",
    ],
)
def test_left_alone(text):
    assert MASKER.mask(text).text == text
    assert MASKER.mask(text).findings == {}


BEGIN, END = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"
LINE = "MIIEpAIBAAKCAQEA" * 4


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"a\n{BEGIN}\nMIIE\n{END}\nb", "a\n<PRIVATE_KEY>\nb"),
        (f"{BEGIN}\\nMIIE\\n{END} {BEGIN}x{END}", "<PRIVATE_KEY> <PRIVATE_KEY>"),
        # Cut off: its lines go, and what else follows stays.
        (f"a\n{BEGIN}\n{LINE}\n{LINE}\nMII=", "a\n<PRIVATE_KEY>"),
        (f"{BEGIN}\nProc-Type: 4,ENCRYPTED\n\n{LINE}\n\nb, and c", "<PRIVATE_KEY>, and c"),
        (f"{BEGIN}\\n{LINE}\\n{LINE}", "<PRIVATE_KEY>"),
        # Mentioned, not shown; and an end that is too far away to be its own.
        (f'if "{BEGIN}" in text:', f'if "{BEGIN}" in text:'),
        (f"{BEGIN} is how it begins. " + "b, " * 7000 + END, f"{BEGIN} is how it begins. " + "b, " * 7000 + END),
    ],
)
def test_a_private_key_goes_whole(text, masked):
    assert shown(text) == masked


def test_equal_values_get_equal_placeholders_however_they_are_written():
    one, two, three = PLACEHOLDER.finditer(MASKER.mask(f"{VISA} 4111-1111-1111-1111 {VISA}").text)
    assert one[0] == two[0] == three[0]
    assert MASKER.mask("A@EXAMPLE.COM").text == MASKER.mask("a@example.com").text
    assert MASKER.mask("+1 415 555 0132").text == MASKER.mask("(415) 555-0132").text
    assert MASKER.mask("GB82WEST12345698765432").text == MASKER.mask("gb82 west 1234 5698 7654 32").text
    assert MASKER.mask("a@example.com").text != MASKER.mask("b@example.com").text


def test_a_placeholder_is_what_its_definition_says():
    code = hmac.new(b"k" * 32, b"CARD\0" + VISA.encode(), hashlib.sha256).digest()
    assert MASKER.mask(VISA).text == f"<CARD:{base64.b32encode(code)[:6].decode().lower()}>"


def test_another_key_gives_other_placeholders():
    other = Masker(key=b"K" * 32)
    assert other.mask(VISA).text != MASKER.mask(VISA).text
    assert other.mask(VISA).findings == MASKER.mask(VISA).findings == {"CARD": 1}


def test_a_key_has_a_least_length():
    assert Masker(key=bytes(KEY_BYTES_MIN)).mask("x").text == "x"
    with pytest.raises(ConfigError):
        Masker(key=bytes(KEY_BYTES_MIN - 1))


def test_nobody_can_forge_a_placeholder():
    assert MASKER.mask("see <CARD:abc234>").text == "see <=CARD:abc234>"
    assert MASKER.mask("see <=CARD:abc234>").text == "see <=CARD:abc234>"
    assert MASKER.mask("\\u003cCARD:abc234\\u003e").text == "<=CARD:abc234>"
    assert MASKER.mask("&lt;CARD:abc234&gt;").text == "<=CARD:abc234>"
    for text in ("<card:abc234>", "<CARD:abc23>", "<CARD:abc2345>", "<CARD:abc018>"):
        assert MASKER.mask(text).text == text


def test_a_placeholder_keeps_what_is_inside_and_lends_no_context():
    assert MASKER.mask("<ACCOUNT:234567> <SSN:aaaaaa>").findings == {}
    assert MASKER.mask("ssn 078051120").findings == {"SSN": 1}
    assert MASKER.mask("ssn <SSN:aaaaaa> 078051120").findings == {}
    first = MASKER.mask("born 1980-03-02")
    assert MASKER.mask(first.text).findings == {}
    assert MASKER.mask(first.text).text == first.text.replace("<", "<=")


def test_what_stands_free_after_masking_is_masked_as_well():
    masked = MASKER.mask(f"a@example.com{VISA}")
    assert VISA not in masked.text
    assert MASKER.mask(masked.text).findings == {}


def test_members_give_context_to_their_values():
    number = int(VISA)
    masked = MASKER.mask_json(
        {
            "ssn": 123456788,
            "card": number,
            "count": 123456788,
            "float_card": float(VISA),
            "huge": 1 << 20_000,
            "dateOfBirth": "1980-03-02",
            "phones": ["030 901820", None, True],
            "apiKey": "aB3dE5gH7jK9",
            "password": "sunshine",
            "nested": {"account_number": 12345678, "ratio": 0.5, "exact": Decimal("1.5")},
            "a@example.com": 1,
        }
    )
    assert masked.findings == {"SSN": 1, "CARD": 2, "DOB": 1, "PHONE": 1, "SECRET": 2, "ACCOUNT": 1, "EMAIL": 1}
    value = masked.value
    assert PLACEHOLDER.fullmatch(value["ssn"])[1] == "SSN"
    assert PLACEHOLDER.fullmatch(value["card"])[1] == "CARD"
    assert value["card"] == value["float_card"] == MASKER.mask(VISA).text
    assert (value["count"], value["phones"][1:], value["nested"]["ratio"]) == (123456788, [None, True], 0.5)
    assert list(value.items())[-1] == (MASKER.mask("a@example.com").text, 1)
    assert MASKER.mask_json({"a@example.com": "and b@example.com"}).findings == {"EMAIL": 2}


def test_a_clean_value_comes_back_as_it_is():
    value = {"a": [1, 2.5, None, {"b": "nothing"}]}
    masked = MASKER.mask_json(value)
    assert masked.value is value
    assert masked.findings == {}
    for scalar in (None, True, 5, "x"):
        assert MASKER.mask_json(scalar).value == scalar


def test_no_member_is_lost_when_two_names_are_masked_alike():
    masked = MASKER.mask_json({"A@example.com": 1, "a@example.com": 2})
    name = MASKER.mask("a@example.com").text
    assert masked.value == {name: 1, f"{name}~2": 2}


def test_depth_is_bounded():
    deep: object = VISA
    for _ in range(JSON_DEPTH_MAX):
        deep = [deep]
    assert MASKER.mask_json(deep).findings == {"CARD": 1}
    masked = MASKER.mask_json([deep])
    assert masked.findings == {"ENCODED": 1}
    for _ in range(5000):
        deep = [deep]
    assert VISA not in repr(MASKER.mask_json(deep).value)


def test_many_texts_at_once_are_masked_as_one_by_one():
    texts = [sample.text for sample in pii.samples(3, 60)] + ["clean"] * 50 + ["born", "1980-03-02", "x" * 20_000]
    assert MASKER.mask_all(texts) == [MASKER.mask(text) for text in texts]
    assert MASKER.mask_all([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "\ud83d " + VISA + " \udc00",
        "\ufffe\uffff\U0010ffff" + VISA,
        "%FE%FF%FE " + VISA + " \\xff\\xfe",
    ],
)
def test_any_string_is_a_text(text):
    masked = MASKER.mask(text)
    assert masked.text == text.replace(VISA, MASKER.mask(VISA).text)


def test_more_candidates_than_can_be_checked_are_masked_unchecked():
    invalid = "4111111111111112 "
    counts = MASKER.mask("123456789 " * (CHECKS_MAX + 1)).findings
    assert counts["SSN"] >= 1  # nine digits that nothing announces
    assert MASKER.mask(invalid).findings == {}
    masked = MASKER.mask(invalid * (CHECKS_MAX + 10))
    assert masked.findings["CARD"] >= 10
    assert VISA not in MASKER.mask(invalid * (CHECKS_MAX + 10) + VISA).text


def test_the_digest_is_stable_and_covers_the_version():
    assert policy_digest() == policy_digest()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", policy_digest())
    assert POLICY_VERSION == 1
    assert len(set(TYPES)) == len(TYPES)
    assert all(re.fullmatch(r"[A-Z_]+", kind) for kind in TYPES)
