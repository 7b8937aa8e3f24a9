"""Attack 40: somebody changes the search index only, with every right on the machine. `show` names what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.search.test_search import call, search
from tests.integration.service.conftest import House, house
from tests.integration.service.test_service import start, stop
from tests.integration.service.upstream import Upstream

__all__ = ["house"]  # a fixture

pytestmark = pytest.mark.timeout(180)  # a service starts twice, and the index is changed in between

DEED = """
import sys
from pathlib import Path
from affidavit.index.store import open_store

data, keys, leaf = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
store = open_store(directory=data / "index", key=(keys / "index.key").read_bytes())
store._writer.command(
    "alter table events update text = 'a forged text', row = replaceOne(row, 'ana', 'ben'), model = 'another' "
    f"where log = 'default' and leaf = {leaf} settings mutations_sync = 2"
)
store.close()
"""
"""With the index's key and ClickHouse's own means: an engine needs a process of its own."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def test_a_changed_row_is_noticed(house: House, upstream: Upstream) -> None:
    house.config.write_text(
        f'[gateway]\nlisten = "127.0.0.1:0"\nworkers = 2\n[upstreams.openai]\nbase_url = "{upstream.base_url}"\n'
    )
    service = start(house)
    made, other = call(service, "a true text", user="ana"), call(service, "another", user="ana")
    (row,) = [row for row in search(house, f"call:{made}") if row["type"] == "llm.request"]
    stop(service)
    subprocess.run(
        [sys.executable, "-c", DEED, str(house.data), str(house.keys), str(row["leaf"])],
        env=house.environment,
        check=True,
        timeout=60,
    )
    service = start(house)
    (forged,) = [row for row in search(house, f"call:{made}") if row["type"] == "llm.request"]
    assert (forged["user"], forged["text"]) == ("ben", "a forged text"), "the index says what it was made to say"
    done = house.run("show", made, code=1)
    assert "the search index does not agree" in done.stderr.decode()
    shown = json.loads(house.run("show", made, "--json").stdout)
    assert set(shown["request"]["index_differs"]) == {"row", "text", "model"}, "what is shown, and what is searched by"
    shown = json.loads(house.run("show", made, "--json").stdout)
    assert shown["request"]["index"] == "differs"
    assert shown["response"]["index"] == "agrees"
    assert shown["request"]["content"]["messages"][0]["content"] == "a true text", "what is shown is the sealed record"
    assert json.loads(house.run("show", other, "--json").stdout)["request"]["index"] == "agrees"
    house.run("index", "rebuild")
    assert json.loads(house.run("show", made, "--json").stdout)["request"]["index"] == "agrees"
    stop(service)
