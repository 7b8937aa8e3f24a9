"""`affidavit log paths`, `affidavit log timestamp` and `affidavit log shard`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, moment, print_json, remark
from affidavit.config import load_config
from affidavit.errors import ConfigError, LayoutError, NotFoundError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import DataLayout, LogLayout
from affidavit.ledger.places import Places, find_config, find_places
from affidavit.ledger.public_keys import KEYS_SUFFIX, published_keys
from affidavit.ledger.reader import head_size
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.checkpoint import parse_checkpoint
from affidavit.tlog.note import parse_note

app = App(name="log", help="Tell where the servable logs lie; have heads timestamped; begin a new shard.")


@app.command
def paths(
    *, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")] = False
) -> int:
    """Tell, for each log, where its tlog-tiles tree lies, its origin, its size, and its two verifier keys.

    Any static web server can serve the tree, and any program that knows tlog-tiles can check it:

    ```
    affidavit log paths
    affidavit log paths --json | jq -r 'select(.log == "default") | .vkeys[]' > default.vkeys
    ```

    The keys come from the key directory. Whoever verifies should have got them from you by another way than the files.
    """
    places = find_places(os.environ)
    for log in _logs(places):
        answer = _answer(places, log)
        name = log.name
        if json:
            print_json(answer)
        else:
            lines = [
                f"{name}: {answer['size']} leaves, origin {answer['origin']}",
                f"  {answer['path']}",
                *(f"  {vkey}" for vkey in answer["vkeys"]),
            ]
            answers().print("\n".join(lines), markup=False, soft_wrap=True)
    return OK


@app.command
def timestamp(
    *, json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")] = False
) -> int:
    """Have the newest head of each log timestamped by the authority of `[timestamps]` in the configuration (RFC 3161).

    ```
    affidavit log timestamp
    affidavit verify --tsa-roots roots.pem
    ```

    The authority learns a digest of the head, and nothing else. From then on nobody, not even whoever holds the keys,
    can say that what this head covers happened later; and the next epoch of the log names the timestamp, so that what
    comes after it cannot be said to have happened before. It goes on beside a running service, and changes nothing
    where a head has its timestamp already.
    """
    from affidavit.ledger.timestamping import Authority, timestamp_head

    places = find_places(os.environ)
    loaded = load_config(find_config(os.environ, places))
    settings = loaded.config.timestamps
    if settings.url is None or settings.certificates is None:
        raise ConfigError(
            "no timestamp authority is configured: name one with url and certificates in [timestamps]. Nobody was asked"
        )
    authority = Authority(settings.url, parse_roots(loaded.beside(settings.certificates).read_bytes()))
    for log in _logs(places):
        size, disk = head_size(log), Disk()
        keys = published_keys(places.public, log.called)
        if keys is None:
            vkeys = places.vkeys(log.name)
            raise LayoutError(f"{vkeys} is missing, so it is not known whose head that is; nobody was asked")
        found = timestamp_head(
            log,
            size=size,
            keys=keys,
            authority=authority,
            random=os.urandom,
            disk=disk,
        )
        answer = {"log": log.name, "size": size, "file": str(log.timestamp(size)), "new": found is not None}
        if found is not None:
            answer |= {"time_us": found.time_us, "accuracy_us": found.accuracy_us}
        if json:
            print_json(answer)
        else:
            when = "has its timestamp already" if found is None else f"existed at {moment(found.time_us)}"
            answers().print(f"{log.name}: the head of size {size} {when}", markup=False, soft_wrap=True)
    return OK


@app.command
def shard(
    *,
    reason: Annotated[str, Parameter(help="One word for the record, such as `archive`.")] = "request",
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object.")] = False,
) -> int:
    """End the shard that is written, and begin the next: every log goes on with new keys, under `shards/` lies the old.

    ```
    affidavit log shard --reason archive
    ```

    A finished shard is a ledger of its own: it verifies alone, and may be moved elsewhere whole. Readings reach all
    shards that lie there. The turn happens between a clean stop and a start; while the service runs, it is noted, and
    the next start does it. By itself it happens at the first clean start of a year (`log.yearly_shards`).

    Exit code 1: it was noted, and waits for a clean stop.
    """
    from affidavit.seal.turning import REQUEST_NAME
    from affidavit.serve.reading import reading_service

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", reason):
        raise ConfigError(f"--reason {reason!r} is not one word of small letters; nothing was changed")
    places = find_places(os.environ)
    before = places.shard
    if not places.system_vkeys.is_file():
        raise NotFoundError(f"there is no log at {places.data} yet; `affidavit up` makes the first one")
    Disk().replace(places.keys / REQUEST_NAME, reason.encode())
    with reading_service(places, environment=os.environ):
        after = places.shard
    if json:
        print_json({"shard": after, "began": after != before})
    elif after != before:
        remark(f"shard {after} begins; shard {before} lies in {places.data / 'shards' / str(before)}")
        remark("make a new backup of the keys: `affidavit keys backup`")
    else:
        remark("it is noted: the first start after a clean stop begins the new shard")
    return OK if after != before else FINDING


def _logs(places: Places) -> list[LogLayout]:
    layout = DataLayout(places.data)
    names = sorted(path.name for path in layout.logs.iterdir() if path.is_dir()) if layout.logs.is_dir() else []
    if not names:
        raise NotFoundError(f"there is no log at {places.data} yet; `affidavit up` makes the first one")
    return [layout.log(name) for name in names]


def _answer(places: Places, log: LogLayout) -> dict[str, Any]:
    head = parse_checkpoint(parse_note(log.checkpoint.read_bytes()).text)
    return {
        "log": log.name,
        "path": str(log.tree),
        "checkpoint": str(log.checkpoint),
        "origin": head.origin,
        "size": head.size,
        "vkeys": _vkeys(places.vkeys(log.name)),
        "keys": str(places.public / f"{log.called}{KEYS_SUFFIX}"),
    }


def _vkeys(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []
