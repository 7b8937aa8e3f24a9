"""Old name of `affidavit.serve.running`, until its last user has moved."""

from affidavit.serve.running import News, role_command, run_service

__all__ = ["News", "role_command", "run_service"]
