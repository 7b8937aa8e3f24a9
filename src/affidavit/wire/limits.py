"""Bounds of the wire readers, each with its unit and its reason.

Promise: whatever a client or a provider sends, reading it costs memory and time in proportion to its size, and no more
than these bounds allow. What lies beyond a bound is still in the record byte for byte; only its meaning is not read
out.
"""

from typing import Final

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a body, before and after its content encoding is undone; above it the body is ``unparsed``.

Long-context chats with images stay below 32 MiB at the providers known today; twice that leaves room, and a compression
bomb is cut here.
"""

INFLATE_SLICE_BYTES: Final = 64 * 1024
"""Compressed bytes handed to zlib at a time, so that what came out before a damaged byte is kept."""

GZIP_MEMBERS_MAX: Final = 256
"""Members of one gzip body. Each costs a copy of what follows it; real senders write one."""

EVENTS_MAX: Final = 500_000
"""Events read from one stream. The longest answers are some 200,000 tokens and providers send at most one event a
token."""

CHOICES_MAX: Final = 256
"""Choices of one reply (OpenAI allows n = 128)."""

TOOL_CALLS_MAX: Final = 1_024
"""Tool calls of one choice; models make a few dozen at most."""

BLOCKS_MAX: Final = 16_384
"""Content blocks of one Anthropic reply, server tool results included."""

INDEX_MAX: Final = 1_000_000
"""Largest ``index`` that a choice, tool call or block may carry. Indices are keys of a mapping, never lengths of a
list, so a sparse index costs nothing; this only keeps absurd ones out of the record."""

IDENTIFIER_CHARS_MAX: Final = 256
"""Characters of a model name, provider id, fingerprint, tier, region, finish reason or error code."""

USER_HINT_CHARS_MAX: Final = 1_024
"""Characters of the user that a client names. Providers allow 128 and 256; some tools put a JSON object there."""

HINT_CHARS_MAX: Final = 512
"""Characters of one conversation hint."""

ERROR_MESSAGE_CHARS_MAX: Final = 65_536
"""Characters of a provider's error message; a longer one is an echo of the request."""

SHARED_CANDIDATES_MAX: Final = 4_096
"""Spans offered for sharing within an app. Providers allow 128 tools; several thousand covers any real request."""

NESTING_MAX: Final = 96
"""Depth of a JSON value that is rewritten in canonical form. Tool schemas stay below 20."""

INTEGER_MAX: Final = 2**53 - 1
"""Largest integer that canonical JSON (RFC 8785) can carry exactly; larger ones are kept as strings."""

HELD_BYTES_MAX: Final = 4_096
"""Bytes of an undecided event that the tail holds back. The longest honest beginning that is still undecided is an
event line and an id line, below 200 bytes; above this bound the event counts as an ordinary one, so that a hostile
stream cannot make the gateway buffer it."""
