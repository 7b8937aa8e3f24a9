"""The anchor process has epoch heads stamped, each once, and nobody waits for an authority that is away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from affidavit.config import parse_config
from affidavit.errors import ConfigError
from affidavit.ledger.directory import Disk
from affidavit.ledger.layout import LogLayout
from affidavit.ledger.timestamping import Authority
from affidavit.serve.plan import ANCHOR, plan_for
from affidavit.settings.witnesses import Witness
from affidavit.tlog.certificate import parse_roots
from affidavit.tlog.timestamp import open_timestamp
from affidavit.witness.anchor import Attesting
from affidavit.witness.peers import configured_peers
from affidavit.witness.stamping import TimestampAttestor
from tests.support import tsa
from tests.support.installation import Installation, chat_request, chat_response, write_call


@pytest.fixture(scope="module")
def service() -> Iterator[tsa.Service]:
    with tsa.Service(tsa.Authority()).running() as running:
        yield running


class Scene:
    """A ledger, an authority, and the attestor between them."""

    def __init__(self, root: Path, service: tsa.Service) -> None:
        self.installation = Installation(root).start()
        self.public = self.installation.keys / "public"
        self.public.mkdir(exist_ok=True)
        self.shard = self.installation.shard()
        self.authority = Authority(service.url, parse_roots(service.authority.roots))
        self.attesting = Attesting(
            TimestampAttestor(self.authority, public=self.public, random=os.urandom, disk=Disk()),
            data=self.installation.data,
            logs=("system", "default"),
            every_s=0.01,
            lose=lambda error: pytest.fail(repr(error)),
        )

    @property
    def log(self) -> LogLayout:
        return self.installation.data.log("default")

    def publish_keys(self) -> None:
        for log, vkeys in self.installation.sealer.vkeys.items():
            (self.public / f"{log}.vkeys").write_text("".join(f"{vkey}\n" for vkey in vkeys))

    def call(self) -> None:
        write_call(self.shard, chat_request("You answer.", "a question"), chat_response("an answer"))
        self.shard.flush()
        self.installation.drain()

    def stamped(self) -> list[int]:
        names = self.log.anchors.iterdir() if self.log.anchors.is_dir() else ()
        return sorted(int(path.stem) for path in names if path.suffix == ".tsr")


@pytest.fixture
def scene(tmp_path: Path, service: tsa.Service) -> Scene:
    service.answer, service.status = tsa.Answer(), 200
    service.asked.clear()
    return Scene(tmp_path, service)


def test_heads_that_close_an_epoch_are_stamped_once_and_others_are_not(scene: Scene, service: tsa.Service) -> None:
    scene.publish_keys()
    scene.call()
    assert scene.attesting.attempt()
    assert scene.stamped() == [], "the epoch is open"
    scene.installation.sealer.close_epoch()
    scene.call()
    assert scene.attesting.attempt()
    (size,) = scene.stamped()
    kept = open_timestamp(
        scene.log.timestamp(size).read_bytes(),
        message=scene.log.head(size).read_bytes(),
        roots=scene.authority.roots,
    )
    assert kept.nonce is not None
    asked = len(service.asked)
    assert scene.attesting.attempt()
    assert len(service.asked) == asked == 2, "one for each log"
    assert scene.attesting.state.logs["default"] == size


def test_an_authority_that_is_away_is_asked_again(scene: Scene, service: tsa.Service) -> None:
    scene.publish_keys()
    scene.installation.sealer.close_epoch()
    service.status = 503
    assert not scene.attesting.attempt()
    assert scene.stamped() == []
    assert "timestamp authority" in (scene.attesting.state.problem or "")
    service.status = 200
    assert scene.attesting.attempt()
    assert len(scene.stamped()) == 1
    assert scene.attesting.state.problem is None


def test_a_log_whose_keys_are_not_published_yet_is_stamped_later(scene: Scene, service: tsa.Service) -> None:
    scene.installation.sealer.close_epoch()
    for kept in scene.public.glob("*.vkeys"):
        kept.unlink()
    assert not scene.attesting.attempt()
    assert service.asked == []
    scene.publish_keys()
    assert scene.attesting.attempt()
    assert len(scene.stamped()) == 1


def test_the_process_runs_where_an_authority_is_configured() -> None:
    plain = parse_config(b"", name="affidavit.toml")
    both = parse_config(b'[timestamps]\nurl = "http://tsa.example"\ncertificates = "r.pem"\n', name="affidavit.toml")
    assert ANCHOR not in plan_for(plain, purpose="service")[0]
    assert ANCHOR in plan_for(both, purpose="service")[0]


def test_no_witness_has_the_name_of_the_authority_in_metrics() -> None:
    witness = Witness(url="http://witness.example", vkeys=())
    with pytest.raises(ConfigError, match="another name"):
        configured_peers({TimestampAttestor.name: witness})
