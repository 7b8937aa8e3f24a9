"""A client as a light witness of a whole running service: it asks for the head with a call, and demands consistency."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affidavit.ledger.directory import Disk
from affidavit.tlog.cosignature import parse_vkeys_file
from affidavit.tlog.rotation import key_history
from affidavit.witness.light import InconsistentHeadError, keep_told_head, parse_told_head
from tests.integration.service.conftest import House, Service, wait_for
from tests.integration.service.test_service import request_of, start, stop
from tests.integration.service.upstream import Upstream

pytestmark = pytest.mark.timeout(180)  # several processes start


@pytest.fixture
def service(house: House) -> Iterator[Service]:
    upstream = Upstream()
    house.config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\nworkers = 1\ndrain_on_stop_s = 2\n'
        f'[upstreams.openai]\nbase_url = "{upstream.base_url}"\n'
    )
    yield start(house)
    upstream.close()


def ask(service: Service, text: str) -> str:
    """A call that wants the head; what its answer tells."""
    connection = http.client.HTTPConnection(service.news["gateway"], timeout=20)
    headers = {"content-type": "application/json", "x-affidavit-head": "1"}
    connection.request("POST", "/openai/v1/chat/completions", request_of(text), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    return str(answer.headers["x-affidavit-head"])


def reader(house: House, service: Service) -> Callable[[str], bytes]:
    """Reads the checkpoint and tiles of the log through the service's own door."""
    token = (house.keys / "reader.token").read_text().strip()

    def read(path: str) -> bytes:
        connection = http.client.HTTPConnection(service.news["api"], timeout=20)
        connection.request("GET", f"/v1/logs/default/{path}", headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status == 200, (path, content)
        return content

    return read


def test_a_client_keeps_the_head_and_demands_consistency(house: House, service: Service, tmp_path: Path) -> None:
    keys = key_history(parse_vkeys_file((house.keys / "public/default.vkeys").read_bytes()))
    kept, read, sizes = tmp_path / "kept", reader(house, service), []
    for number in range(4):
        before = parse_told_head(ask(service, f"call {number}")).size
        wait_for(lambda before=before: parse_told_head(ask(service, "next")).size > before, what="a newer head")
        value = ask(service, f"call {number} again")
        sizes.append(keep_told_head(kept, value, keys=keys, read=read, disk=Disk()).size)
        assert sizes[-1] >= parse_told_head(value).size
    assert sizes == sorted(set(sizes)), "it grew each time"
    held = kept.read_bytes()
    size, root, origin = value.split(" ", 2)
    lie = f"{size} {'A' * 43}= {origin}"
    with pytest.raises(InconsistentHeadError, match="FORK"):
        keep_told_head(kept, lie, keys=keys, read=read, disk=Disk())
    assert kept.read_bytes() == held
    assert root != "A" * 43 + "="
    stop(service)
