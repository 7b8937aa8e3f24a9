"""Personal data and secrets in text, found by form and context, and replaced by keyed placeholders.

Promise: text leaves this room without what the policy finds, or not at all: when the scanner fails, `MaskSilentError`
is raised and never "nothing found". Functions over values: no clock, no files, no network, no chance; the project's key
is handed in.

From the bottom: `checksum` (arithmetic), `patterns` (every pattern), `finding` (what a search gives, and which of two
holds), `scanner` (one pass, with a canary), `placeholder` (marks, and text that looks like one), `numbers`, `context`,
`credentials` (the searches), `view` (texts inside texts), `search` (all findings of a text), `masker` (the door).

What it is not: names, places and free descriptions of a person are not found here, nor a value that is written in
words, split over several strings, or encoded in a way that `view` does not know.
"""

from affidavit.mask.finding import TYPES
from affidavit.mask.masker import POLICY_VERSION, Masked, MaskedJson, Masker, policy_digest
from affidavit.mask.scanner import MaskSilentError

__all__ = ["POLICY_VERSION", "TYPES", "MaskSilentError", "Masked", "MaskedJson", "Masker", "policy_digest"]
