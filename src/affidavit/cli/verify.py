"""`affidavit verify`."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from affidavit.cli.exit_codes import ANCHOR, FINDING, OK
from affidavit.cli.present import answers, cell, progress_bars, remark
from affidavit.cli.verify_proof import verify_one_proof
from affidavit.errors import ConfigError, FormatError, LayoutError
from affidavit.ledger.directory import Disk
from affidavit.ledger.places import Places, find_places
from affidavit.prove.manifest import RootKey
from affidavit.prove.memory import read_memory, write_memory
from affidavit.prove.report import AXES, DOES_NOT_PROVE, Report
from affidavit.prove.since import verify_since
from affidavit.prove.times import TimeRules
from affidavit.prove.verify import verify_directory
from affidavit.tlog.certificate import Certificate, parse_roots
from affidavit.tlog.manifest import parse_root_vkey
from affidavit.tlog.policy import parse_policy

_AGE: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNITS_US: Final = {"s": 10**6, "m": 60 * 10**6, "h": 3_600 * 10**6, "d": 86_400 * 10**6}
_STYLES: Final = {"OK": "green", "WARN": "yellow", "FAIL": "bold red", "NOT ASSESSED": "dim"}


_Subject = Annotated[
    Path | None,
    Parameter(
        name="DIRECTORY|PROOF", help="The data directory, or a `.tlog-proof`; without it, that of AFFIDAVIT_DATA."
    ),
]
_Vkey = Annotated[
    Path | None,
    Parameter(
        help=(
            "The two verifier keys of the system log, one a line (for a proof: of its log); without it, "
            "AFFIDAVIT_KEYS/public, never the directory itself."
        )
    ),
]
_Pins = Annotated[
    tuple[Path, ...], Parameter(help="A signed head that somebody kept elsewhere; may be repeated.", negative="")
]
_Promises = Annotated[
    tuple[Path, ...], Parameter(help="Promises that a client was given, one a line; may be repeated.", negative="")
]
_Policy = Annotated[
    Path | None,
    Parameter(
        help=(
            "Your policy (C2SP tlog-policy): which witnesses make a head in `anchors/` count. None is ever taken from "
            "the directory."
        )
    ),
]
_Roots = Annotated[
    Path | None,
    Parameter(help="Root certificates (PEM) of timestamp authorities that you trust; never from the directory."),
]
_Age = Annotated[
    str | None,
    Parameter(help="How old the newest head of each log may be, such as 90s, 30m, 2h or 7d, by your clock."),
]
_Root = Annotated[
    Path | None, Parameter(help="The root key's verifier key: then the key manifest and its revocations count.")
]
_Manifests = Annotated[
    tuple[Path, ...],
    Parameter(
        help="With --root: a key manifest, the newest counts; may be repeated. Else that of AFFIDAVIT_KEYS/public.",
        negative="",
    ),
]


_Since = Annotated[
    Path | None,
    Parameter(
        help=(
            "Your memory of the last time, a file of your own: what was verified then is not read again, and the log "
            "must extend it. Made if it is not there, brought up to date if nothing fails."
        )
    ),
]
_Full = Annotated[bool, Parameter(negative="", help="With --since: read everything all the same.")]


def verify(
    path: _Subject = None,
    /,
    *,
    vkey: _Vkey = None,
    root: _Root = None,
    manifest: _Manifests = (),
    pin: _Pins = (),
    policy: _Policy = None,
    promise: _Promises = (),
    tsa_roots: _Roots = None,
    max_age: _Age = None,
    since: _Since = None,
    full: _Full = False,
    require_anchor: Annotated[bool, Parameter(negative="", help="Exit code 3 unless the anchor is OK.")] = False,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object, the last line of output.")
    ] = False,
) -> int:
    """Check the whole ledger: signatures, trees, digests, sequences, key sheets.

    Reads files only; needs no service and no secret key.

    ```
    affidavit verify
    affidavit verify /backup/data --vkey system.vkeys --pin checkpoint-of-last-month
    affidavit verify --policy my-witnesses.policy --require-anchor
    affidavit verify --tsa-roots roots.pem --max-age 2h
    affidavit verify --since ~/ledger.memory
    affidavit verify --json | tail -1 | jq .integrity
    affidavit verify --root root.vkey
    affidavit verify call.intent.tlog-proof --vkey default.vkeys
    ```

    Six axes are judged one by one, each `OK`, `WARN`, `FAIL` or `NOT ASSESSED`. Without a pin or a quorum of witnesses
    the anchor is WARN: nobody else has seen this history, so its owner could have made another. Keep the head that
    `affidavit log paths` names somewhere else, and give it as `--pin` later; or name witnesses that you trust in a
    policy. Two heads that contradict each other are printed: keep them. A promise (`x-affidavit-promise`) that the log
    has broken is completeness FAIL. Time is judged against timestamps of authorities that you trust; with `--max-age`,
    an old head is FAIL: somebody may be showing you the past for ever.

    With `--root`, the keys of all logs are those that the root key signed: a head by keys that it revoked is authority
    FAIL. Keep each manifest that you get and give all of them, so that nobody can show you an older one as the newest.

    A proof shows one record in one signed head, and the values that it discloses. It says nothing of any other record.

    Exit code 0: integrity is OK and nothing is FAIL. 1: anything else. 3: `--require-anchor`, and the anchor is not OK.
    """
    places = find_places(os.environ)
    data, root_key = (path or places.data).absolute(), _root_key(root, manifest, places)
    if data.is_file():
        of_log = bool(pin or policy or promise or tsa_roots or max_age or since or require_anchor)
        return verify_one_proof(data, vkey=vkey, places=places, root_key=root_key, of_log=of_log, as_json=json)
    if not data.is_dir():
        raise LayoutError(f"there is no directory {data}; nothing was checked")
    # With a root key, what the key directory says is believed only as far as the root key signed it.
    vkeys = _vkeys(vkey, places.system_vkeys) if root is None or vkey is not None else None
    pins, promises = (tuple(map(_bytes_of, files)) for files in (pin, promise))
    asked = _Asked(vkeys, pins, promises, _policy(policy), _time_rules(tsa_roots, max_age), root_key)
    report = _verified_since(data, asked, since, full=full) if since or full else _verified(data, asked)
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        _print(report, data, has_vkeys=vkeys is not None or root is not None)
    if require_anchor and not report.is_anchored:
        return ANCHOR
    return OK if report.holds else FINDING


class _Asked(NamedTuple):
    """What was handed in, and what is demanded."""

    vkeys: bytes | None
    pins: tuple[bytes, ...]
    promises: tuple[bytes, ...]
    policy: bytes | None
    rules: TimeRules
    root_key: RootKey | None


def _verified(data: Path, asked: _Asked) -> Report:
    with progress_bars() as advance:
        return verify_directory(data, progress=advance, **asked._asdict())


def _verified_since(data: Path, asked: _Asked, path: Path | None, *, full: bool) -> Report:
    """With a memory, which is brought up to date where nothing failed."""
    if path is None:
        raise ConfigError("--full is nothing without --since, since everything is read then; nothing was checked")
    if asked.vkeys is None and asked.root_key is None:
        raise ConfigError("--since needs the verifier keys of the system log (--vkey); nothing was checked")
    memory = read_memory(path, data=data)
    with progress_bars() as advance:
        report, remembered = verify_since(
            data, memory, made_us=asked.rules.now_us, reads_all=full, progress=advance, **asked._asdict()
        )
    if remembered is None:
        remark(f"{path} was not brought up to date, since something failed")
        return report
    try:
        write_memory(path.absolute(), remembered, disk=Disk())
    except OSError as error:
        remark(f"{path} could not be brought up to date ({error.strerror}): the old one stands, and so do the verdicts")
    return report


def _vkeys(named: Path | None, kept: Path) -> bytes | None:
    """From the file that was named, else from the key directory, else none at all."""
    if named is not None:
        return _bytes_of(named)
    return kept.read_bytes() if kept.is_file() else None


def _root_key(root: Path | None, manifests: tuple[Path, ...], places: Places) -> RootKey | None:
    """The root key and what it signed, from the files that were named; manifests else from the key directory."""
    if root is None:
        if manifests:
            raise ConfigError("--manifest is nothing without the root key that signed it (--root); nothing was checked")
        return None
    try:
        parse_root_vkey(data := _bytes_of(root))
    except FormatError as error:
        raise ConfigError(f"{root} is not the verifier key of a root key: {error}; nothing was checked") from error
    return RootKey(data, tuple(_bytes_of(path) for path in manifests or (places.manifest,)))


def _time_rules(roots: Path | None, max_age: str | None) -> TimeRules:
    return TimeRules(
        roots=_roots(roots) if roots is not None else None,
        now_us=time.time_ns() // 1_000,
        age_us_max=_microseconds(max_age) if max_age is not None else None,
    )


def _roots(path: Path) -> tuple[Certificate, ...]:
    try:
        return parse_roots(_bytes_of(path))
    except FormatError as error:
        raise ConfigError(f"{path} is {error}; nothing was checked") from error


def _microseconds(text: str) -> int:
    match = _AGE.fullmatch(text)
    if match is None:
        raise ConfigError(f"--max-age {text!r} is not a number with s, m, h or d behind it; nothing was checked")
    return int(match[1]) * _UNITS_US[match[2]]


def _policy(named: Path | None) -> bytes | None:
    """From the file that was named, checked, and from nowhere else."""
    if named is None:
        return None
    data = _bytes_of(named)
    try:
        parse_policy(data)
    except FormatError as error:
        raise ConfigError(f"{named}: {error}; nothing was checked") from error
    return data


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); nothing was checked") from error


def _print(report: Report, data: Path, *, has_vkeys: bool) -> None:
    console = answers()
    console.print(f"{data}: {report.size} leaves", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("log", "leaves", *AXES):
        table.add_column(name, justify="right" if name == "leaves" else "left")
    for log in report.logs:
        table.add_row(cell(log.log), cell(log.size), *(_verdict(getattr(log, axis)) for axis in AXES))
    table.add_section()
    table.add_row(cell("worst"), cell(report.size), *(_verdict(getattr(report, axis)) for axis in AXES))
    console.print(table)
    for finding in report.findings:
        where = f" [{finding.log}]" if finding.log else ""
        line = f"{finding.verdict} {finding.axis} {finding.code}{where}: {finding.what}"
        console.print(cell(line, style=_STYLES.get(finding.verdict, "")), soft_wrap=True)
    for fork in report.forks:
        for name, head in fork.heads:
            console.print(f"{fork.code} [{fork.log}] {name}:", style="bold red", markup=False, soft_wrap=True)
            for line in head.splitlines():
                console.print(cell(line), soft_wrap=True)
    for axis in AXES:
        if getattr(report, axis) == "OK":
            console.print(f"{axis} OK does not show {DOES_NOT_PROVE[axis]}", style="dim", markup=False, soft_wrap=True)
    if not has_vkeys:
        remark("no verifier keys: give the system log's with --vkey, got from its operator and not from this directory")


def _verdict(verdict: str) -> Text:
    return cell(verdict, style=_STYLES.get(verdict, ""))
