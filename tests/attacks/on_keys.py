"""Attempts on the keys of a log: changed by who may not, and used by a thief after they were revoked."""

from __future__ import annotations

from collections.abc import Iterator

from affidavit.ledger.key_manifest import handed_over_at
from affidavit.text import b64u
from affidavit.tlog.manifest import Revoked
from affidavit.tlog.note import format_vkey
from affidavit.tlog.rotation import sign_rotation
from tests.attacks.ground import Ground, Judgement
from tests.attacks.insider import LogFiles, LogKeys, checkpoint_of
from tests.attacks.registry import Evidence, attempt
from tests.integration.prove.test_manifest import World
from tests.integration.prove.test_rotations import resign

LOG = "default"


@attempt(37)
def handed_over_without_the_old_key(ground: Ground) -> Evidence:
    """By somebody who has the system log's keys, keys of their own, and not those of the log that they want."""
    head = checkpoint_of(ground.head(LOG))
    new, nobody = LogKeys.made_up(head.origin), LogKeys.made_up(head.origin)
    signed = sign_rotation(after=head.size, old=(nobody.signer, nobody.cosigner), new=(new.signer, new.cosigner))
    right = sign_rotation(
        after=head.size,
        old=(LogKeys.stolen(ground.keys, LOG).signer, nobody.cosigner),
        new=(new.signer, new.cosigner),
    )
    clause = "rotation unsigned by the old key"
    evidence = []
    for rotation in (signed, right):  # neither of the old keys, and one of the two
        data = {
            "log": LOG,
            "origin": head.origin,
            "after": rotation.after,
            "vkeys": [format_vkey(rotation.vkeys.ed25519), format_vkey(rotation.vkeys.mldsa44)],
            "signatures": list(map(b64u, rotation.signatures)),
        }
        insider, places = ground.insider(), []

        def hand_over(log: LogFiles, data: dict[str, object] = data, places: list[int] = places) -> None:
            places.extend(log.insert_before_close([("key.rotate", data)]))

        insider.rewrite("system", hand_over)
        found = ground.judge(insider.data)
        evidence.append(found.evidence("authority", "KEY-ROTATE", named=f"entry {places[0]} of", clause=clause))
    return evidence[0]


@attempt(37)
def used_after_revocation(ground: Ground) -> Iterator[Evidence]:
    """Old keys were stolen before they were changed, and the root key revokes them by the size of the tree."""
    world = World(ground.scratch())
    after = handed_over_at(world.places, LOG, 1)
    clause = "use after revocation"
    world.renew((LOG, Revoked(1, after)))
    assert world.judge()[0].authority == "OK", "what they signed in their time stands"
    world.renew((LOG, Revoked(1, 1)))
    yield Judgement(*world.judged()).evidence("authority", "KEY-REVOKED", named=f"heads/{after}", clause=clause)
    # What the thief is after: a head of the present size under the old keys.
    resign(world.installation, LOG, world.stolen)
    late = Judgement(*world.judged())
    late.evidence("authority", "KEY-GENERATION", named="tree/checkpoint", also=("integrity", "completeness"))
