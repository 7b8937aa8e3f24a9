"""A gateway of today beside ours: LiteLLM's proxy, as many workers, no log, no database, in an environment of its own.

    python3 -m venv DIRECTORY && DIRECTORY/bin/pip install 'litellm[proxy]==1.104.0'
    affidavit bench gateway --litellm DIRECTORY/bin/litellm

It is no gate: it shows what people run today, on the same machine and under the same load.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S_MAX = 120
CONFIG = """model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_base: "http://127.0.0.1:%d/v1", api_key: sk-bench}
"""


@contextmanager
def litellm(program: Path, *, directory: Path, upstream: int, workers: int) -> Iterator[int]:
    """LiteLLM's proxy in front of the upstream; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "litellm.yaml"
    config.write_text(CONFIG % upstream)
    with (directory / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", str(workers)],
            env={
                **os.environ,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                # 1.104.0 does not start without one of the two; nothing but this bench reaches it.
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(process, port, directory / "litellm.log")
        yield port
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + START_S_MAX
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                sys.exit(f"LiteLLM did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.5)
