"""The ways in: every door here makes a record durable before it lets anything pass."""
