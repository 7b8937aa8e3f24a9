"""Exit codes, and which error leads to which: one table, printed in the documentation."""

from __future__ import annotations

from typing import Final

from affidavit.errors import (
    AccessRefusedError,
    AffidavitError,
    ConfigError,
    KeyMissingError,
    LayoutError,
    NotDurableError,
    NotFoundError,
    QueryError,
    ServiceError,
)

OK: Final = 0
FINDING: Final = 1
USAGE: Final = 2
ANCHOR: Final = 3
SERVICE: Final = 4
NOT_FOUND: Final = 5
LAYOUT: Final = 6
REFUSED: Final = 7
INTERRUPTED: Final = 130

EXIT_CODES: Final[dict[int, str]] = {
    OK: "done; for `verify`: integrity is OK and nothing is FAIL",
    FINDING: "a check found something, or the command could not be carried out and no other code says why",
    USAGE: "the command line, a query or the configuration is wrong; nothing was started or looked up",
    ANCHOR: "`verify --require-anchor`: the anchor is not OK",
    SERVICE: "the service, or one of its processes, does not answer",
    NOT_FOUND: "no sealed record has this id, or its key was destroyed",
    LAYOUT: "the data or key directory may not be used as it is: permissions, place, lock, or a copy",
    REFUSED: "the reading was refused: it could not be recorded, or went beyond what was recorded",
    INTERRUPTED: "interrupted by Ctrl-C",
}
"""Every exit code and what it means."""

_BY_ERROR: Final[tuple[tuple[type[AffidavitError], int], ...]] = (
    (ConfigError, USAGE),
    (QueryError, USAGE),
    (ServiceError, SERVICE),
    (NotFoundError, NOT_FOUND),
    (KeyMissingError, NOT_FOUND),
    (LayoutError, LAYOUT),
    (NotDurableError, REFUSED),
    (AccessRefusedError, REFUSED),
)


def exit_code_of(error: AffidavitError) -> int:
    """The code for an error; `FINDING` where none of its own is known."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), FINDING)
