"""Keys, commitments and authenticated encryption: the only room that touches secret bytes."""
