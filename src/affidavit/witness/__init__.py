"""Witnesses, both ends: somebody else who remembers the heads of a log, and the log that shows them.

`store` and `witness` are the witness itself, `server` its door; `anchor` is the process of our service that shows our
heads to the configured witnesses and keeps what they answer; `client` speaks to one of them; `light` is for whoever
uses a log and remembers its last head. All of it belongs to the light part: a witness runs on a machine that has
nothing of the server. Protocol: C2SP tlog-witness.
"""
