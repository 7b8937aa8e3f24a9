"""Bundles: files that left the ledger together, and one leaf that says which. Formats: docs/formats.md, section 19.

Promise: a bundle whose check finds nothing holds exactly the files that a `bundle.export` leaf names by their digests,
and that leaf is in a head that its log signed. It says nothing of other leaves, nor that what a file says is true. One
byte changed in any file, one file more or less, is named.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from affidavit.errors import AffidavitError, FormatError
from affidavit.event import BUNDLE_EXPORT
from affidavit.prove.columns import check_digests
from affidavit.prove.files import READ_BYTES, Files, UnusableFileError
from affidavit.prove.leaves import BundleExport, Count, Digest, parse_facts
from affidavit.prove.leaves import parse_leaf as parse_checked_leaf
from affidavit.prove.proof import verify_proof_file
from affidavit.text import b64u
from affidavit.tlog.cosignature import LogVkeys
from affidavit.tlog.proof import PROOF_SIZE_MAX, parse_proof

MANIFEST: Final = "manifest.json"
PROOF: Final = "bundle.tlog-proof"
MANIFEST_BYTES_MAX: Final = 16 << 20
"""Some hundred thousand files; a longer manifest is none of ours."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,7}")


class BundledFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    bytes: Count
    name: Annotated[str, Meta(max_length=807)]
    sha256: Digest


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle consists of."""

    files: tuple[BundledFile, ...]
    v: Literal[1]


class BundleProblem(msgspec.Struct, frozen=True):
    """Something in a bundle is not what was exported."""

    code: str
    name: str
    """The file."""
    what: str


_json: Final = msgspec.json.Encoder(order="sorted")
_manifest: Final = msgspec.json.Decoder(Manifest)


def format_manifest(files: dict[str, bytes]) -> bytes:
    """The manifest over these files, by name.

    Raises:
        FormatError: A name that a bundle cannot have.
    """
    for name in files:
        if name in {MANIFEST, PROOF} or _NAME.fullmatch(name) is None:
            raise FormatError(f"{name!r} is not a name that a file of a bundle can have")
    listed = [BundledFile(len(files[name]), name, b64u(sha256(files[name]).digest())) for name in sorted(files)]
    return _json.encode(Manifest(tuple(listed), 1))


def bundle_data(manifest: bytes) -> dict[str, int | str]:
    """The `data` of the `bundle.export` leaf for a manifest."""
    return {"files": len(parse_manifest(manifest).files), "sha256": b64u(sha256(manifest).digest())}


def parse_manifest(data: bytes) -> Manifest:
    """A manifest in its canonical form.

    Raises:
        FormatError: It is none.
    """
    try:
        manifest = _manifest.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("not a manifest of version 1") from error
    names = [file.name for file in manifest.files]
    if _json.encode(manifest) != data or names != sorted(set(names)) or not all(map(_NAME.fullmatch, names)):
        raise FormatError("not in its canonical form, or with names out of order")
    check_digests([file.sha256 for file in manifest.files])
    return manifest


def check_bundle(directory: Path, *, vkeys: LogVkeys) -> tuple[BundleProblem, ...]:
    """Everything that is wrong with a bundle, given the two keys of the log that it left. It only reads."""
    files = Files(directory)
    try:
        stated = _stated(files, vkeys)
    except AffidavitError as error:
        return (BundleProblem("BUNDLE-PROOF", PROOF, f"{PROOF}: {error}"),)
    try:
        data = files.read(MANIFEST, bytes_max=MANIFEST_BYTES_MAX)
        manifest = parse_manifest(data)
    except AffidavitError as error:
        return (BundleProblem("BUNDLE-MANIFEST", MANIFEST, f"{MANIFEST}: {error}"),)
    if b64u(sha256(data).digest()) != stated.sha256 or len(manifest.files) != stated.files:
        return (BundleProblem("BUNDLE-MANIFEST", MANIFEST, f"{MANIFEST}: not the one that the leaf names"),)
    found = [problem for file in manifest.files if (problem := _problem_of(files, file)) is not None]
    known = {MANIFEST, PROOF, *(file.name for file in manifest.files)}
    known.update(str(parent) for name in tuple(known) for parent in PurePosixPath(name).parents)
    strangers = sorted(name for name in _names(directory) if name not in known)
    return (
        *found,
        *(BundleProblem("BUNDLE-FILE", name, f"{name}: the manifest knows no such file") for name in strangers),
    )


def _stated(files: Files, vkeys: LogVkeys) -> BundleExport:
    data = files.read(PROOF, bytes_max=PROOF_SIZE_MAX)
    proved = verify_proof_file(data, vkeys=vkeys)
    extra = msgspec.json.decode(parse_proof(data).extra or b"{}")
    leaf = parse_checked_leaf(extra["leaf"].encode())
    log = proved.origin.rpartition("/")[2]
    facts = parse_facts(leaf, log=log) if leaf.type == BUNDLE_EXPORT else None
    if not isinstance(facts, BundleExport):
        raise FormatError(f"it proves a leaf of type {leaf.type}, and not the export of a bundle")
    return facts


def _problem_of(files: Files, file: BundledFile) -> BundleProblem | None:
    running, length = sha256(), 0
    try:
        with files.open(file.name) as opened:
            while piece := opened.read(READ_BYTES):
                running.update(piece)
                length += len(piece)
    except UnusableFileError as error:
        return BundleProblem("BUNDLE-FILE", file.name, str(error))
    except OSError as error:
        return BundleProblem("BUNDLE-FILE", file.name, f"{file.name}: cannot be read ({error.strerror})")
    if length != file.bytes or b64u(running.digest()) != file.sha256:
        return BundleProblem("BUNDLE-DIGEST", file.name, f"{file.name}: not the bytes that were exported")
    return None


def _names(directory: Path) -> list[str]:
    """Everything below the directory; links to directories are not entered, and count as files."""
    found = []
    for place, below, names in os.walk(directory):
        found += [str((Path(place) / name).relative_to(directory)) for name in (*names, *below)]
    return found
