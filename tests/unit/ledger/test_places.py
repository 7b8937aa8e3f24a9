"""The two directories: what is refused, that nothing is changed by a refusal, and that one holder is alone."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from affidavit.errors import LayoutError
from affidavit.ledger.places import (
    Holder,
    Installation,
    Lease,
    Places,
    find_config,
    find_places,
    holder_of,
    read_installation,
    serves,
    take_lease,
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(data=tmp_path / "data", keys=tmp_path / "keys")


def take(places: Places, *, purpose: str = "service", sleep: Callable[[float], None] = lambda _: None) -> Lease:
    return take_lease(places, purpose=purpose, clock_us=lambda: 1_700_000_000_000_000, random=os.urandom, sleep=sleep)


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def refusal(places: Places, **how) -> str:
    with pytest.raises(LayoutError) as caught:
        take(places, **how)
    return str(caught.value)


# --- finding


def test_both_are_named_by_the_environment(tmp_path):
    found = find_places({"AFFIDAVIT_DATA": str(tmp_path / "a"), "AFFIDAVIT_KEYS": str(tmp_path / "b")})
    assert found == Places(data=tmp_path / "a", keys=tmp_path / "b")


def test_without_names_they_lie_where_xdg_says(tmp_path):
    xdg = {"XDG_DATA_HOME": str(tmp_path / "share"), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert find_places(xdg) == Places(data=tmp_path / "share/affidavit", keys=tmp_path / "state/affidavit/default")
    relative = {"XDG_DATA_HOME": "share", "XDG_STATE_HOME": "", "HOME": str(tmp_path)}
    assert find_places(relative) == Places(
        data=tmp_path / ".local/share/affidavit", keys=tmp_path / ".local/state/affidavit/default"
    )


def test_a_second_ledger_of_one_user_gets_keys_of_its_own_and_finds_them_again(tmp_path):
    xdg = {"XDG_STATE_HOME": str(tmp_path / "state")}
    first = find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "one")})
    take(first).close()
    second = find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "two")})
    assert second.keys != first.keys
    assert second.keys.parent == first.keys.parent
    take(second).close()
    assert find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "one")}) == first
    assert find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "two")}) == second


def test_a_copy_does_not_get_new_keys_by_default(tmp_path):
    xdg = {"XDG_STATE_HOME": str(tmp_path / "state")}
    take(find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "one")})).close()
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = find_places(xdg | {"AFFIDAVIT_DATA": str(tmp_path / "copy")})
    assert "needs `restore`" in refusal(copy)


def test_the_configuration_is_the_one_named_else_the_one_beside_the_data(places, tmp_path):
    assert find_config({}, places) is None
    places.data.mkdir()
    (places.data / "affidavit.toml").touch()
    assert find_config({}, places) == places.data / "affidavit.toml"
    assert find_config({"AFFIDAVIT_CONFIG": str(tmp_path / "x.toml")}, places) == tmp_path / "x.toml"


# --- the first start


def test_the_first_start_makes_both_and_says_so(places):
    lease = take(places)
    assert lease.created
    assert lease.installation == read_installation(places.keys)
    assert len(lease.installation.id) == 32
    assert (places.data / "FORMAT").read_bytes() == b"affidavit-ledger v1\n"
    assert set(tree(places.data)) == {"FORMAT", "lock"}
    names = {"fingerprint.key", "installation.json", "lock", "promise.key", "public", "reader.token", "run"}
    assert set(tree(places.keys)) == names
    for path in [places.keys, *places.keys.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    lease.close()
    again = take(places)
    assert not again.created
    assert again.installation == lease.installation
    again.close()


def test_secrets_are_drawn_once(places):
    take(places).close()
    names = ("fingerprint.key", "reader.token", "promise.key")
    before = [(places.keys / name).read_bytes() for name in names]
    assert [len(secret) for secret in before] == [32, 65, 32]
    take(places).close()
    assert before == [(places.keys / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    "dies_before", ["installation.json", "fingerprint.key", "reader.token", "promise.key", "FORMAT"]
)
def test_a_first_start_that_dies_is_finished_by_the_next(places, monkeypatch, dies_before):
    from affidavit.ledger import places as module

    class Dying(module.Disk):
        def replace(self, path, data):
            if path.name == dies_before:
                raise KeyboardInterrupt
            super().replace(path, data)

    monkeypatch.setattr(module, "Disk", Dying)
    with pytest.raises(KeyboardInterrupt):
        take(places)
    assert holder_of(places) is None
    monkeypatch.undo()
    lease = take(places)
    names = {"fingerprint.key", "installation.json", "lock", "promise.key", "public", "reader.token", "run"}
    assert set(tree(places.keys)) == names
    assert (places.data / "FORMAT").exists()
    lease.close()


def test_a_configuration_may_lie_there_before_the_first_start(places):
    places.data.mkdir()
    (places.data / "affidavit.toml").write_text("")
    take(places).close()


def test_a_reading_creates_nothing(places):
    assert "`affidavit up` makes one" in refusal(places, purpose="reading")
    assert not places.data.exists()
    assert not places.keys.exists()


# --- refusals


@pytest.mark.parametrize(
    ("data", "keys"),
    [("a", "a"), ("a", "a/keys"), ("k/data", "k"), ("a", "a/b/c"), ("link/inner", "real")],
)
def test_neither_may_lie_in_the_other(tmp_path, data, keys):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = tree(tmp_path)
    found = find_places({"AFFIDAVIT_DATA": str(tmp_path / data), "AFFIDAVIT_KEYS": str(tmp_path / keys)})
    assert "whoever copies one would have both" in refusal(found)
    assert tree(tmp_path) == before


def test_names_that_only_begin_alike_are_apart(tmp_path):
    take(Places(data=tmp_path / "ledger", keys=tmp_path / "ledger-keys")).close()


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777, 0o600])
def test_keys_that_others_could_read_are_refused_with_what_to_run(places, mode):
    take(places).close()
    places.keys.chmod(mode)
    try:
        message = refusal(places)
        assert f"mode {mode:04o}" in message
        assert f"chmod 700 {places.keys}" in message
    finally:
        places.keys.chmod(0o700)
    take(places).close()


def test_a_secret_that_others_could_read_is_refused(places):
    take(places).close()
    (places.keys / "fingerprint.key").chmod(0o640)
    assert f"chmod 600 {places.keys / 'fingerprint.key'}" in refusal(places)


def test_keys_of_somebody_else_are_refused(places, monkeypatch):
    take(places).close()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "belongs to user" in refusal(places)


def test_a_directory_that_is_something_else_is_refused_untouched(places):
    places.data.mkdir()
    (places.data / "thesis.tex").write_text("x")
    before = tree(places.data)
    assert "'thesis.tex'" in refusal(places)
    assert tree(places.data) == before
    assert not places.keys.exists()


def test_a_file_in_place_of_a_directory_is_refused(places):
    places.data.write_text("x")
    assert "is not a directory" in refusal(places)


def test_a_file_in_place_of_the_key_directory_is_refused(places):
    places.keys.write_text("x")
    assert f"{places.keys} is not a directory" in refusal(places)
    assert places.keys.read_text() == "x"
    assert not places.data.exists()


def test_a_ledger_of_another_format_is_refused(places):
    take(places).close()
    (places.data / "FORMAT").write_bytes(b"affidavit-ledger v2\n")
    assert "another format" in refusal(places)


def test_a_ledger_without_its_keys_is_refused(places, tmp_path):
    take(places).close()
    shutil.rmtree(places.keys)
    assert "its keys are not at" in refusal(places)
    assert not places.keys.exists()


def test_a_copy_of_the_data_needs_restore(places, tmp_path):
    take(places).close()
    copy = Places(data=tmp_path / "copy", keys=places.keys)
    shutil.copytree(places.data, copy.data)
    before = tree(places.keys)
    assert f"serve the data directory {places.data}" in refusal(copy)
    assert tree(places.keys) == before


def test_a_data_directory_that_was_put_back_needs_restore(places, tmp_path):
    """The same path, but not the same directory: `cp -a` from a backup."""
    take(places).close()
    shutil.copytree(places.data, tmp_path / "backup")
    places.data.rename(tmp_path / "old")  # kept, so that its inode is not given away again
    shutil.copytree(tmp_path / "backup", places.data)
    assert "needs `restore`" in refusal(places)


def test_a_data_directory_that_was_moved_is_the_same_one(places, tmp_path):
    take(places).close()
    places.data.rename(tmp_path / "elsewhere")
    take(Places(data=tmp_path / "elsewhere", keys=places.keys)).close()


def test_another_device_number_after_a_boot_is_the_same_directory_and_a_copy_on_another_disk_is_not(places):
    take(places).close()
    installation = read_installation(places.keys)
    assert installation is not None
    renumbered = msgspec.structs.replace(installation, device=installation.device + 1)
    assert serves(renumbered, places.data)
    assert not serves(msgspec.structs.replace(renumbered, data="/elsewhere"), places.data)
    assert not serves(msgspec.structs.replace(installation, inode=installation.inode + 1), places.data)


def test_an_installation_file_that_cannot_be_read_stops_everything(places):
    take(places).close()
    (places.keys / "installation.json").write_bytes(b"{")
    assert "cannot be read" in refusal(places)


# --- alone


def test_a_second_service_is_refused_and_told_who_is_there(places):
    lease = take(places)
    slept: list[float] = []
    message = refusal(places, sleep=slept.append)
    assert f"process {os.getpid()} holds its lock" in message
    assert 0.4 < sum(slept) < 1
    assert holder_of(places) == Holder(pid=os.getpid(), purpose="service", since_us=1_700_000_000_000_000)
    lease.close()
    assert holder_of(places) is None
    take(places).close()


def test_a_reading_is_told_that_the_service_that_is_there_does_not_answer(places):
    lease = take(places)
    assert f"held by process {os.getpid()}, whose service does not answer" in refusal(places, purpose="reading")
    (places.keys / "lock").write_bytes(b"taken an instant ago")
    message = refusal(places, purpose="reading")
    assert "held by another process" in message
    assert "kill <pid>" in message
    lease.close()


def test_a_holder_of_another_user_is_alive(places, monkeypatch):
    """Who may not be signalled is there; it is not waited for as for one that has gone."""
    lease = take(places)

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    slept: list[float] = []
    refusal(places, sleep=slept.append)
    assert sum(slept) < 1
    lease.close()


def test_two_key_directories_cannot_serve_one_data_directory_at_once(places, tmp_path):
    """The data directory has a lock of its own: keys copied elsewhere do not open a second door."""
    lease = take(places)
    shutil.copytree(places.keys, tmp_path / "keys2", ignore=shutil.ignore_patterns("lock"))
    (tmp_path / "keys2").chmod(0o700)
    assert "runs already" in refusal(Places(data=places.data, keys=tmp_path / "keys2"))
    lease.close()


def test_the_lease_lives_as_long_as_a_child_that_inherited_it(places):
    lease = take(places)
    inherited = [os.dup(fd) for fd in lease.lock_fds]
    lease.close()
    assert holder_of(places) is not None
    refusal(places)
    for fd in inherited:
        os.close(fd)
    take(places).close()


def test_a_start_waits_for_a_reading_to_go(places):
    take(places).close()
    lease = take(places, purpose="reading")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 5:
            lease.close()

    take(places, sleep=sleep).close()
    assert 5 < sum(slept) < 6


def test_a_start_waits_for_the_children_of_a_killed_supervisor(places):
    lease = take(places)
    lock = places.keys / "lock"
    lock.write_bytes(msgspec.json.encode(Holder(pid=2**22 + 1, purpose="service", since_us=1)))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 3:
            lease.close()

    take(places, sleep=sleep).close()
    assert 3 < sum(slept) < 4


def test_tmpfs_is_only_warned_of(places, monkeypatch):
    monkeypatch.setattr(
        "affidavit.ledger.places.filesystem_of", lambda path: "tmpfs" if path == places.data else "ext4"
    )
    lease = take(places)
    assert len(lease.warnings) == 1
    assert "tmpfs" in lease.warnings[0]
    lease.close()


def test_what_an_installation_file_says():
    text = b'{"id":"00","data":"/d","device":1,"inode":2,"created_us":3}'
    assert msgspec.json.decode(text, type=Installation) == Installation(
        id="00", data="/d", device=1, inode=2, created_us=3
    )


def test_public_files_lie_with_the_keys(places):
    assert places.system_vkeys == places.vkeys("system") == places.keys / "public" / "system.vkeys"
    assert places.manifest == places.keys / "public" / "manifest"


def test_nobody_holds_what_is_not_there(places):
    assert holder_of(places) is None
    places.keys.write_text("a file")
    assert holder_of(places) is None
