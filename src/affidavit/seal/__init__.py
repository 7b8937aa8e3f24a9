"""The pipeline from a raw record to a committed, encrypted leaf, and the one place that opens a body again."""
