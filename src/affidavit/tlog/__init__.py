"""Transparency logs as C2SP describes them: pure functions over bytes, without clock, files, network or chance.

From the bottom: `merkle` (RFC 6962 hashing and proofs), `entry` (entry bundles), `tile` (tile paths and reading),
`edge` (growing a log), `note` (signed notes and verifier keys), `checkpoint`, `cosignature` (timestamped signatures
and signed heads), `policy` (who must have signed) and `proof` (one entry, proved to a stranger).
Pinned: C2SP at commit 5ba5ee8.
"""
