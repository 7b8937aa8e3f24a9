"""Which keys sign heads of which size: told by the leaves of the system log that hand over, and by nothing else.

Promise: a hand-over counts only if both old keys and both new ones signed it. One that is not so, or that does not
stand where the system log's own must stand, is authority `FAIL`, and the old keys stay the only ones. Formats:
docs/formats.md, sections 11, 21 and 22.

The system log's heads must be judged before its leaves, so its hand-overs are looked up first, unproved; afterwards the
same ones must have been heard at their places in the tree, or that is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from affidavit.errors import AffidavitError, FormatError
from affidavit.event import SYSTEM_LOG
from affidavit.prove.files import Files, UnusableFileError
from affidavit.prove.leaves import KeyRotate, Leaf, ProjectCreate, parse_facts, parse_leaf
from affidavit.prove.report import Findings, LogFindings
from affidavit.text import parse_b64u
from affidavit.tlog.checkpoint import Checkpoint
from affidavit.tlog.cosignature import LogVkeys, log_vkeys, lone_signer, verify_log_head
from affidavit.tlog.entry import ENTRY_SIZE_MAX, parse_bundle
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.rotation import KeyHistory, Rotation, key_history, rotation_of
from affidavit.tlog.tile import TILE_WIDTH, parse_tile_path

BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_SIZE_MAX)
_ENTRIES = "tree/tile/entries/"


def extended(history: KeyHistory, stated: KeyRotate) -> KeyHistory:
    """The history with what a leaf states; raises `AffidavitError` where it may not."""
    if stated.origin != history.origin:
        raise FormatError("the origin is another log's")
    signatures = tuple(map(parse_b64u, stated.signatures))
    return history.extended(rotation_of(after=stated.after, vkeys=stated.vkeys, signatures=signatures))


def history_of_system(
    files: Files,
    names: set[str],
    vkeys: LogVkeys,
    *,
    known: Sequence[ProjectCreate | KeyRotate] = (),
    lost: Sequence[Rotation] = (),
) -> KeyHistory:
    """The system log's keys, of which the verifier was given any one pair; just that one where it never changed.

    `known` is what earlier bundles said, which are not among `names`; `lost` are hand-overs that no leaf has any more.
    """
    created: ProjectCreate | None = None
    stated: list[KeyRotate] = []
    for facts in chain(known, _hand_overs(files, names)):
        if isinstance(facts, KeyRotate):
            stated.append(facts)
        else:
            created = created or facts
    if not (stated or lost) or created is None:
        return key_history(vkeys)
    try:
        history = key_history(log_vkeys(parse_vkey(text) for text in created.vkeys))
    except AffidavitError:
        return key_history(vkeys)
    for facts in stated:
        try:
            history = extended(history, facts)
        except AffidavitError:
            continue  # it is named when it is heard
    for rotation in lost:
        try:
            history = history.extended(rotation)
        except AffidavitError:
            break  # it is named when it is heard
    return history if any(vkeys == pair for _, pair in history.generations) else key_history(vkeys)


def _hand_overs(files: Files, names: set[str]) -> Iterator[ProjectCreate | KeyRotate]:
    """What the system log's bundles say of its own keys, in order of the leaves, nothing of it proved."""
    bundles = []
    for name in names:
        if name.startswith(_ENTRIES):
            tile = parse_tile_path(name.removeprefix("tree/"))
            bundles.append((tile.index, tile.width, name))
    newest = {index: (width, name) for index, width, name in sorted(bundles)}
    for _, (width, name) in sorted(newest.items()):
        try:
            entries = parse_bundle(files.read(f"logs/{SYSTEM_LOG}/{name}", bytes_max=BUNDLE_BYTES_MAX), width)
        except (UnusableFileError, FormatError):
            continue  # a finding when the log is examined
        yield from filter(None, map(_about_system, entries))


def _about_system(entry: bytes) -> ProjectCreate | KeyRotate | None:
    """What one entry says of the system log's own keys, if it does."""
    if b'"type":"key.rotate"' not in entry and b'"type":"project.create"' not in entry:
        return None
    try:
        facts = parse_facts(_leaf(entry), log=SYSTEM_LOG)
    except FormatError:
        return None
    if isinstance(facts, KeyRotate):
        return facts if facts.log == SYSTEM_LOG else None
    return facts if isinstance(facts, ProjectCreate) and facts.project == SYSTEM_LOG else None


def _leaf(entry: bytes) -> Leaf:
    leaf = parse_leaf(entry)
    if leaf.data is None:
        raise FormatError("it has no data")
    return leaf


def check_rotations(
    stated: Sequence[tuple[int, KeyRotate]], histories: Mapping[str, KeyHistory | None], findings: Findings
) -> dict[str, KeyHistory]:
    """Hear every hand-over in its order; returns the keys of each log.

    `histories` has what is known of each log before: the keys that it was created with; ``None`` where nobody knows.
    """
    found = {log: keys for log, keys in histories.items() if keys is not None}
    for index, facts in stated:
        of_log = findings.for_log(facts.log)
        if facts.log not in histories:
            of_log.fail("KEY-ROTATE", f"entry {index} of the system log: hands over a log that it does not know")
        elif facts.log in found:
            try:
                if facts.log == SYSTEM_LOG and facts.after != index + 1:
                    raise FormatError("it is not the last leaf that the old keys cover")
                found[facts.log] = extended(found[facts.log], facts)
            except AffidavitError as error:
                what = f"entry {index} of the system log: hands over the keys, and may not: {error}"
                of_log.fail("KEY-ROTATE", what, axis="authority")
    return found


def judge_revoked(head: Checkpoint, keys: KeyHistory, what: str, findings: LogFindings) -> None:
    """A head that holds: whether the root key has revoked the keys that signed it."""
    if keys.is_revoked(head.size):
        said = f"{what}: signed with keys that the root key revoked for heads of this size"
        findings.fail("KEY-REVOKED", said, axis="authority")


def judge_signers(data: bytes, keys: KeyHistory, what: str, findings: LogFindings) -> None:
    """A head that does not hold: whether it was signed by keys of this log that may not sign it so."""
    for _, vkeys in keys.generations:
        lone = lone_signer(data, vkeys)
        if lone is not None:
            said = f"{what}: signed by the log's {lone.signature_type.name} key alone; both must sign"
            findings.fail("ONE-SIGNATURE", said, axis="authority")
            return
        try:
            head = verify_log_head(data, vkeys)
        except AffidavitError:
            continue
        if keys.at(head.size) != vkeys:
            findings.fail("KEY-GENERATION", f"{what}: signed by keys that sign no heads of this size", axis="authority")
        return
