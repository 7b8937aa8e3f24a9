"""Benchmarks: one file each; `affidavit bench NAME` runs one from a checkout."""
