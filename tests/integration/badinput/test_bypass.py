"""Attack 18: a call that went round the gateway shows when the provider's own counts are held against the record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.badinput.calls import call
from tests.support.running import Service, wait_until

pytestmark = pytest.mark.timeout(240)  # a real service with its index


def export(service: Service, path: Path, *, bypassed: int) -> Path:
    """What the provider would export of the calls on record, and so many more."""
    done = service.run("stats", "--by", "day,model", "--json", "type:llm.response")
    assert done.returncode == 0, done.stderr
    buckets = []
    for line in done.stdout.splitlines():
        group: dict[str, Any] = json.loads(line)
        start = int(datetime.fromisoformat(group["day"]).replace(tzinfo=UTC).timestamp())
        result = {
            "model": group["model"],
            "num_model_requests": group["calls"] + bypassed,
            "input_tokens": group["input_tokens"] + 10 * bypassed,
            "output_tokens": group["output_tokens"],
        }
        buckets.append({"object": "bucket", "start_time": start, "results": [result]})
    path.write_text(json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None}))
    return path


def test_a_call_that_went_round_the_gateway(make_service, tmp_path):
    service: Service = make_service().start()
    for number in range(4):
        assert call(service, number)[1].status == 200
    whole = export(service, tmp_path / "whole.json", bypassed=0)
    done = service.run("reconcile", "openai", str(whole), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert (result["matched"], result["missing"], result["missing_requests"]) == (1, 0, 0)
    assert service.run("reconcile", "anthropic", str(whole)).returncode != 0
    assert service.run("reconcile", "openai", str(tmp_path / "none.json")).returncode == 2

    # It is on record, and has its leaf with the next head.
    wait_until(
        lambda: b'"RECONCILED"' in service.run("verify", "--json").stdout, what="the comparison's leaf", seconds=20
    )
    done = service.run("reconcile", "openai", str(export(service, tmp_path / "more.json", bypassed=1)))
    assert done.returncode == 1
    assert "1 requests and 10 tokens are not on record" in " ".join(done.stdout.decode().split())
    service.stop()
    done = service.run("verify", "--json")
    assert done.returncode == 1
    found = {(f["axis"], f["verdict"], f["code"], f["log"]) for f in json.loads(done.stdout)["findings"]}
    assert ("completeness", "FAIL", "UNRECORDED-CALLS", "system") in found
    assert not any(code == "RECONCILED" for _, _, code, _ in found), "the newest counts of the same days stand"
