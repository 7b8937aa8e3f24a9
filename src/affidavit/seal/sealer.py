"""The sealer: takes whole records out of the write-ahead log and brings them into the logs, in cuts.

Promise: every durable record becomes exactly one leaf; nothing is sealed twice, whenever this process dies; and what a
restart does is what every cut does. Records of a capture process that died are closed here, under the sealer's own
source, with the frames that were found.

Order of a cut (docs/architecture.md): read → prepare → seal → keys durable → stage durable → publish each project's log
→ publish the system log → stage removed → write-ahead files deleted. Everything here belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from affidavit.crypt.keyring import Keyring
from affidavit.errors import CorruptionError
from affidavit.event import (
    CONFIG_CHANGE,
    GAP,
    PROJECT_CREATE,
    PROMISE_KEY,
    SOURCE_CLOCK,
    SOURCE_LOST,
    SOURCE_STOP,
    SYSTEM_LOG,
    AccessMeta,
)
from affidavit.ledger.anchors import newest_anchors
from affidavit.ledger.cut import ShardReader, WalRecord
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.reader import LogReader
from affidavit.ledger.signer import SavedRotation
from affidavit.ledger.stage import Part, StageDirectory, parse_stage
from affidavit.ledger.writer import LogWriter
from affidavit.seal.hand import Hand
from affidavit.seal.key_rotation import announce_rotations, history_of, rotate_log
from affidavit.seal.log import SealedLog
from affidavit.seal.names import Names
from affidavit.seal.opening import Opener
from affidavit.seal.prepare import Prepared, Preparing
from affidavit.seal.preparer import Job, Result
from affidavit.seal.randomness import Randomness
from affidavit.seal.recount import recount_at_start
from affidavit.seal.recovery import (
    Recovered,
    begin_shard,
    create_directories,
    created_projects,
    known_projects,
    recover,
)
from affidavit.seal.settings import SealerSettings, SigningService
from affidavit.seal.shard import SealingShard, remove_unborn_shard
from affidavit.seal.timekeeping import Timekeeping
from affidavit.text import b64u, uuid7
from affidavit.tlog.checkpoint import Checkpoint

CUT_BYTES_MAX: Final = 16 << 20
"""Content of one cut: bounds the memory of the sealer and the time until its head."""
CUT_RECORDS_MAX: Final = 20_000
PUBLISH_BYTES: Final = 8 << 20
"""Ciphertext that is published together while there is a backlog: about a second's work."""
ACCESS_KEPT_MAX: Final = 1_000
"""Sealed access events that may still be honoured; they are asked for within seconds."""


class SealedAccess(msgspec.Struct, frozen=True):
    """An access event that is sealed and has not been honoured."""

    meta: AccessMeta
    sealed_us: int


class _Flying(msgspec.Struct, frozen=True):
    """A record that was handed over to be prepared."""

    shard: SealingShard
    job: Job


class Sealer:
    """The one writer of all logs of an installation."""

    def __init__(
        self,
        *,
        data: DataLayout,
        ring: Keyring,
        signing: SigningService,
        private_key: Callable[[str], bytes],
        settings: SealerSettings,
        clock_us: Callable[[], int],
        random: Callable[[int], bytes],
        disk: Disk,
        make_hand: Callable[[Names, int | None], Hand],
        timekeeping: Timekeeping,
    ) -> None:
        self.data: Final = data
        self.settings: Final = settings
        self.logs: dict[str, SealedLog] = {}
        self.vkeys: dict[str, tuple[str, str]] = {}
        self.accesses: dict[tuple[str, int], SealedAccess] = {}
        """Sealed access events by (shard, record); the reader's door takes them out."""
        self.is_behind = False
        """Whether the last beat left something that was written for the next one."""
        self.is_broken = False
        """Whether a beat has begun and not ended. Whoever catches its error must end the process: what was under way is
        forgotten here, and only a start finds it again in the write-ahead log."""
        self.lag_us = 0
        """Time between the oldest record of the last cut and its head."""
        self._ring: Final = ring
        self._signing: Final = signing
        self._private_key: Final = private_key
        self._clock_us: Final = clock_us
        self._randomness: Final = Randomness(random)
        self._boot: Final = b64u(random(6))
        self._disk: Final = disk
        self._shards: dict[str, SealingShard] = {}
        self._timekeeping: Final = timekeeping
        self._make_hand: Final = make_hand
        self._hand: Hand
        self._preparing: Preparing
        self._flight: list[_Flying] = []  # handed over, not sealed
        self._forgotten: list[str] = []  # shards of which the hand may forget what is open
        self._policy: int | None = None
        self._cut = 0
        self._recovered: dict[str, Recovered] = {}
        self._closed_calls: set[str] = set()
        self._own_records: set[str] = set()
        self._new_accesses: list[tuple[tuple[str, int], AccessMeta]] = []
        self._oldest_us: int | None = None
        self._damaged: list[SealingShard] = []
        self.problems: list[str] = []
        """What an operator must know and no verdict says yet; shown by `status`."""
        self.publishes = 0
        """Cuts that were published."""
        self.staged_bytes = 0
        """Bytes of their stages."""
        self.gaps = 0
        """Gap leaves that this process added."""
        create_directories(data, disk=disk)
        self._stages: Final = StageDirectory(data.stage, disk=disk)

    # --- start ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open or create every log, publish what a crash left staged, and read back what was sealed."""
        origins = {SYSTEM_LOG: f"{self.settings.origin_prefix}/{SYSTEM_LOG}"}
        self._open_log(SYSTEM_LOG, origins[SYSTEM_LOG])
        origins |= self._known_projects()
        for name, origin in origins.items():
            if name not in self.logs:
                self._open_log(name, origin)
        self._replay_stages()
        self._recover()
        self._begin_epochs()
        self._publish()

    def _open_log(self, name: str, origin: str) -> None:
        self.vkeys[name] = self._signing.create(name, origin)
        keys = history_of(self._signing.rotations(name), newest=self.vkeys[name])

        def sign(checkpoint: Checkpoint, *, old_size: int, proof: tuple[bytes, ...]) -> bytes:
            return self._signing.sign(name, checkpoint, old_size, proof)

        writer = LogWriter(
            layout=self.data.log(name),
            origin=origin,
            keys=keys,
            sign=sign,
            disk=self._disk,
        )
        writer.start()
        self.logs[name] = SealedLog(
            writer=writer,
            ring=self._ring,
            randomness=self._randomness,
            boot=self._boot,
            clock_us=self._clock_us,
            before_boundary=self._publish,
        )

    def _known_projects(self) -> dict[str, str]:
        return known_projects(LogReader(self.data.log(SYSTEM_LOG)), size=self.logs[SYSTEM_LOG].writer.size)

    def _replay_stages(self) -> None:
        for path in self._stages.pending():
            cut, parts = parse_stage(path.read_bytes())
            # The cut that creates a project holds its first leaves, too, and they come before the system log's.
            for name, origin in created_projects(parts).items():
                if name not in self.logs:
                    self._open_log(name, origin)
            for part in parts:
                log = self.logs.get(part.log)
                if log is None:
                    message = (
                        f"stage {path.name} names log {part.log}, which the system log does not know; nothing was "
                        f"changed"
                    )
                    raise CorruptionError(message)
                log.publish(part)
            self._cut = max(self._cut, cut)
            self._stages.remove(path)
        for log in self.logs.values():
            log.reopen()

    def _recover(self) -> None:
        for unborn in self.data.wal.glob("*.tmp"):
            remove_unborn_shard(unborn, disk=self._disk)
        self._find_shards()
        oldest = self._oldest_file_us()
        for name, log in self.logs.items():
            found = recover(LogReader(self.data.log(name)), size=log.writer.size, oldest_wal_us=oldest)
            self._recovered[name] = found
            self._closed_calls |= found.closed_calls
            self._own_records |= found.own_records
            for source in found.epoch_sources:
                log.count(source)
            if found.epoch_is_open:
                self._sum_up_again(log, found.epoch_first)
        for shard in self._shards.values():
            shard.is_inherited = True
            self._take_over(shard)

    def _sum_up_again(self, log: SealedLog, first: int) -> None:
        opener = Opener(layout=self.data.log(log.name), origin=log.writer.origin, ring=self._ring)
        log.sums, why = recount_at_start(opener, first=first, end=log.writer.size)
        if why:
            self.problems.append(f"the running epoch of log {log.name} will close without sums: {why}")

    def _oldest_file_us(self) -> int | None:
        """When the oldest write-ahead file that is still here was begun."""
        times = [shard.oldest_file_us() for shard in self._shards.values()]
        return min((time for time in times if time is not None), default=None)

    def _take_over(self, shard: SealingShard) -> None:
        source = (shard.reader.source, shard.reader.boot)
        for name, found in self._recovered.items():
            if source in found.sealed:
                shard.sealed_through[name] = found.sealed[source]
            if source in found.ended:
                shard.ended.add(name)

    def _begin_epochs(self) -> None:
        system = self.logs[SYSTEM_LOG]
        if system.next_leaf == 0:
            self._record_project(SYSTEM_LOG, system.writer.origin)
            begin_shard(system, self._signing.beginning())
        announce_rotations(self.logs, self._signing.rotations, publish=self._publish)
        self._open_epoch(SYSTEM_LOG)
        self._policy = system.add_own(CONFIG_CHANGE, self.settings.policy)
        if self.settings.promise_vkey is not None:
            system.add_own(PROMISE_KEY, {"vkey": self.settings.promise_vkey})
        for project in self.settings.projects:
            if project not in self.logs:
                origin = f"{self.settings.origin_prefix}/{project}"
                self.vkeys[project] = self._signing.create(project, origin)
                self._record_project(project, origin)
                # Published before the log has a file: a log that no leaf names would be a stranger's.
                self._publish()
                self._open_log(project, origin)
                self._recovered[project] = Recovered()
        for name in self.logs:
            if name != SYSTEM_LOG:
                self._open_epoch(name)
        self._preparing = Preparing(names=self.settings.names, policy=self._policy, random=self._randomness.take)
        self._hand = self._make_hand(self.settings.names, self._policy)

    def _record_project(self, name: str, origin: str) -> None:
        self.logs[SYSTEM_LOG].add_own(
            PROJECT_CREATE, {"project": name, "origin": origin, "vkeys": list(self.vkeys[name])}
        )

    def _open_epoch(self, name: str) -> None:
        found = self._recovered[name]
        if found.epoch_is_open:
            return
        log = self.logs[name]
        self._find_shards()
        anchors = newest_anchors(log.writer.layout, size=log.writer.size, before_us=self._oldest_file_us())
        named = {} if anchors is None else {"anchors": anchors}
        facts = {"epoch": found.epoch + 1, "previous": found.previous_close}
        log.open_epoch(facts | named | self._timekeeping.open_facts())
        found.epoch += 1
        found.epoch_is_open = True

    def rotate_keys(self, name: str) -> SavedRotation:
        """New keys for a log, named by a leaf of the system log before any head has them."""
        self.is_broken = True
        rotation = rotate_log(self.logs, name, rotate=self._signing.rotate, publish=self._publish)
        self.vkeys[name] = rotation.vkeys
        self.is_broken = False
        return rotation

    # --- cuts ----------------------------------------------------------------------------------------------------

    def step(self) -> int:
        """One beat: hand over what was read, seal what was handed over a beat ago, publish it.

        With a backlog, several beats are published together: a third of publishing is waiting for syncs, whatever the
        size of a cut. Returns how much was under way; 0 means that everything that was written is sealed.
        """
        self.is_broken = True
        taken = self._beat()
        if not self.is_behind or sum(log.pending_bytes for log in self.logs.values()) >= PUBLISH_BYTES:
            self._publish()
            self._delete_files()
        self.is_broken = False
        return taken

    def settle(self) -> None:
        """Seal and publish what is under way, without reading more: the end of a cut that has caught up."""
        self.is_broken = True
        before, self._flight = self._flight, []
        if before:
            self._seal(before, self._hand.collect())
        self._publish()
        self._delete_files()
        if not any(shard.dead for shard in self._shards.values()):
            self._timekeeping.caught_up()
        self.is_broken = False

    def _beat(self) -> int:
        self._timekeeping.reading()
        self._find_shards()
        jobs = self._read()
        before, self._flight = self._flight, jobs
        results = self._hand.collect() if before else []
        if jobs:
            # Only now, when the hand is empty: a hand that is given more while it gives back waits for us for ever.
            self._hand.submit([flying.job for flying in jobs], finished=self._forgotten)
            self._forgotten = []
        self._seal(before, results)
        closed = self._close_dead_shards()
        # A record longer than one read gives nothing for a while.
        return len(jobs) + len(before) + closed + self.is_behind

    def _read(self) -> list[_Flying]:
        """Whole records of all shards, in order; and what dead shards left unfinished."""
        jobs: list[_Flying] = []
        size = 0
        self.is_behind = False
        in_flight = {flying.shard.name for flying in self._flight}
        for name in sorted(self._shards):
            shard = self._shards[name]
            if shard.finished:
                continue
            if size > CUT_BYTES_MAX or len(jobs) > CUT_RECORDS_MAX:
                self.is_behind = True
                continue
            shard.dead = shard.reader.is_dead()
            self._state_marks(shard)  # after we know that it is dead: no count follows then
            try:
                records = shard.reader.read(dead=shard.dead)
            except CorruptionError as error:
                shard.damage, records = error, []
            self.is_behind |= shard.damage is None and not shard.reader.at_end
            for record in records:
                self._require_log(record)
                sealed = record.seq <= shard.sealed_through.get(record.log, 0)
                jobs.append(_Flying(shard, Job(record, sealed)))
                size += len(record.data)
            ended = shard.damage is not None or (shard.dead and shard.reader.at_end)
            if ended and not records and not shard.closing and name not in in_flight:
                shard.closing = True
                jobs += [_Flying(shard, Job(record, unfinished=True)) for record in shard.reader.unfinished()]
        return jobs

    def _require_log(self, record: WalRecord) -> None:
        if record.log not in self.logs:
            message = (
                f"the write-ahead log names a log {record.log!r} that does not exist; its records are kept, nothing "
                "was sealed"
            )
            raise CorruptionError(message)

    def _seal(self, flown: list[_Flying], results: list[Result]) -> None:
        for flying, result in zip(flown, results, strict=True):
            shard, job = flying.shard, flying.job
            if result.prepared is not None:
                if job.unfinished:
                    self._seal_unfinished(job, result.prepared)
                else:
                    self._seal_record(shard, job.record, result.prepared)
            if result.access is not None:
                self._new_accesses.append(((job.record.shard, job.record.number), result.access))
            if result.opened is not None:
                shard.calls.open(result.opened)
            if result.closed is not None:
                shard.calls.close(result.closed)

    def _seal_record(self, shard: SealingShard, record: WalRecord, prepared: Prepared) -> None:
        self.logs[record.log].add(prepared, record)
        shard.sealed_through[record.log] = record.seq
        if prepared.type == SOURCE_STOP:
            shard.ended.add(record.log)
        self._note_time(prepared.time_us)

    def _seal_unfinished(self, job: Job, prepared: Prepared) -> None:
        """Close a record whose last frame never came, with the frames found, unless an earlier start has done it."""
        if prepared.id in self._own_records or b64u(job.record.digest) in self._own_records:
            return
        self.logs[job.record.log].add_closed(prepared, record=job.record)

    def _close_dead_shards(self) -> int:
        """Calls of dead capture processes that have no outcome get `unknown_outcome`, under the sealer's own source."""
        closed = 0
        in_flight = {flying.shard.name for flying in self._flight}
        for shard in list(self._shards.values()):
            if shard.closing and not shard.finished and shard.name not in in_flight:
                if shard.damage is not None:
                    self._record_damage(shard, shard.damage)
                closed += 1 + self._close_calls(shard)
                if shard.damage is not None:
                    self._damaged.append(shard)
                else:
                    self._state_loss(shard)
                shard.reader.forget_unfinished()
                shard.finished = True
                self._forgotten.append(shard.name)
        return closed

    def _close_calls(self, shard: SealingShard) -> int:
        remaining = shard.calls.remaining()
        for context in remaining:
            if context.call not in self._closed_calls:
                now = self._clock_us()
                record_id = uuid7(time_us=now, random=self._randomness.take(10))
                prepared = self._preparing.unknown_outcome(context, record_id=record_id, time_us=now)
                self.logs[context.log].add_closed(prepared, record=None)
            shard.calls.close(context.call)
        return len(remaining)

    def _state_loss(self, shard: SealingShard) -> None:
        """Say where a source ended without saying so itself: it was read to its end, and nobody knows more.

        How far an inherited shard had written to a log that had long been quiet is not read back, so all get the leaf.
        """
        for name in self.logs if shard.is_inherited else shard.sealed_through:
            if name not in shard.ended:
                self.logs[name].add_own(SOURCE_LOST, {"id": shard.reader.source, "boot": shard.reader.boot})

    def look_at_clock(self) -> None:
        """Put on record that the sealer's own clock was stepped, or is kept no longer, or again."""
        change = self._timekeeping.change()
        if change is not None:
            for log in self.logs.values():
                log.add_own(SOURCE_CLOCK, change)

    def _delete_files(self) -> None:
        for shard in list(self._shards.values()):
            files = [flying.job.record.file for flying in self._flight if flying.shard is shard]
            shard.delete_sealed_files(in_flight=min(files, default=None))
            if shard.finished:
                del self._shards[shard.name]

    @property
    def open_calls(self) -> int:
        """Intents without outcome."""
        return sum(len(shard.calls) for shard in self._shards.values())

    def overdue_calls(self) -> int:
        """Those of them that are so old that verifiers name them."""
        return sum(shard.calls.overdue(self._clock_us()) for shard in self._shards.values())

    @property
    def is_drained(self) -> bool:
        """Whether no capture process runs and everything that was written is sealed."""
        self._find_shards()
        return not self._shards

    def _find_shards(self) -> None:
        for directory in self.data.wal.iterdir():
            # A name without a dot is not ours: `lost+found`, where the write-ahead log has a file system of its own.
            is_shard = "." in directory.name and directory.suffix != ".tmp" and directory.is_dir()
            if is_shard and directory.name not in self._shards:
                reader = ShardReader(directory, private_key=self._private_key)
                shard = self._shards[directory.name] = SealingShard(reader, disk=self._disk)
                self._take_over(shard)

    def _record_damage(self, shard: SealingShard, error: CorruptionError) -> None:
        """Durable bytes have changed: say so in every log that the shard may have written to, and keep the files."""
        for name, log in self.logs.items():
            source = (shard.reader.source, shard.reader.boot)
            found = self._recovered.get(name)
            if found is not None and source in found.gaps:
                continue
            self.gaps += 1
            log.add_own(GAP, shard.gap(name, reason="wal_damage", count=None))
        self.problems.append(str(error))

    def _state_marks(self, shard: SealingShard) -> None:
        """Say how many calls went out without a record; a start that no longer knows what was said says it again."""
        for name, count in shard.new_marks().items():
            if name in self.logs:
                self.logs[name].add_own(GAP, shard.gap(name, reason="mark", count=count))

    def _note_time(self, time_us: int) -> None:
        if self._oldest_us is None or time_us < self._oldest_us:
            self._oldest_us = time_us

    def _publish(self) -> None:
        """Stage and publish everything that was sealed.

        If we die before the stage is durable, the cut is made again from the write-ahead log.
        """
        parts = [part for log in self._in_order() if (part := log.take()) is not None]
        if parts:
            self._publish_parts(tuple(parts))
        # What is left of a damaged shard is on record by now, by this start of ours or by an earlier one.
        for shard in self._damaged:
            shard.quarantine(self.data.directory / "damaged")
            self._shards.pop(shard.name, None)
        self._damaged.clear()

    def _publish_parts(self, parts: tuple[Part, ...]) -> None:
        self._ring.save()
        self._cut += 1
        path = self._stages.save(cut=self._cut, parts=parts)
        self.staged_bytes += path.stat().st_size
        for part in parts:
            self.logs[part.log].publish(part)
        self.publishes += 1
        self._stages.remove(path)
        now = self._clock_us()
        for key, meta in self._new_accesses:
            self.accesses[key] = SealedAccess(meta, now)
        while len(self.accesses) > ACCESS_KEPT_MAX:
            self.accesses.pop(next(iter(self.accesses)))
        self._new_accesses.clear()
        self.lag_us = max(now - self._oldest_us, 0) if self._oldest_us is not None else 0
        self._oldest_us = None

    def _in_order(self) -> list[SealedLog]:
        """Projects first: the system log names their heads."""
        return [log for name, log in sorted(self.logs.items()) if name != SYSTEM_LOG] + [self.logs[SYSTEM_LOG]]

    # --- epochs --------------------------------------------------------------------------------------------------

    def close_epoch(self) -> None:
        """Close the running epoch of every log, and open the next."""
        self._end_epoch(clean=0)
        for name in self.logs:
            self._open_epoch(name)
        self._publish()
        now_s = self._clock_us() // 1_000_000
        for log in self.logs.values():
            log.writer.thin_heads(now_s=now_s, kept_s=self.settings.heads_kept_s)

    def stop(self) -> None:
        """Close the epoch for a clean stop; all capture processes must have stopped."""
        while self._beat():
            if self.is_behind:
                self._publish()
                self._delete_files()
        # What came last and the closing leaf get one head together.
        drained = all(shard.finished for shard in self._shards.values())
        self._end_epoch(clean=int(drained and self.open_calls == 0))
        self._delete_files()
        self._hand.close()

    def _end_epoch(self, *, clean: int) -> None:
        projects = [name for name in self.logs if name != SYSTEM_LOG]
        for name in projects:
            self._close_log_epoch(name, clean=clean, extra={})
        self._publish()
        roster = [
            {"project": name, "origin": log.writer.origin, "size": log.writer.size, "root": b64u(log.writer.root)}
            for name, log in sorted(self.logs.items())
            if name != SYSTEM_LOG
        ]
        self._close_log_epoch(SYSTEM_LOG, clean=clean, extra={"roster": roster})
        self._publish()

    def _close_log_epoch(self, name: str, *, clean: int, extra: Mapping[str, Any]) -> None:
        found = self._recovered[name]
        open_calls = sum(1 for shard in self._shards.values() for call in shard.calls.remaining() if call.log == name)
        found.previous_close = self.logs[name].close_epoch(
            {
                "epoch": found.epoch,
                "open_calls": open_calls,
                "clean": clean,
                **self._timekeeping.close_facts(),
                **extra,
            }
        )
        found.epoch_is_open = False
