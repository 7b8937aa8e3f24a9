"""kill -9 of a worker with calls in flight.

What the provider counted is on record, and no client holds a byte that the record lacks.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from affidavit.text import b64u
from tests.integration.gateway.rig import WAIT_S, Provider, read_answer, read_records, request_bytes

IN_FLIGHT = 60


def provider_script(request, sock):
    """Half of the answers are streams that drip; each says which request it answers."""
    tag = request.body
    if tag.startswith(b"s"):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            event = b"data: {%b:%d}\n\n" % (tag, number)
            sock.sendall(b"%x\r\n%b\r\n" % (len(event), event))
            time.sleep(0.01)
        sock.sendall(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    else:
        time.sleep(random.random() * 0.1)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(tag) + tag)


class Client(threading.Thread):
    """Calls until the connection dies; keeps what it received of each."""

    def __init__(self, port, name):
        super().__init__(daemon=True)
        self.port = port
        self.tag = name
        self.received = {}

    def run(self):
        count = 0
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as sock:
                while True:
                    kind = "s" if count % 2 else "w"
                    body = f"{kind}-{self.tag}-{count}".encode()
                    count += 1
                    self.received[body] = b""
                    sock.sendall(request_bytes(body))
                    self.read(sock, body)
        except OSError:
            pass

    def read(self, sock, body):
        done = re.compile(rb"\r\n0\r\n\r\n\Z" if body.startswith(b"s") else rb"\r\n\r\n" + re.escape(body) + rb"\Z")
        while not done.search(self.received[body]):
            data = sock.recv(65536)
            if not data:
                raise ConnectionResetError
            self.received[body] += data


def payload(received):
    """Bytes of the body in what a client received, whole or not."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    body = b""
    while match := re.match(rb"([0-9a-f]+)\r\n", rest):
        size = int(match[1], 16)
        body += rest[match.end() : match.end() + size]
        rest = rest[match.end() + size + 2 :]
    return body


@pytest.mark.parametrize("seed", range(3))
def test_kill_nine(tmp_path, repository_root, seed):
    private = X25519PrivateKey.generate()
    provider = Provider(provider_script)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        arguments = [str(tmp_path), f"http://127.0.0.1:{provider.port}", b64u(private.public_key().public_bytes_raw())]
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.gateway.worker_process", *arguments, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            cwd=repository_root,
            env=os.environ | {"PYTHONPATH": f"{repository_root}/src:{repository_root}"},
            stdout=subprocess.PIPE,
        )
        with worker:
            assert worker.stdout.readline() == b"ready\n"
            clients = [Client(port, f"{seed}-{number}") for number in range(IN_FLIGHT)]
            for client in clients:
                client.start()
            time.sleep(0.5 + random.Random(seed).random())
            worker.send_signal(signal.SIGKILL)
    for client in clients:
        client.join(WAIT_S)
        assert not client.is_alive()
    provider.close()
    records = read_records(tmp_path / "wal", private.private_bytes_raw())
    intents = [record for record in records if record.meta.get("type") == "llm.request"]
    outcomes = {record.meta["call"]: record for record in records if record.meta.get("type") == "llm.response"}
    # What the provider counted is on record exactly once, and was sent once.
    counted = [request.body for request in provider.requests]
    assert len(counted) == len(set(counted)) > IN_FLIGHT
    recorded = {intent.data: intent.meta["id"] for intent in intents if intent.whole}
    assert len(recorded) == len(intents)
    assert set(counted) <= set(recorded)
    # No client holds a byte that the record lacks, nor a whole answer whose outcome is not there.
    held = 0
    for client in clients:
        for body, received in client.received.items():
            if received:
                held += 1
                outcome = outcomes[recorded[body]]
                assert outcome.data.startswith(payload(received))
                if b"[DONE]" in received or received.endswith(body):
                    assert outcome.whole
    assert held > IN_FLIGHT


def test_sigterm_ends_a_worker_cleanly(tmp_path, repository_root):
    private = X25519PrivateKey.generate()
    provider = Provider(provider_script)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        arguments = [str(tmp_path), f"http://127.0.0.1:{provider.port}", b64u(private.public_key().public_bytes_raw())]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.integration.gateway.worker_process", *arguments, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            cwd=repository_root,
            env=os.environ | {"PYTHONPATH": f"{repository_root}/src:{repository_root}"},
            stdout=subprocess.PIPE,
        ) as worker:
            assert worker.stdout.readline() == b"ready\n"
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as sock:
                sock.sendall(request_bytes(b"s-1"))
                time.sleep(0.1)
                worker.send_signal(signal.SIGTERM)
                assert read_answer(sock).body.endswith(b"data: [DONE]\n\n")
            assert worker.wait(WAIT_S) == 0
    provider.close()
    records = read_records(tmp_path / "wal", private.private_bytes_raw())
    assert [record.meta["type"] for record in records if record.log == "default"] == [
        "source.start",
        "llm.request",
        "llm.response",
        "source.stop",
    ]
    assert all(record.whole for record in records)
