"""The two directories: finding them, creating them, checking them, and holding them alone.

Promise: whoever has a `Lease` is the only service on this data directory and on this key directory, the two do not
contain each other, the keys are for nobody else to read, and the keys serve this data directory and no copy of it.
Nothing is changed before all of that is known.

Required order: `find_places` → `take_lease` (first start: creates) → hand `Lease.lock_fds` to every child that writes →
`Lease.close`. The locks are flocks on open file descriptions: they are free when the last process that inherited them
is gone, so a second service cannot start beside a sealer whose supervisor was killed.

Why a copied data directory is refused: the signer's memory of what it signed lies with the keys, so two copies under
one key directory would be two histories. Formats: docs/formats.md, section 1; `docs/configuration.md` names the
environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from affidavit.config import CONFIG_NAME
from affidavit.errors import LayoutError
from affidavit.ledger.directory import DIRECTORY_MODE, FILE_MODE, Disk
from affidavit.ledger.layout import FORMAT_LINE, DataLayout
from affidavit.ledger.shards import finished_shards, shard_log, shard_prefix

DATA_VARIABLE: Final = "AFFIDAVIT_DATA"
KEYS_VARIABLE: Final = "AFFIDAVIT_KEYS"
CONFIG_VARIABLE: Final = "AFFIDAVIT_CONFIG"
LOCK_NAME: Final = "lock"
INSTALLATION_NAME: Final = "installation.json"
FINGERPRINT_KEY_NAME: Final = "fingerprint.key"
READER_TOKEN_NAME: Final = "reader.token"  # noqa: S105 - the name of a file
PROMISE_KEY_NAME: Final = "promise.key"
PUBLIC_NAME: Final = "public"
RUN_NAME: Final = "run"
SECRET_BYTES: Final = 32
INSTALLATION_ID_BYTES: Final = 16
LOCK_TRIES_WAIT_S: Final = 0.05
"""Between two tries for a lock."""
BRIEF_WAIT_S: Final = 0.5
"""Somebody who only looks at the lock holds it for an instant."""
LEAVING_WAIT_S: Final = 10.0
"""The children of a killed supervisor notice its end at once and need this long at most to let go."""
READING_WAIT_S: Final = 60.0
"""A service that was started for one reading goes by itself."""
_INSTALLATIONS_MAX: Final = 1000
"""Key directories that are looked through for the one that serves a data directory."""

Purpose = Literal["service", "reading"]
"""Why a lease is held: the whole service, or one without a gateway, started to read something, that goes again."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything lies. Both paths are absolute and free of symbolic links."""

    data: Path
    keys: Path

    @property
    def run(self) -> Path:
        """Sockets of the running service."""
        return self.keys / RUN_NAME

    @property
    def public(self) -> Path:
        """Verifier keys, for whoever asks."""
        return self.keys / PUBLIC_NAME

    @property
    def system_vkeys(self) -> Path:
        """The vkeys file of the system log."""
        return self.vkeys("system")

    @property
    def shard(self) -> int:
        """Number of the newest shard: the one that is written."""
        installation = read_installation(self.keys)
        known = 1 if installation is None else installation.shard
        # A turn first moves the old shard away and then notes the number: if it died in between, this shows it.
        return max([known, *(number + 1 for number in finished_shards(self.data))])

    @property
    def manifest(self) -> Path:
        """What the root key says of the keys of all logs."""
        return self.public / "manifest"

    def vkeys(self, log: str) -> Path:
        """The vkeys file of a log of the newest shard."""
        return self.public / f"{shard_log(log, self.shard)}.vkeys"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """Which data directory a key directory serves."""

    id: str
    """32 hexadecimal digits, drawn once."""
    data: str
    device: int
    inode: int
    created_us: int
    shard: int = 1
    """Number of the shard that is written there, as far as it was noted; `Places.shard` knows better."""

    def origin_prefix(self, configured: str | None, *, shard: int) -> str:
        """What all origins of a shard of this installation begin with, before the slash."""
        return shard_prefix(configured or f"{self.id}.affidavit.internal", shard)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lease, as they wrote it down."""

    pid: int
    purpose: Purpose
    since_us: int


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Both directories, held alone."""

    places: Places
    installation: Installation
    lock_fds: tuple[int, ...]
    created: bool
    """This is the first start: keys were made that exist nowhere else."""
    warnings: tuple[str, ...]

    def close(self) -> None:
        """Let go. Children that inherited the descriptors still hold on."""
        for fd in self.lock_fds:
            os.close(fd)


# --- finding ----------------------------------------------------------------------------------------------------------


def find_places(environment: Mapping[str, str]) -> Places:
    """Both directories as the environment and the user's home say; neither has to exist.

    Without `AFFIDAVIT_KEYS` they are looked for under `$XDG_STATE_HOME/affidavit`: the one that serves this data
    directory, else `default`.
    """
    data = _resolve(
        environment.get(DATA_VARIABLE) or str(_base(environment, "XDG_DATA_HOME", ".local/share") / "affidavit")
    )
    named = environment.get(KEYS_VARIABLE)
    keys = (
        _resolve(named) if named else _keys_of(data, _base(environment, "XDG_STATE_HOME", ".local/state") / "affidavit")
    )
    return Places(data=data, keys=keys)


def find_config(environment: Mapping[str, str], places: Places) -> Path | None:
    """The configuration file: `AFFIDAVIT_CONFIG`, else `affidavit.toml` in the data directory if it is there."""
    named = environment.get(CONFIG_VARIABLE)
    if named:
        return Path(named).absolute()
    path = places.data / CONFIG_NAME
    return path if path.exists() else None


def read_installation(keys: Path) -> Installation | None:
    """What a key directory says about itself, or ``None`` where it is none yet.

    Raises:
        LayoutError: The file is there and cannot be read.
    """
    path = keys / INSTALLATION_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Installation)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise LayoutError(
            f"{path} cannot be read, so it is not known which data directory these keys serve. Put it back from a "
            "backup of the keys; nothing was changed"
        ) from error


def serves(installation: Installation, data: Path) -> bool:
    """Whether this is the data directory that the keys were made for, and no copy.

    The inode must be the same, and one of path and device: a directory that was moved within its file system is the
    same one, and so is one whose disk got another device number at the last boot. A copy differs in its inode, or in
    both others. A restored *image* of the whole disk does not differ, and is caught by the signer, who remembers more
    than it holds.
    """
    try:
        state = data.stat()
    except FileNotFoundError:
        return False
    return state.st_ino == installation.inode and (
        state.st_dev == installation.device or str(data) == installation.data
    )


def filesystem_of(path: Path) -> str:
    """Type of the file system that holds `path` (``ext4``, ``tmpfs``), or ``unknown``."""
    best, kind = "", "unknown"
    target = str(path) + "/"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, rest = line.partition(" - ")
            mount = fields.split(" ")[4].encode().decode("unicode_escape").rstrip("/") + "/"
            if target.startswith(mount) and len(mount) >= len(best):
                best, kind = mount, rest.split(" ")[0]
    return kind


def _base(environment: Mapping[str, str], variable: str, below_home: str) -> Path:
    named = environment.get(variable, "")
    if named.startswith("/"):  # a relative one is to be ignored, says the XDG specification
        return Path(named)
    home = environment.get("HOME") or str(Path.home())
    return Path(home) / below_home


def _resolve(text: str) -> Path:
    return Path(text).expanduser().absolute().resolve()


def _keys_of(data: Path, base: Path) -> Path:
    default = _resolve(str(base / "default"))
    taken = False
    for path in sorted(base.glob("*"))[:_INSTALLATIONS_MAX]:
        with contextlib.suppress(LayoutError):
            installation = read_installation(path)
            if installation is not None and serves(installation, data):
                return _resolve(str(path))
            taken = taken or (installation is not None and path.name == "default")
    if taken and not DataLayout(data).format_file.exists():
        # A second ledger of the same user: keys of its own, in a directory named after where its data lies.
        return _resolve(str(base / _name_of(data)))
    return default


def _name_of(data: Path) -> str:
    """A name for the keys of a further data directory: readable, and different for each path."""
    letters = "".join(character if character.isalnum() else "-" for character in str(data)).strip("-")
    return letters[-200:].lstrip("-") or "root"


# --- taking -----------------------------------------------------------------------------------------------------------


def take_lease(
    places: Places,
    *,
    purpose: Purpose,
    clock_us: Callable[[], int],
    random: Callable[[int], bytes],
    sleep: Callable[[float], None],
) -> Lease:
    """Check both directories, create what is missing, and hold them alone.

    Raises:
        LayoutError: Not usable; the message says why and what to do, and nothing was changed but directories made.
    """
    disk = Disk()
    _require_apart(places)
    data_is_new = _require_data(places.data)
    installation = read_installation(places.keys) if places.keys.exists() else None
    _require_keys(places, installation=installation, data_is_new=data_is_new)
    if purpose == "reading" and (installation is None or data_is_new):
        raise LayoutError(
            f"there is no ledger at {places.data} yet. `affidavit up` makes one; {DATA_VARIABLE} names another place"
        )
    _make_directories(places, disk)
    locks: list[int] = []
    try:
        locks.append(_lock(places.keys, places=places, sleep=sleep, purpose=purpose))
        locks.append(_lock(places.data, places=places, sleep=sleep, purpose=purpose))
        _write_holder(locks[0], Holder(pid=os.getpid(), purpose=purpose, since_us=clock_us()))
        installation = read_installation(places.keys)  # again, now that nobody else can write it
        created = installation is None
        if installation is None:
            installation = _create_installation(places, disk=disk, clock_us=clock_us, random=random)
        _make_secrets(places.keys, disk=disk, random=random)
        _write_format(places.data, disk=disk)
    except BaseException:
        for fd in locks:
            os.close(fd)
        raise
    return Lease(
        places=places,
        installation=installation,
        lock_fds=tuple(locks),
        created=created,
        warnings=tuple(_warnings(places)),
    )


def holder_of(places: Places) -> Holder | None:
    """Who holds the lease at this moment, or ``None`` if nobody does."""
    try:
        fd = os.open(places.keys / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(fd)
        return None
    finally:
        os.close(fd)


def _require_apart(places: Places) -> None:
    data, keys = places.data, places.keys
    if data == keys or data in keys.parents or keys in data.parents:
        inner, outer = ("keys", "data directory") if data == keys or data in keys.parents else ("data", "key directory")
        raise LayoutError(
            f"the {inner} would lie in the {outer} ({data} and {keys}), and whoever copies one would have both. Name "
            "two directories side by side "
            f"with {DATA_VARIABLE} and {KEYS_VARIABLE}; nothing was changed"
        )


def _require_data(data: Path) -> bool:
    """Whether the data directory is still to be made."""
    if data.exists() and not data.is_dir():
        raise LayoutError(f"{data} is not a directory; {DATA_VARIABLE} must name one. Nothing was changed")
    if not data.exists():
        return True
    format_file = DataLayout(data).format_file
    if format_file.exists():
        if format_file.read_bytes() != FORMAT_LINE:
            raise LayoutError(
                f"{data} holds a ledger of another format than this version writes. Use a version that knows it; "
                "nothing was changed"
            )
        return False
    strange = sorted(
        path.name
        for path in data.iterdir()
        if path.name not in {CONFIG_NAME, LOCK_NAME, "lost+found"} and not path.name.endswith(".tmp")
    )
    if strange:
        raise LayoutError(
            f"{data} is not empty and holds no ledger ({len(strange)} entries, {strange[0]!r} first). Name a "
            f"directory of its own with {DATA_VARIABLE}; nothing was changed"
        )
    return True


def _require_keys(places: Places, *, installation: Installation | None, data_is_new: bool) -> None:
    keys = places.keys
    if keys.exists():
        state = keys.stat()
        if not stat.S_ISDIR(state.st_mode):
            raise LayoutError(f"{keys} is not a directory; {KEYS_VARIABLE} must name one. Nothing was changed")
        if state.st_uid != os.geteuid():
            raise LayoutError(
                f"{keys} belongs to user {state.st_uid}, and this is user {os.geteuid()}. Run as its owner: chown -R "
                f"{os.geteuid()} {keys}; nothing was changed"
            )
        if stat.S_IMODE(state.st_mode) != DIRECTORY_MODE:
            raise LayoutError(
                f"{keys} has mode {stat.S_IMODE(state.st_mode):04o}, so that others could take the keys. Run: chmod "
                f"700 {keys}; nothing was changed"
            )
        for path in _secret_files(keys):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode != FILE_MODE:
                why = "can be read by others" if mode & 0o077 else "cannot be read and written by its owner"
                raise LayoutError(f"{path} has mode {mode:04o}: it {why}. Run: chmod 600 {path}; nothing was changed")
    if installation is None and not data_is_new:
        raise LayoutError(
            f"{places.data} holds a ledger, and its keys are not at {keys}. Name them with {KEYS_VARIABLE}, or put a "
            "backup of them there; without "
            "them it can be verified (`affidavit verify`) but neither read nor continued. Nothing was changed"
        )
    if installation is not None and not serves(installation, places.data):
        raise LayoutError(
            f"the keys at {keys} serve the data directory {installation.data}, and {places.data} is another one or a "
            "copy. Two histories under one set "
            "of keys would be a fork, so this needs `restore`. To start a new ledger, name an empty key directory "
            f"with {KEYS_VARIABLE}; nothing was changed"
        )


def _secret_files(keys: Path) -> list[Path]:
    """Every file that is nobody else's business: all but public keys and what a running service puts down."""
    open_to_see = {keys / PUBLIC_NAME, keys / RUN_NAME}
    return sorted(
        path
        for path in keys.rglob("*")
        if path.is_file() and path.name != LOCK_NAME and not open_to_see.intersection(path.parents)
    )


def _make_directories(places: Places, disk: Disk) -> None:
    for directory in (places.data, places.keys, places.public, places.run):
        # If we die here, empty directories are left over, which the next start takes as they are.
        disk.mkdir(directory)


def _lock(directory: Path, *, places: Places, sleep: Callable[[float], None], purpose: Purpose) -> int:
    fd = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    waited = 0.0
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = holder_of(places)
            if waited >= _patience_s(holder):
                os.close(fd)
                raise LayoutError(_held(directory, holder, purpose=purpose)) from None
            sleep(LOCK_TRIES_WAIT_S)
            waited += LOCK_TRIES_WAIT_S
        else:
            return fd


def _patience_s(holder: Holder | None) -> float:
    """How long it is worth waiting for a lock, judged by who has it."""
    if holder is None:
        return BRIEF_WAIT_S
    if not _is_alive(holder.pid):
        return LEAVING_WAIT_S
    return READING_WAIT_S if holder.purpose == "reading" else BRIEF_WAIT_S


def _held(directory: Path, holder: Holder | None, *, purpose: Purpose) -> str:
    who = f"process {holder.pid}" if holder else "another process"
    if purpose == "reading":
        return (
            f"{directory} is held by {who}, whose service does not answer. Look at its messages, or stop it (kill "
            f"{holder.pid if holder else '<pid>'}); nothing was changed"
        )
    return (
        f"affidavit runs already on {directory}: {who} holds its lock, and a second writer would be a second history. "
        "Stop that one first "
        f"(kill {holder.pid if holder else '<pid>'}), or name other directories; nothing was changed"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_holder(fd: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Holder)
    except msgspec.MsgspecError:
        return None  # it was taken an instant ago and is not written yet


def _write_holder(fd: int, holder: Holder) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)


def _create_installation(
    places: Places, *, disk: Disk, clock_us: Callable[[], int], random: Callable[[int], bytes]
) -> Installation:
    state = places.data.stat()
    installation = Installation(
        id=random(INSTALLATION_ID_BYTES).hex(),
        data=str(places.data),
        device=state.st_dev,
        inode=state.st_ino,
        created_us=clock_us(),
    )
    # If we die before it is whole, there is no installation yet and no ledger; the next start draws another id.
    disk.replace(places.keys / INSTALLATION_NAME, msgspec.json.encode(installation))
    return installation


def _make_secrets(keys: Path, *, disk: Disk, random: Callable[[int], bytes]) -> None:
    """Make the small secrets that are not there; dying in between leaves the rest to the next start."""
    if not (keys / FINGERPRINT_KEY_NAME).exists():
        disk.replace(keys / FINGERPRINT_KEY_NAME, random(SECRET_BYTES))
    if not (keys / READER_TOKEN_NAME).exists():
        disk.replace(keys / READER_TOKEN_NAME, random(SECRET_BYTES).hex().encode() + b"\n")
    if not (keys / PROMISE_KEY_NAME).exists():
        disk.replace(keys / PROMISE_KEY_NAME, random(SECRET_BYTES))


def _write_format(data: Path, *, disk: Disk) -> None:
    path = DataLayout(data).format_file
    if not path.exists():
        # Last of all: from here on the directory is a ledger, and needs the keys that are durable by now.
        disk.replace(path, FORMAT_LINE)


def _warnings(places: Places) -> list[str]:
    found = []
    for path, what in ((places.data, "records"), (places.keys, "keys")):
        kind = filesystem_of(path)
        if kind in {"tmpfs", "ramfs"}:
            found.append(
                f"{path} is on {kind}: the {what} are gone when this machine stops. Fine for a trial, for nothing else"
            )
    return found
