"""The door of the guided tour: it looks whether everything that the tour sends with is installed.

Promise: nothing of the server and none of the providers' packages is loaded before that, so that a light installation
says in one sentence what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from affidavit.demo.settings import Form, Mode
from affidavit.errors import ConfigError

PACKAGES: Final = ("httptools", "uvloop", "zstandard", "genai_prices", "openai", "anthropic")
"""What the extra `demo` brings."""


def run_tour(*, environment: Mapping[str, str], mode: Mode, form: Form) -> int:
    """Take the tour; returns the exit code.

    Raises:
        ConfigError: A package is missing; nothing was started.
        AffidavitError: Something could not be done; what was recorded is not lost.
    """
    require_packages()
    from affidavit.demo.chapters import take_tour

    return take_tour(environment=environment, mode=mode, form=form)


def require_packages() -> None:
    """Whether everything is there; raises `ConfigError` with what to do."""
    missing = [name.replace("_", "-") for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the tour runs the gateway and sends with the providers' own clients, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed. Install the extra that brings everything: "
            "pip install 'affidavit[demo]'. Nothing was started"
        )
