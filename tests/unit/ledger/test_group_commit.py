import asyncio
import errno
import os
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.errors import NotDurableError
from affidavit.ledger import group_commit
from affidavit.ledger.directory import Disk
from affidavit.ledger.group_commit import HERE_BYTES_MAX, SLOW_S, GroupCommit
from affidavit.ledger.wal import SealingKey, Shard

KEY = SealingKey(id="00000001", public=X25519PrivateKey.generate().public_key().public_bytes_raw())


class Trace:
    """Notes file operations; fails or delays those that it is told to."""

    def __init__(self):
        self.operations = []
        self.failing = None
        self.gate = None
        self.within_sync = threading.Event()

    def __call__(self, operation, _path):
        self.operations.append((operation, threading.current_thread() is threading.main_thread()))
        if operation == "fdatasync":
            self.within_sync.set()
        if operation == "fdatasync" and self.gate is not None:
            assert self.gate.wait(10)
        if operation == self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture(params=[0.0, 1e9], ids=["fast disk", "slow disk"])
def sync_s(request):
    return request.param


def run(tmp_path, body, *, sync_s=0.0, on_failure=None):
    async def main():
        trace = Trace()
        shard = Shard(
            wal_directory=tmp_path,
            source="worker0",
            boot="AAAAAAAA",
            logs=("system",),
            sealing_key=lambda: KEY,
            clock_us=lambda: 1,
            disk=Disk(trace),
        )
        shard.sync()
        commit = GroupCommit(shard, loop=asyncio.get_running_loop(), on_failure=on_failure)
        commit._sync_s = sync_s
        trace.operations.clear()
        trace.within_sync.clear()
        try:
            await body(commit, trace)
        finally:
            await commit.close()
            shard.close()

    asyncio.run(main())


def put(commit):
    commit.shard.begin("system").finish(data=b"x")


def names(trace):
    return [operation for operation, _ in trace.operations]


async def syncing(trace):
    """Until the thread is within a sync."""
    assert await asyncio.to_thread(trace.within_sync.wait, 10)


def test_flush_and_sync_come_before_their_callbacks(tmp_path, sync_s, monkeypatch):
    monkeypatch.setattr(group_commit, "monotonic", lambda: 0.0)

    async def body(commit, trace):
        seen = []
        put(commit)
        commit.after_sync(lambda error: seen.append(("sync", error, names(trace))))
        commit.after_flush(lambda error: seen.append(("flush", error, names(trace))))
        assert trace.operations == []
        await commit.durable()
        assert [(name, error) for name, error, _ in seen] == [("flush", None), ("sync", None)]
        assert seen[1][2] == ["write", "fdatasync"]
        assert seen[0][2][0] == "write"
        # A fast disk is synced where the loop runs, a slow one elsewhere.
        assert trace.operations[1] == ("fdatasync", sync_s == 0.0)

    run(tmp_path, body, sync_s=sync_s)


def test_one_sync_for_all_of_a_tick(tmp_path, sync_s, monkeypatch):
    monkeypatch.setattr(group_commit, "monotonic", lambda: 0.0)

    async def body(commit, trace):
        for _ in range(50):
            put(commit)
        await asyncio.gather(*(commit.durable() for _ in range(50)))
        assert names(trace) == ["write", "fdatasync"]

    run(tmp_path, body, sync_s=sync_s)


def test_what_comes_during_a_sync_is_the_next_group(tmp_path):
    async def body(commit, trace):
        trace.gate = threading.Event()
        put(commit)
        first = asyncio.create_task(commit.durable())
        await asyncio.sleep(0.05)
        others = []
        for _ in range(10):
            put(commit)
            others.append(asyncio.create_task(commit.durable()))
            await asyncio.sleep(0)
        flushed = asyncio.get_running_loop().create_future()
        commit.after_flush(flushed.set_result)
        # The flush does not wait for the sync that is under way.
        assert await flushed is None
        assert not first.done()
        trace.gate.set()
        await asyncio.gather(first, *others)
        assert names(trace).count("fdatasync") == 2

    run(tmp_path, body, sync_s=1e9)


def test_a_failed_sync_fails_everybody_once_and_for_good(tmp_path, sync_s):
    failures = []

    async def body(commit, trace):
        trace.failing = "fdatasync"
        put(commit)
        results = await asyncio.gather(*(commit.durable() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, NotDurableError) for result in results)
        assert commit.error is not None
        assert commit.shard.failed
        trace.failing = None
        with pytest.raises(NotDurableError):
            await commit.durable()
        with pytest.raises(NotDurableError):
            put(commit)
        assert names(trace).count("fdatasync") == 1

    run(tmp_path, body, sync_s=sync_s, on_failure=failures.append)
    assert len(failures) == 1


def test_a_failed_write_fails_those_who_wait_for_the_flush_too(tmp_path):
    failures = []

    async def body(commit, trace):
        trace.failing = "write"
        put(commit)
        seen = []
        commit.after_flush(seen.append)
        with pytest.raises(NotDurableError):
            await commit.durable()
        assert [type(error) for error in seen] == [NotDurableError]

    run(tmp_path, body, on_failure=failures.append)
    assert len(failures) == 1


def test_a_failure_that_the_owner_met_reaches_all(tmp_path):
    failures = []

    async def body(commit, trace):
        put(commit)
        waiting = asyncio.create_task(commit.durable())
        await asyncio.sleep(0)
        commit.fail(NotDurableError("the test says so"))
        commit.fail(NotDurableError("and again"))
        with pytest.raises(NotDurableError, match="the test says so"):
            await waiting
        assert names(trace) == []

    run(tmp_path, body, on_failure=failures.append)
    assert len(failures) == 1


def test_a_failure_during_a_sync_wins_over_its_success(tmp_path):
    async def body(commit, trace):
        trace.gate = threading.Event()
        put(commit)
        waiting = asyncio.create_task(commit.durable())
        await syncing(trace)
        synced_to = commit.shard.synced_to
        commit.fail(NotDurableError("meanwhile"))
        trace.gate.set()
        with pytest.raises(NotDurableError):
            await waiting
        await asyncio.sleep(0.05)
        assert commit.shard.synced_to == synced_to

    run(tmp_path, body, sync_s=1e9)


def test_a_slow_sync_sends_the_next_ones_to_the_thread_and_fast_ones_bring_them_back(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(group_commit, "monotonic", lambda: clock[0])

    async def body(commit, trace):
        slow = [True]

        def before(operation, path):
            trace(operation, path)
            if operation == "fdatasync" and slow[0]:
                clock[0] += SLOW_S * 2

        commit.shard._disk._before = before
        for index in range(60):
            slow[0] = index == 0
            put(commit)
            await commit.durable()
        where = [here for operation, here in trace.operations if operation == "fdatasync"]
        assert where[0] is True
        assert where[1] is False
        assert where[-1] is True

    run(tmp_path, body)


def test_a_large_group_is_synced_in_the_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(group_commit, "monotonic", lambda: 0.0)

    async def body(commit, trace):
        for size in (HERE_BYTES_MAX - 1000, HERE_BYTES_MAX, 1):
            commit.shard.begin("system").finish(data=b"x" * size)
            await commit.durable()
        assert [here for operation, here in trace.operations if operation == "fdatasync"] == [True, False, True]

    run(tmp_path, body)


def test_a_broken_callback_does_not_silence_the_others(tmp_path):
    async def body(commit, trace):
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

        def broken(_error):
            raise ZeroDivisionError

        put(commit)
        commit.after_sync(broken)
        await commit.durable()
        assert [type(complaint) for complaint in complaints] == [ZeroDivisionError]

    run(tmp_path, body)


def test_closing_tells_those_who_wait(tmp_path):
    async def body(commit, trace):
        put(commit)
        waiting = asyncio.create_task(commit.durable())
        await asyncio.sleep(0)
        await commit.close()
        await commit.close()
        with pytest.raises(NotDurableError):
            await waiting
        # The shard is its owner's again.
        assert not commit.shard.failed
        commit.shard.sync()

    run(tmp_path, body)


def test_a_waiter_that_gave_up_is_no_trouble(tmp_path):
    async def body(commit, trace):
        put(commit)
        waiting = asyncio.create_task(commit.durable())
        await asyncio.sleep(0)
        waiting.cancel()
        await commit.durable()

    run(tmp_path, body)


def test_who_waits_is_counted_and_each_sync_is_told(tmp_path):
    async def body(commit, trace):
        took = []
        commit._on_sync = took.append
        assert commit.waiting == 0
        put(commit)
        commit.after_flush(lambda _: None)
        commit.after_sync(lambda _: None)
        assert commit.waiting == 2
        await commit.durable()
        assert commit.waiting == 0
        assert len(took) == 1
        assert took[0] >= 0

    run(tmp_path, body)


def test_who_needs_only_the_flush_causes_no_sync(tmp_path):
    async def body(commit, trace):
        put(commit)
        flushed = asyncio.get_running_loop().create_future()
        commit.after_flush(flushed.set_result)
        assert await flushed is None
        assert names(trace) == ["write"]

    run(tmp_path, body)


def test_a_sync_that_fails_after_the_shard_died_is_told_once(tmp_path):
    """Whoever waited has had their error; the failure that came first is the one that counts."""
    failures = []

    async def body(commit, trace):
        trace.gate, trace.failing = threading.Event(), "fdatasync"
        put(commit)
        waiting = asyncio.create_task(commit.durable())
        await syncing(trace)
        commit.fail(NotDurableError("the first"))
        trace.gate.set()
        with pytest.raises(NotDurableError, match="the first"):
            await waiting
        await asyncio.sleep(0.05)
        assert str(commit.error) == "the first"

    run(tmp_path, body, sync_s=1e9, on_failure=failures.append)
    assert len(failures) == 1
