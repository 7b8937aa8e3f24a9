"""The keyring, whatever is done with it: what was saved is there again, what was destroyed is gone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.crypt.keyring import Kind, RingKey
from affidavit.errors import KeyMissingError
from tests.unit.crypt.test_keyring import HEAD_BYTES, ROW_BYTES, drawing, open_ring

ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("key"), st.sampled_from((Kind.HEADER, Kind.SUBJECT, Kind.APP, Kind.SHEET)), st.integers(0, 4)
        ),
        st.tuples(st.just("destroy"), st.integers(0, 9)),
        st.tuples(st.sampled_from(("save", "reload", "rotate"))),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(actions=ACTIONS)
def test_the_ring_is_what_was_saved_and_not_destroyed(actions: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, random = Path(directory) / "keys", drawing()
        ring = open_ring(path, random=random)
        saved: dict[bytes, RingKey] = {}
        queued: dict[bytes, RingKey] = {}
        destroyed: dict[bytes, RingKey] = {}
        epoch = 1
        for name, *facts in actions:
            if name == "key":
                key = ring.key_for(facts[0], ring.scope(facts[0], "log", str(facts[1])))
                assert key.id not in destroyed
                if key.id not in saved:
                    queued[key.id] = key
            elif name == "destroy" and (known := sorted((saved | queued).items())):
                key_id, key = known[facts[0] % len(known)]
                ring.destroy(key_id)
                destroyed[key_id] = key
                saved = {key_id: key for key_id, key in (saved | queued).items() if key_id not in destroyed}
                queued = {}
            elif name in ("save", "rotate"):
                getattr(ring, name)()
                epoch += name == "rotate"
                saved, queued = saved | queued, {}
            elif name == "reload":
                ring, queued = open_ring(path, random=random), {}
            assert ring.epoch == epoch
        again = open_ring(path, random=random)
        assert {key_id: again.get(key_id) for key_id in saved} == saved
        assert path.stat().st_size == HEAD_BYTES + ROW_BYTES * (len(saved) + 1)
        for key_id, key in destroyed.items():
            with pytest.raises(KeyMissingError):
                again.get(key_id)
            if key.scope not in {other.scope for other in saved.values()}:
                with pytest.raises(KeyMissingError):
                    again.find(key.kind, key.scope)
            assert key_id not in path.read_bytes()
        assert again.digest_key("x") == ring.digest_key("x")
