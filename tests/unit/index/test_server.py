"""The other place: the same schema, SQL and follower over a server's client, and a server that is not there."""

from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from affidavit.errors import ServiceError
from affidavit.index.follower import Follower
from affidavit.index.language import parse
from affidavit.index.query import search
from affidavit.index.scope import Scope
from affidavit.index.statistics import stats
from affidavit.index.store import connect_store
from affidavit.index.syntax import Query
from tests.support.masked_rows import RowMaker

SCOPE = Scope(logs=("a",), view="masked", only=())


def test_the_same_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without our disk stands for the server: what is said to it is what a server would be told."""
    real = clickhouse_connect.get_client

    def connect(*, dsn: str, settings: dict[str, Any], **_: object) -> Any:
        assert dsn == "https://index.example/affidavit"
        return real(interface="chdb", path=str(tmp_path / "server"), settings=settings)

    monkeypatch.setattr(clickhouse_connect, "get_client", connect)
    maker = RowMaker(seed=3, vocabulary=50, users=5, words=8, rows=100)
    rows = maker.rows("a", first=0, count=100)
    for rebuilt in (True, False):
        store = connect_store(url="https://index.example/affidavit")
        try:
            assert store.rebuilt is rebuilt
            assert Follower(store).apply(rows) == (100 if rebuilt else 0)
            found = search(store, parse(maker.vocabulary[0], now_us=0), SCOPE, limit=100).rows
            assert list(found) == [row for row in rows[::-1] if maker.vocabulary[0] in row.text.split()]
            assert sum(group.calls for group in stats(store, Query(), SCOPE, by=("team",))) == 50
            store.settle()
        finally:
            store.close()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServiceError, match="did not answer"):
        connect_store(url="http://127.0.0.1:1/affidavit")
