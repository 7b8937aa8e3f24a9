"""What several tests share: a whole installation in one process, and calls to put into it."""
