"""The page that checks one proof: it takes what holds, refuses the rest, and never says more than one proof shows."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import pytest

import affidavit_verify
from affidavit.errors import AffidavitError
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.reader import LogReader
from affidavit.prove.proof import SLOTS, make_proof, verify_proof_file, with_fields
from affidavit.text import parse_b64u
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.cosignature import Ed25519Cosigner, MlDsa44Cosigner, parse_vkeys_file
from affidavit.tlog.note import (
    Ed25519Signer,
    NoteSignature,
    encode_base64,
    format_signature_lines,
    format_vkey,
    parse_note,
)
from affidavit.tlog.promise import PromisedRecord, format_promise, make_promises
from affidavit.tlog.proof import TlogProof, format_proof, parse_proof
from tests.attacks.insider import LogKeys
from tests.browser.page import SAYS_TOO_MUCH, Page
from tests.integration.prove.test_disclosure import ask
from tests.unit.seal.test_desk import Bench
from tests.verifier.ledger_maker import HEADER_SLOTS, LogMaker, b64u, commitments, field_root, small_ledger

pytestmark = pytest.mark.timeout(300)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
VKEYS = GOLDEN / "keys/public/default.vkeys"
ALL = tuple(f"{block}:{slot}" for block, slots in SLOTS.items() for slot in slots)


def golden_proof(index: int, log: str = "default") -> bytes:
    layout = DataLayout(GOLDEN / "data").log(log)
    return make_proof(layout, LogReader(layout), index=index, head=layout.checkpoint.read_bytes()).data


def jcs(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def with_extra(proof: bytes, **changes: Any) -> bytes:
    extra = json.loads(parse_proof(proof).extra or b"") | changes
    return with_raw_extra(proof, jcs(extra))


def with_raw_extra(proof: bytes, extra: bytes) -> bytes:
    lines = proof.split(b"\n")
    lines[1] = b"extra " + base64.b64encode(extra)
    return b"\n".join(lines)


def with_head(proof: bytes, head: bytes) -> bytes:
    return proof.partition(b"\n\n")[0] + b"\n\n" + head


def holds(proof: bytes, vkeys: Path) -> bool:
    """The verdict of both other verifiers, who must agree."""
    try:
        verify_proof_file(proof, vkeys=parse_vkeys_file(vkeys.read_bytes()))
    except AffidavitError:
        ours = False
    else:
        ours = True
    first, second = vkeys.read_text().split("\n")[:2]
    try:
        affidavit_verify.verify_proof(proof, affidavit_verify.parse_vkeys((first, second)))
    except affidavit_verify.Damage:
        return ours
    assert ours, "the other two do not agree"
    return True


@pytest.fixture(scope="module")
def disclosed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """A proof of a call's intent that discloses every field, as a ledger with keys gives it; and the log's keys."""
    bench = Bench(tmp_path_factory.mktemp("bench") / "bench")
    layout = bench.installation.data.log("default")
    leaf = bench.leaves["llm.request"]
    fields = ask(bench, leaf, *ALL)
    made = make_proof(layout, LogReader(layout), index=leaf, head=layout.checkpoint.read_bytes())
    path = tmp_path_factory.mktemp("keys") / "default.vkeys"
    path.write_text("".join(f"{vkey}\n" for vkey in bench.installation.sealer.vkeys["default"]))
    return with_fields(made, fields).data, path


# --- what holds -------------------------------------------------------------------------------------------------------


def test_proofs_of_a_real_ledger_hold_and_nothing_is_said_of_the_log(page: Page) -> None:
    for log in ("default", "second", "system"):
        vkeys = GOLDEN / f"keys/public/{log}.vkeys"
        size = parse_checkpoint(parse_note((GOLDEN / f"data/logs/{log}/tree/checkpoint").read_bytes()).text).size
        for index in sorted({0, 1, size // 2, size - 1}):
            proof = golden_proof(index, log)
            assert holds(proof, vkeys)
            answer = page.check(proof, vkeys)
            assert (answer.verdict, answer.heading) == ("holds", "One entry is in the log"), answer.text
            assert f"Entry {index} is in the head of size {size} of this log" in answer.text
            assert "It says nothing of any other entry" in answer.text
            assert "Another one may have been altered" in answer.text
            assert SAYS_TOO_MUCH.search(answer.text) is None, answer.text
    assert page.reported() == []


def test_proofs_of_tall_and_ragged_trees_hold(page: Page, tmp_path: Path) -> None:
    log = small_ledger().logs["alpha"]
    vkeys = log.signer.write_vkeys(tmp_path / "alpha.vkeys")
    for index in (0, 1, 5, 127, 255, 256, 282, 283):
        assert page.check(log.proof(index), vkeys).verdict == "holds"


def test_every_disclosed_value_is_shown(page: Page, disclosed: tuple[bytes, Path]) -> None:
    proof, vkeys = disclosed
    assert holds(proof, vkeys)
    answer = page.check(proof, vkeys)
    assert answer.verdict == "holds"
    rows = "[...document.querySelectorAll('#fields tr')]"
    cells = page.browser.evaluate(f"{rows}.map(row => [...row.cells].map(cell => cell.textContent))")
    assert [f"{block}:{slot}" for block, slot, _ in cells] == list(ALL)
    shown = {f"{block}:{slot}": json.loads(value) for block, slot, value in cells}
    assert shown["header:model"] == ["gpt-4o", None]
    assert shown["body:identity"]["user"] == "ann"


# --- what does not ----------------------------------------------------------------------------------------------------


def refuses(page: Page, vkeys: Path, proofs: list[bytes]) -> None:
    for number, proof in enumerate(proofs):
        assert not holds(proof, vkeys), number
        answer = page.check(proof, vkeys) if number == 0 else page.again(proof)
        assert (answer.verdict, answer.heading) == ("fails", "This proof does not hold"), (number, proof[:300])
        assert not answer.accepts, number
        assert SAYS_TOO_MUCH.search(answer.text) is None, answer.text


def test_extra_that_says_something_else(page: Page, disclosed: tuple[bytes, Path]) -> None:
    """Attack 33."""
    proof, other = golden_proof(5), golden_proof(6)
    leaf = json.loads(parse_proof(proof).extra or b"")["leaf"]
    foreign = json.loads(parse_proof(other).extra or b"")["leaf"]
    made_up = {"block": "header", "slot": 0, "value": "llm.request", "salt": "A" * 43, "others": ["A" * 43] * 15}
    changed = [
        *(with_extra(proof, leaf=text) for text in (foreign, leaf + " ", "", "{}", leaf[:-1])),
        *(with_extra(proof, **more) for more in ({"note": "believe me"}, {"v": 2}, {"v": True}, {"v": "1"})),
        *(with_extra(proof, fields=fields) for fields in ([made_up], [], {}, [made_up] * 3, None)),
        with_raw_extra(proof, (parse_proof(proof).extra or b"") + b" "),
        with_raw_extra(proof, b'{"leaf":"x","leaf":' + json.dumps(leaf).encode() + b',"v":1}'),
        with_raw_extra(proof, b"[" * 400_000),
        with_raw_extra(proof, b'{"leaf":"\\ud800","v":1}'),
        with_raw_extra(proof, b"\xef\xbb\xbf" + (parse_proof(proof).extra or b"")),
    ]
    refuses(page, VKEYS, changed)
    real, vkeys = disclosed
    extra = json.loads(parse_proof(real).extra or b"")
    for changes in (
        {"value": ["gpt-5", None]},
        {"slot": 5},
        {"slot": 99},
        {"slot": -1},
        {"slot": 2**53},
        {"block": "body"},
        {"block": "__proto__"},
        {"salt": "A" * 43},
        {"salt": "A" * 42 + "B"},
        {"others": extra["fields"][6]["others"][:-1]},
        {"others": extra["fields"][6]["others"][::-1]},
        {"more": 1},
    ):
        fields = [*extra["fields"]]
        fields[6] = fields[6] | changes
        refuses(page, vkeys, [with_extra(real, fields=fields)])


def test_paths_of_the_wrong_shape(page: Page) -> None:
    """Attack 34."""
    proof = parse_proof(golden_proof(5))
    hashes, size = proof.hashes, parse_checkpoint(parse_note(proof.head).text).size

    def made(**changes: Any) -> bytes:
        return format_proof(TlogProof(**({name: getattr(proof, name) for name in proof.__struct_fields__} | changes)))

    empty = LogKeys.stolen(GOLDEN / "keys", "default").sign(0, sha256(b"").digest())
    refuses(
        page,
        VKEYS,
        [
            *(made(hashes=path) for path in ((*hashes, hashes[0]), (hashes[0], *hashes), hashes * 6)),
            *(made(hashes=path) for path in (hashes[:-1], hashes[1:], (), hashes[::-1])),
            *(made(index=index) for index in (4, 6, size, size + 1, 2 * size, 2**62, 2**63 - 1)),
            made(head=empty, index=0, hashes=()),
            golden_proof(5).replace(b"index 5", b"index 05"),
            golden_proof(5).replace(b"index 5", b"index 9999999999999999999999"),
            golden_proof(5).replace(b"@v1", b"@v2"),
            golden_proof(5) + b"\n",
            b"",
            b"\xff" * 1000,
        ],
    )


def lines_of(head: bytes) -> tuple[bytes, list[bytes]]:
    text, _, lines = head.partition(b"\n\n")
    return text + b"\n\n", lines.splitlines(keepends=True)


def line(name: bytes, blob: bytes) -> bytes:
    return "\u2014 ".encode() + name + b" " + encode_base64(blob).encode() + b"\n"


def test_signature_lines_that_only_look_right(page: Page) -> None:
    """Attack 32, on the head of a proof; and either key alone."""
    proof = golden_proof(5)
    head = parse_proof(proof).head
    text, (first, second) = lines_of(head)
    origin, stated = text.split(b"\n")[0], parse_checkpoint(parse_note(head).text)
    strange, strange_cosigned = lines_of(LogKeys.made_up(origin.decode()).sign(stated.size, stated.root))[1]
    blobs = [base64.b64decode(one.split(b" ")[2]) for one in (first, second, strange, strange_cosigned)]
    own, cosigned, odd, odd_cosigned = blobs
    variants = [
        *([strange, second], [first, strange_cosigned], [first, second, strange], [strange, strange_cosigned]),
        *([line(origin, own[:4] + odd[4:]), second], [first, line(origin, cosigned[:4] + odd_cosigned[4:])]),
        *([first], [second], [first, first], [second, first], [first, second, second]),
        [first, line(origin, cosigned[:4] + own[4:])],
        [line(origin, own[:4] + cosigned[4:]), second],
        [line(origin, own[:4] + cosigned[12:]), second],
        [first, line(origin, cosigned[:4] + b"\xff" * 8 + cosigned[12:])],
        [first, line(origin, cosigned[:4] + cosigned[4:11] + bytes([cosigned[11] ^ 1]) + cosigned[12:])],
        [first, line(origin + b"x", cosigned)],
        [first, line(origin, cosigned[:-1])],
    ]
    refuses(page, VKEYS, [with_head(proof, text + b"".join(lines)) for lines in variants])
    swapped = bytearray(cosigned)
    assert swapped[-4] >= 2, "this signature has two hints in its first polynomial"
    swapped[-84], swapped[-83] = swapped[-83], swapped[-84]  # one signature would have two spellings
    variants.append([first, line(origin, bytes(swapped))])
    refuses(page, VKEYS, [with_head(proof, text + b"".join(variants[-1]))])
    extended = text[:-1] + b"more\n\n" + first + second
    refuses(page, VKEYS, [with_head(proof, extended), with_head(proof, head.replace(b"\n", b"\r\n"))])


def test_base64_has_one_spelling(page: Page) -> None:
    proof = next(made for made in map(golden_proof, range(20)) if made.split(b"\n")[1].endswith(b"=="))
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    lines, changed = proof.split(b"\n"), []
    for number, one in enumerate(lines):
        if one.endswith(b"="):
            content = one.rstrip(b"=")
            other = content[:-1] + alphabet[alphabet.index(content[-1]) + 1 :][:1] + one[len(content) :]
            changed.append(b"\n".join([*lines[:number], other, *lines[number + 1 :]]))
    assert len(changed) > 4
    refuses(page, VKEYS, changed)


def test_keys_that_are_none_or_of_another_log(page: Page) -> None:
    proof, lines = golden_proof(5), VKEYS.read_bytes().splitlines(keepends=True)
    name, key_id, material = lines[0].split(b"+", 2)
    wrong = [
        (GOLDEN / "keys/public/second.vkeys").read_bytes(),
        (GOLDEN / "keys/public/system.vkeys").read_bytes(),
        *(b"".join(some) for some in (lines[:1], lines[1:], lines[::-1], [*lines, lines[0]], [lines[0], lines[0]])),
        b"".join(lines)[:-1],
        b"".join([b"+".join([name, b"00000000", material]), lines[1]]),
        b"".join([b"+".join([name + b"x", key_id, material]), lines[1]]),
        b"",
        b"\xff\n\xff\n",
    ]
    for vkeys in wrong:
        answer = page.check(proof, vkeys)
        assert (answer.verdict, answer.accepts) == ("fails", False), vkeys
    assert page.check(proof, VKEYS).verdict == "holds"


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_are_never_accepted(page: Page, disclosed: tuple[bytes, Path], seed: int) -> None:
    draw = random.Random(seed)
    for proof, vkeys in ((golden_proof(5), VKEYS), disclosed):
        page.check(proof, vkeys)
        for _ in range(120):
            changed = mutated(proof, draw)
            answer = page.again(changed)
            if answer.accepts:
                assert holds(changed, vkeys), changed
            else:
                assert answer.verdict == "fails"
                assert not holds(changed, vkeys), changed


def mutated(proof: bytes, draw: random.Random) -> bytes:
    """One change: of a byte, of a character that base64 has, of a stretch, of a line."""
    at, kind = draw.randrange(len(proof)), draw.randrange(6)
    if kind == 0:
        return proof[:at] + bytes([proof[at] ^ draw.randrange(1, 256)]) + proof[at + 1 :]
    if kind <= 2:  # what stays readable gets furthest
        return proof[:at] + draw.choice(b"ABab019+/=").to_bytes(1, "big") + proof[at + 1 :]
    if kind == 3:
        end = min(len(proof), at + draw.randrange(1, 40))
        return proof[:at] + proof[end:]
    if kind == 4:
        return proof[:at] + proof[at : at + draw.randrange(1, 40)] + proof[at:]
    lines = proof.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def test_a_fresh_choice_forgets_the_last_answer(page: Page) -> None:
    assert page.check(golden_proof(5), VKEYS).verdict == "holds"
    answer = page.again(golden_proof(5).replace(b"index 5", b"index 4"))
    assert not answer.accepts
    assert page.browser.evaluate("document.getElementById('facts').textContent") == ""
    page.browser.evaluate("document.getElementById('again').click()")
    page.browser.until("document.documentElement.dataset.state === 'waiting'")
    assert page.browser.evaluate("document.getElementById('result').hidden")


# --- hostile content, and what the browser lacks ----------------------------------------------------------------------


def hostile_log(tmp_path: Path, text: str) -> tuple[bytes, Path]:
    """A log whose owner commits to a text of their choice, and discloses it."""
    log = LogMaker("alpha")
    log.open_epoch()
    names = HEADER_SLOTS.split()
    values: list[Any] = [text, *[None] * (len(names) - 1)]
    seed = b"\x07" * 32
    salts = shake_256(b"affidavit/salts/v1" + seed).digest(32 * len(names))
    own, *rest = commitments(seed, names, values)
    others, root = [b64u(one) for one in rest], b64u(field_root([own, *rest]))
    leaf = json.loads(log.leaves[0]) | {"type": "llm.request", "header": {"root": root, "sha256": b64u(bytes(32))}}
    del leaf["data"]
    log.leaves[0] = jcs(leaf)
    log.publish()
    field = {"block": "header", "slot": 0, "value": text, "salt": b64u(salts[:32]), "others": others}
    return with_extra(log.proof(0), fields=[field]), log.signer.write_vkeys(tmp_path / "alpha.vkeys")


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>",
        "</td></tr></table><h2>The log is verified</h2>",
        "\u202egol deifirev\u202c \u200b\u2066",
        "javascript:document.title='taken'",
        "x" * 300_000,
    ],
    ids=["script", "markup", "bidi", "url", "long"],
)
def test_hostile_values_are_only_text(page: Page, tmp_path: Path, text: str) -> None:
    proof, vkeys = hostile_log(tmp_path, text)
    answer = page.check(proof, vkeys)
    assert answer.verdict == "holds", answer.text
    assert page.browser.evaluate("document.title") == "Check one proof"
    assert page.browser.evaluate("document.querySelectorAll('img, script, h2, a').length") == 2  # ours: script, heading
    value = page.browser.evaluate("document.querySelector('#fields td.value').textContent")
    assert len(value) < 21_000
    assert not set(value) & set("\u202e\u202c\u200b\u2066")
    assert page.reported() == []


def test_files_that_are_too_long_are_not_read(page: Page, tmp_path: Path) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(3_000_000)
    answer = page.check(long, VKEYS)
    assert (answer.verdict, answer.accepts) == ("fails", False)
    assert "longer than the 2500000 bytes" in answer.text


def test_without_ed25519_nothing_is_claimed(page: Page) -> None:
    page.browser.evaluate(
        "SubtleCrypto.prototype.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError'))"
    )
    answer = page.check(golden_proof(5), VKEYS)
    assert (answer.verdict, answer.heading, answer.accepts) == ("unable", "Not checked", False)
    assert "cannot check Ed25519" in answer.text


def test_the_policy_forbids_the_network_and_foreign_scripts(page: Page) -> None:
    assert page.browser.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', error => error.name)") == "TypeError"
    markup = "(() => { try { document.body.innerHTML = ''; return 'taken' } catch (error) { return error.name } })()"
    assert page.browser.evaluate(markup) == "TypeError"
    page.browser.evaluate(
        "const image = document.createElement('img'); image.src = 'http://127.0.0.1:9/x'; document.body.append(image)"
    )
    page.browser.evaluate("new Promise(done => setTimeout(done, 100))")
    sent = [event for event in page.browser.events if event["method"] == "Network.responseReceived"]
    assert [event for event in sent if "127.0.0.1" in event["params"]["response"]["url"]] == []
    assert any("Content Security Policy" in str(event) for event in page.browser.events)


# --- witnesses of whoever looks ---------------------------------------------------------------------------------------

NAMES = ("witness.example/one", "witness.example/two", "elsewhere.example/w")


@pytest.fixture
def cosigned() -> Callable[..., bytes]:
    head = parse_proof(golden_proof(5)).head

    def made(*signatures: NoteSignature) -> bytes:
        return head + format_signature_lines(signatures) if signatures else head

    return made


def witness(number: int) -> Ed25519Cosigner:
    return Ed25519Cosigner.from_seed(name=NAMES[number], seed=bytes([number + 1]) * 32)


def text_of_head() -> bytes:
    return parse_note(parse_proof(golden_proof(5)).head).text


def policy_of(*lines: str) -> bytes:
    return "".join(f"{one}\n" for one in lines).encode()


def test_witnesses_that_cosigned_this_head(page: Page, cosigned: Callable[..., bytes]) -> None:
    one, two = witness(0), witness(1)
    third = MlDsa44Cosigner.from_seed(name=NAMES[2], seed=b"\x09" * 32)
    keys = [format_vkey(each.key) for each in (one, two, third)]
    lines = [each.sign(text_of_head(), 1_790_000_000) for each in (one, third)]
    named = [f"witness w{number} {key}" for number, key in enumerate(keys)]
    for policy, words in (
        (policy_of(*keys), "This very head was cosigned by witness.example/one"),
        (policy_of(*named, "group g 2 w0 w1 w2", "quorum g"), "The quorum of your policy is met"),
        (policy_of(*named, "group g all w0 w1 w2", "quorum g"), "The quorum of your policy is not met"),
        (policy_of(named[1], "quorum w1"), "None of the witnesses that you named cosigned this head"),
    ):
        answer = page.check(golden_proof(5), VKEYS, policy=policy, witnessed=cosigned(*lines))
        assert answer.verdict == "holds", answer.text
        assert words in answer.text
        assert SAYS_TOO_MUCH.search(answer.text) is None


def test_witnesses_that_count_for_nothing(page: Page, cosigned: Callable[..., bytes]) -> None:
    """Attack 35: the log's own key as a witness, and one operator twice."""
    keys = LogKeys.stolen(GOLDEN / "keys", "default")
    seed = (GOLDEN / "keys/signer/default/ed25519").read_bytes()
    own = Ed25519Cosigner.from_seed(name=NAMES[0], seed=seed)
    twin = MlDsa44Cosigner.from_seed(name=NAMES[1], seed=b"\x05" * 32)
    assert keys is not None
    policy = policy_of(f"witness w {format_vkey(own.key)}", "quorum w")
    answer = page.check(golden_proof(5), VKEYS, policy=policy, witnessed=cosigned(own.sign(text_of_head(), 5)))
    assert "None of the witnesses that you named" in answer.text
    two = witness(1)
    both = [each.sign(text_of_head(), 5) for each in (two, twin)]
    policy = policy_of(
        f"witness a {format_vkey(two.key)}", f"witness b {format_vkey(twin.key)}", "group g 2 a b", "quorum g"
    )
    answer = page.check(golden_proof(5), VKEYS, policy=policy, witnessed=cosigned(*both))
    assert "The quorum of your policy is not met" in answer.text


def test_witness_lines_that_do_not_hold_and_two_trees_of_one_size(page: Page, cosigned: Callable[..., bytes]) -> None:
    one = witness(0)
    good = one.sign(text_of_head(), 5)
    vkey = policy_of(format_vkey(one.key))
    bad = NoteSignature(good.name, good.key_id, good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    answer = page.check(golden_proof(5), VKEYS, policy=vkey, witnessed=cosigned(bad))
    assert (answer.verdict, answer.accepts) == ("fails", False)
    stated = parse_checkpoint(text_of_head())
    keys = LogKeys.stolen(GOLDEN / "keys", "default")
    other = keys.sign(stated.size, b"\x01" * 32)
    answer = page.check(golden_proof(5), VKEYS, policy=vkey, witnessed=other)
    assert (answer.verdict, answer.accepts) == ("fails", False)
    assert "two different trees of one size" in answer.text
    answer = page.check(golden_proof(5), VKEYS, policy=vkey, witnessed=keys.sign(stated.size + 1, b"\x01" * 32))
    assert answer.verdict == "holds"
    assert "This page cannot connect the two" in answer.text


# --- a promise --------------------------------------------------------------------------------------------------------


def promise_of(leaf: dict[str, Any], origin: str, **changes: Any) -> str:
    signer = Ed25519Signer.from_seed(name="a.example/system/promise", seed=b"p" * 32)
    facts = {"origin": origin, "id": parse_b64u(leaf["id"]), "digest": parse_b64u(leaf["src"]["digest"])} | changes
    record = PromisedRecord(**facts, body_mac=b"m" * 32, blind=b"b" * 32)
    other = PromisedRecord(**(facts | {"id": b"0" * 16}), body_mac=b"m" * 32, blind=b"b" * 32)
    shard = f"{leaf['src']['id']}.{leaf['src']['boot']}"
    return format_promise(make_promises([record, other], shard=shard, seal_by_s=1_790_000_000, signer=signer)[0])


def test_a_promise_is_this_entry_or_another(page: Page) -> None:
    made = (json.loads(json.loads(parse_proof(golden_proof(index)).extra or b"")["leaf"]) for index in range(5, 20))
    index, leaf = next((number, leaf) for number, leaf in enumerate(made, 5) if "digest" in leaf["src"])
    origin = parse_checkpoint(text_of_head()).origin
    token = promise_of(leaf, origin)
    for text in (token, f"HTTP/1.1 200 OK\r\nX-Affidavit-Promise: {token}\r\n"):
        answer = page.check(golden_proof(index), VKEYS, promise=text.encode())
        assert answer.verdict == "holds"
        assert "This entry is the one that you were promised. It was due by 2026-09-21" in answer.text
        assert "Who signed the promise was not checked here" in answer.text
        assert SAYS_TOO_MUCH.search(answer.text) is None
    for changed in (
        promise_of(leaf, origin + "x"),
        promise_of(leaf, origin, digest=b"d" * 32),
        promise_of(leaf, origin, id=b"\x01" * 16),
    ):
        answer = page.check(golden_proof(index), VKEYS, promise=changed.encode())
        assert answer.verdict == "holds"
        assert "The promise is of another record" in answer.text
        assert "that you were promised" not in answer.text
    for wrong in (b"", b"x-affidavit-promise: AAAA", token[:-90].encode() + b"\n", token[2:].encode(), b"\xff" * 400):
        answer = page.check(golden_proof(index), VKEYS, promise=wrong)
        assert (answer.verdict, answer.accepts) == ("fails", False), wrong


# --- for everybody ----------------------------------------------------------------------------------------------------


def test_it_is_used_with_the_keyboard_and_heard(page: Page) -> None:
    focused = []
    for _ in range(4):
        page.browser.press("Tab")
        focused.append(page.browser.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert focused[:4] == ["proof", "vkeys", "SUMMARY", "SUMMARY"]
    page.check(golden_proof(5), VKEYS)
    live = page.browser.evaluate("document.getElementById('live').textContent")
    assert live.startswith("One entry is in the log. Entry 5 ")
    nodes = page.browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node}
    assert ("heading", "One entry is in the log") in roles
    assert ("button", "Print") in roles
    unnamed = [role for role, name in roles if role in {"button", "textbox"} and not name]
    assert unnamed == []


def test_it_can_be_looked_at(page: Page, disclosed: tuple[bytes, Path]) -> None:
    """Pictures of every state in both schemes, in build/page/, for somebody's eyes; here, that nothing is cut off."""
    place = Path("build/page")
    place.mkdir(parents=True, exist_ok=True)
    proof, vkeys = disclosed
    for scheme in ("light", "dark"):
        page.browser.scheme(scheme)
        page.reload()
        page.browser.picture(place / f"{scheme}-empty.png")
        page.check(proof, vkeys)
        page.browser.picture(place / f"{scheme}-holds.png")
        page.browser.picture(place / f"{scheme}-holds-narrow.png", width=400)
        assert page.browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.again(proof.replace(b"index ", b"index 1"))
        page.browser.picture(place / f"{scheme}-fails.png")
