"""The 44 attempts, and what each must get: fixed before anything was built, and never adjusted to what is built.

A clause may be added, where an answer is had on terms that the first ones do not name; none is taken away or loosened.

An attempt has one or more clauses, each with an axis and a verdict. `REFUSED` stands where no verifier is asked because
a door did not open: the signer, the sealer, a reader. Axes are those of a report (docs/formats.md, section 11).
"""

from __future__ import annotations

from typing import Final, NamedTuple

REFUSED: Final = "REFUSED"


class Must(NamedTuple):
    """What one clause of an attempt must get."""

    axis: str
    verdict: str
    code: str = ""
    """Code of the finding; empty where no finding is made, or any of several codes will do."""
    clause: str = ""


class Attempt(NamedTuple):
    """A row of the table."""

    number: int
    title: str
    musts: tuple[Must, ...]


def _row(number: int, title: str, *musts: Must) -> Attempt:
    return Attempt(number, title, musts)


def integrity(verdict: str, code: str = "", clause: str = "") -> Must:
    """A clause on integrity; the five below likewise."""
    return Must("integrity", verdict, code, clause)


def anchor(verdict: str, code: str = "", clause: str = "") -> Must:
    return Must("anchor", verdict, code, clause)


def completeness(verdict: str, code: str = "", clause: str = "") -> Must:
    return Must("completeness", verdict, code, clause)


def time(verdict: str, code: str = "", clause: str = "") -> Must:
    return Must("time", verdict, code, clause)


def authority(verdict: str, code: str = "", clause: str = "") -> Must:
    return Must("authority", verdict, code, clause)


def erasure(verdict: str, code: str = "", clause: str = "") -> Must:
    return Must("erasure", verdict, code, clause)


ATTEMPTS: Final = (
    _row(1, "flip one byte in an entry bundle", integrity("FAIL", "ENTRY")),
    _row(2, "edit an entry and its leaf hash in the tile", integrity("FAIL", "ROOT")),
    _row(3, "rewrite every tile without the key", integrity("FAIL", "SIGNATURE")),
    _row(
        4,
        "rewrite all and sign again with stolen keys",
        anchor("FAIL", "FORK", "against a pin, both signed heads handed out"),
        integrity("OK", "", "without a pin"),
        anchor("WARN", "UNANCHORED", "without a pin, and nothing says verified"),
    ),
    _row(
        5,
        "delete from the middle",
        integrity("FAIL", "ENTRY", "an entry"),
        integrity("FAIL", "MISSING", "a bundle"),
        integrity("FAIL", "MISSING", "a tile"),
    ),
    _row(
        6,
        "swap two entries; double one",
        integrity("FAIL", "ENTRY", "swapped"),
        integrity("FAIL", "ENTRY", "doubled"),
    ),
    _row(
        7,
        "truncate the tail, keep an old signed checkpoint",
        anchor("FAIL", "ROLLBACK", "against a pin"),
        time("WARN", "", "without a pin: stale"),
        time("FAIL", "STALE", "without a pin, and older than the age that is demanded"),
    ),
    _row(8, "delete a whole project log", completeness("FAIL", "LOG-MISSING")),
    _row(
        9,
        "restore last week's backup and carry on",
        integrity(REFUSED, "", "the signer, whose state lies outside"),
        anchor("FAIL", "FORK", "carried on with the signer's state put back, too"),
        anchor(REFUSED, "", "a witness: 409"),
        anchor("WARN", "RESTORED", "restored with two persons' consent, in a new shard"),
        authority("FAIL", "ACT-FORM", "restored, and one person confirmed it twice"),
        authority("FAIL", "APPROVAL-FORGED", "restored, and somebody confirmed it whom the ledger never named"),
        anchor("FAIL", "ROLLBACK", "restored with consent to a smaller loss"),
    ),
    _row(
        10,
        "two heads of the same size",
        anchor("FAIL", "FORK", "one of them is a pin"),
        anchor(REFUSED, "", "a witness: 422 or 409, with evidence"),
    ),
    _row(
        11,
        "different views for two auditors",
        anchor("FAIL", "FORK", "their heads compared"),
        anchor("FAIL", "", "one view lacks a quorum"),
        anchor("FAIL", "FORK", "one view lacks a quorum, and the witness is asked for its head"),
    ),
    _row(12, "freeze: serve an old head for ever", time("FAIL", "", "past the maximum age")),
    _row(
        13,
        "back-date an event to last month",
        time("FAIL", "", "a source that may not buffer"),
        time("WARN", "LATE", "a source that may buffer"),
    ),
    _row(14, "clock moved at capture", time("WARN", "CLOCK-STEP")),
    _row(
        15,
        "forged timestamp token, or one over another message",
        time("FAIL", "", "forged"),
        time("FAIL", "", "over another message"),
    ),
    _row(16, "drop an event before sealing", completeness("FAIL", "SEQUENCE-GAP")),
    _row(
        17,
        "drop a source's last events, then kill it",
        completeness("WARN", "OPEN-EPOCH", "no clean close, as long as the log may still run"),
        completeness("FAIL", "", "heartbeat missing"),
    ),
    _row(
        18,
        "never captured: the gateway bypassed",
        completeness("FAIL", "", "after reconciliation with the provider's usage"),
        completeness("NOT ASSESSED", "", "without it"),
        completeness("OK", "", "without it, and beside the verdict stands what it does not show"),
    ),
    _row(19, "request logged, outcome withheld", completeness("WARN", "OPEN-INTENT")),
    _row(20, "a signed promise whose leaf never came", completeness("FAIL", "BROKEN-PROMISE")),
    _row(
        21,
        "replay an old event",
        completeness(REFUSED, "", "its write-ahead file put back"),
        completeness("FAIL", "SEQUENCE-REPEAT", "another body under the same source, boot and number"),
    ),
    _row(22, "wrong source key", authority("FAIL")),
    _row(
        23,
        "swap ciphertext",
        erasure("FAIL", "", "between events, leaves rewritten to fit"),
        erasure("FAIL", "", "between projects, leaves rewritten to fit"),
    ),
    _row(
        24,
        "one ciphertext, two plaintexts",
        erasure("FAIL", "", "it opens under a second key"),
        erasure("FAIL", "", "a well-made body of other content"),
    ),
    _row(
        25,
        "delete a body with no erasure leaf",
        erasure("FAIL", "MISSING", "one body"),
        erasure("FAIL", "MISSING", "the file of bodies"),
    ),
    _row(
        26,
        "authorised erasure",
        erasure("OK", "ERASED"),
        integrity("OK", "", "foreign verifiers too"),
    ),
    _row(
        27,
        "erasure without the right to it",
        authority("FAIL", "", "leaf forged"),
        authority("FAIL", "", "single approver"),
        authority("FAIL", "", "under legal hold"),
    ),
    _row(28, "an erased key that is still in a backup", erasure("FAIL", "", "a probe decrypts")),
    _row(29, "guess a personal value from leaves and tiles", erasure("OK", "", "no match without the salt")),
    _row(
        30,
        "a leaf that has two readings, under good signatures",
        integrity("FAIL", "LEAF", "duplicate keys"),
        integrity("FAIL", "LEAF", "NaN"),
        integrity("FAIL", "LEAF", "floats"),
        integrity("FAIL", "LEAF", "big integers"),
        integrity("FAIL", "LEAF", "not canonical"),
        integrity("FAIL", "LEAF", "UTF-8 tricks"),
    ),
    _row(
        31,
        "sizes at and beyond the bounds",
        integrity("OK", "", "an entry of 65,535 bytes"),
        integrity(REFUSED, "", "an entry of 65,536 bytes"),
        integrity("FAIL", "", "a huge length prefix"),
        integrity(REFUSED, "", "a gzip bomb"),
    ),
    _row(
        32,
        "signature lines that only look right",
        integrity("FAIL", "", "an unknown key of the same name"),
        integrity("FAIL", "", "a key id that collides"),
        integrity("FAIL", "", "doubled lines"),
        integrity("FAIL", "", "one algorithm's signature under the other's key"),
        anchor("OK", "", "unknown lines behind a pin's two are ignored"),
    ),
    _row(33, "a proof's extra says something else than the leaf", integrity("FAIL")),
    _row(
        34,
        "an inclusion proof of the wrong shape",
        integrity("FAIL", "", "too long"),
        integrity("FAIL", "", "too short"),
        integrity("FAIL", "", "index not below the size"),
        integrity("FAIL", "", "size 0"),
    ),
    _row(
        35,
        "a witness that is none",
        anchor("WARN", "", "its key is the log's own"),
        anchor("WARN", "", "one operator twice"),
    ),
    _row(36, "a weaker quorum inside the bundle's own policy", anchor("WARN")),
    _row(
        37,
        "keys of the log changed or used without the right to it",
        authority("FAIL", "ONE-SIGNATURE", "only one of the two log signatures"),
        authority("FAIL", "", "rotation unsigned by the old key"),
        authority("FAIL", "", "use after revocation"),
    ),
    _row(
        38,
        "kill -9 at write steps, torn tails, errors of the disk",
        completeness("OK", "", "no acknowledged event lost"),
        integrity("OK", "", "never two heads of one size, tiles before the checkpoint"),
    ),
    _row(
        39,
        "a full-tile path before the tile is full",
        integrity(REFUSED, "", "404 until it is full"),
        integrity("FAIL", "BEYOND-HEAD", "planted early"),
        integrity("OK", "", "no byte of a published file ever changes, and none is missing while partial tiles go"),
    ),
    _row(40, "change the search index only", integrity("FAIL", "", "the result does not match the leaf")),
    _row(41, "edit a bundle's CSV or PDF, keep the proofs", erasure("FAIL", "", "digest")),
    _row(
        42,
        "prune below the minimum index",
        completeness("FAIL", "", "without a policy leaf"),
        completeness("OK", "PRUNED", "with it"),
    ),
    _row(
        43,
        "change a key sheet with no leaf that names it",
        erasure("FAIL", "SHEET-ROW", "blank a row"),
        erasure("FAIL", "SHEET-CHANGED", "flip a row"),
        erasure("FAIL", "SHEET-CHANGED", "put an older sheet back"),
    ),
    _row(
        44,
        "cite what may not be cited",
        erasure("FAIL", "", "bytes of another scope"),
        erasure("FAIL", "", "bytes of a record that was erased"),
    ),
)
"""In their order."""
