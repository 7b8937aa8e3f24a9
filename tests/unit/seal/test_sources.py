"""Sources that end without a word, and what the sealer says of time: attack 17 on a real ledger."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affidavit.capture.clock import Clock
from affidavit.capture.pulse import Pulse
from affidavit.errors import AffidavitError
from affidavit.event import encode_meta
from affidavit.ledger.cut import ShardReader
from affidavit.ledger.marks import Marks
from affidavit.ledger.wal import Shard
from affidavit.seal.shard import SealingShard
from affidavit.seal.timekeeping import SETTLE_US, Timekeeping
from tests.support.installation import (
    KEPT,
    Installation,
    chat_request,
    chat_response,
    clock_us,
    mono_us,
    new_id,
    request_meta,
    write_call,
)
from tests.support.story import QuickDisk, leaves_of, quicken_verifier, verify

REQUEST, RESPONSE = chat_request("be brief", "a question"), chat_response("an answer")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    quicken_verifier(monkeypatch)
    return Installation(tmp_path, disk=QuickDisk(), signer_disk=QuickDisk()).start()


def pulse() -> Pulse:
    return Pulse(clock=Clock(wall_us=clock_us, mono_us=mono_us), new_id=lambda _: new_id(), estimate=lambda: KEPT)


def begun(installation: Installation) -> Shard:
    """A source that has promised heartbeats and recorded a call."""
    shard = installation.shard()
    pulse().begin(shard)
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    return shard


def restart(installation: Installation) -> None:
    installation.open()
    installation.start()


def found(installation: Installation, log: str = "default") -> set[tuple[str, str]]:
    usual = {"UNANCHORED", "NO-TIMESTAMP"}
    findings = verify(installation)[1]["findings"]
    return {(f["verdict"], f["code"]) for f in findings if f["log"] == log and f["code"] not in usual}


def types(installation: Installation, log: str = "default") -> list[str]:
    return [leaf.type for leaf in leaves_of(installation, log)]


def test_a_source_that_stops_leaves_nothing_to_explain(installation: Installation) -> None:
    shard = begun(installation)
    pulse().end(shard)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert found(installation) == set()
    assert "source.lost" not in types(installation)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_crash_is_explained_once(installation: Installation, *, sealed: bool, restarted: bool) -> None:
    shard = begun(installation)
    if sealed:
        installation.drain()
    if restarted:
        restart(installation)
    shard.close()  # its lock is free, as after a kill
    for _ in range(2):
        installation.drain()
        installation.sealer.settle()
    assert types(installation).count("source.lost") == types(installation, "system").count("source.lost") == 1
    restart(installation)
    installation.stop()
    assert types(installation).count("source.lost") == 1
    assert found(installation) == found(installation, "system") == {("WARN", "SOURCE-LOST")}


def test_the_loss_is_stated_once_though_we_die_before_the_files_go(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = begun(installation)
    shard.close()
    monkeypatch.setattr(installation.sealer, "_delete_files", lambda: None)
    installation.drain()
    assert types(installation).count("source.lost") == 1
    restart(installation)
    installation.drain()
    installation.stop()
    assert types(installation).count("source.lost") == 1


def test_a_source_whose_last_events_were_dropped_and_that_was_killed(installation: Installation) -> None:
    """Attack 17: its write-ahead shard goes, and the sealer with it, which would have said that it ended."""
    shard = begun(installation)
    installation.drain()
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shutil.rmtree(installation.data.wal / shard.name)
    with pytest.raises((AffidavitError, OSError)):
        installation.sealer.step()
    restart(installation)
    installation.drain()
    installation.stop()
    assert found(installation) == {("FAIL", "SOURCE-UNENDED")}
    assert found(installation, "system") == {("FAIL", "SOURCE-UNENDED")}


def test_a_damaged_shard_has_a_gap_and_no_loss_beside(installation: Installation) -> None:
    shard = begun(installation)
    for _ in range(3):
        write_call(shard, REQUEST, RESPONSE)
        shard.sync()
    path = installation.data.wal / shard.name / "00000001"
    content = path.read_bytes()
    at = content.rindex(bytes(20_000)) - 2_000 if bytes(20_000) in content else len(content) // 2
    at = min(at, 4_000)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    shard.close()
    installation.drain()
    installation.stop()
    assert "source.lost" not in types(installation)
    assert {verdict for verdict, _ in found(installation)} == {"WARN"}


# --- calls that were only counted -------------------------------------------------------------------------------------


def counted(installation: Installation, calls: int) -> Shard:
    """A shard whose room counts so many calls of the default project."""
    shard = installation.shard(has_marks=True)
    assert shard.marks is not None
    for _ in range(calls):
        shard.marks.count("default")
    return shard


def gaps(installation: Installation) -> list[tuple[int, int | None]]:
    leaves = leaves_of(installation, "default")
    return [(leaf.data["count"], leaf.data["last"]) for leaf in leaves if leaf.type == "gap" and leaf.data]


def test_calls_that_were_only_counted_are_stated_while_the_source_lives_and_once(installation: Installation) -> None:
    shard = counted(installation, 2)
    pulse().begin(shard)
    shard.sync()
    installation.drain()
    installation.drain()
    assert gaps(installation) == [(2, None)]
    assert shard.marks is not None
    shard.marks.count("default")
    write_call(shard, REQUEST, RESPONSE)
    pulse().end(shard)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert gaps(installation) == [(2, None), (3, None)]
    assert found(installation) == {("WARN", "GAP")}
    assert found(installation, "system") == set()
    assert list(installation.data.wal.iterdir()) == []


def test_a_start_states_again_what_it_no_longer_knows_and_loses_no_count(installation: Installation) -> None:
    shard = counted(installation, 2)
    installation.drain()
    restart(installation)
    shard.close()
    installation.drain()
    installation.stop()
    assert gaps(installation) == [(2, None), (2, None)]  # the same count again: it stands in the other's place
    assert list(installation.data.wal.iterdir()) == []


def test_a_count_excuses_no_number_that_is_missing(installation: Installation) -> None:
    shard = counted(installation, 1)
    write_call(shard, REQUEST, RESPONSE)
    shard.next_seq(1)
    write_call(shard, REQUEST, RESPONSE)
    shard.sync()
    shard.close()
    installation.drain()
    installation.stop()
    assert found(installation) == {("WARN", "GAP"), ("FAIL", "SEQUENCE-GAP")}


# --- time -------------------------------------------------------------------------------------------------------------


class Hands:
    """Both clocks of a sealer."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_000_000_000, 50

    def wait(self, us: int) -> None:
        self.wall += us
        self.mono += us

    def timekeeping(self) -> Timekeeping:
        return Timekeeping(clock_us=lambda: self.wall, mono_us=lambda: self.mono, estimate=lambda: KEPT)


def through(timekeeping: Timekeeping) -> Any:
    return timekeeping.close_facts().get("through_us")


def test_sealed_through_is_an_earlier_reading_after_which_everything_was_sealed() -> None:
    hands = Hands()
    timekeeping = hands.timekeeping()
    timekeeping.caught_up()  # nothing was read yet
    began = hands.wall
    timekeeping.reading()
    timekeeping.caught_up()
    hands.wait(SETTLE_US - 1)
    timekeeping.reading()
    timekeeping.caught_up()
    assert through(timekeeping) is None
    hands.wait(1)
    timekeeping.reading()
    hands.wait(SETTLE_US)  # a reading that is not sealed moves nothing
    assert through(timekeeping) is None
    timekeeping.caught_up()
    assert through(timekeeping) == began


def test_a_leap_of_the_wall_clock_counts_only_after_sources_had_time_to_see_it() -> None:
    hands = Hands()
    timekeeping = hands.timekeeping()
    timekeeping.reading()
    timekeeping.caught_up()
    hands.wait(SETTLE_US)
    hands.wall += 8 * 3_600_000_000  # the machine slept
    timekeeping.reading()
    timekeeping.caught_up()
    assert through(timekeeping) == 1_000_000_000
    change = timekeeping.change()
    assert change is not None
    assert change["step_us"] == 8 * 3_600_000_000
    assert timekeeping.change() is None


def test_the_sealer_states_its_clock_and_how_far_it_is(installation: Installation) -> None:
    installation.drain()
    installation.sealer.settle()
    installation.sealer.close_epoch()
    clock = {"bound_us": 500, "offset_us": 0, "synchronised": 1}
    said = [leaf.data["clock"] for leaf in leaves_of(installation, "default") if leaf.data]
    assert said == [clock] * 3
    assert found(installation) == {("WARN", "OPEN-EPOCH")}


def test_a_shard_that_is_dead_and_not_closed_holds_the_mark_back(installation: Installation) -> None:
    shard = begun(installation)
    installation.drain()
    shard.begin("default").write(meta=encode_meta(request_meta(new_id(), body=REQUEST)), data=REQUEST[:9])
    shard.sync()
    shard.close()
    marks: list[int] = []
    installation.sealer._timekeeping.caught_up = lambda: marks.append(  # type: ignore[method-assign]
        types(installation).count("source.lost")
    )
    installation.sealer.step()  # what it left unfinished is under way, and its end is not on record yet
    installation.sealer.settle()
    assert (types(installation).count("source.lost"), marks) == (0, [])
    installation.drain()
    installation.sealer.settle()
    assert marks == [1]


def test_who_stopped_is_not_said_to_be_lost_by_a_start_after_it(installation: Installation) -> None:
    """Its files may outlive its last leaf; the start reads there that it ended by itself."""
    shard = begun(installation)
    pulse().end(shard)
    shard.sync()
    installation.drain()
    installation.sealer.settle()
    restart(installation)
    assert (shard.name.split(".")[0], shard.boot) in installation.sealer._recovered["default"].ended
    shard.close()
    installation.drain()
    installation.stop()
    assert "source.lost" not in types(installation)


def test_calls_counted_for_a_log_that_is_not_there_are_nobodys(installation: Installation) -> None:
    shard = installation.shard()
    marks = Marks(installation.data.wal / shard.name, logs=("nowhere", "default"), disk=QuickDisk())
    marks.count("nowhere")
    installation.drain()
    assert "gap" not in types(installation)
    marks.count("default")
    marks.close()
    shard.close()
    installation.drain()
    installation.stop()
    assert gaps(installation) == [(1, None)]


def test_a_shard_that_is_about_to_get_its_name_is_left_alone(installation: Installation) -> None:
    """Its lock is held, so somebody is at it; once it is let go, nothing was ever written to it."""
    unborn = installation.data.wal / "worker7.AAAAAAAA.tmp"
    unborn.mkdir()
    with (unborn / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        restart(installation)
        assert unborn.is_dir()
    restart(installation)
    assert not unborn.exists()


def test_the_oldest_file_whose_beginning_can_be_read_tells_how_far_back_a_start_looks(
    installation: Installation,
) -> None:
    shard = begun(installation)
    directory = installation.data.wal / shard.name
    header = (directory / "00000001").read_bytes()
    (directory / "00000002").write_bytes(header)
    reader = ShardReader(directory, private_key=lambda _: b"")
    found = SealingShard(reader, disk=QuickDisk()).oldest_file_us()
    assert found is not None
    for torn in (b"", header[:9], b"noise" * 99):
        (directory / "00000001").write_bytes(torn)
        assert SealingShard(reader, disk=QuickDisk()).oldest_file_us() == found
    (directory / "00000002").write_bytes(b"")
    assert SealingShard(reader, disk=QuickDisk()).oldest_file_us() is None
    shard.close()


def test_the_key_of_promises_is_named_before_anybody_promises(installation: Installation) -> None:
    installation.stop()
    installation.open()
    settings = msgspec.structs.replace(installation.sealer.settings, promise_vkey="a+00000000+AA==")
    installation.sealer.settings = settings  # type: ignore[misc]
    installation.start()
    leaves = leaves_of(installation, "system")
    assert [leaf.data for leaf in leaves if leaf.type == "promise.key"] == [{"vkey": "a+00000000+AA=="}]
