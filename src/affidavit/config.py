"""`affidavit.toml` → frozen values: each setting with its type, default, bounds and text, here and nowhere else.

Promise: what `parse_config` returns is complete and consistent; a key that nobody reads is refused by name, since a
misspelt setting that is ignored in silence is a hole in the audit trail. Defaults need no file at all.

Invariants: values only, no clock, no environment. Reading the file is `load_config`; finding it is the business of
`affidavit.ledger.places`. Units stand last in a name (`_s`, `_bytes`), so that a number cannot be misread.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec.inspect import CustomType, DictType, Field, LiteralType, Metadata, StructType, Type, type_info

from affidavit.errors import ConfigError
from affidavit.settings.api import Api
from affidavit.settings.capture import Audit, AuditMode, Capture
from affidavit.settings.signer import Signer
from affidavit.settings.timestamps import Timestamps
from affidavit.settings.witnesses import Anchor, Witness
from affidavit.text import b64u

CONFIG_NAME: Final = "affidavit.toml"
CONFIG_BYTES_MAX: Final = 1 << 20  # a thousand projects fit many times over
DEFAULT_PROJECT: Final = "default"
RESERVED_UPSTREAMS: Final = frozenset({"p"})
"""`/p/<project>/...` chooses a project, so no upstream may be called that."""
PORT_MAX: Final = 65_535
RESERVED_PROJECTS: Final = frozenset({"system"})  # the installation's own log

_LOG_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_REGISTERED_NAME = r"^[^\x00-\x1f\x7f]{1,128}$"
_ORIGIN_PREFIX = r"^[a-z0-9]([a-z0-9.-]{0,120}[a-z0-9])?(/[a-z0-9._-]{1,60}){0,2}$"
_MIB = 1 << 20

RegisteredName = Annotated[str, Meta(pattern=_REGISTERED_NAME)]
RegisteredNames = tuple[RegisteredName, ...]
OriginPrefix = Annotated[str, Meta(pattern=_ORIGIN_PREFIX)]
_Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The door that clients' calls come through."""

    listen: Annotated[
        str,
        Meta(
            description="Address and port on which clients connect, `HOST:PORT`; IPv6 in brackets. Port 0: a free one."
        ),
    ] = "127.0.0.1:8321"
    exposed: Annotated[
        bool,
        Meta(
            description=(
                "Must be true before `listen` may name anything but loopback: whoever reaches the gateway can "
                "use it and can write to your audit trail."
            )
        ),
    ] = False
    workers: Annotated[int, Meta(ge=0, le=256, description="Gateway processes; 0 means one for each processor.")] = 0
    audit: Audit = "block"
    body_bytes_max: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 30,
            description="Largest request body; a larger one is refused with status 413 and not sent.",
        ),
    ] = 128 * _MIB
    bodies_in_flight_bytes_max: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 36,
            description="Request bodies that one worker holds at once; beyond it calls are refused with status 503.",
        ),
    ] = 256 * _MIB
    answer_bytes_max: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 36,
            description="Largest answer of an upstream; a longer one is broken off and recorded as `incomplete`.",
        ),
    ] = 4 << 30
    head_bytes_max: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 20,
            description="Largest request line and headers together; more is refused with status 431.",
        ),
    ] = 64 << 10
    lag_s_max: Annotated[
        _Seconds,
        Meta(
            description=(
                "How far sealing may be behind before new calls are refused with status 503; what is on record is "
                "sealed all the same."
            )
        ),
    ] = 3600
    disk_reserve_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 40,
            description=(
                "Free space on the disk of the data directory that new calls may not use, at most a twentieth of that "
                "disk; below it they are refused with status 503, so that what is on record can still be sealed."
            ),
        ),
    ] = 256 * _MIB
    connections_max: Annotated[
        int, Meta(ge=1, le=100_000, description="Client connections that one worker keeps open.")
    ] = 8192
    keep_alive_s: Annotated[
        _Seconds, Meta(description="How long a client's connection may be idle between two calls before it is closed.")
    ] = 75
    client_stall_s: Annotated[
        _Seconds,
        Meta(
            description=(
                "How long a client may take nothing while bytes of its answer wait; the answer is recorded to its end "
                "all the same."
            )
        ),
    ] = 300
    answer_idle_s: Annotated[
        _Seconds,
        Meta(
            description=(
                "How long an upstream may be silent within an answer; then the call is `incomplete`, or "
                "`unknown_outcome` if nothing came."
            )
        ),
    ] = 900
    drain_on_stop_s: Annotated[
        _Seconds, Meta(description="How long calls in flight may go on when the service is told to stop.")
    ] = 30


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model provider.

    The table's name is the first part of the path: `http://HOST:PORT/<name>/...`, and the provider's name in the
    record.
    """

    base_url: Annotated[
        str,
        Meta(
            description=(
                "Where calls go, `https://HOST[:PORT][/PATH]`; the client's path is appended. `http` is for a "
                "server of your own."
            )
        ),
    ]
    ca_file: Annotated[
        str | None,
        Meta(
            description=(
                "Certificates (PEM) to trust for this upstream instead of the system's; a path relative to "
                "the configuration file, or absolute."
            )
        ),
    ] = None
    connect_timeout_s: Annotated[
        _Seconds, Meta(description="How long name, connection and TLS together may take; then the call is `not_sent`.")
    ] = 10


Masking = Literal["structured", "full"]  # what text of a project must have passed before anybody reads it


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log of its own, with its own keys.

    Calls to `/p/<name>/<upstream>/...` belong to it; all others belong to `default`.
    """

    description: Annotated[
        str, Meta(max_length=200, description="For people; shown by `affidavit status`, recorded nowhere.")
    ] = ""
    masking: Annotated[
        Masking,
        Meta(
            description=(
                "What text must have passed before it can be searched or read. `structured`: cards, accounts, numbers, "
                "addresses and secrets are replaced; names of people and other free-text identifiers are not found by "
                "that. `full` asks for those, too, which this version cannot do: text stays `mask_pending`."
            )
        ),
    ] = "structured"
    audit: Annotated[AuditMode | None, Meta(description="The same as `gateway.audit`, for this project alone.")] = None


class Names(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names that may stand in header blocks, where they outlive the erasure of content.

    Any other name that a client sends is recorded as `unregistered` there, and its text goes to the erasable body.
    """

    apps: Annotated[RegisteredNames, Meta(description="Values of `x-affidavit-app`.")] = ()
    teams: Annotated[RegisteredNames, Meta(description="Values of `x-affidavit-team`.")] = ()
    environment: Annotated[
        RegisteredName | None, Meta(description="Environment of this installation, recorded with each of its calls.")
    ] = None
    environments: Annotated[RegisteredNames, Meta(description="Further environments that may be named.")] = ()
    models: Annotated[
        RegisteredNames, Meta(description="Names of models, in addition to those of the price table.")
    ] = ()


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names and heads of the transparency logs."""

    origin_prefix: Annotated[
        OriginPrefix | None,
        Meta(
            description=(
                "Beginning of the origin of logs that are created from now on: a domain of yours, and a path if "
                "you like; `/<log>` is appended. Without it an origin begins with 128 random bits. An origin is "
                "fixed when its log is created."
            )
        ),
    ] = None
    every_head_kept_h: Annotated[
        int,
        Meta(
            ge=1,
            le=87_600,
            description=(
                "How many hours every signed head is kept; after that the last one of each minute stays, and "
                "each that closes an epoch."
            ),
        ),
    ] = 24
    yearly_shards: Annotated[
        bool,
        Meta(
            description=(
                "Whether the first clean start of a year (UTC) ends the shard of the years before and begins a new "
                "one. `affidavit log shard` does it at any time."
            )
        ),
    ] = True


PUBLIC_UPSTREAMS: Final[Mapping[str, Upstream]] = {
    "openai": Upstream(base_url="https://api.openai.com"),
    "anthropic": Upstream(base_url="https://api.anthropic.com"),
}
"""There without being declared; declaring one of them replaces it, declaring another adds it."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration."""

    gateway: Gateway = Gateway()
    upstreams: dict[str, Upstream] = msgspec.field(default_factory=lambda: dict(PUBLIC_UPSTREAMS))
    projects: dict[str, Project] = msgspec.field(default_factory=lambda: {DEFAULT_PROJECT: Project()})
    names: Names = Names()
    log: Log = Log()
    api: Api = Api()
    capture: Capture = Capture()
    timestamps: Timestamps = Timestamps()
    signer: Signer = Signer()
    anchor: Anchor = Anchor()
    witnesses: dict[str, Witness] = msgspec.field(default_factory=dict)

    @property
    def api_address(self) -> Address:
        """Where the door for readers listens."""
        if self.api.listen is not None:
            return parse_listen(self.api.listen)
        gateway = parse_listen(self.gateway.listen)
        return Address("127.0.0.1", gateway.port + 1 if 0 < gateway.port < PORT_MAX else 0)

    @property
    def counted_projects(self) -> frozenset[str]:
        """Projects whose calls may go out counted only."""
        return frozenset(name for name, one in self.projects.items() if (one.audit or self.gateway.audit) == "mark")

    @property
    def logs(self) -> tuple[str, ...]:
        """All logs in the order that write-ahead files use: the system log, then the projects as configured."""
        return ("system", *self.projects)


class LoadedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration and where it came from."""

    config: Config
    path: Path | None
    """The file, or ``None`` where there is none and the defaults hold."""
    text: bytes | None
    """Its bytes as they were read, so that every process works with the same ones."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the file as read (b64u), as a `config.change` leaf states it."""
        return None if self.text is None else b64u(sha256(self.text).digest())

    def beside(self, file: str) -> Path:
        """A path that the configuration names: a relative one is relative to the configuration's own file."""
        return Path(file) if self.path is None else self.path.absolute().parent / file


class Address(msgspec.Struct, frozen=True):
    """Where a door listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it.

        A name other than `localhost` may mean anything tomorrow, so it does not count.
        """
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting, as documentation shows it."""

    name: str
    """Dotted, with `<name>` where a table is named by the operator."""
    kind: str
    default: str
    """As it would stand in the file; empty where a value must be given."""
    text: str


# --- reading ----------------------------------------------------------------------------------------------------------


def load_config(path: Path | None) -> LoadedConfig:
    """Read and check a file; ``None`` means that there is none and the defaults hold.

    Raises:
        ConfigError: Not readable, not TOML, an unknown key, or a value that cannot be; the message says where and what
        to do.
    """
    if path is None:
        return LoadedConfig(config=parse_config(b"", name=CONFIG_NAME), path=None, text=None)
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read ({error.strerror}); nothing was started") from error
    loaded = LoadedConfig(config=parse_config(text, name=str(path)), path=path, text=text)
    files = {f"upstreams.{name}.ca_file": upstream.ca_file for name, upstream in loaded.config.upstreams.items()}
    for setting, named in (files | {"timestamps.certificates": loaded.config.timestamps.certificates}).items():
        if named is not None and not loaded.beside(named).is_file():
            raise ConfigError(f"{path}: {setting}: there is no file {loaded.beside(named)}. Nothing was started")
    return loaded


def parse_config(text: bytes, *, name: str) -> Config:
    """Configuration from the bytes of a file; `name` is how messages call it."""
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(
            f"{name} is larger than {CONFIG_BYTES_MAX} bytes, so it is not our configuration; nothing was started"
        )
    try:
        document = tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 (byte {error.start}); nothing was started") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}; nothing was started") from error
    _refuse_unknown(document, _struct_type(Config), path="", name=name)
    try:
        config = msgspec.convert(document, Config, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(error, name=name)) from error
    upstreams = {**PUBLIC_UPSTREAMS, **config.upstreams}
    projects = {DEFAULT_PROJECT: Project(), **config.projects}
    config = msgspec.structs.replace(config, upstreams=upstreams, projects=projects)
    _require_consistent(config, name=name)
    return config


def parse_listen(text: str) -> Address:
    """Address from ``HOST:PORT``.

    Raises:
        ConfigError: Not of that form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if (
        not colon
        or not plain
        or (":" in plain) != bracketed
        or not port.isascii()
        or not port.isdigit()
        or int(port) > PORT_MAX
    ):
        raise ConfigError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:8321 or [::1]:8321")
    return Address(plain, int(port))


# --- documentation ----------------------------------------------------------------------------------------------------


def settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the file."""
    return tuple(_settings_of(_struct_type(Config), path=""))


def tables() -> dict[str, str]:
    """What each table is about, by its dotted name."""
    about: dict[str, str] = {}
    for field in _struct_type(Config).fields:
        inner = _bare(field.type)
        named = isinstance(inner, DictType)
        struct = _bare(inner.value_type) if isinstance(inner, DictType) else inner
        if isinstance(struct, StructType):
            about[f"{field.encode_name}.<name>" if named else field.encode_name] = struct.cls.__doc__ or ""
    return about


def _settings_of(struct: StructType, *, path: str) -> Iterator[Setting]:
    for field in struct.fields:
        name = f"{path}{field.encode_name}"
        inner = _bare(field.type)
        if isinstance(inner, StructType):
            yield from _settings_of(inner, path=f"{name}.")
        elif isinstance(inner, DictType) and isinstance(value := _bare(inner.value_type), StructType):
            yield from _settings_of(value, path=f"{name}.<name>.")
        else:
            yield Setting(name=name, kind=_kind(field.type), default=_default(field), text=_description(field.type))


def _struct_type(cls: type[msgspec.Struct]) -> StructType:
    info = type_info(cls)
    if not isinstance(info, StructType):  # pragma: no cover - a struct's type is one
        raise TypeError(cls)
    return info


def _bare(kind: Type) -> Type:
    return kind.type if isinstance(kind, Metadata) else kind


def _description(kind: Type) -> str:
    extra = kind.extra_json_schema if isinstance(kind, Metadata) else None
    return str((extra or {}).get("description", ""))


def _kind(kind: Type) -> str:
    kind = _bare(kind)
    if isinstance(kind, LiteralType):
        return " or ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, CustomType):  # pragma: no cover - no setting has one
        return kind.cls.__name__
    names = {
        "BoolType": "true or false",
        "IntType": "integer",
        "StrType": "string",
        "VarTupleType": "array of strings",
        "UnionType": "string",
    }
    word = names[type(kind).__name__]
    low, high = getattr(kind, "ge", None), getattr(kind, "le", None)
    return f"{word}, {low} to {high}" if low is not None and high is not None else word


def _default(field: Field) -> str:
    if field.default is msgspec.NODEFAULT:
        return ""
    if field.default is None:
        return "none"
    return msgspec.json.encode(field.default).decode()


# --- refusing ---------------------------------------------------------------------------------------------------------


def _refuse_unknown(table: Mapping[str, Any], struct: StructType, *, path: str, name: str) -> None:
    """Walk document and types side by side, so that the message can name the key, its table and what was meant."""
    fields = {field.encode_name: _bare(field.type) for field in struct.fields}
    for key, value in table.items():
        kind = fields.get(key)
        if kind is None:
            where = f"[{path.rstrip('.')}]" if path else "the top of the file"
            raise ConfigError(
                f"{name}: {where} has no setting {key!r}{_meant(key, known=tuple(fields), path=path)} Nothing was "
                "started; "
                "`affidavit config explain` lists every setting"
            )
        if isinstance(kind, StructType) and isinstance(value, dict):
            _refuse_unknown(value, kind, path=f"{path}{key}.", name=name)
        elif isinstance(kind, DictType) and isinstance(value, dict):
            inner = _bare(kind.value_type)
            for entry, members in value.items():
                if re.match(_LOG_NAME, entry) is None:
                    raise ConfigError(
                        f"{name}: [{path}{key}] cannot have the name {entry!r}: at most 63 lower-case letters, digits "
                        "and hyphens, "
                        "not beginning with a hyphen. Nothing was started"
                    )
                if isinstance(inner, StructType) and isinstance(members, dict):
                    _refuse_unknown(members, inner, path=f"{path}{key}.{entry}.", name=name)


def _meant(key: str, *, known: tuple[str, ...], path: str) -> str:
    near = difflib.get_close_matches(key, known, n=2)
    if near:
        return f"; did you mean {' or '.join(repr(path + match) for match in near)}?"
    elsewhere = {setting.name.rsplit(".", 1)[-1]: setting.name for setting in reversed(settings())}
    near = difflib.get_close_matches(key, elsewhere, n=1)
    return f"; did you mean {elsewhere[near[0]]!r}?" if near else f"; it has {', '.join(known)}."


def _explain(error: msgspec.ValidationError, *, name: str) -> str:
    """Msgspec's sentence in ours: the place first, in the file's own words."""
    what, _, place = str(error).partition(" - at ")
    dotted = place.strip("`").removeprefix("$").removeprefix(".").replace("[...]", ".<name>").lstrip(".")
    text = {setting.name: setting.text for setting in settings()}.get(dotted, "")
    reason = what.replace("`", "")
    if "matching regex" in reason:  # a pattern is no sentence
        reason = "not a name that can stand here: too long, empty, or with characters that it may not have"
    return (
        f"{name}: {dotted or 'the document'}: {reason[:1].lower()}{reason[1:]}.{' ' + text if text else ''} Nothing "
        "was started"
    )


def _require_consistent(config: Config, *, name: str) -> None:
    """What no single type can say."""
    try:
        address = parse_listen(config.gateway.listen)
    except ConfigError as error:
        raise ConfigError(f"{name}: gateway.listen: {error}. Nothing was started") from error
    if not address.is_loopback and not config.gateway.exposed:
        raise ConfigError(
            f"{name}: gateway.listen = {config.gateway.listen!r} is not loopback, so others could reach the gateway. "
            "If you mean it, set `exposed = true` "
            "in [gateway]; otherwise listen on 127.0.0.1. Nothing was started"
        )
    try:
        is_near = config.api_address.is_loopback
    except ConfigError as error:
        raise ConfigError(f"{name}: api.listen: {error}. Nothing was started") from error
    if not is_near:
        raise ConfigError(f"{name}: api.listen is not loopback, and there is no login yet. Nothing was started")
    for upstream, value in config.upstreams.items():
        if upstream in RESERVED_UPSTREAMS:
            raise ConfigError(
                f"{name}: an upstream cannot be called {upstream!r}, since that part of the path chooses the project. "
                "Nothing was started"
            )
        _require_base_url(value.base_url, where=f"{name}: upstreams.{upstream}.base_url")
    config.timestamps.require_consistent(name)
    config.signer.require_consistent(name)
    for project in config.projects:
        if project in RESERVED_PROJECTS:
            raise ConfigError(
                f"{name}: a project cannot be called {project!r}, since the installation's own log is. Nothing was "
                "started"
            )


def _require_base_url(url: str, *, where: str) -> None:
    """The message never repeats the URL: somebody may have put a password into it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character <= " " for character in url):
        raise ConfigError(f"{where} is not an address of the form https://HOST[:PORT][/PATH]. Nothing was started")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} carries a user, a query or a fragment; clients bring their own credentials. Nothing was started"
        )
