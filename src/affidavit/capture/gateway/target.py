"""Which project and provider a request target names, and what of it the provider gets.

Promise: functions over bytes. What is left of the path after the provider's prefix goes on byte for byte, and a target
never leaves the path that the provider's base URL names.

    /openai/v1/chat/completions          → project default, provider openai, /v1/chat/completions
    /p/research/openai/v1/models?a=b     → project research, provider openai, /v1/models?a=b
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from affidavit.capture.gateway.refusal import Reason, Refused

DEFAULT_PROJECT: Final = "default"
TARGETS_MAX: Final = 1024
"""Targets remembered: a few endpoints make nearly all calls. Only targets without a query are, since a query may hold a
credential."""
REMEMBERED_BYTES_MAX: Final = 512
"""Longest target that is remembered."""
_ABSOLUTE = re.compile(rb"\Ahttps?://([^/?#]*)(/[^\x00-\x20]*)\Z", re.IGNORECASE)
_DOTS = re.compile(rb"(?:\A|[/\\])(?:\.|%2[eE]){1,2}(?=[/\\?#;]|\Z)")
_CREDENTIAL_PARAMETERS: Final = frozenset(
    {
        b"key",
        b"api_key",
        b"api-key",
        b"apikey",
        b"access_token",
        b"access-token",
        b"auth_token",
        b"subscription-key",
        b"token",
    }
)
"""`key` is the public providers'; the others are what gateways and self-hosted servers use."""
_HIDDEN: Final = "…"


class Target(NamedTuple):
    """A request target taken apart."""

    project: str
    provider: str
    rest: bytes
    """Path and query below the provider's prefix, as received: begins with ``/``."""
    path: str
    """The path of `rest`."""
    shown: str
    """`rest` with the values of credential parameters hidden: what may be written down."""
    credentials: tuple[tuple[str, bytes], ...]
    """Names and values of those parameters."""


class Prefixes:
    """The configured names. Built once; `find` is on the hot path."""

    __slots__ = ("_projects", "_providers", "_remembered", "_routes")

    def __init__(self, *, projects: tuple[str, ...], providers: tuple[str, ...]) -> None:
        self._projects = projects
        self._providers = providers
        self._remembered: dict[bytes, Target] = {}
        self._routes: dict[bytes, tuple[str, str]] = {}
        for provider in providers:
            self._routes[b"/" + provider.encode()] = (DEFAULT_PROJECT, provider)
            for project in projects:
                self._routes[f"/p/{project}/{provider}".encode()] = (project, provider)

    def find(self, url: bytes) -> Target:
        """Take a request target apart; raises `Refused`."""
        target = self._remembered.get(url)
        if target is None:
            target = self._read(url)
            if b"?" not in url and len(url) <= REMEMBERED_BYTES_MAX:
                if len(self._remembered) >= TARGETS_MAX:
                    self._remembered.clear()
                self._remembered[url] = target
        return target

    def _read(self, url: bytes) -> Target:
        if not url.startswith(b"/"):
            url = _from_absolute(url)
        path, mark, query = url.partition(b"?")
        if _DOTS.search(path):
            raise Refused(Reason.BAD_TARGET)
        parts = path.split(b"/", 4)
        prefix = b"/".join(parts[:4]) if parts[1] == b"p" else b"/" + parts[1]
        route = self._routes.get(prefix)
        if route is None:
            raise self._unknown(parts)
        project, provider = route
        path = path[len(prefix) :] or b"/"
        text = path.decode("latin-1")
        shown, credentials = _show(query)
        return Target(project, provider, path + mark + query, text, f"{text}?{shown}" if mark else text, credentials)

    def _unknown(self, parts: list[bytes]) -> Refused:
        if parts[1] == b"p" and len(parts) > 3 and parts[2].decode("latin-1") not in self._projects:  # noqa: PLR2004 - /p/PROJECT/PROVIDER
            return Refused(Reason.UNKNOWN_PROJECT, detail=f"Configured: {', '.join(self._projects)}.")
        return Refused(
            Reason.UNKNOWN_PROVIDER, detail=f"Configured: {', '.join(f'/{name}/' for name in self._providers)}."
        )


def join(base_path: bytes, rest: bytes) -> bytes:
    """The target for the provider; a ``/v1`` that both sides have is written once."""
    if base_path.endswith(b"/v1") and (rest.startswith((b"/v1/", b"/v1?")) or rest == b"/v1"):
        return base_path + rest[3:]
    return base_path + rest


def _show(query: bytes) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """A query with its credentials hidden, and they apart."""
    credentials = []
    shown = []
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        plain = unquote_to_bytes(name.replace(b"+", b" ")).strip().lower()
        if plain in _CREDENTIAL_PARAMETERS:
            credentials.append((plain.decode("ascii"), unquote_to_bytes(value)))
            shown.append(f"{name.decode('latin-1')}={_HIDDEN}")
        else:
            shown.append(parameter.decode("latin-1"))
    return "&".join(shown), tuple(credentials)


def _from_absolute(url: bytes) -> bytes:
    match = _ABSOLUTE.match(url)
    if match is None or b"@" in match[1]:
        raise Refused(Reason.BAD_TARGET)
    return match[2]
