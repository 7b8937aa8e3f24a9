"""Where the tour's ledger lies, and the configuration it runs with, which is kept outside of both directories.

Promise: a ledger of the user's own is used only if `AFFIDAVIT_DATA` names one. Its configuration stays in force but for
the door (a free port of loopback), the providers (the simulator and nothing else) and the tour's own names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from affidavit.config import Config, Gateway, Upstream, load_config
from affidavit.demo.scenario import APPS, REGISTERED_MODELS, TEAMS
from affidavit.ledger.places import CONFIG_VARIABLE, DATA_VARIABLE, KEYS_VARIABLE, find_config, find_places
from affidavit.settings.witnesses import Witness

WITNESS_NAME: Final = "tour"

Mode = Literal["once", "stay"]
"""Leave at the end, or keep gateway and provider up if there is a terminal."""
Form = Literal["text", "json"]

DATA_NAME: Final = "affidavit-demo"
KEYS_NAME: Final = "affidavit/demo"
"""Below `affidavit`, where keys are looked for, so that naming the data directory is enough to find them."""


def tour_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with a directory of the tour's own where none is named."""
    if environment.get(DATA_VARIABLE):
        return dict(environment)
    keys = environment.get(KEYS_VARIABLE) or str(_base(environment, "XDG_STATE_HOME", ".local/state") / KEYS_NAME)
    data = str(_base(environment, "XDG_DATA_HOME", ".local/share") / DATA_NAME)
    return {**environment, DATA_VARIABLE: data, KEYS_VARIABLE: keys}


def with_config(
    environment: Mapping[str, str], *, provider_url: str, path: Path, witness: Witness | None = None
) -> dict[str, str]:
    """The environment with a configuration, written to `path`, whose providers are at `provider_url`.

    Heads are shown to `witness` and to nobody else.

    Raises:
        ConfigError: The user's own configuration cannot be read; nothing was started.
    """
    own = load_config(find_config(environment, find_places(environment))).config
    path.write_text(format_config(simulated(own, provider_url=provider_url, witness=witness)))
    return {**environment, CONFIG_VARIABLE: str(path)}


def simulated(own: Config, *, provider_url: str, witness: Witness | None = None) -> Config:
    """A configuration that differs from `own` in where calls come from and go to, and in who sees heads."""
    names = msgspec.structs.replace(
        own.names,
        apps=_with(own.names.apps, *APPS),
        teams=_with(own.names.teams, *TEAMS),
        models=_with(own.names.models, *REGISTERED_MODELS),
    )
    gateway = msgspec.structs.replace(own.gateway, listen="127.0.0.1:0", exposed=Gateway().exposed)
    upstreams = {name: Upstream(base_url=provider_url) for name in ("openai", "anthropic")}
    witnesses = {} if witness is None else {WITNESS_NAME: witness}
    return msgspec.structs.replace(own, gateway=gateway, upstreams=upstreams, names=names, witnesses=witnesses)


def format_config(config: Config) -> str:
    """The text of a configuration file that says the same."""
    return "\n".join(_lines(msgspec.to_builtins(config), table=""))


def _lines(values: Mapping[str, object], *, table: str) -> Iterator[str]:
    for name, value in values.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{name} = {json.dumps(value)}"  # for text, numbers, truth and lists of text TOML is written alike
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = f"{table}.{name}" if table else name
            yield f"[{inner}]"
            yield from _lines(value, table=inner)


def _with(names: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return (*names, *(name for name in more if name not in names))


def _base(environment: Mapping[str, str], variable: str, below_home: str) -> Path:
    named = environment.get(variable, "")
    if named.startswith("/"):  # a relative one is to be ignored, says the XDG specification
        return Path(named)
    return Path(environment.get("HOME") or str(Path.home())) / below_home
