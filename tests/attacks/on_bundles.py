"""Attempts on what was exported: files that left the ledger with their proofs.

Played on the record format and the library function; the leaf is added by somebody with the log's keys, as the sealer
will once bundles have a door.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import affidavit_verify
from affidavit.prove.bundle import MANIFEST, PROOF, BundleProblem, bundle_data, check_bundle, format_manifest
from affidavit.prove.proof import make_proofs
from affidavit.text import long_id
from affidavit.tlog.cosignature import parse_vkeys_file
from tests.attacks.ground import Ground
from tests.attacks.insider import LogFiles
from tests.attacks.on_proofs import vkeys_of
from tests.attacks.registry import Evidence, attempt

JUDGES = ("affidavit.prove.bundle", "verifier/affidavit_verify.py --bundle")
CSV, PDF, RECORD = "report.csv", "report.pdf", "proofs/record.tlog-proof"
FILES = {
    CSV: b"team,cost\nparcels,12.50\n",
    PDF: b"%PDF-1.4\n1 0 obj\n(12.50)\nendobj\n",
}


def exported(ground: Ground) -> Path:
    """A bundle: a report as CSV and PDF, a record's proof, the manifest, and the proof of the leaf that names it."""
    files = FILES | {RECORD: make_proofs(ground.data, record_id=ground.calls[50])[0].data}
    manifest = format_manifest(files)
    insider = ground.insider()
    ids: list[str] = []

    def export(log: LogFiles) -> None:
        (at,) = log.insert_before_close([("bundle.export", bundle_data(manifest))])
        ids.append(long_id(log.leaf(at)["id"]))

    insider.rewrite("default", export)
    assert ground.judge(insider.data).report.holds, "the leaf is one like others"
    (proof,) = make_proofs(insider.data, record_id=ids[0])
    bundle = ground.scratch() / "bundle"
    for name, content in {**files, MANIFEST: manifest, PROOF: proof.data}.items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    return bundle


def judged(ground: Ground, bundle: Path) -> tuple[BundleProblem, ...]:
    """What both say; they agree on the codes."""
    vkeys = vkeys_of(ground)
    problems = check_bundle(bundle, vkeys=parse_vkeys_file(vkeys.read_bytes()))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = affidavit_verify.main(["--bundle", str(bundle), "--vkey", str(vkeys), "--json"])
    said = json.loads(out.getvalue().splitlines()[-1])
    assert {(f["code"], f["what"].partition(":")[0]) for f in said["findings"]} == {(p.code, p.name) for p in problems}
    assert (code == 0) == (said["bundle"]["verdict"] == "OK") == (not problems)
    assert "verified" not in out.getvalue()
    return problems


def _replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        content = (bundle / name).read_bytes()
        assert old in content
        (bundle / name).write_bytes(content.replace(old, new))

    return change


def _a_manifest_to_match(bundle: Path) -> None:
    """The editor knows the format, and makes a manifest that fits the edited file."""
    _replaced(CSV, b"12.50", b"99.99")(bundle)
    files = {name: (bundle / name).read_bytes() for name in (CSV, PDF, RECORD)}
    (bundle / MANIFEST).write_bytes(format_manifest(files))


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[str, str]]] = {
    "the CSV": (_replaced(CSV, b"12.50", b"99.99"), ("BUNDLE-DIGEST", CSV)),
    "the PDF": (_replaced(PDF, b"12.50", b"99.99"), ("BUNDLE-DIGEST", PDF)),
    "a proof": (_replaced(RECORD, b"index ", b"index 1"), ("BUNDLE-DIGEST", RECORD)),
    "a file is gone": (lambda bundle: (bundle / CSV).unlink(), ("BUNDLE-FILE", CSV)),
    "a file is new": (lambda bundle: (bundle / "more.csv").write_bytes(b"x"), ("BUNDLE-FILE", "more.csv")),
    "a file is a link": (
        lambda bundle: ((bundle / CSV).unlink(), (bundle / CSV).symlink_to(PDF)),
        ("BUNDLE-FILE", CSV),
    ),
    "a directory is new": (lambda bundle: (bundle / "more").mkdir(), ("BUNDLE-FILE", "more")),
    "the manifest": (_replaced(MANIFEST, b'"v":1', b'"v":2'), ("BUNDLE-MANIFEST", MANIFEST)),
    "the manifest to match": (_a_manifest_to_match, ("BUNDLE-MANIFEST", MANIFEST)),
    "the manifest is gone": (lambda bundle: (bundle / MANIFEST).unlink(), ("BUNDLE-MANIFEST", MANIFEST)),
    "another leaf's proof": (lambda bundle: shutil.copy(bundle / RECORD, bundle / PROOF), ("BUNDLE-PROOF", PROOF)),
    "the proof is gone": (lambda bundle: (bundle / PROOF).unlink(), ("BUNDLE-PROOF", PROOF)),
}


@attempt(41)
def edited_files(ground: Ground) -> Evidence:
    bundle = exported(ground)
    assert judged(ground, bundle) == ()
    named = []
    for name, (change, expected) in CHANGES.items():
        copy = Path(shutil.copytree(bundle, ground.scratch() / "bundle"))
        change(copy)
        problems = judged(ground, copy)
        assert [(problem.code, problem.name) for problem in problems] == [expected], f"{name}: {problems}"
        named.append(problems[0].what)
    return Evidence("erasure", "FAIL", "; ".join(named[:2]), code="BUNDLE-DIGEST", clause="digest", judges=JUDGES)
