"""A whole service of fake roles: says `ready ADDRESS`, then `clean` or `unclean`, or what kept it from starting."""

import os
import sys
from pathlib import Path

from affidavit.errors import AffidavitError
from affidavit.serve import supervisor
from affidavit.serve.running import run_service


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    supervisor.STOP_S_MAX.update(signer=2.0, sealer=2.0, api=2.0)
    try:
        clean = run_service(
            environment=os.environ,
            purpose="service",
            log_form="text",
            leased=lambda _: None,
            ready=lambda news: say(f"ready {news.gateway}"),
            command=lambda role: (sys.executable, str(Path(__file__).with_name("fake_role.py")), role),
        )
    except AffidavitError as error:
        say(f"{type(error).__name__} {error}")
        return 1
    say("clean" if clean else "unclean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
