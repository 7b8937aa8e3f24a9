#!/usr/bin/env python3
"""Check an affidavit ledger, or one proof out of it, without any code of affidavit.

    python3 affidavit_verify.py [DIR] [--vkey FILE] [--pin CHECKPOINT]... [--policy FILE] [--promise FILE]...
                                [--root FILE [--manifest FILE]...]
                                [--tsa-roots FILE] [--max-age AGE] [--require-anchor] [--json]
    python3 affidavit_verify.py FILE.tlog-proof --vkey FILE [--json]
    python3 affidavit_verify.py FILE.tlog-proof --root FILE [--manifest FILE]... [--json]
    python3 affidavit_verify.py FILE.broken-promise.json --vkey FILE [--json]
    python3 affidavit_verify.py --bundle DIR --vkey FILE [--json]

This is a second implementation, written from docs/formats.md and the C2SP specifications that it names, in one file
and with nothing but the standard library of Python (3.9 or newer), so that whoever must believe a ledger can read what
they run. It only reads.

Promise. For a data directory it gives each log six verdicts and names what it found:

    integrity      every byte belongs to the newest head, and both keys of the log signed each head that is kept
    anchor         a head that somebody else kept (--pin), or that witnesses of your choice cosigned (--policy), is a
                   head of this very tree
    completeness   the numbers that each source gave its records have no hole; sources gave the signs of life that they
                   promised, and ended with a word; calls have outcomes; epochs and roster agree with what is here; no
                   promise that a client holds (--promise) was broken; a provider's own counts, where they were
                   recorded, have nothing more
    time           timestamps of authorities that --tsa-roots vouches for bound the times that leaves state; what
                   sources say of their own clocks
    authority      the configuration on disk is the one on record; keys change, and act, as the log and its root key
                   (--root) say; who had to approve did; capture points that have keys signed the records that are here
    erasure        no row of a key sheet was blanked or changed without a leaf that says so

What none of this proves: that a call which never passed a capture point was recorded; that what was recorded is true;
that nobody else was shown another tree, unless a pin says so. It holds no content key, so it does not look inside
header blocks, bodies or key rows: it proves that they are the bytes that the log committed to. A proof shows that one
entry is in one tree, and says nothing of the other entries.

Keys. The two verifier keys of the system log come from --vkey, else from $AFFIDAVIT_KEYS/public/system.vkeys, and never
from the directory that is being checked. The keys of project logs come from the system log. Without keys integrity is
NOT ASSESSED. With --root they come from the manifest that the root key signed, and which keys are revoked does, too;
whoever keeps the manifests that they were given, and gives all of them, cannot be shown an older one as the newest.

Exit codes: 0 integrity is OK and nothing is FAIL (or: the proof holds); 1 anything else; 2 usage; 3 --require-anchor
was given and the anchor is not OK. Of one proof nobody can be told that a log is verified: --pin and --require-anchor
are refused with it.

The order of this file is the order of an argument: verdicts (1), signatures (2, 3), heads (4), trees (5), files (6),
leaves (7), what leaves say of the log (8), unpublished parts (9), one log (10), witnesses and policies (10a), the whole
directory (11), one proof (12), a bundle (13), timestamps (14), and the command (15).
"""

# Exceptions from the house's rules, for the whole file:
# ruff: noqa: B905, RUF007
#   Python 3.9 has neither zip(strict=) nor pairwise, and who must check may have nothing newer.
# ruff: noqa: PTH110, PTH111, PTH112, PTH113, PTH118, PTH123, PLR2004
#   Files are opened with flags that pathlib does not know; the numbers of a format stand beside their field.
# ruff: noqa: D101, D102, D103, ANN401, TRY301
#   Where the name is the sentence no second one follows; JSON is Any until it was checked; a finding is raised where it
#   is made and caught where its log is known.

from __future__ import annotations

import argparse
import binascii
import hashlib
import io
import json
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

# ----------------------------------------------------------------------------------------------------------------------
# 1. Verdicts and findings
# ----------------------------------------------------------------------------------------------------------------------

AXES = ("integrity", "anchor", "completeness", "time", "authority", "erasure")
OK, NOT_ASSESSED, WARN, FAIL = "OK", "NOT ASSESSED", "WARN", "FAIL"
SEVERITY = {OK: 0, NOT_ASSESSED: 1, WARN: 2, FAIL: 3}

DOES_NOT_PROVE = {
    "integrity": "that somebody else saw this head, or that what was recorded is true",
    "anchor": "anything about leaves beyond the newest head that others vouch for",
    "completeness": "that a call which never passed a capture point was recorded",
    "time": "more than the bounds that timestamps give: within them clocks are the recorder's own",
    "authority": "that a recorded change was a wise one",
    "erasure": "that no copy of a destroyed key exists elsewhere",
}

FINDINGS_EACH_MAX = 20  # spelt out for each (axis, verdict, code, log); the rest are counted, for a ruined log has many


class Finding(NamedTuple):
    axis: str
    verdict: str
    code: str
    log: str | None
    what: str


class Report:
    """All findings of a run; the verdict on an axis is the worst finding on it, and OK where there is none."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._counts: dict[tuple[str, str, str, str | None], int] = {}
        self._worst: dict[tuple[str, str | None], str] = {}
        self.forks: list[dict[str, Any]] = []  # signed heads that contradict each other

    def add(self, axis: str, verdict: str, code: str, log: str | None, what: str) -> None:
        kind = (axis, verdict, code, log)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if SEVERITY[verdict] > SEVERITY[self._worst.get((axis, log), OK)]:
            self._worst[(axis, log)] = verdict
        if self._counts[kind] <= FINDINGS_EACH_MAX:
            self._findings.append(Finding(axis, verdict, code, log, printable(what)))

    def fail(self, code: str, log: str | None, what: str, axis: str = "integrity") -> None:
        self.add(axis, FAIL, code, log, what)

    def warn(self, code: str, log: str | None, what: str, axis: str = "integrity") -> None:
        self.add(axis, WARN, code, log, what)

    def take(self, other: Report, called: Callable[[str], str], place: str) -> None:
        """The findings on one shard, among those of all: its logs under the names that they have there."""
        for axis, verdict, code, log, what in other._findings:
            self.add(axis, verdict, code, called(log) if log else None, place + what)
        for (axis, verdict, code, log), count in other._counts.items():
            kind = (axis, verdict, code, called(log) if log else None)
            self._counts[kind] += max(count - FINDINGS_EACH_MAX, 0)
        self.forks += [{**fork, "log": called(fork["log"])} for fork in other.forks]

    def verdict(self, axis: str, log: str | None) -> str:
        return self._worst.get((axis, log), OK)

    def overall(self, axis: str) -> str:
        return max((v for (a, _), v in self._worst.items() if a == axis), key=SEVERITY.__getitem__, default=OK)

    def findings(self) -> list[Finding]:
        """Worst first; what was only counted comes as one line of its kind."""
        uncounted = [
            Finding(*kind, f"and {count - FINDINGS_EACH_MAX} more of this kind")
            for kind, count in self._counts.items()
            if count > FINDINGS_EACH_MAX
        ]
        return sorted(self._findings + uncounted, key=lambda f: (-SEVERITY[f.verdict], AXES.index(f.axis)))


def printable(text: str) -> str:
    """Names are chosen by whoever wrote the directory; no control sequence in one may reach a terminal."""
    return text.encode("unicode_escape").decode("ascii")


class Damage(Exception):  # noqa: N818 - it is what was found, not what went wrong in here
    """Something is not what the format says: caught where the log that it concerns is known, and made a finding."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


# ----------------------------------------------------------------------------------------------------------------------
# 2. Ed25519 (RFC 8032), verification only
# ----------------------------------------------------------------------------------------------------------------------

Point = tuple[int, int, int, int]  # extended homogeneous coordinates X, Y, Z, T with x = X/Z, y = Y/Z, x*y = T/Z

P25519 = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D25519 = -121665 * pow(121666, -1, P25519) % P25519
SQRT_MINUS_1 = pow(2, (P25519 - 1) // 4, P25519)
NEUTRAL: Point = (0, 1, 1, 0)


def point_add(p: Point, q: Point) -> Point:
    """The unified addition of RFC 8032, section 5.1.4: complete on this curve, so doubling needs no formula."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P25519
    b = (p[1] + p[0]) * (q[1] + q[0]) % P25519
    c = 2 * p[3] * q[3] * D25519 % P25519
    d = 2 * p[2] * q[2] % P25519
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P25519, g * h % P25519, f * g % P25519, e * h % P25519)


def point_decode(data: bytes) -> Point:
    """Section 5.1.3; an encoding that is not canonical (y >= p, or minus zero) is refused."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if len(data) != 32 or y >= P25519:
        raise Damage("KEY", "not the encoding of a point of Ed25519")
    x2 = (y * y - 1) * pow(D25519 * y * y + 1, -1, P25519) % P25519
    x = pow(x2, (P25519 + 3) // 8, P25519)
    if (x * x - x2) % P25519:
        x = x * SQRT_MINUS_1 % P25519
    if (x * x - x2) % P25519 or (x == 0 and sign):
        raise Damage("KEY", "not the encoding of a point of Ed25519")
    if x & 1 != sign:
        x = P25519 - x
    return (x, y, 1, x * y % P25519)


def multiples(p: Point) -> list[list[Point]]:
    """Row i holds 0..15 times 16^i * p, so that any multiple of p is 64 additions. It takes 4 ms, once for each key."""
    table = []
    for _ in range(64):
        row = [NEUTRAL]
        for _ in range(15):
            row.append(point_add(row[-1], p))
        table.append(row)
        p = point_add(row[15], p)
    return table


BASE_Y = 4 * pow(5, -1, P25519) % P25519
BASE = multiples(point_decode(BASE_Y.to_bytes(32, "little")))


class Ed25519Key:
    """A public key. Demands s below the group order and compares R as bytes: a signature has no second encoding."""

    def __init__(self, public: bytes) -> None:
        self._public = public
        x, y, _, t = point_decode(public)
        self._minus = multiples((P25519 - x, y, 1, P25519 - t))

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= ORDER:
            return False
        k = int.from_bytes(hashlib.sha512(signature[:32] + self._public + message).digest(), "little") % ORDER
        total = NEUTRAL  # becomes s*B - k*A, which must be R
        for row in range(64):
            total = point_add(total, BASE[row][s & 15])
            total = point_add(total, self._minus[row][k & 15])
            s, k = s >> 4, k >> 4
        inverse = pow(total[2], -1, P25519)
        x, y = total[0] * inverse % P25519, total[1] * inverse % P25519
        return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# ----------------------------------------------------------------------------------------------------------------------
# 3. ML-DSA-44 (FIPS 204), verification only, with an empty context string
# ----------------------------------------------------------------------------------------------------------------------

Q = 8380417
TAU, OMEGA, GAMMA1, GAMMA2, BETA = 39, 80, 1 << 17, (Q - 1) // 88, 78
ROWS = COLUMNS = 4  # k and l of the standard
ML_PUBLIC_BYTES, ML_SIGNATURE_BYTES = 1312, 2420
ZETAS = [pow(1753, int(f"{i:08b}"[::-1], 2), Q) for i in range(256)]


def ntt(w: list[int]) -> list[int]:
    """Algorithm 41. Sums stay unreduced between layers: integers of Python do not overflow, so only products are."""
    layer, length = 1, 128
    while length:
        done: list[int] = []
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[layer]
            layer += 1
            low = w[start : start + length]
            high = [zeta * x % Q for x in w[start + length : start + 2 * length]]
            done += [x + y for x, y in zip(low, high)]
            done += [x - y for x, y in zip(low, high)]
        w = done
        length //= 2
    return w


def inverse_ntt(w: list[int]) -> list[int]:
    """Algorithm 42."""
    layer, length = 255, 1
    while length < 256:
        done: list[int] = []
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[layer]
            layer -= 1
            low = w[start : start + length]
            high = w[start + length : start + 2 * length]
            done += [x + y for x, y in zip(low, high)]
            done += [zeta * (y - x) % Q for x, y in zip(low, high)]
        w = done
        length *= 2
    return [8347681 * x % Q for x in w]


def uniform_polynomial(seed: bytes) -> list[int]:
    """Algorithm 30, RejNTTPoly. Six blocks nearly always suffice; a longer squeeze begins with the same bytes."""
    size = 1008
    while True:
        stream = hashlib.shake_128(seed).digest(size)
        found = []
        for i in range(0, size, 3):
            value = stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 127) << 16
            if value < Q:
                found.append(value)
        if len(found) >= 256:
            return found[:256]
        size += 168


def challenge_polynomial(seed: bytes) -> list[int]:
    """Algorithm 29, SampleInBall. One squeeze serves: to run out of it, the loop would need 1,041 rejections."""
    stream = hashlib.shake_256(seed).digest(1088)
    signs = int.from_bytes(stream[:8], "little")
    c = [0] * 256
    at = 8
    for i in range(256 - TAU, 256):
        while stream[at] > i:
            at += 1
        j = stream[at]
        at += 1
        c[i] = c[j]
        c[j] = -1 if signs & 1 else 1
        signs >>= 1
    return c


def unpack_response(data: bytes) -> list[int] | None:
    """256 coefficients of z as gamma1 - value, 18 bits each; None where one is too large for an honest signature."""
    z = []
    for i in range(0, 576, 9):
        four = int.from_bytes(data[i : i + 9], "little")
        z += [GAMMA1 - (four >> shift & 0x3FFFF) for shift in (0, 18, 36, 54)]
    return z if max(map(abs, z)) < GAMMA1 - BETA else None


def unpack_hint(data: bytes) -> list[list[int]] | None:
    """Algorithm 21: positions rise in each polynomial, counts never fall, the rest is zero, so encodings are unique."""
    hint, at = [], 0
    for end in data[OMEGA:]:
        positions = list(data[at:end])
        if not at <= end <= OMEGA or any(a >= b for a, b in zip(positions, positions[1:])):
            return None
        hint.append(positions)
        at = end
    return None if any(data[at:OMEGA]) else hint


def encode_high_bits(r: list[int], hint: list[int]) -> bytes:
    """UseHint (algorithm 40) on a polynomial, and its 6-bit packing. Hints are few: the common case comes first."""
    high = [(x + GAMMA2 - 1) // (2 * GAMMA2) for x in r]
    for i in hint:
        high[i] += 1 if r[i] > high[i] * 2 * GAMMA2 else -1
    high = [0 if h == 44 else 43 if h == -1 else h for h in high]
    return b"".join(
        (a | b << 6 | c << 12 | d << 18).to_bytes(3, "little")
        for a, b, c, d in zip(high[::4], high[1::4], high[2::4], high[3::4])
    )


class MlDsa44Key:
    """A public key with its matrix expanded: 16 polynomials that depend on the key only and cost as much as a check."""

    def __init__(self, public: bytes) -> None:
        if len(public) != ML_PUBLIC_BYTES:
            raise Damage("KEY", "an ML-DSA-44 public key has 1,312 bytes")
        rho = public[:32]
        self._digest = hashlib.shake_256(public).digest(64)
        self._matrix = [[uniform_polynomial(rho + bytes((s, r))) for s in range(COLUMNS)] for r in range(ROWS)]
        self._minus_t = []
        for row in range(ROWS):
            packed = int.from_bytes(public[32 + 320 * row : 352 + 320 * row], "little")
            self._minus_t.append(ntt([-((packed >> 10 * i & 1023) << 13) for i in range(256)]))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Algorithm 3 with an empty context, then algorithm 8."""
        if len(signature) != ML_SIGNATURE_BYTES:
            return False
        commitment, hint = signature[:32], unpack_hint(signature[32 + 576 * COLUMNS :])
        response = [unpack_response(signature[32 + 576 * i : 608 + 576 * i]) for i in range(COLUMNS)]
        if hint is None or any(z is None for z in response):
            return False
        mu = hashlib.shake_256(self._digest + b"\0\0" + message).digest(64)
        z0, z1, z2, z3 = (ntt(z) for z in response if z is not None)
        c = ntt(challenge_polynomial(commitment))
        packed = [mu]
        for row in range(ROWS):
            a0, a1, a2, a3 = self._matrix[row]
            columns = zip(a0, z0, a1, z1, a2, z2, a3, z3, c, self._minus_t[row])
            product = [(p * q + r * s + t * u + v * w + x * y) % Q for p, q, r, s, t, u, v, w, x, y in columns]
            packed.append(encode_high_bits(inverse_ntt(product), hint[row]))
        return hashlib.shake_256(b"".join(packed)).digest(32) == commitment


# ----------------------------------------------------------------------------------------------------------------------
# 4. Verifier keys, notes, heads (signed-note, tlog-checkpoint, tlog-cosignature)
# ----------------------------------------------------------------------------------------------------------------------

NOTE_BYTES_MAX = 1 << 20  # a head has 3.5 KB; a pin with the cosignatures of many witnesses stays far below this
SIGNATURES_MAX = 100  # signature lines; signed-note asks for at least 16
NAME = re.compile(r"[^\s+]+")  # key names: no white space (Unicode's), no plus sign
DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
SIGNATURE_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


def decode_base64(text: str) -> bytes:
    """Standard base64 that encodes back to itself; anything else would let one head be written in several ways."""
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError):
        raise Damage("BASE64", "base64 is malformed") from None
    if binascii.b2a_base64(data, newline=False).decode() != text:
        raise Damage("BASE64", "base64 is not canonical")
    return data


class LogKeys(NamedTuple):
    """The two keys of one log. Its name is its origin; a key id is what a signature line names beside it."""

    origin: str
    ed25519_id: bytes
    ed25519: Ed25519Key
    mldsa44_id: bytes
    mldsa44: MlDsa44Key
    vkeys: tuple[str, str]


def parse_vkey(text: str, algorithm: int, key_bytes: int) -> tuple[str, bytes, bytes]:
    name, _, rest = text.partition("+")
    identifier, _, encoded = rest.partition("+")
    data = decode_base64(encoded)
    if not NAME.fullmatch(name) or len(data) != key_bytes + 1 or data[0] != algorithm:
        raise Damage("VKEY", f"not a verifier key of algorithm {algorithm:#04x}")
    key_id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if identifier != key_id.hex():
        raise Damage("VKEY", "a verifier key's id is not the hash of its name and key")
    return name, key_id, data[1:]


@lru_cache(maxsize=64)
def parse_vkeys(vkeys: tuple[str, str]) -> LogKeys:
    origin, ed25519_id, ed25519 = parse_vkey(vkeys[0], 0x01, 32)
    other, mldsa44_id, mldsa44 = parse_vkey(vkeys[1], 0x06, ML_PUBLIC_BYTES)
    if origin != other or len(origin.encode()) > 255:
        raise Damage("VKEY", "the two verifier keys do not bear one name of at most 255 bytes")
    return LogKeys(origin, ed25519_id, Ed25519Key(ed25519), mldsa44_id, MlDsa44Key(mldsa44), vkeys)


class Head(NamedTuple):
    """A checkpoint as read; nothing of it is believed before ``objection`` found nothing."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: list[tuple[str, bytes]]  # key name; key id and signature

    def stated_s(self) -> int:
        """The time that stands with the second signature, seconds since 1970: the log's own word."""
        return int.from_bytes(self.signatures[1][1][4:12], "big") if len(self.signatures) > 1 else 0

    def objection(self, keys: LogKeys) -> str | None:
        """Why the log's two keys did not sign this head, in this order; None if they did. Later lines do not count."""
        if self.origin != keys.origin:
            return f"the head is of {self.origin}, the keys of {keys.origin}"
        if len(self.signatures) < 2 or any(name != self.origin for name, _ in self.signatures[:2]):
            return "it does not begin with the two signatures of its log"
        first = self.signatures[0][1]
        if first[:4] != keys.ed25519_id or not keys.ed25519.verify(self.text, first[4:]):
            return "the Ed25519 signature is wrong"
        if not self._is_cosigned(keys, self.signatures[1][1]):
            return "the ML-DSA-44 cosignature is wrong"
        return None

    def lone_signer(self, keys: LogKeys) -> str | None:
        """The key of the log that alone signed this head, in its only line; None if that is not what it is."""
        if self.origin != keys.origin or [name for name, _ in self.signatures] != [self.origin]:
            return None
        ((_, signature),) = self.signatures
        if signature[:4] == keys.ed25519_id and keys.ed25519.verify(self.text, signature[4:]):
            return "Ed25519"
        return "ML-DSA-44" if self._is_cosigned(keys, signature) else None

    def _is_cosigned(self, keys: LogKeys, line: bytes) -> bool:
        timestamp, name = line[4:12], self.origin.encode()
        named = bytes((len(name),)) + name
        message = b"subtree/v1\n\0" + named + timestamp + named + bytes(8) + self.size.to_bytes(8, "big") + self.root
        return (
            line[:4] == keys.mldsa44_id
            and timestamp <= b"\x7f" + b"\xff" * 7
            and keys.mldsa44.verify(message, line[12:])
        )


def parse_head(data: bytes) -> Head:
    """A checkpoint without extension lines, as a signed note of at least one signature."""
    try:
        note = data.decode()
    except UnicodeDecodeError:
        raise Damage("HEAD", "a head is not UTF-8") from None
    text, blank, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or not tail.endswith("\n") or any(c < " " and c != "\n" for c in note) or len(lines) != 3:
        raise Damage("HEAD", "a head is not a note of three lines, an empty one and signatures")
    origin, size, root = lines
    signatures = []
    for line in tail[:-1].split("\n", SIGNATURES_MAX - 1):
        match = SIGNATURE_LINE.fullmatch(line)
        if not match:
            raise Damage("HEAD", "a line of a head is not a signature")
        signatures.append((match[1], decode_base64(match[2])))
    if not origin or not DECIMAL.fullmatch(size) or int(size) >= 1 << 63 or len(decode_base64(root)) != 32:
        raise Damage("HEAD", "origin, size or root of a head is malformed")
    return Head(origin, int(size), decode_base64(root), (text + "\n").encode(), signatures)


class KeyHistory(NamedTuple):
    """All pairs of keys of one log, oldest first, each with the size after which it signs: the size tells the pair."""

    generations: list[tuple[int, LogKeys]]
    revoked: tuple[tuple[int, int], ...] = ()  # (generation from 1, size): its heads of more leaves do not count

    def is_revoked(self, size: int) -> bool:
        generation = sum(size > after for after, _ in self.generations)
        return any(one == generation and size > through for one, through in self.revoked)

    def at(self, size: int) -> LogKeys:
        return [keys for after, keys in self.generations if size > after][-1]

    @property
    def origin(self) -> str:
        return self.generations[0][1].origin

    def extended(self, stated: dict[str, Any]) -> KeyHistory:
        """With one hand-over more, which both old keys and both new ones must have signed."""
        last, old = self.generations[-1]
        new, after = parse_vkeys((stated["vkeys"][0], stated["vkeys"][1])), stated["after"]
        if stated["origin"] != old.origin or new.origin != old.origin or new.vkeys == old.vkeys:
            raise Damage("KEY-ROTATE", "the new keys are another log's, or the old ones")
        if after <= last or len(self.generations) >= GENERATIONS_MAX:
            raise Damage("KEY-ROTATE", "it does not come after the one before")
        lines = ("affidavit/rotate/v1", new.origin, after, *old.vkeys, *new.vkeys)
        text = "".join(f"{line}\n" for line in lines).encode()
        keys: tuple[Ed25519Key | MlDsa44Key, ...] = (old.ed25519, old.mldsa44, new.ed25519, new.mldsa44)
        for key, signature in zip(keys, stated["signatures"]):
            if not key.verify(text, decode_base64url(signature)):
                raise Damage("KEY-ROTATE", "one of its four signatures does not hold")
        return KeyHistory([*self.generations, (after, new)], self.revoked)


GENERATIONS_MAX = 1000  # pairs of keys of one log


def decode_base64url(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Damage("BASE64", "base64url is malformed") from None
    if binascii.b2a_base64(data, newline=False).translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=") != text.encode():
        raise Damage("BASE64", "base64url is not canonical")
    return data


def wrong_signers(data: bytes, keys: KeyHistory) -> tuple[str, str] | None:
    """Code and reason, where a head that does not hold was signed by keys of its log that may not sign it so."""
    try:
        head = parse_head(data)
    except Damage:
        return None
    for _, pair in keys.generations:
        if lone := head.lone_signer(pair):
            return "ONE-SIGNATURE", f"only the {lone} key of its log signed it, and both must"
        if head.objection(pair) is None and len(head.signatures) == 2:
            wrong = keys.at(head.size) is not pair
            return ("KEY-GENERATION", "signed by keys that sign no heads of this size") if wrong else None
    return None


# ----------------------------------------------------------------------------------------------------------------------
# 5. Trees (RFC 6962), grown a tile at a time
# ----------------------------------------------------------------------------------------------------------------------

TILE = 256  # hashes in a full tile, entries in a full bundle
HASH = 32


def levels(hashes: bytes) -> list[bytes]:
    """All levels of perfect subtrees over these nodes, lowest first; an odd node at the end has no parent yet."""
    sha256 = hashlib.sha256
    result = [hashes]
    while len(hashes) >= 2 * HASH:
        hashes = b"".join([sha256(b"\1" + hashes[i : i + 64]).digest() for i in range(0, len(hashes) - 63, 64)])
        result.append(hashes)
    return result


class Tree:
    """Takes the leaf hashes tile after tile, and gives the root at each of the sizes that were asked for beforehand.

    It keeps one hash for each full tile, so a million leaves cost 128 KB.
    """

    def __init__(self, sizes: Iterable[int], segments: bytes = b"") -> None:
        """``segments``: hashes of whole segments at the beginning, whose leaves are not here."""
        self.roots = {0: hashlib.sha256(b"").digest()}
        self.full = bytearray()  # the content of level 1 behind those: one hash for each full tile of level 0
        # (height, hash) of the perfect subtrees to the left, as in a binary counter
        self._left: list[tuple[int, bytes]] = []
        self._start = len(segments) // HASH * SEGMENT
        for number in range(len(segments) // HASH):
            self._push(16, segments[number * HASH :][:HASH])
            parts = [node for _, node in self._left]
            root = parts.pop()
            while parts:
                root = hashlib.sha256(b"\1" + parts.pop() + root).digest()
            self.roots[(number + 1) * SEGMENT] = root
        self._wanted = sorted({size for size in sizes if size > self._start}, reverse=True)

    def _push(self, height: int, node: bytes) -> None:
        while self._left and self._left[-1][0] == height:
            node, height = hashlib.sha256(b"\1" + self._left.pop()[1] + node).digest(), height + 1
        self._left.append((height, node))

    def add_tile(self, hashes: bytes) -> None:
        """``hashes``: 256 leaf hashes, or fewer in the last tile of the tree."""
        start, inner = self._start + len(self.full) // HASH * TILE, levels(hashes)
        while self._wanted and self._wanted[-1] <= start + len(hashes) // HASH:
            size = self._wanted.pop()
            if size > start:
                self.roots[size] = self._root(inner, size - start)
        if len(hashes) == TILE * HASH:
            self.full += inner[8]
            self._push(8, inner[8])

    def _root(self, inner: list[bytes], width: int) -> bytes:
        """The root over all to the left and the first ``width`` nodes of this tile, as perfect subtrees by its bits."""
        parts, at = [node for _, node in self._left], 0
        for height in range(8, -1, -1):
            if width >> height & 1:
                parts.append(inner[height][HASH * (at >> height) :][:HASH])
                at += 1 << height
        node = parts.pop()
        while parts:
            node = hashlib.sha256(b"\1" + parts.pop() + node).digest()
        return node


def root_from_path(leaf_hash: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """RFC 9162, section 2.1.3.2: the root that an inclusion proof leads to; None if its length is wrong."""
    if index >= size:
        return None
    node, last = leaf_hash, size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


# ----------------------------------------------------------------------------------------------------------------------
# 6. Files of the data directory
# ----------------------------------------------------------------------------------------------------------------------

FORMAT = b"affidavit-ledger v1\n"
SEGMENT = 65536  # leaves in a segment
CHUNK = 1 << 20  # bytes read at once where a file may be of any size
BUNDLE_BYTES_MAX = TILE * (2 + 65535)

PROJECT = r"[a-z0-9][a-z0-9-]{0,62}"
_LEVEL = r"entries|[0-9]|[1-5][0-9]|6[0-3]"
TILE_PATH = rf"tree/tile/(?P<level>{_LEVEL})/(?P<number>(?:x[0-9]{{3}}/)*[0-9]{{3}})(?:\.p/(?P<width>[0-9]{{1,3}}))?"
DISPOSABLE = re.compile(rf"lock|index|lost\+found|wal/[^/]+/(?:lock|spare|marks)|logs/{PROJECT}/ids")
DIRECTORIES = re.compile(
    r"wal(?:/[a-z][a-z0-9-]{0,31}\.[A-Za-z0-9_-]{8})?|damaged(?:/[^/]+)?|stage"
    rf"|logs(?:/{PROJECT}(?:/(?:heads|bodies|headers|sheets|anchors|tree"
    rf"|tree/tile(?:/(?:{_LEVEL})(?:/x[0-9]{{3}})*(?:/[0-9]{{3}}\.p)?)?))?)?"
)
FILES = re.compile(
    rf"FORMAT|affidavit\.toml|wal/[^/]+/[0-9]{{8}}|damaged/[^/]+/[^/]+|stage/[0-9]{{8}}|logs/{PROJECT}/(?:tree/checkpoint"
    r"|heads/(?:0|[1-9][0-9]{0,18})|bodies/[0-9]{6,15}|headers/[0-9]{6,15}|sheets/[0-9]{6,15}\.[1-9][0-9]{0,8}"
    rf"|anchors/[^/]+|{TILE_PATH})"
)


class Directory:
    """The directory under examination. Only regular files are opened: a link could lead out of it, a pipe never end."""

    def __init__(self, path: str, *, is_shard: bool = False) -> None:
        self.path = path
        self.is_shard = is_shard  # a finished one, which holds no others

    def open(self, name: str, magic: bytes = b"") -> BinaryIO:
        """A file, read up to behind its magic."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            number = os.open(os.path.join(self.path, name), flags)
        except FileNotFoundError:
            raise Damage("MISSING", f"{name}: missing") from None
        except (OSError, ValueError) as error:
            raise Damage("UNREADABLE", f"{name}: cannot be opened ({type(error).__name__})") from None
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise Damage("UNKNOWN-FILE", f"{name}: not a regular file")
        file = os.fdopen(number, "rb", CHUNK // 4)
        if file.read(len(magic)) != magic:
            file.close()
            raise Damage("MAGIC", f"{name}: does not begin with {magic!r}")
        return file

    def read(self, name: str, bytes_max: int) -> bytes:
        with self.open(name) as file:
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise Damage("SIZE", f"{name}: longer than the {bytes_max} bytes that it may have")
        return data

    def list(self, report: Report, place: str = "") -> set[str]:
        """Every file that the format names. Anything else is a finding here, and is neither opened nor entered."""
        found: set[str] = set()
        waiting = [place]
        while waiting:
            place = waiting.pop()
            try:
                entries = sorted(os.scandir(os.path.join(self.path, place)), key=lambda entry: entry.name)
            except OSError as error:
                report.fail("UNREADABLE", log_of(place), f"{place or '.'}: cannot be listed ({type(error).__name__})")
                continue
            for entry in entries:
                name = place + entry.name
                if DISPOSABLE.fullmatch(name) or (name == "shards" and not self.is_shard):
                    continue  # finished shards are ledgers of their own
                if name.endswith(".tmp"):
                    report.warn("LEFTOVER", log_of(name), f"{name}: left by an interrupted write; it holds nothing")
                elif entry.is_dir(follow_symlinks=False) and DIRECTORIES.fullmatch(name):
                    waiting.append(name + "/")
                elif entry.is_file(follow_symlinks=False) and FILES.fullmatch(name):
                    found.add(name)
                else:
                    report.fail("UNKNOWN-FILE", log_of(name), f"{name}: the format knows no such file or directory")
        return found


def log_of(name: str) -> str | None:
    parts = name.split("/")
    return parts[1] if parts[0] == "logs" and len(parts) > 2 else None


def digest_of(file: BinaryIO, length: int) -> bytes:
    """SHA-256 of so many bytes, or of those that there are; holds one chunk at most, for a length may be a lie."""
    running = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(length, CHUNK))):
        running.update(chunk)
        length -= len(chunk)
    return running.digest()


def tile_name(level: str, number: int, width: int) -> str:
    """A tile's name in tlog-tiles: the index in groups of three digits, all but the last with an x before it."""
    digits = str(number)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tree/tile/{level}/{path}" + ("" if width == TILE else f".p/{width}")


def split_entries(bundle: bytes) -> list[bytes] | None:
    """Entries with their 16-bit lengths; None where the last one is cut short."""
    leaves, at, end = [], 0, len(bundle)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        leaves.append(bundle[start:at])
    return leaves if at == end else None


def join_entries(leaves: list[bytes]) -> bytes:
    return b"".join([len(leaf).to_bytes(2, "big") + leaf for leaf in leaves])


# ----------------------------------------------------------------------------------------------------------------------
# 7. Leaves
# ----------------------------------------------------------------------------------------------------------------------

# JSON in canonical form with a fixed set of members is a regular language, but for the public facts in "data". So one
# expression is the parser, and what it accepts can be written in no other way; "data" is decoded, encoded again and
# compared. (To decode and encode whole leaves took five times as long.)

_DIGEST = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"  # 32 bytes in base64url: the two unused bits at the end are zero
_BOOT = r"[A-Za-z0-9_-]{8}"
_SOURCE = r"[a-z][a-z0-9-]{0,31}"
# 16 bytes in base64url; version 7 and the variant show in the 9th and 11th character, four unused bits in the last.
_UUID7 = r"[A-Za-z0-9_-]{8}[c-f][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]"
_POSITIVE = r"[1-9][0-9]{0,15}"
_PATTERN = (
    rf'\{{(?:"body":\{{"bucket":([1-9][0-9]?),"root":"(?P<body_root>{_DIGEST})","sha256":"(?P<body>{_DIGEST})"\}},)?'
    r'(?:"data":(?P<data>\{[\x20-\x7f]*?\}),)?'  # the shortest: what follows it has one form, and a header may
    rf'(?:"header":\{{"root":"(?P<header_root>{_DIGEST})","sha256":"(?P<header>{_DIGEST})"\}},)?'
    rf'"id":"({_UUID7})",'
    rf'(?:"links":\{{(?:"call":"({_UUID7})"(?:,"of":"{_UUID7}")?|"of":"{_UUID7}")\}},)?'
    rf'"src":\{{"boot":"({_BOOT})"(?:,"digest":"(?P<digest>{_DIGEST})")?,"id":"({_SOURCE})","seq":(?P<seq>{_POSITIVE})\}},'
    rf'"time_us":(?P<time>{_POSITIVE}),"type":"(?P<type>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)","v":1\}}'
)
LEAF = re.compile(_PATTERN.encode())
LEAF_BYTES_MAX = 65535
NUMBER_END = 1 << 53  # integers are smaller, so that every JSON reader agrees on them
TO_URL = bytes.maketrans(b"+/", b"-_")
FROM_URL = bytes.maketrans(b"-_", b"+/")


def b64u(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(TO_URL).rstrip(b"=")


def _bounded_integer(text: str) -> int:
    if len(text) > 17 or not -NUMBER_END < int(text) < NUMBER_END:
        raise ValueError("an integer of 2^53 or more")
    return int(text)


def _refused(text: str) -> None:
    raise ValueError(f"{text[:20]} is not an integer")


def _by_utf16(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass")))


_canonical = json.JSONDecoder(
    object_pairs_hook=_by_utf16, parse_int=_bounded_integer, parse_float=_refused, parse_constant=_refused
)


def parse_canonical(data: bytes) -> Any:
    """JCS as the format uses it: decode, encode, demand the same bytes: no doubled members, floats, spaces."""
    try:
        value = _canonical.decode(data.decode())
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        raise Damage("JSON", "nested too deeply") from None
    except ValueError as error:  # what JSON, UTF-8 and the hooks above object to
        raise Damage("JSON", f"not JSON of this format ({type(error).__name__})") from None
    if again != data:
        raise Damage("JSON", "not in canonical form")
    return value


def why_not_a_leaf(leaf: bytes) -> str:
    try:
        parse_canonical(leaf)
    except Damage as damage:
        return f"is {damage}"
    return "has a member or value that the format does not know"


Test = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _integer(value: Any) -> bool:
    return type(value) is int


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


def _matching(pattern: str) -> Test:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _object(members: dict[str, Test]) -> Test:
    names = members.keys()
    return lambda v: isinstance(v, dict) and v.keys() == names and all(members[name](v[name]) for name in names)


def _with_optional(members: dict[str, Test], optional: dict[str, Test]) -> Test:
    known = {**members, **optional}
    return lambda v: (
        isinstance(v, dict)
        and members.keys() <= v.keys() <= known.keys()
        and all(known[name](value) for name, value in v.items())
    )


def _array(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


_text, _digest, _project = _matching(r"[\x20-\x7e]{1,4096}"), _matching(_DIGEST), _matching(PROJECT)
_numbers = {"id": _matching(_SOURCE), "boot": _matching(_BOOT), "first": _positive, "last": _positive}
_loss = {"last": _or_null(_positive), "reason": _matching("wal_damage|mark"), "count": _or_null(_count)}
_sheet = {"segment": _count, "version": _positive, "rows": _count, "sha256": _digest}
_row = {"project": _project, "origin": _text, "size": _count, "root": _digest}
_clock = _object({"bound_us": _count, "offset_us": _integer, "synchronised": lambda v: _count(v) and v < 2})
_optional_clock = {"clock": _clock}
_epoch = {"epoch": _positive, "open_calls": _count, "clean": lambda v: _count(v) and v < 2}
_epoch |= {"sources": _array(_object(_numbers)), "sheet": _object(_sheet)}
_sum, _currency = _matching(r"0|[1-9][0-9]{0,39}"), re.compile("[A-Z]{3}")
_buckets = "input_uncached cache_read cache_write_5m cache_write_1h cache_write_other output_text reasoning"
_buckets += " audio_in audio_out image"
_sums: dict[str, Test] = {
    **dict.fromkeys(("calls", "not_priced", "outcomes", "priced", "usage"), _count),
    "tokens": _object(dict.fromkeys(_buckets.split(), _sum)),
    "amounts": lambda v: isinstance(v, dict) and all(_currency.fullmatch(name) and _sum(v[name]) for name in v),
}
# Absent in what earlier versions wrote.
_epoch_later = {**_optional_clock, "through_us": _positive, "sums": _object(_sums)}
_config = {"sha256": _or_null(_digest)}
_date, _tokens = _matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), _matching(r"0|[1-9][0-9]{0,39}")
_reconciliation = {"provider": _matching("openai|anthropic"), "export": _digest, "missing_tokens": _tokens}
_reconciliation |= {"first_day": _date, "last_day": _date}
_reconciliation |= dict.fromkeys(("matched", "missing", "extra", "missing_requests"), _count)
_creation = {"project": _project, "origin": _text, "vkeys": lambda v: _array(_text)(v) and len(v) == 2}
_promise_key = {"vkey": _text}
_signatures = _array(_matching(r"[A-Za-z0-9_-]{1,4096}"))
_rotation = {"log": _project, "origin": _text, "after": _count, "vkeys": _creation["vkeys"]}
_rotation |= {"signatures": lambda v: _signatures(v) and len(v) == 4}

_signature, _word = _matching(r"[A-Za-z0-9_-]{85}[AQgw]"), _matching("[a-z][a-z0-9_]{0,31}")
_source_key: dict[str, Test] = {"key": _digest, "voucher": _signature}
_approvals = _array(_object({"approver": _project, "signature": _signature}))
_approved = {"approvals": _approvals, "approvers": _count, "expires_us": _positive}
_approvers = _array(_object({"key": _digest, "name": _project}))
_range = _array(_count)
_ranges = _array(lambda value: _range(value) and len(value) == 2)

_opening = {"epoch": _positive, "previous": _or_null(_count)}
_file = _object({"name": _matching(r"[0-9]{1,19}(?:\.[a-z0-9-]{1,32}){1,3}"), "sha256": _digest})


def _anchors(value: Any) -> bool:
    """Files of one head, at least one, each once and in order."""
    if not _object({"size": _count, "files": _array(_file)})(value):
        return False
    names = [file["name"] for file in value["files"]]
    return bool(names) and names == sorted({*names}) and {n.split(".")[0] for n in names} == {str(value["size"])}


# Where whoever reads a log that was cut off at its beginning starts to count; section 24 of the formats.
_flag: Test = lambda v: _count(v) and v < 2  # noqa: E731 - it stands in tables of tests
_signed_source = _object({"chain": _digest, "key": _digest, "start": _count, "voucher": _signature})
_pruned_source = _object(
    {
        "boot": _matching(_BOOT),
        "ended": _flag,
        "first": _or_null(_positive),
        "heartbeat_s": _or_null(_positive),
        "id": _matching(_SOURCE),
        "last": _positive,
        "signed": _or_null(_signed_source),
        "time_us": _positive,
    }
)
_open_call = _object({"call": _matching(_UUID7), "leaf": _count, "time_us": _positive})
_pruned_state = _object(
    {
        "calls": _count,
        "closed": _or_null(_count),
        "epoch": _count,
        "newest_us": _positive,
        "open": _array(_open_call),
        "opened": _flag,
        "outcomes": _count,
        "sources": _array(_pruned_source),
    }
)
_retention = _array(_object({"days": _positive, "project": _project}))

# The data of each type that speaks of the log; the system log's epochs say one thing more, and two types are its alone.
SPOKEN: dict[str, Test] = {
    "epoch.open": _with_optional(_opening, {**_optional_clock, "anchors": _anchors}),
    "epoch.close": _with_optional(_epoch, _epoch_later),
    "key.sheet": _object(_sheet),
    "gap": _object({**_numbers, **_loss}),
    "source.start": lambda v: (
        _with_optional({"heartbeat_s": _positive}, {**_optional_clock, **_source_key})(v)
        and ("key" in v) == ("voucher" in v)
    ),
    "source.heartbeat": _object({"signature": _signature}),
    "source.stop": _object({"signature": _signature}),
    "source.clock": _with_optional({"step_us": _integer}, _optional_clock),
    "source.lost": _object({"id": _matching(_SOURCE), "boot": _matching(_BOOT)}),
    "bundle.export": _object({"files": _count, "sha256": _digest}),
    "log.pruned": _object({"days": _positive, "minimum": _positive, "policy": _count, "state": _pruned_state}),
    "hold.place": _object({"hold": _project, "ranges": _ranges}),
    "hold.release": _object({**_approved, "hold": _project, "placed": _count}),
    "erasure": _object(
        {
            **_approved,
            "leaves": _array(_count),
            "reason": _word,
            "sheets": _array(_object({"segment": _count, "version": _positive})),
        }
    ),
}
_previous = _object({"origin": _text, "vkeys": _creation["vkeys"]})
_begun: dict[str, Test] = {"number": lambda v: _count(v) and 2 <= v <= 9999, "previous": _previous, "reason": _word}
_begun["signatures"] = _rotation["signatures"]
_lost = _array(_object({"after": _count, "vkeys": _creation["vkeys"], "signatures": _rotation["signatures"]}))
_restored_row = _with_optional({**_row, "lost_to": _or_null(_count)}, {"rotations": lambda v: _lost(v) and v != []})
_restored_rows = _array(_restored_row)
SPOKEN_BY_SYSTEM: dict[str, Test] = {
    **SPOKEN,
    "epoch.close": _with_optional({**_epoch, "roster": _array(_object(_row))}, _epoch_later),
    "project.create": _object(_creation),
    "approvers.change": _object(
        {"approvals": _approvals, "approvers": _approvers, "expires_us": _positive, "previous": _or_null(_count)}
    ),
    "usage.reconciled": _object(_reconciliation),
    "config.change": _with_optional(
        _config,
        {
            "masking": _digest,
            "mark": lambda v: _array(_project)(v) and v != [],
            "retention": lambda v: _retention(v) and v != [],
        },
    ),
    "promise.key": _object(_promise_key),
    "key.rotate": _object(_rotation),
    "shard.open": _object({**_begun, "logs": lambda v: _array(_object(_row))(v) and v != []}),
    "log.restored": _object({**_begun, **_approved, "logs": lambda v: _restored_rows(v) and v != []}),
}
SPOKEN_WITHOUT_DATA = "content.shared"  # it has a body instead
CALLS = frozenset({b"llm.request", b"llm.response"})
SOURCE_WORDS = frozenset(
    {"source.start", "source.heartbeat", "source.stop"}
)  # without data in what early versions wrote
OF_SOURCES = SOURCE_WORDS | {"source.clock", "usage.reconciled"}  # records of a capture process, with data
SPEAKING = frozenset(kind.encode() for kind in (*SPOKEN_BY_SYSTEM, SPOKEN_WITHOUT_DATA))


def public_facts(log: str, leaf: re.Match[bytes]) -> dict[str, Any] | None:
    """What a leaf says of its log, or None; raises where type, data, header, body and numbers do not go together."""
    kind, data, header, body = leaf["type"].decode(), leaf["data"], leaf["header"], leaf["body"]
    if max(int(leaf["seq"]), int(leaf["time"])) >= NUMBER_END:
        raise Damage("LEAF", "has an integer of 2^53 or more")
    if leaf["type"] not in SPEAKING:
        if data is not None:
            raise Damage("LEAF", f"is of type {kind}, which has no public data")
        return None
    if kind in SOURCE_WORDS and data is None:
        return None  # from before sources made promises, or had keys
    if (
        (header is not None and kind not in OF_SOURCES)
        or (body is not None) != (kind == SPOKEN_WITHOUT_DATA)
        or (body is None) != (data is not None)
    ):
        exceptions = f"{SPOKEN_WITHOUT_DATA}: a body; what a source says of itself: a header"
        raise Damage("LEAF", f"is of type {kind}, which has data and neither header nor body ({exceptions})")
    if data is None:
        return None
    test, value = (SPOKEN_BY_SYSTEM if log == "system" else SPOKEN).get(kind), parse_canonical(data)
    if kind == "log.pruned" and log == "system":
        test = None  # it is what all other logs rest on
    if test is None or not test(value):
        raise Damage("LEAF", f"is of type {kind}, and its data is not what the format says for this log")
    return dict(value)


# ----------------------------------------------------------------------------------------------------------------------
# 8. What the leaves of a log say of it
# ----------------------------------------------------------------------------------------------------------------------

CLOCK_STEP_US = 10_000_000  # a source's clock may fall back so far unremarked: small corrections are daily business
CLOCK_BOUND_US = 10_000  # a clock that may be off by more is a finding
OPEN_CALL_US = 3_600_000_000  # an intent without outcome that is older than this is a finding
GRACE_S = 300  # how late a heartbeat may be
IDS_AT_ONCE = 1 << 20  # ids compared in one set (about 80 MB)
Source = tuple[bytes, bytes]  # id and boot


class Act(NamedTuple):
    """A leaf that says what somebody may no longer do, or what is no longer there; section 18 of the formats."""

    entry: int
    time_us: int
    kind: str
    data: dict[str, Any]


class SourceRecord:
    """A source with a key: a chain over the digests of its records, as its leaves give them."""

    def __init__(self, start: int, key: bytes, voucher: bytes) -> None:
        self.start, self.key, self.voucher = start, key, voucher
        self.last_word = start  # the newest leaf that was signed as it should be
        self.is_refuted = False
        self.chain = bytes(HASH)  # over all records before the newest one, since a word does not cover itself
        self.newest: bytes | None = None
        self.is_whole = False  # the chain covers the newest, too: it is another log.pruned's

    def begin_again(self, chain: bytes) -> None:
        self.chain, self.is_whole = chain, True

    def whole(self) -> bytes:
        """The chain over all records."""
        if self.is_whole:
            return self.chain
        plain = b"" if self.newest is None else binascii.a2b_base64(self.newest.translate(FROM_URL) + b"=")
        return hashlib.sha256(self.chain + plain).digest()

    def add(self, digest: bytes | None) -> None:
        self.chain, self.newest, self.is_whole = self.whole(), digest, False

    def signed(self, log: str, source: Source, records: int, signature: bytes) -> bool:
        text = f"affidavit/source/v1\n{shown(source)}\n{log}\n{records}\n{b64u(self.chain).decode()}\n"
        return signed_by(self.key, text.encode(), signature)


class Testimony:
    """Sequences, epochs, gaps, sheets, projects and configuration, gathered leaf by leaf in order.

    Memory: 17 bytes a leaf (its id, and whether it has a body), and a little for each source.
    """

    def __init__(self, report: Report, log: str) -> None:
        self.report, self.log = report, log
        self.ids, self.has_body = bytearray(), bytearray()  # has_body: 0 no, 1 yes, 2 the leaf could not be read
        self.unreadable = 0
        self.sources: dict[Source, list[int]] = {}  # the next number, and the time of the last leaf
        self.sealer: list[int] | None = None  # the same of the newest boot of the sealer
        self.active: dict[Source, int] = {}  # first number since the epoch was opened
        self.missing: dict[Source, list[tuple[int, int]]] = {}
        self.gaps: dict[Source, list[tuple[int, int]]] = {}
        self.epoch, self.is_open, self.clean = 0, False, False
        self.closed_at: int | None = None  # index of the newest epoch.close
        self.first_type = self.last_type = b""
        self.sheets: dict[int, dict[str, Any]] = {}  # segment: newest statement of the highest version
        self.projects: dict[str, dict[str, Any]] = {}
        self.origins: set[str] = set()
        self.config: str | None = None
        self.promise_vkeys: list[str] = []
        self.rotations: list[tuple[int, dict[str, Any]]] = []  # hand-overs of keys, each with its leaf
        self.roster: list[dict[str, Any]] = []
        self.ever_on_roster: set[str] = set()
        self.open_calls: dict[bytes, tuple[int, int]] = {}  # intents without outcome: leaf and time
        self.calls = self.outcomes = 0  # leaves since the epoch was opened
        self.reconciled: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}  # newest of provider and days
        self.newest_us = 0  # time of the last leaf
        self.living: dict[Source, int] = {}  # sources whose end is not on record; longest silence that each promised
        self.doubted: set[Source] = set()  # sources that last said that their clock is not kept
        self.signing: dict[Source, SourceRecord] = {}  # sources that began with a key
        self.unsigned: dict[Source, int] = {}  # those without one that began after the first of these; their first leaf
        self.acts: list[Act] = []  # in their order
        self.raised: list[tuple[int, int, int]] = []  # entry, segment, version: first word of a later key sheet
        self.minimum = 0  # entries below were pruned
        self.ended: set[Source] = set()  # sources of which nothing comes any more
        self.promised: dict[Source, int] = {}  # what each stated as its longest silence
        self.newest_sealer: Source | None = None
        self.closes: list[int] = []  # each epoch.close
        self.retention: list[tuple[int, int, dict[str, int]]] = []  # leaf, time, and days by project
        self.states: dict[int, bytes] = {}  # what a log.pruned with that minimum must state (a digest)

    def fail(self, code: str, what: str, axis: str = "completeness") -> None:
        """A finding; what is counted cannot be judged any more once a leaf could not be read."""
        if axis != "completeness" or not self.unreadable:
            self.report.fail(code, self.log, what, axis)

    def cannot_read(self, index: int, why: str) -> None:
        self.fail("LEAF", f"entry {index}: {why}", "integrity")
        self.unreadable += 1

    def lose(self, first: int, leaves: int) -> None:
        """Keep the places of leaves of which nothing is known; no id of a leaf looks like these."""
        self.ids += b"".join([i.to_bytes(16, "big") for i in range(first, first + leaves)])
        self.has_body += b"\2" * leaves

    def count(
        self, index: int, kind: bytes, source: Source, number: int, time_us: int, *, digest: bytes | None
    ) -> None:
        """The sequence and the clock of one source, and what it recorded."""
        if (record := self.signing.get(source)) is not None:
            record.add(digest)
        state = self.sources.get(source)
        if state is None:
            state = self.sources[source] = [1, time_us]
            if source[0] == b"sealer":
                # Sealers follow each other, so their clocks may be compared across boots; other sources overlap.
                if self.sealer and time_us < self.sealer[1] - CLOCK_STEP_US:
                    self._fell_back(index, source, self.sealer[1] - time_us)
                self.sealer, self.newest_sealer = state, source
            elif self.signing:
                self.unsigned[source] = index
        if source not in self.active:
            self.active[source] = number
        if number == state[0]:
            state[0] = number + 1
        elif number > state[0]:
            self.missing.setdefault(source, []).append((state[0], number - 1))
            state[0] = number + 1
        else:
            self.fail("SEQUENCE-REPEAT", f"entry {index}: {shown(source)} gives number {number} again")
        if time_us < state[1] - CLOCK_STEP_US:
            self._fell_back(index, source, state[1] - time_us)
        state[1] = time_us
        self.last_type, self.newest_us = kind, time_us
        if kind == b"source.stop":
            self.living.pop(source, None)
            self.ended.add(source)
        if index == 0:
            self.first_type = kind

    def pair(self, index: int, kind: bytes, call: bytes, source: bytes, time_us: int) -> None:
        """An intent or an outcome; an intent without one is open, but for those that the sealer closed itself."""
        if kind == b"llm.response":
            self.outcomes += 1
            self.open_calls.pop(call, None)
        else:
            self.calls += 1
            if source != b"sealer":
                self.open_calls[call] = (index, time_us)

    def _fell_back(self, index: int, source: Source, back_us: int) -> None:
        what = f"entry {index}: the clock of {shown(source)} fell back by {back_us / 1e6:.1f} s"
        self.report.warn("CLOCK-STEP", self.log, what, "time")

    def hear(self, index: int, kind: str, data: dict[str, Any], source: Source, number: int) -> None:
        """One leaf that speaks of the log; its own number has been counted already."""
        if kind == "epoch.open":
            if data["epoch"] != self.epoch + 1 or data["previous"] != self.closed_at:
                self.fail("EPOCH-ORDER", f"entry {index}: opens an epoch that does not follow the one before")
            self.epoch, self.is_open, self.active = data["epoch"], True, {source: number}
            self.calls = self.outcomes = 0
            self._clock(index, source, data.get("clock"))
        elif kind == "epoch.close":
            self._close(index, data)
            self._clock(index, source, data.get("clock"))
        elif kind == "usage.reconciled":
            self.reconciled[(data["provider"], data["first_day"], data["last_day"])] = (index, data)
        elif kind in ("source.heartbeat", "source.stop"):
            return  # heard by `speak`, with or without data
        elif kind in OF_SOURCES or kind == "source.lost":
            self._source(index, kind, data, source)
        elif kind == "key.sheet":
            self._sheet(index, data)
        elif kind == "gap":
            self._gap(index, data)
        elif kind == "project.create":
            if data["project"] in self.projects or data["origin"] in self.origins:
                what = f"entry {index}: project or origin was created before; the first stands"
                self.fail("PROJECT-TWICE", what, "integrity")
            else:
                self.projects[data["project"]] = data
                self.origins.add(data["origin"])
        elif kind == "config.change":
            self.config = data["sha256"]
            days = {row["project"]: row["days"] for row in data.get("retention", [])}
            self.retention.append((index, self.sources[source][1], days))
        elif kind == "key.rotate":
            self.rotations.append((index, data))
        elif kind == "promise.key":
            self.promise_vkeys.append(data["vkey"])
        elif kind != "bundle.export":
            self.acts.append(Act(index, self.sources[source][1], kind, data))

    def _gap(self, index: int, data: dict[str, Any]) -> None:
        """Numbers that no leaf will have, or calls that never had one."""
        key = (data["id"].encode(), data["boot"].encode())
        if data["reason"] == "mark":  # no number is missing: these calls never had one
            what = f"entry {index}: {data['count'] or 'some'} calls at {shown(key)} went out without a record"
            self.report.warn("GAP", self.log, what, "completeness")
            return
        self.gaps.setdefault(key, []).append((data["first"], data["last"] or NUMBER_END))
        if data["last"] is None:
            self.living.pop(key, None)
            self.ended.add(key)
        numbers = f"{data['first']} to {data['last'] or 'an unknown number'} of {shown(key)}"
        self.report.warn("GAP", self.log, f"entry {index}: {numbers} were lost ({data['reason']})", "completeness")

    def _close(self, index: int, data: dict[str, Any]) -> None:
        if not self.is_open or data["epoch"] != self.epoch:
            self.fail("EPOCH-ORDER", f"entry {index}: closes an epoch that is not open")
        said = [(s["id"].encode(), s["boot"].encode(), s["first"], s["last"]) for s in data["sources"]]
        seen = [(*source, first, self.sources[source][0] - 1) for source, first in sorted(self.active.items())]
        if said != seen:
            what = f"entry {index}: epoch {data['epoch']} states other sources or numbers than its leaves have"
            self.fail("EPOCH-COUNT", what)
        if SEGMENT * data["sheet"]["segment"] + data["sheet"]["rows"] != index:
            self.fail("SHEET-STATEMENT", f"entry {index}: covers other rows than those before its own", "erasure")
        self._sheet(index, data["sheet"])
        self._require_sums(index, data.get("sums"))
        self._require_life(index, data.get("through_us"), clean=data["clean"])
        self.roster = data.get("roster", [])
        names = [row["project"] for row in self.roster]
        self.ever_on_roster.update(names)
        if names != sorted(set(names)):
            self.fail("ROSTER-ORDER", f"entry {index}: its roster is not sorted")
        self.is_open, self.closed_at, self.active, self.clean = False, index, {}, data["clean"] == 1
        self.closes.append(index)

    def _source(self, index: int, kind: str, data: dict[str, Any], source: Source) -> None:
        """A source speaks of itself, or the sealer of one that ended without a word."""
        if kind == "source.lost":
            lost = (data["id"].encode(), data["boot"].encode())
            self.ended.add(lost)
            if self.living.pop(lost, None) is not None:
                what = f"entry {index}: {shown(lost)} ended without saying so; what it recorded last may be missing"
                self.report.warn("SOURCE-LOST", self.log, what, "completeness")
            return
        if kind == "source.start":
            self.living[source] = self.promised[source] = data["heartbeat_s"]
            if "key" in data:
                self._begin_to_sign(index, source, data)
        elif data["step_us"]:
            what = f"entry {index}: the clock of {shown(source)} moved by {data['step_us'] / 1e6:.3f} s at once"
            self.report.warn("CLOCK-STEP", self.log, what, "time")
        if "clock" not in data:
            what = f"entry {index}: {shown(source)} could not ask its kernel how well the clock is kept"
            self.report.add("time", NOT_ASSESSED, "CLOCK-UNKNOWN", self.log, what)
        self._clock(index, source, data.get("clock"))

    # -- logs that are cut off at their beginning; section 24 of the formats

    def remember_state(self, minimum: int) -> None:
        """At each segment's beginning: what a log.pruned would have to state of the entries before it."""
        if not self.unreadable:
            self.states[minimum] = hashlib.sha256(as_json(self._state())).digest()

    def _state(self) -> dict[str, Any]:
        active = self.active if self.is_open else {}
        sources = []
        for source, (following, time_us) in sorted(self.sources.items()):
            ended = source != self.newest_sealer if source[0] == b"sealer" else source in self.ended
            if ended and source not in active:
                continue
            signed = None
            if (record := self.signing.get(source)) is not None:
                chain, key = b64u(record.whole()).decode(), b64u(record.key).decode()
                voucher = b64u(record.voucher).decode()
                signed = {"chain": chain, "key": key, "start": record.start, "voucher": voucher}
            row: dict[str, Any] = {"id": source[0].decode(), "boot": source[1].decode(), "first": active.get(source)}
            row |= {"last": following - 1, "time_us": time_us, "heartbeat_s": self.promised.get(source)}
            sources.append(row | {"ended": int(ended), "signed": signed})
        calls = [(leaf, call.decode(), time_us) for call, (leaf, time_us) in self.open_calls.items()]
        return {
            "calls": self.calls if self.is_open else 0,
            "closed": self.closed_at,
            "epoch": self.epoch,
            "newest_us": self.newest_us,
            "open": [{"call": call, "leaf": leaf, "time_us": time_us} for leaf, call, time_us in sorted(calls)],
            "opened": int(self.is_open),
            "outcomes": self.outcomes if self.is_open else 0,
            "sources": sources,
        }

    def begin_at(self, minimum: int, state: dict[str, Any] | None) -> None:
        """Entries below ``minimum`` are not here; without a state nothing can be counted."""
        self.minimum = minimum
        if state is None:
            self.lose(0, minimum)
            self.unreadable += minimum
            return
        self.has_body += b"\2" * minimum
        self.epoch, self.is_open, self.closed_at = state["epoch"], state["opened"] == 1, state["closed"]
        self.calls, self.outcomes, self.newest_us = state["calls"], state["outcomes"], state["newest_us"]
        self.closes += [] if self.closed_at is None else [self.closed_at]
        self.open_calls = {call["call"].encode(): (call["leaf"], call["time_us"]) for call in state["open"]}
        for row in state["sources"]:
            source = (row["id"].encode(), row["boot"].encode())
            self.sources[source] = [row["last"] + 1, row["time_us"]]
            if row["first"] is not None:
                self.active[source] = row["first"]
            if row["ended"]:
                self.ended.add(source)
            elif source[0] == b"sealer":
                self.newest_sealer, self.sealer = source, self.sources[source]
            if row["heartbeat_s"] is not None:
                self.promised[source] = row["heartbeat_s"]
                if not row["ended"]:
                    self.living[source] = row["heartbeat_s"]
            if (signed := row["signed"]) is not None:
                record = SourceRecord(signed["start"], from_b64u(signed["key"]), from_b64u(signed["voucher"]))
                record.begin_again(from_b64u(signed["chain"]))
                self.signing[source] = record

    def check_prunings(self, system: Testimony) -> None:
        """Each log.pruned: its form, the retention that was on record, and what it states of what it lets go."""
        before = 0
        for act in self.acts:
            if act.kind != "log.pruned":
                continue
            minimum, state = act.data["minimum"], act.data["state"]
            closed = max((index for index in self.closes if index < act.entry), default=0)
            reason = why_not_policy(system.retention, self.log, act)
            if minimum % SEGMENT or not before < minimum <= min(act.entry, closed):
                reason = "its minimum index is not one: whole segments, above the one before, below an epoch.close"
            elif act.time_us < state["newest_us"] + (act.data["days"] + CITED_DAYS) * DAY_US:
                reason = f"its entries were not {act.data['days']} and {CITED_DAYS} days old"
            if reason:
                self.report.fail("PRUNE-POLICY", self.log, f"entry {act.entry}: log.pruned: {reason}", "completeness")
            if self.states.get(minimum) not in (None, hashlib.sha256(as_json(state)).digest()):
                what = f"entry {act.entry}: log.pruned: its state is not that of entry {minimum}"
                self.report.fail("PRUNE-STATE", self.log, what, "completeness")
            before = minimum

    def _begin_to_sign(self, index: int, source: Source, data: dict[str, Any]) -> None:
        """A source shows its key; section 25 of the formats."""
        self.unsigned.pop(source, None)
        if source in self.signing or self.sources[source][0] != 2:
            what = f"entry {index}: {shown(source)} shows a key, and had begun before"
            self.fail("SOURCE-KEY", what, "authority")
        else:
            self.signing[source] = SourceRecord(index, from_b64u(data["key"]), from_b64u(data["voucher"]))

    def speak(self, index: int, source: Source, number: int, data: dict[str, Any] | None) -> None:
        """A heartbeat or a stop: signed over all records of the source before it, if the source has a key."""
        record, reason = self.signing.get(source), ""
        if self.unreadable or (record is not None and record.is_refuted):
            return
        if record is None:
            reason = "signs, and began without a key" if data is not None else ""
        elif data is None:
            reason = "began with a key, and does not sign"
        elif not record.signed(self.log, source, number - 1, from_b64u(data["signature"])):
            reason = f"never signed these records, which follow those up to entry {record.last_word}"
        elif record is not None:
            record.last_word = index
        if reason:
            self.fail("SOURCE-KEY", f"entry {index}: {shown(source)} {reason}", "authority")
            if record is not None:
                record.is_refuted = True

    def judge_source_keys(self, system: Testimony) -> None:
        """Whether a key of the system log vouches for each source that signs, and whether any other source does not."""
        for source, record in self.signing.items():
            text = f"affidavit/source-key/v1\n{shown(source)}\n{b64u(record.key).decode()}\n".encode()
            if any(signed_by(key, text, record.voucher) for key in promise_keys(system.promise_vkeys)):
                continue
            what = f"entry {record.start}: {shown(source)} shows a key that no key of the system log vouches for"
            if system.unreadable:
                self.report.add("authority", NOT_ASSESSED, "UNREADABLE", self.log, what)
            else:
                self.fail("SOURCE-KEY", what, "authority")
        for source, index in self.unsigned.items():
            what = f"entry {index}: {shown(source)} has no key, unlike sources that began before it"
            self.report.warn("SOURCE-UNSIGNED", self.log, what, "authority")

    def _clock(self, index: int, source: Source, clock: dict[str, int] | None) -> None:
        """What a source says of its clock; a doubt is a finding when it begins."""
        if clock is None or (clock["synchronised"] and clock["bound_us"] <= CLOCK_BOUND_US):
            self.doubted.discard(source)
        elif source not in self.doubted:
            self.doubted.add(source)
            reason = f"may be off by {clock['bound_us'] / 1e3:.1f} ms" if clock["synchronised"] else "is kept by nobody"
            what = f"entry {index}: the clock of {shown(source)} {reason}"
            self.report.warn("CLOCK-UNSYNC", self.log, what, "time")

    def _require_sums(self, index: int, sums: dict[str, Any] | None) -> None:
        """Calls and outcomes are counted here; tokens and amounts stand in blocks that are closed to us."""
        if sums is None:
            return
        tokens, priced = any(value != "0" for value in sums["tokens"].values()), sums["priced"] > 0
        if (
            (sums["calls"], sums["outcomes"]) != (self.calls, self.outcomes)
            or max(sums["usage"], sums["priced"] + sums["not_priced"]) > sums["outcomes"]
            or (tokens and not sums["usage"])
            or bool(sums["amounts"]) != priced
        ):
            counted = f"{self.calls} calls and {self.outcomes} outcomes are in it"
            self.fail("EPOCH-SUMS", f"entry {index}: its sums are not possible, or not those of its epoch: {counted}")

    def _require_life(self, index: int, through_us: int | None, *, clean: int) -> None:
        """At the end of an epoch no source may have been silent for longer than it promised, or be without an end."""
        for source, heartbeat_s in sorted(self.living.items()):
            silent_us = (through_us or 0) - self.sources[source][1]
            if clean:
                what = f"entry {index}: a clean stop, and {shown(source)} never said that it ended"
                self.fail("SOURCE-UNENDED", what)
            elif silent_us > (heartbeat_s + GRACE_S) * 1_000_000:
                silence = f"is silent for {silent_us // 1_000_000} s, and promised a record each {heartbeat_s} s"
                self.fail("HEARTBEAT-MISSING", f"entry {index}: {shown(source)} {silence}")
            else:
                continue
            del self.living[source]  # said once

    def _sheet(self, index: int, data: dict[str, Any]) -> None:
        if data["rows"] > SEGMENT or SEGMENT * data["segment"] + data["rows"] > index:
            self.fail("SHEET-STATEMENT", f"entry {index}: states rows of leaves that come after it", "erasure")
            return
        known = self.sheets.get(data["segment"])
        if data["version"] > (known["version"] if known else 1):
            self.raised.append((index, data["segment"], data["version"]))
        if known is None or data["version"] >= known["version"]:
            self.sheets[data["segment"]] = data

    def conclude(self) -> None:
        """What can be said only after the last leaf."""
        if self.unreadable:
            what = f"{self.unreadable} entries could not be read, so numbers and epochs cannot be counted"
            self.report.add("completeness", NOT_ASSESSED, "UNREADABLE", self.log, what)
        for source, missing in self.missing.items():
            for first, last in uncovered(missing, sorted(self.gaps.get(source, []))):
                what = f"numbers {first} to {last} of {shown(source)} are missing and no gap leaf names them"
                self.fail("SEQUENCE-GAP", what)
        if not self.minimum and self.first_type not in (
            b"",
            b"project.create" if self.log == "system" else b"epoch.open",
        ):
            self.fail("EPOCH-ORDER", f"the first leaf is {self.first_type.decode()}")
        for (provider, first_day, last_day), (index, data) in self.reconciled.items():
            what = f"entry {index}: {provider}'s own counts of {first_day} to {last_day}"
            if data["missing_requests"] or data["missing_tokens"] != "0":
                what += (
                    f" have {data['missing_requests']} requests and {data['missing_tokens']} tokens that are not here"
                )
                self.report.fail("UNRECORDED-CALLS", self.log, what, "completeness")
            else:
                self.report.add("completeness", OK, "RECONCILED", self.log, f"{what} have nothing that is not here")
        ends_clean = self.last_type == b"epoch.close" and self.clean
        for call, (index, time_us) in self.open_calls.items():
            if not self.unreadable and (ends_clean or self.newest_us - time_us > OPEN_CALL_US):
                name = binascii.a2b_base64(call.translate(FROM_URL) + b"==").hex()
                what = f"entry {index}: call {name} has no outcome, {(self.newest_us - time_us) // 1_000_000} s later"
                self.report.warn("OPEN-INTENT", self.log, what, "completeness")
        if not ends_clean:
            what = "the last leaf is not a clean epoch.close: the service is running, or did not stop cleanly"
            self.report.warn("OPEN-EPOCH", self.log, what, "completeness")
        self._compare_ids()

    def _compare_ids(self) -> None:
        """Ids are unique in a log. Compared in sets of bounded size, parted by a random byte of the id."""
        ids, parts = self.ids, len(self.ids) // 16 // IDS_AT_ONCE + 1
        for part in range(parts):
            places = [i for i in range(0, len(ids), 16) if parts == 1 or ids[i + 15] % parts == part]
            chosen = [bytes(ids[i : i + 16]) for i in places]
            if len(set(chosen)) != len(chosen):
                chosen.sort()
                for twice in sorted({a for a, b in zip(chosen, chosen[1:]) if a == b}):
                    self.fail("DUPLICATE-ID", f"the id {twice.hex()} stands in two leaves", "integrity")


def shown(source: Source) -> str:
    return f"{source[0].decode()}.{source[1].decode()}"


def uncovered(missing: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of the missing numbers no range names. Both lists rise, so one walk along both is enough."""
    at, reach = 0, 0  # the next range, and how far those before it go
    for first, last in missing:
        low = max(first, reach + 1)
        while at < len(ranges) and ranges[at][0] <= last:
            if ranges[at][0] > low:
                yield low, ranges[at][0] - 1
            reach = max(reach, ranges[at][1])
            low = max(low, reach + 1)
            at += 1
        if low <= last:
            yield low, last


CITED_DAYS, NOTICE_DAYS = 30, 7  # how long bytes may be cited; how long a retention must have been on record
DAY_US = 86_400_000_000


def as_json(value: Any) -> bytes:
    """Canonical, for what is ASCII and whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def why_not_policy(retention: list[tuple[int, int, dict[str, int]]], project: str, act: Act) -> str:
    """Why a log may not be pruned so; empty if the longest retention of the last days allows it."""
    past = [row for row in retention if row[1] <= act.time_us]
    old = sum(row[1] <= act.time_us - NOTICE_DAYS * DAY_US for row in past)
    days = [row[2].get(project) for row in past[max(old - 1, 0) :]]
    if not past or past[-1][0] != act.data["policy"]:
        return "it does not name the config.change that was in force"
    if not old or None in days:
        return f"the system log had no retention of this project on record for {NOTICE_DAYS} days"
    longest = max(one for one in days if one is not None)
    return "" if act.data["days"] >= longest else f"retention was {longest} days, and it says {act.data['days']}"


class Approvers(NamedTuple):
    """Who may approve, from one leaf of the system log on."""

    entry: int
    time_us: int
    keys: dict[str, bytes]


class Acts:
    """Erasures, holds and lists of approvers of one log: two persons must have signed the exact scope of each act."""

    def __init__(self, report: Report, log: str, origin: str, lists: list[Approvers]) -> None:
        self.report, self.log, self.origin, self.lists = report, log, origin, lists

    def fail(self, act: Act, code: str, what: str) -> None:
        self.report.fail(code, self.log, f"entry {act.entry}: {act.kind}: {what}", "authority")

    def hear_approvers(self, acts: list[Act]) -> None:
        """The system log's lists; one that came to be without its approvals is nobody's list."""
        for act in acts:
            if act.kind != "approvers.change":
                continue
            listed = act.data["approvers"]
            names = [one["name"] for one in listed]
            keys = {one["name"]: from_b64u(one["key"]) for one in listed}
            newest = self.lists[-1] if self.lists else None
            if act.data["previous"] != (newest.entry if newest else None):
                self.fail(act, "ACT-FORM", "it does not name the list that it replaces")
            elif names != sorted(keys) or len(set(keys.values())) != len(names) or len(names) < 2:
                self.fail(act, "ACT-FORM", "its approvers are not two or more, in order, each with their own key")
            elif newest is None or self.is_approved(act, newest):
                self.lists.append(Approvers(act.entry, act.time_us, keys))

    def is_allowed(self, act: Act) -> bool:
        in_force = [one for one in self.lists if one.time_us <= act.time_us]
        if not in_force or in_force[-1].entry != act.data["approvers"]:
            self.fail(act, "APPROVERS-UNKNOWN", "it does not name the list of approvers that was in force")
            return False
        return self.is_approved(act, in_force[-1])

    def is_approved(self, act: Act, by: Approvers) -> bool:
        """Signatures over the log's origin, the type, and the data without them."""
        approvals = act.data["approvals"]
        names = [approval["approver"] for approval in approvals]
        scope = {name: value for name, value in act.data.items() if name != "approvals"}
        message = b"affidavit/approval/v1\0"
        for part in (self.origin.encode(), act.kind.encode()):
            message += len(part).to_bytes(2, "big") + part
        message += hashlib.sha256(json.dumps(scope, sort_keys=True, separators=(",", ":")).encode()).digest()
        for approval in approvals:
            key = by.keys.get(approval["approver"])
            if key is None or not signed_by(key, message, from_b64u(approval["signature"])):
                self.fail(act, "APPROVAL-FORGED", f"{approval['approver']} did not approve this")
                return False
        if names != sorted(set(names)):
            self.fail(act, "ACT-FORM", "its approvals are not in order, or one stands twice")
        elif len(names) < 2:
            self.fail(act, "APPROVAL-MISSING", f"{len(names)} approved it, and two must")
        elif act.time_us > act.data["expires_us"]:
            self.fail(act, "APPROVAL-EXPIRED", "it came after its approvals had expired")
        else:
            return True
        return False

    def is_restored(self, act: Act) -> bool:
        """Whether two approvers of the shard before confirmed what a shard that goes on from a backup says of it."""
        if any(row["lost_to"] is not None and row["lost_to"] < row["size"] for row in act.data["logs"]):
            self.fail(act, "ACT-FORM", "it says that leaves were lost which it has")
            return False
        data = {name: value for name, value in act.data.items() if name != "signatures"}
        return self.is_allowed(act._replace(data=data))

    def check(self, told: Testimony) -> None:
        """Holds and erasures in their order, and whether an erasure stands behind each later key sheet."""
        holds: dict[int, dict[str, Any]] = {}
        versions: dict[int, int] = {}
        named: dict[tuple[int, int], int] = {}
        for act in told.acts:
            if act.kind == "hold.place":
                ranges = act.data["ranges"]
                backwards = any(first > last for first, last in ranges)
                if not ranges or backwards or any(one[1] >= other[0] for one, other in zip(ranges, ranges[1:])):
                    self.fail(act, "ACT-FORM", "its ranges are none, or not in order")
                holds[act.entry] = act.data  # it protects even if it is badly written
            elif act.kind == "log.pruned":
                for entry, hold in holds.items():
                    if min(entry, *(first for first, _ in hold["ranges"])) < act.data["minimum"]:
                        self.fail(act, "UNDER-HOLD", f"it lets go what the hold of entry {entry} covers, or the hold")
            elif act.kind == "hold.release" and act.data["placed"] < told.minimum and act.data["placed"] not in holds:
                continue  # what it released was pruned with it
            elif act.kind == "hold.release":
                placed = holds.get(act.data["placed"])
                if placed is None or placed["hold"] != act.data["hold"]:
                    self.fail(act, "HOLD-UNKNOWN", "no such hold is in force")
                elif self.is_allowed(act):
                    del holds[act.data["placed"]]
            elif act.kind == "erasure":
                self.erase(act, told, holds, versions)
                for sheet in act.data["sheets"]:
                    versions[sheet["segment"]] = sheet["version"]
                    named.setdefault((sheet["segment"], sheet["version"]), act.entry)
        for index, segment, version in told.raised:
            if named.get((segment, version), index) >= index and segment * SEGMENT >= told.minimum:
                what = f"entry {index}: version {version} of the key sheet of segment {segment}: no erasure names it"
                self.report.fail("SHEET-UNAUTHORISED", self.log, what, "authority")

    def erase(self, act: Act, told: Testimony, holds: dict[int, dict[str, Any]], versions: dict[int, int]) -> None:
        leaves, right = act.data["leaves"], False
        segments = sorted({leaf // SEGMENT for leaf in leaves})
        sheets = [(sheet["segment"], sheet["version"]) for sheet in act.data["sheets"]]
        if not leaves or any(one >= other for one, other in zip(leaves, leaves[1:])):
            self.fail(act, "ACT-FORM", "its leaves are none, or not in order")
        elif [segment for segment, _ in sheets] != segments or any(
            version != versions.get(segment, 1) + 1 for segment, version in sheets if segment * SEGMENT >= told.minimum
        ):
            self.fail(act, "ACT-FORM", "it does not name the next version of the key sheet of each of its leaves")
        elif leaves[-1] >= act.entry or not all(told.has_body[leaf] for leaf in leaves):
            self.fail(act, "ERASURE-SCOPE", "it names a leaf that comes after it, or one without a body")
        else:
            right = self.is_allowed(act)
        for placed, hold in holds.items():
            held = [leaf for leaf in leaves if any(first <= leaf <= last for first, last in hold["ranges"])]
            if held:
                self.fail(act, "UNDER-HOLD", f"it erases leaf {held[0]}, which the hold of entry {placed} covers")
                right = False
        kept = [(segment, version) for segment, version in sheets if segment * SEGMENT >= told.minimum]
        if any(told.sheets.get(segment, {"version": 1})["version"] < version for segment, version in kept):
            what = f"entry {act.entry}: approved, and a key sheet still holds the keys"
            self.report.warn("ERASURE-PENDING", self.log, what, "erasure")
        elif right:
            by = " and ".join(approval["approver"] for approval in act.data["approvals"])
            what = f"entry {act.entry}: {len(leaves)} leaves, the first is {leaves[0]}, approved by {by}"
            self.report.add("erasure", OK, "ERASED", self.log, what)


def from_b64u(text: str) -> bytes:
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def promise_keys(vkeys: list[str]) -> list[bytes]:
    """The keys that the installation makes promises with, and vouches for its capture points."""
    found = []
    for vkey in dict.fromkeys(vkeys):
        try:
            found.append(parse_vkey(vkey, 0x01, 32)[2])
        except Damage:
            continue
    return found


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        return Ed25519Key(key).verify(message, signature)
    except (Damage, ValueError):  # a key that is no point
        return False


# ----------------------------------------------------------------------------------------------------------------------
# 9. Unpublished parts: write-ahead log and stage
# ----------------------------------------------------------------------------------------------------------------------

WAL_MAGIC, WAL_FRAME_HEADER, WAL_CIPHERTEXT_MAX = b"afwal01\n", 44, (1 << 20) + 16
WAL_FILE_BYTES_MAX = 66 << 20  # the 64 MiB of the format, and a frame that began before them
WAL_SEARCH_MAX = 1 << 28  # bytes looked at in search of whole frames behind a damage; contents may be made to be slow
WAL_SEARCH_STEP = 64  # what a step of this search counts for: about the time in which so many bytes are summed
STAGE_MAGIC, STAGE_HEADER_MAX = b"afstage\n", 16 << 20


def wal_frames(data: bytes, at: int) -> Iterator[tuple[int, int | None]]:
    """Each whole frame: where it begins, and its synced_to. None stands for that where a damaged stretch begins."""
    searching, work = False, 0
    end_of_all = len(data.rstrip(b"\0"))  # behind it is room for frames to come
    while at < end_of_all:
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + WAL_FRAME_HEADER + length + 4
        if length <= WAL_CIPHERTEXT_MAX and end <= len(data) and data[at + 16] < 2 and data[at + 17] == 0:
            if zlib.crc32(memoryview(data)[at : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
                yield at, int.from_bytes(data[at + 36 : at + 44], "big")
                searching, at = False, end
                continue
            work += length
        if not searching:
            yield at, None
        searching, at, work = True, at + 1, work + WAL_SEARCH_STEP
        if work > WAL_SEARCH_MAX:
            return
    if at < len(data) and not searching:
        yield at, None


def examine_wal(directory: Directory, report: Report, names: list[str]) -> None:
    """One shard. Damage below what a whole frame says was durable is corruption; above it, it is a torn tail."""
    durable, damage = 0, []  # positions: file number * 2^40 + offset
    for name in names:
        base = int(name.rpartition("/")[2]) << 40
        data = directory.read(name, WAL_FILE_BYTES_MAX)
        start = 16 + int.from_bytes(data[8:12], "big")
        if data[:8] != WAL_MAGIC or zlib.crc32(data[: start - 4]) != int.from_bytes(data[start - 4 : start], "big"):
            damage.append((base, name))
            start = 0
        for at, synced_to in wal_frames(data, start):
            if synced_to is None:
                damage.append((base + at, name))
            else:
                durable = max(durable, synced_to)
    for position, name in damage:
        if position < durable:
            what = f"{name}: damaged at {position & (1 << 40) - 1}, where everything was durable once"
            report.fail("WAL-DAMAGE", None, what)
    what = f"{names[0].rpartition('/')[0]}: what {len(names)} files hold may not be sealed yet"
    report.warn("PENDING", None, what, "completeness")


def read_stage(directory: Directory, name: str) -> list[tuple[str, int, int]]:
    """Check a stage's hash; gives for each log in it the leaves [first, end) that it holds."""
    with directory.open(name, STAGE_MAGIC) as file:
        header = file.read(min(int.from_bytes(file.read(4), "big"), STAGE_HEADER_MAX))
        file.seek(0)
        if digest_of(file, os.fstat(file.fileno()).st_size - HASH) != file.read(HASH + 1):
            raise Damage("STAGE", f"{name}: its hash does not match")
    try:
        stated = json.loads(header)
        ranges = [(log["log"], log["first"], log["count"]) for log in stated["logs"]]
        right = all(isinstance(log, str) and _count(first) and _count(count) for log, first, count in ranges)
        right = right and stated["v"] == 1 and stated["cut"] == int(name[-8:])
    except (ValueError, TypeError, LookupError, RecursionError):
        right = False
    if not right:
        raise Damage("STAGE", f"{name}: its header is not what the format says")
    return [(log, first, first + count) for log, first, count in ranges]


def examine_stage(directory: Directory, report: Report, name: str) -> None:
    read_stage(directory, name)
    report.warn("PENDING", None, f"{name}: sealed but not published yet", "completeness")


def pending_leaves(directory: Directory, log: str) -> list[tuple[int, int]]:
    """What stages hold of this log now, oldest first; a damaged one holds nothing, and is a finding elsewhere."""
    ranges: list[tuple[int, int]] = []
    for name in sorted(directory.list(Report(), "stage/")):
        try:
            ranges += [(first, end) for named, first, end in read_stage(directory, name) if named == log]
        except Damage:
            continue
    return ranges


# ----------------------------------------------------------------------------------------------------------------------
# 10. One log
# ----------------------------------------------------------------------------------------------------------------------

HEADERS_MAGIC, BODIES_MAGIC, SHEET_MAGIC = b"afhead1\n", b"afbody1\n", b"afkeys1\n"
ROW = 88  # bytes of a key sheet's row
ZERO_ROW = bytes(ROW)
MISSING_BUNDLES_MAX = 1000  # more than these and half of all: the log is not examined, for a size may be a lie


class Examined(NamedTuple):
    """What the rest of the directory needs to know of a log."""

    name: str
    origin: str | None
    size: int
    root: bytes | None
    roots: dict[int, bytes]
    told: Testimony
    kept: set[bytes]  # promised digests that a leaf has
    unheld: dict[int, str]  # sizes of timestamps whose head is not here, and how that is said


class Log:
    """The examination of one log: heads, leaves with tiles and ciphertexts, higher tiles, sheets, what is left over.

    ``files`` holds the names found on disk; each step takes away what it accounts for, and what remains is a finding.
    """

    def __init__(
        self,
        directory: Directory,
        report: Report,
        *,
        name: str,
        keys: KeyHistory | None,
        files: set[str],
        wanted: frozenset[bytes],
        rules: Rules,
    ) -> None:
        self.directory, self.report, self.name, self.keys, self.files = directory, report, name, keys, files
        self.wanted = wanted  # digests that somebody was promised a leaf for
        self.kept: set[bytes] = set()
        self.place = f"logs/{name}/"
        self.heads: dict[int, bytes] = {}  # size: root, of every kept head that both keys signed
        self.origin: str | None = None
        self.size = 0  # leaves below the head that is examined
        self.size_pending = 0  # and with those that pending stages hold, or that were published meanwhile
        self.told = Testimony(report, name)
        self.tree = Tree(())
        self.segments = b""  # hashes of the segments that were pruned
        self.times = Times(self, rules)

    def fail(self, code: str, what: str, axis: str = "integrity") -> None:
        self.report.fail(code, self.name, what, axis)

    def examine(self, sizes: Iterable[int]) -> Examined:
        """``sizes``: those at which a pin or a roster states a root."""
        head = self.read_heads()
        if head is not None:
            self.find_beginning(head.size)
        if head is None or self.is_hollow(head.size):
            self.times.conclude(read=False)
            return Examined(self.name, self.origin, 0, None, {}, self.told, self.kept, self.times.unheld)
        self.size = self.size_pending = head.size
        self.segments = self.segment_hashes()
        self.tree = Tree({*self.heads, self.size, *sizes}, self.segments)
        self.read_leaves()
        self.check_higher_tiles()
        self.check_heads(head)
        for segment in range(self.told.minimum // SEGMENT, -(-self.size // SEGMENT)):
            self.check_sheet(segment)
        self.check_left_over()
        self.told.conclude()
        self.times.conclude(read=True)
        self.times.check_age(head)
        roots, unheld = self.tree.roots, self.times.unheld
        return Examined(self.name, self.origin, self.size, head.root, roots, self.told, self.kept, unheld)

    # -- heads

    def read_head(self, name: str) -> tuple[Head, bytes] | None:
        """A head with both signatures, and its bytes; anything less is a finding."""
        self.files.discard(name)
        try:
            data = self.directory.read(name, NOTE_BYTES_MAX)
            head = parse_head(data)
            if len(head.signatures) != 2:
                raise Damage("HEAD", "it has not exactly two signatures")
            if self.keys and (objection := head.objection(self.keys.at(head.size))):
                raise Damage("SIGNATURE", objection)
            if self.origin not in (None, head.origin):
                raise Damage("ORIGIN", "its origin is not that of the log's other heads")
        except Damage as damage:
            self.fail(damage.code, f"{name}: {damage}")
            if self.keys and damage.code in ("HEAD", "SIGNATURE") and (wrong := wrong_signers(data, self.keys)):
                self.fail(wrong[0], f"{name}: {wrong[1]}", "authority")
            return None
        self.origin = head.origin
        if self.keys and self.keys.is_revoked(head.size):
            what = f"{name}: signed with keys that the root key revoked for heads of this size"
            self.fail("KEY-REVOKED", what, "authority")
        return head, data

    def read_heads(self) -> Head | None:
        """All heads; returns the newest published one: the checkpoint, or if it is damaged the largest kept."""
        name = self.place + "tree/checkpoint"
        published, newest = self.read_head(name), None
        names = {n for n in self.files if n.startswith(self.place + "heads/")}
        if published:
            names.add(f"{self.place}heads/{published[0].size}")
        for kept_name in sorted(names):
            size, kept = int(kept_name.rpartition("/")[2]), self.read_head(kept_name)
            if kept and kept[0].size != size:
                self.fail("HEAD", f"{kept_name}: it is a head of size {kept[0].size}")
            elif kept:
                self.heads[size] = kept[0].root
                newest = kept[0] if newest is None or size > newest.size else newest
                if published and size == published[0].size and kept[1] != published[1]:
                    self.fail("HEAD", f"{name}: not the same bytes as {kept_name}")
        if published is None and newest is None:
            self.fail("NO-HEAD", f"{self.place}: no head that its log signed, so nothing in it can be judged")
        return published[0] if published else newest

    def is_hollow(self, size: int) -> bool:
        """Whether most of the log is not here at all, so that to name what is missing would never end."""
        bundles = sum(name.startswith(self.place + "tree/tile/entries/") for name in self.files)
        hollow = -(-(size - self.told.minimum) // TILE) > 2 * bundles + MISSING_BUNDLES_MAX
        if hollow:
            self.fail("MISSING", f"{self.place}: the head states {size} leaves, and only {bundles} bundles are here")
        return hollow

    def check_heads(self, newest: Head) -> None:
        """Each head against the tree, and against the partial tiles that it still needs."""
        for size, root in {**self.heads, self.size: newest.root}.items():
            if size > self.size:
                self.beyond(size, f"{self.place}heads/{size}: newer than the checkpoint")
            elif self.tree.roots.get(size) != root and not self.is_below(size):
                self.fail("ROOT", f"the head of size {size}: the tree here has another root at that size")
            level, count, now = 0, size, self.size
            while 0 < count < now:
                number, width = divmod(count, TILE)
                for kind in ("entries", "0") if level == 0 else (str(level),):
                    name = self.place + tile_name(kind, number, width)
                    if width and number == now // TILE and name not in self.files:
                        self.fail("MISSING", f"{name}: missing, and the head of size {size} needs it")
                level, count, now = level + 1, number, now // TILE

    def beyond(self, size: int, what: str) -> None:
        """Something that reaches past the head, to this size: right only if a stage or a newer head covers it."""
        if size > self.size_pending:
            self.look_again()
        if size <= self.size_pending:
            what = f"{what}; leaves that are being published account for it"
            self.report.warn("PENDING", self.name, what, "completeness")
        else:
            self.fail("BEYOND-HEAD", f"{what}; no head and no pending stage accounts for it")

    def look_again(self) -> None:
        """How far the log may go by now. Stages come first: one that went in between has a newer head in its place.

        What lies there is not compared with a stage: its hash has no key, so that would show nothing, and a restart
        truncates the files to what the stage says.
        """
        try:
            ranges = pending_leaves(self.directory, self.name)
            head = parse_head(self.directory.read(self.place + "tree/checkpoint", NOTE_BYTES_MAX))
        except Damage:
            return
        if self.keys is None or head.objection(self.keys.at(head.size)) is None:
            self.size_pending = max(self.size_pending, head.size)
        for first, end in ranges:
            if first <= self.size_pending:
                self.size_pending = max(self.size_pending, end)

    # -- where what is left begins; section 24 of the formats

    def find_beginning(self, size: int) -> None:
        """The minimum index, which the newest log.pruned states; more that is missing at the beginning is a finding."""
        bundles: dict[int, tuple[int, str]] = {}
        for name in self.files:
            tile = re.fullmatch(TILE_PATH, name[len(self.place) :])
            if tile and tile["level"] == "entries":
                number, width = int(tile["number"].replace("/", "").replace("x", "")), int(tile["width"] or TILE)
                bundles[number] = max(bundles.get(number, (0, "")), (width, name))
        here = next((at for at in range(0, size, SEGMENT) if at // TILE in bundles), 0)
        if not here:
            return
        newest: dict[str, Any] | None = None
        for number in sorted(bundles, reverse=True):
            if newest is None and number * TILE >= here:
                newest = self.pruned_leaf(bundles[number][1])
        minimum = newest["minimum"] if newest else 0
        if newest and here <= minimum < size:
            self.told.begin_at(minimum, newest["state"])
            what = f"entries below {minimum} were pruned, {newest['days']} days and more after they were recorded"
            self.report.add("completeness", OK, "PRUNED", self.name, what)
        else:
            self.told.begin_at(here, None)
            if here > minimum:
                what = f"entries {minimum} to {here - 1} are not here, and no log.pruned leaf names them"
                self.fail("PRUNE-UNRECORDED", what, "completeness")
        if left := sorted(name for name in self.files if self.is_pruned(name)):
            what = f"{left[0]} and {len(left) - 1} more files belong to entries that were pruned"
            self.report.warn("PRUNE-UNFINISHED", self.name, what)
            self.files.difference_update(left)

    def pruned_leaf(self, name: str) -> dict[str, Any] | None:
        """What the last log.pruned of a bundle states; whether it belongs to the tree shows when the log is read."""
        try:
            leaves = split_entries(self.directory.read(name, BUNDLE_BYTES_MAX)) or []
        except Damage:
            return None
        for leaf in reversed(leaves):
            match = LEAF.fullmatch(leaf) if b'"type":"log.pruned"' in leaf else None
            try:
                facts = public_facts("", match) if match and match["type"] == b"log.pruned" else None
            except Damage:
                continue
            if facts and not facts["minimum"] % SEGMENT:
                return facts
        return None

    def is_pruned(self, name: str) -> bool:
        """Whether a file belongs to entries below the minimum index alone."""
        kind, _, rest = name[len(self.place) :].partition("/")
        minimum, tile = self.told.minimum, re.fullmatch(TILE_PATH, name[len(self.place) :])
        if tile:
            number = int(tile["number"].replace("/", "").replace("x", ""))
            return number * {"entries": TILE, "0": TILE, "1": SEGMENT}.get(tile["level"], NUMBER_END) < minimum and (
                tile["level"] in ("entries", "0", "1")
            )
        return kind in ("bodies", "headers", "sheets") and int(rest.partition(".")[0]) * SEGMENT < minimum

    def is_below(self, size: int) -> bool:
        """Whether no root can be made any more at this size."""
        return 0 < size < self.told.minimum and size % SEGMENT != 0

    def segment_hashes(self) -> bytes:
        """Of the segments that were pruned, from the tiles of level 2; the root of the newest head proves them."""
        count, row = self.told.minimum // SEGMENT, b""
        for number in range(-(-count // TILE)):
            width = min(TILE, (self.size >> 16) - number * TILE)
            row += self.read_hashes("2", number, width) or bytes(width * HASH)
        return row[: count * HASH]

    # -- leaves and tiles

    def read_leaves(self) -> None:
        """Every bundle with its tile, and in step with it the ciphertexts of the same leaves."""
        for number in range(self.told.minimum // SEGMENT, -(-self.size // SEGMENT)):
            if number:
                self.told.remember_state(number * SEGMENT)
            segment = Segment(self, number)
            for tile in range(number * SEGMENT // TILE, -(-min(self.size, (number + 1) * SEGMENT) // TILE)):
                self.tree.add_tile(self.read_tile(tile, min(TILE, self.size - tile * TILE), segment))
            segment.close()

    def read_tile(self, number: int, width: int, segment: Segment) -> bytes:
        """One bundle and its level-0 tile. Where they differ the tree goes on with the tile: the root will judge it."""
        first, sha256 = number * TILE, hashlib.sha256
        tile = self.read_hashes("0", number, width)
        name = self.place + tile_name("entries", number, width)
        try:
            data, whole = self.read_part("entries", number, width)
            leaves = split_entries(data)
            if leaves is None or len(leaves) != whole:
                raise Damage("BUNDLE", f"{name}: does not hold {width} entries")
        except Damage as damage:
            self.fail(damage.code, str(damage))
            self.told.unreadable += width
            self.told.lose(first, width)
            segment.skip(width)
            return tile or bytes(width * HASH)
        hashes = b"".join([sha256(b"\0" + leaf).digest() for leaf in leaves[:width]])
        if tile is not None and tile != hashes:
            for i in range(0, len(tile), HASH):
                if hashes[i : i + HASH] != tile[i : i + HASH]:
                    self.fail("ENTRY", f"entry {first + i // HASH}: {name} and its tile of level 0 differ")
        segment.hear(first, leaves[:width])
        return tile or hashes

    def read_hashes(self, level: str, number: int, width: int) -> bytes | None:
        try:
            data, whole = self.read_part(level, number, width)
            if len(data) != whole * HASH:
                raise Damage("TILE", f"{self.place}{tile_name(level, number, width)}: does not hold {width} hashes")
        except Damage as damage:
            self.fail(damage.code, str(damage))
            return None
        return data[: width * HASH]

    def read_part(self, level: str, number: int, width: int) -> tuple[bytes, int]:
        """A tile or bundle and its width; or the full one, if that took the place of a partial one while this ran."""
        name, full = (self.place + tile_name(level, number, w) for w in (width, TILE))
        self.files.discard(name)
        try:
            return self.directory.read(name, BUNDLE_BYTES_MAX), width
        except Damage as damage:
            try:
                return self.directory.read(full, BUNDLE_BYTES_MAX), TILE
            except Damage:
                raise damage from None

    def check_higher_tiles(self) -> None:
        nodes, level, first = bytes(self.tree.full), 1, self.told.minimum // SEGMENT
        while nodes or level == 1:
            above = [self.segments] if level == 1 else []
            for place in range(-(-len(nodes) // (TILE * HASH))):
                content = nodes[TILE * HASH * place :][: TILE * HASH]
                width, number = len(content) // HASH, place + (first if level == 1 else 0)
                if self.read_hashes(str(level), number, width) not in (None, content):
                    name = self.place + tile_name(str(level), number, width)
                    self.fail("TILE", f"{name}: not the hashes of the tiles below it")
                if width == TILE:
                    above.append(levels(content)[8])
            nodes, level = b"".join(above), level + 1

    # -- key sheets

    def check_sheet(self, segment: int) -> None:
        """The sheet in force, and its rows against the leaves that they are for."""
        prefix = f"{self.place}sheets/{segment:06d}."
        versions = sorted(int(name[len(prefix) :]) for name in self.files if name.startswith(prefix))
        if not versions:
            self.fail("MISSING", f"{prefix}1: missing")
            return
        self.files.difference_update(f"{prefix}{version}" for version in versions)
        for version in versions[:-1]:
            self.fail("SHEET-OLD", f"{prefix}{version}: was replaced, and is still here", "erasure")
        name, rows = f"{prefix}{versions[-1]}", min(SEGMENT, self.size - segment * SEGMENT)
        try:
            with self.directory.open(name, SHEET_MAGIC) as file:
                data = file.read(ROW * rows)
                self.check_end(file, segment, name)
            if len(data) != ROW * rows:
                raise Damage("SIZE", f"{name}: has fewer than {rows} rows, one for each leaf")
        except Damage as damage:
            self.fail(damage.code, str(damage))
            return
        used = [data[i : i + ROW] != ZERO_ROW for i in range(0, len(data), ROW)]
        for row, (is_used, body) in enumerate(zip(used, self.told.has_body[segment * SEGMENT :][:rows])):
            if is_used != body < 2:
                what = "is blank although the leaf has a body" if body else "is used although the leaf has no body"
                self.fail("SHEET-ROW", f"{name}: row {row} {what}", "erasure")
        self.check_sheet_statement(self.told.sheets.get(segment), name, data, used)

    def check_sheet_statement(self, stated: dict[str, Any] | None, name: str, data: bytes, used: list[bool]) -> None:
        """The same sheet against the newest statement of a leaf."""
        version, rows = (stated["version"], stated["rows"]) if stated else (1, 0)
        if not name.endswith(f".{version}"):
            self.fail("SHEET-CHANGED", f"{name}: version {version} is the one that leaves speak of", "erasure")
            return
        digest = b64u(hashlib.sha256(SHEET_MAGIC + data[: ROW * rows]).digest()).decode()
        if stated and (rows > len(used) or digest != stated["sha256"]):
            what = f"{name}: its first {rows} rows are not those that a leaf committed to"
            self.fail("SHEET-CHANGED", what, "erasure")
        if True in used[rows:]:
            what = f"{name}: no leaf speaks yet of row {used.index(True, rows)} and those after it"
            self.report.add("erasure", NOT_ASSESSED, "SHEET-UNCOVERED", self.name, what)

    # -- ends and rests

    def check_end(self, file: BinaryIO, segment: int, name: str) -> None:
        """A segment's file ends with its last leaf; only the open one may go on, for leaves to be published."""
        if not file.read(1):
            return
        if segment < self.size // SEGMENT:
            self.fail("SIZE", f"{name}: goes on after its last leaf")
        else:
            self.beyond(self.size + 1, f"{name}: goes on after its last leaf")

    def check_left_over(self) -> None:
        """Files that no step took: partial tiles of earlier heads, what a stage put there, what should not be here."""
        for name in sorted(self.files):
            kind, _, rest = name[len(self.place) :].partition("/")
            tile = re.fullmatch(TILE_PATH, name[len(self.place) :])
            try:
                if kind == "anchors":
                    what = f"{name}: this version of the format has no such evidence; it was not read"
                    self.report.warn("ANCHOR-UNREAD", self.name, what, "anchor")
                elif tile:
                    number = int(tile["number"].replace("/", "").replace("x", ""))
                    self.check_partial(name, tile["level"], number, int(tile["width"] or TILE))
                else:
                    segment = int(rest.partition(".")[0])
                    if segment * SEGMENT < self.size or rest.partition(".")[0] != f"{segment:06d}":
                        raise Damage("UNKNOWN-FILE", f"{name}: no leaf of this log accounts for it")
                    self.beyond(segment * SEGMENT + 1, f"{name}: a segment past the newest head")
            except Damage as damage:
                self.fail(damage.code, str(damage))

    def check_partial(self, name: str, level: str, number: int, width: int) -> None:
        """A tile that the newest head does not need: the beginning of the one that it does need, or a stage's."""
        height = 0 if level == "entries" else int(level)
        newest = min(TILE, (self.size >> 8 * height) - TILE * number)
        if name != self.place + tile_name(level, number, width):
            raise Damage("UNKNOWN-FILE", f"{name}: the format knows no such tile")
        if width > newest:
            self.beyond((TILE * number + width) << 8 * height, f"{name}: a tile past the newest head")
            return
        whole = self.directory.read(self.place + tile_name(level, number, newest), BUNDLE_BYTES_MAX)
        entries = split_entries(whole) if level == "entries" else None
        expected = whole[: width * HASH] if entries is None else join_entries(entries[:width])
        if self.directory.read(name, BUNDLE_BYTES_MAX) != expected:
            raise Damage("TILE", f"{name}: not the beginning of the newest tile at its place")
        if newest == TILE:
            self.report.warn("LEFTOVER", self.name, f"{name}: right, but its tile is finished")


class Segment:
    """The header blocks and bodies of 65,536 leaves, read in step with the leaves."""

    def __init__(self, log: Log, number: int) -> None:
        self.log, self.number = log, number
        self.lacks_bodies: Damage | None = None  # the file of bodies is not there at all
        self.headers, self.bodies = self._open("headers", HEADERS_MAGIC), self._open("bodies", BODIES_MAGIC)

    def _open(self, kind: str, magic: bytes) -> BinaryIO:
        """The file, or an empty one in its place, so that every leaf then lacks what it names."""
        name = f"{self.log.place}{kind}/{self.number:06d}"
        self.log.files.discard(name)
        try:
            return self.log.directory.open(name, magic)
        except Damage as damage:
            if kind == "bodies" and damage.code == "MISSING":
                self.lacks_bodies = damage
            else:
                self.log.fail(damage.code, str(damage))
            return io.BytesIO()

    def close(self) -> None:
        if self.lacks_bodies:
            lost = 1 in self.log.told.has_body[self.number * SEGMENT : (self.number + 1) * SEGMENT]
            self.log.fail("MISSING", str(self.lacks_bodies), "erasure" if lost else "integrity")
        for kind, file in (("headers", self.headers), ("bodies", self.bodies)):
            with file:
                self.log.check_end(file, self.number, f"{self.log.place}{kind}/{self.number:06d}")

    def skip(self, leaves: int) -> None:
        """Stay in step where leaves cannot be read."""
        for _ in range(leaves):
            digest_of(self.headers, int.from_bytes(self.headers.read(2), "big"))
            digest_of(self.bodies, int.from_bytes(self.bodies.read(4), "big"))

    def hear(self, first: int, leaves: list[bytes]) -> None:
        """The inner loop, a round for each leaf, so names are local: its form, its ciphertexts, and what it says."""
        log, told, read_header, read_body = self.log, self.log.told, self.headers.read, self.bodies.read
        sha256, number_of, plain, count = hashlib.sha256, int.from_bytes, binascii.a2b_base64, told.count
        has_body, ids, parse, wanted = told.has_body, told.ids, LEAF.fullmatch, log.wanted
        lacks_bodies = self.lacks_bodies
        judge = log.times.judge if log.times.held else None
        for index, leaf in enumerate(leaves, first):
            match = parse(leaf)
            if match is None or int(match["seq"]) >= NUMBER_END or int(match["time"]) >= NUMBER_END:
                told.cannot_read(index, why_not_a_leaf(leaf))
                told.lose(index, 1)
                self.skip(1)
                continue
            bucket, _, body, data, _, header, id_, call, boot, digest, source, number, time_us, kind = match.groups()
            if kind in CALLS:
                told.pair(index, kind, id_ if call is None else call, source, int(time_us))
            ids += plain(id_.translate(FROM_URL) + b"==")
            has_body.append(body is not None)

            frame = read_header(2)
            length = number_of(frame, "big")
            if header is None:
                if frame != b"\0\0":
                    log.fail("HEADER", f"entry {index}: has no header block, and headers/{self.number:06d} disagrees")
                    read_header(length)
            elif b64u(sha256(read_header(length)).digest()) != header:
                log.fail("HEADER", f"entry {index}: its header block in headers/{self.number:06d} has another digest")

            frame = read_body(4)
            length = number_of(frame, "big")
            if lacks_bodies:
                pass  # said once, when the segment is closed
            elif body is not None and frame == b"\0\0\0\0":
                what = f"entry {index}: its body is not in bodies/{self.number:06d}, and no leaf says it was erased"
                log.fail("MISSING", what, "erasure")
            elif body is None:
                if frame != b"\0\0\0\0":
                    log.fail("BODY", f"entry {index}: has no body, and bodies/{self.number:06d} disagrees")
                    digest_of(self.bodies, length)
            else:
                found = sha256(read_body(length)).digest() if length <= CHUNK else digest_of(self.bodies, length)
                if b64u(found) != body or int(bucket) != (length - 1).bit_length():
                    log.fail("BODY", f"entry {index}: its body in bodies/{self.number:06d} has another digest or size")

            if digest in wanted:
                log.kept.add(digest)
            count(index, kind, (source, boot), int(number), int(time_us), digest=digest)
            if data is not None or kind in SPEAKING:
                self.hear_facts(index, match, (source, boot))
            if judge is not None:
                judge(index, (source, boot), int(time_us))

    def hear_facts(self, index: int, match: re.Match[bytes], source: Source) -> None:
        """A leaf that speaks of the log."""
        try:
            facts = public_facts(self.log.name, match)
        except Damage as damage:
            self.log.told.cannot_read(index, str(damage))
            return
        if match["type"] in (b"source.heartbeat", b"source.stop"):
            self.log.told.speak(index, source, int(match["seq"]), facts)
        if facts is not None:
            self.log.told.hear(index, match["type"].decode(), facts, source, int(match["seq"]))
            if "anchors" in facts:
                self.log.times.take(index, facts["anchors"])
            if "key" in facts and source in self.log.told.signing:
                self.log.told.signing[source].newest = match["digest"]


# ----------------------------------------------------------------------------------------------------------------------
# 10a. Witnesses (tlog-cosignature) and the verifier's policy (tlog-policy)
# ----------------------------------------------------------------------------------------------------------------------

ED25519, ED25519_COSIGNATURE, MLDSA44_COSIGNATURE = 0x01, 0x04, 0x06
KEY_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: ML_PUBLIC_BYTES}
POLICY_BYTES_MAX, DEFINITIONS_MAX = 1 << 20, 256
ANCHOR = re.compile(rf"logs/{PROJECT}/anchors/(0|[1-9][0-9]{{0,18}})\.witness")

ed25519_key, mldsa44_key = lru_cache(maxsize=64)(Ed25519Key), lru_cache(maxsize=64)(MlDsa44Key)


class Key(NamedTuple):
    """A verifier key of any type. Two are the same public key if ``public`` is the same, whatever they are called."""

    name: str
    id: bytes
    algorithm: int
    public: bytes

    def signed(self, head: Head, signature: bytes) -> bool:
        """Whether this is its signature under this head; the bytes after the key id."""
        if self.algorithm == ED25519:
            return ed25519_key(self.public).verify(head.text, signature)
        timestamp, rest = signature[:8], signature[8:]
        if timestamp > b"\x7f" + b"\xff" * 7:
            return False
        if self.algorithm == ED25519_COSIGNATURE:
            time = b"cosignature/v1\ntime %d\n" % int.from_bytes(timestamp, "big")
            return ed25519_key(self.public).verify(time + head.text, rest)
        cosigner, origin = self.name.encode(), head.origin.encode()
        if max(len(cosigner), len(origin)) > 255:
            return False
        message = b"subtree/v1\n\0" + bytes((len(cosigner),)) + cosigner + timestamp
        message += bytes((len(origin),)) + origin + bytes(8) + head.size.to_bytes(8, "big") + head.root
        return mldsa44_key(self.public).verify(message, rest)


def parse_key(vkey: str, algorithms: tuple[int, ...]) -> Key:
    """A vkey of one of these types."""
    encoded = "".join(vkey.split("+", 2)[2:])  # base64 may have plus signs of its own
    if any("\ud800" <= character <= "\udfff" for character in vkey):
        raise Damage("POLICY", "a verifier key is not UTF-8")
    algorithm = decode_base64(encoded[:4])[:1] if len(encoded) >= 4 else b""
    if not algorithm or algorithm[0] not in algorithms:
        raise Damage("POLICY", "a verifier key is not of a type that its line may have")
    name, key_id, public = parse_vkey(vkey, algorithm[0], KEY_BYTES[algorithm[0]])
    return Key(name, key_id, algorithm[0], public)


class Policy(NamedTuple):
    """Whose word counts: it comes from whoever verifies. Groups in the order of the file, so members come first."""

    logs: list[Key]
    witnesses: list[tuple[str, Key]]
    groups: list[tuple[str, int, list[str]]]
    quorum: str


def parse_policy(data: bytes) -> Policy:
    """A policy file is read in full or refused."""
    if len(data) > POLICY_BYTES_MAX or re.search(rb"[^\t\n\x20-\x7e\x80-\xff]", data) or not data.endswith(b"\n"):
        raise Damage("POLICY", "not a policy: too long, with control characters, or without a newline at its end")
    policy, quorum, names, members = Policy([], [], [], ""), "", set[str](), set[str]()

    def define(name: str) -> str:
        if name == "none" or name in names:
            raise Damage("POLICY", "a name is defined twice, or is none")
        names.add(name)
        return name

    def unique(key: Key, others: Iterable[Key]) -> Key:
        if key.public in {other.public for other in others}:
            raise Damage("POLICY", "two lines have the same public key")
        return key

    for raw in data.decode("utf-8", "surrogateescape").split("\n"):
        words = re.split(r"[ \t]+", raw.strip(" \t"))
        kind, count = words[0], len(words)
        if not kind or kind.startswith("#"):
            continue
        if kind == "log" and 2 <= count <= 3:
            policy.logs.append(unique(parse_key(words[1], (ED25519, MLDSA44_COSIGNATURE)), policy.logs))
        elif kind == "witness" and 3 <= count <= 4:
            key = parse_key(words[2], (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE))
            unique(key, [other for _, other in policy.witnesses])
            policy.witnesses.append((define(words[1]), key))
        elif kind == "group" and count >= 4:
            listed = words[3:]
            if not set(listed) <= names or members & set(listed) or len(set(listed)) != len(listed):
                raise Damage("POLICY", "a member is not defined above its group, or is a member twice")
            members.update(listed)
            threshold = {"any": "1", "all": str(len(listed))}.get(words[2], words[2])
            if not DECIMAL.fullmatch(threshold) or not 1 <= int(threshold) <= len(listed):
                raise Damage("POLICY", "a threshold does not lie between 1 and the number of members")
            policy.groups.append((define(words[1]), int(threshold), listed))
        elif kind == "quorum" and count == 2 and not quorum and (words[1] == "none" or words[1] in names):
            quorum = words[1]
        else:
            raise Damage("POLICY", "a line is none of log, witness, group and quorum, or a second or undefined quorum")
    if not quorum or max(len(policy.logs), len(policy.witnesses), len(policy.groups)) > DEFINITIONS_MAX:
        raise Damage("POLICY", "there is no quorum line, or there are too many definitions")
    return policy._replace(quorum=quorum)


def log_keys_of(keys: LogKeys) -> list[Key]:
    return [parse_key(vkey, (algorithm,)) for vkey, algorithm in zip(keys.vkeys, (ED25519, MLDSA44_COSIGNATURE))]


class Quorum:
    """A policy, and the keys of all logs here: no witness may have one of those, and no operator counts twice."""

    def __init__(self, policy: Policy, log_keys: list[Key]) -> None:
        self._policy = policy
        logs = list(dict.fromkeys([*policy.logs, *log_keys]))
        publics, names = {key.public for key in logs}, {key.name for key in logs}
        self.refused = [name for name, key in policy.witnesses if key.public in publics or key.name in names]
        self._witnesses = [(name, key) for name, key in policy.witnesses if name not in self.refused]
        known = [*logs, *(key for _, key in self._witnesses)]
        self._known = {(key.name, key.id): key for key in known}
        self._collide = len(self._known) != len(known)

    def met(self, head: Head) -> bool:
        """Whether a quorum cosigned a head that its log signed; raises where a known key's line does not verify."""
        if self._collide:
            raise Damage("ANCHOR", "two known keys share name and id, so that no line can be attributed")
        signed = set()
        for name, signature in head.signatures:
            key = self._known.get((name, signature[:4]))
            if key and not key.signed(head, signature[4:]):
                raise Damage("ANCHOR", f"the signature of {name} does not verify")
            signed.add(key)
        witnessing, operators = set(), set()
        for name, key in self._witnesses:
            if key in signed and key.name not in operators:
                operators.add(key.name)
                witnessing.add(name)
        if not witnessing:
            return False  # also where the policy asks for nobody: then nobody else saw the head
        for group, threshold, members in self._policy.groups:
            if len(witnessing.intersection(members)) >= threshold:
                witnessing.add(group)
        return self._policy.quorum in ("none", *witnessing)


# ----------------------------------------------------------------------------------------------------------------------
# 11. The whole directory
# ----------------------------------------------------------------------------------------------------------------------


ATTEMPTS_MAX = 3  # readings of a directory that changes and looks damaged; true damage looks the same each time


class Pin(NamedTuple):
    """A head that somebody kept elsewhere, as read."""

    file: str
    head: Head
    data: bytes


class Promise(NamedTuple):
    """What a client was promised about a record: that a leaf with this digest will be in that log by then."""

    name: str
    origin: str
    shard: str
    entry: bytes
    digest: bytes  # base64url, as the leaf has it
    seal_by_s: int
    key_id: bytes
    position: int
    size: int
    path: list[bytes]
    signature: bytes

    def objection(self, vkeys: list[str]) -> str | None:
        """Why none of these keys made this promise; None if one did."""
        for vkey in vkeys:
            try:
                _, key_id, public = parse_vkey(vkey, 0x01, 32)
                key = Ed25519Key(public)
            except Damage:
                continue
            if key_id == self.key_id:
                root = root_from_path(hashlib.sha256(b"\0" + self.entry).digest(), self.position, self.size, self.path)
                if root is None:
                    return "its path is none of a tree of its size"
                lines = ("affidavit/promise/v1", self.shard, self.seal_by_s, self.size, base64_root(root))
                text = "".join(f"{line}\n" for line in lines).encode()
                return None if key.verify(text, self.signature) else "its signature does not hold"
        return "no leaf of the system log names the key that made it"


PROMISE_HEADER = re.compile(r"(?i:x-affidavit-promise):[ \t]*(.*?)[ \t]*")
PROMISE_LINE = re.compile(r"[ \t]*([A-Za-z0-9_-]{268,})[ \t]*")
PROMISE_LENGTH_MAX, PROMISE_PATH_MAX, YEAR_9999_END = 4096, 32, 253402300799


def parse_promise(name: str, token: str) -> Promise:
    """Section 15: fields of fixed length behind two names, then a path and a signature."""
    data = binascii.a2b_base64(token.replace("-", "+").replace("_", "/") + "=" * (-len(token) % 4))
    if len(token) > PROMISE_LENGTH_MAX or b64u(data).decode() != token or data[:1] != b"\1":
        raise Damage("PROMISE", "not a promise of version 1")
    at = 1
    names = []
    for _ in range(2):
        text = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        if not text or not text.isascii() or not text.decode().isprintable():
            raise Damage("PROMISE", "its origin or shard is none")
        names.append(text.decode())
    fixed, rest = data[at : at + 132], data[at + 132 :]
    key_id, seal_by_s = fixed[112:116], int.from_bytes(fixed[116:124], "big")
    path, signature = rest[:-64], rest[-64:]
    if len(fixed) != 132 or len(rest) < 64 or len(path) % HASH or len(path) > PROMISE_PATH_MAX * HASH:
        raise Damage("PROMISE", "too short, or it does not end in a path and a signature")
    if seal_by_s > YEAR_9999_END:
        raise Damage("PROMISE", "it names no time")
    origin = names[0].encode()
    return Promise(
        name=name,
        origin=names[0],
        shard=names[1],
        entry=b"affidavit/promise/entry/v1\0" + bytes((len(origin),)) + origin + fixed[:80],
        digest=b64u(fixed[16:48]),
        seal_by_s=seal_by_s,
        key_id=key_id,
        position=int.from_bytes(fixed[124:128], "big"),
        size=int.from_bytes(fixed[128:132], "big"),
        path=[path[i : i + HASH] for i in range(0, len(path), HASH)],
        signature=signature,
    )


def read_promises(files: list[tuple[str, bytes]], report: Report) -> list[Promise]:
    """The promises in files: header lines, lines that are nothing else, or the one that a file of evidence is about."""
    found = []
    for name, data in files:
        try:
            if data.lstrip().startswith(b"{"):
                tokens = [json.loads(data)["promise"]]
            else:
                lines = data.decode("ascii", "replace").splitlines()
                matches = [PROMISE_HEADER.fullmatch(line) or PROMISE_LINE.fullmatch(line) for line in lines]
                tokens = [match[1] for match in matches if match]
        except (ValueError, LookupError, TypeError, RecursionError):
            tokens = []
        if not tokens:
            report.fail("PROMISE", None, f"{name}: there is no promise in it", "completeness")
        for number, token in enumerate(tokens, 1):
            try:
                found.append(parse_promise(f"{name}, promise {number}", token))
            except (Damage, ValueError, LookupError, AttributeError) as error:
                what = f"{name}, promise {number}: none of this format ({type(error).__name__}: {error})"
                report.fail("PROMISE", None, what, "completeness")
    return found


MANIFEST_BYTES_MAX = 1_000_000


class RootKey(NamedTuple):
    """A root key, and all manifests of it that whoever verifies has; section 22 of the formats."""

    vkey: str
    manifests: list[tuple[str, bytes]]


_revoked = {"generation": lambda v: _positive(v) and v <= GENERATIONS_MAX, "size": _count}
_generation = {"from": _count, "vkeys": _creation["vkeys"]}
_generations = _array(_object(_generation))
_entry = {
    "log": _matching(PROJECT + r"(?:@(?:[2-9]|[1-9][0-9]{1,3}))?"),
    "origin": _text,
    "revoked": _array(_object(_revoked)),
}
_entry["generations"] = lambda v: (
    _generations(v)
    and 0 < len(v) <= GENERATIONS_MAX
    and v[0]["from"] == 0
    and [one["from"] for one in v] == sorted({one["from"] for one in v})
)
KEY_MANIFEST = _object({"v": lambda v: _positive(v) and v == 1, "serial": _positive, "logs": _array(_object(_entry))})


def open_manifest(data: bytes, root: str) -> dict[str, Any]:
    """What the root key says of the keys of all logs; raises ``Damage`` unless it signed this very text."""
    name, key_id, public = parse_vkey(root, 0x01, 32)
    text, blank, tail = data.rpartition(b"\n\n")
    text, signed = text + b"\n", False
    lines = tail.decode("utf-8", "replace").split("\n")
    if not blank or lines.pop() or len(lines) > SIGNATURES_MAX or len(data) > MANIFEST_BYTES_MAX:
        raise Damage("MANIFEST", "not a signed note")
    for line in lines:
        match = SIGNATURE_LINE.fullmatch(line)
        signature = decode_base64(match[2]) if match else b""
        if match is None or len(signature) <= 4 or "\ufffd" in line or min(line) < " ":
            raise Damage("MANIFEST", "a line of the manifest is not a signature")
        if match[1] == name and signature[:4] == key_id:
            if not Ed25519Key(public).verify(text, signature[4:]):
                raise Damage("MANIFEST", "the root key's signature does not hold")
            signed = True
    title, _, body = text.partition(b"\n")
    if not signed or title != b"affidavit/manifest/v1" or not body.endswith(b"\n"):
        raise Damage("MANIFEST", "not a manifest that this root key signed")
    value = parse_canonical(body[:-1])
    if not KEY_MANIFEST(value):
        raise Damage("MANIFEST", "a member or value that the format does not know")
    names = [entry["log"] for entry in value["logs"]]
    if names != sorted(set(names)):
        raise Damage("MANIFEST", "its logs are not sorted")
    return dict(value)


def read_manifests(root: RootKey, report: Report) -> dict[str, Any] | None:
    """The manifest of the highest number; no younger one may take back what an older one said."""
    known = []
    for name, data in root.manifests:
        try:
            known.append(open_manifest(data, root.vkey))
        except Damage as damage:
            report.fail("MANIFEST", "system", f"{name}: {damage}", "authority")
    if not root.manifests:
        report.fail("MANIFEST", "system", "there is no key manifest beside the root key", "authority")
    known.sort(key=lambda manifest: int(manifest["serial"]))  # stable: of two of one number the first given counts
    for before, after in zip(known, known[1:]):
        if before == after:
            continue
        if before["serial"] == after["serial"]:
            what = f"the root key signed two manifests of number {after['serial']}: keep both"
            report.fail("MANIFEST-FORK", "system", what, "authority")
            continue
        later = {entry["log"]: entry for entry in after["logs"]}
        for old in before["logs"]:
            new, count = later.get(old["log"]), len(old["generations"])
            if (
                new is None
                or new["origin"] != old["origin"]
                or new["generations"][:count] != old["generations"]
                or any(one not in new["revoked"] for one in old["revoked"])
            ):
                what = f"manifest {after['serial']} takes back what {before['serial']} said of log {old['log']}"
                report.fail("MANIFEST-FORK", "system", what, "authority")
                break
    return next((one for one in known if one["serial"] == known[-1]["serial"]), None)


def named_keys(entry: dict[str, Any]) -> KeyHistory:
    """The keys of a log as a manifest names them."""
    pairs = [(one["from"] - 1, parse_vkeys((one["vkeys"][0], one["vkeys"][1]))) for one in entry["generations"]]
    if any(keys.origin != entry["origin"] for _, keys in pairs):
        raise Damage("MANIFEST", "a key of the manifest is not under the origin of its log")
    return KeyHistory(pairs, revocations(entry))


def revocations(entry: dict[str, Any] | None) -> tuple[tuple[int, int], ...]:
    return tuple((one["generation"], one["size"]) for one in entry["revoked"]) if entry else ()


def system_keys(manifest: dict[str, Any] | None) -> LogKeys | None:
    """The newest keys of the system log that the root key names."""
    for entry in manifest["logs"] if manifest else ():
        if entry["log"] == "system":
            try:
                return named_keys(entry).generations[-1][1]
            except Damage:
                return None
    return None


def keys_by_root(data: bytes, root: RootKey, given: LogKeys | None) -> LogKeys:
    """The pair that must have signed the head of a proof, by the root key's word."""
    report = Report()
    manifest = read_manifests(root, report)
    if manifest is None or report.findings():
        raise Damage("MANIFEST", report.findings()[0].what)
    head = parse_head(data.partition(b"\n\n")[2])
    entry = next((entry for entry in manifest["logs"] if entry["origin"] == head.origin), None)
    if entry is None:
        raise Damage("MANIFEST", "the root key's manifest does not name the log that this proof is from")
    history = named_keys(entry)
    if history.is_revoked(head.size):
        raise Damage("KEY-REVOKED", "its head is signed with keys that the root key revoked for heads of this size")
    if given is not None and given.vkeys != history.at(head.size).vkeys:
        raise Damage("MANIFEST", "the root key's manifest names other keys for heads of this size than those given")
    return history.at(head.size)


class Given(NamedTuple):
    """What whoever verifies has got elsewhere."""

    pins: list[Pin]
    policy: Policy | None
    promises: list[Promise]
    rules: Rules
    manifest: dict[str, Any] | None  # what the root key says of the keys of all logs


def history_of_system(
    directory: Directory, files: set[str], given: LogKeys, lost: Iterable[dict[str, Any]] = ()
) -> KeyHistory:
    """All pairs of a system log's keys, of which one was given; nothing of it is proved but the signatures.

    ``lost``: hand-overs that no leaf has any more, since the log was restored from before them.
    """
    created: dict[str, Any] | None = None
    stated = []
    newest: dict[int, tuple[int, str]] = {}
    for name in files:
        tile = re.fullmatch(r"logs/system/" + TILE_PATH, name)
        if tile and tile["level"] == "entries":
            number, width = int(tile["number"].replace("/", "").replace("x", "")), int(tile["width"] or TILE)
            newest[number] = max(newest.get(number, (0, "")), (width, name))
    for _, (_, name) in sorted(newest.items()):
        try:
            leaves = split_entries(directory.read(name, BUNDLE_BYTES_MAX)) or []
        except Damage:
            continue
        for leaf in leaves:
            match = LEAF.fullmatch(leaf) if b'"type":"key.rotate"' in leaf or b'"project.create"' in leaf else None
            try:
                facts = public_facts("system", match) if match else None
            except Damage:
                continue
            if match and facts and match["type"] == b"key.rotate" and facts["log"] == "system":
                stated.append(facts)
            elif match and facts and match["type"] == b"project.create" and facts["project"] == "system":
                created = created or facts
    stated += [{**facts, "origin": given.origin} for facts in lost]
    if not stated or created is None:
        return KeyHistory([(-1, given)])
    try:
        history = KeyHistory([(-1, parse_vkeys((created["vkeys"][0], created["vkeys"][1])))])
    except Damage:
        return KeyHistory([(-1, given)])
    for facts in stated:
        try:
            history = history.extended(facts)
        except Damage:
            continue  # it is named when it is heard
    known = any(keys.vkeys == given.vkeys for _, keys in history.generations)
    return history if known else KeyHistory([(-1, given)])


class Verification:
    """A shard: unpublished parts, the system log, the logs that it names, and what they say of each other."""

    def __init__(self, shard: Shard, system_keys: LogKeys | None, given: Given) -> None:
        self.shard, self.directory, self.report = shard, shard.directory, Report()
        self.pins, self.policy, self.promises, self.rules, manifest = given
        self.lists: list[Approvers] = []
        entries = [entry for entry in manifest["logs"] if shard.has(entry["log"])] if manifest else []
        self.manifest = {entry["log"].partition("@")[0]: entry for entry in entries} if manifest else None
        self.anchors: dict[str, dict[int, str]] = {}  # log: size and name of each head in anchors/
        self.system_keys = system_keys  # as they were given
        self.keys: dict[str, KeyHistory | None] = {}
        self.logs: dict[str, Examined] = {}
        self.moved = False  # whether files came or went while they were read
        self.names: set[str] = set()
        self.lost: dict[str, tuple[int, int | None]] = {}
        self.heard_keys: dict[str, KeyHistory | None] = {}  # of every log that was created, whether it is here or not
        self.pin_keys: dict[str, KeyHistory | None] = {}  # of logs that were restored: with what was lost of them

    def examine(self) -> None:
        """Everything in it, as far as nobody else's word is needed."""
        names = self.directory.list(self.report)
        self.check("FORMAT", None, self.check_format)
        for stage in sorted(name for name in names if name.startswith("stage/")):
            self.check(stage, None, examine_stage, self.directory, self.report, stage)
        for shard, files in grouped(names, "wal/").items():
            self.check(shard, None, examine_wal, self.directory, self.report, sorted(files))
        for shard in grouped(names, "damaged/"):
            what = (
                f"{shard}: a write-ahead shard that was damaged after it was durable, kept as evidence; it was not read"
            )
            self.report.warn("DAMAGED-WAL", None, what)

        files_of = grouped(names, "logs/")
        system_files = files_of.pop("logs/system", set())
        self.keys["system"] = self.keys_of_system(system_files)
        self.check("logs/system", "system", self.examine_log, "system", system_files)
        told = self.logs["system"].told if "system" in self.logs else Testimony(self.report, "system")
        self.check("system", "system", self.hear_rotations, told, {name.partition("/")[2] for name in files_of})
        for place in sorted(files_of):
            log = place.partition("/")[2]
            if log not in self.keys:
                self.keys[log] = self.project_keys(log, told)
            self.check(place, log, self.examine_log, log, files_of[place])
        self.check("system", "system", self.check_projects, told)
        self.check("acts", "system", self.check_acts)
        if "affidavit.toml" in names and not self.shard.directory.is_shard:
            self.check("affidavit.toml", "system", self.check_configuration, told)
        self.names = names

    def conclude(self, lost: dict[str, tuple[int, int | None]], log_keys: list[Key]) -> None:
        """What others have of it; ``lost``: of each log, with two persons' consent; witnesses have no ``log_keys``."""
        self.lost = lost
        self.check("manifest", "system", self.check_manifest)
        self.check("pins", None, self.check_pins, log_keys)
        self.check("timestamps", None, self.check_timestamps)
        self.check("promises", None, self.check_promises)
        self.moved = self.directory.list(Report()) != self.names

    def log_keys(self) -> list[Key]:
        pairs = [pair for keys in self.keys.values() if keys for _, pair in keys.generations]
        return [key for pair in pairs for key in log_keys_of(pair)]

    def check(self, where: str, log: str | None, step: Callable[..., None], *arguments: object) -> None:
        """Whatever a hostile directory makes go wrong in one step is a finding about it; the other steps still run."""
        try:
            step(*arguments)
        except Damage as damage:
            self.report.fail(damage.code, log, str(damage))
        except Exception as error:  # noqa: BLE001 - the promise is that no byte of the directory ends the verification
            self.report.fail("ERROR", log, f"{where}: cannot be judged ({type(error).__name__}: {str(error)[:200]})")

    def check_format(self) -> None:
        if self.directory.read("FORMAT", 64) != FORMAT:
            raise Damage("FORMAT", "FORMAT: not a ledger of this version")

    def examine_log(self, name: str, files: set[str]) -> None:
        if self.keys[name] is None:
            what = "no verifier keys, so no signature was checked: give the system log's with --vkey"
            self.report.add("integrity", NOT_ASSESSED, "NO-VKEY", name, what)
        self.anchors[name] = {int(match[1]): file for file in files if (match := ANCHOR.fullmatch(file))}
        files.difference_update(self.anchors[name].values())
        sizes = {pin.head.size for pin in self.pins} | self.anchors[name].keys()
        if "system" in self.logs:
            sizes.update(row["size"] for row in self.logs["system"].told.roster if row["project"] == name)
        wanted = frozenset(promise.digest for promise in self.promises)
        keys = self.keys[name]
        log = Log(self.directory, self.report, name=name, keys=keys, files=files, wanted=wanted, rules=self.rules)
        self.logs[name] = log.examine(sizes)

    def keys_of_system(self, files: set[str]) -> KeyHistory | None:
        """The system log's keys, of which any one pair was given.

        Its heads are judged before its leaves are heard, so its hand-overs are looked up first; `hear_rotations`
        demands that they stand in the tree.
        """
        revoked = revocations((self.manifest or {}).get("system"))
        given = self.system_keys
        return None if given is None else history_of_system(self.directory, files, given)._replace(revoked=revoked)

    def hear_rotations(self, told: Testimony, places: set[str]) -> None:
        """The keys of every log from here on, as the leaves of the system log hand them over."""
        judged_by = self.keys["system"]
        if judged_by is None:
            return
        heard: dict[str, KeyHistory | None] = {"system": KeyHistory(judged_by.generations[:1], judged_by.revoked)}
        for log in sorted({*told.projects} - {"system"}):
            # A project without a directory may still have hand-overs; what is wrong with its keys is said elsewhere.
            heard[log] = self.project_keys(log, told) if log in places else self.created_keys(log, told)
        for index, facts in told.rotations:
            log, where = facts["log"], f"entry {index} of the system log"
            if log not in heard:
                self.report.fail("KEY-ROTATE", log, f"{where}: hands over a log that it does not know")
                continue
            before = heard[log]
            if before is None:
                continue
            try:
                if log == "system" and facts["after"] != index + 1:
                    raise Damage("KEY-ROTATE", "it is not the last leaf that the old keys cover")
                heard[log] = before.extended(facts)
            except Damage as damage:
                self.report.fail("KEY-ROTATE", log, f"{where}: may not hand over the keys: {damage}", "authority")
        if heard["system"] != judged_by and not told.unreadable:
            what = "its heads are signed by keys that no leaf of its tree hands over to"
            self.report.fail("KEY-ROTATE", "system", what, "authority")
        self.heard_keys = {**heard, "system": judged_by}
        del heard["system"]
        self.keys.update({log: keys for log, keys in heard.items() if log in places})

    def check_manifest(self) -> None:
        """Where the log's own hand-overs, those that were lost included, and the root key's manifest disagree."""
        if self.manifest is None or not self.heard_keys:
            return
        known = {**self.heard_keys, **{log: keys for log, keys in self.pin_keys.items() if keys}}
        for log in sorted({*self.manifest, *(log for log, keys in known.items() if keys)}):
            entry, history = self.manifest.get(log), known.get(log)
            if entry is None:
                what = "the root key's manifest does not name this log yet"
                self.report.warn("MANIFEST-OLD", log, what, "authority")
                continue
            handed = [(after + 1, list(keys.vkeys)) for after, keys in history.generations] if history else []
            named = [(one["from"], one["vkeys"]) for one in entry["generations"]]
            if not history or entry["origin"] != history.origin or named != handed[: len(named)]:
                what = "its keys are not those that the root key's manifest names, or a hand-over is missing"
                self.report.fail("MANIFEST", log, what, "authority")
            elif len(handed) > len(named) and any(one["generation"] == len(named) for one in entry["revoked"]):
                # Whoever stole them could otherwise hand over to keys of their own, which nothing revokes.
                what = (
                    f"generation {len(named)} of its keys is revoked by the root key, and hands over to a further one"
                )
                self.report.fail("KEY-REVOKED", log, what, "authority")
            elif len(handed) > len(named):
                what = f"the root key's manifest names {len(named)} generations of its keys; there are {len(handed)}"
                self.report.warn("MANIFEST-OLD", log, what, "authority")

    def is_named_by_revoked_keys(self, before: KeyHistory) -> bool:
        """Whether the keys of the system log before were revoked, and the root key does not name this shard itself."""
        if self.manifest is None or "system" in self.manifest:
            return False
        return any(generation == len(before.generations) for generation, _ in before.revoked)

    def created_keys(self, log: str, told: Testimony) -> KeyHistory | None:
        created = told.projects[log]
        try:
            keys = parse_vkeys((created["vkeys"][0], created["vkeys"][1]))
        except Damage:
            return None
        right = keys.origin == created["origin"] and keys.origin.endswith("/" + log)
        return KeyHistory([(-1, keys)], revocations((self.manifest or {}).get(log))) if right else None

    def project_keys(self, log: str, told: Testimony) -> KeyHistory | None:
        """The keys that the system log gave this project; they are worth as much as the system log's signature."""
        if log not in told.projects:
            self.report.fail("UNKNOWN-LOG", log, f"logs/{log}: no project.create in the system log names it")
            return None
        if self.keys["system"] is None:
            return None
        keys = self.created_keys(log, told)
        if keys is None:
            self.report.fail("VKEY", log, "its project.create gives no two verifier keys under its origin")
        return keys

    def check_projects(self, told: Testimony) -> None:
        """The system log about itself, then its newest roster: a log cannot vanish, shrink or be exchanged."""
        own, known = next(iter(told.projects.values()), None), self.keys["system"]
        keys = known.generations[0][1] if known else None
        if keys and not told.unreadable and own != {"project": "system", "origin": keys.origin, "vkeys": [*keys.vkeys]}:
            self.report.fail(
                "VKEY", "system", "its first project.create does not give the keys that it is checked with"
            )
        rows = {row["project"]: row for row in told.roster}
        for name in sorted({*rows, *told.projects} - {"system"}):
            row, log = rows.get(name), self.logs.get(name)
            if log is None and (row or name in told.ever_on_roster):
                what = f"logs/{name}: missing, and a roster of the system log names it"
                self.report.fail("LOG-MISSING", name, what, "completeness")
            elif log is None:
                what = f"logs/{name}: created, but not here; no roster names it yet"
                self.report.warn("LOG-ABSENT", name, what, "completeness")
            elif row and log.root is not None:
                if row["origin"] != log.origin:
                    self.report.fail("ROSTER-ORIGIN", name, "the newest roster gives this log another origin")
                if log.size < row["size"]:
                    what = f"{log.size} leaves are here, and the newest roster states {row['size']}"
                    self.report.fail("LOG-SHORT", name, what, "completeness")
                elif row["size"] in log.roots and b64u(log.roots[row["size"]]).decode() != row["root"]:
                    self.report.fail(
                        "ROSTER-ROOT", name, f"the newest roster states another root at size {row['size']}"
                    )

    def check_acts(self) -> None:
        """Holds and erasures of every log, by those whom the system log lets approve; and keys of sources."""
        for log in self.logs.values():  # the system log comes first
            acts = Acts(self.report, log.name, log.origin or "", self.lists)
            if log.name == "system":
                acts.hear_approvers(log.told.acts)
            acts.check(log.told)
            if "system" in self.logs:
                log.told.judge_source_keys(self.logs["system"].told)
                log.told.check_prunings(self.logs["system"].told)

    def check_configuration(self, told: Testimony) -> None:
        with self.directory.open("affidavit.toml") as file:
            digest = digest_of(file, os.fstat(file.fileno()).st_size)
        if b64u(digest).decode() != told.config:
            what = "affidavit.toml: not the configuration that the newest config.change records"
            self.report.fail("CONFIG-UNRECORDED", "system", what, "authority")

    def check_promises(self) -> None:
        """A promise is broken if the log went on past its time, and no leaf has what was promised."""
        by_origin = {log.origin: log for log in self.logs.values() if log.root is not None}
        for promise in self.promises:
            log = by_origin.get(promise.origin)
            if log is None:
                what = f"{promise.name}: of a log that is not here: {promise.origin}"
                self.report.fail("PROMISE", None, what, "completeness")
                continue
            verdict = self.verdict_on(promise, log)
            if verdict:
                self.report.add("completeness", verdict[0], verdict[1], log.name, f"{promise.name}: {verdict[2]}")

    def verdict_on(self, promise: Promise, log: Examined) -> tuple[str, str, str] | None:
        """Verdict, code and why; None where the promise was kept."""
        keys, told = self.keys[log.name], self.logs["system"].told
        if keys is None:
            return NOT_ASSESSED, "NO-VKEY", "without keys nobody can say who made it"
        if objection := promise.objection(told.promise_vkeys):
            return (NOT_ASSESSED, "UNREADABLE", objection) if told.unreadable else (FAIL, "PROMISE", objection)
        if promise.digest in log.kept:
            return None
        if log.told.unreadable:
            return NOT_ASSESSED, "UNREADABLE", "no leaf has its digest, and entries that cannot be read may be it"
        try:
            head = parse_head(self.directory.read(f"logs/{log.name}/heads/{log.size}", NOTE_BYTES_MAX))
        except Damage:
            return NOT_ASSESSED, "PROMISE-OPEN", "no leaf has its digest, and the newest head cannot be dated"
        if len(head.signatures) != 2 or head.objection(keys.at(log.size)):
            return NOT_ASSESSED, "PROMISE-OPEN", "no leaf has its digest, and the newest head cannot be dated"
        head_s = int.from_bytes(head.signatures[1][1][4:12], "big")
        if head_s > promise.seal_by_s:
            what = f"{promise.shard} promised it by {promise.seal_by_s}; the head of size {log.size} is of {head_s} "
            return FAIL, "BROKEN-PROMISE", what + "(seconds since 1970), and no leaf has its digest"
        return WARN, "PROMISE-OPEN", f"no leaf has its digest yet, and it is due at {promise.seal_by_s} s since 1970"

    def check_pins(self, log_keys: list[Key]) -> None:
        by_origin = {log.origin: log for log in self.logs.values() if log.root is not None}
        covered = dict.fromkeys(self.logs, -1)
        for pin in self.pins:
            size, log = pin.head.size, by_origin.get(pin.head.origin)
            keys = self.pin_keys.get(log.name, self.keys[log.name]) if log else None
            if log is None:
                what = f"{pin.file}: a head of size {size} of a log that is not here: {pin.head.origin}"
                self.report.fail("ROLLBACK", None, what, "anchor")
            elif keys is None:
                what = f"{pin.file}: without keys nobody can say who signed it"
                self.report.add("anchor", NOT_ASSESSED, "NO-VKEY", log.name, what)
            elif objection := pin.head.objection(keys.at(size)):
                self.report.fail("PIN", log.name, f"{pin.file}: not a head that this log signed: {objection}", "anchor")
                if wrong := wrong_signers(pin.data, keys):
                    self.report.fail(wrong[0], log.name, f"{pin.file}: {wrong[1]}", "authority")
            else:
                self.judge_revoked(pin.head, keys, log.name, pin.file)
                if self.is_of_this_tree(pin.head, log, pin.file, pin.data):
                    covered[log.name] = max(covered[log.name], size)
        quorum = Quorum(self.policy, log_keys) if self.policy else None
        for log in self.logs.values():
            self.check_anchors(log, quorum, covered)

    def check_anchors(self, log: Examined, quorum: Quorum | None, covered: dict[str, int]) -> None:
        """Heads with lines of witnesses beside one log, and how far it is anchored by them and by pins."""
        keys, names, files = self.pin_keys.get(log.name, self.keys[log.name]), self.anchors.get(log.name, {}), 0
        if names and keys is None:
            what = f"{len(names)} heads in anchors/: without keys nobody can say who signed them"
            self.report.add("anchor", NOT_ASSESSED, "NO-VKEY", log.name, what)
        for size, name in sorted(names.items()):
            if keys is None or log.root is None:
                break
            try:
                data = self.directory.read(name, NOTE_BYTES_MAX)
                head = parse_head(data)
                if head.size != size:
                    raise Damage("ANCHOR", f"it is a head of size {head.size}")
                if objection := head.objection(keys.at(size)):
                    raise Damage("ANCHOR", objection)
                met = quorum is not None and quorum.met(head)
            except Damage as damage:
                if damage.code != "MISSING":  # a running service may have put a newer one in its place
                    self.report.fail("ANCHOR", log.name, f"{name}: {damage}", "anchor")
                continue
            self.judge_revoked(head, keys, log.name, name)
            if self.is_of_this_tree(head, log, name, data):
                files += 1
                covered[log.name] = max(covered[log.name], size) if met else covered[log.name]
        size = covered[log.name]
        if size == log.size:
            return
        what = "no head that somebody else kept was compared with this log"
        if size >= 0:
            what = f"the last {log.size - size} leaves lie beyond the newest head that others vouch for, of size {size}"
        elif files and quorum is None:
            what += f"; {files} heads in anchors/ may bear lines of witnesses: --policy says whose count"
        elif files and quorum:
            refused = f" (witnesses that are logs: {', '.join(quorum.refused)})" if quorum.refused else ""
            what += f"; of {files} heads in anchors/ none meets the quorum of the policy{refused}"
        self.report.warn("UNANCHORED", log.name, what, "anchor")

    def check_timestamps(self) -> None:
        """Those of heads that are not here, which may be of what was lost."""
        for log in self.logs.values():
            for size, why in sorted(log.unheld.items()):
                name = f"logs/{log.name}/anchors/{size}.tsr"
                if self.was_lost(size, log):
                    what = f"{name}: of a head of size {size}, in the range that was lost when this log was restored"
                    self.report.warn("RESTORED", log.name, what, "time")
                else:
                    self.report.fail("TIMESTAMP", log.name, f"{name}: {why}", "time")

    def was_lost(self, head_size: int, log: Examined) -> bool:
        """Whether a head of this size is of a range that was lost with two persons' consent."""
        size, to = self.lost.get(log.name, (0, 0))
        return size == log.size < head_size and (to is None or head_size <= to)

    def judge_revoked(self, head: Head, keys: KeyHistory, log: str, name: str) -> None:
        if keys.is_revoked(head.size):
            what = f"{name}: signed with keys that the root key revoked for heads of this size"
            self.report.fail("KEY-REVOKED", log, what, "authority")

    def is_of_this_tree(self, head: Head, log: Examined, name: str, data: bytes) -> bool:
        """Whether a head that its log signed is one of the tree that is here; else a finding, with both heads."""
        if self.was_lost(head.size, log):
            what = f"{name}: a head of size {head.size}, in the range that was lost when this log was restored"
            self.report.warn("RESTORED", log.name, what, "anchor")
            return False
        if head.size > log.size:
            code, what = "ROLLBACK", f"the log signed a head of size {head.size}, and only {log.size} leaves are here"
        elif head.size < log.told.minimum and head.size not in log.roots:
            what = f"{name}: a head of size {head.size}, whose entries were pruned, so nothing here can contradict it"
            self.report.add("anchor", NOT_ASSESSED, "BELOW-MINIMUM", log.name, what)
            return False
        elif log.roots.get(head.size) != head.root:
            code, what = "FORK", f"the log signed another tree of size {head.size}"
        else:
            return True
        heads = [(name, data.decode())]
        for other in (f"logs/{log.name}/heads/{head.size}", f"logs/{log.name}/tree/checkpoint"):
            try:
                heads.append((other, self.directory.read(other, NOTE_BYTES_MAX).decode()))
            except (Damage, UnicodeDecodeError):
                continue
            what += f"; it contradicts {other}, which the same keys signed: keep both"
            break
        self.report.fail(code, log.name, f"{name}: {what}", "anchor")
        if len(self.report.forks) < FINDINGS_EACH_MAX:
            self.report.forks.append({"code": code, "log": log.name, "heads": heads})
        return False


def verify_directory(
    path: str,
    keys: LogKeys | None,
    pins: list[tuple[str, bytes]],
    *,
    policy: Policy | None = None,
    promises: list[tuple[str, bytes]] | None = None,
    rules: Rules | None = None,
    root: RootKey | None = None,
) -> tuple[Report, list[Examined]]:
    """The verdicts on a directory. If it changed meanwhile and looks damaged, the reading begins again."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        report, heads, asked = Report(), [], Report()
        manifest = read_manifests(root, asked) if root else None
        keys = keys or system_keys(manifest)
        for name, content in pins:
            try:
                heads.append(Pin(name, parse_head(content), content))
            except Damage as damage:
                report.fail("PIN", None, f"{name}: {damage}", "anchor")
        given = Given(heads, policy, read_promises(promises or [], report), rules or Rules(), manifest)
        runs = verify_shards(path, keys, given, report, asked)
        if not any(run.moved for run in runs) or all(report.overall(axis) != FAIL for axis in AXES):
            break
        if attempt == ATTEMPTS_MAX:
            what = "files came or went at each reading: stop the service, or take a copy, and run again"
            report.warn("MOVED", None, what)
    return report, [log._replace(name=run.shard.called(log.name)) for run in runs for log in run.logs.values()]


def verify_shards(path: str, keys: LogKeys | None, given: Given, report: Report, asked: Report) -> list[Verification]:
    """Every shard as a ledger of its own, then whether each follows the one before it.

    ``asked`` has what was found about the manifests; it concerns the newest system log.
    """
    shards = find_shards(path, report)
    report.take(asked, shards[-1].called, "")
    elsewhere = {origin for shard in shards[:-1] for origin in shard.origins}
    known = keys_of_shards(shards, keys) if len(shards) > 1 else {shards[0].number: keys}
    runs = []
    for shard in shards:
        newest = shard is shards[-1]
        # What is of no log that is here goes to the newest, which says so.
        pins = [p for p in given.pins if (p.head.origin not in elsewhere if newest else p.head.origin in shard.origins)]
        held = [p for p in given.promises if (p.origin not in elsewhere if newest else p.origin in shard.origins)]
        runs.append(Verification(shard, known.get(shard.number), given._replace(pins=pins, promises=held)))
    for run in runs:
        run.check(run.directory.path, None, run.examine)
    lost: dict[int, dict[str, tuple[int, int | None]]] = {}
    runs[-1].check("shards", None, check_chain, runs, lost)
    log_keys = [key for run in runs for key in run.log_keys()]
    for run in runs:
        run.check(run.directory.path, None, run.conclude, lost.get(run.shard.number, {}), log_keys)
        report.take(run.report, run.shard.called, "" if run is runs[-1] else f"shards/{run.shard.number}: ")
    return runs


# -- shards: ledgers that follow each other, each named by the keys of the one before it

SHARD = re.compile(r"[1-9][0-9]{0,3}")
BEGINNINGS = ("shard.open", "log.restored")


class Shard(NamedTuple):
    """A shard as it lies there; the leaf with which it begins is looked up before anything is proved."""

    number: int
    directory: Directory
    files: set[str]
    created: LogKeys | None  # keys that its system log was created with
    begun: dict[str, Any] | None  # data of the leaf behind that
    origins: set[str]

    def called(self, log: str) -> str:
        """What its logs are called among those of all shards."""
        return log if self.number == 1 else f"{log}@{self.number}"

    def has(self, called: str) -> bool:
        """Whether a log that is called so is one of its."""
        return called == self.called(called.partition("@")[0])

    def system_files(self) -> set[str]:
        return {name for name in self.files if name.startswith("logs/system/")}

    def previous(self) -> LogKeys | None:
        """Keys of the system log that it says it follows."""
        if self.begun is None:
            return None
        stated = self.begun["previous"]
        keys = parse_vkeys((stated["vkeys"][0], stated["vkeys"][1]))
        return keys if keys.origin == stated["origin"] else None

    def with_lost_keys(self, log: str, known: KeyHistory) -> KeyHistory:
        """The keys of a log of the shard before, with those whose hand-over was lost with the log's end."""
        for row in self.begun["logs"] if self.begun else []:
            for stated in row.get("rotations", []) if row["project"] == log else []:
                known = known.extended({**stated, "origin": known.origin})
        return known

    def objection(self, history: KeyHistory) -> str | None:
        """Why these keys of the system log before did not name this one as the next; None if they did."""
        if self.begun is None or self.created is None:
            return "it does not say what it follows"
        try:
            known = self.with_lost_keys("system", history).generations[-1][1]
            if (old := self.previous()) is None or old.vkeys != known.vkeys or old.origin == self.created.origin:
                return "it does not name the newest keys of the system log that it follows"
            stated = {name: value for name, value in self.begun.items() if name != "signatures"}
            canonical = json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()
            digest = base64_root(hashlib.sha256(canonical).digest())
            lines = ("affidavit/shard/v1", old.origin, self.created.origin, *self.created.vkeys, digest)
            text = "".join(f"{line}\n" for line in lines).encode()
            keys: tuple[Ed25519Key | MlDsa44Key, ...] = (old.ed25519, old.mldsa44)
            keys += (self.created.ed25519, self.created.mldsa44)
            if all(key.verify(text, decode_base64url(line)) for key, line in zip(keys, self.begun["signatures"])):
                return None
        except Damage as damage:
            return str(damage)
        return "one of its four signatures does not hold"


def look_at_shard(directory: Directory, number: int) -> Shard:
    """What a shard says of itself, as far as it can be read; what cannot is named when it is examined."""
    files, origins, created, begun = directory.list(Report()), set(), None, None
    for name in files:
        if re.fullmatch(rf"logs/{PROJECT}/tree/checkpoint", name):
            try:
                origins.add(directory.read(name, NOTE_BYTES_MAX).partition(b"\n")[0].decode())
            except (Damage, UnicodeDecodeError):
                continue
    first = [name for name in files if re.fullmatch(r"logs/system/tree/tile/entries/000(?:\.p/[0-9]{1,3})?", name)]
    first.sort(key=lambda name: int(name.rpartition(".p/")[2]) if ".p/" in name else TILE)
    try:
        leaves = split_entries(directory.read(first[-1], BUNDLE_BYTES_MAX)) or [] if first else []
        matches = [LEAF.fullmatch(leaf) for leaf in leaves[:2]]
        facts = [public_facts("system", match) if match else None for match in matches]
        if len(facts) == 2 and facts[0] and matches[0] and matches[0]["type"] == b"project.create":
            created = parse_vkeys((facts[0]["vkeys"][0], facts[0]["vkeys"][1]))
            if matches[1] and matches[1]["type"].decode() in BEGINNINGS:
                begun = facts[1]
    except (Damage, ValueError, KeyError, RecursionError):
        created = begun = None  # named when its leaves are heard
    return Shard(number, directory, files, created, begun, origins)


def find_shards(path: str, report: Report) -> list[Shard]:
    """Finished shards by number, and the newest, which lies at the top, last."""
    place, numbers = os.path.join(path, "shards"), []
    if os.path.lexists(place):
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise NotADirectoryError
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            report.fail("UNKNOWN-FILE", None, "shards: the format knows no such file or directory")
            entries = []
        for entry in entries:
            if SHARD.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                numbers.append(int(entry.name))
            else:
                what = f"shards/{entry.name}: the format knows no such file or directory"
                report.fail("UNKNOWN-FILE", None, what)
    numbers.sort()
    finished = [look_at_shard(Directory(os.path.join(place, str(n)), is_shard=True), n) for n in numbers]
    newest = look_at_shard(Directory(path), numbers[-1] + 1 if numbers else 1)
    if newest.begun is not None:
        newest = newest._replace(number=newest.begun["number"])
    for shard in finished:
        if shard.number >= newest.number:
            what = f"shards/{shard.number}: the newest shard has number {newest.number}; it was not read"
            report.fail("SHARD-CHAIN", None, what)
    return [*(shard for shard in finished if shard.number < newest.number), newest]


def keys_of_shards(shards: list[Shard], given: LogKeys | None) -> dict[int, LogKeys | None]:
    """A pair of keys of each system log: forwards named by the keys before, backwards by the log that follows."""
    if given is None:
        return {}
    at = next((i for i, shard in enumerate(shards) if given.origin in shard.origins), len(shards) - 1)
    keys: dict[int, LogKeys | None] = {shards[at].number: given}
    begun = shards[at + 1].begun if at + 1 < len(shards) else None
    rows = [row for row in begun["logs"] if row["project"] == "system"] if begun else []
    lost = [stated for row in rows for stated in row.get("rotations", [])]
    if lost:  # the pair that was given may have come with one of them, and signed nothing that was put back
        history = history_of_system(shards[at].directory, shards[at].system_files(), given, lost)
        keys[shards[at].number] = history.generations[0][1]
    for before, shard in zip(shards[at:], shards[at + 1 :]):
        known = keys.get(before.number)
        if known is not None and shard.number == before.number + 1:
            history = history_of_system(before.directory, before.system_files(), known)
            keys[shard.number] = shard.created if shard.objection(history) is None else None
    for i in range(at, 0, -1):
        before, shard = shards[i - 1], shards[i]
        if keys.get(shard.number) is None or shard.number != before.number + 1:
            break
        try:
            keys[before.number] = shard.previous()
        except Damage:
            break
    return keys


def check_chain(runs: list[Verification], lost: dict[int, dict[str, tuple[int, int | None]]]) -> None:
    """Whether each shard follows the one before it; fills in what of each was lost with two persons' consent."""
    newest, here = runs[-1].shard.number, {run.shard.number for run in runs}
    for number in range(1, newest):
        if number not in here:
            gap = any(other < number for other in here)
            code, verdict = ("SHARD-MISSING", FAIL) if gap else ("SHARD-AWAY", WARN)
            what = f"shards/{number}: missing; what is here says nothing of its leaves"
            runs[-1].report.add("completeness", verdict, code, None, what)
    by_number = {run.shard.number: run for run in runs}
    for run in runs:
        log = run.logs.get("system")
        if log is None or log.root is None or log.told.unreadable:
            continue
        acts = [act for act in log.told.acts if act.kind in BEGINNINGS]
        begun = run.shard.begun if run.shard.number > 1 else None
        if run.shard.number > 1 and (begun is None or begun["number"] != run.shard.number):
            what = f"no leaf says that this is shard {run.shard.number}, and what it follows"
            run.report.fail("SHARD-CHAIN", "system", what)
        elif [(act.entry, act.data) for act in acts] != ([(1, begun)] if begun else []):
            what = "a leaf that says what a shard follows stands where none belongs"
            run.report.fail("SHARD-CHAIN", "system", what)
        elif begun and run.shard.number - 1 in by_number:
            before = by_number[run.shard.number - 1]
            if follows(before, run, acts[0]):
                lost[before.shard.number] = {row["project"]: (row["size"], row["lost_to"]) for row in begun["logs"]}
                for log_name, keys in {**before.heard_keys, **before.keys}.items():
                    try:
                        before.pin_keys[log_name] = run.shard.with_lost_keys(log_name, keys) if keys else None
                    except Damage as damage:
                        what = f"entry 1: may not hand over the keys of log {log_name}: {damage}"
                        run.report.fail("KEY-ROTATE", "system", what, "authority")


def follows(before: Verification, run: Verification, act: Act) -> bool:
    """Hold a shard against the one before it; True if it was restored, and everything about that is in order."""
    number, rows = run.shard.number, {row["project"]: row for row in act.data["logs"]}
    history, signed = before.keys.get("system"), False
    if history is not None:
        objection = run.shard.objection(history)
        signed = objection is None
        if objection:
            run.report.fail("SHARD-CHAIN", "system", f"entry {act.entry}: {act.kind}: {objection}", "authority")
        elif run.is_named_by_revoked_keys(run.shard.with_lost_keys("system", history)):
            # Whoever stole them could otherwise go on in a shard of their own, which nothing revokes.
            what = f"entry {act.entry}: {act.kind}: signed with keys that the root key revoked"
            run.report.fail("KEY-REVOKED", "system", what, "authority")
            signed = False
    if [row["project"] for row in act.data["logs"]] != sorted(rows):
        run.report.fail("SHARD-CHAIN", "system", f"entry {act.entry}: its logs are not sorted")
    for name in sorted({*rows, *before.logs}):
        row, log = rows.get(name), before.logs.get(name)
        if log is None:
            what = f"logs/{name}: missing, and shard {number} says what it ended with"
            before.report.fail("LOG-MISSING", name, what, "completeness")
        elif row is None:
            before.report.fail("SHARD-CHAIN", name, f"shard {number} does not know this log")
        elif log.root is not None and (log.origin, log.size, b64u(log.root).decode()) != (
            row["origin"],
            row["size"],
            row["root"],
        ):
            what = f"shard {number} says that it ended with {row['size']} leaves; this is not that tree"
            before.report.fail("SHARD-CHAIN", name, what)
    said: list[dict[str, Any]] = next(
        (a.data["approvers"] for a in run.logs["system"].told.acts if a.kind == "approvers.change"), []
    )
    known = before.lists[-1].keys if before.lists else {}
    if known and {one["name"]: from_b64u(one["key"]) for one in said} != known:
        what = "its first list of approvers is not the last one of the shard before"
        run.report.fail("APPROVERS-UNKNOWN", "system", what, "authority")
    if act.kind != "log.restored":
        return False
    acts = Acts(run.report, "system", run.logs["system"].origin or "", before.lists)
    if not acts.is_restored(act) or not signed:
        return False
    by = " and ".join(approval["approver"] for approval in act.data["approvals"])
    for name, row in rows.items():
        if row["lost_to"] != row["size"]:
            upto = "on, nobody knows how far" if row["lost_to"] is None else f"to {row['lost_to'] - 1}"
            what = f"restored with {row['size']} leaves; those from {row['size']} {upto} were lost, confirmed by {by}"
            before.report.warn("RESTORED", name, what, "completeness")
    return True


def grouped(names: set[str], prefix: str) -> dict[str, set[str]]:
    """The names that begin so, by their first two parts."""
    groups: dict[str, set[str]] = {}
    for name in sorted(name for name in names if name.startswith(prefix)):
        groups.setdefault("/".join(name.split("/")[:2]), set()).add(name)
    return groups


# ----------------------------------------------------------------------------------------------------------------------
# 12. One proof (tlog-proof)
# ----------------------------------------------------------------------------------------------------------------------

PROOF_BYTES_MAX = 64 << 20  # disclosed values may be long; everything else in a proof fits in 100 KB
PATH_MAX = 63  # hashes in an inclusion proof: sizes are below 2^63
HEADER_SLOTS = (
    "type times app team environment provider model prompt data_class outcome policy usage cost counts capture actor"
)
BODY_SLOTS = (
    "wire http identity context model params system messages tools output reasoning finish usage_raw logprobs error"
)
SLOTS = {"header": HEADER_SLOTS.split(), "body": BODY_SLOTS.split()}


class Proved(NamedTuple):
    """What a proof that holds shows: this leaf is in the tree of this head, and committed to these values."""

    head: Head
    position: int
    leaf: str
    fields: list[dict[str, Any]]


def verify_proof(data: bytes, keys: LogKeys) -> Proved:
    """Raises ``Damage`` unless everything in the proof holds; nothing in ``extra`` is believed before it was hashed."""
    preamble, _, note = data.partition(b"\n\n")
    match = re.fullmatch(
        rb"c2sp\.org/tlog-proof@v1\n(?:extra (.+)\n)?index (0|[1-9][0-9]{0,18})((?:\n[^\n]+)*)", preamble
    )
    if match is None or not preamble.isascii():
        raise Damage("PROOF", "not a proof of tlog-proof v1")
    if match[1] is None:
        raise Damage("NO-LEAF", "the proof has no extra line, so the leaf that it is about is not known")
    path = [decode_base64(line) for line in match[3].decode().split("\n")[1:]]
    if len(path) > PATH_MAX or any(len(node) != HASH for node in path):
        raise Damage("PROOF", "its path has too many hashes, or one that has not 32 bytes")

    head = parse_head(note)
    if len(head.signatures) != 2:
        raise Damage("HEAD", "the head has not exactly two signatures")
    if objection := head.objection(keys):
        raise Damage("SIGNATURE", objection)

    extra, position = parse_canonical(decode_base64(match[1].decode())), int(match[2])
    members = {"v": lambda v: _positive(v) and v == 1, "leaf": lambda v: isinstance(v, str), "fields": _array(_field)}
    if not isinstance(extra, dict) or not _object(members)({"fields": [], **extra}) or extra.get("fields") == []:
        raise Damage("EXTRA", "the extra data is not what the format says")
    leaf = extra["leaf"].encode()
    if root_from_path(hashlib.sha256(b"\0" + leaf).digest(), position, head.size, path) != head.root:
        raise Damage("INCLUSION", "the path does not lead from this leaf at this index to the root of the head")
    form = LEAF.fullmatch(leaf)
    if form is None or len(leaf) > LEAF_BYTES_MAX:
        raise Damage("LEAF", f"the leaf {why_not_a_leaf(leaf)}")
    public_facts(head.origin.rpartition("/")[2], form)
    return Proved(head, position, extra["leaf"], [disclosed(field, form) for field in extra.get("fields", [])])


_field = _object(
    {
        "block": _matching("header|body"),
        "slot": _count,
        "value": lambda _: True,
        "salt": _digest,
        "others": _array(_digest),
    }
)


def disclosed(field: dict[str, Any], leaf: re.Match[bytes]) -> dict[str, Any]:
    """A value belongs to a leaf if its commitment, put among the others, gives the root that the leaf states."""
    block, slots, slot = field["block"], SLOTS[field["block"]], field["slot"]
    if slot >= len(slots) or len(field["others"]) != len(slots) - 1:
        raise Damage("EXTRA", f"a disclosed field names no slot of the {block}")
    salt, *others = [
        binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=")
        for text in (field["salt"], *field["others"])
    ]
    path = slots[slot].encode()
    value = json.dumps(field["value"], ensure_ascii=False, separators=(",", ":")).encode()  # sorted by parse_canonical
    own = hashlib.sha256(b"affidavit/field/v1\0" + salt + len(path).to_bytes(2, "big") + path + value).digest()
    root = hashlib.sha256(b"affidavit/fields/v1\0" + b"".join([*others[:slot], own, *others[slot:]])).digest()
    if b64u(root) != leaf[f"{block}_root"]:
        raise Damage("COMMITMENT", f"the leaf did not commit to this value of the {block} field {slots[slot]}")
    return {"block": block, "slot": slots[slot], "value": field["value"]}


class Evidence(NamedTuple):
    """What evidence of a broken promise shows: who promised what, and a head of that log."""

    promise: Promise
    head: Head
    head_s: int


def verify_evidence(data: bytes, keys: LogKeys) -> Evidence:
    """Section 15. Raises ``Damage`` unless the system log's keys vouch for every part of it."""
    value = parse_canonical(data)
    members = {"v": lambda v: _positive(v) and v == 1, "promise": _text, "head": _string}
    if not _object({**members, "creation": _string, "key": _string})(value):
        raise Damage("EVIDENCE", "not evidence of a broken promise")
    promise = parse_promise("the promise", value["promise"])
    named = proved_facts(value["key"], keys, ("promise.key",))
    if objection := promise.objection([named["vkey"]]):
        raise Damage("PROMISE", objection)
    created = proved_facts(value["creation"], keys, ("project.create", "key.rotate"))
    if created["origin"] != promise.origin:
        raise Damage("EVIDENCE", "the keys that it names are another log's")
    head = parse_head(value["head"].encode())
    objection = head.objection(parse_vkeys((created["vkeys"][0], created["vkeys"][1])))
    if len(head.signatures) != 2 or objection:
        raise Damage("SIGNATURE", objection or "the head has not exactly two signatures")
    return Evidence(promise, head, int.from_bytes(head.signatures[1][1][4:12], "big"))


def proved_facts(proof: str, keys: LogKeys, kinds: tuple[str, ...]) -> dict[str, Any]:
    """What a leaf of the system log says of itself, if its proof holds and it is of one of these types."""
    form = LEAF.fullmatch(verify_proof(proof.encode(), keys).leaf.encode())
    facts = public_facts("system", form) if form and form["type"].decode() in kinds else None
    if facts is None:
        raise Damage("EVIDENCE", f"a proof in it is not of a leaf {' or '.join(kinds)}")
    return facts


def _string(value: Any) -> bool:
    return isinstance(value, str)


# ----------------------------------------------------------------------------------------------------------------------
# 13. A bundle: files that left the ledger together, and the proof of the leaf that names them
# ----------------------------------------------------------------------------------------------------------------------

BUNDLED, BUNDLE_PROOF = "manifest.json", "bundle.tlog-proof"
BUNDLED_BYTES_MAX = 16 << 20
_file_name = _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,7}")
_manifest = _object(
    {
        "files": _array(_object({"bytes": _count, "name": _file_name, "sha256": _digest})),
        "v": lambda v: _positive(v) and v == 1,
    }
)


def examine_bundle(path: str, keys: LogKeys, report: Report) -> int:
    """Every file against the manifest, the manifest against the leaf, the leaf against a signed head. Files counted."""
    directory = Directory(path)
    try:
        proved = verify_proof(directory.read(BUNDLE_PROOF, PROOF_BYTES_MAX), keys)
        leaf = json.loads(proved.leaf)
        if leaf["type"] != "bundle.export":
            raise Damage("PROOF", f"it proves a leaf of type {leaf['type']}, and not the export of a bundle")
    except Damage as damage:
        report.fail("BUNDLE-PROOF", keys.origin, f"{BUNDLE_PROOF}: {damage}", "erasure")
        return 0
    try:
        data = directory.read(BUNDLED, BUNDLED_BYTES_MAX)
        manifest = parse_canonical(data)
        if not _manifest(manifest):
            raise Damage("MANIFEST", "not a manifest of version 1")
        names = [file["name"] for file in manifest["files"]]
        if names != sorted(set(names)):
            raise Damage("MANIFEST", "its names are not in order")
        stated = leaf["data"]
        if b64u(hashlib.sha256(data).digest()).decode() != stated["sha256"] or len(names) != stated["files"]:
            raise Damage("MANIFEST", "not the one that the leaf names")
    except Damage as damage:
        report.fail("BUNDLE-MANIFEST", keys.origin, f"{BUNDLED}: {damage}", "erasure")
        return 0
    for file in manifest["files"]:
        try:
            with directory.open(file["name"]) as opened:
                size = os.fstat(opened.fileno()).st_size
                digest = digest_of(opened, size)
        except Damage as damage:
            report.fail("BUNDLE-FILE", keys.origin, str(damage), "erasure")
            continue
        if size != file["bytes"] or b64u(digest).decode() != file["sha256"]:
            report.fail("BUNDLE-DIGEST", keys.origin, f"{file['name']}: not the bytes that were exported", "erasure")
    known = {BUNDLED, BUNDLE_PROOF, *names}
    for place, below, files in os.walk(path):  # links to directories are not entered, and count as files
        for name in [os.path.relpath(os.path.join(place, name), path) for name in [*files, *below]]:
            if name not in known and not any(one.startswith(name + "/") for one in known):
                report.fail("BUNDLE-FILE", keys.origin, f"{name}: the manifest knows no such file", "erasure")
    return len(names)


# ----------------------------------------------------------------------------------------------------------------------
# 14. Timestamps (RFC 3161) in the form in which they are kept, and whether to trust who gave them
# ----------------------------------------------------------------------------------------------------------------------

TIMESTAMP_BYTES_MAX, CERTIFICATES_MAX, CHAIN_MAX = 64 << 10, 16, 8
ROOTS_BYTES_MAX, ROOTS_MAX = 16 << 20, 1000
BOOLEAN, INTEGER, BIT_STRING, OCTETS, NULL, OID, UTC_TIME, TIME, SEQUENCE, SET = 1, 2, 3, 4, 5, 6, 23, 24, 48, 49
CONTEXT, IMPLICIT = 0xA0, 0x80  # [0], with elements in it and without


class Der:
    """The elements in some DER, to be taken one by one. Whatever is not the one encoding of a value is damage."""

    def __init__(self, data: bytes, tag: int | None = None) -> None:
        """With a tag: what is in the one element of that tag that ``data`` is."""
        self.data, self.at = data, 0
        if tag is not None:
            content = self.take(tag)
            self.end()
            self.data, self.at = content, 0

    def next_is(self, tag: int) -> bool:
        return self.data[self.at : self.at + 1] == bytes((tag,))

    def take_raw(self, tag: int) -> tuple[bytes, bytes]:
        """Content of the next element, which has this tag, and all of it."""
        start, at = self.at, self.at + 2
        if not self.next_is(tag) or tag & 31 == 31 or at > len(self.data):
            raise Damage("DER", "an element is missing or of another kind")
        length = self.data[start + 1]
        if length > 127:
            size = length - 128
            length, at = int.from_bytes(self.data[at : at + size], "big"), at + size
            if not 1 <= size <= 3 or length < (128 if size == 1 else 1 << 8 * (size - 1)):
                raise Damage("DER", "a length is not in its shortest form, or too large")
        self.at = at + length
        if self.at > len(self.data):
            raise Damage("DER", "an element is cut short")
        return self.data[at : self.at], self.data[start : self.at]

    def take(self, tag: int) -> bytes:
        return self.take_raw(tag)[0]

    def raw(self, tag: int) -> bytes:
        return self.take_raw(tag)[1]

    def inner(self, tag: int) -> Der:
        return Der(self.take(tag))

    def take_if(self, tag: int) -> bytes | None:
        return self.take(tag) if self.next_is(tag) else None

    def number(self, tag: int = INTEGER) -> int:
        content = self.take(tag)
        if not content or (len(content) > 1 and content[0] in (0, 255) and (content[0] ^ content[1]) < 128):
            raise Damage("DER", "an integer is not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def end(self) -> None:
        if self.at != len(self.data):
            raise Damage("DER", "something follows")


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes((tag, 128 + size)) + len(content).to_bytes(size, "big") + content


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for value in (40 * first + second, *rest):
        septets = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
        content += bytes([128 | septet for septet in septets[:0:-1]] + septets[:1])
    return der(OID, content)


def der_time(tag: int, content: bytes) -> int:
    """Microseconds since 1970 of a time that ends with Z; finer fractions are cut."""
    pattern = rb"(\d\d)(\d{10})()Z" if tag == UTC_TIME else rb"(\d{4})(\d{10})(?:\.(\d*[1-9]))?Z"
    match = re.fullmatch(pattern, content)
    if match is None:
        raise Damage("DER", "a time is not in its one form")
    year = int(match[1]) + (0 if tag == TIME else 2000 if int(match[1]) < 50 else 1900)
    try:
        moment = datetime.strptime(f"{year:04d}{match[2].decode()}+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        raise Damage("DER", "a time does not exist") from None
    return int(moment.timestamp()) * 1_000_000 + int((match[3] or b"")[:6].ljust(6, b"0"))


class Hash(NamedTuple):
    """A hash function, as it is called alone, with RSA and with ECDSA."""

    name: str
    identifier: bytes
    with_rsa: bytes
    with_ecdsa: bytes

    def digest(self, data: bytes) -> bytes:
        return hashlib.new(self.name, data).digest()

    def is_named(self, algorithm: bytes) -> bool:
        return algorithm in (der(SEQUENCE, self.identifier), der(SEQUENCE, self.identifier, der(NULL)))


HASHES = [
    Hash(name, oid(f"2.16.840.1.101.3.4.2.{n}"), oid(f"1.2.840.113549.1.1.{10 + n}"), oid(f"1.2.840.10045.4.3.{1 + n}"))
    for n, name in ((1, "sha256"), (2, "sha384"), (3, "sha512"))
]
RSA, PSS, MGF1 = (oid(f"1.2.840.113549.1.1.{n}") for n in (1, 10, 8))
EC = oid("1.2.840.10045.2.1")
SIGNED_DATA, CONTENT_TYPE, MESSAGE_DIGEST = (oid(f"1.2.840.113549.1.{n}") for n in ("7.2", "9.3", "9.4"))
TST_INFO, SIGNED_UNDER, SIGNED_UNDER_V2 = (oid(f"1.2.840.113549.1.9.16.{n}") for n in ("1.4", "2.12", "2.47"))
CONSTRAINTS, USAGE, PURPOSES, POLICIES = (oid(f"2.5.29.{n}") for n in (19, 15, 37, 32))
TIME_STAMPING, ANY_PURPOSE = oid("1.3.6.1.5.5.7.3.8"), oid("2.5.29.37.0")
UNDERSTOOD = frozenset((CONSTRAINTS, USAGE, PURPOSES, POLICIES))
SIGNS, CERTIFIES = 0x80 | 0x40, 0x04  # bits of a key's usage: digitalSignature or nonRepudiation; keyCertSign


class Curve(NamedTuple):
    """y^2 = x^3 - 3x + b modulo p, with a generator of order n (FIPS 186-5)."""

    p: int
    n: int
    b: int
    generator: tuple[int, int]

    def add(self, one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
        """None is the neutral element."""
        if one is None or other is None:
            return one or other
        if one[0] == other[0] and (one[1] + other[1]) % self.p == 0:
            return None
        if one == other:
            slope = 3 * (one[0] ** 2 - 1) * pow(2 * one[1], -1, self.p)
        else:
            slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, self.p)
        x = (slope**2 - one[0] - other[0]) % self.p
        return x, (slope * (one[0] - x) - one[1]) % self.p

    def has(self, point: tuple[int, int]) -> bool:
        x, y = point
        return max(point) < self.p and (y**2 - x**3 + 3 * x - self.b) % self.p == 0

    def verify(self, key: tuple[int, int], digest: bytes, signature: bytes) -> bool:
        pair = Der(signature, SEQUENCE)
        r, s = pair.number(), pair.number()
        pair.end()
        if not (0 < r < self.n and 0 < s < self.n):
            return False
        inverse, e = pow(s, -1, self.n), int.from_bytes(digest[: self.n.bit_length() // 8], "big")
        u, v, total, both = e * inverse % self.n, r * inverse % self.n, None, self.add(self.generator, key)
        for bit in range(self.n.bit_length() - 1, -1, -1):
            total = self.add(total, total)
            total = self.add(total, (None, self.generator, key, both)[(u >> bit & 1) + 2 * (v >> bit & 1)])
        return total is not None and total[0] % self.n == r


CURVES = {
    oid("1.2.840.10045.3.1.7"): Curve(
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        (
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        ),
    ),
    oid("1.3.132.0.34"): Curve(
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        (
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
    ),
}


def mgf1(hash_: Hash, seed: bytes, length: int) -> bytes:
    blocks = range(-(-length // len(hash_.digest(b""))))
    return b"".join(hash_.digest(seed + i.to_bytes(4, "big")) for i in blocks)[:length]


class RsaKey(NamedTuple):
    n: int
    e: int

    def power(self, signature: bytes) -> bytes | None:
        size = (self.n.bit_length() + 7) // 8
        value = int.from_bytes(signature, "big")
        return pow(value, self.e, self.n).to_bytes(size, "big") if len(signature) == size and value < self.n else None

    def verify(self, hash_: Hash, message: bytes, signature: bytes) -> bool:
        """RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2): the encoding is made again and compared."""
        named = der(SEQUENCE, der(SEQUENCE, hash_.identifier, der(NULL)), der(OCTETS, hash_.digest(message)))
        found = self.power(signature)
        return found is not None and found == b"\0\1" + b"\xff" * (len(found) - len(named) - 3) + b"\0" + named

    def verify_pss(self, hash_: Hash, message: bytes, signature: bytes, salt_bytes: int) -> bool:
        """RSASSA-PSS (RFC 8017, section 9.1.2)."""
        found, bits, digest = self.power(signature), self.n.bit_length() - 1, hash_.digest(message)
        if found is None:
            return False
        encoded = found[-((bits + 7) // 8) :]
        if any(found[: len(found) - len(encoded)]) or encoded[-1:] != b"\xbc" or encoded[0] >> (8 - -bits % 8):
            return False
        masked, seal = encoded[: -len(digest) - 1], encoded[-len(digest) - 1 : -1]
        plain = bytearray(x ^ y for x, y in zip(masked, mgf1(hash_, seal, len(masked))))
        plain[0] &= 0xFF >> -bits % 8
        zeros = len(plain) - salt_bytes - 1
        if zeros < 0 or any(plain[:zeros]) or plain[zeros] != 1:
            return False
        return hash_.digest(bytes(8) + digest + bytes(plain[zeros + 1 :])) == seal


def elements(data: bytes, tag: int) -> Iterator[bytes]:
    part = Der(data)
    while part.at < len(data):
        yield part.raw(tag)


def take_time(part: Der) -> int:
    tag = TIME if part.next_is(TIME) else UTC_TIME
    return der_time(tag, part.take(tag))


class Certificate:
    """What of a certificate (RFC 5280) a decision needs. Nothing of it is believed before somebody ``issued`` it."""

    def __init__(self, data: bytes) -> None:
        self.data, whole = data, Der(data, SEQUENCE)
        self.signed, self.algorithm, bits = whole.raw(SEQUENCE), whole.raw(SEQUENCE), whole.take(BIT_STRING)
        whole.end()
        self.signature, part = bits[1:], Der(self.signed, SEQUENCE)
        part.take_if(CONTEXT)  # version
        start = part.at
        number = part.number()
        self.number = part.data[start : part.at]
        if bits[:1] != b"\0" or number <= 0 or part.raw(SEQUENCE) != self.algorithm:
            raise Damage("CERTIFICATE", "a certificate whose number, algorithm or signature is not in its form")
        self.issuer, validity = part.raw(SEQUENCE), part.inner(SEQUENCE)
        self.begin_us, self.end_us = take_time(validity), take_time(validity)
        validity.end()
        self.subject, self.key = part.raw(SEQUENCE), part.raw(SEQUENCE)
        part.take_if(IMPLICIT + 1)  # identifiers that nobody uses
        part.take_if(IMPLICIT + 2)
        self.extensions: dict[bytes, tuple[bool, bytes]] = {}  # by name: critical, and its value
        found = part.take_if(CONTEXT + 3)
        part.end()
        for extension in [] if found is None else elements(Der(found, SEQUENCE).data, SEQUENCE):
            one = Der(extension, SEQUENCE)
            name, critical = one.raw(OID), one.take_if(BOOLEAN)
            if name in self.extensions or critical not in (None, b"\xff"):
                raise Damage(
                    "CERTIFICATE", "a certificate with an extension that stands there twice, or not in its form"
                )
            self.extensions[name] = critical is not None, one.take(OCTETS)
            one.end()

    def value(self, extension: bytes, tag: int) -> bytes | None:
        """What is in the one element that an extension's value is; None where it is not there."""
        found = self.extensions.get(extension)
        return None if found is None else Der(found[1], tag).data

    def purposes(self) -> list[bytes] | None:
        value = self.value(PURPOSES, SEQUENCE)
        return None if value is None else list(elements(value, OID))

    def has_usage(self, bits: int) -> bool:
        """One of these bits of its key's usage, or nothing is said of that."""
        value = self.value(USAGE, BIT_STRING)
        return value is None or bool(int.from_bytes(value[1:2], "big") & bits)

    def objection(self, below: int, at_us: int) -> str | None:
        """Why it may not be where it is, at this time; ``below`` certificates hang from it, and 0 is the signer's."""
        if not self.begin_us <= at_us // 1_000_000 * 1_000_000 <= self.end_us:
            return "a certificate was not valid at the stated time"
        public_key(self.key)
        if any(critical and name not in UNDERSTOOD for name, (critical, _) in self.extensions.items()):
            return "a certificate has a critical extension that is not understood"
        purposes = self.purposes()
        if below == 0:
            if purposes != [TIME_STAMPING] or not self.extensions[PURPOSES][0] or not self.has_usage(SIGNS):
                return "the signer's certificate is not, critically and exclusively, for timestamps"
            return None
        value = self.value(CONSTRAINTS, SEQUENCE)
        constraints = Der(value or b"")
        is_authority = constraints.take_if(BOOLEAN) == b"\xff"
        levels = constraints.number() if constraints.next_is(INTEGER) else below
        constraints.end()
        if not is_authority or levels < below - 1 or not self.has_usage(CERTIFIES):
            return "a certificate signed another one and may not"
        if purposes is not None and TIME_STAMPING not in purposes and ANY_PURPOSE not in purposes:
            return "a certificate signed one for timestamps and may not"
        return None


def public_key(info: bytes) -> RsaKey | tuple[Curve, tuple[int, int]]:
    """A SubjectPublicKeyInfo: RSA of 2,048 to 8,192 bits, or a point of P-256 or P-384."""
    part = Der(info, SEQUENCE)
    algorithm, bits = part.raw(SEQUENCE), part.take(BIT_STRING)
    part.end()
    if algorithm == der(SEQUENCE, RSA, der(NULL)):
        numbers = Der(bits[1:], SEQUENCE)
        key = RsaKey(numbers.number(), numbers.number())
        numbers.end()
        if 2048 <= key.n.bit_length() <= 8192 and 1 < key.e < 1 << 64 and key.n & key.e & 1:
            return key
    for name, curve in CURVES.items():
        size = (curve.p.bit_length() + 7) // 8
        if algorithm == der(SEQUENCE, EC, name) and bits[:2] == b"\0\4" and len(bits) == 2 + 2 * size:
            point = (int.from_bytes(bits[2 : 2 + size], "big"), int.from_bytes(bits[2 + size :], "big"))
            if curve.has(point):
                return curve, point
    raise Damage("KEY", "a certificate whose key is neither RSA of 2,048 to 8,192 bits nor of P-256 or P-384")


def is_signed(
    key: RsaKey | tuple[Curve, tuple[int, int]], algorithm: bytes, hash_: Hash, message: bytes, signature: bytes
) -> bool:
    """Whether an algorithm is one of this key with this hash, and the signature right."""
    if not isinstance(key, RsaKey):
        is_ecdsa = algorithm == der(SEQUENCE, hash_.with_ecdsa)
        return is_ecdsa and key[0].verify(key[1], hash_.digest(message), signature)
    if algorithm in (der(SEQUENCE, RSA, der(NULL)), der(SEQUENCE, hash_.with_rsa, der(NULL))):
        return key.verify(hash_, message, signature)
    outer = Der(algorithm, SEQUENCE)
    if outer.raw(OID) != PSS:
        return False
    parameters = outer.inner(SEQUENCE)
    outer.end()
    hashing, masking = parameters.take(CONTEXT), Der(parameters.take(CONTEXT + 1), SEQUENCE)
    salt = Der(parameters.take(CONTEXT + 2))
    salt_bytes = salt.number()
    for part in (parameters, salt):
        part.end()
    if masking.raw(OID) != MGF1 or not hash_.is_named(hashing) or not hash_.is_named(masking.raw(SEQUENCE)):
        return False
    masking.end()
    return 0 <= salt_bytes <= 64 and key.verify_pss(hash_, message, signature, salt_bytes)


@lru_cache(maxsize=1024)
def read_certificate(data: bytes) -> Certificate:
    return Certificate(data)


@lru_cache(maxsize=1024)
def issued(issuer: bytes, certificate: bytes) -> bool:
    """Whether one signed the other, with means that count. An authority has few certificates and many timestamps."""
    above, below = read_certificate(issuer), read_certificate(certificate)
    if above.subject != below.issuer:
        return False
    for hash_ in HASHES:
        try:
            key = public_key(above.key)
            if below.algorithm != der(SEQUENCE, RSA, der(NULL)) and is_signed(
                key, below.algorithm, hash_, below.signed, below.signature
            ):
                return True
        except Damage:
            continue
    return False


def read_roots(pem: bytes) -> list[bytes]:
    """DER of the certificates of a PEM file; at least one."""
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", pem)
    try:
        roots = [binascii.a2b_base64(block) for block in blocks]
    except binascii.Error:
        raise Damage("ROOTS", "a certificate that is not base64") from None
    for root in roots:
        read_certificate(root)
    if not 0 < len(roots) <= ROOTS_MAX or pem.count(b"-----BEGIN CERTIFICATE-----") != len(blocks):
        raise Damage("ROOTS", f"not a file of 1 to {ROOTS_MAX} certificates in PEM form")
    return roots


class Timestamp(NamedTuple):
    """What an authority said: the bytes existed at ``latest_us``, and it had them at ``earliest_us`` or later."""

    earliest_us: int
    latest_us: int


def verify_timestamp(data: bytes, message: bytes, roots: list[bytes]) -> Timestamp:
    """Raises ``Damage`` unless an authority that the roots vouch for signed this over the message, in the one form."""
    response = Der(data, SEQUENCE)
    if len(data) > TIMESTAMP_BYTES_MAX or response.raw(SEQUENCE) != der(SEQUENCE, der(INTEGER, b"\0")):
        raise Damage("TIMESTAMP", "no timestamp was granted")
    token = response.inner(SEQUENCE)
    response.end()
    if token.raw(OID) != SIGNED_DATA:
        raise Damage("TIMESTAMP", "no signed data")
    body = Der(token.take(CONTEXT), SEQUENCE)
    token.end()
    body.take(INTEGER)  # what is not looked at here is compared below, when the whole is written again
    body.take(SET)
    content, content_info = body.take_raw(SEQUENCE)
    certificates = list(elements(body.take(CONTEXT), SEQUENCE))
    signer = Der(body.take(SET), SEQUENCE)
    body.end()
    inner = Der(content)
    if inner.raw(OID) != TST_INFO or not 0 < len(certificates) <= CERTIFICATES_MAX:
        raise Damage("TIMESTAMP", "it holds something else, or too many certificates")
    info = Der(inner.take(CONTEXT), OCTETS).data
    inner.end()

    signer.take(INTEGER)
    named, algorithm, attributes = signer.take(SEQUENCE), signer.raw(SEQUENCE), signer.take(CONTEXT)
    signature_algorithm, signature = signer.raw(SEQUENCE), signer.take(OCTETS)
    signer.end()
    hash_ = next((one for one in HASHES if algorithm == der(SEQUENCE, one.identifier)), None)
    if hash_ is None or signature_algorithm == der(SEQUENCE, hash_.with_rsa, der(NULL)):
        raise Damage("TIMESTAMP", "an algorithm is not in the form in which timestamps are kept")
    one_form = written_timestamp(
        content_info=content_info,
        certificates=certificates,
        named=named,
        algorithm=algorithm,
        attributes=attributes,
        signature_algorithm=signature_algorithm,
        signature=signature,
    )
    if one_form != data:
        raise Damage(
            "TIMESTAMP", "not in the form in which timestamps are kept: what is not signed was changed or added"
        )

    at_us, timestamp = read_tst_info(info, message)
    certificate = next((c for c in map(read_certificate, certificates) if c.issuer + c.number == named), None)
    if certificate is None:
        raise Damage("TIMESTAMP", "the certificate of whoever signed is not in it")
    check_attributes(attributes, info, hash_, certificate.data)
    if not is_signed(public_key(certificate.key), signature_algorithm, hash_, der(SET, attributes), signature):
        raise Damage("TIMESTAMP", "its signature is wrong")
    check_trust(certificate.data, certificates, roots, at_us)
    return timestamp


def written_timestamp(
    *,
    content_info: bytes,
    certificates: list[bytes],
    named: bytes,
    algorithm: bytes,
    attributes: bytes,
    signature_algorithm: bytes,
    signature: bytes,
) -> bytes:
    """A response as it is kept: no more than is needed, and in one order."""
    signer = der(
        SEQUENCE,
        der(INTEGER, b"\1"),
        der(SEQUENCE, named),
        algorithm,
        der(CONTEXT, attributes),
        signature_algorithm,
        der(OCTETS, signature),
    )
    kept = der(CONTEXT, *sorted(set(certificates)))
    body = der(SEQUENCE, der(INTEGER, b"\3"), der(SET, algorithm), content_info, kept, der(SET, signer))
    return der(SEQUENCE, der(SEQUENCE, der(INTEGER, b"\0")), der(SEQUENCE, SIGNED_DATA, der(CONTEXT, body)))


def read_tst_info(data: bytes, message: bytes) -> tuple[int, Timestamp]:
    """The stated time, and between which times the message was seen."""
    info = Der(data, SEQUENCE)
    if info.number() != 1:
        raise Damage("TIMESTAMP", "another version of a timestamp")
    info.take(OID)
    imprint = info.inner(SEQUENCE)
    is_sha256, digest = HASHES[0].is_named(imprint.raw(SEQUENCE)), imprint.take(OCTETS)
    imprint.end()
    if not is_sha256 or digest != hashlib.sha256(message).digest():
        raise Damage("TIMESTAMP", "it is over other bytes")
    info.number()
    at_us, accuracy_us = der_time(TIME, info.take(TIME)), 1_000_000
    stated = info.take_if(SEQUENCE)
    if stated is not None:
        part, accuracy_us = Der(stated), 0
        for tag, unit_us in ((INTEGER, 1_000_000), (IMPLICIT, 1_000), (IMPLICIT + 1, 1)):
            accuracy_us += part.number(tag) * unit_us if part.next_is(tag) else 0
        part.end()
    info.take_if(BOOLEAN)
    if info.next_is(INTEGER):
        info.number()
    for tag in (CONTEXT, CONTEXT + 1):
        info.take_if(tag)
    info.end()
    if accuracy_us < 0:
        raise Damage("TIMESTAMP", "an accuracy below zero")
    return at_us, Timestamp(at_us - accuracy_us, at_us + accuracy_us)


def check_attributes(data: bytes, info: bytes, hash_: Hash, certificate: bytes) -> None:
    """What was signed beside the digest: its type, and the certificate that it was signed under (RFC 5035)."""
    attributes: dict[bytes, bytes] = {}
    for attribute in elements(data, SEQUENCE):
        part = Der(attribute, SEQUENCE)
        name, values = part.raw(OID), part.take(SET)
        part.end()
        if name in attributes:
            raise Damage("TIMESTAMP", "an attribute stands in it twice")
        attributes[name] = values
    is_right = attributes.get(CONTENT_TYPE) == TST_INFO
    if not is_right or attributes.get(MESSAGE_DIGEST) != der(OCTETS, hash_.digest(info)):
        raise Damage("TIMESTAMP", "its signature is over something else")
    digests = []
    if SIGNED_UNDER in attributes:
        first = Der(Der(attributes[SIGNED_UNDER], SEQUENCE).take(SEQUENCE)).inner(SEQUENCE)
        digests.append((first.take(OCTETS), hashlib.sha1(certificate).digest()))  # noqa: S324 - a name, not a proof
    if SIGNED_UNDER_V2 in attributes:
        first = Der(Der(attributes[SIGNED_UNDER_V2], SEQUENCE).take(SEQUENCE)).inner(SEQUENCE)
        stated = first.raw(SEQUENCE) if first.next_is(SEQUENCE) else der(SEQUENCE, HASHES[0].identifier)
        digests += [(first.take(OCTETS), one.digest(certificate)) for one in HASHES if one.is_named(stated)] or [
            (b"", b".")
        ]
    if not digests or any(stated != expected for stated, expected in digests):
        raise Damage("TIMESTAMP", "it does not name the certificate that it was signed under")


def check_trust(signer: bytes, certificates: list[bytes], roots: list[bytes], at_us: int) -> None:
    """All certificates form one chain, and it leads to a root that was given."""
    chain, left = [signer], sorted(other for other in certificates if other != signer)
    while len(chain) < CHAIN_MAX:
        above = next((other for other in left if issued(other, chain[-1])), None)
        if above is None:
            break
        chain.append(above)
        left.remove(above)
    if left:
        raise Damage("TIMESTAMP", "it has certificates that are not needed")
    for below, data in enumerate(chain):
        objection, root = read_certificate(data).objection(below, at_us), None
        if objection is None and data not in roots:
            root = next((root for root in roots if issued(root, data)), None)
            if root is None:
                continue
            objection = read_certificate(root).objection(below + 1, at_us)
        if objection:
            raise Damage("TIMESTAMP", objection)
        return
    raise Damage("TIMESTAMP", "the certificate of whoever signed does not lead to a root that was given")


class Rules(NamedTuple):
    """What is demanded of time: whose word counts, the time now, and how old a head may be."""

    roots: list[bytes] | None = None
    now_us: int = 0
    age_us_max: int | None = None


TOLERANCE_US = 10_000_000  # clocks may differ so far unremarked
LATE_US_MAX = 3_600_000_000  # what was recorded at once waits no longer than this: beyond it, new calls are refused
IMMEDIATE = re.compile(
    rb"worker[0-9]+|api|sealer"
)  # sources that record at once; any other may keep events for a while
NEVER = 1 << 62


class Times:
    """The timestamps of one log, and the times that its leaves and heads state."""

    def __init__(self, log: Log, rules: Rules) -> None:
        self.log, self.rules = log, rules
        pattern = re.compile(re.escape(log.place) + r"anchors/(0|[1-9][0-9]{0,18})\.tsr")
        found = {int(match[1]): match[0] for match in map(pattern.fullmatch, sorted(log.files)) if match}
        log.files.difference_update(found.values())
        self.found = found
        self.unheld: dict[int, str] = {}  # sizes of those whose head is not here, and how that is said
        self.held: dict[str, tuple[int, Timestamp]] = {}  # digest of the file: size, and what it says
        for size, name in sorted(found.items()):
            try:
                self.read(size, name)
            except Damage as damage:
                log.fail("TIMESTAMP", f"{name}: {damage}", "time")
        self.sizes = sorted(size for size, _ in self.held.values())
        self.latest: list[int] = []  # for each of them, when the leaves below it existed at the latest
        for _, timestamp in sorted(self.held.values(), reverse=True):
            self.latest.insert(0, min([timestamp.latest_us, *self.latest[:1]]))
        self.earliest, self.next = -NEVER, 0

    def read(self, size: int, name: str) -> None:
        if self.rules.roots is None:
            return
        log = self.log
        data = log.directory.read(name, TIMESTAMP_BYTES_MAX)
        try:
            head = log.directory.read(f"{log.place}heads/{size}", NOTE_BYTES_MAX)
        except Damage as damage:
            if damage.code != "MISSING":
                raise
            self.unheld[size] = str(damage)
            return
        timestamp = verify_timestamp(data, head, self.rules.roots)
        self.held[b64u(hashlib.sha256(data).digest()).decode()] = size, timestamp
        try:
            stated_us = parse_head(head).stated_s() * 1_000_000 if log.keys else 0
        except Damage:
            return  # a finding of the heads' own
        if stated_us > timestamp.latest_us + TOLERANCE_US:
            log.fail("CLOCK-AHEAD", f"{log.place}heads/{size}: was signed after its timestamp, says its signer", "time")

    def judge(self, index: int, source: Source, time_us: int) -> None:
        while self.next < len(self.sizes) and self.sizes[self.next] <= index:
            self.next += 1
        latest = self.latest[self.next] if self.next < len(self.latest) else NEVER
        late_us = self.earliest - time_us
        if time_us > latest + TOLERANCE_US:
            ahead_s = (time_us - latest) / 1e6
            what = f"entry {index}: {shown(source)} states a time {ahead_s:.1f} s after a timestamp over it"
            self.log.fail("CLOCK-AHEAD", what, "time")
        if late_us > LATE_US_MAX and IMMEDIATE.fullmatch(source[0]):
            what = f"entry {index}: {shown(source)} states a time {late_us / 1e6:.1f} s before what precedes it"
            self.log.fail("BACK-DATED", what, "time")
        elif late_us > TOLERANCE_US:
            what = f"entry {index}: was logged {late_us / 1e6:.1f} s or more after the time that {shown(source)} states"
            self.log.report.warn("LATE", self.log.name, what, "time")

    def take(self, index: int, anchors: dict[str, Any]) -> None:
        """An epoch begins, and names by digest what others had said of an earlier head."""
        if anchors["size"] > index:
            self.log.fail("ANCHOR-ORDER", f"entry {index}: names anchors of a head that was not there yet", "time")
            return
        for file in anchors["files"]:
            name = f"{self.log.place}anchors/{file['name']}"
            try:
                digest = b64u(hashlib.sha256(self.log.directory.read(name, NOTE_BYTES_MAX)).digest()).decode()
            except Damage as damage:
                self.log.fail("ANCHOR-MISSING", f"{damage}; entry {index} names it", "time")
                continue
            if digest != file["sha256"]:
                self.log.fail("ANCHOR-CHANGED", f"{name}: not what entry {index} names", "time")
                continue
            size, timestamp = self.held.get(digest, (-1, None))
            if timestamp is not None and size == anchors["size"]:
                self.earliest = max(self.earliest, timestamp.earliest_us)

    def conclude(self, *, read: bool) -> None:
        """``read``: whether there were leaves that could be held against the timestamps."""
        log, roots = self.log, self.rules.roots
        for size in self.sizes:
            if read and size > log.size:
                self.unheld[size] = "of a head that this log has no more"
        covered = max((size for size in self.sizes if size <= log.size), default=0)
        if not self.found or not read:
            what = "there is no timestamp or cosignature of anybody else"
            if self.found:
                what = f"{len(self.found)} timestamps are here, and no leaves that could be held against them"
            log.report.add("time", NOT_ASSESSED, "NO-TIMESTAMP", log.name, what)
        elif roots is None:
            what = f"{len(self.found)} timestamps are here, and nobody said whom to trust for them (--tsa-roots)"
            log.report.add("time", NOT_ASSESSED, "NO-TSA-ROOTS", log.name, what)
        elif covered < log.size:
            what = f"the last {log.size - covered} leaves lie beyond the newest timestamp, of size {covered}"
            log.report.warn("UNSTAMPED", log.name, what, "time")

    def check_age(self, head: Head) -> None:
        """By the time that stands under the log's own signature."""
        if self.rules.age_us_max is None or self.log.keys is None:
            return
        age_us = self.rules.now_us - head.stated_s() * 1_000_000
        if age_us > self.rules.age_us_max:
            what = f"the newest head was signed {age_us // 1_000_000} s ago"
            self.log.fail("STALE", f"{what}; {self.rules.age_us_max // 1_000_000} s are allowed", "time")
        elif age_us < -TOLERANCE_US:
            what = f"the newest head states a time that is {-age_us // 1_000_000} s ahead of this clock"
            self.log.report.warn("HEAD-AHEAD", self.log.name, what, "time")


# ----------------------------------------------------------------------------------------------------------------------
# 15. The command
# ----------------------------------------------------------------------------------------------------------------------

EXIT_OK, EXIT_NOT_OK, EXIT_USAGE, EXIT_NO_ANCHOR = 0, 1, 2, 3


class UsageError(Exception):
    """What was asked for cannot be started: a file that was named on the command line cannot be used."""


def read_given(path: str, bytes_max: int) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(data) > bytes_max:
        raise UsageError(f"{path}: longer than {bytes_max} bytes")
    return data


def read_vkeys(path: str) -> LogKeys:
    lines = read_given(path, NOTE_BYTES_MAX).decode("utf-8", "replace").splitlines()
    try:
        if len(lines) != 2:
            raise Damage("VKEY", "it must hold two verifier keys, one a line, Ed25519 first")
        return parse_vkeys((lines[0], lines[1]))
    except Damage as damage:
        raise UsageError(f"{path}: not a vkeys file: {damage}") from None


def roots_of(path: str | None) -> list[bytes] | None:
    try:
        return read_roots(read_given(path, ROOTS_BYTES_MAX)) if path else None
    except Damage as damage:
        raise UsageError(f"{path}: not a file of root certificates: {damage}") from None


def age_of(text: str | None) -> int | None:
    """Microseconds of 90s, 30m, 2h or 7d."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text or "")
    if text and not match:
        raise UsageError(f"--max-age {text}: not a number with s, m, h or d behind it")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] * 1_000_000 if match else None


def read_policy(path: str) -> Policy:
    """The verifier's own policy; none is ever read from the directory that is checked."""
    try:
        return parse_policy(read_given(path, POLICY_BYTES_MAX))
    except Damage as damage:
        raise UsageError(f"{path}: not a policy: {damage}") from None


def default_vkeys() -> LogKeys | None:
    keys = os.environ.get("AFFIDAVIT_KEYS")
    path = os.path.join(keys, "public", "system.vkeys") if keys else ""
    return read_vkeys(path) if path and os.path.exists(path) else None


def read_root(arguments: argparse.Namespace) -> RootKey | None:
    if not arguments.root:
        if arguments.manifest:
            raise UsageError("--manifest is nothing without the root key that signed it: --root FILE")
        return None
    vkey = read_given(arguments.root, NOTE_BYTES_MAX).decode("utf-8", "replace").removesuffix("\n")
    try:
        parse_vkey(vkey, 0x01, 32)
    except Damage as damage:
        raise UsageError(f"{arguments.root}: not the verifier key of a root key: {damage}") from None
    names = arguments.manifest or [os.path.join(os.environ.get("AFFIDAVIT_KEYS", ""), "public", "manifest")]
    return RootKey(vkey, [(name, read_given(name, NOTE_BYTES_MAX)) for name in names])


def default_directory() -> str:
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.environ.get("AFFIDAVIT_DATA") or os.path.join(home, "affidavit")


def base64_root(root: bytes | None) -> str | None:
    return None if root is None else binascii.b2a_base64(root, newline=False).decode()


def print_findings(report: Report) -> None:
    print()
    for verdict, axis, code, log, what in report.findings():
        print(f"{verdict:<13}{axis:<13}{code:<18} {log or '-':<12} {what}")


def print_forks(report: Report) -> None:
    """Both heads of each contradiction, as they were signed: whoever has them needs neither us nor this directory."""
    for fork in report.forks:
        for name, head in fork["heads"]:
            print(f"\n{fork['code']} {fork['log']} {printable(name)}:")
            print("\n".join(line if line.isprintable() else printable(line) for line in head.split("\n")))


def print_json(result: dict[str, Any], report: Report, **more: Any) -> None:
    print(json.dumps({**result, "findings": [finding._asdict() for finding in report.findings()], **more}))


def run_directory(path: str, arguments: argparse.Namespace) -> int:
    root = read_root(arguments)
    keys = read_vkeys(arguments.vkey) if arguments.vkey else None
    if keys is None and root is None:  # with a root key, what the key directory says counts only as far as that signed
        keys = default_vkeys()
    pins = [(name, read_given(name, NOTE_BYTES_MAX)) for name in arguments.pin]
    policy = read_policy(arguments.policy) if arguments.policy else None
    promises = [(name, read_given(name, NOTE_BYTES_MAX)) for name in arguments.promise]
    rules = Rules(roots_of(arguments.tsa_roots), time.time_ns() // 1_000, age_of(arguments.max_age))
    report, logs = verify_directory(path, keys, pins, policy=policy, promises=promises, rules=rules, root=root)
    overall = {axis: report.overall(axis) for axis in AXES}
    size = sum(log.size for log in logs)
    print(f"{printable(path)}: {len(logs)} logs, {size} leaves\n")
    for log in logs:
        print(f"  {log.name:<20} size {log.size:<10} root {base64_root(log.root) or 'unknown'}")
    print(f"\n{'axis':<13}{'verdict':<13}what this does not prove")
    for axis in AXES:
        print(f"{axis:<13}{overall[axis]:<13}{DOES_NOT_PROVE[axis]}")
    print_findings(report)
    print_forks(report)
    if overall["integrity"] == overall["anchor"] == OK:
        print("\nThis ledger is verified: its bytes agree with heads that its keys signed and somebody else kept.")
    elif overall["integrity"] == OK:
        print("\nIts bytes agree with the newest heads that its keys signed. That others saw these heads is not shown.")
    else:
        print("\nThe integrity of this ledger is not established.")
    if arguments.json:
        rows = [
            {"log": log.name, "origin": log.origin, "size": log.size, "root": base64_root(log.root)} for log in logs
        ]
        for row, log in zip(rows, logs):
            row.update({axis: report.verdict(axis, log.name) for axis in AXES})
        print_json({**overall, "size": size, "logs": rows}, report, forks=report.forks)
    if arguments.require_anchor and overall["anchor"] != OK:
        return EXIT_NO_ANCHOR
    return EXIT_OK if overall["integrity"] == OK and FAIL not in overall.values() else EXIT_NOT_OK


def run_evidence(path: str, data: bytes, arguments: argparse.Namespace) -> int:
    """Of a broken promise: what it shows, and what it cannot."""
    if not arguments.vkey:
        raise UsageError("evidence needs --vkey FILE, the two verifier keys of the system log")
    keys, report, found = read_vkeys(arguments.vkey), Report(), None
    try:
        found = verify_evidence(data, keys)
    except Damage as damage:
        report.fail(damage.code, keys.origin, f"{path}: {damage}", "completeness")
    except Exception as error:  # noqa: BLE001 - evidence comes from strangers; no byte of it may end this program
        what = f"{path}: cannot be judged ({type(error).__name__}: {str(error)[:200]})"
        report.fail("ERROR", keys.origin, what, "completeness")
    result: dict[str, Any] = {"verdict": FAIL}
    if found is None:
        print(f"{printable(path)}: this evidence does not hold.")
        print_findings(report)
    else:
        promise, size = found.promise, found.head.size
        later = found.head_s > promise.seal_by_s
        print(f"{printable(path)}: {promise.shard} promised a leaf of {promise.origin} by {promise.seal_by_s} s since")
        print(f"1970, with the digest {promise.digest.decode()}.")
        print(f"That log signed a head of size {size} at {found.head_s} s.")
        print("It was due by then." if later else "It was not due by then.")
        print("No file can show that there is no such leaf: whoever has the log can refute this with one proof of it.")
        result = {"verdict": OK, "origin": promise.origin, "digest": promise.digest.decode(), "was_due": later}
        result |= {"seal_by_s": promise.seal_by_s, "head_s": found.head_s, "size": size}
    if arguments.json:
        axes = dict.fromkeys(AXES, NOT_ASSESSED)  # of the log, which is not here
        print_json({**axes, "size": 0, "logs": [], "evidence": result}, report)
    return EXIT_OK if found else EXIT_NOT_OK


def run_proof(path: str, arguments: argparse.Namespace) -> int:
    root = read_root(arguments)
    if not arguments.vkey and root is None:
        raise UsageError("a proof needs --vkey FILE, the two verifier keys of the log that it is from, or --root FILE")
    if arguments.require_anchor or arguments.pin:
        raise UsageError("a proof of one entry anchors nothing: --pin and --require-anchor are for a data directory")
    keys, report, proved = read_vkeys(arguments.vkey) if arguments.vkey else None, Report(), None
    data, log = read_given(path, PROOF_BYTES_MAX), keys.origin if keys else None
    if data.startswith(b"{"):
        return run_evidence(path, data, arguments)
    try:
        if root is not None:
            keys = keys_by_root(data, root, keys)
        proved = verify_proof(data, keys) if keys else None
    except Damage as damage:
        report.fail(damage.code, log, f"{path}: {damage}")
    except Exception as error:  # noqa: BLE001 - a proof comes from strangers; no byte of it may end this program
        report.fail("ERROR", log, f"{path}: cannot be judged ({type(error).__name__}: {str(error)[:200]})")
    result: dict[str, Any] = {"verdict": FAIL}
    if proved is None:
        print(f"{printable(path)}: this proof does not hold.")
        print_findings(report)
    else:
        size, origin, index = proved.head.size, proved.head.origin, proved.position
        print(
            f"{printable(path)}: this entry is included in the head of size {size} of {printable(origin)}, at {index}."
        )
        print("It says nothing of any other entry, nor whether anybody else saw that head.\n")
        print(f"leaf    {proved.leaf}")
        for field in proved.fields:
            print(f"{field['block']:<8}{field['slot']} = {json.dumps(field['value'])}")
        result = {"verdict": OK, "origin": origin, "index": index, "size": size, "root": base64_root(proved.head.root)}
        result |= {"leaf": proved.leaf, "fields": proved.fields}
    if arguments.json:
        axes = dict.fromkeys(AXES, NOT_ASSESSED)  # of the log: a proof of one entry says nothing of it
        if proved is None:
            axes["integrity"] = FAIL
        print_json({**axes, "size": int(proved is not None), "logs": [], "proof": result}, report)
    return EXIT_OK if proved else EXIT_NOT_OK


def run_bundle(path: str, arguments: argparse.Namespace) -> int:
    if not arguments.vkey:
        raise UsageError("a bundle needs --vkey FILE, the two verifier keys of the log that it is from")
    if arguments.require_anchor or arguments.pin:
        raise UsageError("a bundle anchors nothing: --pin and --require-anchor are for a data directory")
    if arguments.root:
        raise UsageError("a bundle is judged by the keys of its log alone: --root is for a directory or a proof")
    keys, report = read_vkeys(arguments.vkey), Report()
    count = examine_bundle(path, keys, report)
    failed = report.overall("erasure") == FAIL
    if failed:
        print(f"{printable(path)}: this bundle is not what was exported.")
        print_findings(report)
    else:
        print(f"{printable(path)}: its {count} files are those that one leaf of {printable(keys.origin)} names.")
        print("It says nothing of any other leaf, nor whether anybody else saw the head of that log.")
    if arguments.json:
        axes = {**dict.fromkeys(AXES, NOT_ASSESSED), "erasure": FAIL if failed else NOT_ASSESSED}
        print_json({**axes, "size": count, "logs": [], "bundle": {"verdict": FAIL if failed else OK}}, report)
    return EXIT_NOT_OK if failed else EXIT_OK


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Check an affidavit ledger, or one proof out of it. Only reads.",
        epilog="Exit: 0 integrity OK and no FAIL (or the proof holds), 1 else, 2 usage, 3 anchor required and not OK.",
    )
    keys_help = "the log's two verifier keys (default for a directory: $AFFIDAVIT_KEYS/public/system.vkeys)"
    pin_help = "a signed head that was kept elsewhere, of any log; repeatable"
    parser.add_argument("path", nargs="?", metavar="DIR|FILE.tlog-proof", help="default: $AFFIDAVIT_DATA")
    parser.add_argument("--vkey", metavar="FILE", help=keys_help)
    parser.add_argument("--pin", metavar="CHECKPOINT", action="append", default=[], help=pin_help)
    policy_help = "your policy (C2SP tlog-policy): which witnesses make a head beside a log count"
    parser.add_argument("--policy", metavar="FILE", help=policy_help)
    root_help = "the root key's verifier key: then the key manifest is checked, and its revocations count"
    parser.add_argument("--root", metavar="FILE", help=root_help)
    manifest_help = "with --root: a key manifest, of which the newest counts (default: $AFFIDAVIT_KEYS/public/manifest)"
    parser.add_argument("--manifest", metavar="FILE", action="append", default=[], help=manifest_help)
    promise_help = "promises that a client was given (x-affidavit-promise), one a line; repeatable"
    parser.add_argument("--promise", metavar="FILE", action="append", default=[], help=promise_help)
    parser.add_argument("--tsa-roots", metavar="FILE", help="root certificates (PEM) of trusted timestamp authorities")
    parser.add_argument("--max-age", metavar="AGE", help="how old the newest head of each log may be: 90s, 30m, 2h, 7d")
    parser.add_argument("--bundle", action="store_true", help="the directory is an exported bundle, not a ledger")
    parser.add_argument("--require-anchor", action="store_true", help="exit with 3 unless the anchor is OK")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args(argv)
    path = arguments.path or default_directory()
    try:
        if arguments.bundle:
            return run_bundle(path, arguments)
        if os.path.isdir(path):
            return run_directory(path, arguments)
        if os.path.isfile(path):
            return run_proof(path, arguments)
        raise UsageError(f"{path}: neither a data directory nor a proof")
    except UsageError as error:
        print(f"affidavit_verify: {printable(str(error))}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
