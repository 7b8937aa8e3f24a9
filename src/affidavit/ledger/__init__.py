"""Durable bytes, from the write-ahead log to the signed head; this room never parses an event."""
