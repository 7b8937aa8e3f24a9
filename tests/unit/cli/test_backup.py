"""`affidavit backup` and `affidavit upgrade`: what they say, and what they refuse."""

import json
import tarfile
from pathlib import Path

import pytest

from affidavit import cli
from tests.support.installation import Installation


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    installation = Installation(tmp_path / "own").start()
    installation.stop()
    monkeypatch.setenv("AFFIDAVIT_DATA", str(installation.data.directory))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(installation.keys))
    return installation


def test_a_backup_is_verified_before_it_is_called_one(
    places: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["backup", str(tmp_path / "copy"), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["integrity"] == "OK"
    assert answer["holds"] is True
    assert answer["logs"] == {"system": 5, "default": 2}
    assert not any(tmp_path.joinpath("copy").rglob("*ed25519*"))
    assert cli.run(["backup", str(tmp_path / "again")]) == 0
    assert "it holds no keys" in capfd.readouterr().err.replace("\n", " ")
    tile = places.data.log("default").tree / "tile/entries/000.p/2"
    tile.write_bytes(tile.read_bytes().replace(b"epoch", b"apoch"))
    assert cli.run(["backup", str(tmp_path / "damaged")]) == 1
    assert (tmp_path / "damaged").is_dir()


def test_a_backup_lies_neither_in_the_data_nor_in_the_keys(
    places: Installation, capfd: pytest.CaptureFixture[str]
) -> None:
    for directory in (places.data.directory, places.data.directory / "copy", places.keys / "copy"):
        assert cli.run(["backup", str(directory)]) == 6
        assert "a backup goes elsewhere" in capfd.readouterr().err
    assert cli.run(["backup"]) == 2


def test_keys_are_copied_only_when_asked_and_never_into_the_copy(
    places: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (places.keys / "installation.json").write_text('{"id":"00","data":"/","device":1,"inode":1,"created_us":1}')
    copy, archive = tmp_path / "copy", tmp_path / "keys.tar"
    assert cli.run(["backup", str(copy), "--keys", str(copy / "keys.tar")]) == 6
    assert not copy.exists()
    assert cli.run(["backup", str(copy), "--keys", str(archive), "--json"]) == 0
    keys, ledger = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert (keys["file"], ledger["directory"]) == (str(archive), str(copy))
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert any(name.endswith("ed25519") for name in names)
    assert not any(name.endswith("state") for name in names)


def test_an_upgrade_says_what_it_would_do(places: Installation, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in places.root.rglob("*") if path.is_file()}
    assert cli.run(["upgrade"]) == 0
    out = capfd.readouterr().out
    assert "FORMAT: affidavit-ledger v1: as this version writes it; nothing to do" in out
    assert "ring/keys: afring1: as this version" in out
    assert {path: path.read_bytes() for path in places.root.rglob("*") if path.is_file()} == before
    sheet = places.data.log("default").sheet(0, 1)
    sheet.write_bytes(b"af\x1bys9\n")
    assert cli.run(["upgrade", "--json"]) == 1
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(one["file"], one["format"]) for one in answers if not one["is_known"]] == [
        ("logs/default/sheets/000000.1", "af?ys9")
    ]
    places.data.format_file.unlink()
    assert cli.run(["upgrade"]) == 6
