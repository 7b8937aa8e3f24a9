"""A small ledger made from docs/formats.md alone, by neither of the two implementations that it tests.

It favours the definitions over speed: tree hashes are the recursion of RFC 6962, tiles the formula of tlog-tiles.
Ciphertexts are random bytes, since no verifier can tell; commitments and signatures are real. All randomness but that
of the keys is drawn from a seed.
"""

import base64
import hashlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEGMENT = 65536
TIME = 1_763_700_000_000_000
HEADER_SLOTS = (
    "type times app team environment provider model prompt data_class outcome policy usage cost counts capture actor"
)
ZERO_ROW = bytes(88)


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jcs(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree_hash(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 over leaf hashes."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + tree_hash(hashes[:k]) + tree_hash(hashes[k:]))


def tree_path(index: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, from the leaf's sibling to the root's child."""
    if len(hashes) == 1:
        return []
    k = 1 << (len(hashes) - 1).bit_length() - 1
    if index < k:
        return [*tree_path(index, hashes[:k]), tree_hash(hashes[k:])]
    return [*tree_path(index - k, hashes[k:]), tree_hash(hashes[:k])]


def commitments(seed: bytes, slots: list[str], values: list[Any]) -> list[bytes]:
    salts = hashlib.shake_256(b"affidavit/salts/v1" + seed).digest(32 * len(slots))
    return [
        sha256(b"affidavit/field/v1\0" + salts[32 * i : 32 * i + 32] + len(s).to_bytes(2, "big") + s.encode() + jcs(v))
        for i, (s, v) in enumerate(zip(slots, values, strict=True))
    ]


def field_root(c: list[bytes]) -> bytes:
    return sha256(b"affidavit/fields/v1\0" + b"".join(c))


class Signer:
    """Both keys of one log."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.ed25519 = Ed25519PrivateKey.generate()
        self.mldsa44 = MLDSA44PrivateKey.generate()
        publics = [k.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for k in (self.ed25519, self.mldsa44)]
        named = [(b"\1", publics[0]), (b"\6", publics[1])]
        self.ids = [sha256(origin.encode() + b"\n" + kind + key)[:4] for kind, key in named]
        self.vkeys = [
            f"{origin}+{key_id.hex()}+{base64.b64encode(kind + key).decode()}"
            for key_id, (kind, key) in zip(self.ids, named, strict=True)
        ]

    def head(self, size: int, root: bytes, timestamp: int = TIME // 1_000_000) -> bytes:
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
        name = len(self.origin).to_bytes(1, "big") + self.origin.encode()
        stamp = timestamp.to_bytes(8, "big")
        message = b"subtree/v1\n\0" + name + stamp + name + bytes(8) + size.to_bytes(8, "big") + root
        signatures = [self.ids[0] + self.ed25519.sign(text), self.ids[1] + stamp + self.mldsa44.sign(message)]
        lines = [f"\u2014 {self.origin} {base64.b64encode(s).decode()}\n" for s in signatures]
        return text + b"\n" + "".join(lines).encode()

    def write_vkeys(self, path: Path) -> Path:
        path.write_text("".join(vkey + "\n" for vkey in self.vkeys))
        return path


@dataclass
class LogMaker:
    """One log, kept in memory as the lists that the format is about."""

    name: str
    installation: str = "0123456789abcdef0123456789abcdef"
    seed: int = 1
    leaves: list[bytes] = field(default_factory=list)
    header_blocks: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    disclosed: dict[int, tuple[bytes, list[Any]]] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    epoch: int = 0
    epoch_first: dict[tuple[str, str], int] = field(default_factory=dict)
    previous_close: int | None = None
    closing: dict[str, Any] = field(default_factory=dict)  # what an epoch.close says beside, or instead
    time_us: int = TIME

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.name}{self.seed}")
        self.signer = Signer(f"{self.installation}.affidavit.internal/{self.name}")

    def add(self, kind: str, *, src: tuple[str, str] = ("gateway", "AAAAAAAA"), content: str = "", **more: Any) -> int:
        """Append a leaf. ``content`` names its blocks (header, body); ``more``: data, links, skip, back_us."""
        index, draw = len(self.leaves), self.random.randbytes
        number = self.sequences.get(src, 0) + 1 + more.get("skip", 0)
        self.sequences[src] = number
        self.epoch_first.setdefault(src, number)
        self.time_us += 1000 - more.get("back_us", 0)
        word = draw(16).hex()
        leaf: dict[str, Any] = {
            "v": 1,
            "id": b64u(bytes.fromhex(f"{word[:12]}7{word[13:16]}8{word[17:]}")),
            "type": kind,
            "time_us": self.time_us,
            "src": {"id": src[0], "boot": src[1], "seq": number},
        }
        if src[0] == "gateway":
            leaf["src"]["digest"] = b64u(draw(32))
        for name in ("data", "links"):
            if name in more:
                leaf[name] = more[name]
        header = body = b""
        if "header" in content:
            header = draw(self.random.randrange(120, 200))
            slots, seed = HEADER_SLOTS.split(), draw(32)
            values: list[Any] = [None] * len(slots)
            values[0], values[6] = kind, ["gpt-4o", "gpt-4o-2024-08-06"]
            self.disclosed[index] = (seed, values)
            leaf["header"] = {
                "root": b64u(field_root(commitments(seed, slots, values))),
                "sha256": b64u(sha256(header)),
            }
        if "body" in content:
            body = draw(self.random.randrange(200, 900))
            leaf["body"] = {
                "root": b64u(draw(32)),
                "sha256": b64u(sha256(body)),
                "bucket": (len(body) - 1).bit_length(),
            }
        self.leaves.append(jcs(leaf))
        self.header_blocks.append(header)
        self.bodies.append(body)
        self.rows.append(draw(88) if body else ZERO_ROW)
        return index

    def sheet(self, segment: int, rows: int, version: int = 1) -> dict[str, Any]:
        prefix = b"afkeys1\n" + b"".join(self.rows[segment * SEGMENT : segment * SEGMENT + rows])
        return {"segment": segment, "version": version, "rows": rows, "sha256": b64u(sha256(prefix))}

    def open_epoch(self) -> None:
        self.epoch += 1
        self.epoch_first = {}
        self.add("epoch.open", src=("sealer", "BBBBBBBB"), data={"epoch": self.epoch, "previous": self.previous_close})

    def close_epoch(self, *, clean: int = 1, roster: list[dict[str, Any]] | None = None) -> None:
        index, own = len(self.leaves), ("sealer", "BBBBBBBB")
        last = {**self.sequences, own: self.sequences[own] + 1}
        sources = [
            {"id": s[0], "boot": s[1], "first": self.epoch_first.get(s, last[s]), "last": last[s]}
            for s in sorted({*self.epoch_first, own})
        ]
        data: dict[str, Any] = {"epoch": self.epoch, "sources": sources, "open_calls": 0, "clean": clean}
        data["sheet"] = self.sheet(index // SEGMENT, index % SEGMENT)
        if roster is not None:
            data["roster"] = roster
        data |= self.closing
        self.add("epoch.close", src=own, data=data)
        self.previous_close = index

    def calls(self, count: int) -> None:
        """Intents and outcomes in turn."""
        for _ in range(count):
            intent = self.add("llm.request", content="header body")
            record = json.loads(self.leaves[intent])["id"]
            self.add("llm.response", content="header body", links={"call": record})

    def hashes(self, size: int | None = None) -> list[bytes]:
        return [sha256(b"\0" + leaf) for leaf in self.leaves[:size]]

    def publish(self) -> bytes:
        size = len(self.leaves)
        self.heads[size] = self.signer.head(size, tree_hash(self.hashes()), TIME // 1_000_000 + size)
        return self.heads[size]

    def roster_row(self) -> dict[str, Any]:
        root = b64u(tree_hash(self.hashes()))
        return {"project": self.name, "origin": self.signer.origin, "size": len(self.leaves), "root": root}

    def creation(self) -> dict[str, Any]:
        return {"project": self.name, "origin": self.signer.origin, "vkeys": self.signer.vkeys}

    def files(self) -> dict[str, bytes]:
        """Every file of this log as it lies after the newest published head."""
        size, hashes = max(self.heads), self.hashes()
        assert size == len(self.leaves), "publish before writing"
        place = f"logs/{self.name}"
        found = {f"{place}/tree/checkpoint": self.heads[size]}
        found |= {f"{place}/heads/{n}": head for n, head in self.heads.items()}
        for n in sorted(self.heads):
            for path, content in tiles(n, self.leaves, hashes, newest=size).items():
                found[f"{place}/tree/tile/{path}"] = content
        for segment in range((size + SEGMENT - 1) // SEGMENT):
            part = slice(segment * SEGMENT, (segment + 1) * SEGMENT)
            blocks, bodies = self.header_blocks[part], self.bodies[part]
            found |= {
                f"{place}/headers/{segment:06d}": b"afhead1\n"
                + b"".join(len(b).to_bytes(2, "big") + b for b in blocks),
                f"{place}/bodies/{segment:06d}": b"afbody1\n" + b"".join(len(b).to_bytes(4, "big") + b for b in bodies),
                f"{place}/sheets/{segment:06d}.1": b"afkeys1\n" + b"".join(self.rows[part]),
            }
        return found

    def proof(self, index: int, slots: tuple[int, ...] = ()) -> bytes:
        size = max(self.heads)
        extra: dict[str, Any] = {"v": 1, "leaf": self.leaves[index].decode()}
        if slots:
            seed, values = self.disclosed[index]
            names = HEADER_SLOTS.split()
            c, salts = (
                commitments(seed, names, values),
                hashlib.shake_256(b"affidavit/salts/v1" + seed).digest(32 * len(names)),
            )
            extra["fields"] = [
                {
                    "block": "header",
                    "slot": slot,
                    "value": values[slot],
                    "salt": b64u(salts[32 * slot : 32 * slot + 32]),
                    "others": [b64u(x) for i, x in enumerate(c) if i != slot],
                }
                for slot in slots
            ]
        lines = [
            "c2sp.org/tlog-proof@v1",
            f"extra {base64.b64encode(jcs(extra)).decode()}",
            f"index {index}",
            *(base64.b64encode(node).decode() for node in tree_path(index, self.hashes(size))),
        ]
        return "\n".join(lines).encode() + b"\n\n" + self.heads[size]


def tile_path(level: str, number: int, width: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    return f"{level}/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


def tiles(size: int, leaves: list[bytes], hashes: list[bytes], *, newest: int) -> dict[str, bytes]:
    """The tiles and bundles of a tree of this size, without partial ones that are finished in the newest tree."""
    found: dict[str, bytes] = {}
    level = 0
    while size >> 8 * level:
        step = 256**level
        nodes = size // step
        for number in range((nodes + 255) // 256):
            width = min(256, nodes - 256 * number)
            if width < 256 and newest // step >= 256 * (number + 1):
                continue
            span = range(256 * number, 256 * number + width)
            found[tile_path(str(level), number, width)] = b"".join(
                tree_hash(hashes[i * step : (i + 1) * step]) for i in span
            )
            if level == 0:
                bundle = b"".join(len(leaves[i]).to_bytes(2, "big") + leaves[i] for i in span)
                found[tile_path("entries", number, width)] = bundle
        level += 1
    return found


@dataclass
class Ledger:
    """The logs of an installation and the files beside them."""

    logs: dict[str, LogMaker]
    config: bytes = b'[gateway]\nlisten = "127.0.0.1:8321"\n'

    def write(self, path: Path) -> Path:
        content = {"FORMAT": b"affidavit-ledger v1\n", "affidavit.toml": self.config}
        for log in self.logs.values():
            content |= log.files()
        for name, data in content.items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for empty in ("wal", "stage", "logs/alpha/ids"):
            (path / empty).mkdir(parents=True, exist_ok=True)
        (path / "lock").write_bytes(b"")
        return path


def start_system(*projects: LogMaker) -> LogMaker:
    """A system log with its own creation, the configuration, and one creation for each project."""
    system, own = LogMaker("system"), ("sealer", "BBBBBBBB")
    system.add("project.create", src=own, data=system.creation())
    system.open_epoch()
    system.add("config.change", src=own, data={"sha256": b64u(sha256(b'[gateway]\nlisten = "127.0.0.1:8321"\n'))})
    for project in projects:
        system.add("project.create", src=own, data=project.creation())
    system.publish()
    return system


def finish(system: LogMaker, *projects: LogMaker) -> Ledger:
    """Close what is open: projects first, so that the roster states their last size."""
    for project in projects:
        project.close_epoch()
        project.publish()
    system.close_epoch(roster=[p.roster_row() for p in sorted(projects, key=lambda p: p.name)])
    system.publish()
    return Ledger({log.name: log for log in (system, *projects)})


def small_ledger() -> Ledger:
    """A system log and two projects: one with heads before and behind a full tile, a small one of two epochs."""
    alpha, beta = LogMaker("alpha"), LogMaker("beta")
    system = start_system(alpha, beta)
    for project in (alpha, beta):
        project.open_epoch()
        project.add("source.start", content="header")
    alpha.calls(60)
    alpha.publish()  # its partial tiles are finished later, and gone
    alpha.calls(75)
    alpha.publish()
    alpha.add("content.shared", content="body")
    alpha.calls(5)
    beta.calls(4)
    beta.publish()
    beta.add("source.stop", content="header")
    beta.close_epoch()
    beta.open_epoch()
    beta.calls(3)
    beta.publish()
    return finish(system, alpha, beta)
