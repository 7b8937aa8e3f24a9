"""Changing the keys of a log: made by the signer, named by a leaf of the system log, and only then used.

Required order: everything sealed is published → the signer makes the hand-over durable (from here on it signs larger
heads with the new keys only) → its leaf is published in the system log, alone → the next head has the new keys.

If we die between the second and the third, the signer remembers the hand-over, and the next start publishes its leaf
before it adds anything to any log. The system log's own hand-over is the last leaf that its old keys cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from affidavit.errors import CorruptionError
from affidavit.event import KEY_ROTATE, SYSTEM_LOG
from affidavit.ledger.leaf import parse_leaf
from affidavit.ledger.reader import LogReader
from affidavit.ledger.signer import SavedRotation
from affidavit.seal.log import SealedLog
from affidavit.text import parse_b64u
from affidavit.tlog.cosignature import log_vkeys
from affidavit.tlog.note import parse_vkey
from affidavit.tlog.rotation import KeyHistory, key_history, rotation_of


def history_of(rotations: Sequence[SavedRotation], *, newest: tuple[str, str]) -> KeyHistory:
    """Which keys sign heads of which size, as the signer has it; each hand-over is verified again."""
    first = rotations[0].old if rotations else newest
    history = key_history(log_vkeys(parse_vkey(text) for text in first))
    for rotation in rotations:
        history = _extended(history, rotation)
    return history


def rotate_log(
    logs: Mapping[str, SealedLog],
    name: str,
    *,
    rotate: Callable[[str, int], SavedRotation],
    publish: Callable[[], None],
) -> SavedRotation:
    """Change the keys of one log."""
    system = logs[SYSTEM_LOG]
    system.make_room()
    publish()
    after = system.writer.size + 1 if name == SYSTEM_LOG else logs[name].writer.size
    rotation = rotate(name, after)
    _announce(logs, name, rotation, publish=publish)
    logs[name].writer.keys = _extended(logs[name].writer.keys, rotation)
    return rotation


def announce_rotations(
    logs: Mapping[str, SealedLog],
    rotations: Callable[[str], tuple[SavedRotation, ...]],
    *,
    publish: Callable[[], None],
) -> None:
    """At a start, before anything else is added: name what the signer handed over and no leaf tells of yet."""
    # The system log's own comes first: its leaf has the one place where the signer expects it.
    for name in sorted(logs, key=lambda name: name != SYSTEM_LOG):
        for rotation in rotations(name)[-1:]:
            if not _is_announced(logs, name, rotation):
                _announce(logs, name, rotation, publish=publish)


def _is_announced(logs: Mapping[str, SealedLog], name: str, rotation: SavedRotation) -> bool:
    size = logs[name].writer.size
    if size > rotation.after or name == SYSTEM_LOG:
        return size >= rotation.after
    system = logs[SYSTEM_LOG].writer
    reader = LogReader(system.layout)
    for index in range(system.size - 1, -1, -1):
        entry = reader.entry(index, size=system.size)
        if b'"type":"key.rotate"' in entry:
            data = parse_leaf(entry).data or {}
            if data.get("log") == name and data.get("vkeys") == list(rotation.vkeys):
                return True
    return False


def _announce(
    logs: Mapping[str, SealedLog], name: str, rotation: SavedRotation, *, publish: Callable[[], None]
) -> None:
    system = logs[SYSTEM_LOG]
    index = system.add_own(
        KEY_ROTATE,
        {
            "log": name,
            "origin": logs[name].writer.origin,
            "after": rotation.after,
            "vkeys": list(rotation.vkeys),
            "signatures": list(rotation.signatures),
        },
    )
    if name == SYSTEM_LOG and index + 1 != rotation.after:
        raise CorruptionError(
            f"the signer handed the system log over after {rotation.after} leaves, and it has {index}; nothing was "
            "published. Run `affidavit verify`"
        )
    # Alone: what comes after it may belong to heads of the new keys.
    publish()


def _extended(history: KeyHistory, rotation: SavedRotation) -> KeyHistory:
    signatures = tuple(map(parse_b64u, rotation.signatures))
    return history.extended(rotation_of(after=rotation.after, vkeys=rotation.vkeys, signatures=signatures))
