"""The leaf: the permanent, public line of a record. Twins `format_leaf` and `parse_leaf`.

Promise: a leaf has no personal data, no string that a client chose, and nothing that is stable for a person.
`parse_leaf` accepts exactly the
bytes that `format_leaf` makes: it decodes, encodes again and compares, since JSON decoders accept duplicate keys and
other spellings.
Formats: docs/formats.md, section 3.
"""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from affidavit.errors import FormatError
from affidavit.event import NUMBER_MAX
from affidavit.text import long_id, short_id
from affidavit.tlog.entry import ENTRY_SIZE_MAX

Number = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The capture point, its boot, and the record's number in this log."""

    id: str
    boot: str
    seq: Number
    digest: str | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Root of the header slots and digest of the encrypted block."""

    root: str
    sha256: str


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Root of the body slots, digest of the ciphertext, and the bucket of its length."""

    root: str
    sha256: str
    bucket: int


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One leaf. Ids stand in it in their short form (`text.short_id`); `id` and `links` give them as UUIDs.

    `data` holds public facts of the log's own types only.
    """

    short_id: str = msgspec.field(name="id")
    src: Source
    time_us: Number
    type: str
    v: int
    header: Header | None = None
    body: Body | None = None
    short_links: dict[str, str] | None = msgspec.field(name="links", default=None)
    data: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        *,
        id: str,  # noqa: A002 - the format's word
        src: Source,
        time_us: int,
        type: str,  # noqa: A002
        header: Header | None = None,
        body: Body | None = None,
        links: dict[str, str] | None = None,
        data: dict[str, Any] | None = None,
    ) -> Self:
        """A leaf of version 1 from ids in their usual form."""
        return cls(
            short_id=short_id(id),
            src=src,
            time_us=time_us,
            type=type,
            v=1,
            header=header,
            body=body,
            short_links=None if links is None else _short_links(links),
            data=data,
        )

    @property
    def id(self) -> str:
        """Id of the record, a UUID in text form."""
        return long_id(self.short_id)

    @property
    def links(self) -> dict[str, str] | None:
        """Ids of the records that this one belongs to or corrects, as UUIDs."""
        return (
            None if self.short_links is None else {name: long_id(record) for name, record in self.short_links.items()}
        )

    @property
    def call(self) -> str | None:
        """Id of the call that the record belongs to, as a UUID; an intent's own id is its call's."""
        if self.type == "llm.request":
            return self.id
        call = self.short_links.get("call") if self.short_links else None
        return None if call is None else long_id(call)


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Leaf)
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_ABSENT = bytes(32)
_NOT_SEALED = "a leaf would be too long for an entry, not ASCII, or have a number out of range; it was not sealed"


def bucket(length: int) -> int:
    """Smallest n with `length` ≤ 2^n."""
    return (length - 1).bit_length() if length else 0


def format_leaf(leaf: Leaf) -> bytes:
    """Canonical bytes of a leaf.

    Raises:
        FormatError: Longer than a log entry may be, not ASCII, or with a value that canonical JSON does not have.
    """
    try:
        data = _encoder.encode(leaf)
    except (UnicodeEncodeError, OverflowError):
        data = b""
    if not 0 < len(data) <= ENTRY_SIZE_MAX or not data.isascii() or not _has_plain_values(leaf):
        raise FormatError(_NOT_SEALED)
    return data


def format_record_leaf(
    record_id: bytes,
    *,
    source: Source,
    digest: bytes | None,
    time_us: int,
    type: str,  # noqa: A002 - the format's word
    header: tuple[bytes, bytes],
    body: tuple[bytes, bytes, int] | None,
    links: dict[str, str] | None,
    data: bytes | None = None,
) -> bytes:
    """What `format_leaf` makes of the leaf of a captured record, in half the time: nearly all leaves are such.

    `record_id` are the 16 bytes of the UUID; `digest` that of the frames, which `source` lacks; `header` and `body`
    what the members of `Header` and `Body` are made of; `data`, public facts in canonical JSON, which few records have.

    Raises:
        FormatError: As `format_leaf`.
    """
    root, sha256, bucket = (_ABSENT, _ABSENT, 0) if body is None else body
    # A zero byte after each digest makes 33 of them, 44 characters: b64u of all in one pass, the 44th to be left out.
    digests = b"\0".join((*header, root, sha256, digest or _ABSENT, record_id))
    text = b2a_base64(digests, newline=False).translate(_URLSAFE).decode("ascii")
    body_part = (
        "" if body is None else f'"body":{{"bucket":{bucket},"root":"{text[88:131]}","sha256":"{text[132:175]}"}},'
    )
    data_part = "" if data is None else f'"data":{data.decode("ascii", "replace")},'
    links_part = "" if links is None else f'"links":{_encoder.encode(_short_links(links)).decode()},'
    digest_part = "" if digest is None else f'"digest":"{text[176:219]}",'
    entry = (
        f'{{{body_part}{data_part}"header":{{"root":"{text[:43]}","sha256":"{text[44:87]}"}},"id":"{text[220:242]}",{links_part}'
        f'"src":{{"boot":{_quoted(source.boot)},{digest_part}"id":{_quoted(source.id)},"seq":{source.seq}}},'
        f'"time_us":{time_us},"type":{_quoted(type)},"v":1}}'
    )
    is_in_range = 0 < source.seq <= NUMBER_MAX and 0 < time_us <= NUMBER_MAX
    if not is_in_range or len(entry) > ENTRY_SIZE_MAX or not entry.isascii():
        raise FormatError(_NOT_SEALED)
    return entry.encode("ascii")


@lru_cache(maxsize=1_000)
def _quoted(name: str) -> str:
    """A JSON string; sources, boots and types are few."""
    try:
        return _encoder.encode(name).decode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(_NOT_SEALED) from error


def _short_links(links: dict[str, str]) -> dict[str, str]:
    return {name: short_id(record) for name, record in links.items()}


def parse_leaf(data: bytes) -> Leaf:
    """Leaf from its bytes.

    Raises:
        FormatError: Not a leaf, or not the canonical spelling of one.
    """
    try:
        leaf = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = "an entry is not a leaf"
        raise FormatError(message) from error
    if _encoder.encode(leaf) != data or not data.isascii() or not _has_plain_values(leaf):
        message = "a leaf is not in its canonical form"
        raise FormatError(message)
    return leaf


def _has_plain_values(leaf: Leaf) -> bool:
    """Whether the numbers are integers that every JSON reader agrees on; a decoder takes others where it may."""
    if not 0 < leaf.time_us <= NUMBER_MAX or not 0 < leaf.src.seq <= NUMBER_MAX:
        return False
    if leaf.data is None:
        return True
    values: list[Any] = [leaf.data]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        elif isinstance(value, float) or (isinstance(value, int) and abs(value) > NUMBER_MAX):
            return False
    return True
