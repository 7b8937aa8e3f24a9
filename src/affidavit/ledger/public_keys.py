"""The public keys of all logs, as the sealer writes them down for verifiers, witnesses and the holder of a root key.

Promise: ``public/<log>.keys`` has all generations with the signatures that hand over from each to the next, so it is
whole by itself; the vkeys files beside it are for who needs one pair. Nothing here is secret, and no verifier of a data
directory believes more of it than the newest pair of the system log. Formats: docs/formats.md, sections 12 and 21.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places
from affidavit.tlog.cosignature import format_vkeys_file, parse_vkeys_file
from affidavit.tlog.rotation import KeyHistory, format_keys_file, key_history, parse_keys_file

KEYS_SUFFIX = ".keys"


def publish_keys(places: Places, histories: Mapping[str, KeyHistory], *, disk: Disk) -> None:
    """Write down what is new: the newest pair in ``<log>.vkeys``, those that signed before under numbers beside it.

    Logs have the names that they have among those of all shards.

    If we die between two files, the next start writes the rest; each of them is right by itself.
    """
    for log, history in histories.items():
        files = {places.public / f"{log}{KEYS_SUFFIX}": format_keys_file(history)}
        *older, newest = [vkeys for _, vkeys in history.generations]
        for generation, vkeys in enumerate(older, 1):
            files[places.public / f"{log}.{generation}.vkeys"] = format_vkeys_file(vkeys)
        files[places.public / f"{log}.vkeys"] = format_vkeys_file(newest)
        for path, content in files.items():
            if not path.exists() or path.read_bytes() != content:
                disk.replace(path, content)


def published_keys(public: Path, log: str) -> KeyHistory | None:
    """All generations of a log's keys, or ``None`` where they are not published yet.

    Raises:
        OSError: They are there and cannot be read.
        AffidavitError: What is there is damaged.
    """
    try:
        return parse_keys_file((public / f"{log}{KEYS_SUFFIX}").read_bytes())
    except FileNotFoundError:
        pass
    try:  # written by a version that did not know generations
        return key_history(parse_vkeys_file((public / f"{log}.vkeys").read_bytes()))
    except FileNotFoundError:
        return None


def published_logs(public: Path) -> list[str]:
    """Names of the logs whose keys are published, sorted."""
    # No log has a point in its name; those of vkeys files of older generations have.
    names = {path.stem for suffix in (KEYS_SUFFIX, ".vkeys") for path in public.glob(f"*{suffix}")}
    return sorted(name for name in names if "." not in name)
