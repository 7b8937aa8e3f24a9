"""What a check gives, and the list of all of them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Verdict = Literal["OK", "NOT ASSESSED", "WARN", "FAIL"]

CHECKS: Final[dict[str, str]] = {
    "config": "whether the configuration can be read",
    "service": "whether the service runs, and whether each of its processes is ready",
    "disk.data": "what kind of file system holds the ledger, and options that weaken its syncs",
    "disk.keys": "the same for the keys",
    "disk.sync": "how long a sync takes, and whether it is suspiciously cheap",
    "disk.cache": "whether the disk has a write cache that the kernel knows of",
    "disk.apart": "whether data and keys lie on different devices",
    "clock.sync": "the kernel's own estimate of how wrong the clock is",
    "clock.future": "whether anything on record is from the future",
    "keys.modes": "whether anybody else could read the keys",
    "keys.apart": "whether the keys lie outside of what is backed up with the data",
    "keys.binding": "whether these keys serve this data directory and no copy of it",
    "keys.kek": "whether the key of all keys and the ring are there",
    "keys.sealing": "how old the key is that write-ahead files are encrypted to",
    "keys.signer": "whether the signer has the keys and the memory of each log",
    "keys.user": "whether the signer runs as a user of its own",
    "keys.backup": "when the keys were backed up last, as far as this installation knows",
    "keys.approvers": "whether the ledger names those of whom two must confirm a restore",
    "space.data": "free space, and for how many days it will do at the present growth",
    "space.keys": "free space for the keys",
    "left.lock": "who holds the lock, and whether they live",
    "left.sockets": "sockets that nobody listens on",
    "left.shards": "write-ahead shards, unborn ones and prepared files without a service",
    "left.stages": "cuts that were sealed and not published",
    "left.damaged": "shards that were moved away because durable bytes had changed",
    "left.temporary": "files of interrupted writes",
    "machine.python": "the version of Python",
    "machine.openssl": "the OpenSSL that encrypts",
    "machine.sha": "whether the processor has SHA instructions, and how fast it hashes",
    "machine.files": "how many descriptors a process may have",
    "machine.cores": "how many processors we may use",
}
"""Every check by name, and what it looks at."""

SEVERITY: Final[dict[Verdict, int]] = {"OK": 0, "NOT ASSESSED": 1, "WARN": 2, "FAIL": 3}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    name: str
    """One of `CHECKS`."""
    verdict: Verdict
    what: str
    """What was seen, and where it matters, what that does not prove."""
    next: str = ""
    """What to do; empty where there is nothing to do."""


def ok(name: str, what: str) -> Check:
    """Nothing to do."""
    return Check(name=name, verdict="OK", what=what)


def warn(name: str, what: str, do: str) -> Check:
    """Something that will hurt on a bad day."""
    return Check(name=name, verdict="WARN", what=what, next=do)


def fail(name: str, what: str, do: str) -> Check:
    """Something that is wrong now."""
    return Check(name=name, verdict="FAIL", what=what, next=do)


def not_assessed(name: str, why: str, do: str = "") -> Check:
    """It could not be looked at; that is no OK."""
    return Check(name=name, verdict="NOT ASSESSED", what=why, next=do)
