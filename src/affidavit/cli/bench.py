"""`affidavit bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from affidavit.cli.exit_codes import USAGE
from affidavit.cli.present import remark


def bench(
    name: Annotated[str, Parameter(help="Which one: a file of the checkout's bench/ directory, without `.py`.")],
    *arguments: Annotated[str, Parameter(help="Passed on to it.", allow_leading_hyphen=True)],
) -> int:
    """Run a benchmark. It needs a checkout, since benchmarks are not part of the package.

    ```
    affidavit bench verify
    affidavit bench gateway --json
    ```

    Each works in a fresh directory of its own, never in yours, and prints processor, file system and disk beside its
    figure.
    """
    directory = Path(__file__).resolve().parents[3] / "bench"
    found = sorted(path.stem for path in directory.glob("[a-z]*.py"))
    if name not in found:
        there = (
            f"there are: {', '.join(found)}"
            if found
            else "benchmarks need a checkout of the repository, and this is an installed package"
        )
        remark(f"affidavit: no benchmark is called {name!r}; {there}")
        return USAGE
    return subprocess.run([sys.executable, str(directory / f"{name}.py"), *arguments], check=False).returncode
