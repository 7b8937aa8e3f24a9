"""What a child is told when its turn comes: one JSON object on its standard input.

Promise: every process of one start works with the same bytes of configuration, even if the file is edited meanwhile;
nothing secret is in an argument list or an environment variable.

Children are started together, so that they load their modules at the same time, and wait here until it is their turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from affidavit.config import LoadedConfig, parse_config
from affidavit.errors import FormatError
from affidavit.ledger.places import Places

LogForm = Literal["text", "json"]
LogLevel = Literal["info", "warning"]


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """All that a child knows."""

    role: str
    data: str
    keys: str
    config_path: str | None
    config_text: bytes | None
    installation: str
    """Id of the installation."""
    lifeline_fd: int
    report_fd: int
    listen_fd: int | None = None
    """Listening socket of a worker, or of the door for readers."""
    log_form: LogForm = "text"
    log_level: LogLevel = "info"

    @property
    def places(self) -> Places:
        """The two directories."""
        return Places(data=Path(self.data), keys=Path(self.keys))

    def load_config(self) -> LoadedConfig:
        """The configuration as the supervisor read it."""
        path = None if self.config_path is None else Path(self.config_path)
        config = parse_config(self.config_text or b"", name=str(path))
        return LoadedConfig(config=config, path=path, text=self.config_text)


def format_assignment(assignment: Assignment) -> bytes:
    """Bytes for the child's standard input."""
    return msgspec.json.encode(assignment)


def parse_assignment(data: bytes) -> Assignment:
    """The reverse of `format_assignment`; raises `FormatError`."""
    try:
        return msgspec.json.decode(data, type=Assignment)
    except msgspec.MsgspecError as error:
        raise FormatError(
            "a process of ours was started with words that it does not understand; use `affidavit up`"
        ) from error
