"""How the golden ledger was made: once, by a whole service of the version that wrote its format first.

    python -m tests.golden.make tests/golden/vN

A directory that exists is never made again: its bytes are the promise. A later format gets a directory of its own.
What lies in it is told in README.md; what tests expect of it is written beside it, as the clients saw it then.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from affidavit import __version__
from affidavit.ledger.layout import DataLayout
from affidavit.ledger.reader import head_size
from affidavit.prove.verify import verify_directory
from tests.support.running import Provider, Service, clean_environment, wait_until

LOG, OTHER = "default", "second"
SYSTEM = "You answer questions about parcels, briefly and kindly, and you never invent a place. " * 5
WORD = "marzipan"
"""Stands in one question and nowhere else."""
NOT_KEPT = ("run", "lock", "index", "ids", "spare", "last-backup.json")
"""Disposable, or of the process that is gone."""


def main(target: Path) -> None:
    """Make a golden ledger at `target`, which must not exist."""
    if target.exists():
        raise SystemExit(f"{target} exists: a golden ledger is made once and never again; nothing was changed")
    with tempfile.TemporaryDirectory() as scratch:
        provider = Provider(clean_environment())
        service = Service(Path(scratch), upstream=provider.url, gateway=f"[projects.{OTHER}]")
        try:
            calls, sizes = _life_of(service)
        finally:
            service.close()
            provider.close()
        _keep(service, target)
        _thin(target, sizes)
    report = verify_directory(target / "data", vkeys=(target / "keys/public/system.vkeys").read_bytes())
    expected = {
        "made_by": f"affidavit {__version__}",
        "calls": calls,
        "word": WORD,
        "report": json.loads(report.to_json()),
    }
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    (target / "SHA256SUMS").write_text(digests(target))


def digests(directory: Path) -> str:
    """A line for each file, as `sha256sum` writes and checks them."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}\n" for path in files)


def _life_of(service: Service) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Two lives: conversations with both providers, streamed and not, for two projects; then a restart and one more.

    Returns the calls, and the size of each log after the first life.
    """
    service.start()
    calls = [
        *_conversation(service, LOG, "openai", streams=False, user="ada", turns=3),
        *_conversation(service, LOG, "openai", streams=True, user="ben", turns=2),
        *_conversation(service, LOG, "anthropic", streams=True, user="cleo", turns=2),
        *_conversation(service, OTHER, "anthropic", streams=False, user="ada", turns=2),
    ]
    service.stop()
    sizes = {log: head_size(DataLayout(service.data).log(log)) for log in ("system", LOG, OTHER)}
    service.start()
    calls += _conversation(service, LOG, "openai", streams=False, user=None, turns=1, word=WORD)
    wait_until(lambda: service.run("search", WORD, "--json").stdout, what="the index", seconds=60)
    service.stop()
    return calls, sizes


def _conversation(
    service: Service, project: str, dialect: str, *, streams: bool, user: str | None, turns: int, word: str = "parcel"
) -> list[dict[str, Any]]:
    """Each turn resends what was said, so that records cite each other."""
    said: list[dict[str, str]] = []
    calls = []
    for turn in range(turns):
        said.append({"role": "user", "content": f"Question {turn}: where is the {word} of lot {turn * 977}? " * 4})
        body = _body(dialect, said, streams=streams)
        status, record, answer = _call(service, project, dialect, body, user)
        assert status == http.HTTPStatus.OK
        digests_of = {"request": sha256(body).hexdigest(), "response": sha256(answer).hexdigest()}
        calls.append({"id": record, "log": project, "dialect": dialect, "streams": streams, **digests_of})
        said.append({"role": "assistant", "content": f"It is at the depot, as of turn {turn}. " * 5})
    return calls


def _body(dialect: str, said: list[dict[str, str]], *, streams: bool) -> bytes:
    if dialect == "openai":
        content: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "system", "content": SYSTEM}, *said]}
    else:
        content = {"model": "claude-haiku-4-5", "max_tokens": 300, "system": SYSTEM, "messages": said}
    return json.dumps(content | ({"stream": True} if streams else {}), separators=(",", ":")).encode()


def _call(service: Service, project: str, dialect: str, body: bytes, user: str | None) -> tuple[int, str, bytes]:
    path = {"openai": "/openai/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}[dialect]
    headers = {"content-type": "application/json", "authorization": "Bearer no-key", "anthropic-version": "2023-06-01"}
    if user is not None:
        headers["x-affidavit-user"] = user
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.request("POST", path if project == LOG else f"/p/{project}{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, str(answer.headers["x-affidavit-id"]), answer.read()
    finally:
        connection.close()


def _keep(service: Service, target: Path) -> None:
    """Copy both directories without what is disposable; the keys name no directory of the machine they came from."""
    for name in ("data", "keys"):
        shutil.copytree(service.root / name, target / name, ignore=shutil.ignore_patterns(*NOT_KEPT))
    installation = target / "keys/installation.json"
    identity = json.loads(installation.read_bytes()) | {"data": "/golden/data", "device": 0, "inode": 0}
    installation.write_text(json.dumps(identity, separators=(",", ":")))


def _thin(target: Path, sizes: dict[str, int]) -> None:
    """Keep two heads of each log, that of the end of its first life and the newest, with their partial tiles.

    A service does the same with the heads of a day ago; here it is done at once, so that the ledger stays small.
    """
    for log, size in sizes.items():
        layout = DataLayout(target / "data").log(log)
        kept = {str(size), str(head_size(layout))}
        for path in (*layout.heads.iterdir(), *(layout.tree / "tile").rglob("*.p/*")):
            if path.name not in kept:
                path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
