"""The doctor: each condition is made, and gets its verdict. What each check says must lead somewhere."""

import fcntl
import os
import shutil
import socket
import time
from pathlib import Path

import msgspec
import pytest

from affidavit.config import Config, parse_config
from affidavit.ledger import kernel_clock
from affidavit.ledger.backup_note import BackupNote, write_backup_note
from affidavit.ledger.board import Board, ProcessNote, write_board
from affidavit.ledger.channel import Reply, Server
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.places import Holder, Places, take_lease
from affidavit.serve.doctor import clock, disk, keys, leftovers, machine, space
from affidavit.serve.doctor.check import CHECKS, Check
from affidavit.serve.doctor.examination import examine
from affidavit.settings.signer import Signer
from tests.support.installation import Installation, chat_request, chat_response, write_call

NOW_S = int(time.time())
DAY_S = 86_400
GIB = 1 << 30


def mount(kind: str = "ext4", *options: str, device: str = "8:1", source: str = "/dev/sda1") -> disk.Mount:
    return disk.Mount(kind=kind, source=source, device=device, options=("rw", *options))


# --- the whole examination


@pytest.fixture
def places(tmp_path) -> Places:
    made = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    lease = take_lease(
        made, purpose="service", clock_us=lambda: time.time_ns() // 1000, random=os.urandom, sleep=lambda _: None
    )
    lease.close()
    return made


def test_every_check_answers_once_and_each_trouble_says_what_to_do(places):
    found = examine(places, environment={})
    assert [check.name for check in found] == list(CHECKS)
    for check in found:
        assert check.what
        assert check.next or check.verdict in {"OK", "NOT ASSESSED"}, check


def test_where_nothing_is_yet_nothing_is_made_and_nothing_is_ok_that_was_not_seen(tmp_path):
    found = examine(Places(data=tmp_path / "data", keys=tmp_path / "keys"), environment={})
    assert [check.name for check in found] == list(CHECKS)
    unseen = {check.name for check in found if check.verdict == "NOT ASSESSED"}
    assert {"disk.sync", "clock.future", "keys.modes", "keys.kek", "keys.signer", "space.data"} <= unseen
    assert list(tmp_path.iterdir()) == []


def test_a_broken_configuration_is_one_verdict_of_many(places, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[gatewax]\n")
    found = {check.name: check for check in examine(places, environment={"AFFIDAVIT_CONFIG": str(path)})}
    assert found["config"].verdict == "FAIL"
    assert len(found) == len(CHECKS)


def service_of(places: Places, **note) -> Check:
    notes = (ProcessNote(role="api", pid=1, **({"state": "ready", "restarts": 0} | note)),)
    board = Board(pid=1, purpose="service", state="ready", gateway=None, since_us=0, processes=notes)
    write_board(places, board, disk=Disk())
    lease = take_lease(places, purpose="service", clock_us=lambda: 0, random=os.urandom, sleep=lambda _: None)
    try:
        return next(check for check in examine(places, environment={}) if check.name == "service")
    finally:
        lease.close()


def test_the_service(places):
    assert service_of(places).verdict == "OK"
    assert "api is restarting" in service_of(places, state="restarting").what
    assert "process.crashed" in service_of(places, restarts=2).next


# --- disk


@pytest.mark.parametrize(
    ("found", "verdict", "says"),
    [
        (mount("ext4"), "OK", "ext4"),
        (mount("xfs"), "OK", "xfs"),
        (mount("tmpfs"), "FAIL", "gone when this machine stops"),
        (mount("overlay"), "WARN", "container"),
        (mount("nfs4"), "WARN", "server"),
        (mount("fuse.sshfs"), "WARN", "server"),
        (mount("ext4", "nobarrier"), "FAIL", "nobarrier"),
        (mount("ext4", "barrier=0"), "FAIL", "promises nothing"),
        (mount("ext4", "data=writeback"), "WARN", "old bytes"),
        (mount("nfs", "nobarrier"), "FAIL", "nobarrier"),
        (None, "NOT ASSESSED", "cannot be told"),
    ],
)
def test_file_systems(found, verdict, says):
    check = disk.judge_filesystem("disk.data", Path("/x"), found)
    assert check.verdict == verdict
    assert says in check.what


TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:30 / /data rw - tmpfs tmpfs rw,size=4k
31 30 8:1 / /data rw,nosuid - xfs /dev/sda1 rw,nobarrier
32 27 0:40 /sub /a\\040b rw - btrfs /dev/sdb rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x", "xfs"), ("/data", "xfs"), ("/database", "ext4"), ("/a b/c", "btrfs"), ("/", "ext4")],
)
def test_the_mount_of_a_path(path, kind):
    found = disk.mount_of(Path(path), table=TABLE)
    assert found is not None
    assert found.kind == kind
    assert disk.mount_of(Path("/x"), table="") is None


def test_options_of_mount_and_file_system_count():
    found = disk.mount_of(Path("/data/x"), table=TABLE)
    assert found is not None
    assert {"nosuid", "nobarrier"} <= set(found.options)


def syncs(dirty_s: float, *, memory_s: float = 1e-6, slowest_s: float | None = None, count: int = 100) -> disk.Syncs:
    slow = () if slowest_s is None else (slowest_s,) * (count // 50)
    return disk.Syncs(dirty_s=((dirty_s,) * (count - len(slow)) + slow), memory_s=(memory_s,) * count)


@pytest.mark.parametrize(
    ("measured", "verdict", "says"),
    [
        (syncs(0.000_2), "OK", "does not prove"),
        (syncs(disk.SUSPICIOUS_S), "OK", "does not prove"),
        (syncs(disk.SUSPICIOUS_S * 0.99), "WARN", "suspiciously cheap"),
        (syncs(0.000_2, memory_s=0.000_021), "WARN", "suspiciously cheap"),
        (syncs(0.000_2, memory_s=0.000_02), "OK", "does not prove"),
        (syncs(0.000_2, slowest_s=disk.SLOW_P99_S * 1.01), "WARN", "slow"),
        (syncs(0.000_2, slowest_s=disk.SLOW_P99_S), "OK", "p99 50.000 ms"),
    ],
)
def test_syncs(measured, verdict, says):
    check = disk.judge_syncs(measured, mount(), cache="write back")
    assert check.verdict == verdict
    assert says in check.what


def test_a_disk_that_claims_to_have_no_cache_is_quoted_and_not_believed():
    assert "believe it or test it" in disk.judge_syncs(syncs(0.000_2), mount(), cache="write through").what


def test_the_probe_leaves_nothing(tmp_path):
    measured = disk.measure_syncs(tmp_path, probes=3)
    assert (len(measured.dirty_s), len(measured.memory_s)) == (3, 3)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        disk.measure_syncs(tmp_path / "nowhere", probes=3)
    assert list(tmp_path.iterdir()) == []


def test_the_probe_leaves_nothing_when_a_sync_fails(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OSError, match="Input/output"):
        disk.measure_syncs(tmp_path, probes=3)
    assert list(tmp_path.iterdir()) == []


def test_the_write_cache_of_a_disk_and_of_a_partition(tmp_path):
    queue = tmp_path / "sys/devices/sda/queue"
    queue.mkdir(parents=True)
    (queue / "write_cache").write_text("write back\n")
    (tmp_path / "sys/devices/sda/sda1").mkdir()
    block = tmp_path / "sys/dev/block"
    block.mkdir(parents=True)
    (block / "8:0").symlink_to("../../devices/sda")
    (block / "8:1").symlink_to("../../devices/sda/sda1")
    for device in ("8:0", "8:1"):
        assert disk.write_cache_of(mount(device=device), sys=tmp_path / "sys") == "write back"
    assert disk.write_cache_of(mount(device="8:2"), sys=tmp_path / "sys") is None
    assert disk.write_cache_of(mount(device="0:9", source="/dev/gone"), sys=tmp_path, dev=tmp_path) is None


@pytest.mark.parametrize(
    ("cache", "verdict"),
    [("write back", "OK"), ("write through", "OK"), (None, "NOT ASSESSED"), ("else", "NOT ASSESSED")],
)
def test_write_caches(cache, verdict):
    assert disk.judge_write_cache(cache).verdict == verdict


def test_one_device_for_both_is_worth_a_warning(tmp_path):
    assert disk.judge_apart(tmp_path, tmp_path).verdict == "WARN"
    assert disk.judge_apart(tmp_path, Path("/proc")).verdict == "OK"
    assert disk.judge_apart(tmp_path, tmp_path / "nowhere").verdict == "NOT ASSESSED"


# --- clock


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (None, "NOT ASSESSED"),
        (kernel_clock.KernelClock(is_synchronised=False, max_error_us=0), "WARN"),
        (kernel_clock.KernelClock(is_synchronised=True, max_error_us=10_000), "OK"),
        (kernel_clock.KernelClock(is_synchronised=True, max_error_us=10_001), "WARN"),
    ],
)
def test_the_kernels_estimate(found, verdict):
    assert clock.judge_kernel_clock(found).verdict == verdict


def test_the_kernel_is_asked_and_nothing_is_set():
    before = time.time()
    found = kernel_clock.kernel_clock()
    assert abs(time.time() - before) < 5
    assert found is None or found.max_error_us >= 0


@pytest.fixture
def ledger(tmp_path) -> Installation:
    installation = Installation(tmp_path).start()
    shard = installation.shard()
    for number in range(3):
        write_call(shard, chat_request("s", f"{number}"), chat_response("a"))
    shard.sync()
    installation.sealer.step()
    installation.sealer.settle()
    yield installation
    shard.close()
    installation.sealer.stop()


def test_what_is_on_record_tells_whether_the_clock_was_put_back(ledger):
    times = list(clock.newest_times(ledger.data))
    assert {what for what, _ in times} == {
        "the last leaf of log default",
        "the last leaf of log system",
        "a write-ahead file",
    }
    newest = max(time_us for _, time_us in times)
    assert clock.judge_future(times, now_us=newest).verdict == "OK"
    assert clock.judge_future(times, now_us=newest - clock.FUTURE_US_MAX).verdict == "OK"
    check = clock.judge_future(times, now_us=newest - clock.FUTURE_US_MAX - 1)
    assert check.verdict == "FAIL"
    assert "2.0 s in the future" in check.what


def test_damage_does_not_keep_the_clock_from_being_judged(ledger):
    ledger.data.log("default").checkpoint.write_bytes(b"x")
    assert {what for what, _ in clock.newest_times(ledger.data)} == {
        "the last leaf of log system",
        "a write-ahead file",
    }


# --- keys


def test_fresh_keys_are_private(places):
    assert keys.judge_modes(places.keys).verdict == "OK"


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o500])
def test_a_key_directory_that_others_reach(places, mode):
    places.keys.chmod(mode)
    check = keys.judge_modes(places.keys)
    places.keys.chmod(0o700)
    assert check.verdict == "FAIL"
    assert "chmod" in check.next


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_read(places, mode):
    (places.keys / "fingerprint.key").chmod(mode)
    (places.keys / "reader.token").chmod(mode)
    check = keys.judge_modes(places.keys)
    assert check.verdict == "FAIL"
    assert f"mode {mode:04o}" in check.what
    assert "1 more" in check.what


def test_a_key_that_is_a_link(places, tmp_path):
    (places.keys / "other").symlink_to(tmp_path)
    assert "is a link" in keys.judge_modes(places.keys).what


def test_what_is_public_may_be_read(places):
    (places.public / "x.vkeys").touch(mode=0o644)
    assert keys.judge_modes(places.keys).verdict == "OK"


def test_keys_of_somebody_else(places, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    check = keys.judge_modes(places.keys)
    assert check.verdict == "WARN"
    assert "4711" in check.what


def test_directories_in_each_other(tmp_path):
    assert keys.judge_apart(Places(data=tmp_path, keys=tmp_path / "keys")).verdict == "FAIL"
    assert keys.judge_apart(Places(data=tmp_path / "data", keys=tmp_path)).verdict == "FAIL"
    assert keys.judge_apart(Places(data=tmp_path / "data", keys=tmp_path / "data-keys")).verdict == "OK"


def test_the_binding(places, tmp_path):
    assert keys.judge_binding(places).verdict == "OK"
    (tmp_path / "copy").mkdir()
    assert keys.judge_binding(Places(data=tmp_path / "copy", keys=places.keys)).verdict == "FAIL"
    (places.keys / "installation.json").write_text("{")
    assert keys.judge_binding(places).verdict == "FAIL"
    (places.keys / "installation.json").unlink()
    assert keys.judge_binding(places).verdict == "NOT ASSESSED"


def test_the_key_of_all_keys(places):
    assert keys.judge_kek(places.keys).verdict == "NOT ASSESSED"
    (places.keys / "ring").mkdir()
    (places.keys / "ring/keys").write_bytes(b"rows")
    assert "missing" in keys.judge_kek(places.keys).what
    (places.keys / "kms.key").write_bytes(bytes(31))
    assert "no key of 32 bytes" in keys.judge_kek(places.keys).what
    (places.keys / "kms.key").write_bytes(bytes(32))
    assert keys.judge_kek(places.keys).verdict == "OK"
    (places.keys / "ring/keys").write_bytes(b"")
    assert keys.judge_kek(places.keys).verdict == "FAIL"


def test_the_age_of_the_sealing_key(places):
    def judge(*, is_running: bool = True) -> str:
        return keys.judge_sealing_key(places, now_s=NOW_S, is_running=is_running).verdict

    assert judge() == "NOT ASSESSED"
    path = places.public / "sealing.json"
    for days, verdict in ((0, "OK"), (2, "OK"), (3, "WARN")):
        path.write_bytes(msgspec.json.encode({"id": "x", "public": "y", "created_s": NOW_S - days * DAY_S}))
        assert judge() == verdict
    assert judge(is_running=False) == "OK", "a service that does not run makes no keys"


def test_the_signer(ledger, tmp_path):
    here = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    assert keys.judge_signer(here).verdict == "OK"
    (here.keys / "signer/default/state").unlink()
    check = keys.judge_signer(here)
    assert check.verdict == "FAIL"
    assert "default/state" in check.what
    assert keys.judge_signer(Places(data=tmp_path / "x", keys=here.keys)).verdict == "NOT ASSESSED"


def test_the_user_of_the_signer(ledger, tmp_path):
    here = Places(data=tmp_path / "data", keys=tmp_path / "keys")
    check = keys.judge_user(here)
    assert (check.verdict, str(os.geteuid()) in check.what) == ("WARN", True)
    apart = Signer(socket=str(tmp_path / "run"), user=str(os.geteuid()))
    assert keys.judge_signer(here, apart).verdict == "NOT ASSESSED"
    check = keys.judge_user(here, apart)
    assert (check.verdict, "still here" in check.what) == ("FAIL", True)
    shutil.move(here.keys / "signer", tmp_path / "moved")
    assert keys.judge_user(here).verdict == "NOT ASSESSED"
    check = keys.judge_user(here, apart)
    assert (check.verdict, "cannot be asked" in check.what) == ("FAIL", True)
    (tmp_path / "run").mkdir()
    server = Server(
        tmp_path / "run", "signer", handle=lambda *_: Reply({}), lose=lambda error: pytest.fail(repr(error))
    )
    check = keys.judge_user(here, apart)
    assert (check.verdict, "a user of its own" in check.next) == ("FAIL", True)
    check = keys.judge_user(here, Signer(socket=apart.socket, user=str(os.geteuid() + 1)))
    assert (check.verdict, "belongs to another user" in check.what) == ("FAIL", True)
    server.close()
    shutil.move(tmp_path / "moved", here.keys / "signer")


def test_the_backup(places):
    def judge(days: float | None) -> Check:
        if days is not None:
            note = BackupNote(made_us=int((NOW_S - days * DAY_S) * 1e6), files=3)
            write_backup_note(places.keys, note, disk=Disk())
        return keys.judge_backup(places.keys, now_s=NOW_S)

    assert judge(None).verdict == "WARN"
    assert judge(0).verdict == "OK"
    assert judge(keys.BACKUP_AGE_DAYS_MAX).verdict == "OK"
    assert judge(keys.BACKUP_AGE_DAYS_MAX + 0.01).verdict == "WARN"
    assert keys.judge_modes(places.keys).verdict == "OK", "the note is private, too"


def test_somebody_must_be_able_to_confirm_a_restore(places: Places) -> None:
    assert keys.judge_approvers(places).verdict == "NOT ASSESSED", "no log yet"
    bundle = places.data / "logs/system/tree/tile/entries/000.p/2"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(b'{"type":"config.change"}')
    assert keys.judge_approvers(places).verdict == "WARN"
    bundle.with_name("3").write_bytes(b'{"type":"config.change"}{"type":"approvers.change"}')
    assert keys.judge_approvers(places).verdict == "OK"


# --- space


def growth(bytes_a_day: float) -> space.Growth:
    return space.Growth(bytes_a_day=bytes_a_day, seconds=DAY_S)


@pytest.mark.parametrize(
    ("free", "grows", "verdict", "says"),
    [
        (32 * GIB, growth(GIB), "OK", "31 days"),
        (31 * GIB, growth(GIB), "OK", "30 days"),
        (30 * GIB, growth(GIB), "WARN", "29 days"),
        (8 * GIB, growth(GIB), "WARN", "7 days"),
        (7 * GIB, growth(GIB), "FAIL", "6 days"),
        (1 * GIB, None, "FAIL", "new calls are refused"),
        (2 * GIB, None, "NOT ASSESSED", "less than an hour"),
        (2 * GIB, growth(0), "OK", "does not grow"),
    ],
)
def test_days_of_disk_down_to_the_reserve(free, grows, verdict, says):
    check = space.judge_space(free_bytes=free, disk_bytes=100 * GIB, reserve_configured=GIB, growth=grows)
    assert check.verdict == verdict
    assert says in check.what


def test_a_small_disk_has_a_small_reserve():
    check = space.judge_space(free_bytes=GIB // 10, disk_bytes=GIB, reserve_configured=GIB, growth=growth(0))
    assert check.verdict == "OK"


def test_growth_is_leaves_a_day_times_what_a_leaf_takes(ledger):
    later = int(time.time()) + 2 * DAY_S  # and not NOW_S: a suite may have taken minutes since
    found = space.measure_growth(ledger.data, now_s=later)
    assert found is not None
    assert found.seconds == pytest.approx(2 * DAY_S, abs=60)
    logs = [ledger.data.log(name) for name in ("default", "system")]
    added = [space.head_times(log, since_s=0)[0] for log in logs]
    a_leaf = space.bytes_on_disk(ledger.data.directory) / sum(log.writer.size for log in ledger.sealer.logs.values())
    assert found.bytes_a_day == pytest.approx(sum(added) * a_leaf / 2, rel=0.01)
    assert sum(added) >= 6


def test_without_an_hour_of_heads_there_is_no_estimate(ledger, tmp_path):
    assert space.measure_growth(ledger.data, now_s=NOW_S + 60) is None
    assert space.measure_growth(DataLayout(tmp_path / "nowhere"), now_s=NOW_S) is None


def test_a_ledger_that_rests_does_not_grow(ledger):
    found = space.measure_growth(ledger.data, now_s=NOW_S + 30 * DAY_S)
    assert found is not None
    assert found.bytes_a_day == 0


def test_heads_that_are_none_give_no_estimate(ledger):
    for path in ledger.data.log("default").heads.iterdir():
        path.write_bytes(b"x")
    assert space.measure_growth(ledger.data, now_s=NOW_S + 2 * DAY_S) is None


def test_room_for_the_keys():
    assert space.judge_keys_space(free_bytes=space.KEYS_FREE_BYTES_MIN).verdict == "OK"
    assert space.judge_keys_space(free_bytes=space.KEYS_FREE_BYTES_MIN - 1).verdict == "FAIL"


# --- leftovers


def test_the_lock():
    assert leftovers.judge_lock(None).verdict == "OK"
    assert leftovers.judge_lock(Holder(pid=os.getpid(), purpose="service", since_us=0)).verdict == "OK"
    check = leftovers.judge_lock(Holder(pid=0x7FFFFFFF, purpose="service", since_us=0))
    assert check.verdict == "WARN"
    assert "is gone" in check.what


def test_sockets(tmp_path):
    def judge(*, is_running: bool) -> Check:
        return leftovers.judge_sockets(tmp_path, is_running=is_running)

    assert judge(is_running=False).verdict == "OK"
    assert leftovers.judge_sockets(tmp_path / "nowhere", is_running=False).verdict == "OK"
    path = os.path.relpath(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        assert judge(is_running=True).verdict == "OK"
    assert "nobody listens on api.sock" in judge(is_running=False).what
    assert "status" in judge(is_running=True).next


def shard_at(wal: Path, name: str) -> int:
    (wal / name).mkdir(parents=True)
    fd = os.open(wal / name / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_shards(tmp_path):
    fds = [shard_at(tmp_path, name) for name in ("worker0.a", "worker1.b", "worker2.c.tmp")]
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "worker0.a/spare").touch()
    assert leftovers.judge_shards(tmp_path, is_running=False).verdict == "OK", "somebody writes them"
    for fd in fds:
        os.close(fd)
    check = leftovers.judge_shards(tmp_path, is_running=False)
    assert check.verdict == "WARN"
    for part in ("2 write-ahead shards wait", "1 prepared files", "1 shards without a name"):
        assert part in check.what
    assert leftovers.judge_shards(tmp_path, is_running=True).verdict == "OK", "its sealer closes them"


def test_stages(tmp_path):
    assert leftovers.judge_stages(tmp_path, is_running=False).verdict == "OK"
    (tmp_path / "00000001").touch()
    assert leftovers.judge_stages(tmp_path, is_running=True).verdict == "OK"
    assert leftovers.judge_stages(tmp_path, is_running=False).verdict == "WARN"


def test_damaged_shards(tmp_path):
    assert leftovers.judge_damaged(tmp_path / "damaged").verdict == "OK"
    (tmp_path / "damaged/worker0.a").mkdir(parents=True)
    assert leftovers.judge_damaged(tmp_path / "damaged").verdict == "FAIL"


def test_temporary_files(tmp_path):
    path = tmp_path / "a/x.tmp"
    path.parent.mkdir()
    path.touch()
    os.utime(path, (NOW_S, NOW_S))
    (tmp_path / "worker0.b.tmp").mkdir()
    assert leftovers.judge_temporary((tmp_path,), now_s=NOW_S + leftovers.OLD_S).verdict == "OK"
    check = leftovers.judge_temporary((tmp_path,), now_s=NOW_S + leftovers.OLD_S + 1)
    assert check.verdict == "WARN"
    assert "1 files" in check.what


# --- the machine


def test_sha_instructions():
    assert machine.judge_sha("flags\t\t: fpu sha_ni avx", speed=1e9).verdict == "OK"
    assert machine.judge_sha("Features\t: fp asimd sha2", speed=1e9).verdict == "OK"
    assert machine.judge_sha("flags\t\t: fpu avx sha_nix", speed=1e8).verdict == "WARN"
    assert "100 MB/s" in machine.judge_sha("", speed=1e8).what
    assert machine.judge_sha("", speed=1e8).verdict == "NOT ASSESSED"
    assert machine.hash_speed() > 0


def test_descriptors():
    config = parse_config(b"[gateway]\nconnections_max = 100\n", name="x")
    assert machine.judge_files(264, config=config).verdict == "OK"
    assert machine.judge_files(263, config=config).verdict == "WARN"
    assert machine.judge_files(-1, config=Config()).verdict == "OK"


def test_processors_and_versions():
    assert machine.judge_cores(1).verdict == "WARN"
    assert machine.judge_cores(2).verdict == "OK"
    assert "OpenSSL" in machine.openssl_check().what
    assert "Python" in machine.python_check().what


def test_memory_is_told_from_a_disk():
    """The real measure on the real thing: memory must be found out."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("there is no file system in memory that we may write")
    check = disk.judge_syncs(disk.measure_syncs(shm, probes=50), mount("tmpfs"), cache=None)
    assert check.verdict == "WARN"
    assert "suspiciously cheap" in check.what
