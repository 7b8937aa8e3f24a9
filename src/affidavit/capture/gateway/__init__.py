"""The relay between a client and its model provider: bytes go through unchanged, recorded before they leave."""
