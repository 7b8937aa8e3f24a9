"""The key manifest: what the root key says of the keys of all logs, and up to which size each may be believed.

Promise: `open_manifest` returns only what the root key signed. The root key signs no head and lies with no service:
whoever takes the log keys can neither take back a revocation nor make themselves known as the log.
Formats: docs/formats.md, section 22.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from affidavit.errors import FormatError
from affidavit.tlog.cosignature import log_vkeys
from affidavit.tlog.note import (
    Ed25519Signer,
    Ed25519Verifier,
    Note,
    SignatureType,
    VerifierKey,
    format_note,
    open_note,
    parse_vkey,
)
from affidavit.tlog.rotation import GENERATIONS_MAX, KeyHistory

NAME_SUFFIX: Final = "/system/root"
"""Of the root key's name, behind the prefix of the installation's origins: no log can have such an origin."""
_TITLE: Final = b"affidavit/manifest/v1\n"

Text = Annotated[str, Meta(pattern=r"\A[ -~]{1,4096}\Z")]
Size = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pair of keys of a log, and the size of the smallest head that it signs."""

    from_size: Size = msgspec.field(name="from")
    vkeys: tuple[Text, Text]


class Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heads of more than `size` leaves are not to be believed on the word of this generation's keys."""

    generation: Annotated[int, Meta(ge=1, le=GENERATIONS_MAX)]
    size: Size


class LogEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One log: its keys by generation, from the first, and what is revoked of them."""

    log: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}(?:@(?:[2-9]|[1-9][0-9]{1,3}))?\Z")]
    origin: Text
    generations: Annotated[tuple[Generation, ...], Meta(min_length=1, max_length=GENERATIONS_MAX)]
    revoked: tuple[Revoked, ...]

    def history(self) -> KeyHistory:
        """The keys of this log as the root key names them; raises `AffidavitError` where they are none of its own."""
        pairs = [log_vkeys(parse_vkey(text) for text in one.vkeys) for one in self.generations]
        if any(pair.origin != self.origin for pair in pairs):
            raise FormatError("a key of the manifest is not under the origin of its log")
        return KeyHistory(
            tuple((one.from_size - 1, pair) for one, pair in zip(self.generations, pairs, strict=True)),
            tuple((one.generation, one.size) for one in self.revoked),
        )


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All logs, sorted by name, each once."""

    v: Literal[1]
    serial: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    """Rises with each manifest that the root key signs."""
    logs: tuple[LogEntry, ...]

    def of(self, log: str) -> LogEntry | None:
        """What it says of a log."""
        return next((entry for entry in self.logs if entry.log == log), None)

    def of_origin(self, origin: str) -> LogEntry | None:
        """What it says of the log with this origin."""
        return next((entry for entry in self.logs if entry.origin == origin), None)

    def takes_back(self, before: Manifest) -> str | None:
        """The first log of which this manifest no longer says all that an earlier one said, or ``None``."""
        for old in before.logs:
            new = self.of(old.log)
            if (
                new is None
                or new.origin != old.origin
                or new.generations[: len(old.generations)] != old.generations
                or not set(old.revoked) <= set(new.revoked)
            ):
                return old.log
        return None


_json: Final = msgspec.json.Encoder(order="sorted")
_manifest: Final = msgspec.json.Decoder(Manifest)


def sign_manifest(manifest: Manifest, *, root: Ed25519Signer) -> bytes:
    """The signed note."""
    text = _TITLE + _json.encode(manifest) + b"\n"
    data = format_note(Note(text, (root.sign(text),)))
    open_manifest(data, root=root.key)  # what nobody could read is not handed out
    return data


def open_manifest(data: bytes, *, root: VerifierKey) -> Manifest:
    """The manifest that the root key signed.

    Raises:
        AffidavitError: It did not sign this, or it is no manifest in its canonical form.
    """
    opened = open_note(data, [Ed25519Verifier(root)])
    body = opened.text.removeprefix(_TITLE)
    try:
        manifest = _manifest.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("not a key manifest: a member or value that the format does not know") from error
    names = [entry.log for entry in manifest.logs]
    if _TITLE + _json.encode(manifest) + b"\n" != opened.text or names != sorted(set(names)):
        raise FormatError("a key manifest is not in its canonical form, or its logs are not sorted")
    for entry in manifest.logs:
        sizes = [one.from_size for one in entry.generations]
        if sizes[0] != 0 or sizes != sorted(set(sizes)):
            raise FormatError("the sizes of a log's generations in a key manifest do not rise from 0")
    return manifest


def parse_root_vkey(data: bytes) -> VerifierKey:
    """Read a file with the root key's vkey: one line, type 0x01; raises `FormatError`."""
    try:
        text = data.decode("ascii").removesuffix("\n")
    except UnicodeDecodeError:
        text = ""
    key = parse_vkey(text)
    if key.signature_type is not SignatureType.ED25519:
        raise FormatError("a root key is an Ed25519 key of type 0x01")
    return key
