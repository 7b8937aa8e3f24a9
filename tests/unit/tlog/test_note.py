"""Signed notes and verifier keys: one spelling each, unknown lines ignored, known ones believed when they verify."""

from __future__ import annotations

import base64

import pytest

from affidavit.errors import FormatError
from affidavit.tlog import note
from affidavit.tlog.note import (
    NOTE_SIZE_MAX,
    SIGNATURES_MAX,
    Ed25519Signer,
    Ed25519Verifier,
    KeyCollisionError,
    Note,
    NoteSignature,
    SignatureError,
    SignatureType,
    VerifierKey,
    decode_base64,
    encode_base64,
    format_note,
    format_signature_lines,
    format_vkey,
    open_note,
    parse_note,
    parse_signature_lines,
    parse_vkey,
    verifier_key,
)

TEXT = "Ein Satz.\n\nNoch einer: äöü.\n".encode()
ALICE = Ed25519Signer.from_seed(name="example.com/alice", seed=b"a" * 32)
BOB = Ed25519Signer.from_seed(name="example.com/bob", seed=b"b" * 32)
OTHER_ALICE = Ed25519Signer.from_seed(name="example.com/alice", seed=b"c" * 32)


def verifiers(*signers: Ed25519Signer) -> list[Ed25519Verifier]:
    return [Ed25519Verifier(signer.key) for signer in signers]


def signed(*signatures: NoteSignature, text: bytes = TEXT) -> bytes:
    return format_note(Note(text, signatures))


def test_a_note_is_text_a_blank_line_and_signature_lines():
    data = signed(ALICE.sign(TEXT), BOB.sign(TEXT))
    above, below = data.decode().split("\n\n— ")
    assert above + "\n" == TEXT.decode()
    assert below.startswith("example.com/alice ")
    assert parse_note(data) == Note(TEXT, (ALICE.sign(TEXT), BOB.sign(TEXT)))
    opened = open_note(data, verifiers(ALICE, BOB))
    assert (opened.text, len(opened.verified), opened.unknown) == (TEXT, 2, ())


def test_a_text_may_consist_of_empty_lines():
    for text in (b"\n", b"\n\n", b"a\n\n\n"):
        assert open_note(signed(ALICE.sign(text), text=text), verifiers(ALICE)).text == text


LINE = "— n AAAAAAA="


@pytest.mark.parametrize(
    "data",
    [
        "",
        "\n",
        "text\n",
        f"text\n{LINE}\n",
        f"\n{LINE}\n",
        f"text\n\n{LINE}",
        "text\n\n",
        "text\n\n\n",
        f"text\n\n{LINE}\n\n",
        f"text\n\n{LINE}\nnot a signature\n",
        "text\n\n- n AAAAAAA=\n",
        "text\n\n—n AAAAAAA=\n",
        "text\n\n—  AAAAAAA=\n",
        "text\n\n— n\n",
        "text\n\n— n \n",
        "text\n\n— nAAAAAAA=\n",
        "text\n\n— n  AAAAAAA=\n",
        "text\n\n— n AAAAAAA= \n",
        "text\n\n— n AAAAAAA= x\n",
        "text\n\n—\u00a0n AAAAAAA=\n",
        "text\n\n— n+m AAAAAAA=\n",
        "text\n\n— n\u2003m AAAAAAA=\n",
        "text\n\n— n\u0085 AAAAAAA=\n",
        "text\n\n— n AAAAAA==\n",  # four bytes: a key ID and no signature
        "text\n\n— n AAAAAAB=\n",  # set bits behind the last byte
        "text\n\n— n AAAAAAA\n",
        "text\n\n— n AAAAAAA==\n",
        "text\n\n— n AAAA-AA=\n",
        "text\n\n— n ÄAAAAAA=\n",
        f"te\rxt\n\n{LINE}\n",
        f"te\txt\n\n{LINE}\n",
        f"te\0xt\n\n{LINE}\n",
        f"text\r\n\r\n{LINE}\r\n",
    ],
)
def test_what_is_no_note_is_refused(data: str):
    with pytest.raises(FormatError):
        parse_note(data.encode())


def test_the_line_that_these_cases_vary_is_well_formed():
    assert parse_note(f"text\n\n{LINE}\n".encode()).signatures == (NoteSignature("n", b"\0\0\0\0", b"\0"),)
    assert parse_note(f"te\x7fxt\n\n{LINE}\n".encode()).text == b"te\x7fxt\n"


@pytest.mark.parametrize("data", [b"\xff\n\n", b"te\xc3xt\n\n", b"\xed\xa0\x80\n\n", b"\xc0\xaf\n\n"])
def test_a_note_is_utf_8(data: bytes):
    with pytest.raises(FormatError, match="UTF-8"):
        parse_note(data + LINE.encode() + b"\n")


def test_the_number_of_signatures_is_bounded():
    assert SIGNATURES_MAX >= 16, "the specification wants at least 16 to be accepted"
    lines = f"{LINE}\n" * SIGNATURES_MAX
    assert len(parse_note(f"text\n\n{lines}".encode()).signatures) == SIGNATURES_MAX
    with pytest.raises(FormatError, match="101 signatures is refused"):
        parse_note(f"text\n\n{lines}{LINE}\n".encode())


def test_the_size_of_a_note_is_bounded():
    below = f"\n\n{LINE}\n".encode()
    fits = b"x" * (NOTE_SIZE_MAX - len(below)) + below
    assert len(parse_note(fits).text) == NOTE_SIZE_MAX - len(below) + 1
    with pytest.raises(FormatError, match="1000001 bytes is refused"):
        parse_note(b"x" + fits)


@pytest.mark.parametrize(
    "unwritable",
    [
        Note(b"no newline", (NoteSignature("n", b"\0" * 4, b"s"),)),
        Note(b"text\n", ()),
        Note(b"text\n", (NoteSignature("", b"\0" * 4, b"s"),)),
        Note(b"text\n", (NoteSignature("a b", b"\0" * 4, b"s"),)),
        Note(b"text\n", (NoteSignature("a\nb", b"\0" * 4, b"s"),)),
        Note(b"text\n", (NoteSignature("\ud800", b"\0" * 4, b"s"),)),
        Note(b"text\n", (NoteSignature("n", b"\0" * 4, b""),)),
        Note(b"text\n", (NoteSignature("n", b"\0" * 3, b"ss"),)),
        Note(b"\xff\n", (NoteSignature("n", b"\0" * 4, b"s"),)),
        Note(b"", (NoteSignature("n", b"\0" * 4, b"s"),)),
    ],
)
def test_what_would_not_be_read_back_is_not_written(unwritable: Note):
    with pytest.raises(FormatError):
        format_note(unwritable)


def test_unknown_signatures_are_ignored_even_if_they_share_a_name_or_a_key_id():
    stranger = OTHER_ALICE.sign(TEXT)
    same_id = NoteSignature("example.com/mallory", ALICE.key.key_id, b"x" * 64)
    data = signed(stranger, same_id, ALICE.sign(TEXT))
    opened = open_note(data, verifiers(ALICE))
    assert opened.verified == (ALICE.sign(TEXT),)
    assert opened.unknown == (stranger, same_id)
    assert opened.signature_by(ALICE.key) == ALICE.sign(TEXT)
    assert opened.signature_by(OTHER_ALICE.key) is None


def test_a_note_without_a_known_signature_is_refused():
    with pytest.raises(SignatureError, match="none of the known keys"):
        open_note(signed(OTHER_ALICE.sign(TEXT)), verifiers(ALICE))
    with pytest.raises(SignatureError, match="none of the known keys"):
        open_note(signed(ALICE.sign(TEXT)), [])


@pytest.mark.parametrize("wrong", [b"", b"x", b"x" * 63, b"x" * 64, b"x" * 65, b"\xff" * 64])
def test_a_wrong_signature_of_a_known_key_rejects_the_whole_note(wrong: bytes):
    line = NoteSignature(ALICE.key.name, ALICE.key.key_id, wrong or b"\0")
    for signatures in ((line,), (BOB.sign(TEXT), line), (line, BOB.sign(TEXT)), (ALICE.sign(TEXT), line)):
        with pytest.raises(SignatureError, match="alice does not verify"):
            open_note(signed(*signatures), verifiers(ALICE, BOB))


def test_a_signature_is_over_the_text_and_nothing_else():
    with pytest.raises(SignatureError):
        open_note(signed(ALICE.sign(TEXT), text=TEXT + b"more\n"), verifiers(ALICE))


def test_doubled_lines_count_once():
    opened = open_note(signed(ALICE.sign(TEXT), ALICE.sign(TEXT)), verifiers(ALICE))
    assert opened.verified == (ALICE.sign(TEXT),)
    assert opened.unknown == ()


def test_known_keys_that_collide_are_refused():
    with pytest.raises(KeyCollisionError, match="share their name and key ID"):
        open_note(signed(ALICE.sign(TEXT)), verifiers(ALICE, ALICE))
    twin = VerifierKey(ALICE.key.name, ALICE.key.key_id, SignatureType.ED25519, BOB.key.public_key)
    with pytest.raises(KeyCollisionError):
        open_note(signed(ALICE.sign(TEXT)), [*verifiers(ALICE), Ed25519Verifier(twin)])


def test_a_key_that_is_no_point_verifies_nothing():
    for public_key in (b"\xff" * 32, b"\x02" + b"\0" * 31):
        key = verifier_key(name="n", signature_type=SignatureType.ED25519, public_key=public_key)
        assert not Ed25519Verifier(key).verify(TEXT, ALICE.sign(TEXT).signature)


def test_an_ed25519_signature_has_no_second_form():
    # Adding the group order to s gives the same curve equation; RFC 8032 section 5.1.7 refuses it.
    order = 2**252 + 27742317777372353535851937790883648493
    signature = ALICE.sign(TEXT).signature
    s = int.from_bytes(signature[32:], "little") + order
    assert Ed25519Verifier(ALICE.key).verify(TEXT, signature)
    assert not Ed25519Verifier(ALICE.key).verify(TEXT, signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_ed25519_seed_has_32_bytes(length: int):
    with pytest.raises(FormatError, match="32 bytes"):
        Ed25519Signer.from_seed(name="n", seed=b"x" * length)


def test_a_verifier_key_is_name_key_id_and_typed_public_key():
    text = format_vkey(ALICE.key)
    name, key_id, material = text.split("+", 2)
    assert name == "example.com/alice"
    assert bytes.fromhex(key_id) == ALICE.key.key_id
    assert base64.b64decode(material) == b"\x01" + ALICE.key.public_key
    assert parse_vkey(text) == ALICE.key


def vkey(*, name: str = "n", material: bytes = b"\x01" + b"k" * 32) -> str:
    digest = note.sha256(name.encode() + b"\n" + material).hexdigest()[:8]
    return f"{name}+{digest}+{base64.b64encode(material).decode()}"


@pytest.mark.parametrize(("signature_type", "size"), [(0x01, 32), (0x04, 32), (0x06, 1312)])
def test_the_three_types_have_their_byte_and_their_size(signature_type: int, size: int):
    key = parse_vkey(vkey(material=bytes((signature_type,)) + b"k" * size))
    assert (key.name, int(key.signature_type), key.public_key) == ("n", signature_type, b"k" * size)
    with pytest.raises(FormatError, match=f"has {size} bytes"):
        parse_vkey(vkey(material=bytes((signature_type,)) + b"k" * (size + 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n",
        "n++",
        "n+00000000+",
        vkey(name=""),
        vkey(name="a b"),
        vkey(name="a\u3000b"),
        vkey(name="a\nb"),
        vkey(name="a\0b"),
        vkey(name="a+b"),
        vkey(material=b"\x01" + b"k" * 31),
        vkey(material=b"\x01" + b"k" * 33),
        vkey(material=b"\x01"),
        vkey(material=b"\x04" + b"k" * 31),
        vkey(material=b"\x06" + b"k" * 32),
        vkey(material=b"\x06" + b"k" * 1311),
        vkey(material=b"\x00" + b"k" * 32),
        vkey(material=b"\x02" + b"k" * 91),
        vkey(material=b"\xff" + b"k" * 32),
        vkey() + "\n",
        " " + vkey(),
        vkey().replace("n+", "m+"),
        vkey().replace("n+", "n+0"),
        vkey()[:-1],
        vkey() + "=",
        vkey(material=b"\x01" + b"\xff" * 32).replace("/", "_"),
        vkey().upper(),
    ],
)
def test_another_verifier_key_is_refused(text: str):
    with pytest.raises(FormatError):
        parse_vkey(text)


def test_the_key_ids_of_one_public_key_differ_by_type_and_name():
    ids = {
        verifier_key(name=name, signature_type=signature_type, public_key=b"k" * 32).key_id
        for name in ("a", "b")
        for signature_type in (SignatureType.ED25519, SignatureType.ED25519_COSIGNATURE)
    }
    assert len(ids) == 4


def test_signature_lines_alone_are_no_note():
    line = format_signature_lines((NoteSignature("n", b"abcd", b"signature"),))
    for data in (line, b"\n" + line, line + line, b"text\n\n" + line[:-1], b"text\n\n" + line[:-1] + b" "):
        with pytest.raises(FormatError):
            parse_note(data)
    assert parse_note(b"text\n\n" + line).text == b"text\n"


def test_signature_lines_alone_are_written_only_if_they_are_read_back():
    line = NoteSignature("n", b"abcd", b"signature")
    lines = (line, NoteSignature("m", b"\0\0\0\0", b"\xff"))
    data = format_signature_lines(lines)
    assert data == "\N{EM DASH} n YWJjZHNpZ25hdHVyZQ==\n\N{EM DASH} m AAAAAP8=\n".encode()
    assert parse_signature_lines(data) == lines
    for unwritable in (
        (),
        (NoteSignature("n m", b"abcd", b"s"),),
        (NoteSignature("n", b"abcd", b""),),
        (NoteSignature("n AAAAAP8=\n\N{EM DASH} m", b"abcd", b"s"),),  # one line that would be read as two
        (line,) * (SIGNATURES_MAX + 1),
    ):
        with pytest.raises(FormatError):
            format_signature_lines(unwritable)
    assert len(parse_signature_lines(format_signature_lines((line,) * SIGNATURES_MAX))) == SIGNATURES_MAX
    for wrong in (b"", b"\n", data[:-1], b"\n" + data, data + b"\n", b"\xff\n", data.replace(b"\n", b"\r\n")):
        with pytest.raises(FormatError):
            parse_signature_lines(wrong)


def test_a_name_without_utf_8_is_refused():
    with pytest.raises(FormatError, match="not valid Unicode"):
        verifier_key(name="\udc80", signature_type=SignatureType.ED25519, public_key=b"k" * 32)


@pytest.mark.parametrize(
    "text", ["A", "AA", "AA=", "AB==", "AAB=", "AA===", "AAAA====", "AA==AA==", " AAAA", "AAAA\n", "AA-_", "Ä===", "="]
)
def test_base64_has_one_form(text: str):
    with pytest.raises(FormatError, match="canonical"):
        decode_base64(text)


def test_base64_is_that_of_the_standard():
    assert encode_base64(b"\xfb\xff\x00") == "+/8A"
    assert decode_base64("+/8A") == b"\xfb\xff\x00"
    assert decode_base64("") == b""
