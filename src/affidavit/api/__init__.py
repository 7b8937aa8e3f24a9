"""The reading door: every answer it gives was recorded, durably, before it was given.

The way of a reading: `client` (whoever asks) → `process` (socket, peer's uid) → `reading` (which leaves, from public
data) → `recorder` (the access event, durable) → the sealer, who reads that event himself and opens exactly what it
names → `row` (flat names) → `client`.
"""
