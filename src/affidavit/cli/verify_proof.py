"""`affidavit verify FILE.tlog-proof`: one record, never a log."""

from __future__ import annotations

import contextlib
from pathlib import Path

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, cell, print_json
from affidavit.errors import AffidavitError, ConfigError
from affidavit.ledger.places import Places
from affidavit.prove.proof import ProvedRecord, verify_proof_file
from affidavit.prove.report import AXES
from affidavit.tlog.cosignature import LogVkeys, parse_vkeys_file
from affidavit.tlog.note import SignatureError, encode_base64
from affidavit.tlog.proof import PROOF_SIZE_MAX, parse_proof


def verify_one_proof(path: Path, *, vkey: Path | None, places: Places, of_log: bool, as_json: bool) -> int:
    """Check a proof, and say what it shows and what it does not; returns the exit code.

    `of_log`: something was asked that only a whole log can answer.
    """
    if of_log:
        message = "a proof of one record anchors nothing: what a whole log must answer is for a directory"
        raise ConfigError(message)
    with path.open("rb") as file:
        data = file.read(PROOF_SIZE_MAX + 1)
    try:
        proved = _first_that_holds(data, _vkeys(data, vkey=vkey, places=places))
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


def _first_that_holds(data: bytes, pairs: list[LogVkeys]) -> ProvedRecord:
    """The proof, by the keys that signed its head: a log whose keys were changed has several pairs."""
    *others, last = pairs
    for vkeys in others:
        with contextlib.suppress(SignatureError):
            return verify_proof_file(data, vkeys=vkeys)
    return verify_proof_file(data, vkeys=last)


def _vkeys(data: bytes, *, vkey: Path | None, places: Places) -> list[LogVkeys]:
    """From the file that was named, else from the key directory: those of the log that the proof is from."""
    if vkey is not None:
        try:
            return [parse_vkeys_file(vkey.read_bytes())]
        except OSError as error:
            raise ConfigError(f"{vkey} cannot be read ({error.strerror}); nothing was checked") from error
    origin = parse_proof(data).head.partition(b"\n")[0].decode("utf-8", "replace")
    kept = [parse_vkeys_file(path.read_bytes()) for path in sorted(places.public.glob("*.vkeys"))]
    found = [vkeys for vkeys in kept if vkeys.origin == origin]
    if found:
        return found
    raise ConfigError(
        "the two verifier keys of the log that this proof is from are not in the key directory; give them with --vkey. "
        "Nothing was checked"
    )


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
