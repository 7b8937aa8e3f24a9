"""A witness of `aics-witness` that answers over its standard input: run by a Python 3.12 or newer.

    python3.12 witness.py DIRECTORY NAME SEED CLOCK

SEED is hexadecimal, CLOCK a time in seconds at which it stands still. It first says its vkey. Each line that it gets
is a JSON object: `{"origin", "vkey"}` names a log that it accepts, `{"body"}` is the body of a request (base64). It
answers each with a line: `{"status", "content_type", "body"}`.
"""

import base64
import json
import sys
from pathlib import Path

from aics_tlog import parse_vkey
from aics_witness import LogConfig, Witness, WitnessError, WitnessStore
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    directory, name, seed, clock = sys.argv[1:]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    store = WitnessStore(Path(directory) / "witness.db", create=True)
    witness = Witness(name, key, store, clock=lambda: int(clock))
    say(witness.vkey_text)
    logs: list[LogConfig] = []
    for line in sys.stdin:
        asked = json.loads(line)
        if "origin" in asked:
            logs.append(LogConfig(asked["origin"], (parse_vkey(asked["vkey"]),)))
            witness.set_logs(logs)
            say({"status": 200, "content_type": "", "body": ""})
            continue
        try:
            body = witness.add_checkpoint(base64.b64decode(asked["body"]))
            answer = {"status": 200, "content_type": "text/plain", "body": body.decode()}
        except WitnessError as error:
            answer = {"status": error.status, "content_type": error.content_type, "body": error.body.decode()}
        say(answer)


if __name__ == "__main__":
    main()
