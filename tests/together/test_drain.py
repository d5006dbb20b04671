"""The gateway's end, as its clients see it: the real process, a signal, open requests."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.issuer import Issuer
from tests.support.raw import RawClient, connected
from tests.support.servers import free_port
from tests.together.world import ORIGIN

ISSUER = Issuer()


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The real process, before a backend that accepts and says nothing."""
    port = free_port()
    (folder / "jwks.json").write_text(json.dumps(ISSUER.jwks()))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (folder / "gateway.toml").write_text(f"""
[server]
port = {port}
drain_delay = 0
drain_timeout = 1
[issuers.main]
issuer = "{ISSUER.issuer}"
jwks_file = "{folder}/jwks.json"
audiences = ["chat"]
[backends.support]
url = "http://127.0.0.1:{mute.getsockname()[1]}/chatkit"
[routes.support]
path = "/chatkit"
backend = "support"
cookie = "auth_token"
allowed_origins = ["{ORIGIN}"]
""")
        command = [sys.executable, "-m", "gateway", "serve", "--settings", str(folder / "gateway.toml")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                assert child.stdout is not None
                assert "ready" in child.stdout.readline()
                yield child, port
            finally:
                child.kill()


def send(client: RawClient, operation: str, *, whole: bool = True) -> None:
    body = json.dumps({"type": operation, "params": {"input": {}}}).encode()
    head = (
        f"POST /chatkit HTTP/1.1\r\nHost: x\r\nCookie: auth_token={ISSUER.token()}\r\nOrigin: {ORIGIN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.send(head.encode() + (body if whole else body[:5]))


@pytest.mark.parametrize(
    ("operation", "whole", "status", "said"),
    [
        ("threads.create", True, 200, '"allow_retry":true'),
        ("threads.list", True, 503, '"code":"draining"'),
        ("threads.create", False, 503, '"code":"draining"'),
    ],
)
def test_whoever_is_still_here_at_the_deadline_is_told(
    tmp_path: Path, operation: str, whole: bool, status: int, said: str
) -> None:
    """A stream gets an event, a JSON operation and a half-sent request a problem; the process ends with 0, quietly."""
    with gateway(tmp_path) as (child, port), connected(port) as client:
        send(client, operation, whole=whole)
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        started = time.monotonic()
        rest = client.read_to_end().decode()
        code = child.wait(10)
        took = time.monotonic() - started
        assert child.stderr is not None
        log = child.stderr.read()

    assert rest.startswith(f"HTTP/1.1 {status} ")
    assert said in rest
    assert (code, took < 15, "Traceback" in log) == (0, True, False)
    assert '"ended_by":"drain"' in log
