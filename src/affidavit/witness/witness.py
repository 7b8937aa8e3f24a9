"""What a witness answers: a function of the request and of the head that it cosigned last.

Promise: it cosigns nothing that does not extend the last head of that log, and what it cosigns is durable first; two
requests about one witness are judged one after the other. A head that its log signed and that contradicts the one that
we hold is kept beside it as evidence, whatever the answer is. Each refusal has the status of C2SP tlog-witness,
"add-checkpoint", and its checks run in that order.

Beyond the specification: of the types of keys that we were given for a log, each must have signed (as everywhere here).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec

from affidavit.errors import AffidavitError, CorruptionError, FormatError
from affidavit.notice import WITNESS_EVIDENCE, WITNESS_FAILED, WITNESS_FORK, say
from affidavit.tlog.add_checkpoint import (
    CONFLICT_TYPE,
    AddCheckpoint,
    format_conflict,
    parse_add_checkpoint,
)
from affidavit.tlog.checkpoint import Checkpoint, EmptyTreeRootError, parse_checkpoint
from affidavit.tlog.cosignature import verifier_for
from affidavit.tlog.merkle import EMPTY_ROOT, ProofError, verify_consistency
from affidavit.tlog.note import (
    Note,
    OpenedNote,
    SignatureError,
    VerifierKey,
    decode_text,
    format_note,
    format_signature_lines,
    open_note,
    parse_note,
)
from affidavit.witness.store import Held, Store

TEXT_TYPE: Final = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What goes back to whoever asked."""

    status: int
    body: bytes
    content_type: str = TEXT_TYPE


class RefusedError(AffidavitError):
    """A request that is not cosigned; `answer` says why, in the protocol's own words where it has some."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer: Final = answer


def _refusal(status: int, why: object) -> RefusedError:
    return RefusedError(Answer(status, f"{why}\n".encode()))


class Witness:
    """A witness over its store. `clock_s` gives seconds since 1970 UTC. Safe to be called from several threads."""

    def __init__(self, store: Store, *, clock_s: Callable[[], int]) -> None:
        self._store: Final = store
        self._clock_s: Final = clock_s
        self._lock: Final = Lock()  # from reading the last head to its replacement

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request of add-checkpoint; never raises."""
        try:
            request = _read(body)
            opened, checkpoint = self._open(request.checkpoint)
            with self._lock:
                return self._judge(request, opened, checkpoint)
        except RefusedError as refused:
            return refused.answer
        except CorruptionError as error:
            say(_log, WITNESS_FAILED, str(error))
            return Answer(500, f"{error}\n".encode())
        except OSError as error:
            say(_log, WITNESS_FAILED, f"nothing was cosigned: {error.strerror}. Free space or mend the disk")
            return Answer(503, b"the witness cannot write down what it would cosign, so it cosigned nothing\n")

    def checkpoint(self, name: str) -> Answer:
        """Answer a monitor: the newest head of the log with this `origin_hash`, with our lines."""
        note = self._store.published(name)
        return Answer(404, b"no checkpoint of this log was cosigned\n") if note is None else Answer(200, note)

    def _open(self, data: bytes) -> tuple[OpenedNote, Checkpoint]:
        """Signatures first: before them nothing else about the checkpoint means anything."""
        text = parse_note(data).text
        origin = decode_text(text.partition(b"\n")[0])
        # The size that it states tells which generation of its log's keys must have signed that very size.
        keys = self._store.keys_of(origin, size=_stated_size(text))
        if not keys:
            raise _refusal(404, "this witness does not know the log of this checkpoint")
        try:
            opened = open_note(data, [verifier_for(key) for key in keys])
            _require_each_type(opened, keys)
            return opened, parse_checkpoint(opened.text)
        except SignatureError as error:
            raise _refusal(403, error) from error
        except EmptyTreeRootError as error:
            raise _refusal(422, error) from error
        except FormatError as error:
            raise _refusal(400, error) from error

    def _judge(self, request: AddCheckpoint, opened: OpenedNote, checkpoint: Checkpoint) -> Answer:
        held = self._store.head(checkpoint.origin)
        size, root = (held.checkpoint.size, held.checkpoint.root) if held is not None else (0, EMPTY_ROOT)
        if held is not None and checkpoint.size == size and checkpoint.root != root:
            # Two heads of one size, whatever old size the request came with.
            self._keep_evidence(held, request, opened, checkpoint)
        if request.old_size > checkpoint.size:
            raise _refusal(400, "the old size is larger than the checkpoint's: a log never shrinks")
        if request.old_size != size:
            raise RefusedError(Answer(409, format_conflict(size), CONFLICT_TYPE))
        try:
            verify_consistency(
                old_size=size, old_root=root, new_size=checkpoint.size, new_root=checkpoint.root, proof=request.proof
            )
        except (ProofError, FormatError) as error:
            if held is not None and size and checkpoint.size > size:
                self._keep_evidence(held, request, opened, checkpoint)
            raise _refusal(422, error) from error
        return self._cosign(opened, checkpoint)

    def _cosign(self, opened: OpenedNote, checkpoint: Checkpoint) -> Answer:
        identity, now_s = self._store.identity, self._clock_s()
        lines = (identity.ed25519.sign(opened.text, now_s), identity.mldsa44.sign(opened.text, now_s))
        note = format_note(Note(opened.text, (*opened.verified, *lines)))
        # If we die after this, nobody has the lines; the log asks again, and may have them for this head.
        self._store.keep(checkpoint.origin, note)
        return Answer(200, format_signature_lines(lines))

    def _keep_evidence(self, held: Held, request: AddCheckpoint, opened: OpenedNote, checkpoint: Checkpoint) -> None:
        """The refusal goes out even if evidence cannot be kept: that the log forks matters more than where we wrote it.

        A head that is larger with a proof that does not lead to it may be a proof gone wrong: whoever has the log can
        tell, and the log cannot be blamed for what a stranger attached to its head.
        """
        say(
            _log,
            WITNESS_FORK,
            "a head that its log signed does not extend the head that was cosigned",
            log=checkpoint.origin,
            held=held.checkpoint.size,
            offered=checkpoint.size,
        )
        try:
            name = self._store.keep_evidence(
                checkpoint.origin, held=held.note, offered=request.checkpoint, text=opened.text
            )
        except (OSError, CorruptionError) as error:
            say(_log, WITNESS_FAILED, f"evidence of a fork could not be kept: {type(error).__name__}")
            return
        if name is not None:
            say(_log, WITNESS_EVIDENCE, "both heads are kept as evidence", name=name)


def _stated_size(text: bytes) -> int:
    """0 where there is none: then the signatures are looked at first, and the text is refused after them."""
    try:
        return parse_checkpoint(text).size
    except AffidavitError:
        return 0


def _read(body: bytes) -> AddCheckpoint:
    try:
        return parse_add_checkpoint(body)
    except FormatError as error:
        raise _refusal(400, error) from error


def _require_each_type(opened: OpenedNote, keys: tuple[VerifierKey, ...]) -> None:
    signed = {key.signature_type for key in keys if opened.signature_by(key) is not None}
    if {key.signature_type for key in keys} - signed:
        raise SignatureError("the checkpoint lacks a signature of its log by a type of key that is known here")
