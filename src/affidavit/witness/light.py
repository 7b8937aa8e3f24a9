"""A light witness: whoever uses a log keeps the last head that they saw, and demands that the next one extends it.

Promise: the file never goes back and never changes sides: it holds the largest head that both keys of the log signed
and that extends every one that was kept there before. A head that does not is an error that carries both signed heads,
since they are evidence that needs no ledger; the file then stays as it is. Nothing is believed but signatures and the
Merkle proof, which is made of the log's own tiles, from wherever they are served.

An answer of the gateway tells size and root of the newest head to a client that asks (``x-affidavit-head: 1``):
`keep_told_head` takes that header. What is told is not signed, so the signed head is fetched beside the tiles, and must
extend both what was told and what was kept.

What it does not do: it compares a log with its own past, so two people who were shown two histories from the beginning
find that out only by exchanging what they kept (`affidavit verify --pin`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from affidavit.errors import AffidavitError, FormatError
from affidavit.ledger.directory import Disk
from affidavit.tlog.checkpoint import Checkpoint, parse_checkpoint
from affidavit.tlog.cosignature import open_cosigned_head
from affidavit.tlog.merkle import ProofError, consistency_proof, verify_consistency
from affidavit.tlog.note import encode_text
from affidavit.tlog.rotation import KeyHistory
from affidavit.tlog.tile import node_reader

_PARTS: Final = 3


class InconsistentHeadError(AffidavitError):
    """A head does not extend the one that was kept: `held` and `offered` are both, as they were signed."""

    def __init__(self, code: Literal["FORK", "ROLLBACK"], why: str, *, held: bytes, offered: bytes) -> None:
        super().__init__(f"{code}: {why}. The head that was kept stays; keep the other one as well, they are evidence")
        self.code: Final = code
        self.held: Final = held
        self.offered: Final = offered


class LateTilesError(AffidavitError):
    """The tiles that are served are older than the head that an answer told of; nothing was decided."""


def parse_told_head(value: str) -> Checkpoint:
    """What an answer's header ``x-affidavit-head`` says: size, root in base64, origin.

    Raises:
        FormatError: It says nothing of this form.
    """
    parts = value.split(" ", 2)
    if len(parts) != _PARTS:
        raise FormatError("not a head as an answer tells it: size, root and origin")
    size, root, origin = parts
    return parse_checkpoint(encode_text(f"{origin}\n{size}\n{root}\n"))


def keep_told_head(path: Path, value: str, *, keys: KeyHistory, read: Callable[[str], bytes], disk: Disk) -> Checkpoint:
    """As `keep_head`, for the head that an answer told of in ``x-affidavit-head``; returns the one that is kept now.

    `read` gives ``checkpoint`` as well as tiles.

    Raises:
        InconsistentHeadError: The log does not extend what was kept, or what it told itself; of the latter `held` is
            the header, which is not signed and convinces nobody else.
        LateTilesError: What is served is older than what was told: ask again later.
        SignatureError, FormatError: A head is not one that this log signed, or `value` tells none of this log.
    """
    told = parse_told_head(value)
    if told.origin != keys.origin:
        raise FormatError(f"the answer tells a head of another log, {told.origin}")
    head = read("checkpoint")
    new = open_cosigned_head(head, keys.of_head(head)).checkpoint
    if new.size < told.size:
        raise LateTilesError(
            f"an answer told of a head of size {told.size}, and the newest that is served has {new.size}. Nothing is "
            "wrong if it comes soon; if it does not, you are shown less than others"
        )
    try:
        node = node_reader(new.size, read)
        proof = consistency_proof(old_size=told.size, new_size=new.size, node=node)
        verify_consistency(old_size=told.size, old_root=told.root, new_size=new.size, new_root=new.root, proof=proof)
    except ProofError as error:
        why = f"the head of size {new.size} does not extend that of size {told.size}, which an answer told of"
        raise InconsistentHeadError("FORK", why, held=value.encode(), offered=head) from error
    return keep_head(path, head, keys=keys, read=read, disk=disk)


def keep_head(path: Path, head: bytes, *, keys: KeyHistory, read: Callable[[str], bytes], disk: Disk) -> Checkpoint:
    """Demand that `head` extends the one in `path`, and keep it there; the first one is kept as it is.

    `read` gives the file at a path of tlog-tiles (``tile/0/000``), of the tree that `head` is of; whatever it raises
    passes through, and then nothing was decided. If we die in between, the older head stands.

    `keys` are the log's: `key_history` of the pair that is known, or, once the log has changed its keys, what
    `parse_keys_file` makes of the file that it publishes, if it `continues` that pair. The size of a head tells which
    pair must have signed it.

    Raises:
        InconsistentHeadError: A fork, or an older state than was seen before.
        SignatureError, FormatError: Either head is not one that this log signed; the file stays as it is.
    """
    new = open_cosigned_head(head, keys.of_head(head)).checkpoint
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        disk.replace(path, head)
        return new
    old = open_cosigned_head(held, keys.of_head(held)).checkpoint
    if new.size < old.size:
        why = f"a head of size {new.size} is shown, and one of {old.size} was seen before"
        raise InconsistentHeadError("ROLLBACK", why, held=held, offered=head)
    if new == old:
        return old
    try:
        node = node_reader(new.size, read)
        # Of two heads of one size the proof is empty, and only equal roots pass.
        proof = consistency_proof(old_size=old.size, new_size=new.size, node=node)
        verify_consistency(old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof)
    except ProofError as error:
        why = f"the head of size {new.size} does not extend that of size {old.size}, or its tiles were changed"
        raise InconsistentHeadError("FORK", why, held=held, offered=head) from error
    disk.replace(path, head)
    return new
