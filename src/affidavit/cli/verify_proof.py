"""`affidavit verify FILE.tlog-proof`: one record, never a log."""

from __future__ import annotations

from pathlib import Path

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, cell, print_json
from affidavit.errors import AffidavitError, ConfigError
from affidavit.ledger.places import Places
from affidavit.ledger.public_keys import published_keys, published_logs
from affidavit.prove.manifest import RootKey, vkeys_by_root
from affidavit.prove.proof import ProvedRecord, verify_proof_file
from affidavit.prove.report import AXES
from affidavit.tlog.cosignature import LogVkeys, parse_vkeys_file
from affidavit.tlog.note import encode_base64
from affidavit.tlog.proof import PROOF_SIZE_MAX, parse_proof


def verify_one_proof(
    path: Path,
    *,
    vkey: Path | None,
    places: Places,
    root_key: RootKey | None,
    of_log: bool,
    as_json: bool,
) -> int:
    """Check a proof, and say what it shows and what it does not; returns the exit code.

    `of_log`: something was asked that only a whole log can answer.
    """
    if of_log:
        message = "a proof of one record anchors nothing: what a whole log must answer is for a directory"
        raise ConfigError(message)
    with path.open("rb") as file:
        data = file.read(PROOF_SIZE_MAX + 1)
    try:
        if root_key is not None:
            proved = verify_proof_file(data, vkeys=vkeys_by_root(data, root_key, given=_named(vkey)))
        else:
            proved = verify_proof_file(data, vkeys=_named(vkey) or _published(data, places))
    except ConfigError:
        raise
    except AffidavitError as error:
        if as_json:
            print_json(_report("FAIL", {"verdict": "FAIL", "why": str(error)}))
        else:
            answers().print(cell(f"FAIL {path}: this proof does not hold: {error}"), soft_wrap=True)
        return FINDING
    if as_json:
        print_json(_report("NOT ASSESSED", _as_json(proved)))
    else:
        answers().print(cell(proved.describe()), soft_wrap=True)
    return OK


def _published(data: bytes, places: Places) -> LogVkeys:
    """The pair of the log that the proof is from, by the key directory, which signs heads of its size."""
    head = parse_proof(data).head
    origin = head.partition(b"\n")[0].decode("utf-8", "replace")
    for log in published_logs(places.public):
        keys = published_keys(places.public, log)
        if keys is not None and keys.origin == origin:
            return keys.of_head(head)
    raise ConfigError(
        "the two verifier keys of the log that this proof is from are not in the key directory; give them with --vkey. "
        "Nothing was checked"
    )


def _named(vkey: Path | None) -> LogVkeys | None:
    if vkey is None:
        return None
    try:
        return parse_vkeys_file(vkey.read_bytes())
    except OSError as error:
        raise ConfigError(f"{vkey} cannot be read ({error.strerror}); nothing was checked") from error


def _report(integrity: str, proof: dict[str, object]) -> dict[str, object]:
    """As of a directory, for who reads both: one proof judges no log, whatever it shows of its record."""
    axes: dict[str, object] = dict.fromkeys(AXES, "NOT ASSESSED")
    return {
        **axes,
        "integrity": integrity,
        "size": int(proof["verdict"] == "OK"),
        "logs": [],
        "findings": [],
        "proof": proof,
    }


def _as_json(proved: ProvedRecord) -> dict[str, object]:
    return {
        "verdict": "OK",
        "origin": proved.origin,
        "index": proved.index,
        "size": proved.size,
        "root": encode_base64(proved.root),
        "id": proved.leaf.id,
        "type": proved.leaf.type,
        "time_us": proved.leaf.time_us,
        "fields": [{"block": field.block, "slot": field.name, "value": field.value} for field in proved.fields],
        "does_not_prove": "anything of any other record, or that anybody else saw this head",
    }
