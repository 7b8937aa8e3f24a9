"""Who attests heads from outside, and what is kept of it: one seam for witnesses and for whatever else may come.

An `Attestor` takes one head after the other, in ascending order, and keeps what it got under ``anchors/`` of that log,
``<size>.<kind>`` by a kind of its own. `WitnessAttestor` is the one for tlog-witness, `stamping.TimestampAttestor` the
one for a timestamp authority.

Promise: a file under ``anchors/`` appears whole, and never loses a line that it had; a line is kept only after it was
verified with a configured key. No key of ours is needed or held here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from affidavit.errors import AffidavitError, FormatError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.reader import head_size
from affidavit.tlog.add_checkpoint import (
    AddCheckpoint,
    format_add_checkpoint,
    parse_conflict,
    with_cosignatures,
)
from affidavit.tlog.merkle import consistency_proof
from affidavit.tlog.note import SignatureError, VerifierKey, parse_note, parse_signature_lines
from affidavit.tlog.tile import node_reader
from affidavit.witness.client import AwayError, WitnessClient
from affidavit.witness.heads import Head
from affidavit.witness.peers import Peer
from affidavit.witness.store import parse_log_vkeys

WITNESS_KIND: Final = "witness"
TRIES_MAX: Final = 3
"""Questions about one head: the first, one from the size that it was told, one more where somebody else asked too."""


class ContradictionError(AffidavitError):
    """Somebody outside remembers another history of this log than the one that lies here: an alarm, not a failure."""


class Attestor(Protocol):
    """Somebody outside. Owner: one thread. Its methods may raise `AffidavitError` and `OSError`; it is tried again."""

    @property
    def name(self) -> str:
        """What messages and metrics call it."""

    @property
    def epochs_only(self) -> bool:
        """Whether only heads that close an epoch are shown to it; the newest ones otherwise, too."""

    def attested(self, layout: LogLayout) -> int:
        """The largest size of a log that it is done with; 0 where there is none."""

    def attest(self, head: Head) -> None:
        """Show it a head and keep what it says, durably. A head that it cannot attest any more is passed over."""

    def rest(self) -> None:
        """A pass is over: close what is open."""


class AnchorFiles:
    """The files ``<size>.witness`` of all logs. Safe to be used by several attestors."""

    def __init__(self, disk: Disk) -> None:
        self._disk: Final = disk
        self._lock: Final = Lock()  # from reading a file to its replacement

    def add(self, head: Head, answer: bytes, keys: tuple[VerifierKey, ...]) -> None:
        """Put a witness's verified lines behind those that the head's file has.

        If we die here, the file is as it was, or has them all; the witness is asked again, and gives lines again.
        """
        path = head.layout.anchor(head.size, WITNESS_KIND)
        with self._lock:
            present = self._read(path, head)
            note = with_cosignatures(present or head.note, parse_signature_lines(answer), keys)
            if present is None:
                self._disk.mkdir(path.parent)
                self._disk.publish(path, note)
                self._disk.fsync_directory(path.parent)
            elif note != present:
                self._disk.replace(path, note)

    def largest(self, layout: LogLayout, keys: tuple[VerifierKey, ...]) -> int:
        """The largest size whose file has a line of one of these keys; 0 where there is none."""
        for size in anchored_sizes(layout):
            try:
                note = parse_note(layout.anchor(size, WITNESS_KIND).read_bytes())
            except (FormatError, FileNotFoundError):
                continue
            if any(line.is_by(key) for line in note.signatures for key in keys):
                return size
        return 0

    def _read(self, path: Path, head: Head) -> bytes | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if parse_note(data).text != parse_note(head.note).text:
            raise ContradictionError(
                f"anchors/{path.name} of log {head.log} is another head of that size than heads/{head.size}; both are "
                "left as they are. Run `affidavit verify`"
            )
        return data


def anchored_sizes(layout: LogLayout) -> list[int]:
    """Sizes for which there is a file with lines of witnesses, largest first."""
    if not layout.anchors.is_dir():
        return []
    names = (path.name.partition(".") for path in layout.anchors.iterdir())
    return sorted((int(size) for size, _, kind in names if kind == WITNESS_KIND and size.isdigit()), reverse=True)


class WitnessAttestor:
    """Shows heads to one witness. `public` has the vkeys of our logs, which no witness may share."""

    epochs_only: Final = False

    def __init__(
        self, peer: Peer, *, files: AnchorFiles, public: Path, connect: Callable[[str], WitnessClient]
    ) -> None:
        self.name: Final = peer.name
        self._peer: Final = peer
        self._files: Final = files
        self._public: Final = public
        self._connect: Final = connect
        self._client: WitnessClient | None = None
        self._confirmed: Final[dict[str, int]] = {}  # log → the largest size of which its lines lie here
        self._told: Final[dict[str, int]] = {}  # log → the size that it cosigned last, as its answer 409 says

    def attested(self, layout: LogLayout) -> int:
        """See `Attestor`. What it only told us does not count: it may be of another history."""
        if layout.name not in self._confirmed:
            self._confirmed[layout.name] = self._files.largest(layout, self._peer.keys)
        return self._confirmed[layout.name]

    def attest(self, head: Head) -> None:
        """See `Attestor`."""
        self._require_a_stranger()
        for _ in range(TRIES_MAX):
            old_size = self._told.get(head.log, self.attested(head.layout))
            if old_size > head.size:
                return
            status, body = self._ask(head, old_size)
            if status == 200:  # noqa: PLR2004 - HTTP
                self._files.add(head, body, self._peer.keys)
                self._confirmed[head.log] = self._told[head.log] = head.size
                return
            if status != 409:  # noqa: PLR2004 - the same
                raise self._refused(head, status)
            self._learn(head, told=parse_conflict(body), said=old_size)
        raise AwayError("it names another size at each question")

    def rest(self) -> None:
        """See `Attestor`."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, head: Head, old_size: int) -> tuple[int, bytes]:
        # The newest size that is stored, since partial tiles of older heads may be gone.
        node = node_reader(head_size(head.layout), head.layout.read_tree)
        proof = consistency_proof(old_size=old_size, new_size=head.size, node=node)
        if self._client is None:
            self._client = self._connect(self._peer.url)
        return self._client.add_checkpoint(format_add_checkpoint(AddCheckpoint(old_size, proof, head.note)))

    def _learn(self, head: Head, *, told: int, said: int) -> None:
        """From 409: the witness cosigned another size last than the one that we began at."""
        if told == said == head.size:
            # As tlog-witness v1.0.0 has it: the size is right, so it is the root that differs.
            raise self._contradicts(head, f"it holds another head of size {told}")
        newest = head_size(head.layout)
        if told > newest:
            raise self._contradicts(head, f"it holds a head of size {told}, and only {newest} leaves are here")
        self._told[head.log] = told

    def _refused(self, head: Head, status: int) -> AffidavitError:
        if status == 422:  # noqa: PLR2004 - HTTP
            return self._contradicts(head, f"the head of size {head.size} does not extend the one that it holds")
        known = {
            404: "it does not know the log: give its operator the log's vkeys",
            403: "it has other keys of the log: after a change of keys its operator needs the log's file `.keys`",
        }
        return AwayError(f"it refused the head of size {head.size} ({known.get(status, f'HTTP {status}')})")

    def _contradicts(self, head: Head, why: str) -> ContradictionError:
        return ContradictionError(
            f"the witness {self.name} does not confirm log {head.log}: {why}. Somebody has changed the history here, "
            "or an older state was put back. Stop and run `affidavit verify --pin` with the head that the witness holds"
        )

    def _require_a_stranger(self) -> None:
        """A witness with a key of one of our logs is nobody else."""
        public_keys = {key.public_key for key in self._peer.keys}
        names = {key.name for key in self._peer.keys}
        for path in sorted(self._public.glob("*.vkeys")):
            for origin, keys in parse_log_vkeys(path.read_bytes()).items():
                if origin in names or public_keys & {key.public_key for key in keys}:
                    raise SignatureError(
                        f"it has a key or the name of log {path.stem}, so it is no witness but the log itself"
                    )
