"""Sentences of our own with planted personal data and secrets, and sentences that only look as if they had some.

Values are made from the definitions of their formats (ISO 7812 and 13616, the rules for social security numbers,
national numbering plans, what providers document about their keys), never from the masker's patterns. Everything is
drawn from the `random.Random` that is handed in. No value is anybody's: keys are put together from parts when the
program runs, so that no file of ours looks like a leak.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, hexdigits
from urllib.parse import quote

ALPHANUMERIC = ascii_letters + digits
STRUCTURED = ("CARD", "IBAN", "SSN", "PHONE", "EMAIL", "IP", "DOB", "ACCOUNT")
SECRET_TYPES = ("SECRET", "JWT", "PRIVATE_KEY")


@dataclass(frozen=True)
class Sample:
    """A text and what was planted in it: (type, the exact characters)."""

    text: str
    planted: tuple[tuple[str, str], ...]
    form: str


def drawn(source: Random, alphabet: str, count: int) -> str:
    return "".join(source.choices(alphabet, k=count))


# --- values, by definition -------------------------------------------------------------------------------------------


def check_digit(body: str) -> str:
    """Luhn's: doubled from the right, beginning with the last digit of the body."""
    total = 0
    for index, digit in enumerate(reversed(body)):
        number = int(digit) * (2 if index % 2 == 0 else 1)
        total += number // 10 + number % 10
    return str(-total % 10)


def card(source: Random) -> str:
    prefix, length = source.choice(
        [("4", 16)] * 4
        + [("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16)]
        + [
            ("36", 14),
            ("305", 14),
            ("3528", 16),
            ("3589", 16),
            ("62", 16),
            ("62", 19),
            ("4", 13),
            ("4", 19),
            ("6759", 16),
        ]
    )
    body = prefix + drawn(source, digits, length - len(prefix) - 1)
    number = body + check_digit(body)
    form = source.choice(["plain", "plain", " ", "-"])
    if form == "plain":
        return number
    cuts = {15: (4, 6, 5), 14: (4, 6, 4)}.get(length, (4, 4, 4, 4, 3))
    groups, at = [], 0
    for cut in cuts:
        groups.append(number[at : at + cut])
        at += cut
    return form.join(group for group in groups if group)


BBANS = {
    "DE": "n18",
    "GB": "a4n14",
    "FR": "n10c11n2",
    "ES": "n20",
    "NL": "a4n10",
    "IT": "a1n10c12",
    "CH": "n5c12",
    "AT": "n16",
    "BE": "n12",
    "PL": "n24",
    "SE": "n20",
    "NO": "n11",
    "PT": "n21",
    "IE": "a4n14",
    "LU": "n3c13",
    "FI": "n14",
    "MT": "a4n5c18",
}


def iban(source: Random) -> str:
    country = source.choice(sorted(BBANS))
    structure, bban, at = BBANS[country], "", 0
    while at < len(structure):
        kind, end = structure[at], at + 1
        while end < len(structure) and structure[end].isdigit():
            end += 1
        alphabet = {"n": digits, "a": ascii_uppercase, "c": digits + ascii_uppercase}[kind]
        bban += drawn(source, alphabet, int(structure[at + 1 : end]))
        at = end
    value = int("".join(str(int(one, 36)) for one in bban + country + "00"))
    number = f"{country}{98 - value % 97:02d}{bban}"
    form = source.choice(["plain", "groups", "groups", "lower"])
    if form == "groups":
        return " ".join(number[index : index + 4] for index in range(0, len(number), 4))
    return number.lower() if form == "lower" else number


def ssn(source: Random) -> str:
    area = source.choice([one for one in range(1, 900) if one != 666])
    join = source.choice(["-", "-", "-", " "])
    return f"{area:03d}{join}{source.randint(1, 99):02d}{join}{source.randint(1, 9999):04d}"


def north_american(source: Random) -> str:
    area = source.choice("212 213 303 305 312 404 415 512 602 617 702 713 801 919".split())  # noqa: SIM905
    exchange, line = f"{source.choice('2346789')}{source.randint(20, 99)}", f"{source.randint(0, 9999):04d}"
    form = source.choice(
        ["({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "+1-{}-{}-{}", "+1{}{}{}", "1-{}-{}-{}", "({}){}-{}"]
    )
    return form.format(area, exchange, line)


def international(source: Random) -> str:
    return source.choice(
        [
            lambda: f"+44 20 7946 {source.randint(100, 999):04d}",
            lambda: f"+44 7{source.randint(400, 599)} {source.randint(100000, 999999)}",
            lambda: f"+49 30 {source.randint(2000000, 9999999)}",
            lambda: f"+49 (0)89 {source.randint(200000, 999999)}",
            lambda: f"+49151{source.randint(20000000, 29999999)}",
            lambda: f"+33 6 {source.randint(10, 88)} {' '.join(f'{source.randint(10, 99)}' for _ in range(3))}",
            lambda: f"+33 (0)1 4{source.randint(0, 9)} {' '.join(f'{source.randint(10, 99)}' for _ in range(3))}",
            lambda: f"+34 6{source.randint(10, 99)} {source.randint(100, 999)} {source.randint(100, 999)}",
            lambda: f"0049 30 {source.randint(2000000, 9999999)}",
            lambda: f"+31 6 {source.randint(10000000, 59999999)}",
            lambda: f"+41 79 {source.randint(200, 999)} {source.randint(10, 99)} {source.randint(10, 99)}",
        ]
    )()


NATIONAL = {
    "en": lambda source: source.choice(
        [f"020 7946 {source.randint(100, 999):04d}", f"07{source.randint(400, 599)} {source.randint(100000, 999999)}"]
    ),
    "de": lambda source: source.choice(
        [
            f"030 {source.randint(2000000, 9999999)}",
            f"0151 {source.randint(20000000, 29999999)}",
            f"089/{source.randint(200000, 999999)}",
        ]
    ),
    "fr": lambda source: f"06 {source.randint(10, 88)} {' '.join(f'{source.randint(10, 99)}' for _ in range(3))}",
    "es": lambda source: f"6{source.randint(10, 99)} {source.randint(100, 999)} {source.randint(100, 999)}",
}

STEMS = "lena marco aisha tomas wei olga pablo ines noor jonas".split()  # noqa: SIM905
HOSTS = [
    "example.com",
    "example.org",
    "mail.example.net",
    "kanzlei-beispiel.de",
    "exemple.fr",
    "ejemplo.es",
    "sub.dept.example.co.uk",
]


def email(source: Random) -> str:
    local = (
        source.choice(STEMS)
        + source.choice(["", ".", "_", "-", "+"])
        + source.choice([*STEMS, str(source.randint(1, 999))])
    )
    value = f"{local}@{source.choice(HOSTS)}"
    return value.upper() if source.random() < 0.1 else value


def ip(source: Random) -> str:
    if source.random() < 0.7:
        first = source.choice([one for one in range(1, 224) if one != 127])
        return ".".join(map(str, (first, *(source.randint(0, 255) for _ in range(2)), source.randint(1, 254))))
    groups = [f"{source.randint(0, 0xFFFF):x}" for _ in range(7)]
    if source.random() < 0.5:
        return ":".join(["2001", "db8", *groups[:6]])
    return "2001:db8::" + ":".join(groups[: source.randint(1, 4)])


MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}


def dob(source: Random, language: str) -> str:
    year, month, day = source.randint(1925, 2015), source.randint(1, 12), source.randint(1, 28)
    name = MONTHS[language].split()[month - 1]
    forms = {
        "en": [
            f"{month}/{day}/{year}",
            f"{year}-{month:02d}-{day:02d}",
            f"{day} {name} {year}",
            f"{name} {day}, {year}",
            f"{day:02d}/{month:02d}/{year}",
            f"{name[:3]} {day}, {year}",
            f"{month:02d}-{day:02d}-{year}",
        ],
        "de": [f"{day:02d}.{month:02d}.{year}", f"{day}. {name} {year}", f"{day}.{month}.{year}"],
        "fr": [f"{day:02d}/{month:02d}/{year}", f"{day} {name} {year}"],
        "es": [f"{day:02d}/{month:02d}/{year}", f"{day} de {name} de {year}"],
    }
    return source.choice(forms[language])


def account(source: Random) -> str:
    return source.choice(
        [
            lambda: drawn(source, digits, source.randint(6, 12)),
            lambda: drawn(source, ascii_uppercase, source.randint(1, 3)) + drawn(source, digits, source.randint(6, 9)),
            lambda: f"{drawn(source, ascii_uppercase, 2)}-{drawn(source, digits, 6)}",
            lambda: f"{drawn(source, digits, 4)}-{drawn(source, digits, 4)}-{drawn(source, digits, 2)}",
            lambda: f"{drawn(source, digits, 3)} {drawn(source, digits, 3)} {drawn(source, digits, 3)}",
        ]
    )()


def secret(source: Random) -> str:
    """A key as its provider documents the form, put together from parts."""
    parts: list[tuple[str, str, int]] = [
        ("sk" + "-", ALPHANUMERIC, 48),
        ("sk-" + "proj-", ALPHANUMERIC + "_-", 60),
        ("sk-" + "ant-api03-", ALPHANUMERIC + "_-", 95),
        ("AK" + "IA", ascii_uppercase + "234567", 16),
        ("AS" + "IA", ascii_uppercase + "234567", 16),
        ("gh" + "p_", ALPHANUMERIC, 36),
        ("gh" + "o_", ALPHANUMERIC, 36),
        ("gh" + "s_", ALPHANUMERIC, 36),
        ("github" + "_pat_", ALPHANUMERIC, 82),
        ("gl" + "pat-", ALPHANUMERIC, 20),
        ("xox" + "b-" + drawn(source, digits, 12) + "-" + drawn(source, digits, 12) + "-", ALPHANUMERIC, 24),
        ("sk_" + "live_", ALPHANUMERIC, 24),
        ("rk_" + "live_", ALPHANUMERIC, 24),
        ("AI" + "za", ALPHANUMERIC + "_-", 35),
        ("np" + "m_", ALPHANUMERIC, 36),
        ("pypi" + "-AgEIcHlwaS5vcmc", ALPHANUMERIC + "_-", 120),
        ("h" + "f_", ascii_letters, 34),
        ("S" + "G." + drawn(source, ALPHANUMERIC, 22) + ".", ALPHANUMERIC, 43),
        ("S" + "K", hexdigits[:16], 32),
        ("dop" + "_v1_", hexdigits[:16], 64),
        ("hv" + "s.", ALPHANUMERIC, 24),
        ("g" + "sk_", ALPHANUMERIC, 52),
        ("GOC" + "SPX-", ALPHANUMERIC, 28),
    ]
    head, alphabet, count = source.choice(parts)
    return head + drawn(source, alphabet, count - 1) + source.choice(alphabet.removesuffix("_-"))


def web_token(source: Random) -> str:
    header = {"alg": source.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}
    claims = {"sub": drawn(source, digits, 8), "iat": source.randint(1_600_000_000, 1_800_000_000)}
    body = [urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims)]
    return ".".join([*body, drawn(source, ALPHANUMERIC + "_-", 43)])


def private_key(source: Random) -> str:
    kind = source.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "]) + "PRIV" + "ATE KEY"
    lines = [drawn(source, ALPHANUMERIC + "+/", 64) for _ in range(source.randint(2, 12))]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"])


def password(source: Random) -> str:
    word = (
        source.choice(STEMS).title()
        + drawn(source, digits, 3)
        + source.choice("!$%*")
        + drawn(source, ascii_lowercase, 3)
    )
    return source.choice(
        [word, drawn(source, ALPHANUMERIC, 10) + source.choice(digits) + source.choice(ascii_lowercase)]
    )


# --- sentences around values -----------------------------------------------------------------------------------------

SENTENCES: dict[str, list[str]] = {
    "CARD": [
        "Please charge {} for the order.",
        "My card number is {}, valid until 09/29.",
        "{} was declined again",
        "Karte {} sperren, bitte.",
        "carte bancaire {}",
        "Could you refund to {}?",
        "card={}",
        "Zahlung mit ({}) am Montag",
    ],
    "IBAN": [
        "Transfer it to {} by Friday.",
        "IBAN: {}",
        "Bitte auf {} überweisen.",
        "mon IBAN est {}.",
        "{} is my account",
        "cuenta {}, gracias",
    ],
    "SSN": [
        "My SSN is {}.",
        "Social security number: {}",
        "{} is what my old employer has on file",
        "ssn={}",
        "The applicant ({}) signed.",
    ],
    "EMAIL": [
        "Write to {} today.",
        "{} bounced",
        "From: Someone <{}>",
        "mailto:{}",
        "Schreib an {}, danke",
        "cc {};",
        "contact='{}'",
        "user {}: access denied",
    ],
    "IP": [
        "Login from {} failed.",
        "{} - - GET /index.html",
        "client_ip={}",
        "ping {}",
        "host [{}] unreachable",
        "Zugriff von {}, blockiert",
    ],
    "ACCOUNT": [
        "My account number is {}.",
        "Customer ID: {}",
        "patient no. {} was admitted",
        "Policy number {} has lapsed",
        "passport number {}",
        "Kundennummer: {}",
        "numéro de client: {}",
        "driver's license {}",
        "MRN: {}",
        "member id {}",
        "Konto {} ist leer",
        "medical record number {}",
    ],
}
DOB_SENTENCES = {
    "en": [
        "She was born on {}.",
        "DOB: {}",
        "Date of birth: {}",
        "his birthday is {}, I think",
        "Please note my date of birth. It's {}",
    ],
    "de": ["Geburtsdatum: {}", "Sie wurde am {} geboren; geboren am {}.", "geb. {} in Ulm"],
    "fr": ["née le {} à Lyon", "Date de naissance : {}"],
    "es": ["Fecha de nacimiento: {}", "nacida el {} en Lugo"],
}
CALL_SENTENCES = {
    "en": ["Call me at {}.", "Phone: {}", "my mobile is {}, after six"],
    "de": ["Telefon: {}", "Handy {}", "Ruf mich an unter Tel. {}"],
    "fr": ["Téléphone : {}", "appelez le {}"],
    "es": ["Teléfono: {}", "móvil {}"],
}
OPEN_CALL_SENTENCES = [
    "{} is the best number",
    "Call {} before noon",
    "Reach the desk on {}.",
    "| Support | {} |",
    "Try {}, then {}",
]
SECRET_SENTENCES = [
    "The key is {}",
    "export OPENAI_API_KEY={}",
    "I pasted {} by mistake.",
    "{}",
    'client = Client("{}")',
    "curl -H 'Authorization: Bearer {}' https://api.example.com",
    "token: {}",
    "see `{}`",
]
PASSWORD_SENTENCES = [
    'password = "{}"',
    "DB_PASSWORD={}",
    "postgres://app:{}@db.internal:5432/main",
    "my password is {}",
    '{{"user": "app", "password": "{}"}}',
    "Passwort: {}",
    "client_secret: '{}'",
    "mot de passe : {}",
]

Made = tuple[str, list[tuple[str, str]]]


def sentence(source: Random, kind: str) -> Made:
    """One sentence with values of one type."""
    if kind == "DOB":
        language = source.choice(sorted(DOB_SENTENCES))
        form = source.choice(DOB_SENTENCES[language]).replace("Sie wurde am {} geboren; ", "")
        value = dob(source, language)
    elif kind == "PHONE":
        way = source.random()
        if way < 0.35:
            value, form = north_american(source), source.choice(OPEN_CALL_SENTENCES)
        elif way < 0.7:
            value, form = international(source), source.choice(OPEN_CALL_SENTENCES)
        else:
            language = source.choice(sorted(NATIONAL))
            value, form = NATIONAL[language](source), source.choice(CALL_SENTENCES[language])
    elif kind == "SECRET" and source.random() < 0.4:
        value, form = password(source), source.choice(PASSWORD_SENTENCES)
    elif kind in SECRET_TYPES:
        value, form = (
            {"SECRET": secret, "JWT": web_token, "PRIVATE_KEY": private_key}[kind](source),
            source.choice(SECRET_SENTENCES),
        )
    else:
        make: Callable[[Random], str] = {
            "CARD": card,
            "IBAN": iban,
            "SSN": ssn,
            "EMAIL": email,
            "IP": ip,
            "ACCOUNT": account,
        }[kind]
        value, form = make(source), source.choice(SENTENCES[kind])
    return form.format(*[value] * form.count("{}")), [(kind, value)] * form.count("{}")


# --- what only looks like something ----------------------------------------------------------------------------------


def unlike(source: Random) -> str:
    """A sentence without anything personal or secret, as like to some as they come."""
    return source.choice([_numbers_of_things, _moments, _identifiers, _names_without_values, _measures])(source)


def day(r: Random) -> str:
    return f"{r.randint(2019, 2025)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"


def _numbers_of_things(r: Random) -> str:
    part = f"{r.randint(100, 999)}-{r.randint(1000, 9999)}"
    return r.choice(
        [
            f"Order {drawn(r, ascii_uppercase, 2)}{r.randint(10**7, 10**8)} shipped on {day(r)}.",
            f"Order no. {r.randint(10**9, 10**10 - 1)}, {r.randint(2, 90)} pieces",
            f"ISBN 978-{r.randint(0, 9)}-{r.randint(10, 99)}-{r.randint(100000, 999999)}-{r.randint(0, 9)}",
            f"ISBN 978{r.randint(10**9, 10**10 - 1)}",
            f"Tracking 1Z{drawn(r, digits + ascii_uppercase, 16)}",
            f"part 0{part} rev {r.randint(1, 9)}",
            f"rows 10000-{r.randint(20000, 90000)} of {r.randint(10**6, 10**7)}",
            f"matrix [{', '.join(str(r.randint(0, 99)) for _ in range(12))}]",
            f"{' '.join(str(r.randint(1, 50)) for _ in range(6))} were drawn",
            f"https://example.com/a/{r.randint(10**5, 10**6)}/b?page={r.randint(1, 99)}&sort=asc",
            f"ports 8080, {r.randint(3000, 9999)} and {r.randint(10000, 60000)}/tcp",
        ]
    )


def _moments(r: Random) -> str:
    clock = f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}"
    return r.choice(
        [
            f"At {day(r)}T{clock}.{r.randint(0, 999999):06d}Z it restarted.",
            f"ts={r.randint(1_600_000_000, 1_800_000_000)} ms={r.randint(1_600_000_000_000, 1_800_000_000_000)}",
            f"us={r.randint(1_600_000_000_000_000, 1_800_000_000_000_000)}",
            f"The meeting is on {r.randint(1, 28)}/{r.randint(1, 12)}/{r.randint(2020, 2026)} at {clock[:5]}.",
            f"She was born in Ulm and moved there in {r.randint(1980, 2020)}.",
            f"Account closed in {r.randint(1990, 2025)}; the policy of {r.randint(1990, 2025)} holds.",
            f"call stack depth {r.randint(10, 99)}, called {r.randint(1000, 99999)} times in 1.{r.randint(100, 999)} s",
        ]
    )


def _identifiers(r: Random) -> str:
    hexadecimal = "0123456789abcdef"
    return r.choice(
        [
            f"request id {uuid.UUID(int=r.getrandbits(128), version=4)}",
            f"sha256:{drawn(r, hexadecimal, 64)}",
            f"commit {drawn(r, hexadecimal, 40)}",
            f"fixed in {drawn(r, hexadecimal, 7)}",
            f"data:image/png;base64,iVBORw0KGgo{b64encode(r.randbytes(90)).decode()}",
            f"MAC {':'.join(drawn(r, hexadecimal, 2) for _ in range(6))} joined",
            "_".join(drawn(r, ascii_lowercase, length) for length in (8, 9, 7)) + f"({r.randint(1, 9)})",
            "std::vector<int>::iterator it = a::b::c(x);",
            f"<img src=\"icon@2x.png\" width={r.randint(100, 999)}> @app.route('/x')",
            "git clone git@github.com:org/repo.git",
        ]
    )


def _names_without_values(r: Random) -> str:
    return r.choice(
        [
            f'{{"max_tokens": {r.randint(100, 9000)}, "total_tokens": {r.randint(100, 9000)}, "temperature": 0.5}}',
            "password = os.environ['DB_PASSWORD']",
            'api_key = "<your-api-key>"',
            "The password is required and the token is optional.",
            "api_key: ${API_KEY}, secret: {{ vault.secret }}",
            "Set OPENAI_API_KEY=sk-your-key-here before you start.",
            "The secret is in the sauce; the token was expired.",
            f"account manager of policy group {r.randint(1, 40)}, customer satisfaction {r.randint(60, 99)} %",
            "the risk-averse task-force asked for sk-learn and key-value stores",
        ]
    )


def _measures(r: Random) -> str:
    triple = f"{r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 30)}"
    return r.choice(
        [
            f"version {triple}.{r.randint(0, 30)} fixes it",
            f"Chrome/{r.randint(90, 130)}.0.{r.randint(1000, 6000)}.{r.randint(10, 200)} Safari/537.36",
            f"pip install lib=={triple}",
            f"It costs ${r.randint(1, 9)},{r.randint(100, 999)},{r.randint(100, 999)}.{r.randint(10, 99)}",
            f"Es kostet {r.randint(1, 9)}.{r.randint(100, 999)}.{r.randint(100, 999)},00 €",
            f"pi is {r.random():.16f} and {r.random() * 1000:.13f}",
            f"GPS {r.random() * 90:.6f}, {r.random() * 180:.6f}",
            f"see RFC {r.randint(1000, 9999)}, section {r.randint(1, 9)}.{r.randint(1, 9)}.{r.randint(1, 9)}",
        ]
    )


# --- forms that hold sentences ---------------------------------------------------------------------------------------


def plain(text: str) -> str:
    return text


def as_json(text: str) -> str:
    return json.dumps({"note": text, "n": 1}, ensure_ascii=False)


def as_json_twice(text: str) -> str:
    return json.dumps({"arguments": json.dumps({"note": text})})


def in_table(text: str) -> str:
    return f"| id | note |\n|---|---|\n| 1 | {text} |"


def quoted(text: str) -> str:
    return f"He said: “{text}” - and left."


def in_lines(text: str) -> str:
    return f"Notes:\r\n- first\r\n- {text}\r\n- last"


def in_mark_up(text: str) -> str:
    return f"<p><b>{text}</b></p>"


FORMS: dict[str, Callable[[str], str]] = {
    one.__name__: one for one in (plain, plain, as_json, as_json_twice, in_table, quoted, in_lines, in_mark_up)
}


# Ways to write a text so that its characters are not there; for each, what a reader has to know.
def escaped(text: str) -> str:
    """Every character as JSON may write it."""
    return "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else one for one in text)


def percent(text: str) -> str:
    return quote(text, safe="")


def entities(text: str) -> str:
    return "".join(f"&#{ord(one)};" if not one.isspace() else one for one in text)


def full_width(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if one.isdigit() and one.isascii() else one for one in text)


def zero_width(text: str) -> str:
    return "\u200b".join(text)


def base64(text: str) -> str:
    return f"see {b64encode(f'note: {text}'.encode()).decode()} there"


def base64_url(text: str) -> str:
    return f"see {urlsafe_b64encode(f'note: {text}'.encode()).decode().rstrip('=')} there"


VIEWS: dict[str, Callable[[str], str]] = {
    one.__name__: one for one in (escaped, percent, entities, full_width, zero_width, base64, base64_url, as_json_twice)
}


def samples(seed: int, count: int, *, kinds: tuple[str, ...] = STRUCTURED) -> list[Sample]:
    """Texts of one to four sentences in some form; about half of all sentences hold nothing."""
    source = Random(seed)
    made = []
    for _ in range(count):
        sentences: list[str] = []
        planted: list[tuple[str, str]] = []
        for _ in range(source.randint(1, 4)):
            if source.random() < 0.5:
                sentences.append(unlike(source))
            else:
                text, values = sentence(source, source.choice(kinds))
                sentences.append(text)
                planted += values
        form = source.choice(sorted(FORMS))
        join = source.choice([" ", "\n", " ", "; "])
        made.append(Sample(FORMS[form](join.join(sentences)), tuple(planted), form))
    return made
