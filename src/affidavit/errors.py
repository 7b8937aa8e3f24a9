"""Every error that a caller of affidavit can act on, drawn as a tree.

::

    AffidavitError
    ├── FormatError           bytes are not what docs/formats.md says
    │   └── CorruptionError   bytes that were once right are damaged
    ├── ConfigError           a setting is wrong or unknown; nothing was started
    ├── LayoutError           the two directories, their owners or their locks are not as they must be
    ├── NotDurableError       a record could not be made durable; the call was not sent
    ├── SealingError          the sealer cannot go on; records stay safe in the write-ahead log
    ├── SignerRefusedError    the signer will not sign this head
    ├── KeyMissingError       a key is gone (destroyed, or never here)
    ├── AccessRefusedError    a reading without a durable, fresh, matching access event
    ├── NotFoundError         no such record
    ├── TimestampError        no timestamp: the authority does not answer, or its answer does not hold
    ├── QueryError            a question to the search index that cannot be read, or may not be asked
    └── ServiceError          a process of ours does not answer

A message says what happened, what was *not* lost and what to do next. It never carries content, credentials or keys.
"""

from __future__ import annotations


class AffidavitError(Exception):
    """Base of all errors raised on purpose by affidavit."""


class FormatError(AffidavitError):
    """Bytes that are not what the format says; nothing of them may be believed."""


class CorruptionError(FormatError):
    """Bytes that were durable once and have changed since."""


class ConfigError(AffidavitError):
    """A setting is wrong or unknown; nothing was started."""


class LayoutError(AffidavitError):
    """The data or key directory is not in a state in which it may be used."""


class NotDurableError(AffidavitError):
    """A record could not be made durable; what depended on it did not happen."""


class SealingError(AffidavitError):
    """The sealer cannot go on; unsealed records stay in the write-ahead log."""


class SignerRefusedError(AffidavitError):
    """The signer will not sign this head, since it does not extend the last one that it signed."""


class KeyMissingError(AffidavitError):
    """A key is not in the ring: destroyed on purpose, or this is the wrong ring."""


class AccessRefusedError(AffidavitError):
    """A record is opened only for a durable, fresh and matching access event."""


class PruneRefusedError(AffidavitError):
    """Entries may not be taken away: policy, a hold, or the log itself forbids it; nothing was removed."""


class NotFoundError(AffidavitError):
    """No record has this id."""


class QueryError(AffidavitError):
    """A question to the search index that cannot be read, or that this reader may not ask; nothing was looked up."""


class TimestampError(AffidavitError):
    """A timestamp authority does not answer, or with something that proves nothing; nothing was kept of it."""


class ServiceError(AffidavitError):
    """A process of this installation does not answer."""
