"""Verdicts and proofs: what the bytes on disk do show, and what they do not."""
