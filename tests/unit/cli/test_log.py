"""`affidavit log`: where logs lie, and heads that an authority outside has stamped."""

import json
from pathlib import Path

import pytest

from affidavit import cli
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import open_timestamp
from tests.support import tsa
from tests.support.installation import Installation


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    installation = Installation(tmp_path).start()
    for name, vkeys in installation.sealer.vkeys.items():
        (installation.keys / "public" / f"{name}.vkeys").write_text("".join(f"{vkey}\n" for vkey in vkeys))
    installation.stop()
    monkeypatch.setenv("AFFIDAVIT_DATA", str(installation.data.directory))
    monkeypatch.setenv("AFFIDAVIT_KEYS", str(installation.keys))
    monkeypatch.setenv("AFFIDAVIT_CONFIG", str(tmp_path / "affidavit.toml"))
    (tmp_path / "affidavit.toml").write_text("")
    return installation


def test_every_newest_head_is_stamped_once(
    places: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    by = tsa.Authority()
    (tmp_path / "roots.pem").write_bytes(by.roots)
    with tsa.Service(by).running() as service:
        text = f'[timestamps]\nurl = "{service.url}"\ncertificates = "roots.pem"\n'
        (tmp_path / "affidavit.toml").write_text(text)
        assert cli.run(["log", "timestamp", "--json"]) == 0
        answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert [(answer["log"], answer["new"]) for answer in answers] == [("default", True), ("system", True)]
        for answer in answers:
            log = places.data.log(answer["log"])
            head = log.checkpoint.read_bytes()
            found = open_timestamp(Path(answer["file"]).read_bytes(), message=head, roots=parse_roots(by.roots))
            assert (found.time_us, answer["file"]) == (answer["time_us"], str(log.timestamp(answer["size"])))
        assert cli.run(["log", "timestamp"]) == 0
        assert capfd.readouterr().out.count("has its timestamp already") == 2
        assert len(service.asked) == 2


def test_without_an_authority_nobody_is_asked(places: Installation, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["log", "timestamp"]) == 2
    assert "no timestamp authority is configured" in capfd.readouterr().err
    assert not places.data.log("default").anchors.exists()


def test_an_authority_that_does_not_answer(
    places: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "roots.pem").write_bytes(tsa.Authority().roots)
    text = '[timestamps]\nurl = "http://127.0.0.1:9/"\ncertificates = "roots.pem"\n'
    (tmp_path / "affidavit.toml").write_text(text)
    assert cli.run(["log", "timestamp"]) == 1
    assert "does not answer" in capfd.readouterr().err


def test_a_log_whose_keys_are_not_known_is_not_stamped(
    places: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test_an_authority_that_does_not_answer(places, tmp_path, capfd)
    (places.keys / "public" / "default.vkeys").unlink()
    assert cli.run(["log", "timestamp"]) == 6
    assert "nobody was asked" in capfd.readouterr().err


def test_paths_tells_where_each_log_lies(places: Installation, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["log", "paths", "--json"]) == 0
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(places.data.log(name).tree) for name in ("default", "system")]
    assert all(len(answer["vkeys"]) == 2 for answer in answers)
